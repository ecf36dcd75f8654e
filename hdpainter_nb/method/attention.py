"""Small operations on tensors, of as few kernels as they can be made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["mean_scores", "probabilities", "take"]


def mean_scores(q: Tensor, k: Tensor) -> Tensor:
    """Q K^T / sqrt(d) averaged over heads: one product over all heads' channels at once.

    Args:
        q: (heads, n, d). k: (heads, m, d).

    Returns:
        (m, n), in q's dtype.
    """
    count, _, d = q.shape
    flat_q = q.transpose(0, 1).flatten(1)  # (n, heads * d)
    flat_k = k.transpose(0, 1).flatten(1)  # (m, heads * d)
    nothing = q.new_empty(1, 1)
    return torch.addmm(nothing, flat_k, flat_q.T, beta=0, alpha=d**-0.5 / count)


def take(x: Tensor, places: Sequence[int], dim: int) -> Tensor:
    """Some positions along an axis, in their order; neighbours as a view, others as a copy.

    Indexing with a list would send the list to the device and wait for everything before it.
    """
    first = places[0] if len(places) else 0
    if list(places) == list(range(first, first + len(places))):
        return x.narrow(dim, first, len(places))
    return torch.stack([x.select(dim, place) for place in places], dim)


def probabilities(q: Tensor, k: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) in float32: (heads, hw, L)."""
    nothing = q.new_empty(1, 1, 1)
    logits = torch.baddbmm(nothing, q, k.transpose(-1, -2), beta=0, alpha=q.shape[-1] ** -0.5)
    return logits.softmax(-1, dtype=torch.float32)
