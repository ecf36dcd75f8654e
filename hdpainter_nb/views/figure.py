"""A matplotlib figure that shows itself in a notebook without pyplot."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["Plot"]

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#80868b",
    "axes.labelcolor": "#3c4043",
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "xtick.labelcolor": "#3c4043",
    "ytick.labelcolor": "#3c4043",
}


class Plot(Figure):
    """`matplotlib.figure.Figure` in the house style, drawn on white by `_repr_png_`.

    A plain `Figure` shows as text in a notebook that never imported pyplot; pyplot's own figures
    pile up in its registry. This one does neither, and may be made on any thread.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
        engine = self.get_layout_engine()
        if engine is not None:
            engine.set(w_pad=0.1, h_pad=0.07, wspace=0.03)  # type: ignore[call-arg]

    def subplots(self, *args: Any, **kwargs: Any) -> Any:
        """As in matplotlib, under the house style."""
        with mpl.rc_context(_STYLE):
            return super().subplots(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()
