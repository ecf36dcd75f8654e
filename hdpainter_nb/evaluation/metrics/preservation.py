"""What became of the known pixels, and how much the hole's edge shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.images.compositing import paste
from hdpainter_nb.utils.checked import checked

__all__ = ["PSNR_CEILING", "Preservation", "psnr", "rim_energy", "squared_error"]

PSNR_CEILING = 100.0
"""In dB; of what is equal, since tables hold no infinity."""


@checked
@dataclass(frozen=True, kw_only=True)
class Preservation:
    """Errors over the known pixels of the picture as painted, and its seam with and without paste.

    Columns:
        preservation_mse: mean squared error outside the hole, of values 0..1.
        preservation_psnr: the same in dB, at most `PSNR_CEILING`.
        preservation_seam: `rim_energy` of the picture as painted, over the true picture's; 1 is an
            edge that nobody sees.
        preservation_pasted_seam: the same with the known pixels put back (`paste`). Their errors
            are 0 then but for the soft edge, so only the seam is of interest.

    The true picture is ``facts["truth"]`` of the triplet where that is there in the picture's size
    (the miniature's sets have it), else the photograph.

    Attributes:
        per: ``channel`` is the mean over pixels and channels. ``pixel`` sums the three channels, as
            BrushNet's script does: its errors are 3 times as large, its PSNR 4.77 dB lower.

    Raises:
        SettingsError: no such `per`.
    """

    per: Literal["channel", "pixel"] = "channel"

    @property
    def name(self) -> str:
        """Of its folder in a run and of its columns."""
        return "preservation"

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        return {
            "preservation_mse": Column("MSE", better="lower", digits=5),
            "preservation_psnr": Column("PSNR", digits=1),
            "preservation_seam": Column("Seam", better="lower"),
            "preservation_pasted_seam": Column("Seam, pasted", better="lower"),
        }

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {"per": self.per}

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The four numbers of each picture.

        NaN: errors where nothing is known; seams where the true picture is flat across the rim, or
        the hole has none.
        """
        return [self._of(painting) for painting in paintings]

    def _of(self, painting: PaintedTriplet) -> dict[str, float]:
        image, hole = painting.triplet.image, painting.triplet.hole
        truth = painting.triplet.triplet.facts.get("truth")
        if not isinstance(truth, np.ndarray) or truth.shape != image.shape:
            truth = image
        error = squared_error(painting.picture, image, ~hole, self.per)
        own = rim_energy(truth, hole)
        pasted = paste(image, painting.picture, hole.astype(np.float32))
        return {
            "preservation_mse": error,
            "preservation_psnr": psnr(error),
            "preservation_seam": rim_energy(painting.picture, hole) / own if own else math.nan,
            "preservation_pasted_seam": rim_energy(pasted, hole) / own if own else math.nan,
        }


def squared_error(
    picture: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    where: NDArray[np.bool_],
    per: Literal["channel", "pixel"] = "channel",
) -> float:
    """Mean squared difference of values 0..1 over some pixels; NaN over none.

    Args:
        picture, reference: (h, w, 3).
        where: (h, w).
        per: what the sum is divided by: the number of values, or that of pixels.
    """
    if not where.any():
        return math.nan
    difference = (picture[where].astype(np.float64) - reference[where]) / 255
    return float(np.square(difference).sum(-1).mean()) / (3 if per == "channel" else 1)


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of values 0..1."""
    if math.isnan(error):
        return error
    return min(PSNR_CEILING, -10 * math.log10(error)) if error > 0 else PSNR_CEILING


def rim_energy(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> float:
    """Sum over pixel pairs across the hole's rim of the squared difference.

    Args:
        picture: (h, w, 3).
        hole: (h, w).
    """
    values, total = picture.astype(np.float64), 0.0
    for axis in (0, 1):
        crossing = np.diff(hole.astype(np.int8), axis=axis) != 0
        steps = np.square(np.diff(values, axis=axis)).sum(-1)
        total += float(steps[crossing].sum())
    return total
