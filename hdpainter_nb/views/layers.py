"""A sheet with a row for each layer, a column for each step: `layer_maps`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.colour import Float, limits
from hdpainter_nb.views.layout import Tile, sheet
from hdpainter_nb.views.tiles import (
    LOGITS,
    Crop,
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

    from hdpainter_nb.trace.record import Record

__all__ = ["layer_maps"]

Kind = Literal["c", "similarity", "similarity_painta", "difference"]
_TITLES = {
    "c": "c of PAIntA",
    "similarity": "similarity to the masked area",
    "similarity_painta": "similarity to the masked area after PAIntA",
    "difference": "similarity after − before PAIntA",
}


@checked
def layer_maps(
    records: Record | Sequence[Record],
    kind: Kind = "c",
    level: int = 16,
    *,
    count: int = 5,
    picture: Callable[[Record], Any] | Any = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float | None = None,
    tile: int = 132,
) -> Image:
    """A row for every layer of a level, a column for each of `count` steps.

    c runs from 0 (dark blue) to 1 (dark red) throughout; the other kinds have one colour scale for
    the whole sheet, of one logit at least, whose ends the title names.

    Args:
        records: a record, or those of a run; steps without such maps are left out.
        kind: which maps; ``difference`` is similarity after minus before PAIntA.
        level: attention resolution, 16 or 32.
        count: steps to show, spread evenly; the first and the last are always among them.
        picture: drawn below the maps: a picture, or a function of the record, such as
            ``sampler.decoded``; None takes the x0 previews.
        mask, crop, tile: as in `heatmaps`.
        alpha: opacity of the maps.

    Raises:
        ValueError: none of the records holds such a map; `kind` is unknown.
    """
    one_of("kind", kind, _TITLES, ValueError)
    rows = list(records) if isinstance(records, Sequence) else [records]
    with_maps = [(record, maps) for record in rows if (maps := _maps(record, kind, level))]
    if not with_maps:
        raise ValueError(f"none of these {len(rows)} steps holds a map of {kind} at H/{level}")
    chosen = [with_maps[i] for i in evenly_spread(len(with_maps), count)]
    drawn = [
        {name: visible_part(values, record, crop) for name, values in maps.items()}
        for record, maps in chosen
    ]
    every = [values for maps in drawn for values in maps.values()]
    scale, colormap = (0.0, 1.0), "jet"
    if kind == "difference":
        reach = max(LOGITS, *map(abs, limits(*every)))
        scale, colormap = (-reach, reach), "coolwarm"
    elif kind != "c":
        scale = limits(*every, least=LOGITS)
    opacity = alpha if alpha is not None else 0.6 if kind == "c" else 0.85
    tiles = []
    names = dict.fromkeys(name for maps in drawn for name in maps)
    for number, name in enumerate(names):
        for (record, _), maps in zip(chosen, drawn, strict=True):
            given = picture(record) if callable(picture) else picture
            below = backdrop(record, given, crop)
            title = step_title(record) if number == 0 else ""
            if name in maps:
                drawn_map = maps[name]
                each = map_tile(below, drawn_map, title, scale, mask, opacity, colormap, bar=False)
            else:
                each = Tile(enlarged(below), title)
            tiles.append(replace(each, note=short_name(name) if record is chosen[0][0] else ""))
    low, high = (f"{v:.2g}" for v in scale)
    unit = "" if kind == "c" else " logits"
    return sheet(
        tiles,
        len(chosen),
        tile=tile,
        title=f"{_TITLES[kind]} at H/{level} · blue {low}, red {high}{unit}",
    )


def _maps(record: Record, kind: Kind, level: int) -> dict[str, Float]:
    """Layer -> (h, w), empty where the record holds none."""
    if kind != "difference":
        return dict(getattr(record, kind).layers.get(level, {}))
    before = record.similarity.layers.get(level, {})
    after = record.similarity_painta.layers.get(level, {})
    with np.errstate(over="ignore", invalid="ignore"):  # of runs gone wrong
        return {name: after[name] - before[name] for name in after if name in before}
