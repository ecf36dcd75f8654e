"""Which widgets are open: ipywidgets holds each of them until it is closed."""

from __future__ import annotations

from typing import Any

from ipywidgets.widgets import widget

__all__ = ["open_widgets"]


def open_widgets() -> dict[str, Any]:
    """Every open widget, layouts and styles included, by its id."""
    instances = getattr(widget, "_instances", None)  # ipywidgets 7 has a dict in the class
    return dict(widget.Widget.widgets if instances is None else instances)
