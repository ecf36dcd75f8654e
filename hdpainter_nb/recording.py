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

__all__ = ["level_maps", "text_fields", "to_array"]


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


def level_maps(
    maps: Mapping[int, Mapping[str, Tensor]], size: tuple[int, int], shelf: Shelf
) -> LevelMaps:
    """Maps (hw,) of a picture of `size` (H, W), as (h, w) on the shelf."""
    height, width = size
    kept = {}
    for level, named in maps.items():
        pictures = [a.view(height // level, width // level) for a in named.values()]
        kept[level] = dict(zip(named, shelf.put_all(pictures), strict=True))
    return LevelMaps(kept)


def to_array(x: Tensor) -> NDArray[Any]:
    """To main memory, as float32. A copy, so that later in-place work cannot reach it."""
    return x.detach().to("cpu", torch.float32, copy=True).numpy()
