"""What a page sends that cannot be read is logged and passed over, whichever widget it is for."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable
from typing import Any

import anywidget
import numpy as np
import pytest

import hdpainter_widgets
from hdpainter_widgets.lens import Lens
from hdpainter_widgets.painter import MaskPainter
from hdpainter_widgets.studio.shortcuts import Shortcuts
from support.page_side import handle, synced

PICTURE = np.zeros((64, 64, 3), np.uint8)


def _raise(_: str) -> None:
    raise RuntimeError("the action failed")


WIDGETS: dict[str, Callable[[], Any]] = {
    "painter": lambda: MaskPainter(PICTURE),
    "lens": lambda: Lens({"a": PICTURE}),
    "shortcuts": lambda: Shortcuts((("U", "upscale", "upscale"),), _raise),
}
ODD = [
    None,
    3,
    "grids",
    [],
    {},
    {"type": None},
    {"type": ["grids"]},
    {"type": "grids", "revision": None},
    {"type": "grids", "revision": "first"},
    {"type": "grids", "revision": float("inf")},
    {"type": "grids", "revision": [1], "preset": {}},
    {"type": "picture"},
    {"type": "want", "revision": None},
    {"type": "key"},
    {"type": "key", "name": ["upscale"]},
    {"type": "key", "name": "upscale"},
]


@pytest.mark.parametrize("content", ODD)
@pytest.mark.parametrize("buffers", [None, [], [b"no picture"], [3.5]])
@pytest.mark.parametrize("name", WIDGETS)
def test_no_message_raises(name: str, content: Any, buffers: Any) -> None:
    widget = WIDGETS[name]()
    handle(widget, content, buffers)


def test_what_fails_is_logged_with_the_widget(caplog: pytest.LogCaptureFixture) -> None:
    painter = MaskPainter(PICTURE)
    handle(painter, {"type": "grids", "revision": None})
    assert "A message from the page failed: MaskPainter" in caplog.text
    assert caplog.records[0].exc_info is not None
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        handle(painter, {"type": "no such"})
    assert not caplog.records


def test_a_painter_answers_after_an_odd_message(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = MaskPainter(PICTURE)
    sent: list[Any] = []
    monkeypatch.setattr(painter, "send", lambda content, _buffers=None: sent.append(content))
    handle(painter, {"type": "grids", "revision": None})
    handle(painter, {"type": "grids", "revision": synced(painter, "revision")})
    assert [content["type"] for content in sent] == ["grids"]


def test_every_widget_that_hears_is_guarded() -> None:
    hearing = set()
    for found in pkgutil.walk_packages(hdpainter_widgets.__path__, "hdpainter_widgets."):
        for value in vars(importlib.import_module(found.name)).values():
            if isinstance(value, type) and issubclass(value, anywidget.AnyWidget):
                hearing |= {value} if "_heard" in vars(value) else set()
    names = {widget.__name__ for widget in hearing}
    assert names == {"TraceWidget", "Lens", "MaskPainter", "Shortcuts"}
    for widget in hearing:
        assert vars(widget)["_heard"].__wrapped__ is not None, f"{widget} may raise"
