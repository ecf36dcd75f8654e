"""The pictures by which one system wins or loses most clearly, as HTML that needs no script."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.result_table import NOTHING, heading, rounded
from hdpainter_nb.evaluation.rows import Item, Rows
from hdpainter_nb.evaluation.triplet import FramedTriplet
from hdpainter_nb.utils.check import between

__all__ = ["Album", "Exhibits", "wins_and_losses", "write_gallery"]

_SIDES = (512, 384, 256, 160, 96)
"""Of the embedded pictures, in pixels: the largest of which all fit."""


@dataclass(frozen=True, kw_only=True)
class Exhibits:
    """Where a gallery takes its pictures from.

    Attributes:
        pictures: (system, seed, id) -> (h, w, 3) uint8, or None where there is none any more.
        triplets: id -> the framed triplet.
        traces: (system, seed, id) -> the page of its trace, a path relative to the report's folder.
        count: how many wins, and how many losses, each column shows at most.
        limit: bytes that all pictures together may take; they shrink until they do.

    Raises:
        SettingsError: a number is out of range.
    """

    pictures: Callable[[str, int, str], NDArray[np.uint8] | None]
    triplets: Callable[[str], FramedTriplet]
    traces: Mapping[Item, str | PurePath] = field(default_factory=dict)
    count: int = 6
    limit: int = 12_000_000

    def __post_init__(self) -> None:
        between("count", self.count, 1, 100, integer=True)
        between("limit", self.limit, 10_000, 1_000_000_000, integer=True)


class Album:
    """Pictures of a page, each embedded once however often it is shown."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pictures: dict[Any, _Picture] = {}
        self._outlines: dict[str, str] = {}

    def outline(self, id: str, hole: NDArray[np.bool_]) -> str:
        """The name of a hole's outline, which is drawn over pictures of its size."""
        if id not in self._outlines:
            self._outlines[id] = _outline(hole)
        return f"hdp-outline-{list(self._outlines).index(id)}"

    def show(
        self, key: Any, label: str, make: Callable[[], NDArray[np.uint8] | None], outline: str
    ) -> str:
        """An <svg> of a picture, or words where there is none.

        Args:
            key: what the picture is known by.
            label: what it shows, for those who cannot see it.
            make: called the first time.
            outline: name of one, to be drawn over it.
        """
        if key not in self._pictures:
            array = make()
            if array is None:
                return '<span class="hdp-none">no picture</span>'
            height, width = array.shape[:2]
            number = len(self._pictures)
            self._pictures[key] = _Picture(number, width, height, _encoded(array, _SIDES[0]))
        picture = self._pictures[key]
        return (
            f'<svg viewBox="0 0 {picture.width} {picture.height}" role="img" '
            f'aria-label="{html.escape(label)}"><use href="#hdp-picture-{picture.number}"/>'
            f'<g class="hdp-outline"><use href="#{outline}"/><use href="#{outline}"/></g></svg>'
        )

    def embedded(self) -> str:
        """The pictures themselves, which are to stand before everything that shows them."""
        files = [picture.file for picture in self._pictures.values()]
        for side in _SIDES[1:]:
            if sum(map(len, files)) <= self._limit:
                break
            files = [
                _encoded(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), side)
                for file in files
            ]
        parts = [
            f'<image id="hdp-picture-{picture.number}" width="{picture.width}" '
            f'height="{picture.height}" preserveAspectRatio="none" href="data:image/'
            f"{'webp' if file[:4] == b'RIFF' else 'jpeg'};base64,"
            f'{base64.b64encode(file).decode()}"/>'
            for picture, file in zip(self._pictures.values(), files, strict=True)
        ]
        parts += [
            f'<path id="hdp-outline-{number}" vector-effect="non-scaling-stroke" d="{path}"/>'
            for number, path in enumerate(self._outlines.values())
        ]
        return f'<svg class="hdp-album" aria-hidden="true"><defs>{"".join(parts)}</defs></svg>'


