"""Widgets and the page: what an earlier run of a cell made is ended; no message does harm."""

from __future__ import annotations

import functools
import logging
import weakref
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["STATIC", "as_widget", "guarded", "illustrated", "replace_earlier"]

STATIC = Path(__file__).parent / "static"


def illustrated(bundle: Any, mimetype: str, picture: bytes) -> Any:
    """A widget's mimebundle with a picture for pages that run no widgets, such as GitHub's."""
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    if data:
        data[mimetype] = b64encode(picture).decode()
    return bundle


def as_widget(widget: Any) -> dict[str, Any]:
    """The mimebundle that a front end with widgets needs; ipywidgets 8 makes it itself."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"text/plain": repr(widget), "application/vnd.jupyter.widget-view+json": view}


W = TypeVar("W")
_log = logging.getLogger(__name__)
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


def guarded(
    heard: Callable[[W, dict[str, Any], list[Any]], None],
) -> Callable[[W, Any, Any, Any], None]:
    """A method for ``widget.on_msg`` that raises nothing, whatever the page sends.

    Only what is a json object gets to `heard`, and the list of its buffers. What cannot be read
    there, or cannot be done, is logged and passed over: a traceback would come up in whichever cell
    was run last.
    """

    @functools.wraps(heard)
    def hear(self: W, _widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        try:
            heard(self, content, list(buffers or ()))
        except Exception:
            _log.exception("A message from the page failed: %s", type(self).__name__)

    return hear


def _running() -> tuple[str, str]:
    """The id of the cell that is running and that of its execution; empty if unknown."""
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        return str(parent["metadata"]["cellId"]), str(parent["header"]["msg_id"])
    except (AttributeError, ImportError, KeyError, TypeError):
        return "", ""
