"""What every widget shares with the notebook that it is shown in."""

from __future__ import annotations

import logging
import re
import threading
import weakref
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "STATIC",
    "NotebookWidget",
    "OwnChanges",
    "as_parts",
    "built",
    "close_all",
    "replace_earlier",
    "with_children",
]

STATIC = Path(__file__).parent / "static"
"""Where the built files of the browser's side are."""

_log = logging.getLogger(__name__)


def built(name: str) -> str:
    """The text of a built file of the browser's side.

    A class must be given the text, not the path: of a path anywidget makes an object that tells
    all instances of changes in the file, and which thereby holds every one of them for ever.
    """
    return (STATIC / name).read_text(encoding="utf-8")


# --- who changes what ---------------------------------------------------------------------------


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


_parts = OwnChanges()  # true while parts of another widget are made


# --- how a widget is shown -----------------------------------------------------------------------


class NotebookWidget:
    """Stands before a widget's own class: a cell shows it live, other pages show its picture.

    Closing it closes all that stands in it; running its cell again closes it.
    """

    _ipython_display_ = None  # ipywidgets 7 would not ask for the mimebundle
    _own_layout: Any = None  # another one that a user has set may serve other widgets too

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own_layout = getattr(self, "layout", None)
        if not _parts:
            replace_earlier(self)

    def close(self) -> None:
        """Take it from the page, with all that stands in it. May be called twice."""
        super().close()  # type: ignore[misc]  # of the widget's own class
        close_all(getattr(self, "children", ()))
        if self._own_layout is not None:
            self._own_layout.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and a picture of it for pages that run none, such as GitHub's."""
        live = getattr(super(), "_repr_mimebundle_", None)  # ipywidgets 7 has none
        bundle = _live(self) if live is None else live(**kwargs)
        data, picture = bundle[0] if isinstance(bundle, tuple) else bundle, b""
        try:
            picture = self._still()
        except Exception:  # what is for other pages must not keep this one from showing it live
            _log.exception("The picture of a %s for pages without a kernel failed", type(self))
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


def close_all(widgets: Iterable[Any]) -> None:
    """Close the widgets, all that stand in them, and the layouts and styles of these.

    Closing a widget of ipywidgets closes nothing else, and what is open is held for ever.
    """
    for widget in with_children(widgets):
        looks = [getattr(widget, name) for name in ("layout", "style") if _has(widget, name)]
        for part in (widget, *looks):
            if hasattr(part, "close"):  # ipywidgets 7 takes a dict as a style of some
                part.close()


def _has(widget: Any, name: str) -> bool:
    """Whether a trait has its value already; asking for it would open a new widget."""
    return bool(widget.has_trait(name) and widget.trait_has_value(name))


# --- what an earlier run of a cell made ----------------------------------------------------------

# Cell -> the execution it is in, and what that execution has made.
_made: dict[str, tuple[str, weakref.WeakSet[Any]]] = {}


def replace_earlier(widget: Any) -> None:
    """Close the widgets that an earlier run of this cell has made, and remember this one.

    Without it, a player whose cell is run again would play on unseen and take its turns on the
    model, and each run of a cell would leave its widgets, pictures and traces in memory. Does
    nothing outside a notebook, or where the page does not say which cell is running.
    """
    cell, execution = _running()
    if not cell:
        return
    before, widgets = _made.get(cell, ("", weakref.WeakSet()))
    if before != execution:
        for old in list(widgets):
            old.close()
            _forget_output(old)
        widgets = weakref.WeakSet()
        _made[cell] = (execution, widgets)
    widgets.add(widget)


@contextmanager
def as_parts() -> Iterator[None]:
    """What is made inside belongs to another widget, which closes it; cells know nothing of it."""
    with _parts:
        yield


def _forget_output(widget: Any) -> None:
    """Take a closed widget out of what IPython keeps of a cell's last line: ``Out[3]``, ``_``."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    own = re.compile(r"_+|_\d+")  # what a person has named stays
    for names in (shell.user_ns, shell.user_ns_hidden, shell.user_ns.get("_oh", {})):
        for name in [n for n, value in names.copy().items() if value is widget]:
            if not isinstance(name, str) or own.fullmatch(name):
                del names[name]
    for name in ("_", "__", "___"):
        if getattr(shell.displayhook, name, None) is widget:
            setattr(shell.displayhook, name, None)
    if getattr(shell.last_execution_result, "result", None) is widget:
        shell.last_execution_result.result = None


def _running() -> tuple[str, str]:
    """The id of the cell that is running and that of its execution; empty if unknown."""
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        return str(parent["metadata"]["cellId"]), str(parent["header"]["msg_id"])
    except (AttributeError, ImportError, KeyError, TypeError):
        return "", ""
