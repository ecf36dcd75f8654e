"""A record as encoded pictures, ready for an `ipywidgets.Image`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdpainter_nb import views
from hdpainter_widgets.pictures import encoded

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DETAILS", "Looks", "beside", "detail", "tiles"]

DETAILS = (
    ("c of PAIntA", "c"),
    ("similarity", "similarity"),
    ("gradient", "gradient"),
    ("curves", "curves"),
    ("filmstrip", "filmstrip"),
    ("none", ""),
)
"""What can be seen below the maps: label and name."""


@dataclass
class Looks:
    """How maps are drawn, as chosen by buttons and sliders."""

    words: tuple[str, ...] = ()
    level: int = 16
    alpha: float = 0.55
    shared: bool = False
    detail: str = "c"
    mask: Any = None
    crop: tuple[int, int, int, int] | None = None


def tiles(record: Any, picture: Any, looks: Looks) -> Any:
    """The chosen words' heatmaps over the picture, or None when there is nothing to draw."""
    words = [word for word in looks.words if word in record.cross]
    if not words or looks.level not in record.cross.levels:
        return None
    return views.heatmaps(
        record,
        picture,
        words,
        looks.level,
        mask=looks.mask,
        crop=looks.crop,
        alpha=looks.alpha,
        shared=looks.shared,
        columns=min(3, len(words)),
        tile=192 if len(words) > 1 else 288,
    )


def detail(record: Any, records: Sequence[Any], picture: Any, looks: Looks) -> bytes | str:
    """The chosen detail as PNG or JPEG bytes, or a text that says why there is none."""
    common = {"mask": looks.mask, "crop": looks.crop}
    drawn: Any
    if looks.detail == "c":
        level = looks.level if looks.level in record.c.layers else 16
        drawn = views.c_map(record, level, picture=picture, **common)
    elif looks.detail == "similarity":
        if not len(record.similarity):
            return "This capture kept no similarity maps."
        level = looks.level if looks.level in record.similarity else next(iter(record.similarity))
        drawn = views.similarity(record, level, picture=picture, **common)
    elif looks.detail == "gradient":
        if record.grad is None:
            return "There is no gradient in this step: it was made with RASG switched off."
        drawn = views.gradient_histogram(record)
    elif looks.detail == "curves":
        drawn = views.curves(records)
    elif looks.detail == "filmstrip":
        words = [word for word in looks.words[:2] if word in record.cross]
        if looks.level not in record.cross.levels:
            words = []
        drawn = views.filmstrip(records, words=words, level=looks.level, **common)
    else:
        return ""
    png: bytes | None = drawn._repr_png_() if hasattr(drawn, "savefig") else None
    return png or encoded(drawn)


def beside(*sheets: Any) -> Image:
    """White sheets side by side."""
    from PIL import Image as pil

    page = pil.new("RGB", (sum(s.width for s in sheets), max(s.height for s in sheets)), "white")
    left = 0
    for sheet in sheets:
        page.paste(sheet, (left, 0))
        left += sheet.width
    return page
