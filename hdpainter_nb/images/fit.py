"""Fit a picture and its mask to a size that the model takes, and undo it (switch 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError, SettingsError

__all__ = ["Fitted", "fit", "unfit"]

Mask = NDArray[np.bool_]
Crop = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A picture and its mask at a size that the model takes (switch 17)."""

    image: NDArray[np.uint8]  # (H', W', 3)
    mask: Mask  # (H', W'); padding counts as known
    crop: Crop  # top, left, height, width of the picture within H' x W'
    original_size: tuple[int, int]  # (H, W) as given
    scaled_size: tuple[int, int]  # (height, width) that `unfit` goes back to


def fit(
    image: NDArray[np.uint8],
    mask: Mask,
    *,
    how: Literal["pad", "squash"],
    long_side: int,
    multiple: int = 64,
) -> Fitted:
    """Scale down to `long_side` if larger, then pad or squash to a size the model takes.

    ``pad`` (official): area interpolation, a mask position wherever any masked pixel falls; black
    padding on the right and at the bottom, up to multiples of `multiple`.
    ``squash`` (community): Lanczos straight to a square of `long_side`, rounded down to a multiple;
    the mask cut at half, as diffusers' image processor does.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        how: `Settings.size`.
        long_side: in pixels.
        multiple: sizes of the result are multiples of this.

    Raises:
        SettingsError: unknown `how`, `long_side` below `multiple`.
        MaskError: the mask is not of the picture's size.
    """
    if how not in {"pad", "squash"}:
        raise SettingsError(f"size={how!r} is not one of 'pad', 'squash'.")
    height, width = image.shape[:2]
    if mask.shape != (height, width):
        raise MaskError(f"The mask has the shape {mask.shape}, the picture {image.shape[:2]}.")
    if long_side < multiple:
        raise SettingsError(
            f"long_side={long_side} is below {multiple}; sizes are multiples of it."
        )
    scale = min(1.0, long_side / max(height, width))
    scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
    if how == "squash":
        side = long_side - long_side % multiple
        image, mask = _squashed(image, mask, side)
        return Fitted(image, mask, (0, 0, side, side), (height, width), scaled)
    if scale < 1:
        image, mask = _shrunk(image, mask, scaled)
    margins = [(0, -length % multiple) for length in scaled]
    return Fitted(
        np.pad(image, [*margins, (0, 0)]),
        np.pad(mask, margins),
        (0, 0, *scaled),
        (height, width),
        scaled,
    )


def unfit(image: NDArray[Any], fitted: Fitted) -> NDArray[Any]:
    """Crop the padding away, or undo the squashing: back to `fitted.scaled_size`.

    Args:
        image: (H', W') or (H', W', C), of the fitted size; uint8, float32 or bool.
        fitted: what `fit` returned.

    Returns:
        (height, width) or (height, width, C), the same dtype.

    Raises:
        ImageError: the picture is not of the fitted size.
    """
    if image.shape[:2] != fitted.mask.shape:
        raise ImageError(
            f"The picture has the shape {image.shape}; a height and width of {fitted.mask.shape} "
            "is expected here, the size of the fitted picture."
        )
    top, left, height, width = fitted.crop
    inner = image[top : top + height, left : left + width]
    if (height, width) == fitted.scaled_size:
        return inner.copy()
    if inner.dtype == np.bool_:
        return _resize(inner.astype(np.uint8), fitted.scaled_size, "nearest").astype(np.bool_)
    smaller = fitted.scaled_size[0] * fitted.scaled_size[1] < height * width
    return _resize(inner, fitted.scaled_size, "area" if smaller else "cubic")


def _shrunk(
    image: NDArray[np.uint8], mask: Mask, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], Mask]:
    covered = _resize(mask.astype(np.float32), size, "area") > 1e-4
    return _resize(image, size, "area"), np.asarray(covered, np.bool_)


def _squashed(image: NDArray[np.uint8], mask: Mask, side: int) -> tuple[NDArray[np.uint8], Mask]:
    square = (side, side)
    picture = np.array(Image.fromarray(image).resize(square, Image.Resampling.LANCZOS))
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).resize(
        square, Image.Resampling.LANCZOS
    )
    return picture, np.asarray(grey) >= 128


def _resize(array: NDArray[Any], size: tuple[int, int], how: str) -> NDArray[Any]:
    import cv2

    modes = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
    resized = cv2.resize(array, (size[1], size[0]), interpolation=modes[how])
    return np.asarray(resized).reshape(*size, *array.shape[2:])
