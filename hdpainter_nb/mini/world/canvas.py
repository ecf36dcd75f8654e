"""Where the world is drawn: a square of 256 x 256 units at one or more pixels per unit.

At scale 1 a unit is a pixel. At scale 4 the same scene has four times the resolution, and details
that 256 pixels cannot show: pores, fibres, brush strokes, crisp edges. They average out, so that
the large picture, reduced, is the small one but for a little softness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256  # units a side, and pixels at scale 1
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """Coordinates of the pixels, in units, `(256 * scale,) * 2` each.

    `x`, `y` are pixel centres, where unit k's own centre is k; `left`, `top` are the corners, whose
    integer parts say in which unit a pixel lies. `fine` draws the details; None leaves them out.
    """

    scale: int
    x: Plane
    y: Plane
    left: Plane
    top: Plane
    fine: np.random.Generator | None = None

    @property
    def size(self) -> int:
        """Pixels a side."""
        return SIZE * self.scale

    def edge(self, ramp: Plane) -> Plane:
        """A ramp through 0 .. 1 that is one unit wide, made one pixel wide; its middle stays."""
        return np.asarray(ramp * self.scale - (self.scale - 1) / 2, np.float32)

    def noise(self, down: float, across: float) -> Plane:
        """Smooth noise, mean 0 and deviation 1, with bumps of `down` x `across` pixels.

        All zeros where there are no details.
        """
        if self.fine is None:
            return np.zeros((self.size, self.size), np.float32)
        cells = max(2, round(self.size / down)), max(2, round(self.size / across))
        coarse = self.fine.standard_normal(cells, np.float32)
        return enlarge(coarse, self.size) * np.float32(1.4)  # what interpolation takes away

    def pores(self, size: float, rarity: float) -> Plane:
        """Specks with sharp edges, 0 .. 1; about `size` pixels wide, the rarer the higher."""
        return np.asarray(np.clip((self.noise(size, size) - rarity) * 3, 0, 1), np.float32)


def enlarge(plane: NDArray[np.float32], size: int) -> Plane:
    """`(h, w)` to `(size, size)`, bicubic."""
    return np.asarray(cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


@cache
def _axes(scale: int) -> tuple[Plane, Plane, Plane, Plane]:
    rows, columns = (
        axis.astype(np.float32) for axis in np.mgrid[0 : SIZE * scale, 0 : SIZE * scale]
    )
    centre = (1 / scale - 1) / 2
    return columns / scale + centre, rows / scale + centre, columns / scale, rows / scale


def canvas(scale: int = 1, fine: np.random.Generator | None = None) -> Canvas:
    """A canvas of `scale` pixels per unit."""
    return Canvas(scale, *_axes(scale), fine)
