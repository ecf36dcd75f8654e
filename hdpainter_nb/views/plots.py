"""Plots over records: the gradient's histogram (figures 12 and 13) and curves over the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdpainter_nb.trace.record import GradStats, Record
    from hdpainter_nb.views._figure import Plot

__all__ = ["GREY", "colour_of", "curves", "empty", "figure_of", "gradient_histogram", "head"]
_BLUE, _ORANGE, GREY = "#3367b0", "#d95f02", "#5f6368"
_CYCLE = (_BLUE, _ORANGE, "#1b9e77", "#8e44ad", "#b8860b", "#c0392b")


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
    if number >= len(_CYCLE):
        from matplotlib.colors import hsv_to_rgb, to_hex

        hue = (0.618 * number) % 1  # far from those before it
        red, green, blue = (float(v) for v in hsv_to_rgb((hue, 0.6, 0.7)))
        return to_hex((red, green, blue))
    return _CYCLE[number]


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


def gradient_histogram(record: Record) -> Plot:
    """The gradient g of S and its standardised form, with the normal distribution over them.

    Left: g as it is, with the normal curve of the same mean and width. Right: what takes the
    noise's place in RASG (eq. 7), with the standard normal curve that DDIM expects there.

    Raises:
        ValueError: the step was made without guidance, so that there is no gradient.
    """
    stats = record.grad
    if stats is None:
        raise ValueError(f"step {record.index} has no gradient: it was made with rasg=False")
    figure = figure_of(8.6, 3.3)
    left, right = figure.subplots(1, 2)
    _histogram(left, stats.hist, stats.edges, stats.mean, stats.std)
    left.set_title("gradient g of S", loc="left")
    left.set_xlabel("g")
    left.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3), useMathText=True)
    _note(left, f"mean {stats.mean:.2g}\nstd {stats.std:.2g}")
    _histogram(right, stats.standard_hist, stats.standard_edges, 0.0, 1.0)
    right.set_title("after standardisation", loc="left")
    right.set_xlabel("standard deviations")
    right.set_xlim(-5, 5)
    _note(right, _moments(stats))
    right.legend(frameon=False, loc="upper left", fontsize=8.5, handlelength=1.4)
    figure.suptitle(
        f"step {record.index}, t={record.timestep}", x=0.01, ha="left", fontsize=11, weight="bold"
    )
    return figure


def curves(records: Sequence[Record] | Mapping[str, Sequence[Record]]) -> Plot:
    """S, the spread of its gradient, and sigma over the steps.

    Args:
        records: one run's records, or several runs' by name, which are drawn in one colour each.

    Raises:
        ValueError: there are no records.
    """
    runs = dict(records) if isinstance(records, Mapping) else {"": records}
    runs = {name: rows for name, rows in runs.items() if len(rows)}
    if not runs:
        raise ValueError("there are no records to draw: take a step first")
    panels: tuple[tuple[str, Callable[[Record], float | None]], ...] = (
        ("score S", lambda r: r.score),
        ("spread of the gradient, std(g)", lambda r: r.grad.std if r.grad else None),
        ("noise level σ", lambda r: r.sigma),
    )
    figure = figure_of(10.2, 3.0 if len(runs) == 1 else 3.3)
    for axes, (title, value) in zip(figure.subplots(1, 3), panels, strict=True):
        drawn = False
        for i, (name, rows) in enumerate(runs.items()):
            found = [(r.index, v) for r in rows if (v := value(r)) is not None]
            if not found:
                continue
            steps, values = zip(*found, strict=True)
            drawn = True
            wide = 1.5 * (len(runs) - i)  # runs that agree stay visible below one another
            colour = _CYCLE[i % len(_CYCLE)]
            axes.plot(steps, values, color=colour, lw=wide, marker="o", ms=wide + 1.5, label=name)
        axes.set_title(title, loc="left", y=1.0, pad=16)  # clear of the "x 10^-4" of the axis
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
        if not drawn:
            empty(axes, "no guidance in these steps")
    if len(runs) > 1:
        handles, labels = figure.axes[-1].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=len(runs), frameon=False, fontsize=9.5
        )
    return figure


def figure_of(width: float, height: float) -> Plot:
    """An empty figure in the house style; made without pyplot, so it belongs to no backend."""
    from hdpainter_nb.views._figure import Plot

    return Plot(width, height)


def _histogram(
    axes: Axes,
    counts: NDArray[np.int64],
    edges: NDArray[np.floating],
    mean: float,
    std: float,
) -> None:
    edges = np.asarray(edges, np.float64)
    width = np.diff(edges)
    total = max(float(np.sum(counts)), 1.0)
    density = counts / (total * np.where(width > 0, width, 1.0))
    axes.stairs(density, edges, fill=True, color=_BLUE, alpha=0.55)
    axes.stairs(density, edges, color=_BLUE, lw=0.8)
    if std > 0:
        x = np.linspace(edges[0], edges[-1], 301)
        y = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
        name = "standard normal" if (mean, std) == (0.0, 1.0) else "normal"
        axes.plot(x, y, color=_ORANGE, lw=1.6, label=name)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(bottom=0)


def _moments(stats: GradStats) -> str:
    return f"skewness {stats.skewness:.2f}\nexcess kurtosis {stats.kurtosis:.1f}"


def _note(axes: Axes, text: str) -> None:
    axes.text(
        0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=GREY
    )


def empty(axes: Axes, text: str) -> None:
    """A note in the middle of axes that have nothing to show."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=GREY
    )
