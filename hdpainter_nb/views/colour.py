"""Numbers as colours: a map by itself, or laid over a picture."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.utils.check import one_of, shown
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.hints import numbers_of

__all__ = ["COLORMAPS", "jet", "limits", "overlay", "picture_array", "upsample"]

Picture = NDArray[np.uint8]
Float = NDArray[np.floating[Any]]

COLORMAPS = ("jet", "viridis", "inferno", "gray", "coolwarm")
"""Names for `colormap`. ``coolwarm`` diverges: light grey is the middle of lo .. hi."""

_LARGEST = 10**8  # pixels of a map that is drawn
_HUGE = 1e37  # near the end of float32
_LIGHT, _DARK = (255, 255, 255), (20, 20, 20)


@checked
def jet(
    values: ArrayLike,
    lo: float | None = None,
    hi: float | None = None,
    *,
    colormap: str = "jet",
) -> Picture:
    """The map in OpenCV's JET colours (or another of `COLORMAPS`): (h, w) to (h, w, 3) uint8 RGB.

    Args:
        values: (h, w) numbers; what is not finite counts as `lo`.
        lo: the value drawn in the first colour; None takes the map's minimum.
        hi: the value drawn in the last colour; None takes the map's maximum.
        colormap: one of `COLORMAPS`.

    Raises:
        ValueError: `values` is no (h, w) array, or `colormap` is unknown.
    """
    array: Float = _map(values)
    table = _table(colormap)
    low, high = limits(array, lo=lo, hi=hi)
    if max(abs(low), abs(high)) > _HUGE:  # whose differences overflow; halved, they do not
        array, low, high = array.astype(np.float64) / 2, low / 2, high / 2
    with np.errstate(invalid="ignore"):  # infinity less infinity
        # A flat map has no range: it takes the first colour throughout, and no division by zero.
        scaled = (array - low) / (high - low) if high > low else np.zeros_like(array)
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
    return table[np.rint(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)]


def limits(
    *maps: ArrayLike, lo: float | None = None, hi: float | None = None, least: float = 0.0
) -> tuple[float, float]:
    """The smallest and largest finite value of all `maps`, where `lo` and `hi` leave it open.

    With `least` the upper end is at least so far above the lower one, unless `hi` says where it is:
    differences of no account are not stretched over all colours.
    """
    flat = [np.asarray(m, np.float64).ravel() for m in maps]
    values = np.concatenate(flat) if flat else np.zeros(0)
    values = values[np.isfinite(values)]
    if not values.size:
        values = np.zeros(1)
    low = float(values.min()) if lo is None else float(lo)
    return low, max(float(values.max()), low + least) if hi is None else float(hi)


@checked
def upsample(values: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
    """The map at `size` = (height, width): bicubic when it grows, area when it shrinks.

    Bicubic interpolation overshoots; the result is clipped to the map's own range. What is not
    finite counts as 0.

    Raises:
        ValueError: `values` is no (h, w) array, or `size` has less than a pixel or more than 100
            megapixels.
    """
    import cv2

    array = np.nan_to_num(_map(values), nan=0.0, posinf=0.0, neginf=0.0)
    height, width = size
    if min(size) < 1 or height * width > _LARGEST:
        raise ValueError(f"size must be of 1 to {_LARGEST} pixels, not {height} x {width}")
    grows = height >= array.shape[0] and width >= array.shape[1]
    how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    resized = cv2.resize(array, (width, height), interpolation=how)
    resized = np.nan_to_num(resized, nan=0.0)  # what overshoots the numbers that there are
    return np.clip(resized, array.min(), array.max()).astype(np.float32)


@checked
def overlay(
    picture: ArrayLike,
    values: ArrayLike,
    alpha: float = 0.5,
    colormap: str = "jet",
    lo: float | None = None,
    hi: float | None = None,
    outline: ArrayLike | None = None,
) -> Picture:
    """A map laid over a picture: (H, W, 3) uint8.

    Args:
        picture: (H, W, 3) or (H, W) uint8, or floats from 0 to 1.
        values: (h, w) map of the same area, at any size; brought to the picture's size.
        alpha: opacity of the map, 0 (picture only) to 1 (map only).
        colormap: one of `COLORMAPS`.
        lo, hi: values drawn in the first and the last colour; None takes the map's own range.
        outline: (H', W') mask whose edge is drawn as a thin light-and-dark line.

    Raises:
        ValueError: an array has another shape, or `colormap` is unknown.
    """
    below = picture_array(picture)
    # The range is the map's own, taken before it is upsampled: smoothing must not stretch it.
    low, high = limits(_map(values), lo=lo, hi=hi)
    size = (below.shape[0], below.shape[1])
    above = jet(upsample(values, size), low, high, colormap=colormap)
    share = float(np.clip(alpha, 0.0, 1.0))
    mixed = np.rint(below * (1.0 - share) + above * share).astype(np.uint8)
    return mixed if outline is None else _outlined(mixed, outline)


def picture_array(picture: ArrayLike) -> Picture:
    """Any picture as a (H, W, 3) uint8 array; floats are read as 0 .. 1, an alpha channel is cut.

    Raises:
        ValueError: the array is no picture.
    """
    read = numbers_of(picture)
    if read is None:
        raise ValueError(f"a picture is an array of numbers, not {shown(picture)}")
    array = read
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ValueError(f"a picture has the shape (H, W, 3), not {array.shape}")
    array = array[..., :3]
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        array = np.rint(np.clip(np.nan_to_num(array), 0.0, 1.0) * 255)
    return array.astype(np.uint8)


def _outlined(picture: Picture, mask: ArrayLike) -> Picture:
    """The mask's edge, light inside and dark outside, so that it shows on any background."""
    import cv2

    read = numbers_of(mask)
    if read is None:
        raise ValueError(f"an outline is an array of numbers, not {shown(mask)}")
    array = read
    if array.ndim != 2 or not array.size:
        raise ValueError(f"an outline is a (H, W) mask, not {array.shape}")
    height, width = picture.shape[:2]
    binary = (array > (127 if array.dtype == np.uint8 else 0.5)).astype(np.uint8)
    if array.dtype == np.uint8 and array.max(initial=0) <= 1:
        binary = array.copy()
    binary = np.asarray(
        cv2.resize(binary, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8
    )
    reach = 2 * max(1, round(min(height, width) / 400)) + 1
    square = np.ones((reach, reach), np.uint8)
    drawn = picture.copy()
    # Beyond the frame counts as outside, so that a mask that touches it is outlined there too.
    inner = cv2.erode(binary, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    drawn[(cv2.dilate(binary, square) > 0) & (binary == 0)] = _DARK
    drawn[(binary > 0) & (inner == 0)] = _LIGHT
    return drawn


def _map(values: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(values, np.float32)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"a map has the shape (h, w), not {array.shape}")
    return array


@lru_cache(maxsize=len(COLORMAPS))
def _table(name: str) -> Picture:
    """(256, 3) uint8 RGB."""
    one_of("colormap", name, COLORMAPS, ValueError)
    ramp = np.arange(256, dtype=np.uint8)
    if name == "gray":
        return np.stack([ramp] * 3, axis=1)
    if name == "coolwarm":  # OpenCV has no diverging map
        import matplotlib

        colours = matplotlib.colormaps["coolwarm"](np.arange(256))
        return np.asarray(np.rint(np.asarray(colours)[:, :3] * 255), np.uint8)
    import cv2

    tables = {
        "jet": cv2.COLORMAP_JET,
        "viridis": cv2.COLORMAP_VIRIDIS,
        "inferno": cv2.COLORMAP_INFERNO,
    }
    coloured = cv2.applyColorMap(ramp[:, None], tables[name])  # (256, 1, 3), BGR
    return np.ascontiguousarray(coloured[:, 0, ::-1], dtype=np.uint8)
