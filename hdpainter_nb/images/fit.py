"""A picture and its mask at a size that the model takes (switch 17): `Frame`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError, SettingsError
from hdpainter_nb.images.resize import Size
from hdpainter_nb.utils.check import one_of

__all__ = ["Crop", "Frame", "Mask"]

Mask = NDArray[np.bool_]
Crop = tuple[int, int, int, int]
"""Top, left, height, width of the picture within its padding."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A size that the model takes, and where the picture lies in it (switch 17).

    ``pad`` (official): the picture is scaled by area interpolation, a mask position is set wherever
    any masked pixel falls; black padding on the right and at the bottom, up to a multiple.
    ``squash`` (community): Lanczos straight to a square; the mask cut at half, as diffusers' image
    processor does.
    """

    how: Literal["pad", "squash"]
    original_size: Size  # (height, width) of the picture as given
    scaled_size: Size  # of the picture scaled down with its proportions, if at all
    size: Size  # (H, W) of the frame
    crop: Crop

    @classmethod
    def of(
        cls,
        size: tuple[int, ...],
        *,
        how: Literal["pad", "squash"],
        long_side: int,
        multiple: int = 64,
    ) -> Self:
        """The frame of a picture, which is scaled down to `long_side` if it is larger.

        Args:
            size: (height, width) of the picture in pixels.
            how: `Settings.size`.
            long_side: in pixels; rounded down to a multiple where the picture is squashed.
            multiple: height and width of the frame are multiples of this.

        Raises:
            SettingsError: unknown `how`, `long_side` below `multiple`.
        """
        one_of("size", how, ("pad", "squash"))
        if long_side < multiple:
            raise SettingsError(
                f"long_side={long_side} is below {multiple}; sizes are multiples of it."
            )
        height, width = size
        scale = min(1.0, long_side / max(height, width))
        scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
        if how == "squash":
            side = long_side - long_side % multiple
            whole, inside = (side, side), (side, side)
        else:
            whole = (scaled[0] + -scaled[0] % multiple, scaled[1] + -scaled[1] % multiple)
            inside = scaled
        return cls(
            how=how,
            original_size=(height, width),
            scaled_size=scaled,
            size=whole,
            crop=(0, 0, *inside),
        )

    def fit_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (height, width, 3) as (H, W, 3), of the frame's size.

        Raises:
            ImageError: it is not of the size that the frame was made for.
        """
        if image.shape[:2] != self.original_size:
            raise ImageError(
                f"The picture is {image.shape[:2]}, its frame for {self.original_size}."
            )
        if self.how == "squash":
            square = Image.fromarray(image).resize(self.size[::-1], Image.Resampling.LANCZOS)
            return np.array(square)
        if self.scaled_size != self.original_size:
            image = _resize(image, self.scaled_size, "area")
        return np.pad(image, [*self._margins(), (0, 0)])

    def fit_mask(self, mask: Mask) -> Mask:
        """A mask (height, width) as (H, W), of the frame's size; padding counts as known.

        Raises:
            MaskError: it is not of the picture's size.
        """
        if mask.shape != self.original_size:
            raise MaskError(
                f"The mask has the shape {mask.shape}, the picture {self.original_size}."
            )
        if self.how == "squash":
            grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
            return np.asarray(grey.resize(self.size[::-1], Image.Resampling.LANCZOS)) >= 128
        if self.scaled_size != self.original_size:
            share = _resize(mask.astype(np.float32), self.scaled_size, "area")
            mask = np.asarray(share > 1e-4, np.bool_)
        return np.pad(mask, self._margins())

    def unfit(self, image: NDArray[Any]) -> NDArray[Any]:
        """Crop the padding away, or undo the squashing: back to `scaled_size`.

        Args:
            image: (H, W) or (H, W, C), of the frame's size; uint8, float32 or bool.

        Returns:
            (height, width) or (height, width, C), the same dtype.

        Raises:
            ImageError: the picture is not of the frame's size.
        """
        if image.shape[:2] != self.size:
            raise ImageError(
                f"The picture has the shape {image.shape}; a height and width of {self.size} "
                "is expected here, the size of the fitted picture."
            )
        top, left, height, width = self.crop
        inner = image[top : top + height, left : left + width]
        if (height, width) == self.scaled_size:
            return inner.copy()
        if inner.dtype == np.bool_:
            return _resize(inner.astype(np.uint8), self.scaled_size, "nearest").astype(np.bool_)
        smaller = self.scaled_size[0] * self.scaled_size[1] < height * width
        return _resize(inner, self.scaled_size, "area" if smaller else "cubic")

    def _margins(self) -> list[tuple[int, int]]:
        """What is padded before and after the rows, and the columns."""
        return [(0, whole - part) for whole, part in zip(self.size, self.crop[2:], strict=True)]


def _resize(array: NDArray[Any], size: Size, how: str) -> NDArray[Any]:
    """(H, W) or (H, W, C) at another size by OpenCV's interpolation of this name."""
    import cv2

    modes = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
    resized = cv2.resize(array, (size[1], size[0]), interpolation=modes[how])
    return np.asarray(resized).reshape(*size, *array.shape[2:])
