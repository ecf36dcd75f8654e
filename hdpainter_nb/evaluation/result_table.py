"""A table of results that is a data frame, Markdown, LaTeX, HTML or text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.rows import frame_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "ResultTable", "heading", "rounded", "rounded_p", "scale_of"]

NOTHING = "–"
"""Stands where there is no number."""

_MARKDOWN = re.compile(r"([\\`*_|~$]|(?<=\])\()")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "½": r"$\frac{1}{2}$",
    "–": "--",
    "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the number as it is shown, or a name.
        details: lines that belong below it: a difference, a p.
        best: whether it is set in bold.
        note: what a page says when it is pointed at.
        numbers: everything exactly, by name; the empty name is the number shown.
        tint: from -1 to 1, how strongly a page colours it; 0: not.
    """

    text: str
    details: tuple[str, ...] = ()
    best: bool = False
    note: str = ""
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    tint: float = 0.0

    def number(self, name: str = "") -> float:
        """One of its numbers; NaN where it has none of that name."""
        value = self.numbers.get(name, math.nan)
        return math.nan if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)
class ResultTable:
    """Rows of cells under headings; the first column names the rows.

    Attributes:
        caption: above the table.
        keys: names of the columns for programs.
        headings: for people.
        rows: as many cells each as there are headings.
        notes: lines below.
    """

    caption: str
    keys: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, float | str]]:
        """A mapping for each row, of all its numbers; ``accuracy_low`` is one's lower end."""
        records = []
        for row in self.rows:
            record: dict[str, float | str] = {}
            for key, cell in zip(self.keys, row, strict=True):
                if not cell.numbers:
                    record[key] = cell.text
                for name, number in cell.numbers.items():
                    record[f"{key}_{name}" if name else key] = number
            records.append(record)
        return records

    def to_frame(self) -> pd.DataFrame:
        """All numbers as a pandas data frame, one row for each of the table's.

        Raises:
            EvaluationError: pandas is not installed.
        """
        records = self.records()
        names = dict.fromkeys(name for record in records for name in record)
        return frame_of({n: [record.get(n, math.nan) for record in records] for n in names})

    def to_markdown(self) -> str:
        """A table as GitHub and notebooks show it, details in parentheses."""
        lines = [
            _markdown_row([_markdown(name) for name in self.headings]),
            "|" + "|".join(["---", *["---:"] * (len(self.headings) - 1)]) + "|",
        ]
        for row in self.rows:
            cells = []
            for cell in row:
                text = _markdown(cell.text)
                text = f"**{text}**" if cell.best and text else text
                below = _markdown(", ".join(cell.details))
                cells.append(f"{text} ({below})" if below else text)
            lines.append(_markdown_row(cells))
        notes = []
        for note in self.notes:
            text = _markdown(note)
            # A sign that begins a heading, a list or a rule where it begins a line.
            notes += ["", "\\" + text if text[:1] in {"#", "+", "-", "="} else text]
        return "\n".join([f"**{_markdown(self.caption)}**", "", *lines, *notes])

    def to_latex(self, label: str = "") -> str:
        r"""A ``table`` for the package booktabs; details have columns of their own.

        Args:
            label: of the table, for ``\ref``.
        """
        wide = [any(row[i].details for row in self.rows) for i in range(len(self.headings))]
        sides = "".join(
            ("l" if i == 0 else "r") + ("l" if detailed else "") for i, detailed in enumerate(wide)
        )
        heads = [
            rf"\multicolumn{{2}}{{c}}{{{_latex(name)}}}" if detailed else _latex(name)
            for name, detailed in zip(self.headings, wide, strict=True)
        ]
        lines = []
        for row in self.rows:
            cells = []
            for cell, detailed in zip(row, wide, strict=True):
                text = _latex(cell.text)
                cells.append(rf"\textbf{{{text}}}" if cell.best and text else text)
                if detailed:
                    below = _latex(", ".join(cell.details))
                    cells.append(rf"{{\small {below}}}" if below else "")
            # After the end of a row, these would be an argument of it.
            guard = "{}" if cells[0][:1] in {"[", "*"} else ""
            lines.append(f"{guard}{' & '.join(cells)} \\\\")
        notes = [rf"\par\smallskip {{\footnotesize {_latex(note)}}}" for note in self.notes]
        return "\n".join(
            [
                r"% \usepackage{booktabs}",
                r"\begin{table}[t]",
                r"\centering",
                rf"\caption{{{_latex(self.caption)}}}",
                *([rf"\label{{{re.sub(r'[^A-Za-z0-9:._-]', '-', label)}}}"] if label else []),
                rf"\begin{{tabular}}{{{sides}}}",
                r"\toprule",
                f"{' & '.join(heads)} \\\\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                *notes,
                r"\end{table}",
            ]
        )

    def to_html(self, *, captioned: bool = True) -> str:
        """A <table>, whose looks are the page's; its caption may stand elsewhere."""
        head = "".join(
            f'<th scope="col">{_html(name).replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓")}</th>'
            for name in self.headings
        )
        caption = f"<caption>{_html(self.caption)}</caption>" if captioned else ""
        body = []
        for row in self.rows:
            cells = []
            for place, cell in enumerate(row):
                text = _html(cell.text)
                text = f"<b>{text}</b>" if cell.best else text
                text += "".join(f"<small>{_html(detail)}</small>" for detail in cell.details)
                tip = f' title="{_html(cell.note)}"' if cell.note else ""
                tag = 'th scope="row"' if place == 0 else "td"
                if cell.tint:
                    kind = "up" if cell.tint > 0 else "down"
                    tip += f' class="{kind}" style="--tint:{abs(cell.tint):.0%}"'
                cells.append(f"<{tag}{tip}>{text}</{tag[:2]}>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        return (
            f'<table class="hdp-results tex2jax_ignore">{caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
            + "".join(f'<p class="hdp-note tex2jax_ignore">{_html(n)}</p>' for n in self.notes)
        )

    def _repr_html_(self) -> str:
        return f"<div>{_STYLE}{self.to_html()}</div>"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def __str__(self) -> str:
        everything = [self.headings] + [
            tuple(
                (f"*{cell.text}*" if cell.best else cell.text)
                + (f" ({', '.join(cell.details)})" if cell.details else "")
                for cell in row
            )
            for row in self.rows
        ]
        lines = [[_plain(text) for text in row] for row in everything]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(
                text.rjust(width) if place else text.ljust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in lines
        ]
        texts.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([_plain(self.caption), *texts, *map(_plain, self.notes)])

    __repr__ = __str__


