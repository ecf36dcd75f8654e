"""The viewers' Python side: what they take, what they send, whom they follow, what they refuse."""

from __future__ import annotations

import base64
import dataclasses
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import ipywidgets
import numpy as np
import pytest
import traitlets
from PIL import Image

from hdpainter_nb import Job, Sampler, views
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import Settings, UpscaleSettings
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.pictures import preview
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.runner import SyncRunner
from hdpainter_widgets.viewers.base import TraceWidget
from hdpainter_widgets.viewers.compare import Compare
from hdpainter_widgets.viewers.heatmap import HeatmapViewer
from hdpainter_widgets.viewers.histogram import GradientHistogram
from support.page_side import handle, hear, mimebundle, set_by_page, synced
from support.synthetic import make_record, scene

pytestmark = pytest.mark.colab
Sent = list[tuple[dict[str, Any], list[bytes]]]


@pytest.fixture(autouse=True)
def closed() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def trace() -> Trace:
    """Three steps on "main", and "painta=False", which leaves it after the second."""
    trace = Trace(*scene(), model="none", crop=(0, 0, 256, 256))
    rng = np.zeros(8, np.uint8)
    node = root = trace.root(np.zeros((4, 32, 32), np.float32), rng)
    main = trace.open_branch("a red star", Settings(steps=20), root, None)
    for index in range(3):
        node = trace.add(main, node, root.latents, rng, make_record(index, 20))
    changed = Settings(steps=20, painta=False)
    other = trace.open_branch("a red star", changed, trace.nodes[2], 0)
    node = trace.nodes[2]
    for index in range(2, 4):
        node = trace.add(other, node, root.latents, rng, make_record(index, 20, painta=False))
    return trace


@pytest.fixture
def sampler(model: Model, job: Job) -> Sampler:
    sampler = Sampler(model, job.replace(rasg=False))
    sampler.run(2)
    return sampler


@pytest.fixture
def runner(sampler: Sampler, closed: list[Any]) -> BaseRunner:
    runner = SyncRunner(sampler)
    closed.append(runner)
    return runner


def sent_by(widget: TraceWidget, monkeypatch: pytest.MonkeyPatch) -> Sent:
    sent: Sent = []
    monkeypatch.setattr(
        widget, "send", lambda content, buffers=None: sent.append((content, buffers))
    )
    return sent


