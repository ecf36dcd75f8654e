"""The traits that a page listens to are those that the widgets have."""

from __future__ import annotations

import re
from pathlib import Path

import anywidget
import pytest

from hdpainter_nb.images.read import LARGEST
from hdpainter_widgets import Compare, GradientHistogram, HeatmapViewer, Lens, Timeline
from hdpainter_widgets.painter import LARGEST_FILE

SRC = Path(__file__).resolve().parents[2] / "widgets" / "js" / "src"
VIEWERS = (HeatmapViewer, GradientHistogram, Timeline, Compare)


def listed(module: str, name: str) -> list[str]:
    """The strings of an array in a JavaScript module."""
    text = (SRC / module).read_text(encoding="utf-8")
    found = re.search(rf"const {name} = \[(.*?)\];", text, re.DOTALL)
    assert found, f"{name} is not in {module}"
    return re.findall(r'"(\w+)"', found[1])


def synced(widget: type[anywidget.AnyWidget]) -> set[str]:
    """The traits that a widget shares with the browser, beyond those that every widget has."""
    return set(widget.class_traits(sync=True)) - set(anywidget.AnyWidget.class_traits(sync=True))


def test_the_page_listens_to_every_trait_of_the_viewers_and_to_no_other() -> None:
    names = listed("trace/state.js", "VIEWER_TRAITS")
    assert len(names) == len(set(names))
    assert set(names) == set().union(*map(synced, VIEWERS))


def test_the_page_listens_to_every_trait_of_the_lens_and_to_no_other() -> None:
    names = listed("entry/lens.js", "LENS_TRAITS")
    assert sorted(names) == sorted(name for name in synced(Lens) if not name.startswith("_"))


def test_the_page_and_python_take_pictures_of_one_size() -> None:
    text = (SRC / "mask" / "filesize.js").read_text(encoding="utf-8")
    limits = dict(re.findall(r"export const (LARGEST\w*) = ([\d_]+);", text))
    assert {name: int(limit) for name, limit in limits.items()} == {
        "LARGEST": LARGEST,
        "LARGEST_FILE": LARGEST_FILE,
    }


@pytest.mark.parametrize("widget", [HeatmapViewer, Compare])
def test_what_a_slider_moves_is_a_number(widget: type[anywidget.AnyWidget]) -> None:
    dragged = set(listed("trace/state.js", "DRAGGED"))
    found = {name: trait for name, trait in widget.class_traits().items() if name in dragged}
    assert found
    assert all(isinstance(trait.default_value, int | float) for trait in found.values())
