"""Labelled tiles on a white sheet.

Sheets are opaque white with dark text, so that they read the same on a light and a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.colour import jet, picture_array
from hdpainter_nb.views.files import as_image
from hdpainter_nb.views.words import one_line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["Bar", "Tile", "grid", "sheet", "side_by_side"]

MARGIN = 12  # pixels around the sheet
GAP = 10  # pixels between tiles
PAPER, INK, FAINT, EDGE = (255, 255, 255), (32, 33, 36), (95, 99, 104), (218, 220, 224)
_MOST = 2**28  # pixels of all tiles together
_LONGEST_LINE = 2000  # characters; the rest would be cut one by one
_TITLE, _NOTE, _HEAD = 14, 11, 16  # font sizes in pixels


@dataclass(frozen=True)
class Bar:
    """A colour scale below a tile."""

    lo: float
    hi: float
    colormap: str = "jet"
    unit: str = ""
    """Of the values, after the upper end."""
    mark: float | None = None
    """A value that a tick stands at."""


@dataclass(frozen=True)
class Tile:
    """A picture with a title above and a note or a colour scale below; any of them may be empty."""

    picture: Any
    title: str = ""
    note: str = ""
    bar: Bar | None = None


@checked
def grid(
    images: Iterable[Any],
    labels: Sequence[str] = (),
    columns: int | None = None,
    *,
    tile: int | None = None,
    title: str = "",
) -> Image:
    """The images in rows, each with its label above.

    Args:
        images: arrays or images; sizes may differ, proportions are kept.
        labels: one text per image, or none.
        columns: tiles in a row; None makes one row of up to 6, then a balanced block.
        tile: longer side of a tile in pixels; None takes the largest image's, within 160 .. 512.
        title: a line above everything.

    Raises:
        ValueError: no images, or a number of labels that differs from the number of images.
    """
    pictures = [as_image(image) for image in images]
    if labels and len(labels) != len(pictures):
        raise ValueError(f"{len(pictures)} images cannot take {len(labels)} labels")
    texts = list(labels) or [""] * len(pictures)
    tiles = [Tile(p, text) for p, text in zip(pictures, texts, strict=True)]
    return sheet(tiles, columns, tile=tile, title=title)


@checked
def side_by_side(
    a: Any,
    b: Any,
    labels: tuple[str, str] = ("a", "b"),
    *,
    difference: bool = True,
    tile: int | None = None,
    title: str = "",
) -> Image:
    """Two pictures beside each other, and where they differ.

    The difference is the mean over the colours of ``|a - b|``, in levels of 0 .. 255; its scale
    ends at the largest one, so that small differences show too.

    Raises:
        ValueError: the pictures have different sizes and `difference` is wanted.
    """
    first, second = (picture_array(np.asarray(as_image(p))) for p in (a, b))
    tiles = [Tile(first, labels[0]), Tile(second, labels[1])]
    if difference:
        if first.shape != second.shape:
            raise ValueError(
                f"pictures of {first.shape[:2]} and {second.shape[:2]} pixels have no difference; "
                "pass difference=False"
            )
        apart = np.abs(first.astype(np.float32) - second.astype(np.float32)).mean(axis=2)
        high = max(float(apart.max()), 1.0)
        tiles.append(
            Tile(
                jet(apart, 0.0, high, colormap="inferno"),
                f"difference, {apart.mean():.2g} on average",
                bar=Bar(0.0, high, "inferno"),
            )
        )
    return sheet(tiles, len(tiles), tile=tile, title=title)


def sheet(
    tiles: Sequence[Tile],
    columns: int | None = None,
    *,
    tile: int | None = None,
    title: str = "",
) -> Image:
    """Draw the tiles; the other arguments are as for `grid`."""
    from PIL import Image as pil
    from PIL import ImageDraw

    if not tiles:
        raise ValueError("there are no images to show")
    pictures = _fitted([as_image(t.picture) for t in tiles], tile)
    across = _columns(len(tiles), columns)
    width = max(p.width for p in pictures)
    heights = [
        max(p.height for p in pictures[first : first + across])
        for first in range(0, len(pictures), across)
    ]
    above = 24 if any(t.title for t in tiles) else 0
    below = 22 if any(t.note or t.bar for t in tiles) else 0
    head = 30 if title else 0
    tops = [MARGIN + head]
    for height in heights:
        tops.append(tops[-1] + above + height + below + GAP)

    title = one_line(title)
    # A long title widens the page, within reason, rather than being cut above a single tile.
    written = math.ceil(_font(_HEAD, bold=True).getlength(title)) if title else 0
    size = (
        max(across * (width + GAP) - GAP, min(written, 480)) + 2 * MARGIN,
        tops[-1] - GAP + MARGIN,
    )
    page = pil.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    if title:
        _text(draw, (MARGIN, MARGIN), title, page.width - 2 * MARGIN, _HEAD, INK, bold=True)
    for i, (each, picture) in enumerate(zip(tiles, pictures, strict=True)):
        row, column = divmod(i, across)
        x, y = MARGIN + column * (width + GAP), tops[row]
        _text(draw, (x, y + 2), each.title, width, _TITLE, INK)
        left, top = x + (width - picture.width) // 2, y + above
        page.paste(picture, (left, top))
        frame = (left - 1, top - 1, left + picture.width, top + picture.height)
        draw.rectangle(frame, outline=EDGE)  # keeps white pictures apart from the white paper
        foot = y + above + heights[row] + 6
        if each.bar is not None:
            _scale(page, draw, (x, foot), width, each.bar)
        elif each.note:
            _text(draw, (x, foot), each.note, width, _NOTE, FAINT)
    return page


def _columns(count: int, wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 1:
            raise ValueError(f"columns must be 1 or more, not {wanted!r}")
        return min(wanted, count)
    rows = math.ceil(count / 6)
    return math.ceil(count / rows)


def _fitted(pictures: list[Image], tile: int | None) -> list[Image]:
    """Every picture with its longer side at the tile's size."""
    from PIL import Image as pil

    longest = max(max(p.size) for p in pictures)
    if tile is not None:
        between("tile", tile, 1, 4096, integer=True)
    side = min(512, max(160, longest)) if tile is None else max(16, tile)
    if len(pictures) * side**2 > _MOST:
        raise ValueError(f"{len(pictures)} tiles of {side} pixels are too many or too large")
    result = []
    for picture in pictures:
        scale = side / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        how = pil.Resampling.LANCZOS if scale < 1 else pil.Resampling.BICUBIC
        if scale >= 3:  # a map of a few values: show them as they are
            how = pil.Resampling.NEAREST
        result.append(picture if size == picture.size else picture.resize(size, how))
    return result


