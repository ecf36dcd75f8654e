"""The Studio and the viewer in whole notebooks, from an empty mask to saved files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browser.pages import Notebook, Stage, pixels_of, until
from browser.servers import APPS, Server
from hdpainter_nb import Trace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SIZE = (256, 256)
STEPS = 40  # so many that a run is still on when it is to be paused
STUDIO = """
from hdpainter_nb import Sampler, load, mini
from hdpainter_widgets import Studio

studio = Studio(load("mini"), mini.triple(0).image, prompt="", steps={steps})
studio
"""
FAIL = """
step = Sampler.step
def failing(self):
    if self.index == 2:
        raise RuntimeError("broken on purpose")
    return step(self)
Sampler.step = failing
"""
VIEWER = """
from pathlib import Path
from time import sleep
from hdpainter_nb import Job, Sampler, load, mini
from hdpainter_widgets import HeatmapViewer

task = mini.triple(0)
sampler = Sampler(load("mini"), Job(task.image, task.mask, "a red star", steps=6))
sampler.run()
print(len(sampler.records), "steps")
viewer = HeatmapViewer(sampler.trace, words=["red", "star"])
viewer
"""
BUSY = 'while not Path("enough").exists(): sleep(0.05)'


class Run:
    """The timeline on the page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.element = page.get_by_role("group", name="Timeline", exact=True)
        self.element.wait_for()

    def press(self, name: str) -> None:
        """Press a button once it can be pressed."""
        button = self.element.get_by_role("button", name=name, exact=True)
        until(lambda: button.get_attribute("aria-disabled") != "true", self.page, f"{name} to wake")
        button.click()

    @property
    def made(self) -> int:
        """Steps made up to where the run stands."""
        bar = self.element.get_by_role("progressbar", name="Steps made")
        return int(bar.get_attribute("aria-valuenow") or 0)

    @property
    def shown(self) -> int:
        """Steps made up to the one on display."""
        track = self.element.get_by_role("slider", name="Step shown")
        return int(track.get_attribute("aria-valuenow") or 0)

    @property
    def branches(self) -> int:
        """Lines of steps."""
        tree = self.element.get_by_role("listbox", name="Steps by branch")
        return int(tree.get_by_role("group").count())

    def stands_at(self, count: int) -> None:
        """Wait until so many steps are made, and the last one is shown."""
        until(lambda: (self.made, self.shown) == (count, count), self.page, f"step {count}")

    def paused(self) -> int:
        """Wait until no step is under way; gives how many are made and shown."""
        play = self.element.get_by_role("button", name="Play", exact=True)
        play.wait_for()
        until(lambda: self.made == self.shown, self.page, "the last step to be shown")
        return self.made


def open_studio(server: Server, page: Any, steps: int, *cells: str) -> tuple[Notebook, Stage, Run]:
    """A notebook with a studio, a hole painted into its picture and a prompt."""
    server.write("studio.ipynb", [STUDIO.format(steps=steps), *cells])
    book = Notebook(page, server, "studio.ipynb")
    book.run(0)
    stage = Stage(page, SIZE)
    stage.surface.focus()
    page.keyboard.press("r")
    stage.drag((70, 80), (190, 200))
    told = page.get_by_role("status").filter(has_text=re.compile(r"pixels, 2[12]\.\d % masked"))
    told.wait_for()
    prompt = page.get_by_label("prompt", exact=True)
    prompt.fill("a red star")
    prompt.press("Enter")
    return book, stage, Run(page)


