"""The saved page in a browser without a network: what it shows, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.pages import pixels_of, until
from hdpainter_nb import Trace
from hdpainter_nb.settings import Settings
from support.synthetic import make_record, scene

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>a red star</b> & \u2028 '"
STEPS = 6


def saved(path: Path) -> Path:
    """A page of two branches, whose prompt means harm."""
    image, mask = scene()
    trace = Trace(image, mask, model="made up", crop=(0, 0, 256, 256))
    rng = np.zeros(8, np.uint8)
    latents = np.zeros((4, 32, 32), np.float32)
    parent, start = None, trace.root(latents, rng)
    for settings in (Settings(steps=STEPS), Settings(steps=STEPS, painta=False)):
        branch = trace.open_branch(HOSTILE, settings, start, parent)
        node = start
        for index in range(start.index, STEPS):
            record = make_record(index, STEPS, painta=settings.painta)
            node = trace.add(branch, node, latents, rng, record)
            if index == 1 and parent is None:
                start = node
        parent = branch.id
    return trace.to_html(path)


@pytest.fixture
def opened(open_page: Callable[..., Any], tmp_path: Path) -> tuple[Any, list[str], Path]:
    """The page from its file, what it complained of or asked for, and the file."""
    page, file = open_page(offline=True), saved(tmp_path / "run.html")
    complaints: list[str] = []

    def asked(request: Any) -> None:
        if request.url != file.as_uri() and not request.url.startswith(("data:", "blob:")):
            complaints.append(f"asked for {request.url}")

    def logged(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("request", asked)
    page.on("console", logged)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    return page, complaints, file


def test_a_page_that_needs_nothing(opened: tuple[Any, list[str], Path]) -> None:
    page, complaints, file = opened
    viewer = page.get_by_role("region", name="Attention maps")
    slider = viewer.get_by_role("slider", name="Step", exact=True)
    picture = viewer.get_by_role("img").first
    assert slider.input_value() == slider.get_attribute("max") == str(STEPS - 1)
    until(lambda: viewer.get_by_text("Waiting").count() == 0, page, "the film")

    # Every step looks different, and one sees it.
    slider.focus()
    seen = [pixels_of(picture)]
    for step in range(STEPS - 2, -2, -1):
        page.keyboard.press("ArrowLeft")
        until(lambda: pixels_of(picture) != seen[-1], page, f"step {step}")
        seen.append(pixels_of(picture))
    assert len(set(seen)) == STEPS + 1
    page.keyboard.press("End")

    # Words are chosen with a click, and show.
    words = viewer.get_by_role("group", name="Words", exact=True)
    word = words.get_by_role("button", name="red", exact=True)
    before, pressed = pixels_of(picture), word.get_attribute("aria-pressed")
    word.click()
    until(lambda: word.get_attribute("aria-pressed") != pressed, page, "the word to be chosen")
    until(lambda: pixels_of(picture) != before, page, "its map")

    # The prompt is text and nothing else.
    told = " ".join(page.get_by_role("heading", level=1).inner_text().split())
    assert told == " ".join(HOSTILE.split())
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "owned"
    assert complaints == []
    assert file.stat().st_size < 3e6


def test_a_page_shows_in_the_dark_and_on_a_telephone(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    file = saved(tmp_path / "run.html")
    page = open_page(offline=True, color_scheme="dark", viewport={"width": 360, "height": 740})
    page.goto(file.as_uri())
    page.get_by_role("region", name="Attention maps").wait_for()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, "nothing to scroll to the side"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, ground.strip("rgba()").split(",")[:3])) < 200, ground
