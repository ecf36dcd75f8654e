"""One mask at the resolution of each of its readers: the UNet, PAIntA, the score, the VAE.

Which pixels are masked at which level is one of the points where the sources disagree (switches
7 to 9): the paper samples the nearest pixel; the official code dilates by one pixel and resizes
8-bit pictures bicubically; the community pipeline samples a bicubic of four by four pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.images.fit import Crop, Frame, Mask, counts
from hdpainter_nb.settings import SoftMask
from hdpainter_nb.utils.check import one_of

if TYPE_CHECKING:
    import torch

__all__ = [
    "FittedMask",
    "covered",
    "dilate",
    "to_painta",
    "to_pixels",
    "to_score",
    "to_unet",
    "touched",
    "vanished",
]

UNetMask = Literal["dilate_any", "nearest", "nearest_centre"]  # switch 8
PAIntAMask = Literal["dilate_bicubic", "nearest", "bicubic"]  # switch 9
ScoreMask = Literal["bicubic_binary", "nearest", "bicubic"]  # switch 7


@dataclass(frozen=True, eq=False)
class FittedMask:
    """A mask at the size that the model works at, and at the resolution of each of its readers.

    >>> frame = Frame.of(mask.shape, how="pad", long_side=512)
    >>> FittedMask.of(mask, frame).for_painta(16, settings.painta_mask)
    """

    pixels: Mask  # (H, W); padding counts as known
    crop: Crop  # where the picture lies in it; dilation stays inside
    given: Mask | None = None  # of the picture's own size, where the frame squashed it

    @classmethod
    def of(cls, mask: NDArray[Any], frame: Frame, soft_mask: SoftMask = "half") -> FittedMask:
        """From a mask of the picture's own size.

        Args:
            mask: (height, width) bool, or uint8, black to white.
            frame: of the picture.
            soft_mask: `Settings.soft_mask` (switch 19).

        Raises:
            MaskError: it is not of the size that the frame was made for.
        """
        given = None
        if frame.how == "squash":
            given = counts(mask, soft_mask) if mask.dtype == np.uint8 else mask.astype(np.bool_)
        return cls(frame.fit_mask(mask, soft_mask), frame.crop, given)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels, padding included."""
        height, width = self.pixels.shape
        return height, width

    def for_pixels(self, how: UNetMask) -> Mask:
        """What is blanked before the VAE sees the picture, (H, W) bool: `to_pixels`."""
        return to_pixels(self.pixels, how, crop=self.crop)

    def for_unet(self, how: UNetMask, factor: int = 8) -> torch.Tensor:
        """The UNet's mask channel, (1, 1, H / factor, W / factor) float32: `to_unet`.

        ``nearest_centre`` reads a squashed mask at its own size, so each position is one pixel's.
        """
        if how == "nearest_centre" and self.given is not None:
            height, width = self.size
            return _centres(self.given, (height // factor, width // factor))
        return to_unet(self.pixels, how, factor, crop=self.crop)

    def for_painta(self, level: int, how: PAIntAMask) -> torch.Tensor:
        """PAIntA's mask at H/level, (H / level, W / level) bool: `to_painta`."""
        return to_painta(self.pixels, level, how, crop=self.crop)

    def for_score(self, how: ScoreMask, level: int = 32) -> torch.Tensor:
        """The score's target, (H / level, W / level) float32: `to_score`."""
        return to_score(self.pixels, how, level, crop=self.crop)


def dilate(mask: Mask, pixels: int = 1) -> Mask:
    """Grow the mask by `pixels` steps to the four neighbours (a diamond).

    The official code's dilation (switches 8 and 9) is one such step, before any padding.

    Args:
        mask: (H, W) bool.
        pixels: number of steps, 0 or more.

    Returns:
        (H, W) bool, a new array.
    """
    import cv2

    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), cross, iterations=pixels), np.bool_)


def covered(mask: Mask, size: tuple[int, int]) -> Mask:
    """The cells of a coarser grid that the mask covers more than half of.

    Where cells are of no whole number of pixels, each takes all that it touches, as
    ``torch.nn.functional.interpolate`` in mode ``area`` does.

    Args:
        mask: (H, W) bool.
        size: (h, w), the number of cells.

    Returns:
        (h, w) bool.
    """
    inside, area = _inside_cells(mask, size)
    return 2 * inside > area


def touched(mask: Mask, size: tuple[int, int]) -> Mask:
    """The cells of a coarser grid that the mask covers any pixel of; see `covered`.

    Args:
        mask: (H, W) bool.
        size: (h, w), the number of cells.

    Returns:
        (h, w) bool.
    """
    return _inside_cells(mask, size)[0] > 0


