"""Explains an out-of-memory error: what to change to fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hdpainter_nb.models.devices import offload_mode
from hdpainter_nb.utils.memory import explain_out_of_memory

__all__ = ["advice", "out_of_memory_explained"]


@contextmanager
def out_of_memory_explained(
    model: Any, what: str, settings: Any, size: tuple[int, int] | None
) -> Iterator[None]:
    """Turn a shortage of memory inside into one sentence that says what to do.

    Args:
        model: a `Model`.
        what: was being done: ``a step``.
        settings: of the run, or None.
        size: (H, W) of the padded picture; None where it has no part in this.

    Raises:
        OutOfMemoryError: the memory does not suffice. What the failed call held is let go.
    """
    with explain_out_of_memory(lambda: advice(model, what, settings, size)):
        yield


def advice(model: Any, what: str, settings: Any, size: tuple[int, int] | None) -> str:
    """The sentence: what did not fit, and whatever of the known remedies is not in use yet."""
    remedies = ["rasg=False"] if getattr(settings, "rasg", False) else []
    if size is not None and max(size) > 64:
        smaller = max(64, max(size) // 128 * 64)
        by_setting = hasattr(settings, "long_side")
        remedies.append(f"long_side={smaller}" if by_setting else "a smaller picture")
    if model.dtype == torch.float32 and model.device.type != "cpu":
        remedies.append("load(..., dtype='float16')")
    how = None if model.pipe is None else offload_mode(model.pipe)
    if model.pipe is not None and model.device.type != "cpu" and how != "sequential":
        stronger = "model" if how is None else "sequential"
        remedies.append(f"load(..., offload={stronger!r})")
    ways = " or ".join(filter(None, [", ".join(remedies[:-1]), *remedies[-1:]]))
    where = "The main memory" if model.device.type == "cpu" else f"The memory of {model.device}"
    at = "" if size is None else f" at {size[1]}x{size[0]} px"
    return (
        f"{where} does not suffice for {what}{at}: use {ways or 'less'}; "
        "nothing has moved, so the same call may be made again once there is room."
    )
