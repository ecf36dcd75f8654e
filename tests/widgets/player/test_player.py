"""The player and the chooser: buttons give commands, records change what is on display."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.errors import ModelError
from hdpainter_nb.select import Word
from hdpainter_widgets import Player, Runner, SceneChooser, SyncRunner
from hdpainter_widgets.player.controls import Controls, status_line
from hdpainter_widgets.runner.state import RunState, Status
from hdpainter_widgets.samples import shape_mask
from support.page_side import mimebundle
from support.synthetic import SyntheticSampler, scene

pytestmark = pytest.mark.colab
LONG = 20.0


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    left = [t for t in threading.enumerate() if t.name.startswith("hdpainter")]
    assert not left, left


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """One that does everything at once."""
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    player = Player(SyntheticSampler(6))
    yield player
    player.close()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def chip(player: Player, word: str) -> Any:
    return next(c for c in player.controls.words.children if c.description == word)


# --- stepping ------------------------------------------------------------------------------------


def test_shows_the_hole_before_the_first_step(player: Player) -> None:
    controls = player.controls
    assert opened(controls.picture.value).size == (256, 256)
    assert controls.maps.layout.display == "none"
    assert "Press" in controls.maps_note.value
    assert controls.back.disabled
    assert not controls.play.disabled


def test_every_step_changes_picture_maps_and_detail(player: Player) -> None:
    controls = player.controls
    seen = []
    for _ in range(3):
        controls.step.click()
        seen.append((controls.picture.value, controls.maps.value, controls.detail_picture.value))
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 3
    assert controls.progress.value == 3
    assert controls.slider.value == controls.slider.max == 3
    assert "3 of 6 steps · paused" in controls.status.value
    assert controls.maps_note.value == ""


def test_playing_back_and_restarting(player: Player) -> None:
    controls = player.controls
    controls.play.click()
    assert player.sampler.done
    assert "finished" in controls.status.value
    last = controls.picture.value
    seen: list[int] = []
    player.runner.on_record(lambda record: seen.append(record.index))
    controls.play.click()  # once more from the start, which makes no step
    assert seen == list(range(player.sampler.total))
    assert (player.sampler.done, controls.picture.value) == (True, last)
    controls.back.click()
    assert controls.slider.max == 5
    assert controls.picture.value != last
    controls.restart.click()
    assert player.sampler.index == 0
    assert controls.maps.layout.display == "none"
    assert controls.slider.disabled


def test_the_slider_looks_without_moving_the_sampler(player: Player) -> None:
    controls = player.controls
    player.step(4)
    newest = controls.picture.value
    controls.slider.value = 1
    assert player._shown is player.sampler.records[0], "people count from 1"
    assert controls.picture.value != newest
    assert player.sampler.index == 4
    player.step()
    assert controls.slider.value == 1, "who looks back is not pulled forward"
    assert controls.slider.max == 5
    controls.slider.value = 5
    player.step()
    assert controls.slider.value == 6


def test_looking_at_a_step_that_is_undone(player: Player) -> None:
    player.step(4)
    player.controls.slider.value = 3
    player.back(2)
    assert player.controls.slider.value == 2
    assert player._shown is player.sampler.records[-1]


def test_toggling_the_method_branches(player: Player) -> None:
    player.step(2)
    before = player.sampler
    assert player.controls.painta.value
    player.controls.painta.value = False
    assert player.sampler is not before
    assert player.sampler.job.settings.painta is False
    assert before.job.settings.painta is True
    player.step()
    assert player.sampler.index == 3
    assert before.index == 2


def test_a_failing_step_says_what_to_do(player: Player) -> None:
    player.step(2)
    sampler = player.sampler
    working = sampler.step

    def fail() -> Any:
        raise ModelError("The weights hold <nan>. Load the model again.")

    sampler.step = fail
    player.controls.play.click()
    shown = player.controls.failure.value
    assert "Load the model again" in shown
    assert "&lt;nan&gt;" in shown
    assert "The steps before are kept" in shown
    with pytest.raises(ModelError):
        player.wait()
    sampler.step = working
    player.controls.step.click()
    assert player.controls.failure.value == ""
    assert sampler.index == 3


# --- what is drawn -------------------------------------------------------------------------------


def test_telling_words_are_chosen_first(player: Player) -> None:
    player.step()
    chosen = [c.description for c in player.controls.words.children if c.value]
    assert [c.description for c in player.controls.words.children] == ["a", "red", "star", "<eot>"]
    assert chosen == ["red", "star"]


def test_words_levels_and_looks_redraw(player: Player) -> None:
    controls = player.controls
    player.step()
    seen = {controls.maps.value}
    for change in (
        lambda: setattr(chip(player, "<eot>"), "value", True),
        lambda: setattr(controls.level, "value", 32),
        lambda: setattr(controls.alpha, "value", 0.9),
        lambda: setattr(controls.shared, "value", True),
    ):
        change()
        assert controls.maps.value not in seen
        seen.add(controls.maps.value)
    for word in controls.words.children:
        word.value = False
    assert controls.maps.layout.display == "none"
    assert "Choose a word" in controls.maps_note.value


@pytest.mark.parametrize("name", ["c", "similarity", "gradient", "curves", "filmstrip"])
def test_every_detail_can_be_seen(player: Player, name: str) -> None:
    player.controls.detail.value = name
    player.step(2)
    assert opened(player.controls.detail_picture.value).width > 200
    assert player.controls.detail_picture.layout.display is None
    player.controls.detail.value = ""
    assert player.controls.detail_picture.layout.display == "none"


def test_a_missing_gradient_is_explained(player: Player) -> None:
    player.controls.detail.value = "gradient"
    player.controls.rasg.value = False
    player.step()
    assert "RASG switched off" in player.controls.detail_note.value


def test_words_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    player = Player(SyntheticSampler(3), words=["Star", "<eot>"], level=8)
    player.step()
    assert [c.description for c in player.controls.words.children if c.value] == ["star", "<eot>"]
    assert player.controls.level.value == 8
    player.close()


def test_words_of_another_prompt_are_refused() -> None:
    sampler = SyntheticSampler(3)
    sampler.step()
    with pytest.raises(ValueError, match="'moon' is not a word of this prompt; its words are 'a'"):
        Player(sampler, words=["star", "moon"])


def test_a_branch_with_another_prompt_offers_its_words(player: Player) -> None:
    player.step()
    sampler: Any = player.sampler.branch()
    sampler.cond = SimpleNamespace(words=(Word("blue", (1,)), Word("star", (2,))), crop=None)
    player.runner.use(sampler)
    assert [c.description for c in player.controls.words.children] == ["blue", "star"]
    assert [c.value for c in player.controls.words.children] == [False, True]


def test_decoding_only_when_asked_for(player: Player) -> None:
    player.step()
    assert player.sampler.decoding == 1
    decoded = player.controls.picture.value
    player.controls.decode.value = False
    assert player.controls.picture.value != decoded
    player.step()
    assert player.sampler.decoding == 1
    player.controls.decode.value = True
    player.step()
    assert player.sampler.decoding == 2


def test_slow_decoding_waits_for_the_pause(player: Player) -> None:
    player.decoding.cost = 100.0
    player.play()
    assert player.sampler.decoding == 1, "the last step, and no other"


def test_a_padded_picture_is_shown_without_its_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    sampler: Any = SyntheticSampler(3)
    sampler.cond = SimpleNamespace(crop=(0, 0, 200, 250), words=())
    sampler.job.image, sampler.job.mask = scene((200, 250))
    player = Player(sampler, decode=False)
    player.step()
    assert opened(player.controls.picture.value).size == (250, 200)
    player.close()


# --- as a value ----------------------------------------------------------------------------------


def test_snapshot_and_mimebundle(player: Player) -> None:
    empty = player.snapshot()
    player.step()
    full = player.snapshot()
    assert full.width > empty.width
    data = mimebundle(player)
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["image/jpeg"].startswith("/9j/")


def test_prints_go_to_the_output(player: Player) -> None:
    player.print("seen", 3)
    assert "seen 3" in str(player.controls.messages.outputs)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (RunState(Status.IDLE, 0, 20, None), "0 of 20 steps"),
        (
            RunState(Status.RUNNING, 7, 20, 0.31),
            "7 of 20 steps · running · 310 ms a step · 4.0 s left",
        ),
        (RunState(Status.PAUSED, 7, 20, 30.0), "7 of 20 steps · paused · 30 s a step · 6 min left"),
        (RunState(Status.IDLE, 20, 20, 2.0), "20 of 20 steps · finished · 2.0 s a step"),
    ],
)
def test_status_line(state: RunState, line: str) -> None:
    assert status_line(state) == line


# --- with threads --------------------------------------------------------------------------------


def test_plays_on_a_thread_and_closing_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDPAINTER_SYNC", raising=False)
    player = Player(SyntheticSampler(8))
    assert isinstance(player.runner, Runner)
    player.controls.play.click()
    assert player.wait(LONG)
    assert player.sampler.done
    assert player.controls.slider.value == 8
    assert "finished" in player.controls.status.value
    player.close()
    player.close()
    assert player.runner.closed


def test_handlers_return_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDPAINTER_SYNC", raising=False)
    sampler = SyntheticSampler(3)
    gate, entered = threading.Event(), threading.Event()
    working = sampler.step

    def held() -> Any:
        entered.set()
        gate.wait(LONG)
        return working()

    sampler.step = held  # type: ignore[method-assign]
    player = Player(sampler)
    player.controls.play.click()
    assert entered.wait(LONG)
    start = time.perf_counter()
    player.controls.alpha.value = 0.2
    player.controls.painta.value = False
    player.controls.cancel.click()
    assert time.perf_counter() - start < 1
    gate.set()
    player.wait(LONG)
    player.close()


def test_running_a_cell_again_closes_its_old_players(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"cell": "a", "execution": "1"}
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    monkeypatch.setattr("hdpainter_widgets.notebook._made", {})
    monkeypatch.setattr("hdpainter_widgets.notebook._running", lambda: tuple(where.values()))
    first, second = Player(SyntheticSampler(2)), Player(SyntheticSampler(2))
    where["cell"] = "b"
    other = Player(SyntheticSampler(2))
    assert not first.runner.closed, "one run of a cell may make two"
    where.update(cell="a", execution="2")
    third = Player(SyntheticSampler(2))
    closed = [player.runner.closed for player in (first, second, other, third)]
    assert closed == [True, True, False, False]
    other.close()
    third.close()


def test_a_given_runner_is_left_running() -> None:
    runner = SyncRunner(SyntheticSampler(3))
    player = Player(runner.sampler, runner=runner)
    player.step()
    player.close()
    assert not runner.closed
    runner.step()
    assert runner.state.index == 2


# --- the chooser ---------------------------------------------------------------------------------


def test_chooser_offers_scenes_and_photographs() -> None:
    chooser = SceneChooser(prompt="a blue ring")
    assert chooser.image.shape == (256, 256, 3)
    assert chooser.mask.shape == (256, 256)
    assert chooser.prompt == "a blue ring"
    before = chooser.preview.value
    chooser.source.value = "photograph: coffee"
    assert chooser.image.shape == chooser.mask.shape + (3,)
    assert chooser.preview.value != before
    assert "600 × 400" in chooser.share.value
    for name in chooser.source.options:
        chooser.source.value = name
        assert chooser.image.ndim == 3
    assert "image/jpeg" in mimebundle(chooser)


def test_chooser_follows_its_sliders() -> None:
    picture, _ = scene((100, 200))
    chooser = SceneChooser({"mine": picture}, box=(10, 20, 30, 40), shape="rectangle")
    rows, cols = np.nonzero(chooser.mask)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (20, 59, 20, 79)
    before = chooser.preview.value
    chooser.sliders["left"].value = 50
    assert np.nonzero(chooser.mask)[1].min() == 100
    assert chooser.preview.value != before
    chooser.shape.value = "ellipse"
    assert 0.7 < chooser.mask.sum() / (40 * 60) < 0.85


@pytest.mark.parametrize("box", [(95, 95, 5, 5), (0, 0, 100, 100), (99.9, 99.9, 0.1, 0.1)])
@pytest.mark.parametrize("shape", ["ellipse", "rectangle"])
def test_masks_are_never_empty(box: Any, shape: str) -> None:
    mask = shape_mask((32, 48), box, shape)
    assert mask.shape == (32, 48)
    assert mask.any()


def test_chooser_names_what_it_does_not_know() -> None:
    picture, _ = scene((8, 8))
    with pytest.raises(ValueError, match="choice='theirs' is not one of 'mine'"):
        SceneChooser({"mine": picture}, choice="theirs")
    with pytest.raises(ValueError, match="shape='star'"):
        SceneChooser({"mine": picture}, shape="star")
    with pytest.raises(ValueError, match="no pictures"):
        SceneChooser({})


def test_methods_that_a_run_does_not_know_are_not_offered() -> None:
    controls = Controls(level=16, decode=False)
    controls.offer_methods(painta=None, rasg=True)
    assert controls.painta.layout.display == "none"
    assert not controls.painta.value
    assert controls.rasg.layout.display is None