def _inside_cells(
    mask: Mask, size: tuple[int, int]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """(h, w) each: masked pixels of every cell, and all of them."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    spans = []
    for length, cells in zip(mask.shape, size, strict=True):
        number = np.arange(cells)
        spans.append((number * length // cells, -(-(number + 1) * length // cells)))
    (top, bottom), (left, right) = spans
    inside = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left]
    inside += sums[top][:, left]
    return inside, np.outer(bottom - top, right - left)


def to_pixels(mask: Mask, how: UNetMask, *, crop: Crop | None = None) -> Mask:
    """The pixels that are blanked (set to mid-grey, 0 in -1..1) before the VAE sees the picture.

    Official code: the dilated mask, the same that `to_unet` scales down. Others: the mask itself.

    Args:
        mask: (H, W) bool.
        how: `Settings.unet_mask` (switch 8).
        crop: see `to_unet`.

    Returns:
        (H, W) bool.

    Raises:
        SettingsError: unknown `how`.
    """
    one_of("unet_mask", how, get_args(UNetMask))
    return _dilated(mask, crop) if how == "dilate_any" else mask.astype(np.bool_, copy=True)


def to_unet(
    mask: Mask,
    how: UNetMask,
    factor: int = 8,
    *,
    crop: Crop | None = None,
) -> torch.Tensor:
    """The mask channel of the UNet's input (switch 8).

    ``dilate_any`` (official): dilated by one pixel, resized bicubically in 8 bits, 1 wherever not
    zero. ``nearest`` (paper, community): every `factor`-th pixel, as diffusers'
    ``StableDiffusionInpaintPipeline.prepare_mask_latents`` does. ``nearest_centre`` (Blended Latent
    Diffusion): the pixel in the middle of each cell, as Pillow's nearest takes it.

    Args:
        mask: (H, W) bool, H and W at least `factor`.
        how: `Settings.unet_mask`.
        factor: pixels per latent position.
        crop: (top, left, height, width) of the picture within its padding; the official code
            dilates before it pads, so the dilation stays inside. None: there is no padding.

    Returns:
        (1, 1, H / factor, W / factor) float32, 0 or 1.

    Raises:
        SettingsError: unknown `how`.
    """
    one_of("unet_mask", how, get_args(UNetMask))
    if how == "nearest":
        return _interpolated(mask, factor, "nearest")[None, None]
    if how == "nearest_centre":
        return _centres(mask, (mask.shape[0] // factor, mask.shape[1] // factor))
    return _tensor(_bicubic8(_dilated(mask, crop), factor) > 0)[None, None]


def to_painta(
    mask: Mask,
    level: int,
    how: PAIntAMask,
    *,
    crop: Crop | None = None,
) -> torch.Tensor:
    """PAIntA's mask M of eq. 5 at H/level (switch 9).

    ``dilate_bicubic`` (official): dilated by one pixel, resized bicubically in 8 bits, > 0.5.
    ``nearest``: the paper. ``bicubic`` (community): torch's bicubic without anti-aliasing, > 0.5.

    Args:
        mask: (H, W) bool.
        level: pixels per position: 8, 16 or 32.
        how: `Settings.painta_mask`.
        crop: see `to_unet`.

    Returns:
        (H / level, W / level) bool.

    Raises:
        SettingsError: unknown `how`.
    """
    one_of("painta_mask", how, ("dilate_bicubic", "nearest", "bicubic"))
    if how == "dilate_bicubic":
        return _tensor(_bicubic8(_dilated(mask, crop), level) >= 128) > 0
    return _interpolated(mask, level, how) > 0.5


def to_score(
    mask: Mask,
    how: ScoreMask,
    level: int = 32,
    *,
    crop: Crop | None = None,
) -> torch.Tensor:
    """The target M inside the score S of eq. 9 (switch 7).

    ``bicubic_binary`` (official): the same mask as PAIntA's at H/32, dilated too. ``nearest``:
    the paper. ``bicubic`` (community): left soft, and slightly outside 0..1 near edges.

    Args:
        mask: (H, W) bool.
        how: `Settings.score_mask`.
        level: pixels per position.
        crop: see `to_unet`.

    Returns:
        (H / level, W / level) float32.

    Raises:
        SettingsError: unknown `how`.
    """
    one_of("score_mask", how, ("bicubic_binary", "nearest", "bicubic"))
    if how == "bicubic_binary":
        return to_painta(mask, level, "dilate_bicubic", crop=crop).float()
    return _interpolated(mask, level, how)


def vanished(masks: Mapping[int, Any]) -> list[int]:
    """The levels at which no masked position is left, in ascending order.

    A hole smaller than a cell of the H/32 grid may fall between its positions: the masks are
    then all zero and usable, but PAIntA and RASG cannot see the hole.

    Args:
        masks: level -> (H / level, W / level), tensor or array.
    """
    return [level for level, mask in sorted(masks.items()) if not bool((mask > 0).any())]


def _dilated(mask: Mask, crop: Crop | None) -> Mask:
    """Dilated by one pixel, but not into the padding."""
    if crop is None:
        return dilate(mask, 1)
    top, left, height, width = crop
    inside = (slice(top, top + height), slice(left, left + width))
    grown = np.zeros(mask.shape, np.bool_)
    grown[inside] = dilate(mask[inside], 1)
    return grown


def _bicubic8(mask: Mask, factor: int) -> NDArray[np.uint8]:
    """Pillow's anti-aliased bicubic on an 8-bit picture, which rounds small tails to zero."""
    height, width = mask.shape
    picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.array(picture.resize((width // factor, height // factor), Image.Resampling.BICUBIC))


def _centres(mask: Mask, size: tuple[int, int]) -> torch.Tensor:
    """The pixel in the middle of each of (h, w) cells: (1, 1, h, w) float32."""
    picture = Image.fromarray(mask.astype(np.uint8))
    small = np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST), np.bool_)
    return _tensor(small)[None, None]


def _interpolated(mask: Mask, factor: int, mode: str) -> torch.Tensor:
    """Torch's own interpolation of the full-size mask: (H / factor, W / factor) float32."""
    import torch.nn.functional as F

    size = (mask.shape[0] // factor, mask.shape[1] // factor)
    return F.interpolate(_tensor(mask)[None, None], size=size, mode=mode)[0, 0]


def _tensor(mask: Mask) -> torch.Tensor:
    import torch

    return torch.from_numpy(mask.astype(np.float32))
