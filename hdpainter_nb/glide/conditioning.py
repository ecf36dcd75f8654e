"""A job as GLIDE's networks are told it: `GlideConditioning`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hdpainter_nb.capture.capture import ALL_LEVELS
from hdpainter_nb.method.masks import touched
from hdpainter_nb.models.conditioning import TextConditioning, UNetInputs

__all__ = ["GlideConditioning", "hole_at", "level_masks", "squeezed", "to_picture", "to_units"]

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class GlideConditioning(TextConditioning):
    """A job as a stage of GLIDE needs it; s = 64 or 256.

    Its ``context`` is what the text transformer makes of all positions, padding included.
    """

    pooled: Tensor  # (2, 4 channels): the text as a whole
    known: Tensor  # (1, 3, s, s) in -1 .. 1, 0 in the hole
    known_mask: Tensor  # (1, 1, s, s): 1 where known
    masks: Mapping[int, Tensor]  # level -> (256 / level, 256 / level) bool, True in the hole
    low: Tensor | None = None  # (1, 3, s, s): the small picture, enlarged bilinearly

    def unet_inputs(self, x: Tensor, halves: slice) -> UNetInputs:
        """[x, known pixels, where known(, small picture)] for the halves; see the base."""
        context = self.context[halves]
        parts = [x, self.known, self.known_mask, *([] if self.low is None else [self.low])]
        stacked = torch.cat(parts, 1).expand(len(context), -1, -1, -1)
        return UNetInputs(stacked, context, {"pooled": self.pooled[halves]})


def squeezed(picture: Picture, side: int) -> Picture:
    """A picture (H, W, 3) as a square of `side`, bicubic (Pillow's), as the notebook reads it."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def hole_at(mask: Mask, small: int, side: int) -> Mask:
    """(side, side): the hole as a stage sees it.

    The base model's grid decides: a position of it is hole where any masked pixel falls, so that
    nothing of the hole counts as known; the upsampler's is that one, enlarged.

    Args:
        mask: (H, W) bool.
        small: the base model's side.
        side: the stage's, a multiple.
    """
    hole = touched(mask, (small, small))
    times = side // small
    return hole.repeat(times, 0).repeat(times, 1)


def level_masks(hole: Mask, levels: tuple[int, ...] = ALL_LEVELS) -> dict[int, Mask]:
    """Level -> (h, w): the hole at the resolution of each level, wherever any of it falls.

    Args:
        hole: (S, S), of the finished picture's size.
        levels: pixels per position.
    """
    sides = {level: len(hole) // level for level in levels}
    return {level: touched(hole, (side, side)) for level, side in sides.items() if side}


def to_units(picture: Picture) -> Tensor:
    """(H, W, 3) uint8 as (1, 3, H, W) in -1 .. 1."""
    pixels = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    return pixels / 127.5 - 1


def to_picture(x: Tensor, *, down: bool = False) -> Picture:
    """(3, H, W) in -1 .. 1 as (H, W, 3) uint8, to the nearest level or cut down to it."""
    levels = (x.detach().float().cpu() + 1) * 127.5
    levels = levels.floor() if down else levels.round()
    return np.ascontiguousarray(levels.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())
