"""Steps are counted from 1 wherever a person reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from hdpainter_nb import views
from hdpainter_nb.method.ddim import explain_grid, timesteps
from hdpainter_nb.views import layout
from hdpainter_widgets.player.player import Player
from support.synthetic import SyntheticSampler, make_record


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on sheets."""
    written: list[str] = []
    write = layout._text

    def keep(draw: Any, place: Any, text: str, *rest: Any, **more: Any) -> None:
        written.append(text)
        write(draw, place, text, *rest, **more)

    monkeypatch.setattr(layout, "_text", keep)
    return written


RECORDS = [make_record(index, 4) for index in range(4)]
SHEETS: dict[str, Callable[[], Any]] = {
    "heatmaps": lambda: views.heatmaps(RECORDS[0]),
    "c_map": lambda: views.c_map(RECORDS[0]),
    "similarity": lambda: views.similarity(RECORDS[0]),
    "layer_maps": lambda: views.layer_maps(RECORDS[:2]),
    "filmstrip": lambda: views.filmstrip(RECORDS),
}


@pytest.mark.parametrize("draw", SHEETS.values(), ids=SHEETS)
def test_sheets_count_from_1(draw: Callable[[], Any], texts: list[str]) -> None:
    draw()
    numbers = [int(n) for text in texts for n in re.findall(r"step (\d+)", text)]
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))


def test_plots_count_from_1() -> None:
    assert "step 1" in views.gradient_histogram(RECORDS[0])._suptitle.get_text()
    for figure in (views.curves(RECORDS), views.gradient_steps(RECORDS)):
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata())]
        assert list(lines[0].get_xdata()) == [1, 2, 3, 4]
    named = views.lines({"S": {"run": [3, 2, 1]}})
    assert list(named.axes[0].lines[0].get_xdata()) == [1, 2, 3]


def test_records_and_widgets_count_from_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    assert "step 1," in repr(RECORDS[0])
    assert "1, 999" in RECORDS[0]._repr_html_()
    sampler = SyntheticSampler(4)
    player = Player(sampler)
    player.step()
    assert (player.controls.slider.min, player.controls.slider.value) == (1, 1)
    player.close()


@pytest.mark.parametrize("steps", [5, 9, 12, 20, 30, 33, 60])
def test_a_run_that_makes_more_steps_than_asked_for_says_why(steps: int) -> None:
    made = len(timesteps(steps, "official"))
    why = explain_grid(steps, "official")
    assert bool(why) == (made > steps)
    assert not why or why.startswith(f"{steps} steps asked for make {made}: ")
    assert not explain_grid(steps, "leading")
