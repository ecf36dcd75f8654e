"""The bundled lens in a real browser, between a hand and a Lens in Python."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hdpainter_widgets.lens import Lens
from hdpainter_widgets.studio.shortcuts import Shortcuts
from support.bare_page import BarePage

pytestmark = [pytest.mark.slow, pytest.mark.browser]

RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (120, 120, 120)


def picture(color: tuple[int, int, int], size: int = 256) -> NDArray[np.uint8]:
    """Grey with a square of one colour, whose sides lie at 96 and 160, and one odd pixel in it."""
    image = np.full((size, size, 3), GREY, np.uint8)
    image[96:160, 96:160] = color
    image[128, 128] = (0, 255, 0)
    return image


class LensPage(BarePage):
    """A page with one lens on it."""

    def __init__(self, page: Any, lens: Lens) -> None:
        super().__init__(page, lens)
        self.stage = page.locator(".hdp-stage")
        self.stage.wait_for()
        self.canvas = page.locator(".hdp-lens canvas")
        self.until(lambda: "loading" not in page.locator(".hdp-panes").inner_text())
        self.until(lambda: self.colors(0) is not None)

    def colors(self, pane: int) -> NDArray[np.uint8] | None:
        """(h, w, 3) of what a pane's canvas holds, in the screen's pixels; None while empty."""
        coded = self.canvas.nth(pane).evaluate("(canvas) => canvas.toDataURL()")
        with Image.open(io.BytesIO(base64.b64decode(coded.split(",")[1]))) as image:
            array = np.asarray(image.convert("RGBA"))
        return array[..., :3] if array[..., 3].any() else None

    def at(self, x: float, y: float, pane: int = 0) -> tuple[float, float]:
        """Where a share of a pane's width and height lies on the page."""
        box = self.canvas.nth(pane).bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def settled(self, act: Callable[[], Any], holds: Callable[[], Any]) -> None:
        act()
        self.until(holds)
        self.page.wait_for_timeout(50)

    def foot(self) -> str:
        return str(self.page.locator(".hdp-foot").inner_text())


@pytest.fixture
def open_lens(blank_page: Callable[..., Any]) -> Callable[..., LensPage]:
    def open_(lens: Lens, **options: Any) -> LensPage:
        return LensPage(blank_page(**{"viewport": {"width": 820, "height": 800}, **options}), lens)

    return open_


@pytest.fixture
def lens() -> Lens:
    mask = np.zeros((256, 256), bool)
    mask[96:160, 96:160] = True
    return Lens({"red one": picture(RED), "blue one": picture(BLUE)}, mask=mask)


def close_to(colors: NDArray[np.uint8], color: tuple[int, int, int]) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (np.abs(colors.astype(int) - color) <= 3).all(-1)
    return near


