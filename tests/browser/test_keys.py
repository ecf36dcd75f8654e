"""Keys pressed in a widget do nothing to the notebook around it, whatever in it has the focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from browser.pages import Notebook, until
from browser.servers import APPS, Server

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# One of each widget, stock controls and own ones alike.
CELL = """
from hdpainter_nb import Job, Sampler, load, mini
from hdpainter_widgets import (
    Compare, GradientHistogram, HeatmapViewer, Lens, Player, SceneChooser, Studio
)

task = mini.triple(0)
sampler = Sampler(load("mini"), Job(task.image, task.mask, "a red star", steps=4))
sampler.run(2)
parts = [
    Studio(load("mini"), task.image, task.mask, "a red star", steps=4), Player(sampler),
    SceneChooser(), HeatmapViewer(sampler), GradientHistogram(sampler), Compare(sampler),
    Lens({"a picture": task.image}),
]
for part in parts:
    display(part)
"""
# What destroys or changes cells in a notebook's command mode, and what runs them.
KEYS = ("m", "x", "b", "d", "d", "y", "z", "Shift+M", "Control+z", "Control+Enter", "Alt+Enter")
# Every control that can have the focus, and a place between them; tabs that lie behind are none.
_CONTROLS = """() => {
    const roots = [...document.querySelectorAll(".jp-OutputArea-output")];
    const places = roots.flatMap((root) => [...root.querySelectorAll(
        "button, input, select, textarea, [tabindex]")]);
    const shown = places.filter((one) => one.checkVisibility() && !one.disabled
        && !one.closest(".jp-OutputArea-output-collapser") && one.type !== "file"
        && !one.classList.contains("jp-OutputArea-output"));
    window.places = shown;
    return shown.map((one) => `${one.tagName} ${one.className} ${one.title ?? ""}`);
}"""
_FOCUS = """(i) => {
    window.places[i].focus({preventScroll: true});
    return document.activeElement === window.places[i];
}"""


@pytest.mark.parametrize("app", APPS)
def test_no_key_reaches_the_notebook(
    app: str, serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve(app), open_page()
    server.write("keys.ipynb", [CELL, "print('as it was')"])
    book = Notebook(page, server, "keys.ipynb")
    book.run(0)
    page.get_by_role("group", name="Timeline", exact=True).wait_for()
    page.get_by_role("application").first.wait_for()
    until(lambda: page.locator(".hdp").count() >= 7, page, "all widgets")

    def notebook() -> list[tuple[str, str]]:
        cells = [book.cells.nth(i) for i in range(book.cells.count())]
        kinds = [str(cell.get_attribute("class")) for cell in cells]
        names = [next(k for k in kind.split() if k.endswith("Cell")) for kind in kinds]
        prompts = [cell.locator(".jp-InputPrompt").first.inner_text() for cell in cells]
        return list(zip(names, prompts, strict=True))

    before = notebook()
    controls = page.evaluate(_CONTROLS)
    assert len(controls) > 80, "stock controls and own ones"
    # One of each kind: a hundred toggle buttons differ in nothing that counts here.
    kinds = {control.split(" hdp-")[0]: i for i, control in reversed(list(enumerate(controls)))}
    pressed = 0
    for control, i in kinds.items():
        if not page.evaluate(_FOCUS, i):
            continue
        for key in KEYS:
            page.keyboard.press(key)
            pressed += 1
        page.keyboard.press("Escape")
        assert notebook() == before, f"a key on {control} changed the notebook"
    assert pressed > 20 * len(KEYS)

    # Beside the controls, and after the control that had the focus has gone.
    studio = page.locator(".hdp-studio")
    for name in (".widget-html-content:visible", ".hdp-keys:visible"):
        place = studio.locator(name).first
        place.scroll_into_view_if_needed()
        place.click()
        for key in KEYS:
            page.keyboard.press(key)
        assert notebook() == before, "a key beside the controls changed the notebook"
    page.get_by_label("prompt", exact=True).first.fill("a blue star")
    page.get_by_label("prompt", exact=True).first.press("Enter")
    renew = page.get_by_role("button", name="New run")
    renew.click()
    renew.wait_for(state="hidden")
    for key in KEYS:
        page.keyboard.press(key)
    assert notebook() == before, "a key after a button had gone changed the notebook"

    # The application's own keys go on: the notebook is saved from within.
    studio.get_by_role("tab", name="Compare").click()
    file = server.folder / "keys.ipynb"
    saved = file.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    until(lambda: file.stat().st_mtime_ns != saved, page, "the notebook to be saved")
