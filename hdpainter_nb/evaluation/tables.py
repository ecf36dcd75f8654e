"""The tables of an evaluation: the paper's two, and those that say how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.result_table import (
    NOTHING,
    Cell,
    ResultTable,
    heading,
    rounded,
    rounded_p,
    scale_of,
)
from hdpainter_nb.evaluation.rows import Paired, Rows
from hdpainter_nb.evaluation.statistics.agreement import agreement_of
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap, Interval, column_interval
from hdpainter_nb.evaluation.statistics.paired import (
    Difference,
    column_difference,
    difference_of,
    holm,
)
from hdpainter_nb.evaluation.statistics.power import column_power
from hdpainter_nb.evaluation.statistics.preference import preference_of
from hdpainter_nb.evaluation.statistics.seeds import seed_spread
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.checked import checked

__all__ = [
    "Preferred",
    "ablation_table",
    "agreement_table",
    "groups_table",
    "power_table",
    "preference_table",
    "seeds_table",
    "switches_table",
    "systems_table",
]


@dataclass(frozen=True, kw_only=True)
class Preferred:
    """That a table shows PickScore as the paper does: how ours is preferred to each system.

    Attributes:
        ours: the system that is preferred, or not.
        column: of the scaled scores.
        kind: ``probability``, the mean P of ours (what the official code prints), or ``wins``, the
            share of pictures that win, ties counting half (what the paper's words say).

    Raises:
        SettingsError: no such kind.
    """

    ours: str
    column: str = "pickscore"
    kind: Literal["probability", "wins"] = "probability"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("probability", "wins"))


@checked
def systems_table(
    rows: Rows,
    *,
    columns: Sequence[str] | None = None,
    preferred: Preferred | None = None,
    options: Bootstrap | None = None,
    caption: str = "",
) -> ResultTable:
    """The paper's Table 1: each system's mean in each column, the best one in bold.

    Args:
        rows: a row for each picture.
        columns: names; None takes all.
        preferred: shows the scores of one column as the share that prefers ours.
        options: of the intervals, half of whose width stands behind ±.
        caption: None takes one that says how the intervals are made.

    Raises:
        EvaluationError: no such column or system.
    """
    options = options or Bootstrap()
    names = tuple(rows.columns if columns is None else columns)
    cells: dict[str, list[Cell]] = {}
    titles: list[str] = []
    for name in names:
        if preferred and name == preferred.column:
            cells[name] = [_preferred_cell(rows, preferred, s, options) for s in rows.names]
            wins = "wins" if preferred.kind == "wins" else "preferred"
            titles.append(f"{preferred.ours} {wins} %")
            continue
        rows[name]  # says what there is if it is not
        column = rows.columns[name]
        means = [column_interval(rows, system, name, options) for system in rows.names]
        best = _best([interval.value for interval in means], column)
        cells[name] = [
            _mean_cell(interval, column, best=place in best) for place, interval in enumerate(means)
        ]
        titles.append(heading(column))
    table = tuple(
        (
            Cell(system),
            *(cells[name][place] for name in names),
            _count_cell(int((rows.systems == system).sum())),
        )
        for place, system in enumerate(rows.names)
    )
    return ResultTable(
        caption or f"Means with ± half of their {options.level:.0%} interval",
        ("system", *names, "n"),
        ("System", *titles, "n"),
        table,
        tuple(_gaps(rows, names)),
    )


@checked
def ablation_table(
    rows: Rows,
    base: str,
    *,
    systems: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    options: Bootstrap | None = None,
    caption: str = "",
) -> ResultTable:
    """The paper's Table 2: what is added to a base, with paired differences to it.

    Args:
        rows: a row for each picture.
        base: name of the system without anything.
        systems: the others; None takes all.
        columns: names; None takes all.
        options: of the intervals.
        caption: None takes one that says what the differences are.

    Raises:
        EvaluationError: no such column or system.
    """
    options = options or Bootstrap()
    names = tuple(rows.columns if columns is None else columns)
    others = tuple(name for name in (rows.names if systems is None else systems) if name != base)
    everyone = (base, *others)
    intervals = {(s, c): column_interval(rows, s, c, options) for s in everyone for c in names}
    differences = {
        (s, c): column_difference(rows, s, base, c, options) for s in others for c in names
    }
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    bests = {c: _best([intervals[s, c].value for s in everyone], rows.columns[c]) for c in names}
    table = []
    for place, system in enumerate(everyone):
        cells = [Cell(system)]
        for name in names:
            column, best = rows.columns[name], place in bests[name]
            mean = _mean_cell(intervals[system, name], column, best=best, plain=True)
            if system != base:
                mean = _compared(mean, differences[system, name], column, adjusted[system, name])
            cells.append(mean)
        cells.append(_count_cell(int((rows.systems == system).sum())))
        table.append(tuple(cells))
    level = f"{options.level:.0%}"
    tests = sorted({d.test for d in differences.values() if d.test != "none"})
    return ResultTable(
        caption or f"Means, and paired differences to {base} with their {level} intervals",
        ("system", *names, "n"),
        ("System", *(heading(rows.columns[c]) for c in names), "n"),
        tuple(table),
        (
            f"p is two-sided, each for itself ({' or '.join(tests) or 'no test'}); * stays below "
            f"{1 - options.level:.0%} with Holm's adjustment for all {len(differences)} of them.",
            *_gaps(rows, names, everyone),
        ),
    )


def preference_table(
    rows: Rows,
    ours: str,
    column: str = "pickscore",
    *,
    tie: float = 0.0,
    options: Bootstrap | None = None,
) -> ResultTable:
    """PickScore of ours against each other system: mean probability, and share of wins.

    Args:
        rows: a row for each picture.
        ours: the system that is preferred, or not.
        column: of the scaled scores.
        tie: neither wins where the probability is within this of ½.
        options: of the intervals.

    Raises:
        EvaluationError: no such column or system.
        SettingsError: `tie` is out of range.
    """
    share = Column("share", scale=100, digits=1)
    table = []
    for other in rows.names:
        if other == ours:
            continue
        seen = preference_of(rows, ours, other, column, tie=tie, options=options)
        parts = [
            Cell(_percent(value), numbers={"": 100 * value})
            for value in (seen.won, seen.tied, seen.lost)
        ]
        table.append(
            (
                Cell(other),
                _mean_cell(seen.probability, share),
                _mean_cell(seen.wins, share),
                *parts,
                _count_cell(seen.wins.n),
            )
        )
    near = f" (within {tie:g} of ½)" if tie else ""
    return ResultTable(
        f"How {ours} is preferred to each system, by {rows.columns[column].title}",
        ("system", "probability", "wins", "won", "tied", "lost", "n"),
        ("Against", "Mean probability %", "Wins %", "Won %", "Tied %", "Lost %", "n"),
        tuple(table),
        (f"Ties{near} count half as wins. 50 % is no preference.",),
    )


def switches_table(
    variants: Mapping[str, Rows],
    system: str,
    *,
    reference: str | None = None,
    options: Bootstrap | None = None,
) -> ResultTable:
    """How far each switch of a protocol moves each number of a system.

    Args:
        variants: name of a switch -> the rows of the same triplets under it.
        system: whose numbers.
        reference: what the others are compared with; None takes the first.
        options: of the intervals.

    A triplet counts once, with its mean over seeds, so that a protocol of several seeds can be
    compared with one of one seed.

    Raises:
        EvaluationError: no such system in a variant.
        SettingsError: no such reference, or no variants.
    """
    options = options or Bootstrap()
    reference = next(iter(variants), "") if reference is None else reference
    one_of("reference", reference, variants)
    columns = {n: c for rows in variants.values() for n, c in rows.columns.items()}
    order = (reference, *(name for name in variants if name != reference))
    by_triplet = {name: _by_triplet(variants[name].select(system=system)) for name in order}
    table = []
    for name in order:
        cells = [Cell(name)]
        for key, column in columns.items():
            here, there = by_triplet[name], by_triplet[reference]
            if key not in here.columns:
                cells.append(Cell(NOTHING))
                continue
            values = here[key]
            mean = float(np.nanmean(values)) if (~np.isnan(values)).any() else math.nan
            cell = Cell(rounded(mean, column), numbers={"": mean * scale_of(column)})
            if name != reference and key in there.columns:
                moved = difference_of(_between(there, here, key), options=options)
                cell = _compared(cell, moved, column, math.nan, tested=False)
            cells.append(cell)
        cells.append(_count_cell(len(by_triplet[name])))
        table.append(tuple(cells))
    return ResultTable(
        f"How far each switch moves the numbers of {system}, compared with {reference}",
        ("switch", *columns, "triplets"),
        ("Switch", *(heading(column) for column in columns.values()), "Triplets"),
        tuple(table),
        (f"In brackets the {options.level:.0%} interval of the paired difference.",),
    )


def seeds_table(rows: Rows) -> ResultTable:
    """What the seed alone moves of each system's means."""
    table = []
    for system in rows.names:
        cells = [Cell(system)]
        for name, column in rows.columns.items():
            seen, scale = seed_spread(rows, system, name), scale_of(column)
            cells.append(
                Cell(
                    _spread(seen.between_seeds, column),
                    (
                        f"expected {_spread(seen.expected, column)}",
                        f"one triplet {_spread(seen.within_triplet, column)}",
                        f"triplets {_spread(seen.between_triplets, column)}",
                    ),
                    note=_listed(
                        f"seed {seed}: {rounded(mean, column)}" for seed, mean in seen.means.items()
                    ),
                    numbers={
                        "": seen.between_seeds * scale,
                        "expected": seen.expected * scale,
                        "within_triplet": seen.within_triplet * scale,
                        "between_triplets": seen.between_triplets * scale,
                    },
                )
            )
        table.append(tuple(cells))
    return ResultTable(
        f"Standard deviation of the means of the seeds {_listed(rows.seed_values)}",
        ("system", *rows.columns),
        ("System", *(heading(column) for column in rows.columns.values())),
        tuple(table),
        (
            "Below it: what chance in single pictures alone would make of it; the deviation over "
            "seeds of one triplet; that between triplets, chance taken off.",
        ),
    )


def groups_table(rows: Rows, column: str, *, options: Bootstrap | None = None) -> ResultTable:
    """The mean of one column for each system and group of triplets.

    Raises:
        EvaluationError: no such column.
    """
    rows[column]  # says what there is if it is not
    shape = rows.columns[column]
    groups = tuple(sorted(set(rows.groups)))
    parts = {group: rows.select(group=group) for group in groups}
    cells: dict[str, list[Cell]] = {}
    for group, part in parts.items():
        means = {s: column_interval(part, s, column, options) for s in part.names}
        order = [means[s].value if s in means else math.nan for s in rows.names]
        best = _best(order, shape)
        cells[group] = [
            _mean_cell(means[s], shape, best=place in best) if s in means else Cell(NOTHING)
            for place, s in enumerate(rows.names)
        ]
    counts = [len(parts[group].id_values) for group in groups]
    return ResultTable(
        f"{heading(shape)} by group",
        ("system", *(f"group_{group}" for group in groups)),
        ("System", *(f"{g or NOTHING} ({n})" for g, n in zip(groups, counts, strict=True))),
        tuple(
            (Cell(system), *(cells[group][place] for group in groups))
            for place, system in enumerate(rows.names)
        ),
        ("In brackets the number of triplets.",),
    )


def agreement_table(rows: Rows, first: str, second: str) -> ResultTable:
    """Whether the columns prefer the same pictures of two systems.

    Raises:
        EvaluationError: no such system.
    """
    seen = agreement_of(rows, first, second)
    titles = [rows.columns[name].title for name in seen.columns]
    table = []
    for i, title in enumerate(titles):
        cells = [Cell(title)]
        for j in range(len(titles)):
            if i == j:
                cells.append(Cell("", numbers={"": 1.0, "sign": 1.0}))
                continue
            rank, sign = float(seen.rank[i, j]), float(seen.sign[i, j])
            text = NOTHING if math.isnan(rank) else f"{rank:+.2f}".replace("-", "−")
            same = NOTHING if math.isnan(sign) else f"{sign:.0%}"
            cells.append(
                Cell(
                    text,
                    (f"{same} of {seen.decided[i, j]}",) if seen.decided[i, j] else (),
                    numbers={"": rank, "sign": sign, "n": float(seen.items[i, j])},
                    tint=0.0 if math.isnan(rank) else 0.5 * rank,
                )
            )
        table.append(tuple(cells))
    return ResultTable(
        f"Whether metrics agree on {first} against {second}",
        ("column", *seen.columns),
        ("", *titles),
        tuple(table),
        (
            "Spearman's correlation of the differences item by item, each turned so that more is "
            "better; below it on how many of the items that both decide they prefer the same one.",
        ),
    )


def power_table(rows: Rows, first: str, second: str) -> ResultTable:
    """What the run's triplets can show of two systems, and how many the difference would need.

    Raises:
        EvaluationError: no such system.
    """
    table = []
    for name, column in rows.columns.items():
        seen = column_power(rows, first, second, name)
        scale = scale_of(column)
        spread = _percent(seen.spread) if seen.by_share else _spread(seen.spread, column)
        kind = "differ" if seen.by_share else "sd"
        needed = f"{seen.needed:,}".replace(",", " ") if seen.needed else NOTHING
        table.append(
            (
                Cell(heading(column), numbers={"": name}),
                Cell(
                    rounded(seen.observed, column, signed=True), numbers={"": seen.observed * scale}
                ),
                Cell(
                    NOTHING if math.isnan(seen.spread) else f"{spread} {kind}",
                    numbers={"": seen.spread * (100 if seen.by_share else scale)},
                ),
                Cell(rounded(seen.detectable, column), numbers={"": seen.detectable * scale}),
                Cell(needed, numbers={"": float(seen.needed or math.nan)}),
                _count_cell(seen.triplets),
            )
        )
    return ResultTable(
        f"How many triplets the difference of {first} and {second} needs",
        ("column", "observed", "spread", "detectable", "needed", "triplets"),
        ("Column", "Observed", "Spread", "Can be shown", "Triplets needed", "Triplets here"),
        tuple(table),
        (
            "With 80 % power at the two-sided 5 % level, paired: McNemar's test by the share of "
            "triplets on which exactly one system succeeds, otherwise by the differences' standard "
            "deviation. Of an observed difference near 0 the number means little.",
        ),
    )


def _mean_cell(
    interval: Interval, column: Column, *, best: bool = False, plain: bool = False
) -> Cell:
    """A mean with ± half its interval, which `plain` leaves to the note."""
    scale = scale_of(column)
    text = rounded(interval.value, column)
    if not plain and not math.isnan(interval.half):
        text = f"{text} ± {rounded(interval.half, column)}"
    ends = f"{rounded(interval.low, column)} to {rounded(interval.high, column)}"
    note = f"{ends}, {interval.method}, {interval.n} pictures of {interval.triplets} triplets"
    return Cell(
        text,
        best=best,
        note=note,
        numbers={
            "": interval.value * scale,
            "low": interval.low * scale,
            "high": interval.high * scale,
            "n": float(interval.n),
        },
    )


def _compared(
    cell: Cell, difference: Difference, column: Column, adjusted: float, *, tested: bool = True
) -> Cell:
    """A cell with the difference to another system below its number."""
    interval, scale = difference.interval, scale_of(column)
    apart = rounded(interval.value, column, signed=True)
    low, high = (rounded(v, column, signed=True) for v in (interval.low, interval.high))
    details = [apart if math.isnan(interval.low) else f"{apart} [{low}, {high}]"]
    numbers = {
        **cell.numbers,
        "difference": interval.value * scale,
        "difference_low": interval.low * scale,
        "difference_high": interval.high * scale,
    }
    note = f"{interval.n} pairs, {difference.missing} not compared"
    if tested:
        details.append(rounded_p(difference.p) + "*" * (adjusted < 0.05))
        numbers |= {"p": difference.p, "p_holm": adjusted}
        note = f"{note}, {difference.test}"
        if difference.mcnemar:
            won, lost = difference.mcnemar.first_only, difference.mcnemar.second_only
            note = f"{note}: {won} won, {lost} lost"
    return Cell(cell.text, tuple(details), cell.best, f"{cell.note}; {note}".strip("; "), numbers)


def _preferred_cell(rows: Rows, preferred: Preferred, other: str, options: Bootstrap) -> Cell:
    share = Column("share", scale=100, digits=1)
    if other == preferred.ours:
        return Cell(rounded(0.5, share), numbers={"": 50.0})
    seen = preference_of(rows, preferred.ours, other, preferred.column, options=options)
    return _mean_cell(seen.probability if preferred.kind == "probability" else seen.wins, share)


def _count_cell(count: int) -> Cell:
    return Cell(str(count), numbers={"": float(count)})


def _best(values: Sequence[float], column: Column) -> set[int]:
    """Places of the best numbers, as they are shown; none where all are shown alike."""
    shown = {rounded(value, column) for value in values if not math.isnan(value)}
    if not column.better or len(shown) < 2:
        return set()
    choose = max if column.better == "higher" else min
    best = rounded(choose(value for value in values if not math.isnan(value)), column)
    return {i for i, value in enumerate(values) if rounded(value, column) == best}


def _gaps(rows: Rows, columns: Sequence[str], systems: Sequence[str] | None = None) -> list[str]:
    """A line for everything that the means of a table do not rest on equally."""
    notes = []
    chosen = rows.names if systems is None else systems
    for system, items in rows.lacking().items():
        if items and system in chosen:
            some = ", ".join(f"{id} (seed {seed})" for id, seed in items[:3])
            more = f" and {len(items) - 3} more" if len(items) > 3 else ""
            plural = "s" * (len(items) > 1)
            notes.append(
                f"{system} lacks {len(items)} picture{plural} that others have: {some}{more}."
            )
    for name in columns:
        for system in chosen:
            here = rows.systems == system
            empty = int(np.isnan(rows[name][here]).sum())
            if empty:
                notes.append(
                    f"{rows.columns[name].title}: {empty} of {int(here.sum())} pictures of "
                    f"{system} have no number."
                )
    return notes


def _by_triplet(rows: Rows) -> Rows:
    """Each triplet once, with its mean over seeds; for one system."""
    entries = []
    places: dict[str, list[int]] = {}
    for place, id in enumerate(rows.ids):
        places.setdefault(id, []).append(place)
    for id, own in places.items():
        entry = {"system": rows.systems[own[0]], "seed": 0, "id": id, "group": rows.groups[own[0]]}
        for name in rows.columns:
            numbers = rows[name][own]
            numbers = numbers[~np.isnan(numbers)]
            entry[name] = float(numbers.mean()) if len(numbers) else math.nan
        entries.append(entry)
    return Rows.of(entries, rows.columns)


def _between(before: Rows, after: Rows, column: str) -> Paired:
    """One system's numbers under two protocols, the later less the earlier."""
    entries = [
        {"system": name, "seed": 0, "id": id, "group": "", column: value}
        for name, rows in (("after", after), ("before", before))
        for id, value in zip(rows.ids, rows[column].tolist(), strict=True)
    ]
    return Rows.of(entries, {column: after.columns[column]}).paired("after", "before", column)


def _spread(value: float, column: Column) -> str:
    """A standard deviation, one digit finer than the column's means."""
    if math.isnan(value):
        return NOTHING
    return f"{value * scale_of(column):.{column.digits + 1}f}"


def _percent(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{100 * value:.1f} %"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
