"""Several widgets that are one: `CompositeWidget`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import ipywidgets as w

from hdpainter_widgets.notebook import NotebookWidget, as_parts, built

__all__ = ["CompositeRoot", "CompositeWidget"]


class CompositeRoot(NotebookWidget, anywidget.AnyWidget):
    """Gives the composite around it what widgets of ipywidgets lack.

    Keys that are pressed in it stay in it: in a notebook single letters are commands, ``x`` cuts
    the cell, ``d d`` deletes it, ``m`` turns it into text. And it says when its kernel is gone.
    """

    _esm = built("composite.js")
    _css = built("composite.css")

    def __init__(self) -> None:
        super().__init__(layout=w.Layout(display="none"))


class CompositeWidget(NotebookWidget, w.VBox):
    """Widgets from top to bottom that a person takes for one: see `CompositeRoot`.

    Args:
        children: what it is made of.
    """

    def __init__(self, children: Sequence[Any]) -> None:
        with as_parts():
            root = CompositeRoot()
        super().__init__(children=(*children, root))
        self.add_class("hdp-composite")
