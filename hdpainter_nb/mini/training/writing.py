"""Weights on disk: fp16 safetensors that replace their predecessor in one go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from hdpainter_nb.utils.files import replacing


def put(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `tensors` as fp16 to `path`, so that nobody ever reads half a file."""
    halves = {name: t.detach().half().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as part:
        save_file(halves, part, metadata={"format": "pt"})


def put_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write a UNet and its configuration as the part `unet` of a pipeline folder."""
    part = folder / "unet"
    part.mkdir(parents=True, exist_ok=True)
    unet.save_config(part)
    put(unet.state_dict(), part / "diffusion_pytorch_model.safetensors")
