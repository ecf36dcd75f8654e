"""What every widget shares with the notebook that it is shown in."""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "STATIC",
    "NotebookWidget",
    "OwnChanges",
    "guarded",
    "replace_earlier",
    "whole_number",
    "with_children",
]

STATIC = Path(__file__).parent / "static"
"""Where the built files of the browser's side are."""

W = TypeVar("W")
_log = logging.getLogger(__name__)


# --- how a widget is shown -----------------------------------------------------------------------


class NotebookWidget:
    """Stands before a widget's own class: a cell shows it live, other pages show its picture."""

    _ipython_display_ = None  # ipywidgets 7 would not ask for the mimebundle

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and a picture of it for pages that run none, such as GitHub's."""
        live = getattr(super(), "_repr_mimebundle_", None)  # ipywidgets 7 has none
        bundle = _live(self) if live is None else live(**kwargs)
        data, picture = bundle[0] if isinstance(bundle, tuple) else bundle, self._still()
        if data and picture:
            mimetype = "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"
            data[mimetype] = b64encode(picture).decode()
        return bundle

    def _still(self) -> bytes:
        """What is on display, as PNG or JPEG; empty for no picture."""
        return b""


def _live(widget: Any) -> dict[str, Any]:
    """The mimebundle that a front end with widgets needs, as ipywidgets 8 makes it."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"text/plain": repr(widget), "application/vnd.jupyter.widget-view+json": view}


def with_children(widgets: Iterable[Any]) -> list[Any]:
    """The widgets, with all that stand in them, each once."""
    waiting, once = list(widgets), dict[int, Any]()
    while waiting:
        widget = waiting.pop()
        if id(widget) not in once:
            once[id(widget)] = widget
            waiting.extend(getattr(widget, "children", ()))
    return list(once.values())


# --- what an earlier run of a cell made ----------------------------------------------------------

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


# --- what comes from the page --------------------------------------------------------------------


class OwnChanges(threading.local):
    """Tells the changes that a widget makes to its controls from those that a person makes.

    >>> self._moving = OwnChanges()
    >>> with self._moving:
    ...     self.slider.value = 3       # its observer finds `self._moving` true, and returns

    True in the thread that makes the changes, and there only: what another thread does meanwhile
    is a person's doing.
    """

    _depth = 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1

    def __bool__(self) -> bool:
        return self._depth > 0


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


def whole_number(
    name: str, value: object, *, least: int | None = None, most: int | None = None
) -> int:
    """A number of a message from the page, once it is known to be one.

    Args:
        name: what the message calls it.
        value: as it came.
        least, most: smallest and largest that will do; None for any.

    Raises:
        ValueError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {str(value)[:40]!r}.")
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(f"{name} must lie in {least} .. {most}, not be {value}.")
    return value
