"""How the known region is kept during sampling (eq. 10)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hdpainter_nb.images.compositing import Mask
from hdpainter_nb.method.masks import dilate

__all__ = ["blend_known", "grown", "shrinking_mask", "soft_mask"]

_GROWTH = 19  # steps to the four neighbours, before eq. 10's mask is made small
_BLUR = (19, 3.2)  # taps and sigma of the blur, in latent positions


def blend_known(
    x: Float[Tensor, "*b c h w"], known: Float[Tensor, "*b c h w"], mask: Float[Tensor, "*b 1 h w"]
) -> Float[Tensor, "*b c h w"]:
    """X <- M x + (1 - M) known: eq. 10, where x is the x0 prediction and known is E(I).

    Blended latent diffusion (Avrahami et al. 2023) does the same with x_t and known latents that
    are noised as much: so UNets of 4 channels keep to the picture.

    Args:
        mask: 1 = fill; soft in eq. 10.
    """
    return mask * x + (1 - mask) * known


def grown(mask: Float[Tensor, "*b 1 h w"], positions: int) -> Float[Tensor, "*b 1 h w"]:
    """A mask that also covers whatever is so many positions away, diagonals included.

    Args:
        mask: 1 = fill; what is not 0 counts.
        positions: 0 or more; 0 gives the mask as it is.
    """
    if positions == 0:
        return mask
    hole = (mask != 0).float()
    wide = nn.functional.max_pool2d(hole, 2 * positions + 1, stride=1, padding=positions)
    return wide.to(mask.dtype)


def shrinking_mask(
    mask: Float[Tensor, "*b 1 h w"], larger: int, step: int, steps: int
) -> Float[Tensor, "*b 1 h w"]:
    """The mask of one step, where a thin hole is begun with larger ones.

    Blended latent diffusion (Avrahami et al. 2023, sec. 4.3): a thin hole of few latent positions
    leaves the model no room to begin in, so masks shrink to it while the noise does.

    Args:
        mask: the hole's own, 1 = fill.
        larger: so many grown masks come before it, each a position wider than the next.
        step, steps: number of the step, from 0, and of all steps. Each mask serves for
            ``steps // (larger + 1) + 1`` of them, as the authors' code divides them.
    """
    stage = step // (steps // (larger + 1) + 1)
    return grown(mask, larger - stage)


def soft_mask(mask: Mask, size: tuple[int, int]) -> NDArray[np.float32]:
    """The mask M of eq. 10: grown, made small in 8 bits, and blurred.

    Args:
        mask: (H, W) bool.
        size: (h, w) of the latents.

    Returns:
        (h, w) in 0..1.
    """
    import cv2

    large = Image.fromarray(dilate(mask, _GROWTH).astype(np.uint8) * np.uint8(255))
    small = np.asarray(large.resize(size[::-1], Image.Resampling.BICUBIC), np.float32) / 255
    taps, sigma = _BLUR
    soft = cv2.GaussianBlur(small, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(soft, np.float32).clip(0, 1)
