"""Between pictures and latents.

`pipeline` is one of diffusers with a VAE and an image processor. h, w = H/8, W/8, or H/4, W/4
for the VAE of an x4 upscaler.

A large picture goes through in one piece, as in the stock pipeline, where the memory suffices for
that, which is counted beforehand on a GPU; else in overlapping tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.vae_memory import Tile, decoded, encoded, factor_of, run
from hdpainter_nb.settings import PixelRounding

__all__ = ["CHART", "NEUTRAL", "Matrix", "decode", "encode", "fit_preview", "to_rgb"]

Matrix = NDArray[np.float32]  # (5, 3): four rows that take latents to RGB, one to add
CHART = 256
"""Side in pixels of the colour chart that previews are fitted to."""
NEUTRAL: Matrix = np.array(
    [[0.15, 0.15, 0.15], [0.1, 0.0, -0.1], [-0.05, 0.1, -0.05], [0.05, 0.05, 0.05], [0.5] * 3],
    np.float32,
)
"""A look at latents whose VAE is unknown: lightness from channel 0, hues from 1 and 2."""


def encode(
    pipeline: Any, picture: Tensor, how: str, rng: torch.Generator, *, tile: Tile = "auto"
) -> Tensor:
    """Latents of pictures, times the VAE's scaling factor.

    Args:
        pipeline: of diffusers.
        picture: (n, 3, H, W), -1 .. 1.
        how: ``mean`` of the posterior, or one ``sample`` of it (switch 15).
        rng: generator of the sample.
        tile: see `decode`.

    Returns:
        (n, 4, h, w) in the VAE's dtype.

    Raises:
        ModelError: the VAE gives no finite numbers, in float32 neither.
        torch.OutOfMemoryError: not even one tile fits.
    """
    vae, state = pipeline.vae, rng.get_state()

    def work(side: int | None, device: torch.device) -> Tensor:
        rng.set_state(state)  # a second attempt draws the same sample
        pixels = picture.to(device=device, dtype=vae.dtype)
        return vae.config.scaling_factor * encoded(vae, pixels, side, how, rng)

    size = picture.shape[-2], picture.shape[-1]
    return run(pipeline, "encode", size, tile, work).to(vae.dtype)


def decode(
    pipeline: Any,
    latents: Tensor,
    *,
    tile: Tile = "auto",
    float32: bool = False,
    rounding: PixelRounding = "nearest",
) -> NDArray[np.uint8]:
    """The picture that latents stand for, as the stock pipeline makes it.

    Args:
        pipeline: of diffusers.
        latents: (1, 4, h, w).
        tile: side in pixels of overlapping tiles to decode in, which takes less memory and differs
            a little near the seams; None: in one piece; ``auto``: in one piece where the memory
            suffices, else in the largest tiles that fit.
        float32: whether half precision shall not even be tried.
        rounding: of levels: to the ``nearest``, as the stock pipeline has it, or ``down``, as the
            official code cuts them.

    Returns:
        (H, W, 3).

    Raises:
        ModelError: latents or picture are not finite.
        torch.OutOfMemoryError: not even one tile fits.

    Warns:
        HDPainterWarning: the memory does not suffice for one piece, so tiles were used.
    """
    vae = pipeline.vae
    if not bool(torch.isfinite(latents).all()):
        raise ModelError("These latents are not finite, so there is no picture in them.")

    def work(side: int | None, device: torch.device) -> Tensor:
        scaled = latents.to(device=device, dtype=vae.dtype) / vae.config.scaling_factor
        return decoded(vae, scaled, side)

    size = factor_of(vae) * latents.shape[-2], factor_of(vae) * latents.shape[-1]
    image = run(pipeline, "decode", size, tile, work, float32=float32)
    if rounding == "down":
        levels = 255 * (image[0].float().clamp(-1, 1) + 1) / 2
        return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())
    return np.asarray(pipeline.image_processor.postprocess(image, output_type="pil")[0])


def fit_preview(pipeline: Any, factor: int = 8, size: int = CHART) -> Matrix:
    """Fit RGB = latents @ M + b to what the VAE encodes a smooth colour chart to.

    Args:
        pipeline: of diffusers.
        factor: pixels per latent position.
        size: side of the chart in pixels, a multiple of `factor`.

    Returns:
        (5, 3), by least squares over the chart's (size / factor)^2 colours; RGB in 0 .. 1.
    """
    chart = _chart(size)  # (1, 3, H, W), 0 .. 1
    latents = encode(pipeline, 2 * chart - 1, "mean", torch.Generator("cpu")).float().cpu()
    rows = latents[0].flatten(1).T.numpy()  # (hw, 4)
    colours = torch.nn.functional.avg_pool2d(chart, factor)[0].flatten(1).T.numpy()  # (hw, 3)
    matrix, *_ = np.linalg.lstsq(np.c_[rows, np.ones(len(rows))], colours, rcond=None)
    return matrix.astype(np.float32)


def _chart(size: int) -> Tensor:
    """(1, 3, size, size) in 0 .. 1: three slow waves at unlike angles, so all hues occur."""
    y, x = torch.meshgrid(*[torch.linspace(0, 2 * torch.pi, size)] * 2, indexing="ij")
    waves = (torch.sin(x + 2 * y), torch.sin(2 * x - y + 1), torch.sin(x - 3 * y + 2))
    return torch.stack([0.5 + 0.5 * wave for wave in waves])[None]


def to_rgb(latents: Tensor | NDArray[Any], matrix: Matrix) -> NDArray[np.uint8]:
    """Read latents (4, h, w), or (1, 4, h, w), as RGB: (h, w, 3)."""
    array = torch.as_tensor(latents).detach().float().cpu().numpy()
    array = array.reshape(array.shape[-3:])  # (4, h, w)
    rgb = np.einsum("chw,ck->hwk", array, matrix[:4]) + matrix[4]
    return (rgb.clip(0, 1) * 255).round().astype(np.uint8)
