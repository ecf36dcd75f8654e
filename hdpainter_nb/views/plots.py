"""Plots over records: the gradient's histogram (figures 12 and 13) and curves over the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdpainter_nb.types import GradStats, Record

    from ._figure import Plot

__all__ = ["curves", "gradient_histogram"]

_BLUE, _ORANGE, _GREY = "#3367b0", "#d95f02", "#5f6368"
_CYCLE = (_BLUE, _ORANGE, "#1b9e77", "#8e44ad", "#b8860b", "#c0392b")


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
    figure = _figure(8.6, 3.3)
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
    figure = _figure(10.2, 3.0 if len(runs) == 1 else 3.3)
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
            _empty(axes, "no guidance in these steps")
    if len(runs) > 1:
        handles, labels = figure.axes[-1].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=len(runs), frameon=False, fontsize=9.5
        )
    return figure


def _figure(width: float, height: float) -> Plot:
    """An empty figure in the house style; made without pyplot, so it belongs to no backend."""
    from ._figure import Plot

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
        0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=_GREY
    )


def _empty(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=_GREY
    )
