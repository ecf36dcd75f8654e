"""Every map of a word that was kept, ranked by how well it localises the mask.

It finds the layers, heads and steps that carry the word. Attention is cheap to find and easy to
over-read: a head that looks at the hole need not be a head that fills it.
``branch(edit=ScaleHead(row.layer, row.head, 0))`` asks the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.select import matches
from hdpainter_nb.trace.maps import Float
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.tree import Tree
from hdpainter_nb.utils import html
from hdpainter_nb.utils.check import as_tuple, between, one_of
from hdpainter_nb.utils.checked import checked

__all__ = [
    "LOCALISATION",
    "METRICS",
    "RankedMap",
    "WordRanking",
    "concentration",
    "localisation",
    "mask_at_level",
    "screen",
]

Metric = Literal["concentration", "inside", "iou", "auc", "pointing"]
Key = Literal["step", "level", "layer", "head"]
METRICS: tuple[Metric, ...] = ("concentration", "inside", "iou", "auc", "pointing")
LOCALISATION = METRICS[1:]
"""The scores that compare a map with the mask."""
_KEYS: tuple[Key, ...] = ("step", "level", "layer", "head")
_SHOWN = 12  # rows in a notebook


@dataclass(frozen=True)
class RankedMap:
    """One map of the word, or the mean over several. What a mean was taken over is None."""

    step: int | None
    level: int | None
    layer: str | None
    """None where layers were not kept apart."""
    head: int | None
    """None where heads were not kept apart."""
    concentration: float
    """1 minus the entropy over the positions, over its largest value: 0 even, 1 one position."""
    inside: float
    """Share of the map that falls into the mask."""
    iou: float
    """Intersection over union with the mask, at the best threshold."""
    auc: float
    """Probability that a masked position has more than a known one; 0.5 is chance."""
    pointing: float
    """The pointing game: 1 where the highest value lies in the mask; of means, how often."""


class WordRanking:
    """The maps of a word with their scores: sort, choose, average, look.

    >>> ranking = trace.screen("star")
    >>> ranking.per("layer", "head").top(5)             # over all steps
    >>> ranking.where(level=16, layer="up*").top(5, by="iou")
    >>> ranking.per("step").to_numpy()["auc"]
    >>> hdpainter_nb.views.needles(ranking.per("layer", "head"))

    Attributes:
        word: what was looked for.
        rows: in the order of the run, until sorted.
        detail: what was kept apart: ``heads``, ``layers``, or only steps (``mean``).
        masked: whether there was a mask to agree with; without, those scores are NaN.
    """

    def __init__(
        self,
        *,
        word: str | int,
        rows: tuple[RankedMap, ...],
        detail: Literal["heads", "layers", "mean"],
        records: tuple[Record, ...],
        mask: NDArray[np.bool_] | None,
        crop: tuple[int, int, int, int] | None,
    ) -> None:
        self.word, self.rows, self.detail = word, rows, detail
        self.records, self.mask, self.crop = records, mask, crop
        self.masked = mask is not None

    def _with(self, rows: Any) -> Self:
        return type(self)(
            word=self.word,
            rows=tuple(rows),
            detail=self.detail,
            records=self.records,
            mask=self.mask,
            crop=self.crop,
        )

    @property
    def best(self) -> Metric:
        """What is sorted by unless told otherwise: ``auc``, or ``concentration`` with no mask."""
        return "auc" if self.masked else "concentration"

    @checked(leaves=["by"])
    def sort(self, by: Metric | None = None, *, ascending: bool = False) -> Self:
        """Sorted by a score, the best first; rows without it come last."""
        name = str(by) if isinstance(by, np.str_) else self.best if by is None else by
        one_of("", name, METRICS)
        values = np.array([getattr(row, name) for row in self.rows])
        order = np.argsort(values if ascending else -values, kind="stable")  # NaN goes last
        return self._with(self.rows[i] for i in order)

    @checked(leaves=["by"])
    def top(self, count: int = 10, by: Metric | None = None) -> Self:
        """The best by a score."""
        between("count", count, 0, 2**31, integer=True)
        return self._with(self.sort(by).rows[:count])

    def where(self, **chosen: Any) -> Self:
        """Those of a step, level, layer or head.

        Layers go by name, beginning or pattern, one or several, as for captures:
        ``layer="up_blocks.1"``.

        Raises:
            SettingsError: there is none; the message says what there is.
        """
        rows = list(self.rows)
        for name, wanted in chosen.items():
            self._apart(name)
            wanted = _wanted(**{name: wanted})[name]
            values = dict.fromkeys(getattr(row, name) for row in rows)
            rows = [row for row in rows if _fits(name, getattr(row, name), wanted)]
            if not rows:
                listed = "".join(f"\n  {value}" for value in values)
                raise SettingsError(f"No row has {name}={wanted!r}. There are{listed or ' none'}")
        return self._with(rows)

    @checked(leaves=["names"])
    def per(self, *names: Key) -> Self:
        """Means over everything but the keys that are named: ``per("layer", "head")``.

        Raises:
            SettingsError: they were not kept apart; the message says what to capture.
        """
        keys = [str(name) if isinstance(name, np.str_) else name for name in names]
        for key in keys:
            one_of("", key, _KEYS)
        keep = {self._apart(key) for key in sorted(keys)}
        keep |= {"level"} if "layer" in keep else set()  # a layer has one level
        groups: dict[tuple[Any, ...], list[RankedMap]] = {}
        for row in self.rows:
            groups.setdefault(tuple(getattr(row, k) for k in _KEYS if k in keep), []).append(row)
        means = []
        for rows in groups.values():
            places: dict[str, Any] = {k: getattr(rows[0], k) if k in keep else None for k in _KEYS}
            scores: dict[str, Any] = {m: _mean([getattr(r, m) for r in rows]) for m in METRICS}
            means.append(RankedMap(**places, **scores))
        return self._with(means)

    @checked
    def map(self, row: RankedMap) -> Float:
        """The map (h, w) that a row speaks of, or the mean of its maps at the highest resolution.

        It covers the padded picture.
        """
        level, chosen = row.level, []
        for record in self.records:
            if row.step not in (None, record.index):
                continue
            for at, name, heads, maps in _maps(record, self.word):
                if level is None:
                    level = at
                if at != level or row.layer not in (None, name):
                    continue
                chosen += [m for h, m in zip(heads, maps, strict=True) if row.head in (None, h)]
        with np.errstate(over="ignore", invalid="ignore"):
            mean: Float = np.mean(chosen, axis=0, dtype=np.float32)
        return mean

    @checked
    def record(self, row: RankedMap) -> Record:
        """The record of a row's step, or the last one."""
        return next((r for r in self.records if r.index == row.step), self.records[-1])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain values by name, row by row."""
        return [dataclasses.asdict(row) for row in self.rows]

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """Columns by name; a key that was averaged over is -1, or ``""`` for the layer."""
        blank = {"step": -1, "level": -1, "layer": "", "head": -1}
        return {
            f.name: np.array(
                [
                    blank[f.name] if (value := getattr(row, f.name)) is None else value
                    for row in self.rows
                ]
            )
            for f in dataclasses.fields(RankedMap)
        }

    def _apart(self, name: str) -> str:
        """The key, if there is one of this name and the maps were kept apart by it."""
        one_of("", name, _KEYS)
        if name == "head" and self.detail != "heads":
            raise SettingsError("Heads were not kept apart: capture with Capture(cross='heads').")
        if name == "layer" and self.detail == "mean":
            raise SettingsError("Layers were not kept apart: capture with Capture(cross='layers').")
        return name

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[RankedMap]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> RankedMap: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RankedMap, ...]: ...
    @checked
    def __getitem__(self, index: int | slice) -> RankedMap | tuple[RankedMap, ...]:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"There is no row {index}; there are {len(self)}.")
        return self.rows[index]

    def __repr__(self) -> str:
        return f"Screen({self.word!r}, {len(self)} rows, {self.detail})"

    def _repr_html_(self) -> str:
        keys = [k for k in _KEYS if any(getattr(row, k) is not None for row in self.rows)]
        scores: list[str] = list(METRICS if self.masked else METRICS[:1])
        rows: list[Mapping[str, Any]] = [
            {name: getattr(row, name) for name in (*keys, *scores)} for row in self.rows[:_SHOWN]
        ]
        more = len(self) - len(rows)
        rest = (
            f"<p>and {more} more rows: top(n), sort(by), where(...), per(...)</p>" if more else ""
        )
        return html.table(rows) + rest


@checked
def screen(trace: Tree, word: str | int, branch: int | str = 0) -> WordRanking:
    """Score every map of a word that was kept.

    Args:
        trace: whose steps.
        word: a word of the prompt, or a token's position.
        branch: from its root.

    Raises:
        KeyError: no such word or branch.
        SettingsError: no maps were kept.
    """
    records = tuple(r for r in trace.records(branch) if r.cross.levels)
    if not records:
        raise SettingsError(
            "This branch holds no cross-attention maps: capture with Capture.standard(), or, to "
            "tell heads apart, Capture(cross='heads')."
        )
    with_word = tuple(r for r in records if isinstance(word, int) or word in r.cross)
    if not with_word:
        records[0].cross[word]  # says what there is
    mask = None if trace.mask is None else np.asarray(trace.mask, np.bool_)
    rows, details = [], set()
    for record in with_word:
        frame = tuple(record.settings.factor * n for n in record.latents.shape[-2:])
        for level, layer, heads, maps in _maps(record, word):
            details.add("mean" if layer is None else "layers" if heads == [None] else "heads")
            inside, valid = mask_at_level(mask, trace.crop, (frame[0], frame[1]), level)
            flat = maps.reshape(len(maps), -1)[:, valid.ravel()]  # (heads, hw)
            scores = {"concentration": concentration(flat)}
            scores |= localisation(flat, None if inside is None else inside[valid])
            for i, head in enumerate(heads):
                values = {name: float(scores[name][i]) for name in METRICS}
                rows.append(
                    RankedMap(step=record.index, level=level, layer=layer, head=head, **values)
                )
    detail = next(d for d in ("heads", "layers", "mean") if d in details)
    return WordRanking(
        word=word,
        rows=tuple(rows),
        detail=detail,
        records=with_word,
        mask=mask,
        crop=trace.crop,
    )


def concentration(maps: Float) -> Float:
    """1 - H / log(hw), H the entropy of a map as a distribution over its positions.

    Args:
        maps: (n, hw), not negative.

    Returns:
        (n,), 0 for an even or empty map, 1 for a single position; NaN where not all is finite.
    """
    sound = np.asarray(np.isfinite(maps).all(1))
    maps = np.where(sound[:, None], maps, 0)
    total = maps.sum(1, keepdims=True, dtype=np.float64)
    p = maps / np.where(total > 0, total, 1.0)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
    share = 1 - entropy / np.log(max(maps.shape[1], 2))
    scores: Float = np.where(sound, np.where(total[:, 0] > 0, share, 0.0), np.nan)
    return scores


def localisation(maps: Float, mask: NDArray[np.bool_] | None) -> dict[str, Float]:
    """How well maps tell masked positions from known ones, whatever their scale.

    Positions of one value stand or fall together: a threshold lies between values, the area under
    the curve counts a tie as half, and of several peaks each counts its part.

    Args:
        maps: (n, hw).
        mask: (hw,); None, or all of one kind, gives NaN.

    Returns:
        ``inside``, ``iou``, ``auc`` and ``pointing``, each (n,); as in `RankedMap`. NaN for a map
        in which not all is finite.
    """
    count, size = maps.shape
    masked = 0 if mask is None else int(mask.sum())
    if mask is None or not 0 < masked < size:
        return {name: np.full(count, np.nan) for name in LOCALISATION}
    sound = np.asarray(np.isfinite(maps).all(1))
    maps = np.where(sound[:, None], maps, 0)
    order = np.argsort(-maps, axis=1, kind="stable")
    values = np.take_along_axis(maps, order, 1)
    ends = np.ones((count, size), np.bool_)  # where a run of equal values ends
    ends[:, :-1] = values[:, :-1] != values[:, 1:]
    places = np.where(ends, np.arange(size), size)
    end = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]  # of each position's own run
    hits = np.take_along_axis(mask[order].cumsum(1), end, 1)  # masked among the highest
    misses = end + 1 - hits
    true = np.pad(hits / masked, ((0, 0), (1, 0)))
    false = np.pad(misses / (size - masked), ((0, 0), (1, 0)))
    total = maps.sum(1, dtype=np.float64)
    scores = {
        "inside": maps[:, mask].sum(1, dtype=np.float64) / np.where(total > 0, total, np.nan),
        "iou": (hits / (masked + misses)).max(1),
        "auc": (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2).sum(1),
        "pointing": hits[:, 0] / (end[:, 0] + 1),
    }
    return {name: np.where(sound, values, np.nan) for name, values in scores.items()}


def mask_at_level(
    mask: NDArray[np.bool_] | None,
    crop: tuple[int, int, int, int] | None,
    frame: tuple[int, int],
    level: int,
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_]]:
    """The mask at a level, by area, and which positions are the picture's and not padding."""
    top, left, height, width = crop or (0, 0, *frame)
    part = (slice(top, top + height), slice(left, left + width))
    whole = np.zeros(frame, np.bool_)
    whole[part] = True
    cells = (frame[0] // level, frame[1] // level)
    inside = (slice(cells[0] * level), slice(cells[1] * level))  # what whole cells cover
    valid = _covered(whole[inside], level)
    if mask is None:
        return None, valid
    rows = (np.arange(height) * mask.shape[0]) // height
    columns = (np.arange(width) * mask.shape[1]) // width
    whole[part] = mask[rows][:, columns]
    return _covered(whole[inside], level), valid


def _covered(whole: NDArray[np.bool_], level: int) -> NDArray[np.bool_]:
    """`method.masks.covered` for whole cells; sums of all pixels would take 16 bytes for each."""
    height, width = (length // level for length in whole.shape)
    count = whole.reshape(height, level, width, level).sum((1, 3))
    return 2 * count > level**2


def _maps(
    record: Record, word: str | int
) -> Iterator[tuple[int, str | None, list[int | None], Float]]:
    """Level, layer, numbers of heads and maps (heads, h, w) of the word, one layer at a time."""
    cross = record.cross
    places = list(cross.places(word))
    for level in cross.levels:
        for name, stack in cross.layers(level).items():
            maps = np.asarray(stack, np.float32)  # ([heads,] tokens, h, w)
            heads: list[int | None] = [None]
            if maps.ndim == 4:
                heads = list(range(len(maps)) if cross.heads is None else cross.heads[: len(maps)])
            with np.errstate(over="ignore", invalid="ignore"):
                maps = (maps if maps.ndim == 4 else maps[None])[:, places].mean(1)
            yield level, None if name == "mean" else name, heads, maps


def _mean(values: list[float]) -> float:
    """Of those that are numbers."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")


@checked
def _wanted(
    *,
    step: int | None = None,
    level: int | None = None,
    layer: str | Collection[str] | None = None,
    head: int | None = None,
) -> dict[str, Any]:
    """What `WordRanking.where` is asked for, in Python's own types."""
    return {"step": step, "level": level, "layer": layer, "head": head}


def _fits(name: str, value: Any, wanted: Any) -> bool:
    if name != "layer" or value is None or wanted is None:
        return bool(value == wanted)
    return matches(value, as_tuple(wanted))