def wins_and_losses(
    rows: Rows, first: str, second: str, column: str, count: int
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The (id, seed) on which the first system is further above and below the second.

    Of those with the same difference, as all of yes and no have, those come first on which the
    other columns say so too.

    Raises:
        EvaluationError: no such system or column.
    """
    pairs = rows.paired(first, second, column)
    keys = list(zip(pairs.ids.tolist(), pairs.seeds.tolist(), strict=True))
    better = _turned(rows.columns[column]) * pairs.differences
    others = np.zeros(len(keys))
    for name, other in rows.columns.items():
        if name == column or name not in rows.judging:
            continue
        more = rows.paired(first, second, name)
        real = np.isfinite(more.differences).all() and len(more)
        spread = float(more.differences.std()) if real else 0.0
        if spread > 0:
            beside = zip(more.ids.tolist(), more.seeds.tolist(), strict=True)
            table = dict(zip(beside, _turned(other) * more.differences / spread, strict=True))
            others += np.array([table.get(key, 0.0) for key in keys])
    order = np.lexsort((-others, -better))
    wins = [keys[i] for i in order if better[i] > 0][:count]
    losses = [keys[i] for i in order[::-1] if better[i] < 0][:count]
    return wins, losses


def write_gallery(rows: Rows, pairs: Sequence[tuple[str, str]], exhibits: Exhibits) -> str:
    """HTML of the wins and losses of some pairs of systems, in each column that judges pictures.

    Raises:
        EvaluationError: no such system.
    """
    album = Album(exhibits.limit)
    parts, shown = [], 0
    for first, second in pairs:
        columns: list[str] = []
        alike: list[str] = []
        # Yes and no first: the clearest to look at.
        for name in sorted(rows.judging, key=lambda name: not rows.columns[name].binary):
            sides = wins_and_losses(rows, first, second, name, exhibits.count)
            title = _safe(heading(rows.columns[name]))
            if not any(sides):
                alike.append(title)
                continue
            blocks = []
            for kind, items in zip(("wins", "losses"), sides, strict=True):
                cases = [
                    _case(shown + i, (first, second), item, rows, exhibits, album)
                    for i, item in enumerate(items)
                ]
                shown += len(cases)
                blocks.append(f"<h4>{_safe(first)} {kind}</h4>{_list(cases, name, rows, kind)}")
            opened = "" if columns else " open"
            columns.append(
                f"<details{opened}><summary>{title}</summary>{''.join(blocks)}</details>"
            )
        one, other = _safe(first), _safe(second)
        if columns:
            columns.insert(
                0,
                '<p class="hdp-note">Each time the picture with the rim of its hole, '
                f"{one}, {other}; open it for all numbers.</p>",
            )
        if alike:
            columns.append(f'<p class="hdp-note">No difference in {", ".join(alike)}.</p>')
        parts.append(f"<h3>{one} against {other}</h3>{''.join(columns)}")
    return album.embedded() + "".join(parts)


@dataclass(frozen=True)
class _Picture:
    """An embedded picture: its number, its size as shown, and its file."""

    number: int
    width: int
    height: int
    file: bytes


@dataclass(frozen=True)
class _Case:
    """One item in one list of a gallery, and how it is shown."""

    number: int
    systems: tuple[str, str]
    id: str
    seed: int
    group: str
    prompt: str
    pictures: tuple[tuple[str, str], ...]  # titles and <svg>s
    links: str

    def numbers(self, rows: Rows, column: str) -> tuple[float, float]:
        """Those of both systems."""
        places = [rows.place((system, self.seed, self.id)) for system in self.systems]
        a, b = (math.nan if place is None else float(rows[column][place]) for place in places)
        return a, b


def _case(
    number: int,
    systems: tuple[str, str],
    item: tuple[str, int],
    rows: Rows,
    exhibits: Exhibits,
    album: Album,
) -> _Case:
    id, seed = item
    triplet = exhibits.triplets(id)
    prompt = triplet.triplet.prompt
    outline = album.outline(id, triplet.hole)
    hole = album.show(("", id), f"The hole for “{prompt}”", lambda: triplet.image, outline)
    painted = [
        (
            system,
            album.show(
                (system, seed, id),
                f"“{prompt}” by {system}",
                partial(exhibits.pictures, system, seed, id),
                outline,
            ),
        )
        for system in systems
    ]
    place = rows.place((systems[0], seed, id))
    group = "" if place is None else rows.groups[place]
    pictures = (("picture and hole", hole), *painted)
    return _Case(
        number, systems, id, seed, group, prompt, pictures, _links(systems, item, exhibits)
    )


def _list(cases: Sequence[_Case], column: str, rows: Rows, kind: str) -> str:
    """Some cases as cards, each with its large form."""
    if not cases:
        return f'<p class="hdp-note">No {kind}.</p>'
    entries = "".join(
        f"<li>{_card(case, column, rows)}{_large(case, column, rows, cases)}</li>" for case in cases
    )
    return f'<ul class="hdp-cases">{entries}</ul>'


def _card(case: _Case, column: str, rows: Rows) -> str:
    """The small form: three pictures that open the large one, the prompt and the numbers."""
    a, b = case.numbers(rows, column)
    shape = rows.columns[column]
    pictures = "".join(picture for _, picture in case.pictures)
    return (
        f'<button type="button" popovertarget="hdp-case-{case.number}" '
        f'aria-label="Show “{_safe(case.prompt)}” large">{pictures}</button>'
        f"<p><b>{_safe(case.prompt)}</b> {_number(a, shape)} against {_number(b, shape)}"
        f"{_apart(a, b, shape)}</p>{case.links}"
    )


def _large(case: _Case, column: str, rows: Rows, cases: Sequence[_Case]) -> str:
    """The large form, with every number of both systems and the way to its neighbours."""
    figures = "".join(
        f"<figure>{picture}<figcaption>{_safe(title)}</figcaption></figure>"
        for title, picture in case.pictures
    )
    lines = []
    for name, shape in rows.columns.items():
        a, b = case.numbers(rows, name)
        if math.isnan(a) and math.isnan(b):
            continue
        here = ' class="hdp-here"' if name == column else ""
        apart = rounded(a - b, shape, signed=True) if not shape.binary else ""
        lines.append(
            f'<tr{here}><th scope="row">{_safe(heading(shape))}</th><td>{_number(a, shape)}</td>'
            f"<td>{_number(b, shape)}</td><td>{apart}</td></tr>"
        )
    place = cases.index(case)
    steps = []
    for words, sign, to in (("Previous", "‹", place - 1), ("Next", "›", place + 1)):
        there = 0 <= to < len(cases)
        target = f' popovertarget="hdp-case-{cases[to].number}"' if there else " disabled"
        steps.append(
            f'<button type="button"{target} data-step="{words.lower()}" aria-label="{words}">'
            f"{sign}</button>"
        )
    first, second = map(_safe, case.systems)
    group = f", {_safe(case.group)}" if case.group else ""
    return (
        f'<div popover class="hdp-case" id="hdp-case-{case.number}" role="dialog" '
        f'aria-label="{_safe(case.prompt)}"><header><h5>{_safe(case.prompt)}</h5>'
        f"<p>{_safe(case.id)}, seed {case.seed}{group}</p><nav>{steps[0]}"
        f"<span>{place + 1} of {len(cases)}</span>{steps[1]}"
        f'<button type="button" autofocus popovertarget="hdp-case-{case.number}" '
        'popovertargetaction="hide" aria-label="Close">×</button></nav></header>'
        f'<div class="hdp-large">{figures}</div><div class="hdp-scroll"><table><thead><tr>'
        f'<th></th><th scope="col">{first}</th><th scope="col">{second}</th>'
        f'<th scope="col">difference</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        f"{case.links}</div>"
    )


def _links(systems: tuple[str, str], item: tuple[str, int], exhibits: Exhibits) -> str:
    """Links to the pages of the traces that there are."""
    id, seed = item
    links = []
    for system in systems:
        path = exhibits.traces.get((system, seed, id))
        if path is not None:
            # Quoted, a colon too: whatever it is called, it is a file, never another scheme.
            target = quote(PurePath(path).as_posix(), safe="/", errors="surrogateescape")
            links.append(f'<a href="{_safe(target)}">trace of {_safe(system)}</a>')
    return f'<p class="hdp-links">{" ".join(links)}</p>' if links else ""


def _number(value: float, column: Column) -> str:
    """A number of one picture: yes or no where the column counts such."""
    if column.binary and not math.isnan(value):
        return "yes" if value >= 0.5 else "no"
    return rounded(value, column)


def _apart(a: float, b: float, column: Column) -> str:
    if column.binary or math.isnan(b) or math.isnan(a):
        return ""
    return f" <i>{rounded(a - b, column, signed=True)}</i>"


def _turned(column: Column) -> int:
    return -1 if column.better == "lower" else 1


def _outline(hole: NDArray[np.bool_]) -> str:
    """The rim of a hole (h, w) as an SVG path."""
    lines, _ = cv2.findContours(np.asarray(hole, np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_TC89_L1)
    # A pixel's middle lies half a pixel from its corner.
    return "".join(
        "M" + "L".join(f"{x + 0.5:g} {y + 0.5:g}" for x, y in line[:, 0].tolist()) + "Z"
        for line in lines
    )


def _encoded(array: NDArray[np.uint8], side: int) -> bytes:
    """A small file of a picture whose longer side is at most so many pixels."""
    image = Image.fromarray(array)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "webp" if features.check("webp") else "jpeg", quality=80, method=2)
    return buffer.getvalue()


def _safe(text: str) -> str:
    return html.escape(text or NOTHING)
