"""The bundled painter in a real browser, between a mouse and a MaskPainter in Python."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hdpainter_widgets.painter import MaskPainter
from support.bare_page import BarePage

pytestmark = [pytest.mark.slow, pytest.mark.browser]


class Page(BarePage):
    """A page with one painter on it."""

    def __init__(self, page: Any, painter: MaskPainter) -> None:
        super().__init__(page, painter)
        self.painter = painter
        self.stage = page.locator(".hdp-stage")
        self.stage.wait_for()
        page.wait_for_timeout(100)
        self.updates = 0  # masks that have arrived

    def _receive(self, text: str) -> None:
        super()._receive(text)
        self.updates += '"_mask"' in text

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture lies on the page, as long as the picture is fitted."""
        box = self.stage.bounding_box()
        height, width = self.painter.image.shape[:2]
        scale = min(box["width"] / width, box["height"] / height)
        left = box["x"] + (box["width"] - width * scale) / 2
        top = box["y"] + (box["height"] - height * scale) / 2
        return left + x * scale, top + y * scale

    def drag(self, *points: tuple[float, float], button: str = "left") -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=4)
        mouse.up(button=button)

    def changed_by(self, act: Callable[[], Any]) -> NDArray[np.bool_]:
        """The mask in Python once `act` has arrived there."""
        before = self.updates
        act()
        self.until(lambda: self.updates > before)
        return self.painter.mask


