"""The widgets in a real JupyterLab: how soon things arrive, and what they cost the browser.

Starts a server, a kernel and a headless Chromium, works as a person does and prints a table in
Markdown. Browser and kernel read the same clock, so times of both can be subtracted. Times hold
for one machine, and say little about another one that is busy.

    python benchmarks/bench_widgets.py [--strokes 200] [--steps 500] [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser.pages import Notebook, Stage, until
from browser.servers import BROWSER_ARGS, PATIENCE, Server, find_browser

Row = tuple[str, str]

# Runs before the page's own scripts: when a mouse button went up, and what came from the kernel.
WATCH = """
window.seen = {released: 0, clicked: 0, frames: []};
const now = () => performance.timeOrigin + performance.now();
addEventListener("pointerup", () => { seen.released = now(); }, true);
addEventListener("click", () => { seen.clicked = now(); }, true);
const Native = WebSocket;
window.WebSocket = class extends Native {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({data}) => {
      if (!(data instanceof ArrayBuffer) && typeof data !== "string") return;
      const at = now();
      const text = typeof data === "string" ? data : new TextDecoder("latin1").decode(data);
      if (!/"type": ?"frames"/.test(text) || !/"kind": ?"cross"/.test(text)) return;
      const nodes = [...text.matchAll(/"node": ?(\\d+)/g)].map((found) => Number(found[1]));
      seen.frames.push([at, text.length, nodes]);
    });
  }
};
"""

PAINT = """
import time
import numpy as np
from hdpainter_widgets import MaskPainter

def note(change):
    arrived = time.time()
    with open("times.txt", "a") as file:
        file.write(f"{{arrived}}\\n")

painter = MaskPainter(np.full(({side}, {side}, 3), 90, np.uint8))
painter.observe(note, "mask")
painter
"""

RUN = """
import json, os, time
from hdpainter_nb import Job, Sampler, load, mini
from hdpainter_widgets import HeatmapViewer, Runner, Timeline
from ipywidgets import VBox, jslink

task = mini.triple(0)
sampler = Sampler(load("mini"), Job(task.image, task.mask, task.prompt, steps={steps}))
runner = Runner(sampler)
made = {{}}
runner.after_step = lambda sampler, record: made.update({{sampler.node.id: time.time()}})
def note(state):
    with open("states.part", "w") as file:
        json.dump([[time.time(), str(state.status)], state.index, state.total], file)
    os.replace("states.part", "states.json")
