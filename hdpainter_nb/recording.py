"""From what the taps saw to the fields of a `Record`: NumPy arrays, or arrays on their way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.offload import Shelf
from hdpainter_nb.taps import Seen
from hdpainter_nb.types import Conditions, CrossMaps, LevelMaps, QueryKeys

__all__ = ["pixel_maps", "text_fields", "to_array"]


def text_fields(
    seen: Seen, cond: Conditions, positions: tuple[int, ...], heads: tuple[int, ...] | None
) -> dict[str, Any]:
    """The part of a record that comes from cross-attention, and queries and keys.

    Args:
        seen: of the step.
        cond: says what the words are, and how large the picture is.
        positions, heads: what was kept of tokens and heads; None: all heads.
    """
    height, width = cond.size
    holes = {level: np.zeros((height // level, width // level), np.bool_) for level in seen.rows}
    for level, hole in holes.items():
        hole.ravel()[seen.rows[level].cpu().numpy()] = True
    scores = to_array(torch.stack(seen.kept_scores).mean(0)) if seen.kept_scores else None
    return {
        "cross": CrossMaps(LevelMaps(seen.cross), cond.words, cond.tokens, positions, heads),
        "scores": scores,
        "score_maps": LevelMaps(seen.score_maps),
        "self_qk": QueryKeys(seen.own_queries, heads),
        "cross_qk": QueryKeys(seen.cross_queries, heads),
        "holes": holes,
    }


def pixel_maps(seen: Seen, size: tuple[int, int], shelf: Shelf) -> dict[str, LevelMaps]:
    """The part of a record that self-attention left: c, and the similarity before and after.

    Layers of a level go together, in one product and one copy.

    Args:
        seen: of the step.
        size: (H, W) of the picture.
        shelf: where the maps go.
    """

    def kept(stacks: Mapping[int, tuple[list[str], Tensor]]) -> LevelMaps:
        maps = {}
        for level, (names, stack) in stacks.items():
            pictures = stack.unflatten(-1, (size[0] // level, size[1] // level))  # (n, h, w)
            maps[level] = dict(zip(names, shelf.put_rows(pictures), strict=True))
        return LevelMaps(maps)

    chosen = {
        level: {name: c for name, c in named.items() if name in seen.kept_c}
        for level, named in seen.c.items()
    }
    before, scales = _stacked(seen.similarity), _stacked(seen.scales)
    after = {level: (names, before[level][1] * scale) for level, (names, scale) in scales.items()}
    return {
        "c": kept(_stacked(chosen)),
        "similarity": kept(before),
        "similarity_painta": kept(after),
    }


def _stacked(
    maps: Mapping[int, Mapping[str, Tensor]],
) -> dict[int, tuple[list[str], Tensor]]:
    """The layers of every level as one float32 tensor (layers, hw)."""
    return {
        level: ([*named], torch.stack([*named.values()]).float())
        for level, named in maps.items()
        if named
    }


def to_array(x: Tensor) -> NDArray[Any]:
    """To main memory, as float32. A copy, so that later in-place work cannot reach it."""
    return x.detach().to("cpu", torch.float32, copy=True).numpy()
