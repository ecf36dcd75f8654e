"""The house style of plots: their colours, titles, legends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdpainter_nb.views.figure import Plot

__all__ = [
    "BLUE",
    "CYCLE",
    "GREY",
    "ORANGE",
    "colour_of",
    "empty",
    "figure_of",
    "head",
    "name_rows",
]

BLUE, ORANGE, GREY = "#3367b0", "#d95f02", "#5f6368"
CYCLE = (BLUE, ORANGE, "#1b9e77", "#8e44ad", "#b8860b", "#c0392b")


def figure_of(width: float, height: float) -> Plot:
    """An empty figure in the house style; made without pyplot, so it belongs to no backend."""
    from hdpainter_nb.views.figure import Plot

    return Plot(width, height)


def colour_of(number: int, ordered: int = 0) -> str:
    """The colour of the curve or part with this number.

    Args:
        number: from 0.
        ordered: of how many values of one quantity, whose colours run from dark to light; 0: none.
    """
    if ordered:
        import matplotlib as mpl
        from matplotlib.colors import to_hex

        return to_hex(mpl.colormaps["viridis"](0.05 + 0.85 * number / max(ordered - 1, 1)))
    if number >= len(CYCLE):
        from matplotlib.colors import hsv_to_rgb, to_hex

        hue = (0.618 * number) % 1  # far from those before it
        red, green, blue = (float(v) for v in hsv_to_rgb((hue, 0.6, 0.7)))
        return to_hex((red, green, blue))
    return CYCLE[number]


def head(figure: Plot, title: str, panels: Sequence[Any] = ()) -> None:
    """A title above all panels, and below it the names of what the panels show, each once."""
    named: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            named.setdefault(label, handle)
    if not named:
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        return
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside upper left",
        ncols=_fitting([0.55 + 0.075 * len(name) for name in named], figure.get_figwidth() - 0.2),
        frameon=False,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.4,
        # one above the other: a title of the figure would lie on the names
        title=title or None,
        title_fontproperties={"size": 11, "weight": "bold"},
        alignment="left",
    )


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names beside the rows 0, 1, 2, ... of axes. Such names become texts only in drawing."""
    from hdpainter_nb.views.figure import drawable

    axes.set_yticks(range(len(names)), [drawable(name) for name in names])


def empty(axes: Axes, text: str) -> None:
    """A note in the middle of axes that have nothing to show."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=GREY
    )


def _fitting(widths: Sequence[float], room: float) -> int:
    """Into how many columns entries of these widths fit, filled as matplotlib's legend is.

    It fills column by column; the first ones get one more where they do not come out even.
    """
    for columns in range(len(widths), 1, -1):
        each, more = divmod(len(widths), columns)
        starts = [i * each + min(i, more) for i in range(columns + 1)]
        if sum(max(widths[a:b]) for a, b in pairwise(starts)) <= room:
            return columns
    return 1
