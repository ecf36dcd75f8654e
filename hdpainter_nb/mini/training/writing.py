"""Weights on disk: fp16 safetensors that replace their predecessor in one go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from hdpainter_nb.utils.files import replacing


def put(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write `tensors` as fp16 to `path`, so that nobody ever reads half a file."""
    halves = {name: t.detach().half().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as part:
        save_file(halves, part, metadata={"format": "pt"})
