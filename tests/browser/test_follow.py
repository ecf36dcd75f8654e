"""What is on display goes with the run, however the messages of a loaded machine arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from browser.pages import Notebook, until
from browser.servers import Server
from browser.test_studio import Run

pytestmark = [pytest.mark.slow, pytest.mark.browser]

STEPS, PLAYS = 8, 4
CELL = f"""
from hdpainter_nb import load, mini
from hdpainter_widgets import Studio

task = mini.triple(0)
studio = Studio(load("mini"), task.image, task.mask, "a red star", steps={STEPS})
studio
"""
# What widgets are told comes late, and in another order; a seeded generator keeps it the same.
SHUFFLE = """
let seed = 7;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
const told = /"msg_type": ?"comm_msg"/;
window.WebSocket = class extends window.WebSocket {
  set onmessage(handler) {
    super.onmessage = (event) => {
      const text = typeof event.data === "string" ? event.data
        : new TextDecoder("latin1").decode(event.data);
      if (!window.shuffled || !told.test(text)) return handler(event);
      setTimeout(() => handler(event), 2500 * random());
    };
  }
};
"""
# The step on display, each time that it changes.
RECORD = """(track) => {
  window.seen = [];
  window.recorder?.disconnect();
  window.recorder = new MutationObserver(() => {
    const now = Number(track.getAttribute("aria-valuenow"));
    if (now !== window.seen.at(-1)) window.seen.push(now);
  });
  window.recorder.observe(track, {attributes: true, attributeFilter: ["aria-valuenow"]});
}"""


def test_the_display_ends_where_the_run_ends_and_play_begins_the_next(
    serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve("lab"), open_page()
    page.add_init_script(SHUFFLE)
    server.write("run.ipynb", [CELL])
    book = Notebook(page, server, "run.ipynb")
    book.run(0)
    run = Run(page)
    track = run.element.get_by_role("slider", name="Step shown")
    viewer = page.get_by_role("region", name="Attention maps")
    slider = viewer.get_by_role("slider", name="Step", exact=True)
    for number in range(PLAYS):
        if number:
            page.locator(".hdp-inputs button").last.click()  # another seed
            page.get_by_text("Changed: seed").wait_for()
        page.evaluate("window.shuffled = true")
        run.press("Play")
        until(lambda: 0 < run.made < STEPS, page, "the run to begin")
        track.evaluate(RECORD)
        until(lambda: run.made >= STEPS, page, "the run to end")
        until(lambda: run.shown == run.made, page, "the display to end with it", 15)
        until(lambda: int(slider.input_value()) + 1 == run.made, page, "the maps to do so", 15)
        seen = page.evaluate("window.seen")
        assert seen == sorted(seen), "the display went back"
        page.evaluate("window.shuffled = false")

    # A run that is finished is watched again, at the speed that was chosen.
    run.element.get_by_label("Speed of watching again").select_option("20")
    track.evaluate(RECORD)
    run.press("Watch again")
    made = run.made
    until(lambda: run.shown == made and len(page.evaluate("window.seen")) > made, page, "the end")
    assert page.evaluate("window.seen") == list(range(made + 1))
    assert run.made == made

    # Who looks elsewhere stays there.
    page.locator(".hdp-inputs button").last.click()
    run.press("Play")
    until(lambda: run.made >= 3, page, "three steps")
    track.focus()
    page.keyboard.press("Home")
    until(lambda: run.made >= STEPS, page, "the run to end")
    assert run.shown == 0
