"""What fills holes: the protocol that every system of a table is behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.triplet import FramedTriplet

__all__ = ["SECONDS", "Painting", "StoredPictures", "System"]

SECONDS = Column("seconds", better="lower", digits=2)
"""Of the time that a picture took."""


@dataclass(frozen=True, eq=False)
class Painting:
    """What a system made of one triplet.

    Attributes:
        picture: (h, w, 3) uint8, of the framed triplet's size, as decoded: known pixels are not
            put back.
        numbers: what was measured while painting, such as ``seconds``.
    """

    picture: NDArray[np.uint8]
    numbers: dict[str, float] = field(default_factory=dict)


class System(Protocol):
    """A way to fill a hole."""

    @property
    def name(self) -> str:
        """Of its row in the tables and of its folder."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that decides its pictures besides weights and seed, as JSON can hold it."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """How the numbers are to be shown that it measures while painting."""

    def fingerprint(self) -> str:
        """Hash of its weights; a run goes on only with the same."""

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        """Fill the holes of some triplets of one size, each from the same seed.

        Raises:
            EvaluationError: it has no picture for one of them.
        """


@runtime_checkable
class StoredPictures(Protocol):
    """What a system also offers that paints nothing itself: pictures that exist, or do not."""

    def missing(self, ids: Sequence[str], seed: int) -> list[str]:
        """The triplets that it has no picture for, asked before anything is painted."""
