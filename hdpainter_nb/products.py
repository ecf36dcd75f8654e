"""Softmax attention in NumPy, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError

__all__ = ["Float32", "chosen_head", "logits", "softmax"]

Float32 = NDArray[np.float32]


def chosen_head(x: NDArray[Any], head: int | None, kept: Sequence[int] | None) -> Float32:
    """(heads, n, d) in float32: all heads, or the one of this number."""
    known = range(len(x)) if kept is None else kept[: len(x)]
    if head is not None and head not in known:
        raise SettingsError(f"There is no head {head}; kept are {list(known)}.")
    chosen = x if head is None else x[known.index(head)][None]
    return chosen.astype(np.float32)


def logits(q: NDArray[Any], k: NDArray[Any]) -> Float32:
    """Q K^T / sqrt(d) in float32: (heads, n, m)."""
    scale = np.float32(q.shape[-1] ** -0.5)
    product = (q.astype(np.float32) * scale) @ k.astype(np.float32).swapaxes(-1, -2)
    return product.astype(np.float32, copy=False)


def softmax(x: Float32) -> Float32:
    """Over the last axis, in place."""
    x -= x.max(-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(-1, keepdims=True)
    return x
