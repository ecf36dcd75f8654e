"""How many bytes a `Capture` keeps of one step, counted without a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hdpainter_nb.selection import LayerShape

if TYPE_CHECKING:
    from hdpainter_nb.capture import Capture

__all__ = ["PAINTA_LEVELS", "SCORE_LEVEL", "bytes_of_step"]

PAINTA_LEVELS = (16, 32)
"""Where PAIntA acts, in pixels per position."""
SCORE_LEVEL = 32
"""Where RASG reads its scores."""


def bytes_of_step(
    capture: Capture,
    layers: Iterable[LayerShape],
    tokens: int,
    size: tuple[int, int],
    *,
    painta: bool,
    text: int,
) -> int:
    """See `Capture.bytes_per_step`."""
    total, once = 0, set()
    wide = 2 if capture.dtype == "float16" else 4
    for layer in layers:
        if not capture.keeps(layer.name):
            continue
        chosen = capture.chosen_heads(layer.heads)
        heads = layer.heads if chosen is None else len(chosen)
        area = (size[0] // layer.level) * (size[1] // layer.level)
        channels = heads * (layer.width // layer.heads)
        at_level, introverted = layer.level in capture.levels, layer.level in PAINTA_LEVELS
        own = capture.own_queries and at_level and layer.own
        if capture.cross and at_level:
            maps = {"mean": layer.level not in once, "layers": 1, "heads": heads}[capture.cross]
            total += wide * maps * tokens * area
        if introverted:
            total += 4 * area * (painta and (capture.c or own))
            total += 4 * area * (1 + painta) * capture.similarity
            total += area * (own and layer.level not in once)  # the hole
        if capture.score_detail and layer.level == SCORE_LEVEL:
            maps = {"mean": 0, "layers": 1, "heads": heads}[capture.score_detail]
            total += 4 * (maps + (layer.level not in once)) * tokens * area
        total += wide * 2 * channels * area * own
        total += wide * channels * (area + text) * (capture.cross_queries and at_level)
        once.add(layer.level)
    return total
