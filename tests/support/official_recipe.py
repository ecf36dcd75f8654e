"""What the official script does with a picture and its mask, worked out with Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

__all__ = ["Prepared", "official_picture", "official_size", "prepared"]


@dataclass(frozen=True)
class Prepared:
    """A picture and its mask as they enter the networks."""

    size: tuple[int, int]  # width, height before padding
    picture: np.ndarray  # (H, W, 3) uint8, padded with black
    hole: np.ndarray  # (H, W) bool: blanked before the VAE sees the picture
    latent_mask: np.ndarray  # (H / 8, W / 8) bool


def official_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height to work at, from Python's own floats and ``int``."""
    aspect = width / height
    return min(side, int(side * aspect)), min(side, int(side / aspect))


def prepared(image: np.ndarray, mask: np.ndarray, side: int) -> Prepared:
    """From a picture (h, w, 3) and a grey mask (h, w), both uint8."""
    height, width = mask.shape
    size = official_size(width, height, side)
    scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    grey = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BICUBIC))
    hole = np.pad(grey > 0, 1)
    hole = hole[1:-1, 1:-1] | hole[:-2, 1:-1] | hole[2:, 1:-1] | hole[1:-1, :-2] | hole[1:-1, 2:]
    margins = ((0, -size[1] % 64), (0, -size[0] % 64))
    hole = np.pad(hole, margins)
    cells = (hole.shape[1] // 8, hole.shape[0] // 8)
    white = Image.fromarray(hole.astype(np.uint8) * np.uint8(255))
    small = np.asarray(white.resize(cells, Image.Resampling.BICUBIC))
    return Prepared(size, np.pad(scaled, (*margins, (0, 0))), hole, small > 0)


def official_picture(pipe: Any, latents: torch.Tensor) -> np.ndarray:
    """(H, W, 3): decoded, and cut to whole levels."""
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    unit = (decoded[0].permute(1, 2, 0).clip(-1, 1) + 1) / 2
    return np.asarray(np.floor(255 * unit.numpy()), np.uint8)