def _scale(page: Image, draw: ImageDraw, place: tuple[int, int], width: int, bar: Bar) -> None:
    """A colour scale with its two end values and their unit, as wide as the tile."""
    from PIL import Image as pil

    x, y = place
    font = _font(_NOTE, bold=False)
    low, high = (f"{v:.0f}" if abs(v) >= 100 else f"{v:.2g}" for v in (bar.lo, bar.hi))
    high = f"{high} {bar.unit}".rstrip()
    left, right = x + int(draw.textlength(low, font)) + 5, x + width - 5
    right -= int(draw.textlength(high, font))
    draw.text((x, y - 1), low, FAINT, font)
    draw.text((right + 5, y - 1), high, FAINT, font)
    if right - left >= 8:
        ramp = jet(np.linspace(0, 1, right - left)[None].repeat(8, 0), colormap=bar.colormap)
        page.paste(pil.fromarray(ramp), (left, y + 3))
        if bar.mark is not None and bar.lo < bar.mark < bar.hi:
            at = left + round((right - left) * (bar.mark - bar.lo) / (bar.hi - bar.lo))
            draw.line((at, y + 1, at, y + 12), INK)


def _text(
    draw: ImageDraw,
    place: tuple[int, int],
    text: str,
    width: int,
    size: int,
    colour: tuple[int, int, int],
    *,
    bold: bool = False,
) -> None:
    """One line, made to fit: a little smaller first, then cut with an ellipsis."""
    line = one_line(text[:_LONGEST_LINE])
    if not line:
        return
    for points in (size, size - 1, size - 2, size - 3):
        font = _font(points, bold=bold)
        if draw.textlength(line, font) <= width:
            break
    while len(line) > 1 and draw.textlength(line, font) > width:
        line = line.rstrip("…")[:-1].rstrip() + "…"
    draw.text(place, line, colour, font)


@lru_cache(maxsize=16)
def _font(size: int, *, bold: bool) -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has Greek, Cyrillic and the maths signs."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size)
