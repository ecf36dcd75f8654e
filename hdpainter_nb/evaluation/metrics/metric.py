"""What every metric is behind: pictures in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.triplet import FramedTriplet

__all__ = ["Metric", "PaintedTriplet"]


@dataclass(frozen=True, eq=False)
class PaintedTriplet:
    """A picture to be scored, beside what it was made from.

    Attributes:
        triplet: at the size of the picture.
        picture: (h, w, 3) uint8.
    """

    triplet: FramedTriplet
    picture: NDArray[np.uint8]

    @property
    def crop(self) -> NDArray[np.uint8]:
        """(h', w', 3): the picture inside the box of the hole."""
        return self.picture[self.triplet.box]


class Metric(Protocol):
    """Scores pictures, each for itself."""

    @property
    def name(self) -> str:
        """Of its folder of numbers."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """The numbers that each picture gets, by name; a name begins with the metric's."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides the numbers: model, revision, crop, template; as JSON can hold it."""

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The numbers of each picture; NaN where there is none (a picture without a class).

        Raises:
            EvaluationError: weights or a package are missing; the message says which, and how to
                get them.
        """
