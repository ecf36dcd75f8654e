"""GLIDE's networks and vocabulary, tiny, with weights by a formula: the same ones anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdpainter_nb.glide.model import GlideModel, load_glide
from hdpainter_nb.models.glide.config import GlideConfig
from hdpainter_nb.models.glide.unet import GlideUNet

SIZES: dict[str, Any] = {
    "channels": 32,
    "res_blocks": 1,
    "head_channels": 16,
    "vocabulary": 265,
    "text_length": 12,
    "text_width": 32,
    "text_layers": 2,
    "text_heads": 2,
}
BASE = GlideConfig(sample_size=16, channel_mult=(1, 2, 1, 1), attention_at=(2, 4, 8), **SIZES)
UPSAMPLER = GlideConfig(
    sample_size=64,
    in_channels=10,
    channel_mult=(1, 1, 1, 1, 2, 1),
    attention_at=(8, 16, 32),
    **SIZES,
)
MERGES = (
    ("s", "t"),
    ("a", "r"),
    ("st", "ar"),
    ("Ġ", "r"),
    ("e", "d"),
    ("Ġr", "ed"),
    ("Ġ", "star"),
    ("i", "n"),
)


def numbers(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Values of a wave that no short period repeats, with a standard deviation near `scale`."""
    places = np.arange(int(np.prod(shape)), dtype=np.float64)
    values = np.sin(places * 12.9898 + seed * 78.233) * 43758.5453
    spread = (values - np.floor(values) - 0.5) * 12**0.5 * scale
    return torch.from_numpy(spread.reshape(shape)).float()


def fill(network: torch.nn.Module) -> None:
    """Weights by the formula, of a size that keeps the activations near 1."""
    for seed, (name, value) in enumerate(sorted(network.state_dict().items())):
        if value.ndim == 1:
            new = 0.1 * numbers(tuple(value.shape), seed) + float(name.endswith("weight"))
        else:
            new = numbers(tuple(value.shape), seed, value[0].numel() ** -0.5)
        value.copy_(new)


def make_unet(config: GlideConfig) -> GlideUNet:
    """A network without a file."""
    network = GlideUNet(config).eval().requires_grad_(False)
    fill(network)
    return network


def make_vocabulary(folder: Path, names: tuple[str, str] = ("encoder.json", "vocab.bpe")) -> Path:
    """The 256 bytes, what the merges make of them, and an end."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES), "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    table = {token: number for number, token in enumerate(tokens)}
    (folder / names[0]).write_text(json.dumps(table), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / names[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_folder(folder: Path) -> Path:
    """Both networks' files under their published names, and the vocabulary."""
    make_vocabulary(folder)
    torch.save(make_unet(BASE).state_dict(), folder / "base_inpaint.pt")
    torch.save(make_unet(UPSAMPLER).state_dict(), folder / "upsample_inpaint.pt")
    return folder


def load(folder: Path) -> GlideModel:
    """Both, on the CPU."""
    return load_glide(folder, configs=(BASE, UPSAMPLER), device="cpu")
