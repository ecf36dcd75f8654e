"""The studio: runs begin when the inputs have changed, and nothing that was made gets lost."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from hdpainter_nb import Sampler, Trace
from hdpainter_nb.errors import ImageError, MaskError, SettingsError
from hdpainter_nb.images.compositing import grown
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import PRESETS, Settings
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.restarting import (
    PendingSampler,
    RestartingRunner,
    RestartingSyncRunner,
    restarting_runner,
)
from hdpainter_widgets.runner.runner import SyncRunner
from hdpainter_widgets.runner.state import Status
from hdpainter_widgets.samples import open_sample, sample_names
from hdpainter_widgets.studio import files
from hdpainter_widgets.studio.inputs import METHODS, Inputs, changes, forget_upload, uploaded
from hdpainter_widgets.studio.settings_form import SettingsForm, field_docs
from hdpainter_widgets.studio.studio import Studio
from support.page_side import hear, mimebundle

pytestmark = pytest.mark.colab
LONG = 60.0
WORDS = {"positive_suffix": "", "negative_prompt": ""}
Make = Callable[..., Studio]


@pytest.fixture
def make(make_studio: Make, job: Job) -> Make:
    """Studios on a picture of 128 px."""

    def make(image: Any = job.image, mask: Any = job.mask, **options: Any) -> Studio:
        return make_studio(image, mask, **{"steps": 4, "rasg": False, **options})

    return make


@pytest.fixture
def studio(make: Make) -> Studio:
    return make()


def said(studio: Studio) -> str:
    return str(studio.page.saying.value)


def shown(widget: Any) -> bool:
    return widget.layout.display != "none"


def retype(studio: Studio, prompt: str) -> None:
    studio.inputs.prompt.value = prompt


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_is_prepared_at_once_and_stepped_when_asked(studio: Studio) -> None:
    assert isinstance(studio.sampler, Sampler)
    assert studio.sampler.index == 0
    assert "press ▶" in said(studio)
    assert not shown(studio.page.renew)
    studio.step(2)
    assert studio.sampler.index == 2
    assert len(studio.trace) == 2
    assert "The run on display" in said(studio)
    studio.play()
    assert studio.sampler.done
    assert "finished" in studio.result.caption.value


def test_every_step_that_is_cheap_to_decode_is_decoded(studio: Studio) -> None:
    studio.step()
    assert studio.trace.pictures.keys() == {studio.sampler.node.id}
    studio.decoding.cost = 1e9
    studio.step(2)
    path = [node.id for node in studio.trace.path()]
    assert set(path) - studio.trace.pictures.keys() == {path[0], path[2]}, "the last one, anyway"


def test_a_run_is_shown_in_pictures_or_in_previews_and_filled_in_the_pause(studio: Studio) -> None:
    hear(studio.viewers.heatmaps, {"type": "want"})
    studio.step(2)
    studio.runner.after_step = None
    studio.step(2)
    studio.runner.wait()
    nodes = [node.id for node in studio.trace.path() if node.record is not None]
    assert studio.trace.pictures.keys() == set(nodes), "a page is there to see them"

    decoding = studio.decoding
    pace = studio.runner.state.seconds_per_step
    assert pace is not None
    decoding.cost = 0.8 * pace
    assert not decoding.cheap(), "more than half of a step"
    decoding.cost = 0.1 * pace
    assert not decoding.cheap(), "what began with previews goes on with them"
    decoding.fill(lambda: None)
    assert decoding.cheap(), "after the pause"
    decoding.cost = 0.8 * pace
    assert decoding.cheap(), "what began with pictures goes on with them"
    decoding.cost = 1.1 * pace
    assert not decoding.cheap()


def test_a_changed_input_makes_the_run_stale_and_a_step_begins_another(studio: Studio) -> None:
    studio.step(2)
    first = studio.trace
    retype(studio, "a blue circle")
    mask = studio.painter.mask.copy()
    mask[:40] = True
    studio.painter.mask = mask
    studio.inputs.form.fields["seed"].value = 9
    assert "<b>Changed:</b> mask, prompt, seed. Press ▶" in said(studio)
    assert shown(studio.page.renew)
    assert studio.trace is first, "it stays on display"
    studio.step()
    assert studio.trace is not first
    assert studio.sampler.index == 1
    assert studio.sampler.job.prompt == "a blue circle"
    assert studio.sampler.settings.seed == 9
    assert studio.sampler.job.mask[0].all()
    assert not shown(studio.page.renew)
    assert studio.runs == (first, studio.trace)
    studio.step()
    assert studio.sampler.index == 2, "nothing has changed since"


def test_a_finished_run_gives_way_to_a_new_one(studio: Studio) -> None:
    timeline = studio.viewers.timeline
    studio.play()
    before = studio.result.after.value
    assert not timeline.renews
    for number, prompt in enumerate(("a blue circle", "a red star"), 2):
        retype(studio, prompt)
        assert timeline.renews, "the page offers to play"
        if number == 2:
            studio.page.renew.click()
        else:
            hear(timeline, {"type": "command", "name": "play"})
        assert studio.sampler.done
        assert len(studio.runs) == number
        assert not timeline.renews
        assert studio.result.after.value != before or number == 3


def test_a_run_that_is_played_again_shows_its_result_again(studio: Studio) -> None:
    studio.play()
    picture = studio.result.after.value
    studio.runner.restart()
    assert studio.result.picture is None
    studio.play()
    assert studio.result.picture is not None
    assert studio.result.after.value == picture


def test_what_is_changed_back_is_not_stale(studio: Studio) -> None:
    studio.step()
    run = studio.sampler
    retype(studio, "a blue circle")
    studio.inputs.method.value = "RASG"
    assert shown(studio.page.undo)
    studio.page.undo.click()
    assert "Changed" not in said(studio)
    assert studio.inputs.prompt.value == "a red star"
    assert studio.inputs.method.value == "PAIntA"
    studio.step()
    assert studio.sampler is run
    assert run.index == 2


def test_branching_leaves_the_inputs_alone(studio: Studio) -> None:
    studio.step(2)
    studio.runner.branch(painta=False)
    assert "Changed" not in said(studio)
    studio.step()
    assert studio.sampler.settings.painta is False
    assert [len(studio.trace.path(branch)) for branch in (0, 1)] == [3, 4]


def test_earlier_runs_are_offered_for_comparison(studio: Studio) -> None:
    studio.step(2)
    first = studio.trace
    retype(studio, "a blue circle")
    studio.step()
    beside = studio.viewers.beside
    assert list(beside.options) == ["this run's branches", "run 1: a red star, seed 1"]
    beside.value = beside.options[1]
    assert studio.viewers.compare._traces == [first, studio.trace]
    assert studio.viewers.comparison.children[1] is studio.viewers.compare
    retype(studio, "a star")
    studio.step()
    assert len(beside.options) == 3
    assert beside.value == beside.options[1], "what was chosen stays chosen"
    assert studio.viewers.compare._traces == [first, studio.trace]


def test_viewers_look_at_the_runs_step(studio: Studio) -> None:
    viewers = studio.viewers
    studio.step(3)
    assert viewers.timeline.trace is viewers.heatmaps.trace is studio.trace
    assert viewers.timeline.step == viewers.heatmaps.step == viewers.histogram.step == 2
    assert viewers.heatmaps.words == ["red", "star"]
    linked = {(link.source[0], *link.target) for link in viewers._links}
    for viewer in (viewers.heatmaps, viewers.histogram):
        assert {(viewers.timeline, viewer, name) for name in ("step", "branch")} <= linked


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_impossible_job_is_refused_and_loses_nothing(studio: Studio) -> None:
    studio.step(2)
    run = studio.sampler
    studio.painter.clear()
    assert "Paint where something should appear" in said(studio)
    assert "role='alert'" not in said(studio), "nothing was asked for yet"
    assert not shown(studio.page.renew)
    studio.step()
    assert studio.sampler is run
    assert run.index == 2
    assert isinstance(studio.runner.state.failure.error, MaskError)
    assert not shown(studio.page.alert), "it is said already"
    with pytest.raises(MaskError):
        studio.job()
    studio.page.undo.click()
    studio.step()
    assert run.index == 3
    assert studio.runner.state.failure is None


def test_begins_without_a_mask(make: Make) -> None:
    studio = make(mask=None)
    assert isinstance(studio.sampler, PendingSampler)
    assert len(studio.trace.nodes) == 0
    assert "Paint where something should appear" in said(studio)
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True
    studio.painter.mask = mask
    assert "press ▶" in said(studio)
    studio.step()
    assert studio.sampler.index == 1


def test_an_empty_prompt_is_possible_and_remarked_on(make: Make) -> None:
    studio = make(prompt="")
    studio.step()
    assert studio.sampler.index == 1
    assert "has no word to match" in studio.page.remarks.value
    assert shown(studio.page.remarks)


def test_a_number_that_is_none_is_named(studio: Studio) -> None:
    studio.inputs.form.fields["guidance_scale"].value = "much"
    assert "guidance scale: &#x27;much&#x27; is not a number" in said(studio)
    studio.inputs.form.fields["guidance_scale"].value = "1e9"
    assert "guidance_scale must be a number from 0 to 100" in said(studio)
    studio.inputs.form.fields["guidance_scale"].value = ""
    assert studio.job().settings.guidance_scale is None


def test_a_failing_step_keeps_the_steps_before(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.step(2)

    def fail(self: Any) -> Any:
        raise RuntimeError("the device <0> is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Sampler, "step", fail)
        studio.play()
    assert studio.sampler.index == 2
    assert studio.runner.state.status is Status.ERROR
    assert "the device &lt;0&gt; is gone" in studio.page.alert.value
    assert "The steps before are kept. Step again" in studio.page.alert.value
    assert shown(studio.page.alert)
    with pytest.raises(RuntimeError, match="is gone"):
        studio.wait()
    studio.step()
    assert studio.sampler.index == 3
    assert not shown(studio.page.alert)


def test_what_ran_out_of_memory_is_let_go(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    class Large:
        pass

    alive: list[Any] = []

    def fail(self: Any) -> Any:
        import weakref

        tensor = Large()
        alive.append(weakref.ref(tensor))
        raise MemoryError

    monkeypatch.setattr(Sampler, "step", fail)
    studio.step()
    assert studio.runner.state.failure is not None
    assert "Memory ran out: make the picture smaller" in studio.page.alert.value
    assert alive[0]() is None, "as long as it is shown, the error would hold what filled the memory"


def test_a_model_that_cannot_prepare_is_no_end(
    make: Make, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, job: Any) -> Any:
        raise RuntimeError("the tokenizer is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Model, "prepare", fail)
        studio = make()
    assert isinstance(studio.sampler, PendingSampler)
    assert "the tokenizer is gone" in studio.page.alert.value
    studio.step()
    assert studio.sampler.index == 1
    assert not shown(studio.page.alert)


# --- saving --------------------------------------------------------------------------------------


def test_saves_by_suffix(studio: Studio, tmp_path: Path) -> None:
    studio.step(2)
    with Image.open(studio.save(tmp_path / "deep" / "a.png")) as image:
        assert np.array_equal(np.asarray(image), studio.image())
    assert len(Trace.load(studio.save(tmp_path / "a.hdp"))) == 2
    page = studio.save(str(tmp_path / "a.html")).read_text("utf-8")
    assert "<html" in page
    with pytest.raises(ValueError, match=r"'a\.jpg' should end in one of \.png, \.hdp, \.html"):
        studio.save(tmp_path / "a.jpg")


def test_the_pasted_picture_keeps_what_is_far_from_the_hole(studio: Studio) -> None:
    studio.play()
    job, after = studio.job(), studio.image()
    far = ~grown(job.mask)
    assert far.any()
    assert np.array_equal(after[far], job.image[far])
    assert not np.array_equal(studio.image(paste=False)[far], job.image[far])


def test_buttons_save_and_link(studio: Studio, tmp_path: Path) -> None:
    studio.step()
    for number, suffix in enumerate((".png", ".png", ".hdp"), 1):
        studio.files.buttons[suffix].click()
        name = "a-red-star-2.png" if number == 2 else f"a-red-star{suffix}"
        assert f"download='{name}'" in studio.files.told.value
        assert str(tmp_path / name) in studio.files.told.value
        coded = studio.files.told.value.split("base64,")[1].split("'")[0]
        assert base64.b64decode(coded) == (tmp_path / name).read_bytes()


def test_large_files_are_not_put_into_links(tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "a.hdp"
    file.write_bytes(b"x" * 1000)
    monkeypatch.setattr(files, "_LARGEST_LINK", 999)
    assert "href" not in files.download(file)
    assert str(file) in files.download(file)


def test_saving_nothing_says_so_and_stops_no_run(studio: Studio, tmp_path: Path) -> None:
    studio.files.buttons[".png"].click()
    assert "nothing to save before the first step" in studio.files.told.value
    with pytest.raises(SettingsError, match="nothing to save"):
        studio.save(tmp_path / "a.png")
    with pytest.raises(SettingsError, match="No step is made yet"):
        studio.image()
    assert studio.runner.state.status is Status.IDLE
    studio.step()
    (tmp_path / "folder.hdp").mkdir()
    with pytest.raises(OSError, match="folder"):
        studio.save(tmp_path / "folder.hdp")
    assert studio.runner.state.status is Status.PAUSED


def test_files_are_named_after_the_prompt_or_by_a_person(studio: Studio) -> None:
    assert studio.files.stem == "a-red-star"
    retype(studio, "Ein blauer Kreis / <b>!")
    assert studio.files.stem == "ein-blauer-kreis-b"
    studio.files.name.value = "../mine"
    retype(studio, "a star")
    assert studio.files.stem == "-mine"
    studio.files.name.value = ""
    studio.step()
    assert studio.files.stem == "a-star"
    retype(studio, "a blue circle")
    assert studio.files.stem == "a-star", "the run on display is what would be saved"
    studio.step()
    assert studio.files.stem == "a-blue-circle"
    assert files.stem_of("…") == "run"


# --- pictures ------------------------------------------------------------------------------------


def as_file(picture: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_uploads_of_both_ipywidgets() -> None:
    seven = {"a.png": {"metadata": {"name": "a.png", "size": 3}, "content": b"abc"}}
    eight = ({"name": "a.png", "type": "image/png", "size": 3, "content": memoryview(b"abc")},)
    assert uploaded(seven) == uploaded(eight) == [("a.png", b"abc")]
    assert uploaded({}) == uploaded(()) == []


def upload(studio: Studio, name: str, content: bytes) -> None:
    """A file as the browser sends it, for the ipywidgets that is installed."""
    control = studio.inputs.upload
    if ipywidgets.__version__.startswith("7"):
        value: Any = {name: {"metadata": {"name": name}, "content": content}}
    else:
        when = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
        file = {"name": name, "type": "", "size": len(content), "last_modified": when}
        value = ({**file, "content": memoryview(content)},)
    control.set_trait("value", value)


def test_an_opened_picture_comes_to_be_painted_on(studio: Studio) -> None:
    studio.step()
    picture = np.full((80, 100, 3), 90, np.uint8)
    upload(studio, "mine.png", as_file(picture))
    assert np.array_equal(studio.painter.image, picture)
    assert not studio.inputs.upload.value, "the same file can be opened again"
    assert "Paint where something should appear" in said(studio)
    upload(studio, "<notes>.txt", b"no picture")
    assert "&lt;notes&gt;.txt: The picture cannot be read" in said(studio)
    assert np.array_equal(studio.painter.image, picture)


def test_what_takes_a_while_is_said_while_it_does(studio: Studio) -> None:
    told: list[str] = []
    studio.page.saying.observe(lambda change: told.append(change["new"]), "value")
    upload(studio, "<mine>.png", as_file(np.full((96, 128, 3), 90, np.uint8)))
    assert "Opening &lt;mine&gt;.png" in told[0]
    assert "Paint where something should appear" in said(studio)
    assert "role='alert'" not in said(studio)
    told.clear()
    mask = np.zeros((96, 128), bool)
    mask[32:64, 32:64] = True
    studio.painter.mask = mask
    studio.step()
    assert any("Preparing the run" in text for text in told)
    assert "hdp-busy" not in said(studio)
    upload(studio, "notes.txt", b"no picture")
    assert "hdp-busy" not in said(studio)


def test_forgetting_leaves_an_upload_empty() -> None:
    control = ipywidgets.FileUpload()
    forget_upload(control)
    assert uploaded(control.value) == []


def test_samples_bring_a_hole(studio: Studio) -> None:
    picture = studio.inputs.picture
    assert picture.options[1:] == tuple(sample_names())
    picture.value = "scene: hills"
    assert studio.painter.image.shape == (256, 256, 3)
    assert 0.05 < studio.painter.mask.mean() < 0.3
    picture.value = "HD-Painter's sample 1"
    image, mask = open_sample("HD-Painter's sample 1")
    assert np.array_equal(studio.painter.image, image)
    assert np.array_equal(studio.painter.mask, mask)
    picture.value = picture.options[0]
    assert studio.painter.image.shape == (128, 128, 3)
    assert studio.painter.mask.mean() == 0.25, "the given mask is back"
    elsewhere = open_sample("HD-Painter's sample 1", hole=(0, 0, 50, 50))[1]
    assert np.nonzero(elsewhere)[0].max() < elsewhere.shape[0] / 2
    with pytest.raises(ValueError, match="sample='nothing' is not one of 'scene: hills'"):
        open_sample("nothing")


def test_without_a_picture_a_sample_is_there(make: Make) -> None:
    studio = make(image=None, mask=None)
    assert studio.inputs.picture.value == "scene: hills"
    assert studio.job().mask.any()


# --- settings ------------------------------------------------------------------------------------


def test_every_setting_has_a_control_and_a_meaning() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    form = SettingsForm(Settings())
    assert set(form.fields) == names
    assert names <= set(field_docs(Settings))
    for name in names:
        meaning = field_docs(Settings)[name]
        assert meaning.brief.endswith("."), name
        assert meaning.full.startswith((f"{meaning.number}. {meaning.brief}", meaning.brief))
        said = form._rows[name].children[1].value
        assert meaning.number in said
    numbers = [field_docs(Settings)[name].number for name in form.fields]
    assert [n for n in numbers if n] == [str(n) for n in range(1, 21)]


def test_meanings_end_at_the_first_full_stop_that_ends_a_sentence() -> None:
    found = field_docs(Settings)
    assert found["painta"].brief == "Prompt-Aware Introverted Attention (sec. 3.3, eq. 5)."
    assert (found["sigma"].number, found["sigma"].brief) == ("1", "Alphas in sigma_t.")
    assert "10 to 25 times smaller" in found["sigma"].full


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings.preset("community", negative_prompt="", positive_suffix="fine", long_side=192),
        Settings.preset("paper", guidance_scale=3.5, painta=False, eta=0.25, seed=2**40),
    ],
)
def test_the_form_gives_back_what_it_is_shown(settings: Settings) -> None:
    form = SettingsForm(Settings())
    form.write(settings)
    assert form.read() == settings


def test_presets_change_what_they_govern_and_nothing_else() -> None:
    form = SettingsForm(Settings(steps=7, seed=5, rasg=False))
    heard: list[Settings] = []
    form._on_change = lambda: heard.append(form.read())
    form.preset.value = "paper"
    assert heard == [Settings.preset("paper", steps=7, seed=5, rasg=False)], "told once"
    assert "without RASG" in form.summary.value
    assert "sigma" not in form.summary.value
    form.fields["eta"].value = 0.5
    assert set(form.other()) == {"rasg", "eta"}
    assert "hdp-other" in form._rows["eta"]._dom_classes
    form.reset.click()
    assert form.read() == Settings.preset("paper", steps=7, seed=5)
    assert "hdp-other" not in form._rows["eta"]._dom_classes
    assert "All as in preset" in form.summary.value
    assert set(form.preset.options) == set(PRESETS)


def test_a_field_of_a_new_kind_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    form = SettingsForm(Settings())
    form._kinds["seed"] = complex
    with pytest.raises(TypeError, match="There is no control for seed"):
        form._control("seed", None)


def test_method_and_form_agree(studio: Studio) -> None:
    inputs = studio.inputs
    for name, (painta, rasg) in METHODS.items():
        inputs.method.value = name
        assert (studio.job().settings.painta, studio.job().settings.rasg) == (painta, rasg)
    inputs.form.fields["painta"].value = True
    assert inputs.method.value == "PAIntA"
    inputs.form.preset.value = "community"
    assert studio.painter.preset == "community"
    inputs.form.fields["long_side"].value = "192"
    assert studio.painter.long_side == 192
    before = inputs.form.fields["seed"].value
    inputs.dice.click()
    assert inputs.form.fields["seed"].value != before or studio.job().settings.seed == before


def test_changes_are_named(job: Job) -> None:
    assert changes(job, job.replace()) == []
    other = Job(job.image[::-1], ~job.mask, "a star", **job.settings.to_dict())
    found = changes(job, other.replace(guidance_scale=2.0, painta=False))
    assert found[:3] == ["picture", "mask", "prompt"]
    assert sorted(found[3:]) == ["PAIntA", "guidance scale"]


def test_options_are_checked(make: Make, model: Model, job: Job) -> None:
    with pytest.raises(SettingsError, match="There is no setting 'step'"):
        make(step=3)
    with pytest.raises(ImageError):
        make(image=np.zeros((8, 8, 3), np.uint8), mask=None)
    with pytest.raises(TypeError, match=r"restarting_runner, not SyncRunner"):
        make(runner=SyncRunner(PendingSampler(model, job.image, job.mask, 3)))


# --- as a value, and its end ---------------------------------------------------------------------


def test_mimebundle_has_a_picture_of_the_present_state(studio: Studio) -> None:
    def picture() -> bytes:
        data = mimebundle(studio)
        assert "application/vnd.jupyter.widget-view+json" in data
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as image:
            return image.convert("RGB").tobytes()

    before = picture()
    studio.step()
    assert picture() != before


def test_a_given_runner_is_left_running(make: Make, model: Model, job: Job) -> None:
    runner = restarting_runner(PendingSampler(model, job.image, job.mask, 3))
    assert isinstance(runner, RestartingSyncRunner)
    studio = make(runner=runner)
    studio.step()
    studio.close()
    studio.close()
    assert not runner.closed
    assert runner.renew is None
    runner.step()
    assert runner.state.index == 2


def test_two_on_one_model_take_turns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "0")
    first, second = make(steps=6), make(prompt="a blue circle", steps=6)
    assert isinstance(first.runner, RestartingRunner)
    order: list[Studio] = []
    for studio in (first, second):
        studio.runner.on_record(lambda _record, studio=studio: order.append(studio))
        studio.play()
    for studio in (first, second):
        assert studio.wait(LONG)
        assert studio.sampler.done
        assert len(studio.trace) == studio.sampler.total
    assert first.runner.turns is second.runner.turns
    assert first.trace is not second.trace


def test_pausing_while_a_run_is_prepared_takes_no_step(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "0")
    studio = make()
    studio.wait(LONG)
    entered, gate = threading.Event(), threading.Event()
    prepare = Model.prepare

    def held(self: Any, job: Any) -> Any:
        entered.set()
        assert gate.wait(LONG)
        return prepare(self, job)

    monkeypatch.setattr(Model, "prepare", held)
    retype(studio, "a blue circle")
    studio.play()
    assert entered.wait(LONG)
    studio.pause()
    studio.step()
    gate.set()
    assert studio.wait(LONG)
    assert studio.sampler.job.prompt == "a blue circle"
    assert studio.sampler.index <= 2, "one step was asked for, and one may have slipped through"


def test_the_draft_takes_no_step(model: Model, job: Job) -> None:
    draft = PendingSampler(model, job.image, job.mask, 3)
    runner: BaseRunner = RestartingSyncRunner(draft)
    runner.step()
    assert runner.state.failure is not None
    assert "No run has begun yet" in runner.state.failure.message
    runner.branch(painta=False)
    assert "press ▶" in runner.state.failure.message
    runner.restart()
    assert runner.state.failure is None


def test_inputs_alone(model: Model, job: Job) -> None:
    heard: list[Any] = []
    inputs = Inputs(
        model, job.image, job.mask, "a star", Settings(), "official", lambda: heard.append(1)
    )
    assert len(heard) == 1
    inputs.show(job)
    assert len(heard) == 2, "told once of many changes"
    assert inputs.job is not None
    assert changes(job, inputs.job) == []
