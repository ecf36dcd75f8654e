"""The attention maps of records as sheets of labelled tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.colour import limits
from hdpainter_nb.views.layout import Bar, Tile, sheet
from hdpainter_nb.views.tiles import (
    LOGITS,
    Crop,
    absent_tile,
    backdrop,
    enlarged,
    evenly_spread,
    map_tile,
    short_name,
    step_title,
    visible_part,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from hdpainter_nb.trace.maps import LevelMaps
    from hdpainter_nb.trace.record import Record

__all__ = ["c_map", "filmstrip", "heatmaps", "object_mask", "similarity"]

_TILE = 224  # pixels


@checked
def heatmaps(
    record: Record,
    picture: Any = None,
    words: Sequence[str] | None = None,
    level: int = 16,
    *,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.5,
    colormap: str = "jet",
    shared: bool = False,
    columns: int | None = None,
    tile: int = _TILE,
) -> Image:
    """Where the prompt's words look: their cross-attention over the picture, one tile per word.

    Args:
        record: a step's record.
        picture: (H, W, 3) picture below the maps; None takes the record's x0 preview.
        words: the words to draw; None takes all of the prompt, each once.
        level: attention resolution, 8, 16 or 32.
        mask: (H, W) mask whose outline is drawn.
        crop: (top, left, height, width) in pixels: the part of the maps that the picture shows,
            where it was padded to a size that the model takes; ``sampler.cond.crop`` has it.
        alpha: opacity of the maps.
        colormap: one of `COLORMAPS`.
        shared: one colour scale for all words, so that they can be compared. Otherwise each map
            has its own, from its lowest value to its highest, so that a weak word's shape shows
            too. No scale spans less than an even share of attention, 1 / tokens (`even_share` of
            `record.cross`), where a tick stands: a word that gets next to nothing stays blue. The
            scales say which values, as shares of a position's attention.
        columns, tile: as in `grid`.

    Raises:
        KeyError: a word is not in the prompt, or the level was not captured.
    """
    with_maps = (w.text for w in record.cross.words if w.text in record.cross)
    names = list(dict.fromkeys(with_maps)) if words is None else words
    if not names:
        raise ValueError("there are no words to draw: the prompt is empty")
    maps = {name: visible_part(record.cross[name, level], record, crop) for name in names}
    below = backdrop(record, picture, crop)
    even = record.cross.even_share
    common = limits(*maps.values(), least=even)
    scales = {n: common if shared else limits(m, least=even) for n, m in maps.items()}
    bars = {n: Bar(*scale, colormap, unit="share", mark=even) for n, scale in scales.items()}
    return sheet(
        [
            map_tile(below, m, n, scales[n], mask, alpha, colormap, bar=bars[n])
            for n, m in maps.items()
        ],
        columns,
        tile=tile,
        title=f"{step_title(record)} · cross-attention at H/{level}",
    )


@checked
def c_map(
    record: Record,
    level: int = 16,
    *,
    picture: Any = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.6,
    colormap: str = "jet",
    tile: int = _TILE,
) -> Image:
    """PAIntA's c_j (eq. 5), one tile per layer: how much of each known position the hole may see.

    The scale runs from 0 (foreign to the prompt) to 1 (left as it is). Where PAIntA did not act,
    one tile says so. Arguments as in `heatmaps`.
    """
    below = backdrop(record, picture, crop)
    layers = record.c.layers.get(level, {})
    maps = [(short_name(name), visible_part(m, record, crop)) for name, m in layers.items()]
    tiles = [map_tile(below, m, name, (0.0, 1.0), mask, alpha, colormap) for name, m in maps]
    title = f"{step_title(record)} · c of PAIntA at H/{level}"
    return sheet(tiles or [absent_tile(below, record)], tile=tile, title=title)


@checked
def object_mask(
    record: Record,
    *,
    picture: Any = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.6,
    colormap: str = "viridis",
    tile: int = _TILE,
) -> Image:
    """Where a UNet of SmartBrush's recipe takes the new object to be, in one step.

    The scale runs from 0 (elsewhere) to 1 (the object). Arguments as in `heatmaps`.

    Raises:
        ValueError: the record's model says no such mask.
    """
    if record.object_mask is None:
        raise ValueError("this run's model says no mask of the object, so there is none to draw")
    below = backdrop(record, picture, crop)
    values = visible_part(record.object_mask, record, crop)
    drawn = map_tile(below, values, "object", (0.0, 1.0), mask, alpha, colormap)
    return sheet([drawn], tile=tile, title=f"{step_title(record)} · the object's mask")


@checked
def similarity(
    record: Record,
    level: int = 16,
    *,
    picture: Any = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.85,
    colormap: str = "jet",
    tile: int = _TILE,
) -> Image:
    """What the hole resembles (appendix B): before PAIntA, after it, and the difference.

    Self-attention similarity before the softmax, averaged over heads, layers and the masked rows.
    The first two share a scale. The difference is drawn on a diverging one, light grey for none.
    All are in logits: one more is e times the weight in the softmax. No scale spans less than one,
    and the difference's reaches at least one to both sides. Arguments as in `heatmaps`.

    Raises:
        KeyError: the level was not captured.
    """
    below = backdrop(record, picture, crop)
    before = visible_part(record.similarity[level], record, crop)
    title = f"{step_title(record)} · similarity to the masked area at H/{level}"
    if level not in record.similarity_painta:
        scale = limits(before, least=LOGITS)
        bar = Bar(*scale, colormap, unit="logits")
        first = map_tile(below, before, "similarity", scale, mask, alpha, colormap, bar=bar)
        return sheet([first, absent_tile(below, record)], tile=tile, title=title)
    compared = _same_layers(record.similarity, record.similarity_painta, level)
    before = visible_part(compared, record, crop)
    after = visible_part(record.similarity_painta[level], record, crop)
    common = limits(before, after, least=LOGITS)
    bar = Bar(*common, colormap, unit="logits")
    with np.errstate(over="ignore", invalid="ignore"):  # of runs gone wrong
        change = after - before
    reach = max(LOGITS, *map(abs, limits(change)))
    apart = Bar(-reach, reach, "coolwarm", unit="logits")
    both = (-reach, reach)
    return sheet(
        [
            map_tile(below, before, "before PAIntA", common, mask, alpha, colormap, bar=bar),
            map_tile(below, after, "after PAIntA", common, mask, alpha, colormap, bar=bar),
            map_tile(below, change, "after − before", both, mask, alpha, "coolwarm", bar=apart),
        ],
        tile=tile,
        title=title,
    )


@checked
def filmstrip(
    records: Sequence[Record],
    *,
    count: int = 8,
    words: Sequence[str] = (),
    level: int = 16,
    picture: Callable[[Record], Any] | None = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.55,
    tile: int = 128,
) -> Image:
    """How the picture came about: the x0 predictions of `count` steps spread over the run.

    Args:
        records: the steps of a run, in order.
        count: steps to show; the first and the last are always among them.
        words: words whose heatmaps make further rows; each row has one colour scale, of an even
            share of attention at least, whose ends stand above it.
        level: attention resolution of those.
        picture: gives a record's picture, ``sampler.decoded`` say; None takes the x0 previews.
        mask, crop, alpha, tile: as in `heatmaps`.

    Raises:
        ValueError: there are no records.
        KeyError: a word is not in the prompt, or the level was not captured.
    """
    if not records:
        raise ValueError("there are no records to show: take a step first")
    chosen = [records[i] for i in evenly_spread(len(records), count)]
    pictures = [backdrop(r, None if picture is None else picture(r), crop) for r in chosen]
    tiles = [
        Tile(enlarged(p), f"step {r.number} · t={r.timestep}")
        for r, p in zip(chosen, pictures, strict=True)
    ]
    for word in words:
        maps = [visible_part(r.cross[word, level], r, crop) for r in chosen]
        scale = limits(*maps, least=chosen[0].cross.even_share)
        titles = [f"{word}, {scale[0]:.2g} to {scale[1]:.2g}", *[word] * (len(chosen) - 1)]
        tiles += [
            map_tile(p, m, title, scale, mask, alpha, "jet", bar=False)
            for p, m, title in zip(pictures, maps, titles, strict=True)
        ]
    return sheet(tiles, len(chosen), tile=tile)


def _same_layers(plain: LevelMaps, painta: LevelMaps, level: int) -> NDArray[np.float32]:
    """The mean of `plain` over the layers that `painta` has: it need not act in all of them."""
    both = [m for name, m in plain.layers[level].items() if name in painta.layers[level]]
    with np.errstate(over="ignore", invalid="ignore"):  # of runs gone wrong
        return np.stack(both).mean(0).astype(np.float32) if both else plain[level]
