"""Numbers by name as horizontal bars: `shares` of a whole, `effects` in order of size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.style import GREY, colour_of, figure_of, head, name_rows

if TYPE_CHECKING:
    from hdpainter_nb.views.figure import Plot

__all__ = ["effects", "shares"]


@checked
def shares(
    rows: Mapping[str, Mapping[str, float]],
    *,
    xlabel: str = "share",
    title: str = "",
) -> Plot:
    """Stacked bars: how a whole is divided, one bar per row, the parts in one colour each.

    Args:
        rows: name of a bar -> name of a part -> its size. Bars are drawn to their own sum, so
            shares that sum to 1 fill the axis.
        xlabel: what is divided.
        title: a line above everything.

    Raises:
        ValueError: there are no rows, or a part is negative or not finite.
    """
    if not rows:
        raise ValueError("there are no rows to draw")
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    table = np.array([[row.get(part, 0.0) for part in parts] for row in rows.values()], np.float64)
    if not np.isfinite(table).all() or (table < 0).any():
        raise ValueError("every part must be a number of 0 or more")
    figure = figure_of(8.6, 1.15 + 0.42 * len(rows) + 0.25 * bool(title))
    axes = figure.subplots()
    whole = float(table.sum(1).max()) or 1.0
    start = np.zeros(len(rows))
    for i, part in enumerate(parts):
        size = table[:, i]
        axes.barh(range(len(rows)), size, 0.66, start, color=colour_of(i), alpha=0.85, label=part)
        for row, (left, wide) in enumerate(zip(start, size, strict=True)):
            if wide >= 0.055 * whole:  # narrower, and the number would not fit
                axes.text(
                    left + wide / 2, row, f"{wide / whole:.0%}",
                    ha="center", va="center", fontsize=8.5, color="white",
                )  # fmt: skip
        start = start + size
    name_rows(axes, list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, whole)
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / whole:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    head(figure, title, [axes])
    return figure


@checked
def effects(
    rows: Mapping[str, float | Mapping[str, float]],
    *,
    xlabel: str = "effect",
    title: str = "",
    floor: float | None = None,
) -> Plot:
    """Effects in order of size on a logarithmic axis: a line to their mean, a dot for each case.

    Args:
        rows: name of a change -> its effect, or its effect in each of several named cases.
        xlabel: what is measured, with its unit.
        title: a line above everything.
        floor: what is smaller counts as none and is drawn at the left edge; None takes a
            thousandth of the largest.

    Raises:
        ValueError: there are no rows, or an effect is negative or not finite.
    """
    if not rows:
        raise ValueError("there are no rows to draw")
    cases_of: dict[str, Mapping[str, float]] = {
        name: row if isinstance(row, Mapping) else {"": row} for name, row in rows.items()
    }
    values = [v for row in cases_of.values() for v in row.values()]
    if not all(np.isfinite(v) and v >= 0 for v in values):
        raise ValueError("every effect must be a number of 0 or more")
    if floor is not None and floor <= 0:
        raise ValueError(f"floor must be more than 0, not {floor!r}")
    largest = max(values, default=0.0) or 1.0
    least = largest / 1000 if floor is None else float(floor)
    order = sorted(cases_of, key=lambda name: -_mean(cases_of[name]))
    cases = list(dict.fromkeys(case for row in cases_of.values() for case in row))
    figure = figure_of(8.6, 1.2 + 0.27 * len(rows) + 0.25 * bool(title))
    axes = figure.subplots()
    axes.set_xscale("log")
    edge = least * 0.55  # where "none" stands
    for row, name in enumerate(order):
        mean = _mean(cases_of[name])
        end = max(mean, edge)
        axes.plot([edge, end], [row, row], color="#c6ccd2", lw=3, solid_capstyle="round", zorder=1)
        if max(cases_of[name].values(), default=0.0) < least:
            axes.text(edge * 1.25, row, "none", va="center", fontsize=8, color=GREY)
    _dots(axes, cases_of, order, cases, least, edge)
    name_rows(axes, order)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(edge * 0.8, largest * 1.6)
    axes.set_xlabel(xlabel)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#eceff1", zorder=0)
    axes.set_axisbelow(True)
    head(figure, title, [axes] if cases != [""] else ())
    return figure


def _dots(
    axes: Any,
    cases_of: Mapping[str, Mapping[str, float]],
    order: Sequence[str],
    cases: Sequence[str],
    least: float,
    edge: float,
) -> None:
    """One dot per row and case; what counts as none has no dot."""
    for i, case in enumerate(cases):
        pairs = [
            (cases_of[name][case], row + 0.24 * (i - (len(cases) - 1) / 2))
            for row, name in enumerate(order)
            if case in cases_of[name] and cases_of[name][case] >= least
        ]
        x, y = zip(*pairs, strict=True) if pairs else ((edge / 100,), (0,))
        axes.scatter(x, y, s=34, color=colour_of(i), label=case, zorder=3, lw=0)


def _mean(row: Mapping[str, float]) -> float:
    return float(np.mean(list(row.values()))) if row else 0.0
