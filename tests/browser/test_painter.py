"""MaskPainter in whole notebooks: JupyterLab 4 and Notebook 7, a mouse, a keyboard and a kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from browser.pages import Notebook, Stage, capsule, overlap, polygon, until
from browser.servers import APPS, Server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SIZE = (384, 512)
BRUSH = 36
# What arrives is kept in files, in the order of its arrival.
PAINT = f"""
import os
import numpy as np
from hdpainter_widgets import MaskPainter

heard = []
def keep(change):
    heard.append(int(change.new.sum()))
    np.save("part.npy", change.new)
    os.replace("part.npy", f"heard_{{len(heard)}}.npy")

painter = MaskPainter(np.full({(*SIZE, 3)}, 90, np.uint8), brush_size={BRUSH})
painter.observe(keep, "mask")
painter
"""
READ = 'np.save("mask.npy", painter.mask); print(painter.mask.shape, painter.mask.sum())'


class Arrivals:
    """The masks that Python was told of, one after the other."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder, self.count = page, folder, 0

    def after(self, act: Callable[[], Any]) -> NDArray[np.bool_]:
        """(H, W): the next one once `act` was done."""
        act()
        self.count += 1
        file = self.folder / f"heard_{self.count}.npy"
        until(file.exists, self.page, file.name)
        return np.load(file)


@pytest.mark.parametrize("app", APPS)
def test_painting_in_a_notebook(
    app: str, serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server = serve(app)
    server.write("paint.ipynb", [PAINT, READ])
    page = open_page()
    book = Notebook(page, server, "paint.ipynb")
    book.run(0, "Shift+Enter")
    stage = Stage(page, SIZE)
    arrivals = Arrivals(page, server.folder)

    # A stroke, back, forth, and a polygon on top of it.
    a, b = (80, 90), (400, 150)
    stroke = arrivals.after(lambda: stage.drag(a, b))
    drawn = capsule(SIZE, a, b, BRUSH / 2)
    assert overlap(stroke, drawn) > 0.95
    assert not arrivals.after(lambda: page.keyboard.press("Control+z")).any()
    again = arrivals.after(lambda: page.keyboard.press("Control+Shift+z"))
    np.testing.assert_array_equal(again, stroke)

    page.keyboard.press("p")
    corners = [(120, 220), (380, 240), (430, 350), (150, 330)]
    for corner in corners:
        stage.click(*corner)
    both = arrivals.after(lambda: page.keyboard.press("Enter"))
    shape = polygon(SIZE, corners)
    added = both & ~stroke
    assert overlap(added, shape) > 0.95
    assert added.sum() == pytest.approx(shape.sum(), rel=0.03)

    # What a later cell reads is what arrived.
    said = book.run(1)
    read = np.load(server.folder / "mask.npy")
    np.testing.assert_array_equal(read, both)
    assert f"{SIZE} {both.sum()}" in said

    # After loading the page again, browser and kernel still hold it.
    status = page.get_by_role("status").filter(has_text="pixels")
    told = status.inner_text()
    assert f"{100 * both.mean():.1f} %" in told
    book.save()
    book.reload()
    stage = Stage(page, SIZE)
    assert status.inner_text() == told
    inside, outside = stage.colors((240, 120), (240, 30)).astype(int)
    assert outside.max() - outside.min() < 8, "grey where nothing is masked"
    assert inside[0] - inside[1] > 40, "tinted where something is"
    (server.folder / "mask.npy").unlink()
    book.run(1)
    np.testing.assert_array_equal(np.load(server.folder / "mask.npy"), both)
    # And it is the same painter: what is drawn now arrives too.
    less = arrivals.after(lambda: (stage.surface.focus(), page.keyboard.press("i")))
    np.testing.assert_array_equal(less, ~both)

    # The notebook's own shortcuts stay quiet: `b` chooses the brush and inserts no cell, `x`
    # clears the mask and cuts none; and so with the focus on a button.
    cells = book.cells.count()
    eraser = page.get_by_role("button", name="Eraser (E)")
    eraser.click()
    page.keyboard.press("b")
    assert eraser.get_attribute("aria-pressed") == "false"
    stage.surface.focus()
    page.keyboard.press("e")
    page.keyboard.press("b")
    assert eraser.get_attribute("aria-pressed") == "false"
    assert not arrivals.after(lambda: page.keyboard.press("x")).any()
    assert book.cells.count() == cells

    # Elsewhere the same key does insert one, or this would show nothing.
    book.cells.nth(1).locator(".jp-InputPrompt").click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    until(lambda: book.cells.count() == cells + 1, page, "a cell that the shortcut inserts")


@pytest.mark.parametrize("app", APPS)
def test_views_say_that_their_kernel_is_gone(
    app: str, serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server = serve(app)
    composite = "from hdpainter_widgets import SceneChooser; SceneChooser()"
    server.write("gone.ipynb", [PAINT, "painter", "print(1)", composite])
    page = open_page(viewport={"width": 1280, "height": 2200})
    book = Notebook(page, server, "gone.ipynb")
    for number in (0, 1, 3):
        book.run(number)
    surfaces = page.get_by_role("application")
    until(lambda: surfaces.count() == 2, page, "two views of one painter")
    signs = page.get_by_role("alert").filter(has_text="Not connected")
    assert signs.count() == 0
    page.get_by_role("menuitem", name="Kernel", exact=True).first.click()
    page.get_by_text("Restart Kernel…", exact=True).first.click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    until(lambda: signs.count() == 3, page, "a sign in each view, and in the composite widget")
    book.run(2)  # so that the number of the next run is another one than before
    book.run(0)
    until(lambda: signs.count() == 2, page, "no sign where a kernel is behind it again")
