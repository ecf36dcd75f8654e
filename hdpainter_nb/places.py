"""Positions along an axis of a tensor, without an index tensor: `take`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["take"]


def take(x: Tensor, places: Sequence[int], dim: int) -> Tensor:
    """Some positions along an axis, in their order; neighbours as a view, others as a copy.

    Indexing with a list would send the list to the device and wait for everything before it.
    """
    first = places[0] if len(places) else 0
    if list(places) == list(range(first, first + len(places))):
        return x.narrow(dim, first, len(places))
    return torch.stack([x.select(dim, place) for place in places], dim)
