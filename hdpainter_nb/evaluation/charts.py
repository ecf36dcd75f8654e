"""Intervals drawn as small SVG, which take the page's width and colours."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from hdpainter_nb.evaluation.result_table import Cell, ResultTable

__all__ = ["interval_chart"]


def interval_chart(table: ResultTable, key: str, *, part: str = "", zero: bool = False) -> str:
    """A <figure> with a line for each row of a table: its number, and where the true one lies.

    Args:
        table: whose cells have the numbers ``low`` and ``high``.
        key: of the column.
        part: ``difference`` draws that instead of the number itself.
        zero: with a line at 0, on one side of which an interval proves something.

    Returns:
        Empty text where no row has such a number.
    """
    place = table.keys.index(key)
    before = f"{part}_" if part else ""
    rows = [
        (row[0].text, row[place]) for row in table.rows if math.isfinite(row[place].number(part))
    ]
    numbers = [
        value
        for _, cell in rows
        for value in (cell.number(part), cell.number(f"{before}low"), cell.number(f"{before}high"))
        if math.isfinite(value)
    ]
    if not numbers:
        return ""
    low, high = _span([*numbers, 0.0] if zero else numbers)
    lines = []
    for name, cell in rows:
        spots = [
            100 * (cell.number(key_) - low) / (high - low)
            for key_ in (part, f"{before}low", f"{before}high")
        ]
        lines.append(
            f"<dt>{html.escape(name)}</dt><dd>{_strip(spots, low, high, zero)}"
            f"<span>{html.escape(_shown(cell, part))}</span></dd>"
        )
    ticks = _ticks(low, high)
    axis = "".join(
        f'<i style="left:{100 * (tick - low) / (high - low):.2f}%">{_tick(tick, ticks)}</i>'
        for tick in ticks
    )
    return (
        f'<figure class="hdp-chart"><figcaption>{html.escape(table.headings[place])}</figcaption>'
        f'<dl>{"".join(lines)}</dl><div class="hdp-axis" aria-hidden="true"><div>{axis}</div></div>'
        "</figure>"
    )


def _strip(spots: Sequence[float], low: float, high: float, zero: bool) -> str:
    """One line of the chart, 100 units wide whatever the page gives it."""
    at, start, end = spots
    parts = []
    if zero:
        parts.append(f'<path class="zero" d="M{100 * -low / (high - low):.2f} 0v20"/>')
    if math.isfinite(start) and math.isfinite(end):
        parts.append(f'<path class="range" d="M{start:.2f} 10H{end:.2f}"/>')
    # A point is a line of no length with round ends: it stays round however the strip is stretched.
    parts.append(f'<path class="point" d="M{at:.2f} 10h0"/>')
    return (
        '<svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _shown(cell: Cell, part: str) -> str:
    """The words beside a line."""
    return cell.details[0].partition(" [")[0] if part and cell.details else cell.text


def _span(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Up to four round numbers from low to high, fewer where they are long."""
    step = 10 ** math.floor(math.log10(high - low))
    ticks: list[float] = []
    for factor in (0.2, 0.25, 0.5, 1, 2, 2.5, 5):
        first, last = math.ceil(low / (factor * step)), math.floor(high / (factor * step))
        if last - first > 3:
            continue
        ticks = [number * factor * step for number in range(first, last + 1)]
        if sum(len(_tick(tick, ticks)) + 1 for tick in ticks) <= 24:
            break
    return ticks


def _tick(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step * 10**digits, 6) != round(step * 10**digits):
        digits += 1  # steps of 0.25
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text
