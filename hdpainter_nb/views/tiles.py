"""The tiles of a sheet of maps: a map over the picture that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb.views.colour import Float, Picture, jet, overlay, picture_array, upsample
from hdpainter_nb.views.layout import Bar, Tile

if TYPE_CHECKING:
    from hdpainter_nb.trace.record import Record

__all__ = [
    "LOGITS",
    "Crop",
    "absent_tile",
    "backdrop",
    "enlarged",
    "evenly_spread",
    "map_tile",
    "short_name",
    "step_title",
    "visible_part",
]

LOGITS = 1.0
"""The least span of a colour scale of similarities or scores: a factor e before the softmax."""
Crop = tuple[int, int, int, int]
"""Top, left, height, width in pixels: what of the padded picture the given one shows."""


def map_tile(
    picture: Any,
    values: Float,
    title: str,
    scale: tuple[float, float],
    mask: Any,
    alpha: float,
    colormap: str,
    *,
    bar: Bar | bool = True,
) -> Tile:
    """A map over a picture.

    Args:
        picture: below the map, at any size.
        values: (h, w), of what the picture shows.
        title: above the tile.
        scale: the values of the first and the last colour.
        mask: (H, W), whose outline is drawn; None draws none.
        alpha: opacity of the map.
        colormap: one of `COLORMAPS`.
        bar: with the colour scale below; a `Bar` says how.
    """
    drawn = overlay(enlarged(picture), values, alpha, colormap, *scale, outline=mask)
    if isinstance(bar, bool):
        return Tile(drawn, title, bar=Bar(*scale, colormap) if bar else None)
    return Tile(drawn, title, bar=bar)


def backdrop(record: Record, picture: Any, crop: Crop | None) -> Picture:
    """The picture given, or the record's preview without its padding."""
    if picture is not None:
        return picture_array(picture)
    if crop is None:
        return record.x0_preview
    top, left, height, width = (-(-n // record.settings.factor) for n in crop)
    return record.x0_preview[top : top + height, left : left + width]


def visible_part(values: Float, record: Record, crop: Crop | None) -> Float:
    """The part of a map that the picture shows."""
    height, width = (record.settings.factor * n for n in record.latents.shape[1:])
    if crop is None or crop == (0, 0, height, width):
        return values
    top, left, h, w = crop
    return upsample(values, (height, width))[top : top + h, left : left + w]


def absent_tile(picture: Any, record: Record) -> Tile:
    """Stands where PAIntA's map would be."""
    grey = upsample(picture_array(enlarged(picture)).mean(axis=2), enlarged(picture).shape[:2])
    pale = jet(grey * 0.3 + 178, 0, 255, colormap="gray")
    off = "painta" not in record.settings.method
    why = "switched off" if off else "not in this part of the run"
    return Tile(pale, "PAIntA did not act", note=why)


def enlarged(picture: Any) -> Picture:
    """The picture at 256 pixels or more, so that the mask's outline stays thin on previews."""
    import cv2

    array = picture_array(picture)
    height, width = array.shape[:2]
    scale = -(-256 // max(height, width))  # whole, to keep the proportions exactly
    if scale <= 1:
        return array
    size = (width * scale, height * scale)
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def short_name(layer: str) -> str:
    """``up_blocks.1.attentions.0.transformer_blocks.0.attn1`` as ``up 1 · attention 0``."""
    parts = layer.split(".")
    if "attentions" not in parts[:-1]:
        return layer
    at = parts.index("attentions")
    where = " ".join(parts[:at]).replace("_blocks", "").replace("_block", "")
    return f"{where} · attention {parts[at + 1]}"


def evenly_spread(total: int, count: int) -> list[int]:
    """`count` of the numbers below `total`, the first and the last among them."""
    wanted = max(1, min(count, total))
    if wanted == 1:
        return [total - 1]
    return [round(i * (total - 1) / (wanted - 1)) for i in range(wanted)]


def step_title(record: Record) -> str:
    """Which step a record is of, counted from 1."""
    return f"step {record.number}, t={record.timestep}"
