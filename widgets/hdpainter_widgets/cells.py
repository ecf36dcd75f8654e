"""When a cell runs again, what it made before has gone from the page: end that."""

from __future__ import annotations

import weakref
from typing import Any

__all__ = ["replace_earlier"]

# Cell -> the execution it is in, and what that execution has made.
_made: dict[str, tuple[str, weakref.WeakSet[Any]]] = {}


def replace_earlier(widget: Any) -> None:
    """Close the widgets that an earlier run of this cell has made, and remember this one.

    Without it, a player whose cell is run again would play on unseen and take its turns on the
    model. Does nothing outside a notebook, or where the page does not say which cell is running.
    """
    cell, execution = _running()
    if not cell:
        return
    before, widgets = _made.get(cell, ("", weakref.WeakSet()))
    if before != execution:
        for old in list(widgets):
            old.close()
        widgets = weakref.WeakSet()
        _made[cell] = (execution, widgets)
    widgets.add(widget)


def _running() -> tuple[str, str]:
    """The id of the cell that is running and that of its execution; empty if unknown."""
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        return str(parent["metadata"]["cellId"]), str(parent["header"]["msg_id"])
    except (AttributeError, ImportError, KeyError, TypeError):
        return "", ""
