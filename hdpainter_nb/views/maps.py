"""A record's attention maps as labelled pictures: words, c_j, self-similarity, and a filmstrip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.views.colour import Float, Picture, jet, limits, overlay, picture_array, upsample
from hdpainter_nb.views.layout import Bar, Tile, sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from hdpainter_nb.trace.maps import LevelMaps
    from hdpainter_nb.trace.record import Record

__all__ = ["c_map", "filmstrip", "heatmaps", "similarity"]

Crop = tuple[int, int, int, int]
_TILE = 224  # pixels


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
            fills the scale, so that a weak word's shape shows too. The scales say which values.
        columns, tile: as in `grid`.

    Raises:
        KeyError: a word is not in the prompt, or the level was not captured.
    """
    kept = (w.text for w in record.cross.words if w.text in record.cross)
    names = list(dict.fromkeys(kept)) if words is None else words
    if not names:
        raise ValueError("there are no words to draw: the prompt is empty")
    maps = {name: _part(record.cross[name, level], record, crop) for name in names}
    below = _below(record, picture, crop)
    common = limits(*maps.values())
    return sheet(
        [
            _tile(below, m, name, common if shared else limits(m), mask, alpha, colormap)
            for name, m in maps.items()
        ],
        columns,
        tile=tile,
        title=f"{_when(record)} · cross-attention at H/{level}",
    )


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

    The scale runs from 0 (cut off) to 1 (seen in full). Where PAIntA did not act, one tile says so.
    Arguments as in `heatmaps`.
    """
    below = _below(record, picture, crop)
    layers = record.c.layers.get(level, {})
    tiles = [
        _tile(below, _part(m, record, crop), _short(name), (0.0, 1.0), mask, alpha, colormap)
        for name, m in layers.items()
    ]
    title = f"{_when(record)} · c of PAIntA at H/{level}"
    return sheet(tiles or [_absent(below, record)], tile=tile, title=title)


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
    Arguments as in `heatmaps`.

    Raises:
        KeyError: the level was not captured.
    """
    below = _below(record, picture, crop)
    before = _part(record.similarity[level], record, crop)
    title = f"{_when(record)} · similarity to the masked area at H/{level}"
    if level not in record.similarity_painta:
        first = _tile(below, before, "similarity", limits(before), mask, alpha, colormap)
        return sheet([first, _absent(below, record)], tile=tile, title=title)
    before = _part(_same_layers(record.similarity, record.similarity_painta, level), record, crop)
    after = _part(record.similarity_painta[level], record, crop)
    common = limits(before, after)
    change = after - before
    reach = float(np.abs(change).max()) or 1.0
    return sheet(
        [
            _tile(below, before, "before PAIntA", common, mask, alpha, colormap),
            _tile(below, after, "after PAIntA", common, mask, alpha, colormap),
            _tile(below, change, "after − before", (-reach, reach), mask, alpha, "coolwarm"),
        ],
        tile=tile,
        title=title,
    )


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
        words: words whose heatmaps make further rows; each row has one colour scale.
        level: attention resolution of those.
        picture: gives a record's picture, ``sampler.decoded`` say; None takes the x0 previews.
        mask, crop, alpha, tile: as in `heatmaps`.

    Raises:
        ValueError: there are no records.
        KeyError: a word is not in the prompt, or the level was not captured.
    """
    if not records:
        raise ValueError("there are no records to show: take a step first")
    chosen = [records[i] for i in _spread(len(records), count)]
    pictures = [_below(r, None if picture is None else picture(r), crop) for r in chosen]
    tiles = [
        Tile(_large(p), f"step {r.index} · t={r.timestep}")
        for r, p in zip(chosen, pictures, strict=True)
    ]
    for word in words:
        maps = [_part(r.cross[word, level], r, crop) for r in chosen]
        scale = limits(*maps)
        tiles += [
            _tile(p, m, word, scale, mask, alpha, "jet", bar=False)
            for p, m in zip(pictures, maps, strict=True)
        ]
    return sheet(tiles, len(chosen), tile=tile)


def _tile(
    picture: Any,
    values: Float,
    title: str,
    scale: tuple[float, float],
    mask: Any,
    alpha: float,
    colormap: str,
    *,
    bar: bool = True,
) -> Tile:
    drawn = overlay(_large(picture), values, alpha, colormap, *scale, outline=mask)
    return Tile(drawn, title, bar=Bar(*scale, colormap) if bar else None)


def _below(record: Record, picture: Any, crop: Crop | None) -> Picture:
    """The picture given, or the record's preview without its padding."""
    if picture is not None:
        return picture_array(picture)
    if crop is None:
        return record.x0_preview
    top, left, height, width = (-(-n // record.settings.factor) for n in crop)
    return record.x0_preview[top : top + height, left : left + width]


def _part(values: Float, record: Record, crop: Crop | None) -> Float:
    """The part of a map that the picture shows."""
    height, width = (record.settings.factor * n for n in record.latents.shape[1:])
    if crop is None or crop == (0, 0, height, width):
        return values
    top, left, h, w = crop
    return upsample(values, (height, width))[top : top + h, left : left + w]


def _absent(picture: Any, record: Record) -> Tile:
    """Stands where PAIntA's map would be."""
    grey = upsample(picture_array(_large(picture)).mean(axis=2), _large(picture).shape[:2])
    pale = jet(grey * 0.3 + 178, 0, 255, colormap="gray")
    off = "painta" not in record.settings.method
    why = "switched off" if off else "not in this part of the run"
    return Tile(pale, "PAIntA did not act", note=why)


def _large(picture: Any) -> Picture:
    """The picture at 256 pixels or more, so that the mask's outline stays thin on previews."""
    import cv2

    array = picture_array(picture)
    height, width = array.shape[:2]
    scale = -(-256 // max(height, width))  # whole, to keep the proportions exactly
    if scale <= 1:
        return array
    size = (width * scale, height * scale)
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _same_layers(plain: LevelMaps, painta: LevelMaps, level: int) -> NDArray[np.float32]:
    """The mean of `plain` over the layers that `painta` has: it need not act in all of them."""
    both = [m for name, m in plain.layers[level].items() if name in painta.layers[level]]
    return np.stack(both).mean(0).astype(np.float32) if both else plain[level]


def _short(layer: str) -> str:
    """``up_blocks.1.attentions.0.transformer_blocks.0.attn1`` as ``up 1 · attention 0``."""
    parts = layer.split(".")
    if "attentions" not in parts[:-1]:
        return layer
    at = parts.index("attentions")
    where = " ".join(parts[:at]).replace("_blocks", "").replace("_block", "")
    return f"{where} · attention {parts[at + 1]}"


def _spread(total: int, count: int) -> list[int]:
    wanted = max(1, min(count, total))
    if wanted == 1:
        return [total - 1]
    return [round(i * (total - 1) / (wanted - 1)) for i in range(wanted)]


def _when(record: Record) -> str:
    return f"step {record.index}, t={record.timestep}"
