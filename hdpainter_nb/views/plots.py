"""The numbers of records as curves over the steps: `curves`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.style import CYCLE, empty, figure_of

if TYPE_CHECKING:
    from hdpainter_nb.trace.record import Record
    from hdpainter_nb.views.figure import Plot

__all__ = ["curves"]


@checked
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
            points = [(r.number, v) for r in rows if (v := value(r)) is not None]
            if not points:
                continue
            steps, values = zip(*points, strict=True)
            drawn = True
            wide = 1.5 * (len(runs) - i)  # runs that agree stay visible below one another
            colour = CYCLE[i % len(CYCLE)]
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
