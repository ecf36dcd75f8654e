"""Sizes on the way up.

The frame of the large picture is always exactly four times that of the small one, whatever the two
were rounded to on the way down. (The official code pads each by itself and then asserts it, which
fails for one size in a hundred.)
"""

from __future__ import annotations

from dataclasses import dataclass

from hdpainter_nb.errors import ImageError
from hdpainter_nb.images.resize import Size

__all__ = ["FACTOR", "Geometry", "fit_pair"]

FACTOR = 4
_MULTIPLE = 64  # pixels of the small frame: the UNet halves it three times, to 8


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