def told_by(widget: TraceWidget, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the traits that are sent to the page."""
    told: list[str] = []

    def send_state(key: str) -> None:
        told.append(key)

    monkeypatch.setattr(widget, "send_state", send_state)
    if ipywidgets.__version__.startswith("7."):  # it tells a page nothing without a kernel
        monkeypatch.setattr(type(widget.comm), "kernel", MagicMock())
    return told


def opened(widget: TraceWidget) -> Image.Image:
    data = mimebundle(widget)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG"
    return picture


# --- what they take ------------------------------------------------------------------------------


def test_a_viewer_begins_at_the_last_step(trace: Trace) -> None:
    viewer = HeatmapViewer(trace, branch="painta=False", level=32)
    assert (viewer.branch, viewer.step, viewer.level) == (1, 3, 32)
    assert viewer.words == ["red", "star"]
    assert GradientHistogram(trace).step == 2


def test_a_sampler_stands_for_its_branch(sampler: Sampler) -> None:
    other = sampler.branch(painta=False)
    assert HeatmapViewer(other).branch == 1
    assert HeatmapViewer(sampler).branch == 0


@pytest.mark.parametrize("kind", [HeatmapViewer, GradientHistogram, Compare])
def test_what_is_wrong_is_refused(kind: Any, trace: Trace) -> None:
    with pytest.raises(TypeError, match="Trace or a Sampler is needed, not int"):
        kind(3)
    with pytest.raises(TypeError, match="colour"):
        kind(trace, colour="red")
    key = {"branches": ("main", "none")} if kind is Compare else {"branch": "none"}
    with pytest.raises(KeyError, match="no branch 'none'; there are 0 'main', 1 'painta=False'"):
        kind(trace, **key)


def test_words_must_be_in_the_prompt(trace: Trace) -> None:
    with pytest.raises(ValueError, match="'moon' is not a word of this prompt; its words are 'a'"):
        HeatmapViewer(trace, words=["moon"])
    with pytest.raises(ValueError, match=r"must be a list of words: \['star'\]"):
        HeatmapViewer(trace, words="star")
    viewer = HeatmapViewer(trace, words=["star"])
    assert viewer.words == ["star"]
    viewer.words = ["STAR", "Red", "moon"]  # as the page finds them
    assert viewer.words == ["star", "red", "moon"]
    assert HeatmapViewer(trace, words=["Star"]).words == ["star"]
    assert Compare(trace, words=["Star"]).words == ["star"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "value"},
        {"level": 12},
        {"colormap": "grey"},
        {"opacity": 1.5},
        {"head": -2},
        {"combine": "max"},
        {"backdrop": "black"},
    ],
)
def test_impossible_values_raise(trace: Trace, wrong: dict[str, Any]) -> None:
    with pytest.raises(traitlets.TraitError):
        HeatmapViewer(trace, **wrong)


def test_a_runner_must_work_on_the_trace_shown(trace: Trace, runner: BaseRunner) -> None:
    with pytest.raises(ValueError, match="another trace"):
        HeatmapViewer(trace, runner=runner)


# --- what they send ------------------------------------------------------------------------------


def test_each_kind_sends_what_it_shows(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    trace.pictures[1] = np.zeros((256, 256, 3), np.uint8)
    sizes = {}
    for kind in (HeatmapViewer, GradientHistogram):
        viewer = kind(trace)
        sent = sent_by(viewer, monkeypatch)
        assert sent == []
        hear(viewer, {"type": "want"})
        assert [content["type"] for content, _ in sent] == ["film", "frames"]
        frames, buffers = sent[1]
        assert [f["node"] for f in frames["frames"]] == [1, 2, 3, 4, 5]
        sizes[kind] = (sum(map(len, buffers)), bool(frames["frames"][0]["maps"]))
    assert sizes[GradientHistogram] == (0, False)
    assert sizes[HeatmapViewer][1]


def test_two_traces_are_two_films_and_one_is_one(
    trace: Trace, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = (
        (Compare(trace), [0], [0, 1]),
        (Compare((trace, "painta=False"), (trace, 0)), [0], [1, 0]),
        (Compare(trace, branches=(1, "main")), [0], [1, 0]),
        (Compare((trace, 1), sampler), [0, 1], [1, 0]),
        (Compare(sampler, sampler.branch(painta=False)), [0], [0, 1]),
    )
    for viewer, films, branches in cases:
        sent = sent_by(viewer, monkeypatch)
        hear(viewer, {"type": "want"})
        for _ in range(4):
            hear(viewer, {"type": "got", "serial": sent[-1][0]["serial"]})
        assert [c["film"] for c, _ in sent if c["type"] == "film"] == films
        assert viewer.branches == branches
    assert cases[0][0].step == 3  # the longer one's last


def test_an_empty_trace_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (HeatmapViewer, GradientHistogram, Compare):
        viewer = kind(Trace())
        sent = sent_by(viewer, monkeypatch)
        hear(viewer, {"type": "want"})
        assert [content["type"] for content, _ in sent] == ["film"]
        assert (viewer.step, opened(viewer).size[0] > 0) == (-1, True)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "want",
        [],
        {},
        {"type": None},
        {"type": ["want"]},
        {"type": "got"},
        {"type": "got", "serial": "1"},
        {"type": "got", "serial": [1]},
        {"type": "got", "serial": 10**30},
        {"type": "command", "name": "play"},
        {"type": "region"},
    ],
)
def test_odd_messages_do_no_harm(
    trace: Trace, monkeypatch: pytest.MonkeyPatch, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for viewer in (HeatmapViewer(trace), GradientHistogram(trace), Compare(trace)):
        sent = sent_by(viewer, monkeypatch)
        handle(viewer, content)
        hear(viewer, {"type": "want"})
        assert [c["type"] for c, _ in sent if c["type"] != "region"] == ["film", "frames"]
    assert not caplog.records


def test_impossible_steps_of_a_page_are_clamped_on_pictures(trace: Trace) -> None:
    viewer = HeatmapViewer(trace)
    set_by_page(viewer, {"step": 10**6, "branch": 99})
    assert opened(viewer).size[0] > 0
    set_by_page(viewer, {"branch": 0})
    assert opened(viewer).size[0] > 0


# --- whom they follow ----------------------------------------------------------------------------


def test_new_steps_are_sent_as_they_are_made(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = HeatmapViewer(runner.sampler, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    hear(viewer, {"type": "want"})
    for content, _ in list(sent):
        hear(viewer, {"type": "got", "serial": content["serial"]})
    runner.step()
    assert sent[-1][0]["frames"][0]["index"] == 2
    assert viewer.step == 2
    viewer.close()
    count = len(sent)
    runner.step()
    assert len(sent) == count


def test_where_no_page_is_open_python_moves_on(runner: BaseRunner) -> None:
    following = HeatmapViewer(runner.sampler, runner=runner)
    staying = HeatmapViewer(runner.sampler, runner=runner, follow=False)
    looking = HeatmapViewer(runner.sampler, runner=runner)
    looking.step = 0
    runner.step(2)
    assert (following.step, staying.step, looking.step) == (3, 1, 0)


def test_a_viewer_is_led_back_and_forth_with_the_sampler(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.step(2)
    viewer = HeatmapViewer(runner.sampler, runner=runner)
    elsewhere = HeatmapViewer(runner.sampler, runner=runner)
    for one in (viewer, elsewhere):
        sent_by(one, monkeypatch)
        hear(one, {"type": "want"})
    set_by_page(elsewhere, {"step": 1, "_following": False})
    runner.back()
    assert viewer.step == 2
    runner.restart()
    assert viewer.step == -1
    runner.step(3)  # read from memory: no frame arrives that the page could follow
    assert viewer.step == 2
    assert elsewhere.step == 1


def test_a_page_that_goes_with_the_run_is_told_where_that_stands_and_pulled_nowhere(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (HeatmapViewer, GradientHistogram):
        viewer = kind(runner.sampler, runner=runner)
        hear(viewer, {"type": "want"})
        told = told_by(viewer, monkeypatch)
        runner.step()
        runner.back()
        set_by_page(viewer, {"step": 0})  # sent before the page had heard of it
        runner.branch(painta=False)
        assert set(told) == {"_run"}
        assert (viewer.branch, viewer.step) == (runner.sampler.branch_id, runner.sampler.index - 1)
        viewer.step = 0  # assigned in a cell
        runner.step()
        assert (viewer.step, told.count("step"), synced(viewer, "following")) == (0, 1, False)
        assert synced(viewer, "run")["node"] == runner.sampler.node.id
        viewer.close()


def test_widgets_linked_in_python_do_not_pull_each_other_back(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (HeatmapViewer(runner.sampler, runner=runner) for _ in range(2))
    traitlets.link((first, "step"), (second, "step"))
    for viewer in (first, second):
        hear(viewer, {"type": "want"})
    told = told_by(second, monkeypatch)
    runner.step(2)
    set_by_page(first, {"step": 2})  # on its way with the run
    assert "step" not in told
    assert synced(second, "following")
    set_by_page(first, {"step": 0, "_following": False})  # a person looks there
    assert told.count("step") == 1
    assert second.step == 0


def test_a_branch_is_followed_unless_told_otherwise(runner: BaseRunner) -> None:
    viewer = HeatmapViewer(runner.sampler, runner=runner)
    staying = HeatmapViewer(runner.sampler, runner=runner, follow=False)
    compare = Compare(runner.sampler, runner=runner)
    assert compare.branches == [0, 0]
    runner.back()
    runner.branch(painta=False)
    assert (viewer.branch, viewer.step) == (1, 0)
    assert (staying.branch, staying.step) == (0, 1)
    assert compare.branches == [0, 1]
    runner.step()
    runner.branch(painta=True)
    assert compare.branches == [0, 1]  # two were there to compare


def test_another_run_replaces_the_film(
    runner: BaseRunner, model: Model, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.branch(painta=False)
    viewer = HeatmapViewer(runner.sampler, runner=runner, words=["star"], tokens=[3], follow=False)
    compare = Compare((runner.sampler.trace, 0), runner.sampler, runner=runner)
    assert compare.branches == [0, 1]
    sent = sent_by(viewer, monkeypatch)
    hear(viewer, {"type": "want"})
    for content, _ in list(sent):
        hear(viewer, {"type": "got", "serial": content["serial"]})
    other = Sampler(model, job.replace(prompt="a blue circle"))
    runner.use(other)
    assert sent[-1][0]["type"] == "film"
    assert sent[-1][0]["opening"]["branches"][0]["prompt"] == "a blue circle"
    assert (viewer.branch, viewer.step, viewer.trace) == (0, -1, other.trace)
    assert (viewer.words, viewer.tokens) == (["blue", "circle"], [])
    assert (compare.branches, compare.step) == ([0, 0], -1)
    runner.use(runner.sampler.branch(prompt="a blue star"))
    assert viewer.words == ["blue", "circle"]


# --- regions -------------------------------------------------------------------------------------


def ask(viewer: HeatmapViewer, sent: Sent, **question: Any) -> dict[str, Any]:
    """The answer to a question about two cells, changed as told."""
    asked = {"key": "k", "node": 1, "level": 16, "layer": None, "head": None, "painta": True}
    hear(viewer, {"type": "region", "film": 0, "cells": [18, 19], **asked, **question})
    content, buffers = sent.pop()
    assert content["type"] == "region"
    if content["map"] is None:
        assert content["error"]
        return content
    assert content["error"] is None
    found = content["map"]
    values = np.frombuffer(buffers[found["buffer"]], np.uint8) / 255
    low, high = found["low"][0], found["high"][0]
    content["values"] = (low + values * (high - low)).reshape(found["shape"])
    content["tolerance"] = (high - low) / 255
    return content


def test_a_region_s_answer_is_the_model_s(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler: Any = runner.sampler
    viewer = HeatmapViewer(sampler, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    attention = sampler.attention(sampler.records[0])
    region = np.zeros(64, bool)
    region[[18, 19]] = True
    region = region.reshape(8, 8)
    layer = attention.layers(16)[-1]
    for asked in (
        {},
        {"painta": False},
        {"layer": layer},
        {"layer": layer, "head": 1},
        {"level": 32, "cells": [5]},
    ):
        answer = ask(viewer, sent, **asked)
        wanted = {"level": 16, "layer": None, "head": None, "painta": True, **asked}
        cells = wanted.pop("cells", None)
        where = region if cells is None else np.arange(16).reshape(4, 4) == 5
        expected = attention.region(where, **wanted)
        np.testing.assert_allclose(answer["values"], expected, atol=answer["tolerance"])
        assert (answer["key"], answer["node"]) == ("k", 1)
    with_painta = ask(viewer, sent)["values"]  # the cells lie in the hole, where PAIntA acts
    assert (with_painta != ask(viewer, sent, painta=False)["values"]).any()


def test_a_branch_s_region_is_seen_with_that_branch_s_words(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: Any = runner.sampler
    viewer = HeatmapViewer(first, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    runner.back()
    runner.branch(prompt="a blue circle on the left")
    runner.step()
    second: Any = runner.sampler
    expected = {}
    for sampler, node in ((first, 2), (second, 3)):
        where = np.arange(64).reshape(8, 8) == 9
        record = first.trace.nodes[node].record
        expected[node] = sampler.attention(record).region(where)
    assert np.abs(expected[2] - expected[3]).max() > 1e-4
    alone = HeatmapViewer(second)  # has never met the first sampler
    alone_sent = sent_by(alone, monkeypatch)
    for one, its in ((viewer, sent), (alone, alone_sent)):
        for node, values in expected.items():
            answer = ask(one, its, node=node, cells=[9])
            np.testing.assert_allclose(answer["values"], values, atol=answer["tolerance"])


def test_the_last_steps_attention_is_kept(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler: Any = runner.sampler
    runner.step(4)
    viewer = HeatmapViewer(sampler, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    calls: list[int] = []
    attention = sampler.attention
    monkeypatch.setattr(
        sampler, "attention", lambda record: calls.append(record.index) or attention(record)
    )
    for node in (1, 2, 3, 4, 1, 2, 5, 1, 3):
        ask(viewer, sent, node=node)
    assert calls == [0, 1, 2, 3, 4, 2]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"node": 99}, "no step with the number 99"),
        ({"node": 0}, "no step with the number 0"),  # the root
        ({"node": "1"}, "node must be a whole number"),
        ({"node": None}, "node must be a whole number"),
        ({"node": True}, "node must be a whole number"),
        ({"level": 8}, "There is no level 8"),
        ({"level": 0}, "level must lie in"),
        ({"level": -16}, "level must lie in"),
        ({"level": 16.5}, "level must be a whole number"),
        ({"layer": 3}, "layer must be a text"),
        ({"layer": "mean"}, "no layer 'mean'"),
        ({"head": 99}, "no head 99"),
        ({"head": -1}, "no head -1"),
        ({"head": "0"}, "head must be a whole number"),
        ({"painta": 1}, "painta must be true or false"),
        ({"cells": []}, "1 to 64 positions"),
        ({"cells": None}, "1 to 64 positions"),
        ({"cells": "12"}, "1 to 64 positions"),
        ({"cells": [64]}, "0 .. 63, the 8 x 8 grid"),
        ({"cells": [-1]}, "0 .. 63"),
        ({"cells": [1.5]}, "whole numbers"),
        ({"cells": [True]}, "whole numbers"),
        ({"cells": [[1]]}, "whole numbers"),
        ({"cells": list(range(64)) * 1000}, "1 to 64 positions"),
        ({"key": ["k"]}, "key must be"),
    ],
)
def test_bad_questions_are_answered_with_a_sentence(
    runner: BaseRunner, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], said: str
) -> None:
    viewer = HeatmapViewer(runner.sampler, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    answer = ask(viewer, sent, **wrong)
    assert said in answer["error"]
    assert runner.state.failure is None  # and the run goes on
    ask(viewer, sent)


def test_a_trace_alone_needs_the_model(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = HeatmapViewer(trace)
    answer = ask(viewer, sent_by(viewer, monkeypatch))
    assert answer["error"] == "This needs the model: give HeatmapViewer a sampler."


def test_a_closed_runner_says_so(runner: BaseRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = HeatmapViewer(runner.sampler, runner=runner)
    sent = sent_by(viewer, monkeypatch)
    runner.close()
    assert "closed" in ask(viewer, sent)["error"]


# --- for pages that run no widgets ---------------------------------------------------------------


def test_every_viewer_has_a_picture(trace: Trace) -> None:
    trace.pictures[3] = np.full((256, 256, 3), 200, np.uint8)
    viewer = HeatmapViewer(trace, words=["star"])
    with_picture = np.asarray(opened(viewer))
    viewer.step = 1  # not decoded: the preview
    assert np.asarray(opened(viewer)).shape == with_picture.shape
    assert (np.asarray(opened(viewer)) != with_picture).any()
    record = trace.path(0)[2].record
    assert record is not None
    told = dataclasses.replace(record, object_mask=np.eye(32, dtype=np.float32))
    trace.nodes[2] = dataclasses.replace(trace.nodes[2], record=told)
    viewer.step = 1
    for kind in ("c", "similarity", "scores", "difference", "object"):
        viewer.kind = kind
        assert opened(viewer).width > 200
    viewer.step = -1
    assert opened(viewer).size == (256, 256)  # the masked original
    assert opened(GradientHistogram(trace)).width > 300
    assert opened(Compare(trace)).width > 700


def test_pictures_of_two_sizes_are_shown_without_a_difference(
    trace: Trace, sampler: Sampler
) -> None:
    both = opened(Compare(trace, sampler))
    assert 500 < both.width < 600


def test_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from hdpainter_nb import Trace\n"
        "from hdpainter_widgets.viewers.compare import Compare\n"
        "from hdpainter_widgets.viewers.heatmap import HeatmapViewer\n"
        "HeatmapViewer(Trace()), Compare(Trace())\n"
        "sys.exit('torch' in sys.modules)"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=path, check=False).returncode == 0


def test_a_preview_has_the_size_of_its_picture() -> None:
    plain = make_record(2)  # 32 x 32 latents
    larger = dataclasses.replace(plain, settings=UpscaleSettings())
    for record, side in ((plain, 256), (larger, 128)):
        whole = preview(record)
        assert whole.shape == (side, side, 3)
        part = preview(record, (8, 0, side - 28, side - 40))
        np.testing.assert_array_equal(part, whole[8 : side - 20, : side - 40])


def test_a_comparison_names_branches_in_words_and_counts_steps_from_1(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    draw = views.side_by_side

    def keep(a: Any, b: Any, names: tuple[str, str], **more: Any) -> Any:
        labels.extend(names)
        return draw(a, b, names, **more)

    monkeypatch.setattr("hdpainter_nb.views.side_by_side", keep)
    compare = Compare(trace)
    compare.step = 0
    compare._drawn()
    assert labels == ["main · step 1", "without PAIntA · step 1"]
