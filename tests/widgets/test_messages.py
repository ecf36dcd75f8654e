"""What a page sends that cannot be read is logged and passed over, whichever widget it is for."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anywidget
import numpy as np
import pytest
import traitlets as t

import hdpainter_widgets
from hdpainter_nb.errors import ImageError
from hdpainter_widgets.lens import Lens
from hdpainter_widgets.mask_codec import LONGEST, WireError, unpack_mask
from hdpainter_widgets.messages import FiniteFloat
from hdpainter_widgets.painter import LARGEST_FILE, MaskPainter
from hdpainter_widgets.studio.inputs import uploaded
from hdpainter_widgets.studio.shortcuts import Shortcuts
from hdpainter_widgets.viewers.compare import Compare
from hdpainter_widgets.viewers.heatmap import HeatmapViewer
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


# --- sizes and numbers ---------------------------------------------------------------------------


@contextmanager
def within(megabytes: float) -> Iterator[None]:
    """Python's own memory grows by no more meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mask", [10**10, -1, 3.5, "x" * 100, None, True, [0] * 100, {"a": 1}])
def test_a_mask_that_is_no_bytes_is_refused_in_one_sentence(mask: Any) -> None:
    painter = MaskPainter(PICTURE)
    with within(2), pytest.raises(WireError, match=r"^The page should have sent bytes, not .*\.$"):
        painter.set_state({"_mask": mask, "_revision": 5})
    assert not painter.mask.any()


def test_a_mask_that_is_too_long_is_refused_before_it_is_copied() -> None:
    painter = MaskPainter(PICTURE)
    data = memoryview(bytearray(LONGEST + 1))
    with within(2), pytest.raises(WireError, match=rf"{LONGEST + 1} bytes; up to {LONGEST}"):
        painter.set_state({"_mask": data, "_revision": 5})
    with pytest.raises(WireError, match="is too long"):
        unpack_mask(bytes(data), (64, 64))


def test_a_mask_inflates_to_no_more_than_its_picture() -> None:
    painter = MaskPainter(PICTURE)
    bomb = zlib.compress(bytes(100_000_000), 9)
    with within(2), pytest.raises(WireError, match="more than 512 arrived"):
        painter.set_state({"_mask": memoryview(bomb), "_revision": 5})


@pytest.mark.parametrize("buffer", [10**10, "x", None, [1] * 100])
def test_a_picture_that_is_no_bytes_changes_nothing(
    buffer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    painter = MaskPainter(PICTURE)
    before = painter.image
    with within(2):
        handle(painter, {"type": "picture"}, [buffer])
    assert painter.image is before
    assert "should have sent bytes" in caplog.text


def test_an_upload_that_is_no_bytes_or_too_long_is_refused() -> None:
    for content in (10**10, memoryview(bytearray(LARGEST_FILE + 1))):
        with within(2), pytest.raises(ImageError, match="The page"):
            uploaded([{"name": "a.png", "content": content}])


FLOATS = [
    (cls, name)
    for cls in (Compare, HeatmapViewer, Lens, MaskPainter)
    for name, trait in cls.class_traits(sync=True).items()
    if isinstance(trait, t.Float)
]


def test_there_is_no_float_that_may_be_nan() -> None:
    assert all(isinstance(cls.class_traits()[name], FiniteFloat) for cls, name in FLOATS)
    assert {name for _, name in FLOATS} == {"opacity", "swipe", "x", "y", "zoom"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
@pytest.mark.parametrize("name", ["x", "y", "zoom"])
def test_a_lens_looks_at_no_place_that_is_none(name: str, number: Any) -> None:
    lens = Lens({"a": PICTURE}, zoom=2.0)
    sentence = rf"^{name} of a Lens must be a finite number, not -?(nan|inf)\.$"
    with pytest.raises(t.TraitError, match=sentence):
        lens.set_state({name: number})
    with pytest.raises(t.TraitError, match=sentence):
        lens.look(**{name: number})
    with pytest.raises(t.TraitError, match=sentence):
        Lens({"a": PICTURE}, **{name: number})
    assert (lens.x, lens.y, lens.zoom) == (32, 32, 2)
    assert lens.still().size[0] > 0


def test_numbers_of_numpy_are_numbers() -> None:
    lens = Lens({"a": PICTURE}, x=np.float32(3), y=np.int64(4), zoom=np.float16(2))
    assert [type(value) for value in (lens.x, lens.y, lens.zoom)] == [float] * 3


# --- what is logged ------------------------------------------------------------------------------


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