runner.on_state(note)
timeline, viewer = Timeline(runner), HeatmapViewer(sampler, runner=runner)
link = jslink((timeline, "step"), (viewer, "step"))
VBox([timeline, viewer])
"""
DUMP = 'json.dump(list(made.items()), open("made.json", "w"))'


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strokes", type=int, default=200, help="before memory is read")
    parser.add_argument("--steps", type=int, default=500, help="of the run that is watched")
    parser.add_argument("--rounds", type=int, default=20, help="of what is timed")
    given = parser.parse_args()
    found = find_browser()
    if found is None:
        sys.exit("bench_widgets: there is no Chromium, so there is nothing to measure")
    from playwright.sync_api import sync_playwright

    rows: list[Row] = []
    with sync_playwright() as playwright:
        # Heaps are read to the byte, not rounded for fear of being recognised.
        args = [*BROWSER_ARGS, "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(
            executable_path=found, args=args, timeout=PATIENCE * 1000
        )
        for side in (1024, 2048):
            rows += _session(browser, lambda *p, side=side: _painting(*p, side, given))
        rows += _session(browser, lambda *p: _running(*p, given))
        version = browser.version
        browser.close()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Chromium {version}, "
        f"JupyterLab, {given.rounds} rounds"
    )
    print("| what | measured |\n|---|---|")
    for what, measured in rows:
        print(f"| {what} | {measured} |")


def _session(browser: Any, measure: Callable[[Any, Server], list[Row]]) -> list[Row]:
    """Rows measured with a server and a page of their own."""
    with tempfile.TemporaryDirectory(prefix="hdp-bench-", ignore_cleanup_errors=True) as folder:
        server = Server("lab", Path(folder))
        page = browser.new_context(viewport={"width": 1280, "height": 1400}).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(WATCH)
        try:
            return measure(page, server)
        finally:
            page.context.close()
            server.close()


def _painting(page: Any, server: Server, side: int, given: argparse.Namespace) -> list[Row]:
    server.write("paint.ipynb", [PAINT.format(side=side)])
    start = time.time()
    book = Notebook(page, server, "paint.ipynb")
    loaded = time.time()
    book.run(0)
    stage = Stage(page, (side, side))
    usable = time.time()

    heard = server.folder / "times.txt"
    heap = _heap(page)
    delays, count = [], 0
    for number in range(max(given.rounds, given.strokes if side == 1024 else 0)):
        y = side * (0.1 + 0.8 * (number * 0.37 % 1))
        stage.drag((0.1 * side, y), (0.9 * side, side - y))
        count += 1
        arrived = until(partial(_lines, heard, count), page, "a stroke to arrive")
        delays.append(1000 * (arrived[count - 1] - page.evaluate("seen.released") / 1000))
        if number % 8 == 7:  # a stroke where all is painted already changes nothing
            page.keyboard.press("x")
            count += 1
            until(partial(_lines, heard, count), page, "an empty mask to arrive")
    rows = [(f"pointer up to numpy array, {side} px", _spread(delays[: given.rounds], "ms"))]
    if side == 1024:
        opened = [
            ("opening the notebook to a kernel that answers", f"{loaded - start:.1f} s"),
            ("running its cell to a painter to paint on", f"{usable - loaded:.1f} s"),
        ]
        grown = (_heap(page) - heap) / 1e6
        memory = f"{_heap(page) / 1e6:.0f} MB ({grown:+.1f} MB)"
        rows = [*opened, *rows, (f"JavaScript heap after {len(delays)} strokes", memory)]
    return rows


def _running(page: Any, server: Server, given: argparse.Namespace) -> list[Row]:
    server.write("run.ipynb", [RUN.format(steps=given.steps), DUMP])
    book = Notebook(page, server, "run.ipynb")
    book.run(0)
    states = server.folder / "states.json"
    page.get_by_role("button", name="Play", exact=True).wait_for()
    heap = _heap(page)

    # Cancelling, some steps after playing: Python's last word against the click.
    cancelled = []
    for _ in range(max(1, given.rounds // 4)):
        page.get_by_role("button", name="Play", exact=True).click()
        before = _state(states)[1] if states.exists() else 0
        until(partial(_beyond, states, before + 2), page, "two steps")
        page.get_by_role("button", name="Cancel: stop now").click()
        until(lambda: _state(states)[0][1] != "running", page, "the run to stop")
        cancelled.append(1000 * _state(states)[0][0] - page.evaluate("seen.clicked"))

    page.get_by_role("button", name="Play", exact=True).click()
    patience = PATIENCE + 3 * given.steps
    until(lambda: _state(states)[1] == _state(states)[2], page, "the end", seconds=patience)
    total = _state(states)[2]
    until(
        lambda: sum(len(nodes) for _, _, nodes in page.evaluate("seen.frames")) >= total,
        page,
        "the last frames",
    )
    frames = page.evaluate("seen.frames")
    memory = f"{_heap(page) / 1e6:.0f} MB ({(_heap(page) - heap) / 1e6:+.1f} MB)"
    book.run(1)
    made = dict(json.loads((server.folder / "made.json").read_text()))

    first_seen: dict[int, float] = {}
    for at, _, nodes in frames:
        for node in nodes:
            first_seen.setdefault(node, at)
    known = sorted(set(made) & set(first_seen))
    delays = [first_seen[node] - 1000 * made[node] for node in known]
    half = known[len(known) // 2 :]  # played to the end without a pause
    pace = (len(half) - 1) / (made[half[-1]] - made[half[0]])
    seen = 1000 * (len(half) - 1) / (first_seen[half[-1]] - first_seen[half[0]])
    size = sum(length for _, length, _ in frames) / len(first_seen) / 1e3
    return [
        ("cancel pressed to a run that has stopped", _spread(cancelled, "ms")),
        ("steps made, and received by the page", f"{pace:.1f} and {seen:.1f} a second"),
        ("a step's end to its frame in the page", _spread(delays, "ms")),
        ("a step's maps and numbers, as sent", f"{size:.0f} kB"),
        (f"JavaScript heap after {len(first_seen)} steps", memory),
    ]


def _lines(file: Path, count: int) -> list[float]:
    """The numbers of a file once it has `count` of them; none before."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(line) for line in lines] if len(lines) >= count else []


def _beyond(file: Path, index: int) -> bool:
    """Whether the run that tells its state in a file has come so far."""
    return file.exists() and bool(_state(file)[1] >= index)


def _state(file: Path) -> Any:
    return json.loads(file.read_text())


def _spread(values: Sequence[float], unit: str) -> str:
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return f"{statistics.median(ordered):.0f} {unit} (nine of ten within {high:.0f} {unit})"


def _heap(page: Any) -> float:
    """Bytes of JavaScript objects in use, what is garbage collected."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize"))


if __name__ == "__main__":
    main()
