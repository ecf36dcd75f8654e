"""Curves by name, in one panel or several: `lines`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.views.style import GREY, colour_of, empty, figure_of, head

if TYPE_CHECKING:
    from hdpainter_nb.views.figure import Plot

__all__ = ["lines"]

Series = Mapping[str, Sequence[float | None]]


@checked
def lines(
    panels: Mapping[str, Series],
    *,
    x: Sequence[float] | None = None,
    xlabel: str = "step",
    log: Collection[str] = (),
    reference: str | None = None,
    ordered: bool = False,
    same_scale: bool = False,
    title: str = "",
) -> Plot:
    """Named curves, one panel per quantity; a name has the same colour in every panel.

    Args:
        panels: title of a panel -> name of a curve -> its values. A value that is None or not
            finite leaves a gap.
        x: where the values lie; None numbers them from 1, as steps are. A curve may be shorter
            than `x`. Falling numbers, timesteps say, are drawn from left to right as they fall.
        xlabel: what `x` is, with its unit.
        log: titles of the panels whose values are drawn on a logarithmic scale.
        reference: name of the curve that the others are to be compared with: grey and dashed.
        ordered: the names are values of one quantity in order, so their colours run from dark to
            light.
        same_scale: all panels share one vertical axis, so that they can be compared.
        title: a line above everything.

    Raises:
        ValueError: there is nothing to draw; `log` or `reference` is not among the names.
    """
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    if not names:
        raise ValueError("there are no curves to draw")
    for what, wanted, choices in (
        ("log", log, list(panels)),
        ("reference", [] if reference is None else [reference], names),
    ):
        wrong = [name for name in wanted if name not in choices]
        if wrong:
            raise ValueError(f"{what}: {wrong[0]!r} is not one of {', '.join(map(repr, choices))}")
    looks = _looks(names, reference, ordered=ordered)
    figure = figure_of(min(11.0, 1.2 + 3.3 * max(len(panels), 1.6)), 3.3 + 0.25 * bool(title))
    columns = figure.subplots(1, len(panels), squeeze=False, sharey=same_scale)[0]
    for axes, (heading, series) in zip(columns, panels.items(), strict=True):
        drawn = [_draw(axes, x, values, looks[name], name) for name, values in series.items()]
        axes.set_title(heading, loc="left", y=1.0, pad=16)  # clear of the "x 10^-4" of the axis
        axes.set_xlabel(xlabel)
        if not any(drawn):
            empty(axes, "nothing to draw")
        elif heading in log:
            axes.set_yscale("log")
        else:
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
        if x is not None and len(x) > 1 and x[0] > x[-1]:
            axes.invert_xaxis()
        if x is None and any(drawn):
            axes.xaxis.get_major_locator().set_params(integer=True)
    head(figure, title, columns if len(names) > 1 else ())
    return figure


def _draw(
    axes: Any,
    x: Sequence[float] | None,
    values: Sequence[float | None],
    look: dict[str, Any],
    name: str,
) -> bool:
    """One curve; whether there was anything to draw."""
    y = np.array([np.nan if v is None else v for v in values], np.float64)
    y[~np.isfinite(y)] = np.nan
    along = np.arange(1, len(y) + 1) if x is None else np.asarray(x[: len(y)], np.float64)
    if len(along) != len(y):
        raise ValueError(f"{name!r} has {len(y)} values, but x only {len(along)}")
    axes.plot(along, y, label=name, **look)
    return bool(np.isfinite(y).any())


def _looks(names: list[str], reference: str | None, *, ordered: bool) -> dict[str, dict[str, Any]]:
    """Colour and stroke by name."""
    coloured = [name for name in names if name != reference]
    looks: dict[str, dict[str, Any]] = {
        name: {
            "color": colour_of(i, len(coloured) if ordered else 0),
            # runs that agree stay visible below one another
            "lw": 1.4 + 2.2 * (len(coloured) - i - 1) / max(len(coloured), 1),
            "marker": "o",
            "ms": 2.5 + 2.2 * (len(coloured) - i - 1) / max(len(coloured), 1),
        }
        for i, name in enumerate(coloured)
    }
    if reference is not None:
        looks[reference] = {"color": GREY, "lw": 1.4, "ls": (0, (4, 2)), "zorder": 5}
    return looks
