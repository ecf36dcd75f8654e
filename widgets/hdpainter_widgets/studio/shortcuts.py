"""Keys for a whole app of widgets, wherever in it the focus is: `Shortcuts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets as t

from hdpainter_widgets.messages import guarded
from hdpainter_widgets.notebook import NotebookWidget, built

__all__ = ["Shortcuts"]


class Shortcuts(NotebookWidget, anywidget.AnyWidget):
    """A line of keys and what they do, for the app that this widget stands in.

    The app is the nearest element around it with the class ``hdp-studio``. Keys typed into a text
    field there, or with Ctrl, Alt or the command key held, are left alone.

    Args:
        keys: (key, what it does, name): the key as it is shown, one letter.
        pressed: called with the name when a key is pressed.
    """

    _esm = built("shortcuts.js")
    _css = built("shortcuts.css")

    _keys = t.List(t.List(t.Unicode())).tag(sync=True)

    def __init__(
        self, keys: Sequence[tuple[str, str, str]], pressed: Callable[[str], object]
    ) -> None:
        self._pressed = pressed
        super().__init__(_keys=[list(key) for key in keys])
        self.on_msg(self._heard)

    @guarded
    def _heard(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        name = content.get("name")
        if content.get("type") == "key" and name in [known for _, _, known in self._keys]:
            self._pressed(str(name))
