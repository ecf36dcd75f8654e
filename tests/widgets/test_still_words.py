"""The pictures for pages that run no widgets can be drawn whatever a prompt or a label holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Sampler
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_widgets import Compare, GradientHistogram, HeatmapViewer, Lens, Player, SyncRunner
from hdpainter_widgets.runner.base import BaseRunner
from support.page_side import mimebundle, synced

pytestmark = pytest.mark.colab
PICTURE = np.full((64, 64, 3), 90, np.uint8)
PROMPT = "a red\nstar\x85on\u2028the\u2029wall\x00 \x1b[1m $5 $\\frac{$"


@pytest.fixture(scope="module")
def runner(model: Model) -> BaseRunner:
    hole = np.zeros((64, 64), bool)
    hole[16:48, 16:48] = True
    job = Job(PICTURE, hole, PROMPT, steps=2, positive_suffix="", negative_prompt="")
    sampler = Sampler(model, job)
    sampler.step()
    sampler.branch(steps=2, painta=False).step()
    return SyncRunner(sampler)


@pytest.mark.parametrize("cls", [Compare, GradientHistogram, HeatmapViewer, Player])
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_every_prompt_can_be_drawn(
    cls: Any, runner: BaseRunner, caplog: pytest.LogCaptureFixture
) -> None:
    widget = cls(runner.sampler, runner=runner)
    assert {"image/png", "image/jpeg"} & mimebundle(widget).keys()
    assert not caplog.records
    widget.close()


@pytest.mark.parametrize("label", [PROMPT, "half a pair \ud800", "\udc80"])
def test_every_label_of_a_lens_can_be_drawn(label: str, caplog: pytest.LogCaptureFixture) -> None:
    lens = Lens({label: PICTURE})
    assert "image/png" in mimebundle(lens)
    assert not caplog.records
    assert list(lens.pictures) == [label]
    assert all(title.isprintable() for title in synced(lens, "titles"))
    lens.close()


def test_a_picture_that_cannot_be_drawn_leaves_the_widget_on_display(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lens = Lens({"a": PICTURE})
    monkeypatch.setattr(lens, "still", lambda: 1 / 0)
    bundle = mimebundle(lens)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "image/png" not in bundle
    assert "The picture of a" in caplog.text
    lens.close()
