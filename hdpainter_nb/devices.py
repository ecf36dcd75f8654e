"""Where to compute, and in what precision, where the user leaves it open or asks for it."""

from __future__ import annotations

import torch

from hdpainter_nb.errors import ModelError

__all__ = ["pick_device", "pick_dtype"]

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
        found = torch.cuda.device_count() or "no"
        raise ModelError(
            f"device={str(device)!r} was asked for, but PyTorch sees {found} CUDA GPU: pass "
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
    known = dtype if isinstance(dtype, torch.dtype) else _DTYPES.get(str(dtype))
    if known is None or known not in _DTYPES.values():
        raise ModelError(f"dtype={dtype!r} cannot be used: choose float32, float16 or bfloat16.")
    return known
