"""RASG's gradient over a whole run: its size, and the shape of its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hdpainter_nb.views.plots import colour_of, figure_of

if TYPE_CHECKING:
    from hdpainter_nb.trace.record import Record
    from hdpainter_nb.views._figure import Plot

__all__ = ["gradient_steps"]


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
    held = [(record.index, record.grad) for record in records if record.grad is not None]
    if not held:
        raise ValueError("these steps have no gradient: they were made with rasg=False")
    steps = [index for index, _ in held]
    stats = [grad for _, grad in held]
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
