"""A record as encoded pictures, ready for an `ipywidgets.Image`: arrays in, bytes out."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb import views

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DETAILS",
    "Looks",
    "beside",
    "check_words",
    "detail",
    "encoded",
    "illustrated",
    "placeholder",
    "preview",
    "telling",
    "tiles",
    "words_of",
]

_STOP_WORDS = {"a", "an", "the", "of", "on", "in", "and", "with", "at", "to"}
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


def encoded(picture: Any, quality: int = 92) -> bytes:
    """An array or a `PIL.Image` as JPEG bytes; colours are not subsampled, so text stays sharp."""
    from PIL import Image as pil

    if not isinstance(picture, pil.Image):
        picture = pil.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def placeholder(image: Any, mask: Any) -> Any:
    """The picture as it is before the first step: the hole paled and outlined, (H, W, 3) uint8."""
    veil = np.asarray(mask, np.float32) * 0.7
    paled = image * (1 - veil[..., None]) + 255 * veil[..., None]
    return views.overlay(paled.astype(np.uint8), np.zeros((2, 2)), 0.0, outline=mask)


def preview(record: Any, looks: Looks) -> Any:
    """The x0 preview at the picture's size, without the padding: (H, W, 3) uint8."""
    import cv2

    small = record.x0_preview
    height, width = (record.settings.factor * n for n in small.shape[:2])
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if looks.crop is None:
        return large
    top, left, height, width = looks.crop
    return large[top : top + height, left : left + width]


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
    draw: Callable[[], Any]
    if looks.detail == "c":
        level = looks.level if looks.level in record.c.layers else 16
        draw = lambda: views.c_map(record, level, picture=picture, **common)  # noqa: E731
    elif looks.detail == "similarity":
        if not len(record.similarity):
            return "This capture kept no similarity maps."
        level = looks.level if looks.level in record.similarity else next(iter(record.similarity))
        draw = lambda: views.similarity(record, level, picture=picture, **common)  # noqa: E731
    elif looks.detail == "gradient":
        if record.grad is None:
            return "There is no gradient in this step: it was made with RASG switched off."
        draw = lambda: views.gradient_histogram(record)  # noqa: E731
    elif looks.detail == "curves":
        draw = lambda: views.curves(records)  # noqa: E731
    elif looks.detail == "filmstrip":
        words = [word for word in looks.words[:2] if word in record.cross]
        if looks.level not in record.cross.levels:
            words = []
        draw = lambda: views.filmstrip(records, words=words, level=looks.level, **common)  # noqa: E731
    else:
        return ""
    drawn: Any = draw()
    png: bytes | None = drawn._repr_png_() if hasattr(drawn, "savefig") else None
    return png or encoded(drawn)


def words_of(sampler: Any) -> list[str]:
    """The prompt's words, each once; empty before the first record where the sampler hides them."""
    words = getattr(getattr(sampler, "cond", None), "words", ())
    if not words and sampler.records:
        words = sampler.records[-1].cross.words
    return list(dict.fromkeys(word.text for word in words))


def check_words(sampler: Any, wanted: Sequence[str]) -> None:
    """Raise `ValueError` where one of the words is known not to be in the prompt."""
    words = words_of(sampler)
    for word in wanted:
        if words and word not in words:
            known = ", ".join(map(repr, words))
            raise ValueError(f"{word!r} is not a word of this prompt; its words are {known}")


def telling(words: Sequence[str]) -> list[str]:
    """The words worth a look at first: no articles, no end-of-text, four at most."""
    chosen = [x for x in words if x.lower() not in _STOP_WORDS and not x.startswith("<")]
    return chosen[:4] or list(words[:4])


def beside(*sheets: Any) -> Image:
    """White sheets side by side."""
    from PIL import Image as pil

    page = pil.new("RGB", (sum(s.width for s in sheets), max(s.height for s in sheets)), "white")
    left = 0
    for sheet in sheets:
        page.paste(sheet, (left, 0))
        left += sheet.width
    return page


def illustrated(bundle: Any, mimetype: str, picture: bytes) -> Any:
    """A widget's mimebundle with a picture for pages that run no widgets, such as GitHub's."""
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    if data:
        data[mimetype] = b64encode(picture).decode()
    return bundle
