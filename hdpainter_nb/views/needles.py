"""The maps that a ranking puts first: `needles`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.colour import limits
from hdpainter_nb.views.layout import sheet
from hdpainter_nb.views.tiles import Crop, backdrop, map_tile, short_name, visible_part

if TYPE_CHECKING:
    from PIL.Image import Image

    from hdpainter_nb.trace.ranking import Metric, RankedMap, WordRanking

__all__ = ["needles"]


@checked(leaves=["by"])  # which the ranking reads
def needles(
    screen: WordRanking,
    count: int = 12,
    *,
    by: Metric | None = None,
    picture: Any = None,
    mask: Any = None,
    crop: Crop | None = None,
    alpha: float = 0.6,
    colormap: str = "jet",
    columns: int | None = None,
    tile: int = 160,
) -> Image:
    """Small pictures of the best rows of a screen, each map on its own colour scale.

    None spans less than an even share of attention, as in `heatmaps`.

    >>> needles(trace.screen("star").per("layer", "head"))

    Args:
        screen: from `Trace.screen`.
        count: how many.
        by: the score to sort by; None takes the screen's own, the area under the curve or, without
            a mask, concentration.
        picture: (H, W, 3) below the maps; None takes the x0 preview of the row's step, or the last.
        mask: (H, W) whose outline is drawn; None takes the screen's, False draws none.
        crop: as in `heatmaps`; None takes the screen's.
        alpha, colormap, columns, tile: as in `heatmaps`.

    Raises:
        ValueError: the screen is empty.
    """
    if not len(screen):
        raise ValueError("there are no rows to draw: the screen is empty")
    score = screen.best if by is None else by
    outline = screen.mask if mask is None else None if mask is False else mask
    place = screen.crop if crop is None else crop
    tiles = []
    for row in screen.top(count, by):
        record = screen.record(row)
        values = visible_part(screen.map(row), record, place)
        below = backdrop(record, picture, place)
        scale = limits(values, least=record.cross.even_share)
        drawn = map_tile(below, values, _where(row), scale, outline, alpha, colormap, bar=False)
        tiles.append(replace(drawn, note=_scores_of(row, masked=screen.masked)))
    title = f"{screen.word!r}: the best {len(tiles)} of {len(screen)} by {score}"
    return sheet(tiles, columns, tile=tile, title=title)


def _where(row: RankedMap) -> str:
    parts = [] if row.layer is None else [short_name(row.layer)]
    parts += [] if row.head is None else [f"head {row.head}"]
    parts += [] if row.step is None else [f"step {row.step + 1}"]
    if row.layer is None and row.level is not None:
        parts.insert(0, f"H/{row.level}")
    return " · ".join(parts) or "all"


def _scores_of(row: RankedMap, *, masked: bool) -> str:
    if not masked:
        return f"concentration {row.concentration:.2f}"
    return f"AUC {row.auc:.2f} · IoU {row.iou:.2f} · conc. {row.concentration:.2f}"
