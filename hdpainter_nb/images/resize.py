"""A picture at another size: enlarged, shrunk, or continued by reflection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Size", "pad_to", "resize"]

Size = tuple[int, int]
"""Height and width in pixels."""


def pad_to(array: NDArray[Any], size: Size) -> NDArray[Any]:
    """Continue (h, w) or (h, w, C) to the right and below by reflection, as often as needed.

    Args:
        array: of any dtype.
        size: (H, W) of the result, not below that of the array.

    Returns:
        (H, W) or (H, W, C), the same dtype.
    """
    margins = [(0, size[0] - array.shape[0]), (0, size[1] - array.shape[1])]
    return np.pad(array, [*margins, *[(0, 0)] * (array.ndim - 2)], "reflect")


def resize(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture (h, w, 3) at another size: area on the way down, bicubic on the way up.

    Returns:
        (H, W, 3) of `size`; the picture itself where it has that size.
    """
    import cv2

    if picture.shape[:2] == size:
        return picture
    down = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if down else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=how))
