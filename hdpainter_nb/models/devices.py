"""Where to compute, in which precision: as asked for, or as fits."""

from __future__ import annotations

from typing import Any, Literal

import torch

from hdpainter_nb.errors import ModelError
from hdpainter_nb.utils.check import one_of

__all__ = ["Offload", "check_offload", "offload_mode", "pick_device", "pick_dtype", "place"]

_DTYPES = {
    "fp16": torch.float16,
    "half": torch.float16,
    "float16": torch.float16,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp32": torch.float32,
    "float": torch.float32,
    "float32": torch.float32,
}


def pick_device(device: str | torch.device | None) -> torch.device:
    """CUDA, else MPS, else the CPU; or what was asked for.

    Raises:
        ModelError: it is not there, or no device that PyTorch knows.
    """
    if device is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"device={device!r} is no device that PyTorch knows: use 'cuda', 'cuda:1', 'mps' or "
            "'cpu', or leave it out."
        ) from error
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count() or "no"
        raise ModelError(
            f"device={str(device)!r} was asked for, but PyTorch sees {count} CUDA GPU: pass "
            "device='cpu', or install a PyTorch built for your GPU and its driver."
        )
    if asked.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("device='mps' was asked for, but there is no Apple GPU: use 'cpu'.")
    return asked


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """float16 on CUDA; float32 elsewhere.

    On Apple GPUs half precision would fit, but guidance takes gradients through attention, where
    it overflows there; on CPUs it is slower than single precision.

    Raises:
        ModelError: another dtype was asked for than float32, float16 or bfloat16.
    """
    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    chosen = dtype if isinstance(dtype, torch.dtype) else _DTYPES.get(str(dtype))
    if chosen is None or chosen not in _DTYPES.values():
        raise ModelError(f"dtype={dtype!r} cannot be used: choose float32, float16 or bfloat16.")
    return chosen


Offload = Literal["model", "sequential"]


def place(pipe: Any, how: Offload | None, device: torch.device) -> None:
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
    """See that `place` can do it, before anything large is loaded.

    Raises:
        ModelError: another word; no device apart from main memory; it is offloaded already.
    """
    if how is None:
        return
    one_of("offload", how, (None, "model", "sequential"), ModelError)
    if device.type == "cpu":
        raise ModelError(
            f"offload={how!r} keeps weights in main memory and computes on a GPU, and there is "
            "none here, or device='cpu' was asked for: leave offload= out."
        )
    if pipe is not None and offload_mode(pipe) is not None:
        raise ModelError(
            "This pipeline is offloaded already: leave out offload=, or call its "
            "remove_all_hooks() first."
        )


def offload_mode(pipe: Any) -> Offload | None:
    """How a pipeline is offloaded, whoever did it; None where it is not.

    It is read from the hooks that accelerate leaves on the UNet.
    """
    hook = getattr(pipe.unet, "_hf_hook", None)
    if hook is None:
        return None
    if any(weight.is_meta for weight in pipe.unet.parameters()):
        return "sequential"
    hooks = getattr(hook, "hooks", (hook,))  # accelerate strings several hooks together
    return "model" if any(type(one).__name__ == "CpuOffload" for one in hooks) else None
