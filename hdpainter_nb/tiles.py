"""A picture worked on in overlapping tiles of one size, evenly spread and blended linearly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["OVERLAP", "in_tiles", "starts"]

OVERLAP = 0.25
"""Of a tile's side, at least, shared with its neighbour."""


def starts(length: int, tile: int) -> list[int]:
    """Where the fewest tiles of size `tile` begin that cover `length` and overlap by `OVERLAP`.

    They are evenly spread, so none is a sliver at the edge, whose colours would differ.
    """
    if length <= tile:
        return [0]
    shared = int(tile * OVERLAP)
    last = math.ceil((length - tile) / (tile - shared))
    return [i * (length - tile) // last for i in range(last + 1)]


def in_tiles(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int, *, up: int = 1, down: int = 1
) -> Tensor:
    """`run` on tiles of `x`, put together.

    Args:
        run: (n, c, a, b) to (n, d, a * up / down, b * up / down).
        x: (n, c, H, W); H and W are multiples of `down`.
        tile: side of a tile in positions of `x`, a multiple of `down`.
        up, down: how `run` changes the size.

    Returns:
        (n, d, H * up / down, W * up / down), float32.
    """
    height, width = x.shape[-2:]
    sides = min(tile, height), min(tile, width)
    rows, columns = (
        [start * down for start in starts(length // down, side // down)]
        for length, side in zip((height, width), sides, strict=True)
    )
    total: Tensor | None = None
    ramps = [_ramp(side * up // down, x.device) for side in sides]
    for top in rows:
        for left in columns:
            piece = run(x[..., top : top + sides[0], left : left + sides[1]])
            if total is None:
                size = (height * up // down, width * up // down)
                total = piece.new_zeros((*piece.shape[:2], *size), dtype=torch.float32)
            place = _place(top, left, piece, up, down)
            total[place] += piece.float() * ramps[0][:, None] * ramps[1]
            del piece
    assert total is not None
    # The weights are a product of rows and columns, and so is their sum.
    for ramp, begins, axis in ((ramps[0], rows, -2), (ramps[1], columns, -1)):
        weight = torch.zeros(total.shape[axis], device=x.device)
        for start in begins:
            weight[start * up // down :][: len(ramp)] += ramp
        total /= weight[:, None] if axis == -2 else weight
    return total


def _place(top: int, left: int, piece: Tensor, up: int, down: int) -> tuple[Any, ...]:
    top, left = top * up // down, left * up // down
    height, width = piece.shape[-2:]
    return (..., slice(top, top + height), slice(left, left + width))


def _ramp(length: int, device: torch.device) -> Tensor:
    """(length,): 1 in the middle, falling towards both ends over what neighbours share at least."""
    reach = max(1, int(length * OVERLAP))
    inward = torch.arange(length, device=device) + 0.5
    return (torch.minimum(inward, length - inward) / reach).clamp(max=1)
