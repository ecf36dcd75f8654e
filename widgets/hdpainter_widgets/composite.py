"""Several widgets that are one: `CompositeWidget`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import ipywidgets as w

from hdpainter_widgets.notebook import NotebookWidget, as_parts, built

__all__ = ["CompositeWidget", "KeyShield"]


class KeyShield(NotebookWidget, anywidget.AnyWidget):
    """Keeps the keys that are pressed in the composite around it from the notebook.

    In a notebook single letters are commands: ``x`` cuts the cell, ``d d`` deletes it, ``m`` turns
    it into text. Widgets of ipywidgets let all of them through.
    """

    _esm = built("shield.js")

    def __init__(self) -> None:
        super().__init__(layout=w.Layout(display="none"))


class CompositeWidget(NotebookWidget, w.VBox):
    """Widgets from top to bottom that a person takes for one, whose keys stay in it.

    Args:
        children: what it is made of.
    """

    def __init__(self, children: Sequence[Any]) -> None:
        with as_parts():
            shield = KeyShield()
        super().__init__(children=(*children, shield))
        self.add_class("hdp-composite")
