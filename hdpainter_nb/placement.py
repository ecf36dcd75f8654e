"""Where a pipeline's weights lie: all on its device, or in main memory until they are needed."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch

from hdpainter_nb.errors import ModelError

__all__ = ["Offload", "check_offload", "placed", "settle", "weight_of"]

Offload = Literal["model", "sequential"]


def settle(pipe: Any, how: Offload | None, device: torch.device) -> None:
    """Move a pipeline to a device or, offloaded, to main memory, from where its hooks fetch it.

    Args:
        pipe: a diffusers pipeline.
        how: ``model`` (one network at a time is on the device), ``sequential`` (one layer at a
            time: the least memory, and several times slower) or None.
        device: where to compute.

    Raises:
        ModelError: as `check_offload` says.
    """
    check_offload(how, device, pipe)
    if how is None:
        pipe.to(device)
    elif how == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def check_offload(how: Any, device: torch.device, pipe: Any = None) -> None:
    """See that `settle` can do it, before anything large is loaded.

    Raises:
        ModelError: another word; no device apart from main memory; it is offloaded already.
    """
    if how is None:
        return
    if how not in ("model", "sequential"):
        raise ModelError(f"offload={how!r} is not one of None, 'model', 'sequential'.")
    if device.type == "cpu":
        raise ModelError(
            f"offload={how!r} keeps weights in main memory and computes on a GPU, and there is "
            "none here, or device='cpu' was asked for: leave offload= out."
        )
    if pipe is not None and placed(pipe) is not None:
        raise ModelError(
            "This pipeline is offloaded already: leave out offload=, or call its "
            "remove_all_hooks() first."
        )


def placed(pipe: Any) -> Offload | None:
    """How a pipeline is offloaded, whoever did it."""
    hook = getattr(pipe.unet, "_hf_hook", None)
    if hook is None:
        return None
    if any(weight.is_meta for weight in pipe.unet.parameters()):
        return "sequential"
    hooks = getattr(hook, "hooks", (hook,))  # accelerate strings several hooks together
    return "model" if any(type(one).__name__ == "CpuOffload" for one in hooks) else None


def weight_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    """A weight that is read without calling its module, fetched where it is offloaded."""
    weight = cast(torch.Tensor, getattr(module, name))
    hook: Any = getattr(module, "_hf_hook", None)
    if not weight.is_meta or hook is None:
        return weight
    for one in getattr(hook, "hooks", (hook,)):
        if getattr(one, "weights_map", None) is not None:
            return cast(torch.Tensor, one.weights_map[name]).to(one.execution_device, weight.dtype)
    return weight