def test_what_moves_one_moves_all(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens)
    assert it.canvas.count() == 2
    mouse = it.page.mouse
    # Closer at the square's middle, in the first pane.
    it.settled(lambda: mouse.dblclick(*it.at(0.5, 0.5)), lambda: lens.zoom >= 4)
    assert (lens.x, lens.y) == pytest.approx((128, 128), abs=1)
    for pane, color in ((0, RED), (1, BLUE)):
        assert close_to(it.colors(pane), color).mean() > 0.3
    # Dragged by 40 pixels in the second one, the place goes the other way.
    zoom, x = lens.zoom, lens.x
    mouse.move(*it.at(0.5, 0.5, 1))
    mouse.down()
    start = it.at(0.5, 0.5, 1)
    mouse.move(start[0] + 40, start[1], steps=4)
    mouse.up()
    it.until(lambda: abs(lens.x - (x - 40 / zoom)) < 0.5)
    assert lens.zoom == zoom
    # Both show the same part: where one has its colour, so has the other.
    red, blue = close_to(it.colors(0), RED), close_to(it.colors(1), BLUE)
    overview = np.s_[: red.shape[0] // 2]  # it lies in the first pane's lower half
    assert (red[overview] != blue[overview]).mean() < 0.02


def test_pixels_are_shown_as_they_are_close_up(
    lens: Lens, open_lens: Callable[..., LensPage]
) -> None:
    it = open_lens(lens)
    lens.look(128.5, 128.5, 20)
    it.deliver()
    it.until(lambda: close_to(it.colors(1), (0, 255, 0)).any())
    green = close_to(it.colors(1), (0, 255, 0))
    rows, columns = np.nonzero(green)
    assert green.sum() == pytest.approx(20 * 20, abs=41), "a square of one colour, no slope"
    assert (np.ptp(rows), np.ptp(columns)) == (19, 19)


def test_the_wheel_zooms_after_a_click_and_scrolls_before(
    lens: Lens, open_lens: Callable[..., LensPage]
) -> None:
    it = open_lens(lens)
    it.page.evaluate("document.body.style.height = '3000px'")
    it.page.mouse.move(*it.at(0.5, 0.5))
    it.page.mouse.wheel(0, 120)
    it.until(lambda: it.page.evaluate("scrollY") > 0)
    assert lens.zoom == 0
    assert it.page.get_by_text("the wheel zooms").is_visible()
    it.page.evaluate("scrollTo(0, 0)")
    it.page.mouse.click(*it.at(0.5, 0.5))
    it.page.mouse.move(*it.at(0.5, 0.5))
    it.settled(lambda: it.page.mouse.wheel(0, -240), lambda: lens.zoom > 0)
    assert it.page.evaluate("scrollY") == 0


def test_keys_move_zoom_and_turn(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens)
    press = it.page.keyboard.press
    it.stage.focus()
    it.settled(lambda: press("1"), lambda: lens.zoom == 1 or "100 %" in it.page.inner_text("body"))
    it.settled(lambda: [press("+") for _ in range(8)], lambda: lens.zoom > 5)
    x, y = lens.x, lens.y
    it.settled(lambda: press("ArrowRight"), lambda: lens.x > x + 1)
    it.settled(lambda: press("Shift+ArrowUp"), lambda: lens.y < y - 5)
    it.settled(lambda: press("0"), lambda: lens.zoom == 0)
    it.settled(lambda: press("o"), lambda: lens.mode == "one")
    assert it.canvas.count() == 1
    assert close_to(it.colors(0), RED).any()
    it.settled(lambda: press("n"), lambda: lens.chosen == 1)
    it.until(lambda: close_to(it.colors(0), BLUE).any())
    # Held down, the first picture is shown, whichever is chosen.
    it.page.keyboard.down(" ")
    it.until(lambda: close_to(it.colors(0), RED).any())
    it.page.keyboard.up(" ")
    it.until(lambda: close_to(it.colors(0), BLUE).any())
    press("?")
    sheet = it.page.get_by_role("dialog", name="Keys and gestures")
    assert sheet.is_visible()
    press("Escape")
    assert not sheet.is_visible()
    assert it.stage.evaluate("e => e === document.activeElement")


def test_colours_are_read_in_every_picture(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens)
    it.page.mouse.move(*it.at(0.5, 0.44))
    text = it.page.locator(".hdp-panes").inner_text
    it.until(lambda: "220 30 30" in text())
    assert "30 30 220" in text()
    it.page.mouse.move(5, 5)
    it.until(lambda: "220 30 30" not in text())


def test_chips_hide_and_the_mask_shows(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens)
    name = it.page.get_by_role("button", name="blue one")
    it.settled(name.click, lambda: lens.hidden == [1])
    assert it.canvas.count() == 1
    assert name.get_attribute("aria-pressed") == "false"
    it.page.get_by_role("button", name="red one").click()
    assert lens.hidden == [1], "the last one stays"
    before = it.colors(0)
    mask = it.page.get_by_role("button", name="mask")
    it.settled(mask.click, lambda: lens.outline)
    it.until(lambda: not np.array_equal(it.colors(0), before))


def test_other_pictures_take_their_place(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens)
    green = (20, 160, 40)
    lens.show({"red one": picture(RED), "blue one": picture(BLUE), "green one": picture(green)})
    it.until(lambda: it.canvas.count() == 3)
    it.until(lambda: (found := it.colors(2)) is not None and close_to(found, green).any())
    assert it.page.get_by_role("button", name="mask").count() == 0
    lens.show({"large": picture(RED, 300)})
    it.until(lambda: it.canvas.count() == 1 and "300 × 300" in it.foot())


def test_two_fingers_zoom(lens: Lens, open_lens: Callable[..., LensPage]) -> None:
    it = open_lens(lens, has_touch=True)
    send = it.page.context.new_cdp_session(it.page).send
    x, y = it.at(0.5, 0.5)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        found = [{"x": px, "y": py, "id": i} for i, (px, py) in enumerate(points)]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})

    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in (30, 45, 60, 80):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd")
    it.until(lambda: lens.zoom > 2)
    assert (lens.x, lens.y) == pytest.approx((128, 128), abs=8)


@pytest.mark.parametrize("width", [360, 520])
def test_it_fits_narrow_pages(lens: Lens, open_lens: Callable[..., LensPage], width: int) -> None:
    it = open_lens(lens, viewport={"width": width, "height": 700})
    assert it.page.evaluate("document.documentElement.scrollWidth") <= width
    for canvas in (it.canvas.nth(0), it.canvas.nth(1)):
        box = canvas.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 96


# --- keys for a whole app ------------------------------------------------------------------------

APP = """<div class="hdp-studio"><input id="text"><button id="b">b</button>
<div id="part" tabindex="0"></div><div id="cell"></div></div><button id="out">o</button>"""


def test_an_apps_keys_count_wherever_the_focus_is_in_it(blank_page: Callable[..., Any]) -> None:
    heard: list[str] = []
    widget = Shortcuts((("U", "upscale", "upscale"), ("S", "save", "save")), heard.append)
    page = blank_page()
    it = BarePage(page, widget, APP)
    page.locator(".hdp-keys").wait_for()
    assert [k.inner_text() for k in page.locator("kbd").all()] == ["U", "S", "?"]
    # A part that keeps its keys to itself.
    page.evaluate("part.addEventListener('keydown', (event) => event.stopPropagation())")
    it.until(lambda: page.evaluate("new Promise((go) => requestAnimationFrame(() => go(true)))"))
    for place, key in (("#b", "u"), ("#part", "s"), ("#text", "u"), ("#out", "u"), ("#b", "x")):
        page.locator(place).focus()
        page.keyboard.press(key)
    page.locator("#b").focus()
    page.keyboard.press("Control+u")
    page.keyboard.press("Shift+S")
    it.until(lambda: len(heard) >= 2)
    page.evaluate("done()")
    page.keyboard.press("u")
    page.wait_for_timeout(100)
    assert heard == ["upscale", "save"]
    assert page.locator("#text").input_value() == "u"
