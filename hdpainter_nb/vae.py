"""Between pictures and latents: encode, decode, and a cheap linear look at latents.

`parts` is a diffusers pipeline with a VAE and an image processor. h, w = H/8, W/8, or H/4, W/4
for the VAE of an x4 upscaler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.errors import ModelError

__all__ = ["NEUTRAL", "decode", "encode", "fit_preview", "to_rgb"]

Matrix = NDArray[np.float32]  # (5, 3): four rows that take latents to RGB, one to add

NEUTRAL: Matrix = np.array(
    [[0.15, 0.15, 0.15], [0.1, 0.0, -0.1], [-0.05, 0.1, -0.05], [0.05, 0.05, 0.05], [0.5] * 3],
    np.float32,
)
"""A look at latents whose VAE is unknown: lightness from channel 0, hues from 1 and 2."""


def encode(
    parts: Any, picture: Tensor, how: str, rng: torch.Generator, *, tiled: bool = False
) -> Tensor:
    """Latents of pictures, times the VAE's scaling factor.

    Args:
        parts: the pipeline.
        picture: (n, 3, H, W), -1 .. 1.
        how: ``mean`` of the posterior, or one ``sample`` of it (switch 15).
        rng: generator of the sample.
        tiled: see `decode`.

    Returns:
        (n, 4, h, w) in the VAE's dtype.

    Raises:
        ModelError: the VAE gives no finite numbers, in float32 neither.
        torch.OutOfMemoryError: try `tiled`.
    """
    vae, device, state = parts.vae, parts._execution_device, rng.get_state()

    def run() -> Tensor:
        pixels = picture.to(device=device, dtype=vae.dtype)
        if how == "sample":
            rng.set_state(state)
            latents: Tensor = parts._encode_vae_image(pixels, rng)
            return latents
        out = vae.encode(pixels)
        mean: Tensor = out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latents
        scaled: Tensor = vae.config.scaling_factor * mean
        return scaled

    with _tiles(vae, tiled):
        return _finite(vae, run)


def decode(parts: Any, latents: Tensor, *, tiled: bool = False) -> NDArray[np.uint8]:
    """The picture that latents stand for, as the stock pipeline makes it.

    Args:
        parts: the pipeline.
        latents: (1, 4, h, w).
        tiled: decode in overlapping tiles where the picture is larger than the VAE's own size;
            takes less memory, and differs a little near the seams.

    Returns:
        (H, W, 3).

    Raises:
        ModelError: latents or picture are not finite.
        torch.OutOfMemoryError: try `tiled`.
    """
    vae, device = parts.vae, parts._execution_device
    if not bool(torch.isfinite(latents).all()):
        raise ModelError("These latents are not finite, so there is no picture in them.")

    def run() -> Tensor:
        scaled = latents.to(device=device, dtype=vae.dtype) / vae.config.scaling_factor
        image: Tensor = vae.decode(scaled, return_dict=False)[0]
        return image

    with _tiles(vae, tiled):
        image = _finite(vae, run)
    return np.asarray(parts.image_processor.postprocess(image, output_type="pil")[0])


@contextmanager
def _tiles(vae: Any, tiled: bool) -> Iterator[None]:
    """The VAE works in tiles inside, and as it did before outside."""
    was = getattr(vae, "use_tiling", False)
    try:
        if tiled:
            vae.use_tiling = True
        yield
    finally:
        if tiled:
            vae.use_tiling = was


def _finite(vae: Any, run: Callable[[], Tensor]) -> Tensor:
    """Run the VAE; where half precision overflows, once more in float32."""
    dtype = vae.dtype
    with torch.no_grad():
        out = run()
    if bool(torch.isfinite(out).all()):
        return out
    meta = any(p.device.type == "meta" for p in vae.parameters())
    if dtype != torch.float32 and not meta:
        try:
            vae.to(dtype=torch.float32)
            with torch.no_grad():
                out = run()
        finally:
            vae.to(dtype=dtype)
    if not bool(torch.isfinite(out).all()):
        raise ModelError(
            f"The VAE gives no finite numbers in {str(dtype).removeprefix('torch.')}: load the "
            "model with dtype='float32', or put in a VAE that is made for half precision."
        )
    return out.to(dtype)


def fit_preview(parts: Any, factor: int = 8, size: int = 256) -> Matrix:
    """Fit RGB = latents @ M + b to what the VAE encodes a smooth colour chart to.

    Args:
        parts: the pipeline.
        factor: pixels per latent position.
        size: side of the chart in pixels, a multiple of `factor`.

    Returns:
        (5, 3), by least squares over the chart's (size / factor)^2 colours; RGB in 0 .. 1.
    """
    chart = _chart(size)  # (1, 3, H, W), 0 .. 1
    latents = encode(parts, 2 * chart - 1, "mean", torch.Generator("cpu")).float().cpu()
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
