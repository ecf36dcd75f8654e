"""The gradient of S, which guidance descends, as plots of its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.style import BLUE, GREY, ORANGE, colour_of, figure_of
from hdpainter_nb.views.tiles import step_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hdpainter_nb.trace.record import GradStats, Record
    from hdpainter_nb.views.figure import Plot

__all__ = ["gradient_histogram", "gradient_steps"]


@checked
def gradient_histogram(record: Record) -> Plot:
    """The gradient g of S and its standardised form, with the normal distribution over them.

    Left: g as it is, with the normal curve of the same mean and width. Right: what takes the
    noise's place in RASG (eq. 7), with the standard normal curve that DDIM expects there.

    Raises:
        ValueError: the step was made without guidance, so that there is no gradient.
    """
    stats = record.grad
    if stats is None:
        raise ValueError(f"step {record.number} has no gradient: it was made with rasg=False")
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
    figure.suptitle(step_title(record), x=0.01, ha="left", fontsize=11, weight="bold")
    return figure


@checked
def gradient_steps(records: Sequence[Record]) -> Plot:
    """The gradient g of S, step by step: how large it is, and how it is distributed.

    Left: the standard deviation and the largest absolute value of g, on a logarithmic scale.
    Middle: the distribution of g divided by its standard deviation, one column per step; what lies
    beyond 5 standard deviations counts at the edge, and the dashed lines are at one. Right:
    its excess kurtosis (0 for a normal distribution: the higher, the more of it sits in few places)
    and its skewness.

    Raises:
        ValueError: no step was made with guidance, so that there is no gradient.
    """
    guided = [(record.number, record.grad) for record in records if record.grad is not None]
    if not guided:
        raise ValueError("these steps have no gradient: they were made with rasg=False")
    steps = [number for number, _ in guided]
    stats = [grad for _, grad in guided]
    figure = figure_of(10.6, 3.3)
    size, spread, moments = figure.subplots(1, 3, width_ratios=(1, 1.25, 1))

    largest = [float(max(abs(g.edges[0]), abs(g.edges[-1]))) for g in stats]
    size.plot(steps, [g.std for g in stats], color=colour_of(0), marker="o", ms=3.5, label="std(g)")
    size.plot(steps, largest, color=colour_of(1), marker="o", ms=3.5, label="max |g|")
    size.set_yscale("log")
    size.set_title("size of the gradient", loc="left")
    size.legend(frameon=False, fontsize=8.5)

    edges = np.asarray(stats[0].standard_edges, np.float64)
    counts = np.stack([np.asarray(g.standard_hist, np.float64) for g in stats], 1)
    density = counts / counts.sum(0).clip(1) / np.diff(edges)[:, None]  # (bins, steps)
    columns = np.append(np.asarray(steps, np.float64) - 0.5, steps[-1] + 0.5)
    mesh = spread.pcolormesh(
        columns, edges, density.clip(1e-3), cmap="viridis", norm="log", rasterized=True
    )
    for line in (-1, 1):
        spread.axhline(line, color="white", lw=1, ls=(0, (4, 3)), alpha=0.8)
    spread.set_title("distribution of g / std(g)", loc="left")
    spread.set_ylabel("standard deviations")
    figure.colorbar(mesh, ax=spread, label="density", pad=0.02)

    moments.axhline(0, color="#bdc1c6", lw=1)
    for i, name in enumerate(("kurtosis", "skewness")):
        label = "excess kurtosis" if name == "kurtosis" else name
        values = [getattr(g, name) for g in stats]
        moments.plot(steps, values, color=colour_of(i), marker="o", ms=3.5, label=label)
    moments.set_title("how far from normal", loc="left")
    moments.legend(frameon=False, fontsize=8.5)
    for axes in (size, spread, moments):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


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
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.55)
    axes.stairs(density, edges, color=BLUE, lw=0.8)
    if std > 0:
        x = np.linspace(edges[0], edges[-1], 301)
        y = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
        name = "standard normal" if (mean, std) == (0.0, 1.0) else "normal"
        axes.plot(x, y, color=ORANGE, lw=1.6, label=name)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(bottom=0)


def _moments(stats: GradStats) -> str:
    return f"skewness {stats.skewness:.2f}\nexcess kurtosis {stats.kurtosis:.1f}"


def _note(axes: Axes, text: str) -> None:
    axes.text(
        0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=GREY
    )
