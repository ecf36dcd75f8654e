"""Sizes on the way up: a small picture, one four times as large, and the frames that hold them.

The frame of the large picture is always exactly four times that of the small one, whatever the two
were rounded to on the way down. (The official code pads each by itself and then asserts it, which
fails for one size in a hundred.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import ImageError

__all__ = ["FACTOR", "Geometry", "fit_pair", "pad_to", "resize"]

FACTOR = 4
_MULTIPLE = 64  # pixels of the small frame: the UNet halves it three times, to 8

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Geometry:
    """Where a small picture and a large one come to lie; both at the top left of their frame."""

    work: Size
    """What the large picture is scaled to; its own size where that is about four times `low`."""
    low: Size
    """Of the small picture, as given."""
    low_frame: Size
    """Of the small picture, padded."""

    @property
    def frame(self) -> Size:
        """Of the large picture, padded: four times `low_frame`."""
        return FACTOR * self.low_frame[0], FACTOR * self.low_frame[1]


def fit_pair(size: Size, low: Size) -> Geometry:
    """Lay out a picture of `size` and a small version of it of size `low`.

    A picture within `FACTOR` pixels of four times the small one is taken as it is: the rest is
    rounding. Any other is scaled to exactly four times the small one.

    Raises:
        ImageError: the proportions differ by more than rounding explains.
    """
    height, width = size
    h, w = low
    if abs(h * width - w * height) > max(height, width) + max(h, w):
        raise ImageError(
            f"The small picture is {w}x{h} px and the large one {width}x{height} px, and their "
            "proportions differ: it must be the same picture, scaled down."
        )
    near = abs(height - FACTOR * h) <= FACTOR and abs(width - FACTOR * w) <= FACTOR
    work = size if near else (FACTOR * h, FACTOR * w)
    needed = [max(small, -(-large // FACTOR)) for small, large in zip(low, work, strict=True)]
    rows, columns = (-(-length // _MULTIPLE) * _MULTIPLE for length in needed)
    return Geometry(work, low, (rows, columns))


def pad_to(array: NDArray[Any], size: Size) -> NDArray[Any]:
    """Continue (H, W) or (H, W, C) to the right and below by reflection, as often as needed."""
    margins = [(0, size[0] - array.shape[0]), (0, size[1] - array.shape[1])]
    return np.pad(array, [*margins, *[(0, 0)] * (array.ndim - 2)], "reflect")


def resize(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """(H, W, 3) at another size: area on the way down, bicubic on the way up."""
    import cv2

    if picture.shape[:2] == size:
        return picture
    down = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if down else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=how))