@pytest.mark.parametrize("app", APPS)
def test_from_a_mask_to_files(
    app: str, serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve(app), open_page()
    read = "print(studio.painter.mask.sum(), len(studio.trace.branches), studio.sampler.index)"
    book, stage, run = open_studio(server, page, STEPS, read)

    # Step by step, on and off, and back.
    for count in (1, 2, 3):
        run.press("One step")
        run.stands_at(count)
    run.press("Play")
    until(lambda: run.made >= 5, page, "the run to go on")
    run.press("Pause after this step")
    made = run.paused()
    assert 5 <= made < STEPS
    run.press("Back one step")
    run.stands_at(made - 1)

    # A branch without PAIntA, and one step on it.
    run.press("Branch here …")
    dialog = page.get_by_role("dialog", name="Branch here")
    dialog.get_by_label("PAIntA").uncheck()
    dialog.get_by_role("button", name="Branch", exact=True).click()
    until(lambda: run.branches == 2, page, "the branch")
    run.press("One step")
    run.stands_at(made)
    assert run.paused() == made

    # Which words a place listens to, and where it looks.
    viewer = page.get_by_role("region", name="Attention maps")
    picture = viewer.get_by_role("img").first
    picture.click(position={"x": 120, "y": 120})
    words = viewer.get_by_role("list", name="Mean cross-attention of the region")
    words.get_by_role("button", name=re.compile("star")).wait_for()
    before = pixels_of(picture)
    viewer.get_by_role("button", name="Show where it looks").click()
    until(lambda: "asking" not in viewer.inner_text(), page, "Python's answer")
    until(lambda: pixels_of(picture) != before, page, "another map")
    assert "self-attention of a region" in picture.get_attribute("aria-label")
    assert "could not answer" not in viewer.inner_text()

    # The two lines beside each other.
    page.get_by_role("tab", name="Compare").click()
    compare = page.get_by_role("region", name="Comparison")
    compare.get_by_role("slider", name="Step", exact=True).press("End")
    until(lambda: painted(compare) >= 2, page, "two pictures that differ")

    # Files, and what is in them.
    for kind, ending in (("PNG", "png"), ("trace", "hdp"), ("page (HTML)", "html")):
        page.get_by_role("button", name=f"Save {kind}").click()
        file = server.folder / f"a-red-star.{ending}"
        page.get_by_role("link", name=f"Download {file.name}").wait_for()
        assert file.exists()
    with Image.open(server.folder / "a-red-star.png") as image:
        assert image.size == SIZE[::-1]
    trace = Trace.load(server.folder / "a-red-star.hdp")
    assert [branch.settings.painta for branch in trace.branches.values()] == [True, False]
    assert len(trace.records(1)) == made
    opens_alone(open_page(offline=True), server.folder / "a-red-star.html")

    said_by_python = book.run(1)
    area = 0 if trace.mask is None else int(trace.mask.sum())
    assert area == pytest.approx(120 * 120, rel=0.03)
    assert said_by_python.split() == [str(area), "2", str(made)]

    # All of it is there again when the page is loaded again.
    book.save()
    book.reload()
    stage = Stage(page, SIZE)
    run = Run(page)
    until(lambda: (run.made, run.branches) == (made, 2), page, "the run to be back")
    inside, outside = stage.colors((130, 140), (30, 30)).astype(int)
    assert inside[0] - inside[1] > outside[0] - outside[1] + 30, "the mask shows"
    assert book.run(1) == said_by_python
    run.press("One step")
    run.stands_at(made + 1)


def test_a_step_that_fails_and_one_that_is_cancelled(
    serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve("lab"), open_page()
    book, _, run = open_studio(server, page, 200, FAIL, "Sampler.step = step; print(6 * 7)")
    book.run(1)
    run.press("Play")
    alert = page.get_by_role("alert").filter(has_text="broken on purpose")
    alert.first.wait_for()
    assert "The steps before are kept" in alert.first.inner_text()
    assert run.paused() == 2

    # The kernel is not at fault, and neither is the run.
    assert "42" in book.run(2)
    run.press("Play")
    until(lambda: run.made >= 4, page, "the run to go on")
    assert alert.count() == 0 or not alert.first.is_visible()
    run.press("Cancel: stop now")
    made = run.paused()
    assert 4 <= made < 200
    assert "42" in book.run(2)
    run.press("One step")
    run.stands_at(made + 1)


def test_steps_are_looked_through_without_the_kernel(
    serve: Callable[..., Server], open_page: Callable[..., Any]
) -> None:
    server, page = serve("lab"), open_page()
    server.write("view.ipynb", [VIEWER, BUSY])
    book = Notebook(page, server, "view.ipynb")
    last = int(book.run(0).split()[0]) - 1
    viewer = page.get_by_role("region", name="Attention maps")
    slider = viewer.get_by_role("slider", name="Step", exact=True)
    until(lambda: slider.get_attribute("max") == str(last), page, "the steps to arrive")
    picture = viewer.get_by_role("img").first

    book.start(1)  # the kernel does nothing else until there is a file
    until(lambda: "[*]" in book.cells.nth(1).inner_text(), page, "the kernel to be busy")
    sent = len(book.traffic.sent)
    slider.focus()
    seen = {pixels_of(picture)}
    for key, steps in (("ArrowLeft", range(last - 1, -2, -1)), ("ArrowRight", range(last + 1))):
        for step in steps:
            before = pixels_of(picture)
            page.keyboard.press(key)
            until(lambda step=step: slider.input_value() == str(step), page, f"step {step}")
            until(lambda before=before: pixels_of(picture) != before, page, "another picture")
            seen.add(pixels_of(picture))
    assert len(seen) == last + 2, "a picture for each step, and one before the first"

    # Nothing is asked for: Python may be told what is looked at, and that is all.
    said = [message.data for message in book.traffic.sent[sent:] if message.kind == "comm_msg"]
    assert [data for data in said if data.get("method") == "custom"] == []
    assert {name for data in said for name in data.get("state", {})} <= {"step", "_following"}
    asked = [message.data.get("content", {}) for message in book.traffic.sent]
    assert [content.get("type") for content in asked].count("want") == 1
    (server.folder / "enough").touch()


def painted(part: Any) -> int:
    """How many different pictures a part of the page shows."""
    canvases = part.locator("canvas")
    return len({pixels_of(canvases.nth(i)) for i in range(canvases.count())})


def opens_alone(page: Any, file: Path) -> None:
    """The saved page shows its run, asks for nothing and complains of nothing."""
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith("http") and complaints.append(request.url)
    )
    page.goto(file.as_uri())
    page.get_by_role("region", name="Attention maps").wait_for()
    page.get_by_role("button", name="star", exact=True).first.wait_for()
    assert complaints == []
