"""Masks of an object from exact to coarse: SmartBrush's shape precision (arXiv 2212.05034)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "box_of", "coarser_mask"]

LEVELS = 5
"""How many precisions there are: 0 is the object's own mask, the last its bounding box."""
_BLUR = (0.0, 1 / 64, 1 / 32, 1 / 16)  # sigma of each level but the box, in sides of the picture
_COUNTS = 0.1  # a blurred value above it is inside, so that the object stays so


def coarser_mask(mask: NDArray[np.bool_], level: int, side: float) -> NDArray[np.bool_]:
    """m_s = GaussianBlur(m, k_s, sigma_s), cut to a mask again; at the last level the box.

    The paper says neither its kernels nor how a blurred mask is cut. Here sigma is 1/64, 1/32
    and 1/16 of the picture's side, and what lies above 0.1 counts, which lets the mask grow by
    about 1.3 sigma; the object itself is always inside.

    Args:
        mask: `(h, w)`, the object's own.
        level: 0 .. `LEVELS` - 1.
        side: of the whole picture that the mask is a part of, in pixels.
    """
    if level == 0 or not mask.any():
        return mask.copy()
    if level == LEVELS - 1:
        rows, columns = box_of(mask)
        box = np.zeros_like(mask)
        box[rows, columns] = True
        return box
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _BLUR[level] * side)
    return (soft > _COUNTS) | mask


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The bounding box of a mask that is not empty: its rows and columns."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
