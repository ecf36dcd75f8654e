"""Attention scores, in as few kernels as they can be made of.

Everything here that forms Q K^T / sqrt(d) in torch is in this file; `hdpainter_nb.trace.attention`
holds the twin in NumPy, since a trace is read without torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["mean_scores", "probabilities", "scores", "take"]


def scores(
    q: Float[Tensor, "heads n d"], k: Float[Tensor, "heads m d"]
) -> Float[Tensor, "heads n m"]:
    """A = Q K^T / sqrt(d), the scores before softmax of every head, in q's dtype."""
    nothing = q.new_empty(1, 1, 1)
    return torch.baddbmm(nothing, q, k.transpose(-1, -2), beta=0, alpha=q.shape[-1] ** -0.5)


def probabilities(
    q: Float[Tensor, "heads n d"], k: Float[Tensor, "heads m d"]
) -> Float[Tensor, "heads n m"]:
    """softmax(Q K^T / sqrt(d)) of every head, in float32."""
    return scores(q, k).softmax(-1, dtype=torch.float32)


def mean_scores(
    q: Float[Tensor, "heads n d"], k: Float[Tensor, "heads m d"]
) -> Float[Tensor, "m n"]:
    """Q K^T / sqrt(d) averaged over heads: one product over all heads' channels at once.

    Returns:
        In q's dtype, keys first: row k of a cross-attention is the map of token k.
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
