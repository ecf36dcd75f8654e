"""What a UNet looks like to hooks, and a layer of it that fails: for tests of leaving no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.diffusers


def snapshot(unet: nn.Module) -> dict[str, Any]:
    """Everything that hooks could leave behind, by identity."""
    return {
        "processors": {k: id(v) for k, v in unet.attn_processors.items()},
        "hooks": {
            name: (list(m._forward_pre_hooks), list(m._forward_hooks), list(m._backward_hooks))
            for name, m in unet.named_modules()
        },
        "learning": {name: p.requires_grad for name, p in unet.named_parameters()},
        "dtypes": {name: (p.dtype, p.data_ptr()) for name, p in unet.named_parameters()},
        "training": {name: m.training for name, m in unet.named_modules()},
        "grad_mode": torch.is_grad_enabled(),
    }


def break_at(unet: nn.Module, call: int, error: Callable[[], Exception]) -> Callable[[], None]:
    """Let the `call`-th run of the middle block fail; returns what undoes it."""
    count = 0
    original = unet.mid_block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            raise error()
        return original(*args, **kwargs)

    unet.mid_block.forward = forward
    return lambda: unet.mid_block.__dict__.pop("forward")
