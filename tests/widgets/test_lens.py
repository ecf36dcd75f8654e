"""The lens in Python: what it takes, what it sends, and its picture for pages without widgets."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import traitlets as t
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError
from hdpainter_widgets import lens
from hdpainter_widgets.lens import Lens
from support.page_side import hear, mimebundle, synced

pytestmark = pytest.mark.colab


def picture(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def hole(height: int = 48, width: int = 64) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), bool)
    mask[10:20, 30:50] = True
    return mask


class Page:
    """What a page hears of a lens."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.heard: list[tuple[dict[str, Any], list[bytes]]] = []
        lens.send = self._take  # type: ignore[method-assign]

    def _take(self, content: dict[str, Any], buffers: Any = None) -> None:
        self.heard.append((content, [bytes(b) for b in buffers or ()]))

    def ask(self) -> None:
        hear(self.lens, {"type": "want", "revision": synced(self.lens, "revision")})

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """By label, as they are decoded there."""
        found = {}
        for content, (data,) in self.heard:
            if content["type"] == "picture" and content["revision"] == synced(
                self.lens, "revision"
            ):
                with Image.open(io.BytesIO(data)) as image:
                    label = synced(self.lens, "titles")[content["index"]]
                    found[label] = np.asarray(image.convert("RGB"))
        return found


def test_pictures_arrive_exactly_when_a_page_asks() -> None:
    given = {"bicubic": picture(0), "ours": picture(1)}
    lens = Lens(given, mask=hole())
    page = Page(lens)
    assert page.heard == [], "nobody looks at it yet"
    page.ask()
    found = page.pictures()
    assert found.keys() == given.keys()
    for label, array in given.items():
        assert np.array_equal(found[label], array)
    (mask,) = [data for content, (data,) in page.heard if content["type"] == "mask"]
    with Image.open(io.BytesIO(mask)) as image:
        assert np.array_equal(np.asarray(image) > 127, hole())


def test_another_page_gets_them_too() -> None:
    page = Page(Lens([("a", picture(0)), ("b", picture(1))]))
    page.ask()
    first, page.heard = page.heard, []
    page.ask()
    assert page.heard == first


def test_large_pictures_travel_as_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "_EXACT", 48 * 64 - 1)
    page = Page(Lens({"a": np.full((48, 64, 3), 90, np.uint8)}))
    page.ask()
    content, (data,) = page.heard[0]
    assert content["mime"] == "image/jpeg"
    assert data[:2] == b"\xff\xd8"


def test_other_pictures_of_the_same_size_are_looked_at_in_the_same_place() -> None:
    lens = Lens({"a": picture(0), "b": picture(1), "c": picture(2)}, zoom=4, x=20, y=30)
    page = Page(lens)
    page.ask()
    lens.hidden, lens.chosen, before = [1, 2], 2, synced(lens, "revision")
    lens.show({"d": picture(3), "e": picture(4)})
    assert synced(lens, "revision") == before + 1
    assert (lens.zoom, lens.x, lens.y) == (4, 20, 30)
    assert (lens.hidden, lens.chosen) == ([1], 1), "no longer those that are gone"
    page.ask()
    assert np.array_equal(page.pictures()["e"], picture(4))
    lens.show({"f": picture(5, 80, 80)})
    assert (lens.zoom, lens.x, lens.y) == (0, 40, 40)
    assert list(lens.pictures) == ["f"]


def test_it_looks_at_the_holes_middle_at_first() -> None:
    assert (Lens({"a": picture(0)}, mask=hole()).x, Lens({"a": picture(0)}).x) == (40, 32)
    lens = Lens({"a": picture(0)}, mask=hole(), x=3)
    assert (lens.x, lens.y, lens.zoom) == (3, 15, 0)
    lens.look(y=9, zoom=2.5)
    assert (lens.x, lens.y, lens.zoom) == (3, 9, 2.5)


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ImageError, match="shows 1 to 12 pictures, not 0"):
        Lens({})
    with pytest.raises(ImageError, match="not 13"):
        Lens([(str(n), picture(n)) for n in range(13)])
    with pytest.raises(ImageError, match="'b' is 60x40 px and 'a' is 64x48 px"):
        Lens({"a": picture(0), "b": picture(1, 40, 60)})
    with pytest.raises(ImageError, match="Two pictures have the label 'a'"):
        Lens([("a", picture(0)), ("a", picture(1))])
    with pytest.raises(ImageError, match="4100x8 px; a lens takes up to 4096"):
        Lens({"a": np.zeros((8, 4100, 3), np.uint8)})
    with pytest.raises(MaskError, match=r"The mask is \(40, 64\), the pictures \(48, 64\)"):
        Lens({"a": picture(0)}, mask=hole(40))
    with pytest.raises(TypeError, match="unexpected keyword"):
        Lens({"a": picture(0)}, scale=2)  # type: ignore[call-arg]
    for wrong in ({"zoom": 41}, {"zoom": -1}, {"mode": "swipe"}):
        with pytest.raises(t.TraitError):
            Lens({"a": picture(0)}, **wrong)


@pytest.mark.parametrize("mask", [None, np.zeros((48, 64), bool)])
def test_without_a_hole_there_is_no_outline_to_show(mask: Any) -> None:
    lens = Lens({"a": picture(0)}, mask=mask)
    page = Page(lens)
    page.ask()
    assert not synced(lens, "masked")
    assert [content["type"] for content, _ in page.heard] == ["picture"]


def test_nonsense_from_a_page_is_passed_over() -> None:
    lens = Lens({"a": picture(0)})
    page = Page(lens)
    for content in (None, 3, {"type": "no such"}, {}):
        hear(lens, content)
    assert page.heard == []


# --- pages that run no widgets -------------------------------------------------------------------


def still(lens: Lens) -> NDArray[np.uint8]:
    data = mimebundle(lens)
    assert "application/vnd.jupyter.widget-view+json" in data
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as image:
        return np.asarray(image.convert("RGB"))


def test_the_still_shows_the_place_pixel_by_pixel() -> None:
    black, white = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    white[30:34, 30:34] = (255, 0, 0)
    lens = Lens({"black": black, "red": white}, zoom=40, x=32, y=32)
    red = (still(lens) == (255, 0, 0)).all(-1)
    # 240 pixels show 6 of the picture's, of which 4 are red: 160 by 160.
    assert red.sum() == pytest.approx(160**2, rel=0.02)
    lens.zoom = 0
    assert (still(lens) == (255, 0, 0)).all(-1).sum() == pytest.approx(15**2, rel=0.3)


def test_the_still_shows_what_is_on_display() -> None:
    lens = Lens({"a": picture(0), "b": picture(1)})
    both = still(lens)
    lens.hidden = [1]
    assert still(lens).shape[1] < both.shape[1]
    lens.mode, lens.chosen = "one", 1
    one = lens.still()
    lens.chosen = 0
    assert one.tobytes() != lens.still().tobytes()
