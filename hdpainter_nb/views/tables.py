"""Rows under headings, which a notebook shows as a table: `table`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from hdpainter_nb.utils.check import between, one_of, shown
from hdpainter_nb.utils.checked import checked

__all__ = ["Table", "table"]

_STYLE = "text-align:{};padding:2px 10px;white-space:{}"


@checked
@dataclass(frozen=True)
class Table:
    """Rows under common headings; shows itself as HTML, as Markdown and as text.

    Raises:
        ValueError: a row, or `numeric`, has more or fewer cells than there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    """Which columns hold numbers, and are set flush right."""
    caption: str = ""

    def __post_init__(self) -> None:
        for row in (self.numeric, *self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"there are {len(self.columns)} columns, so {row} does not fit")

    def _repr_html_(self) -> str:
        sides = ["right" if n else "left" for n in self.numeric]
        head = "".join(
            f'<th style="{_STYLE.format(side, "nowrap")}">{html.escape(name)}</th>'
            for side, name in zip(sides, self.columns, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="{_STYLE.format(side, "normal")}">{html.escape(cell)}</td>'
                for side, cell in zip(sides, row, strict=True)
            )
            + "</tr>"
            for row in self.rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_markdown_(self) -> str:
        lines = [
            f"| {' | '.join(self.columns)} |",
            "|" + "|".join("---:" if n else "---" for n in self.numeric) + "|",
            *(
                f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in r)} |"
                for r in self.rows
            ),
        ]
        return "\n".join([*lines, "", self.caption] if self.caption else lines)

    def __str__(self) -> str:
        everything = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(row, widths, self.numeric, strict=True)
            ).rstrip()
            for row in everything
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, self.caption] if self.caption else lines)

    __repr__ = __str__

    def __len__(self) -> int:
        return len(self.rows)


@checked
def table(
    rows: Sequence[Mapping[str, Any]],
    *,
    sort: str | None = None,
    descending: bool = True,
    digits: int = 3,
    caption: str = "",
) -> Table:
    """Mappings with common keys as a table.

    Args:
        rows: one mapping per row; the headings are their keys, in the order of first appearance.
            A key that a row lacks, or None, leaves the cell empty.
        sort: a heading to sort by; rows without a value there come last. Values that have no
            order among themselves go by what they look like.
        descending: the largest first.
        digits: of numbers that are not whole; what stands before the point is never cut.
        caption: a line that belongs to the table.

    Raises:
        ValueError: there are no rows, or no such heading.
    """
    between("digits", digits, 1, 17, integer=True)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        raise ValueError("there are no rows to show")
    chosen = list(rows)
    if sort is not None:
        one_of("sort", sort, columns, ValueError)
        filled = [row for row in chosen if row.get(sort) is not None]
        empty = [row for row in chosen if row.get(sort) is None]
        try:
            filled.sort(key=lambda row: row[sort], reverse=descending)
        except (TypeError, ValueError):
            filled.sort(key=lambda row: _cell(row[sort], digits), reverse=descending)
        chosen = filled + empty
    numeric = tuple(
        all(_is_number(row.get(name)) for row in rows if row.get(name) is not None)
        and any(row.get(name) is not None for row in rows)
        for name in columns
    )
    cells = tuple(tuple(_cell(row.get(name), digits) for name in columns) for row in chosen)
    return Table(columns, cells, numeric, caption)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        try:
            number = float(value)
        except OverflowError:
            return shown(value)
        short = f"{number:.{digits}g}"
        readable = "e+" in short and abs(number) < 1e9  # 1235 rather than 1.23e+03
        return f"{number:.0f}" if readable or number.is_integer() else short
    return str(value)
