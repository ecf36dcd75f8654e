"""Putting a filled picture into the original without a seam: soft masks, Poisson's equation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import ImageError, MaskError

__all__ = ["BAND", "FEATHER", "grown", "paste", "poisson", "surroundings"]

BAND = 24
"""Pixels around the mask that `poisson` may change; all others stay as they were."""
FEATHER = 8
"""The same for `paste`."""
_RELAXATIONS = 8  # per level of the membrane
_RING = 32  # pixels around the picture, so that holes may touch its border
Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def poisson(
    original: Picture, filled: Picture, mask: Mask, *, bounds: Literal["hole", "box"] = "hole"
) -> Picture:
    """The original whose hole has the filled picture's gradients and its own colours at the edge.

    Poisson image editing (Perez, Gangnet and Blake 2003).

    The hole grows by `BAND` pixels at most. OpenCV solves the equation over the grown hole's whole
    bounding box, so known pixels in it change too; the official code leaves it at that. Here they
    are put back, and what they were off by goes on into the hole as a membrane, which makes the
    result the equation's solution in the hole alone. Where the hole reaches the border of the
    picture, the filled picture's colours hold there.

    Args:
        original, filled: (H, W, 3) of one size.
        mask: (H, W) bool; may be empty or full.
        bounds: ``hole``: every pixel beyond the grown hole is the original's. ``box``: official.

    Returns:
        (H, W, 3), a new array.

    Raises:
        ImageError, MaskError: the sizes differ.
    """
    import cv2

    _same_size(original, filled, mask.shape)
    if not mask.any():
        return original.copy()
    ring = [(_RING, _RING), (_RING, _RING)]  # wider than the band
    source = np.pad(filled, [*ring, (0, 0)], "reflect")
    target = source.copy()
    inside = (slice(_RING, -_RING), slice(_RING, -_RING))
    target[inside] = original
    area = grown(np.pad(mask, ring))
    white = area.astype(np.uint8) * np.uint8(255)
    x, y, width, height = cv2.boundingRect(white)
    middle = (x + width // 2, y + height // 2)
    mixed = cv2.seamlessClone(source, target, white, middle, cv2.NORMAL_CLONE)
    if bounds == "box":
        return np.ascontiguousarray(mixed[inside])
    edge = 2  # known pixels all around; the ring has room for them
    box = (slice(y - edge, y + height + edge), slice(x - edge, x + width + edge))
    hole = area[box]
    solved = mixed[box].astype(np.float32)
    off = _membrane(np.subtract(target[box], solved, dtype=np.float32), hole)
    target[box] = np.where(hole[..., None], (solved + off).round().clip(0, 255), target[box])
    return np.ascontiguousarray(target[inside])


def grown(mask: Mask) -> Mask:
    """Where `poisson` may change pixels, (H, W) bool: the hole and `BAND` pixels around it."""
    import cv2

    square = np.ones((2 * BAND, 2 * BAND), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), square) > 0)


def surroundings(mask: Mask) -> tuple[slice, slice]:
    """The window (rows, columns) outside of which neither `poisson` nor `paste` changes a pixel.

    All of the picture where the mask is empty.
    """
    if not mask.any():
        return slice(None), slice(None)
    spans = []
    for axis, length in ((1, mask.shape[0]), (0, mask.shape[1])):
        places = np.flatnonzero(mask.any(axis))
        margin = BAND + _RING  # what `poisson` reads around the band, too
        spans.append(slice(max(0, int(places[0]) - margin), min(length, int(places[-1]) + margin)))
    return spans[0], spans[1]


def _membrane(values: NDArray[np.float32], hole: Mask) -> NDArray[np.float32]:
    """Fill the hole of (h, w, 3) with the harmonic function that meets the known values.

    The membrane interpolant of Perez, Gangnet and Blake (Poisson image editing, 2003).

    Coarse to fine: each level starts from the smaller one's solution and relaxes it a little.
    """
    import cv2

    if not hole.any():
        return values
    known = (~hole).astype(np.float32)
    height, width = hole.shape
    if min(height, width) <= 2:
        mean = (values * known[..., None]).sum((0, 1)) / max(1.0, float(known.sum()))
        return np.where(hole[..., None], mean, values).astype(np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)[..., None]
    summed = cv2.resize(values * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = _membrane(
        np.asarray(summed / np.maximum(weight, 1e-6), np.float32), weight[..., 0] < 1e-3
    )
    start = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    kernel = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
    field: NDArray[Any] = np.where(hole[..., None], start, values)
    for _ in range(_RELAXATIONS):
        mean = cv2.filter2D(field, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        field = np.where(hole[..., None], mean, values)
    return field.astype(np.float32)


def paste(original: Picture, filled: Picture, mask: NDArray[np.floating]) -> Picture:
    """The filled picture in the hole, the original around it, over a soft edge.

    The edge is `FEATHER` pixels wide and lies outside, so that a step in colour at the hole's rim
    becomes a slope.

    Args:
        original, filled: (H, W, 3) of one size.
        mask: (H, W) float, 1 in the hole; from 0.5 on a pixel counts as in it.

    Raises:
        ImageError, MaskError: the sizes differ.
    """
    import cv2

    _same_size(original, filled, mask.shape)
    away = cv2.distanceTransform((mask <= 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = np.clip(1 - away / (FEATHER + 1), 0, 1)
    weight = (near**2 * (3 - 2 * near))[..., None]  # level at both ends
    mixed: Picture = np.round(filled * weight + original * (1 - weight)).astype(np.uint8)
    return mixed


def _same_size(original: Picture, filled: Picture, mask: tuple[int, ...]) -> None:
    for name, picture in (("original", original), ("filled picture", filled)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ImageError(
                f"The {name} must be (H, W, 3) uint8, not {picture.shape} {picture.dtype}."
            )
    if original.shape != filled.shape:
        raise ImageError(f"The original is {original.shape}, the filled picture {filled.shape}.")
    if mask != original.shape[:2]:
        raise MaskError(f"The mask is {mask}, the picture {original.shape[:2]}.")
