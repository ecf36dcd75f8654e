"""The timeline's Python side: what it tells of the run, and what each of its commands does."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image

from hdpainter_nb import Job, Sampler, Trace
from hdpainter_nb.models.model import Model
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.runner import Runner, SyncRunner
from hdpainter_widgets.viewers.timeline import Timeline
from support.page_side import hear, mimebundle, set_by_page, synced

pytestmark = pytest.mark.colab
LONG = 60.0  # seconds; no test waits this long unless it fails


@pytest.fixture
def runner(model: Model, job: Job) -> Iterator[BaseRunner]:
    sampler = Sampler(model, job.replace(rasg=False))
    sampler.run(2)
    runner = SyncRunner(sampler)
    yield runner
    runner.close()


@pytest.fixture
def timeline(runner: BaseRunner) -> Iterator[Timeline]:
    timeline = Timeline(runner)
    yield timeline
    timeline.close()


def say(timeline: Timeline, name: object, **more: Any) -> None:
    hear(timeline, {"type": "command", "name": name, **more})


def run(timeline: Timeline) -> dict[str, Any]:
    """The run as the page is told of it."""
    return dict(synced(timeline, "run"))


def stands(timeline: Timeline) -> tuple[int, int, int]:
    """Branch, steps made, node."""
    return run(timeline)["branch"], run(timeline)["index"], run(timeline)["node"]


def test_it_mirrors_the_run(timeline: Timeline, runner: BaseRunner) -> None:
    assert run(timeline)["status"] == "paused"
    assert (run(timeline)["index"], run(timeline)["total"]) == (2, 7)
    assert (stands(timeline), timeline.step, timeline.branch) == ((0, 2, 2), 1, 0)
    assert run(timeline)["seconds_left"] is None
    runner.step()
    assert run(timeline)["seconds_left"] == pytest.approx(4 * run(timeline)["seconds_per_step"])
    say(timeline, "play")
    assert (run(timeline)["status"], stands(timeline)) == ("idle", (0, 7, 7))
    json.dumps(run(timeline), allow_nan=False)


def test_the_debugger_s_buttons(timeline: Timeline) -> None:
    say(timeline, "step")
    assert stands(timeline) == (0, 3, 3)
    say(timeline, "step", n=2)
    assert stands(timeline) == (0, 5, 5)
    say(timeline, "back", n=3)
    assert stands(timeline) == (0, 2, 2)
    say(timeline, "restart")
    assert stands(timeline) == (0, 0, 0)
    for harmless in ("pause", "cancel"):
        say(timeline, harmless)
    assert stands(timeline) == (0, 0, 0)


def test_run_to_a_step(timeline: Timeline, runner: BaseRunner) -> None:
    say(timeline, "run_to", step=4)
    assert stands(timeline) == (0, 5, 5)
    say(timeline, "run_to", step=4)
    assert stands(timeline) == (0, 5, 5)
    say(timeline, "run_to", step=0)
    assert stands(timeline) == (0, 1, 1)
    say(timeline, "run_to", step=3)  # through memory
    assert stands(timeline) == (0, 4, 4)
    assert len(runner.sampler.trace.nodes) == 6
    say(timeline, "run_to", step=500)
    assert stands(timeline) == (0, 7, 7)


def test_a_branch_anywhere(timeline: Timeline, runner: BaseRunner) -> None:
    say(timeline, "branch", node=1, changes={"painta": False, "seed": 3})
    assert stands(timeline) == (1, 1, 1)
    assert (timeline.branch, timeline.step) == (1, 0)
    say(timeline, "step", n=2)
    assert stands(timeline) == (1, 3, 4)
    record = runner.sampler.trace.nodes[4].record
    assert record is not None
    assert not record.settings.painta
    say(timeline, "branch", node=2, changes={"guidance_scale": 3.0})  # on another branch
    trace = runner.sampler.trace
    assert stands(timeline) == (2, 2, 2)
    assert (trace.branches[2].parent, trace.branches[2].settings.painta) == (0, True)
    say(timeline, "branch", node=1, branch=1, changes={"guidance_scale": 3.0})  # as branch 1 has it
    assert (trace.branches[3].parent, trace.branches[3].settings.painta) == (1, False)
    say(timeline, "branch", node=0, changes={"prompt": "a blue star"})  # at the root
    assert (trace.branches[4].prompt, runner.sampler.index) == ("a blue star", 0)


def test_go_to_any_step_of_any_branch(timeline: Timeline, runner: BaseRunner) -> None:
    first = runner.sampler
    say(timeline, "branch", node=1, changes={"painta": False})
    say(timeline, "step", n=3)
    second, nodes = runner.sampler, len(runner.sampler.trace.nodes)
    say(timeline, "goto", branch=0, step=1)
    assert (stands(timeline), runner.sampler is first) == ((0, 2, 2), True)
    assert (timeline.branch, timeline.step) == (0, 1)
    say(timeline, "goto", branch=1, step=2)
    assert (stands(timeline), runner.sampler is second) == ((1, 3, 4), True)
    say(timeline, "goto", branch=1, step=-1)
    assert stands(timeline) == (1, 0, 0)
    assert len(second.trace.nodes) == nodes  # nothing was computed


def test_a_loaded_run_is_walked_and_gone_on_with(
    model: Model, job: Job, tmp_path: Any, timeline: Timeline, runner: BaseRunner
) -> None:
    say(timeline, "branch", node=1, changes={"painta": False})
    say(timeline, "step", n=2)
    expected = runner.sampler.branch()
    wanted = expected.step()
    loaded = Trace.load(runner.sampler.trace.save(tmp_path / "run.hdp"))
    again = SyncRunner(Sampler.from_trace(model, loaded, 0))
    view = Timeline(again)
    say(view, "goto", branch=1, step=2)  # nobody has stepped this branch in this kernel
    assert stands(view) == (1, 3, 4)
    say(view, "step")
    made = again.records[-1]
    assert not made.settings.painta
    np.testing.assert_array_equal(made.x0_latents, wanted.x0_latents)
    again.close()
    view.close()


def test_a_branch_stepped_on_elsewhere_is_not_made_twice(
    timeline: Timeline, runner: BaseRunner
) -> None:
    main: Any = runner.sampler
    say(timeline, "branch", node=2, changes={"painta": False})
    stale = Sampler.from_trace(main.model, main.trace, 0)
    stale.run(2)  # a second sampler goes on with the branch, behind the timeline's back
    nodes = len(main.trace.nodes)
    say(timeline, "goto", branch=0, step=3)
    assert stands(timeline) == (0, 4, main.trace.tips[0])
    assert len(main.trace.nodes) == nodes


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("goto", {"branch": 7, "step": 0}, "There is no branch 7; there are 0"),
        ("goto", {"branch": 0, "step": 2}, "Branch 0 has 2 steps; there is no step 3"),
        ("branch", {"node": 77, "changes": {}}, "no step with the number 77"),
        ("branch", {"node": 1, "changes": {"paint": False}}, "paint"),
        ("branch", {"node": 1, "changes": {"guidance_scale": "much"}}, "guidance_scale"),
        ("branch", {"node": 1, "changes": {"seed": 9}}, "seed can change only before the first"),
    ],
)
def test_what_cannot_be_done_is_said(
    timeline: Timeline, name: str, more: dict[str, Any], said: str
) -> None:
    say(timeline, name, **more)
    assert run(timeline)["status"] == "error"
    assert said in run(timeline)["failure"]
    say(timeline, "step")
    assert (run(timeline)["failure"], run(timeline)["index"]) == ("", 3)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        (None, {}),
        (["play"], {}),
        ("close", {}),
        ("_fail", {}),
        ("step", {"n": 0}),
        ("step", {"n": -3}),
        ("step", {"n": "2"}),
        ("step", {"n": True}),
        ("step", {"n": 1.5}),
        ("step", {"n": 10**9}),
        ("back", {"n": 0}),
        ("run_to", {}),
        ("run_to", {"step": None}),
        ("run_to", {"step": -2}),
        ("goto", {"branch": 0}),
        ("goto", {"branch": "main", "step": 0}),
        ("branch", {}),
        ("branch", {"node": "1", "changes": {}}),
        ("branch", {"node": 1, "changes": ["painta"]}),
        ("branch", {"node": 1, "branch": "main", "changes": {}}),
    ],
)
def test_unsound_commands_do_nothing(timeline: Timeline, name: Any, more: dict[str, Any]) -> None:
    before = run(timeline)
    say(timeline, name, **more)
    assert run(timeline) == before
    assert len(timeline.trace.branches) == 1


def test_a_failed_step_is_told(timeline: Timeline, runner: BaseRunner) -> None:
    sampler: Any = runner.sampler

    def fail() -> None:
        raise RuntimeError("the device is gone")

    sampler.step = fail
    say(timeline, "step")
    assert run(timeline)["status"] == "error"
    assert "the device is gone" in run(timeline)["failure"]
    del sampler.step
    say(timeline, "step")
    assert (run(timeline)["status"], run(timeline)["failure"]) == ("paused", "")


def test_commands_return_at_once_and_traits_change_on_the_publisher(model: Model, job: Job) -> None:
    sampler = Sampler(model, job.replace(rasg=False))
    started, gate = threading.Event(), threading.Event()
    step, threads = sampler.step, set()

    def slow() -> Any:
        started.set()
        assert gate.wait(LONG)
        return step()

    sampler.step = slow  # type: ignore[method-assign]
    with Runner(sampler) as runner:
        timeline = Timeline(runner)
        timeline.observe(lambda _: threads.add(threading.current_thread().name), "_run")
        say(timeline, "play")
        assert started.wait(LONG)
        for name, more in (("run_to", {"step": 2}), ("goto", {"branch": 0, "step": 0})):
            say(timeline, name, **more)  # while the worker is held in a step
        assert sampler.index == 0
        gate.set()
        assert runner.wait(LONG)
        assert stands(timeline) == (0, 1, 1)
        assert run(timeline)["status"] == "paused"
        timeline.close()
    assert threads == {"hdpainter-publisher"}


def test_the_speed_of_watching_again_is_the_runners(timeline: Timeline, runner: BaseRunner) -> None:
    assert runner.speed == timeline.speed == 5
    set_by_page(timeline, {"speed": 20})
    assert runner.speed == 20
    with pytest.raises(traitlets.TraitError):
        Timeline(runner, speed=0)


def test_it_sends_no_pictures(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(timeline, "send", lambda content, buffers=None: sent.append(buffers))
    hear(timeline, {"type": "want"})
    film, frames = sent
    assert (len(film), frames) == (2, [])


def test_it_has_a_picture(timeline: Timeline) -> None:
    data = mimebundle(timeline)
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as still:
        assert still.width > still.height


def test_only_runners_will_do(runner: BaseRunner) -> None:
    with pytest.raises(TypeError, match="Timeline needs a runner, not Sampler"):
        Timeline(runner.sampler)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="steps"):
        Timeline(runner, steps=3)  # type: ignore[call-arg]
