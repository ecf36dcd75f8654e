"""The studio's upscaler in a whole notebook: a key, a run of its own, the lens, and a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from browser.pages import Notebook, pixels_of, until
from browser.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# The miniature works at 64 pixels here, so that its picture times four has 256.
STUDIO = """
from hdpainter_nb import load, mini
from hdpainter_widgets import Studio

task = mini.triple(0)
studio = Studio(load("mini"), task.image, task.mask, "a red star", steps=2, long_side=64)
studio.enlarging.options.write(None, {"steps": 2})
studio.play(); studio.wait()
studio
"""
READ = """
studio.wait()
print(studio.upscaler.index, studio.image(of="x4").shape, studio.sampler.index)
"""


def test_a_key_makes_it_larger_and_another_saves_it(
    serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve("lab"), open_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    server.write("studio.ipynb", [STUDIO, READ])
    book = Notebook(page, server, "studio.ipynb")
    book.run(0)
    result = page.get_by_role("tab", name="Result", exact=True)
    result.click()
    button = page.get_by_role("button", name="Upscale ×4").first
    until(button.is_enabled, page, "the button to wake")

    # The tab has the focus, and the key goes through it to the studio.
    result.focus()
    page.keyboard.press("u")
    run = page.get_by_role("group", name="Timeline", exact=True).last
    done = run.get_by_role("progressbar", name="Steps made")
    until(lambda: done.get_attribute("aria-valuenow") == "2", page, "both steps")
    lens = page.get_by_role("region", name="Zoom lens")
    until(lambda: lens.locator("figure").count() == 3, page, "three pictures")
    until(lambda: "loading" not in lens.inner_text(), page, "them to arrive")
    names = [name.inner_text() for name in lens.locator("figcaption b").all()]
    assert names == ["original", "bicubic", "×4"]

    # Looking closer needs no kernel: it moves all three.
    canvases = [lens.locator("canvas").nth(i) for i in range(3)]
    before = [pixels_of(canvas) for canvas in canvases]
    canvases[1].dblclick()
    until(lambda: all(map(lambda c, old: pixels_of(c) != old, canvases, before)), page, "a zoom")

    # In the lens, too, the studio's keys count.
    page.keyboard.press("s")
    page.get_by_role("link", name=re.compile(r"Download a-red-star-x4\.png")).wait_for()
    with Image.open(server.folder / "a-red-star-x4.png") as image:
        assert image.size == (256, 256)
    assert book.run(1).split() == ["2", "(256,", "256,", "3)", "2"]
    assert book.cells.count() == 2, "the notebook took none of the keys for its own"
    assert complaints == []
