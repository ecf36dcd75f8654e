"""The studio's upscaler: a run of its own on the picture as it stands, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb import Trace, Upscaler, load_upscaler
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images.compositing import grown
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.upscale.model import UpscaleModel
from hdpainter_widgets.runner.restarting import (
    PendingSampler,
    restarting_runner,
    shared_turn_runner,
)
from hdpainter_widgets.runner.state import Status
from hdpainter_widgets.studio.settings_form import SettingsForm
from hdpainter_widgets.studio.studio import Studio
from hdpainter_widgets.studio.upscaling import UpscalePanel, original_of
from support import builders
from support.page_side import hear, mimebundle, synced

LONG = 120.0
Make = Callable[..., Studio]
pytestmark = pytest.mark.colab


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> UpscaleModel:
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")
    return load_upscaler(folder, device="cpu")


@pytest.fixture
def make(make_studio: Make, upscaler: UpscaleModel) -> Make:
    """Studios on a picture of 256 px that the model works on at 64; the upscaler takes 2 steps."""
    rng = np.random.default_rng(3)
    image = np.kron(rng.integers(60, 200, (16, 16, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    mask = np.zeros((256, 256), bool)
    mask[96:160, 96:160] = True
    defaults = {"steps": 2, "painta": False, "rasg": False, "long_side": 64, "upscaler": upscaler}

    def make(image: Any = image, mask: Any = mask, **options: Any) -> Studio:
        studio = make_studio(image, mask, **{**defaults, **options})
        studio.enlarging.options.write(None, {"steps": 2})
        return studio

    return make


@pytest.fixture
def studio(make: Make) -> Studio:
    return make()


def said(studio: Studio) -> str:
    return str(studio.enlarging.options.rows[-1].value)


# --- a picture made larger -----------------------------------------------------------------------


def test_it_can_be_pressed_once_there_is_a_picture(studio: Studio) -> None:
    buttons = (studio.result.enlarge, studio.enlarging.options.start)
    assert all(button.disabled for button in buttons)
    studio.step()
    assert not any(button.disabled for button in buttons)
    studio.runner.back()
    assert all(button.disabled for button in buttons)


def test_pressed_too_early_it_says_so_and_stops_nothing(studio: Studio) -> None:
    studio.upscale()
    assert "There is no picture to make larger yet" in said(studio)
    assert "role='alert'" in said(studio)
    assert studio.runner.state.status is Status.IDLE
    assert studio.upscaler is None
    with pytest.raises(SettingsError, match="No step is made yet"):
        studio.image()


def test_the_picture_has_the_originals_size_and_surroundings(studio: Studio) -> None:
    studio.play()
    studio.result.enlarge.click()
    assert studio.wait()
    assert isinstance(studio.upscaler, Upscaler)
    assert studio.upscaler.done
    assert studio.page.tabs.selected_index == 4
    assert studio.page.tabs.get_title(4) == "Upscale"
    large, job = studio.image(of="x4"), studio.job()
    assert large.shape == job.image.shape == (256, 256, 3)
    assert studio.upscaler.job.low.shape == (64, 64, 3)
    beyond = ~grown(job.mask)
    assert np.array_equal(large[beyond], job.image[beyond])
    assert not np.array_equal(large[job.mask], job.image[job.mask])
    lens = studio.enlarging.lens
    assert list(lens.pictures) == ["original", "bicubic", "×4"]
    assert np.array_equal(lens.pictures["original"], job.image)
    assert np.array_equal(lens.pictures["×4"], large)
    assert synced(lens, "masked")
    assert "64 × 64 → 256 × 256 pixels" in said(studio)


def test_without_detail_to_keep_all_of_it_is_made_larger(make: Make) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    studio = make(image, mask)
    studio.play()
    studio.upscale()
    assert studio.image(of="x4").shape == (256, 256, 3)
    assert studio.upscaler.job.mask.all()
    assert "no more detail than that" in said(studio)
    assert not synced(studio.enlarging.lens, "masked")


def test_original_of_takes_the_given_picture_at_its_own_size(studio: Studio) -> None:
    studio.play()
    found = original_of(studio.sampler)
    assert found.detailed
    assert found.low.shape == (64, 64, 3)
    assert found.image is studio.sampler.job.image
    assert found.of == (studio.trace, studio.sampler.node.id)
    beyond = ~grown(found.mask)
    assert np.array_equal(found.bicubic()[beyond], found.image[beyond])


def test_the_run_on_display_is_left_as_it_is(studio: Studio) -> None:
    studio.step()
    trace, sampler = studio.trace, studio.sampler
    studio.upscale()
    assert studio.trace is trace
    assert studio.sampler is sampler
    assert sampler.index == 1
    assert studio.viewers.timeline.trace is trace
    assert studio.enlarging.timeline.trace is studio.upscaler.trace
    assert studio.enlarging.heatmaps.trace.factor == 4


# --- options -------------------------------------------------------------------------------------


def test_what_a_cell_asks_for_shows_in_the_controls(studio: Studio) -> None:
    studio.step()
    studio.upscale(prompt="a blue circle", steps=3, noise_level=5, soft=False)
    settings = studio.upscaler.settings
    assert (settings.steps, settings.noise_level, settings.soft) == (3, 5, False)
    assert studio.upscaler.prompt == "a blue circle"
    assert studio.enlarging.options.form.fields["noise_level"].value == 5
    assert list(studio.enlarging.lens.pictures)[-1] == "×4 without soft blend mask, noise level 5"
    with pytest.raises(SettingsError, match="There is no setting 'noise'"):
        studio.upscale(noise=3)


def test_other_settings_branch_and_the_lens_keeps_both(studio: Studio) -> None:
    studio.play()
    studio.upscale()
    trace, first = studio.upscaler.trace, studio.image(of="x4")
    steps = len(trace.nodes)
    studio.upscale(poisson=False)
    assert len(trace.nodes) == steps, "Poisson's equation needs no further step"
    studio.upscale(poisson=True, blend=False)
    assert studio.upscaler.trace is trace
    assert len(trace.nodes) == 2 * steps - 1, "from the same noise, in as many steps"
    assert studio.upscaler.done
    pictures = studio.enlarging.lens.pictures
    assert list(pictures)[2:] == ["×4", "×4 without Poisson blending", "×4 without latent blend"]
    assert np.array_equal(pictures["×4"], first)
    assert not np.array_equal(pictures["×4 without latent blend"], first)
    studio.upscale()
    assert len(trace.nodes) == 2 * steps - 1, "nothing has changed since"


def test_it_can_be_stepped_and_taken_back(studio: Studio) -> None:
    studio.play()
    studio.upscale()
    runner = studio.enlarging.runner
    assert runner is not None
    done = studio.image(of="x4")
    runner.restart()
    runner.step()
    assert studio.upscaler.index == 1
    assert list(studio.enlarging.lens.pictures)[-1] == "×4, step 1 of 2"
    runner.step()
    assert np.array_equal(studio.image(of="x4"), done)
    assert list(studio.enlarging.lens.pictures) == ["original", "bicubic", "×4"]


def test_another_picture_begins_another_run(studio: Studio) -> None:
    studio.step()
    studio.upscale()
    first = studio.upscaler
    studio.step()
    assert "The picture has changed since" in said(studio)
    studio.enlarging.options.start.click()
    assert studio.upscaler is not first
    assert studio.upscaler.trace is not first.trace
    assert "changed since" not in said(studio)
    assert np.array_equal(studio.upscaler.job.low, studio.sampler.image())


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("beside", "name"), [("mini", "mini"), ("dreamshaper-8", "x4")])
def test_the_upscaler_is_loaded_at_first_use(
    studio: Studio, upscaler: UpscaleModel, monkeypatch: pytest.MonkeyPatch, beside: str, name: str
) -> None:
    asked = []

    def fake(source: Any) -> Any:
        asked.append(source)
        return upscaler

    monkeypatch.setattr("hdpainter_nb.load_upscaler", fake)
    studio.enlarging.given, studio.enlarging.beside = None, beside
    studio.step()
    assert asked == []
    studio.upscale()
    studio.upscale(soft=False)
    assert asked == [name]
    assert studio.upscaler.model is upscaler


def test_an_upscaler_that_cannot_be_loaded_is_told(studio: Studio) -> None:
    studio.enlarging.given = "no/such/folder"
    studio.step()
    studio.upscale()
    failure = studio.enlarging.runner.state.failure  # type: ignore[union-attr]
    assert failure is not None
    assert "no/such/folder" in failure.message
    assert failure.message in studio.enlarging.timeline._run["failure"]
    assert studio.runner.state.status is not Status.ERROR
    studio.step()
    assert studio.sampler.index == 2, "the studio's own run goes on"


def test_one_of_the_two_models_works_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdpainter_nb.sampling.step import InpaintStep
    from hdpainter_nb.upscale.step import UpscaleStep

    monkeypatch.setenv("HDPAINTER_SYNC", "0")
    at_work, most = [], []

    def watched(advance: Any) -> Any:
        def inner(self: Any, *args: Any) -> Any:
            at_work.append(self)
            most.append(len(at_work))
            try:
                return advance(self, *args)
            finally:
                at_work.remove(self)

        return inner

    for kind in (InpaintStep, UpscaleStep):
        monkeypatch.setattr(kind, "__call__", watched(kind.__call__))
    studio = make(steps=6)
    studio.step()
    assert studio.wait(LONG)
    studio.upscale(steps=4)
    studio.play()
    assert studio.wait(LONG)
    assert studio.sampler.done
    assert studio.upscaler.done
    assert max(most) == 1


def test_cancelling_leaves_the_steps_before(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdpainter_nb.upscale.step import UpscaleStep

    monkeypatch.setenv("HDPAINTER_SYNC", "0")
    entered, gate, advance = threading.Event(), threading.Event(), UpscaleStep.__call__

    def held(self: Any, state: Any, *args: Any) -> Any:
        if state.index == 1:
            entered.set()
            assert gate.wait(LONG)
        return advance(self, state, *args)

    monkeypatch.setattr(UpscaleStep, "__call__", held)
    studio = make()
    studio.step()
    assert studio.wait(LONG)
    studio.upscale(steps=8)
    assert entered.wait(LONG)
    studio.enlarging.runner.cancel()  # type: ignore[union-attr]
    gate.set()
    assert studio.wait(LONG)
    assert studio.upscaler.index == 1
    assert list(studio.enlarging.lens.pictures)[-1] == "×4, step 1 of 8"


# --- files, keys, stills -------------------------------------------------------------------------


def test_the_large_picture_is_what_is_saved_once_it_is_there(
    studio: Studio, tmp_path: Path
) -> None:
    studio.play()
    which = studio.files.which
    assert which.layout.display == "none"
    studio.upscale()
    assert (which.layout.display, which.value) == (None, "x4")
    with Image.open(studio.save(tmp_path / "a.png")) as image:
        assert np.array_equal(np.asarray(image), studio.image(of="x4"))
    with Image.open(studio.save(tmp_path / "b.png", of="run")) as image:
        assert image.size == (256, 256)  # the picture's own
    with Image.open(studio.save(tmp_path / "c.png", of="run", size="model")) as image:
        assert image.size == (64, 64)
    studio.files.buttons[".hdp"].click()
    assert Trace.load(tmp_path / "a-red-star-x4.hdp").factor == 4
    page = studio.save(tmp_path / "a.html").read_text("utf-8")
    assert "<html" in page
    with pytest.raises(SettingsError, match="of='x2' is not one of"):
        studio.save(tmp_path / "c.png", of="x2")  # type: ignore[arg-type]
    studio.runner.back()
    assert (which.layout.display, which.value) == ("none", "run"), "that is of another picture"


def test_nothing_large_is_there_before(studio: Studio, tmp_path: Path) -> None:
    studio.step()
    with pytest.raises(SettingsError, match=r"call upscale\(\) first"):
        studio.save(tmp_path / "a.png", of="x4")
    with pytest.raises(SettingsError, match=r"call upscale\(\) first"):
        studio.image(of="x4")


def press(studio: Studio, name: str) -> None:
    """A key as the page tells of it."""
    hear(studio.shortcuts, {"type": "key", "name": name})


def test_keys_do_what_the_buttons_do(studio: Studio, tmp_path: Path) -> None:
    press(studio, "upscale")
    assert studio.upscaler is None, "there is no picture yet, and the button cannot be pressed"
    studio.step()
    press(studio, "upscale")
    assert studio.upscaler.done
    press(studio, "save")
    assert (tmp_path / "a-red-star-x4.png").exists()
    press(studio, "no such key")
    listed = {name for _, _, name in synced(studio.shortcuts, "keys")}
    assert listed == {"upscale", "save"}
    assert "(U)" in studio.result.enlarge.tooltip


def test_the_still_shows_the_lens(studio: Studio) -> None:
    studio.step()
    before = mimebundle(studio)["image/png"]
    studio.upscale()
    assert len(mimebundle(studio)["image/png"]) > len(before)


def test_closing_ends_both_workers(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "0")
    studio = make()
    studio.step()
    studio.wait(LONG)
    studio.upscale()
    studio.wait(LONG)
    runner = studio.enlarging.runner
    studio.close()
    studio.close()
    assert runner is not None
    assert runner.closed


# --- parts ---------------------------------------------------------------------------------------


def test_a_runner_in_anothers_turns_is_of_its_kind(model: Model, job: Job, make: Make) -> None:
    pending = PendingSampler(model, job.image, job.mask, 3)
    host = restarting_runner(pending)  # without threads, as in `make`
    shared = shared_turn_runner(PendingSampler(object(), job.image, job.mask, 3), host)
    assert type(shared).__name__ == "SharedTurnSyncRunner"
    assert shared.host is host


def test_the_form_serves_settings_without_presets() -> None:
    form = SettingsForm(UpscaleSettings())
    assert "All as by default" in form.summary.value
    settings = UpscaleSettings(steps=7, blend=False, guidance_scale=3.0)
    form.write(settings)
    assert form.read() == settings
    assert "without latent blend" in form.summary.value
    assert "steps" not in form.summary.value
    assert form.meaning("blend").startswith("Eq. 10")
    form.reset.click()
    assert form.read() == UpscaleSettings(steps=7)


def test_the_panel_is_small_before_its_first_use(model: Model) -> None:
    host = SimpleNamespace()
    enlarging = UpscalePanel(host, model, None, lambda: None)  # type: ignore[arg-type]
    assert enlarging.timeline is None
    assert len(enlarging.panel.children) == 3
    enlarging.close()