def picture(height: int = 192, width: int = 256) -> NDArray[np.uint8]:
    """A slope with a white square, whose sides lie at a quarter and a half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(20, 120, width, dtype=np.uint8)
    image[..., 1] = np.linspace(40, 160, height, dtype=np.uint8)[:, None]
    image[height // 4 : height // 2, width // 4 : width // 2] = 255
    return image


@pytest.fixture
def open_page(blank_page: Callable[..., Any]) -> Callable[..., Page]:
    def open_(painter: MaskPainter) -> Page:
        return Page(blank_page(viewport={"width": 760, "height": 900}), painter)

    return open_


def discs(shape: tuple[int, int], x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def agree(mask: NDArray[np.bool_], expected: NDArray[np.bool_], share: float = 0.01) -> bool:
    """Alike but for a few pixels on the edge: the mouse moves in whole pixels of the screen."""
    return float((mask ^ expected).sum()) <= share * mask.size


def test_what_is_painted_arrives(open_page: Callable[..., Page]) -> None:
    painter = MaskPainter(picture(), brush_size=30)
    heard: list[int] = []
    painter.observe(lambda change: heard.append(int(change.new.sum())), "mask")
    page = open_page(painter)
    shape = painter.mask.shape

    dab = page.changed_by(lambda: page.drag((60, 60)))
    assert agree(dab, discs(shape, 60, 60, 15))
    assert heard == [dab.sum()]

    stroke = page.changed_by(lambda: page.drag((60, 60), (200, 60)))
    expected = discs(shape, 60, 60, 15) | discs(shape, 200, 60, 15)
    expected[45:75, 60:200] = True
    assert agree(stroke, expected)

    # Back, and forth again, to the bit.
    page.page.keyboard.press("Control+z")
    page.until(lambda: np.array_equal(painter.mask, dab))
    page.page.keyboard.press("Control+Shift+z")
    page.until(lambda: np.array_equal(painter.mask, stroke))

    # The right button takes away; leaving the picture is no matter.
    less = page.changed_by(lambda: page.drag((128, 5), (128, 250), button="right"))
    assert not less[60, 118:138].any()
    assert less[60, 80]
    assert less[60, 180]


def test_shapes(open_page: Callable[..., Page]) -> None:
    painter = MaskPainter(picture())
    page = open_page(painter)
    keyboard, shape = page.page.keyboard, painter.mask.shape

    page.page.get_by_role("button", name="Rectangle (R)").click()
    assert painter.tool == "rectangle"
    mask = page.changed_by(lambda: page.drag((20, 30), (120, 90)))
    expected = np.zeros(shape, bool)
    expected[30:90, 20:120] = True
    assert agree(mask, expected)

    keyboard.press("x")
    page.until(lambda: not painter.mask.any())
    keyboard.press("p")
    corners = [(40, 40), (200, 40), (200, 160), (40, 160)]
    for corner in corners:
        page.page.mouse.click(*page.at(*corner))
    assert not painter.mask.any()
    mask = page.changed_by(lambda: keyboard.press("Enter"))
    expected[:] = False
    expected[40:160, 40:200] = True
    assert agree(mask, expected)

    # One that is not finished is forgotten.
    page.page.mouse.click(*page.at(10, 10))
    keyboard.press("Escape")
    keyboard.press("Enter")
    mask = page.changed_by(lambda: keyboard.press("i"))
    assert agree(mask, ~expected)

    keyboard.press("x")
    page.until(lambda: not painter.mask.any())
    keyboard.press("f")
    mask = page.changed_by(lambda: page.page.mouse.click(*page.at(80, 60)))
    expected[:] = False
    expected[48:96, 64:128] = True
    np.testing.assert_array_equal(mask, expected)

    # The keyboard alone: press, go, release.
    keyboard.press("o")
    page.page.mouse.move(*page.at(128, 96))
    keyboard.press("Shift+ArrowLeft")
    keyboard.press("Enter")
    for _ in range(2):
        keyboard.press("Shift+ArrowRight")
        keyboard.press("Shift+ArrowDown")
    mask = page.changed_by(lambda: keyboard.press("Enter"))
    assert mask.sum() > expected.sum() + 300


def test_what_python_sets_shows_and_can_be_undone(open_page: Callable[..., Page]) -> None:
    painter = MaskPainter(picture())
    page = open_page(painter)
    hole = discs(painter.mask.shape, 100, 100, 50)
    painter.mask = hole
    status = page.page.get_by_role("status")
    page.until(lambda: f"{100 * hole.mean():.1f} %" in status.inner_text())
    page.stage.focus()
    mask = page.changed_by(lambda: page.page.keyboard.press("i"))
    np.testing.assert_array_equal(mask, ~hole)
    page.changed_by(lambda: page.page.keyboard.press("Control+z"))
    mask = page.changed_by(lambda: page.page.keyboard.press("Control+z"))
    assert not mask.any()

    painter.image = picture(128, 64)
    page.until(lambda: "64 × 128" in status.inner_text())
    mask = page.changed_by(lambda: page.drag((32, 32)))
    assert mask.shape == (128, 64)
    assert mask[32, 32]


def test_grids_as_the_model_sees_them(open_page: Callable[..., Page]) -> None:
    hole = np.zeros((192, 256), bool)
    hole[64:128, 64:160] = True
    page = open_page(MaskPainter(picture(), hole, preset="paper"))
    status = page.page.get_by_role("status")
    page.page.get_by_role("button", name="As the model sees it").click()
    page.until(lambda: "32 × 24 cells, 96 masked" in status.inner_text())
    page.page.get_by_label("Which grid").select_option("PAIntA, H/16")
    page.until(lambda: "16 × 12 cells, 24 masked" in status.inner_text())
    page.page.get_by_label("Whose way of scaling masks").select_option("official")
    page.until(lambda: page.painter.preset == "official")
    page.changed_by(lambda: page.page.get_by_role("button", name="Invert").click())
    page.until(lambda: "16 × 12 cells, 168 masked" in status.inner_text())


def test_keys_stay_with_the_painter(open_page: Callable[..., Page]) -> None:
    page = open_page(MaskPainter(picture()))
    page.page.evaluate(
        "window.leaked = []; "
        "document.addEventListener('keydown', (event) => leaked.push(event.key))"
    )
    page.stage.click()
    for key in ("b", "d", "[", "Enter", "Escape", "Control+z", "ArrowDown", "?"):
        page.page.keyboard.press(key)
    page.page.keyboard.press("Escape")
    assert [k for k in page.page.evaluate("leaked") if k != "Control"] == []
    assert page.page.evaluate("document.querySelector('.hdp-painter').dataset.lmSuppressShortcuts")
    page.page.evaluate("done()")
    assert page.page.locator(".hdp-painter").count() == 0


def test_zooming_keeps_the_place(open_page: Callable[..., Page]) -> None:
    painter = MaskPainter(picture(), brush_size=8)
    page = open_page(painter)
    page.page.mouse.move(*page.at(200, 150))
    page.page.keyboard.down("Control")
    for _ in range(4):
        page.page.mouse.wheel(0, -100)
        page.page.wait_for_timeout(30)
    page.page.keyboard.up("Control")
    page.page.mouse.down()
    mask = page.changed_by(page.page.mouse.up)
    assert agree(mask, discs(mask.shape, 200, 150, 4), 0.001)
    assert mask.sum() >= 30


def test_masks_from_files(open_page: Callable[..., Page], tmp_path: Any) -> None:
    from PIL import Image

    hole = discs((192, 256), 90, 80, 40)
    Image.fromarray(hole).save(tmp_path / "hole.png")
    Image.fromarray(hole[:, :100]).save(tmp_path / "other.png")
    painter = MaskPainter(picture())
    page = open_page(painter)
    files = page.page.locator("input[type=file]")
    mask = page.changed_by(lambda: files.set_input_files(tmp_path / "hole.png"))
    np.testing.assert_array_equal(mask, hole)
    files.set_input_files(tmp_path / "other.png")
    page.until(lambda: "proportions" in page.page.get_by_role("status").inner_text())
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save the mask as PNG").click()
    with Image.open(download.value.path()) as saved:
        np.testing.assert_array_equal(np.asarray(saved.convert("L")) > 127, hole)


def drop(page: Page, file: Image.Image) -> None:
    """Drop a picture on the painter, as a file."""
    written = io.BytesIO()
    file.save(written, "PNG")
    page.stage.evaluate(
        """(element, coded) => {
          const bytes = Uint8Array.from(atob(coded), (c) => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "a.png", {type: "image/png"}));
          element.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));
        }""",
        base64.b64encode(written.getvalue()).decode(),
    )


def test_a_picture_of_too_many_pixels_is_not_decoded(open_page: Callable[..., Page]) -> None:
    page = open_page(MaskPainter(picture()))
    page.page.evaluate("() => { window.createImageBitmap = () => { throw new Error('decoded'); } }")
    drop(page, Image.new("1", (13300, 13300)))
    told = page.page.get_by_text("177 megapixels, and at most 25 are read")
    page.until(told.is_visible)
    assert page.updates == 0


def test_a_mask_of_two_readings_is_refused(open_page: Callable[..., Page]) -> None:
    page = open_page(MaskPainter(picture()))
    erased = Image.new("RGBA", (256, 192), "white")
    erased.paste((0, 0, 0, 0), (100, 60, 160, 120))
    drop(page, erased)
    page.until(page.page.get_by_text("which has two readings").is_visible)
    assert page.updates == 0


def test_dropped_files_are_told_apart(open_page: Callable[..., Page]) -> None:
    hole = discs((192, 256), 90, 80, 40)
    page = open_page(MaskPainter(picture()))
    np.testing.assert_array_equal(page.changed_by(lambda: drop(page, Image.fromarray(hole))), hole)
    other = picture(128, 160)
    drop(page, Image.fromarray(other))
    page.until(lambda: page.painter.image.shape == other.shape)
    np.testing.assert_array_equal(page.painter.image, other)
    assert page.painter.mask.shape == other.shape[:2]
    assert not page.painter.mask.any()
    shown = page.page.get_by_label("Picture of 160 by 128 pixels", exact=False)
    page.until(shown.is_visible)
