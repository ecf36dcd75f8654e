"""What the benchmarks run: the miniature, and Stable Diffusion 1.5's UNet with random weights."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from hdpainter_nb import Job, Sampler, load, mini
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.settings import Settings


def miniature() -> tuple[Model, Conditioning, State]:
    """The bundled model and a task for it, 256 px."""
    model, task = load("mini"), mini.triple(0)
    sampler = Sampler(model, Job(task.image, task.mask, task.prompt), Capture.nothing())
    return model, sampler.cond, sampler.state


def sd15(side: int, dtype: torch.dtype, device: str) -> tuple[Model, Conditioning, State]:
    """SD 1.5's inpainting UNet from its configuration, a quarter of the picture to fill.

    Args:
        side: of the picture, in pixels.
    """
    from diffusers import UNet2DConditionModel

    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, cross_attention_dim=768, attention_head_dim=8
        )
    torch.nn.Module.to(unet, dtype)
    model = Model.from_unet(unet.eval())
    return model, *quarter(side, 768, dtype, device)


def x4(dtype: torch.dtype, device: str) -> Any:
    """Stability's x4 upscaler from its configuration, with random weights."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    from support.builders_full import make_x4

    with tempfile.TemporaryDirectory() as folder:
        return make_x4(Path(folder), dtype, device)


def quarter(side: int, width: int, dtype: torch.dtype, device: str) -> tuple[Conditioning, State]:
    """A prompt of three words and a square hole in the middle, as the UNet is told of them."""
    torch.manual_seed(0)
    masks = {}
    for level in (8, 16, 32):
        n = side // level
        masks[level] = torch.zeros(n, n, device=device)
        masks[level][n // 4 : n - n // 4, n // 4 : n - n // 4] = 1
    latent = (1, 4, side // 8, side // 8)
    noise: dict[str, Any] = {"device": device, "dtype": dtype}
    cond = Conditioning(
        context=torch.randn(2, 77, width, **noise),
        latent_mask=masks[8][None, None].to(dtype),
        masked_image_latents=torch.randn(latent, **noise),
        painta_masks={level: masks[level] > 0.5 for level in (16, 32)},
        score_mask=masks[32],
        indices=(1, 2, 3, 4),
        size=(side, side),
        crop=(0, 0, side, side),
        tokens=("<sot>", "a", "red", "star", "<eot>"),
    )
    return cond, State(0, torch.randn(latent, **noise), torch.Generator().get_state())


def settings(**method: bool) -> Settings:
    """The official preset, 10 steps, Stable Diffusion's guidance scale."""
    return Settings(steps=10, guidance_scale=7.5, **method)
