"""A matplotlib figure that shows itself in a notebook without pyplot."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from hdpainter_nb.views.words import printable

__all__ = ["Plot", "drawable"]

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

    def draw(self, renderer: Any) -> None:
        """As in matplotlib; texts may hold what cannot be drawn, such as the words of a prompt."""
        for text in self.findobj(Text):
            assert isinstance(text, Text)
            if (drawn := drawable(text.get_text())) != text.get_text():
                text.set_text(drawn)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()


def drawable(text: str) -> str:
    """The text without what no font draws; its dollar signs are escaped unless formulas are in it.

    matplotlib takes for a formula what stands between two dollar signs, and fails where it is none.
    """
    plain = printable(text)
    if plain.count("$") < 2:
        return plain
    try:
        MathTextParser("path").parse(plain)
    except ValueError:
        return re.sub(r"(?<!\\)\$", r"\\$", plain)
    return plain