def scale_of(column: Column) -> float:
    """By what a table multiplies a number: shares are shown in percent."""
    return 100.0 if column.binary and column.scale == 1 else column.scale


def rounded(value: float, column: Column, *, signed: bool = False) -> str:
    """A column's number as all tables show it; `signed` for a difference."""
    if math.isnan(value):
        return NOTHING
    text = f"{abs(value * scale_of(column)):.{column.digits}f}".replace("inf", "∞")
    zero = not any(digit in text for digit in "123456789∞")
    if value < 0 and not zero:
        return f"−{text}"
    return f"+{text}" if signed and not zero else text


def rounded_p(p: float) -> str:
    """A p with its sign before it."""
    if math.isnan(p):
        return f"p {NOTHING}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def heading(column: Column) -> str:
    """A column's title with its unit and the arrow of its better direction."""
    unit = " %" if column.binary and "%" not in column.title else ""
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.better, "")
    return f"{column.title}{unit}{arrow}"


_STYLE = (
    "<style>.hdp-results{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".hdp-results caption{caption-side:top;text-align:left;padding:4px 0}"
    ".hdp-results :is(th,td){padding:3px 10px;text-align:right;vertical-align:top}"
    ".hdp-results :is(th,td):first-child,.hdp-results th[scope=row]{text-align:left}"
    ".hdp-results small{display:block;opacity:.75;white-space:nowrap}"
    ".hdp-note{opacity:.75;font-size:.9em;margin:2px 0}</style>"
)


def _plain(text: str) -> str:
    """One line without control characters, which no format has a place for."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _markdown(text: str) -> str:
    safe = _plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", safe)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _plain(text))


def _html(text: str) -> str:
    return html.escape(text)
