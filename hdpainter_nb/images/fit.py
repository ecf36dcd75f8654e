"""A picture and its mask at a size that the model takes (switches 17 to 19): `Frame`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError, SettingsError
from hdpainter_nb.images.resize import Size
from hdpainter_nb.settings import Scaling, SoftMask
from hdpainter_nb.utils.check import one_of

__all__ = ["Crop", "Frame", "Mask", "counts", "scaled_size"]

Mask = NDArray[np.bool_]
_KERNELS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
Crop = tuple[int, int, int, int]
"""Top, left, height, width of the picture within its padding."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A size that the model takes, and where the picture lies in it (switches 17 and 18).

    ``pad`` (official): black padding on the right and at the bottom, up to a multiple. ``squash``
    (community): straight to a square.

    ``bicubic`` (official), ``lanczos`` (community) and ``bilinear`` are Pillow's, of 8 bits, for
    picture and mask alike; the long side becomes exactly what is asked for, also upwards, and the
    short one is cut to whole pixels. ``area`` scales only what is larger; a mask position is set
    wherever any masked pixel falls.
    """

    how: Literal["pad", "squash"]
    scaling: Scaling
    original_size: Size  # (height, width) of the picture as given
    scaled_size: Size  # of the picture scaled with its proportions, if at all
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
        scaling: Scaling | None = None,
    ) -> Self:
        """The frame of a picture that is scaled to `long_side`.

        Args:
            size: (height, width) of the picture in pixels.
            how: `Settings.size`.
            long_side: in pixels; rounded down to a multiple where the picture is squashed.
            multiple: height and width of the frame are multiples of this.
            scaling: `Settings.scaling`; None is ``area`` where it pads, ``lanczos`` where it
                squashes.

        Raises:
            SettingsError: unknown `how` or `scaling`, `long_side` below `multiple`.
        """
        one_of("size", how, ("pad", "squash"))
        if scaling is None:
            scaling = "area" if how == "pad" else "lanczos"
        one_of("scaling", scaling, get_args(Scaling))
        if long_side < multiple:
            raise SettingsError(
                f"long_side={long_side} is below {multiple}; sizes are multiples of it."
            )
        height, width = size
        # What was squashed comes back with its proportions, and never larger than it was.
        scaled = scaled_size((height, width), long_side, scaling if how == "pad" else "area")
        if how == "squash":
            side = long_side - long_side % multiple
            whole, inside = (side, side), (side, side)
        else:
            whole = (scaled[0] + -scaled[0] % multiple, scaled[1] + -scaled[1] % multiple)
            inside = scaled
        return cls(
            how=how,
            scaling=scaling,
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
        inside = self.crop[2:]
        if inside != self.original_size:
            image = self._scaled(image, inside)
        return np.pad(image, [*self._margins(), (0, 0)])

    def fit_mask(self, mask: NDArray[Any], soft_mask: SoftMask = "half") -> Mask:
        """A mask (height, width) as (H, W), of the frame's size; padding counts as known.

        Args:
            mask: bool, or uint8, black to white.
            soft_mask: `Settings.soft_mask`, which grey is hole. Pillow's ways of scaling make grey
                of every edge, so it is asked after them; under ``area`` it is asked before.

        Raises:
            MaskError: it is not of the picture's size.
        """
        if mask.shape != self.original_size:
            raise MaskError(
                f"The mask has the shape {mask.shape}, the picture {self.original_size}."
            )
        inside = self.crop[2:]
        levels = mask if mask.dtype == np.uint8 else mask.astype(np.uint8) * np.uint8(255)
        if inside == self.original_size:
            hole = counts(levels, soft_mask)
        elif self.scaling == "area":
            share = _resize(counts(levels, soft_mask).astype(np.float32), inside, self._area())
            hole = np.asarray(share > 1e-4, np.bool_)
        else:
            hole = counts(self._scaled(levels, inside), soft_mask)
        return np.pad(hole, self._margins())

    def fit_values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers (height, width, C) as (H, W, C), each that of the nearest pixel; padding is 0.

        None is mixed with another, so that a number that marks a pixel goes on marking it.

        Raises:
            ImageError: it is not of the size that the frame was made for.
        """
        if values.shape[:2] != self.original_size:
            raise ImageError(
                f"The picture is {values.shape[:2]}, its frame for {self.original_size}."
            )
        rows, columns = (
            np.arange(new) * old // new
            for new, old in zip(self.crop[2:], self.original_size, strict=True)
        )
        return np.pad(values[rows][:, columns], [*self._margins(), (0, 0)])

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

    def _scaled(self, array: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
        """(h, w) or (h, w, 3) at another size."""
        if self.scaling == "area":
            return _resize(array, size, self._area())
        return np.array(Image.fromarray(array).resize(size[::-1], _KERNELS[self.scaling]))

    def _area(self) -> str:
        """OpenCV's area interpolation, but where a side grows."""
        larger = any(new > old for new, old in zip(self.crop[2:], self.original_size, strict=True))
        return "cubic" if larger else "area"

    def _margins(self) -> list[tuple[int, int]]:
        """What is padded before and after the rows, and the columns."""
        return [(0, whole - part) for whole, part in zip(self.size, self.crop[2:], strict=True)]


def counts(levels: NDArray[np.uint8], soft_mask: SoftMask) -> Mask:
    """Which grey of a mask is hole (switch 19): any above 0 (official), or from half on.

    Raises:
        SettingsError: unknown `soft_mask`.
    """
    one_of("soft_mask", soft_mask, get_args(SoftMask))
    return levels >= (1 if soft_mask == "any" else 128)


def scaled_size(size: Size, long_side: int, scaling: Scaling) -> Size:
    """The size of a picture that is scaled with its proportions (switch 18).

    Args:
        size: (H, W).
        long_side: of what comes out, in pixels; ``area`` only scales down to it.
        scaling: ``area`` rounds the short side to whole pixels, the others cut it.
    """
    height, width = size
    if scaling == "area":
        scale = min(1.0, long_side / max(size))
        return max(1, round(height * scale)), max(1, round(width * scale))
    # Divided in this order: 512 / (512 / 372) is 371.99... and cut to 371, as it is officially.
    aspect = width / height
    rows, columns = int(long_side / aspect), int(long_side * aspect)
    return max(1, min(long_side, rows)), max(1, min(long_side, columns))


def _resize(array: NDArray[Any], size: Size, how: str) -> NDArray[Any]:
    """(H, W) or (H, W, C) at another size by OpenCV's interpolation of this name."""
    import cv2

    modes = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
    resized = cv2.resize(array, (size[1], size[0]), interpolation=modes[how])
    return np.asarray(resized).reshape(*size, *array.shape[2:])
