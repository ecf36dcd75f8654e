"""Blended latent diffusion through the sampler: steps again, branches, traces, masks, watching."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import Capture, Job, Sampler, SamplerBatch, Trace, load
from hdpainter_nb.edits import MoveMask, ScaleWord
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.method import blending
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import BASELINES, Settings
from support import builders

FORMS = ("bld", "bld_ldm")
NOISE = {"ddim_eta": 0.5}  # so that the scheduler draws from the generator, too


@pytest.fixture(scope="module")
def ordinary(folders: dict[str, str]) -> Model:
    """A text-to-image model, of 4 channels."""
    return load(folders["sd15-4ch"], device="cpu")


def a_job(job: Job, form: Any, **settings: Any) -> Job:
    return Job(job.image, job.mask, job.prompt, preset=form, **{"steps": 6, "seed": 3, **settings})


def latents(sampler: Sampler) -> list[Any]:
    return [node.latents for node in sampler.path]


def finished(model: Model, job: Job, capture: Capture | None = None) -> Sampler:
    sampler = Sampler(model, job, capture or Capture.nothing())
    sampler.run()
    return sampler


# --- the same again ------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [NOISE, {"scheduler": "dpm++_2m_sde"}])
@pytest.mark.parametrize("form", FORMS)
def test_steps_made_again_draw_the_same_noise(
    ordinary: Model, job: Job, form: str, more: dict[str, Any]
) -> None:
    whole = finished(ordinary, a_job(job, form, steps=4, **more))
    again = whole.back(2).branch(edit=())
    again.run()
    assert [len(s.records) for s in (whole, again)] == [whole.total - 2, whole.total]
    whole.run()  # read from memory
    for mine, theirs in zip(latents(again), latents(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_trace_goes_on_as_it_began(
    ordinary: Model, job: Job, form: str, tmp_path: Path
) -> None:
    chosen = a_job(job, form, grown_masks=1, **NOISE)
    whole = finished(ordinary, chosen)
    part = Sampler(ordinary, chosen, Capture.nothing())
    part.run(2)
    part.trace.save(tmp_path / "part.hdp")
    read = Trace.load(tmp_path / "part.hdp")
    assert read.branches[0].settings == chosen.settings
    went_on = Sampler.from_trace(ordinary, read, capture=Capture.nothing())
    went_on.run()
    for mine, theirs in zip(latents(went_on), latents(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(went_on.image(), whole.image())


@pytest.mark.parametrize("form", FORMS)
def test_a_branch_may_blend_in_another_way(ordinary: Model, job: Job, form: str) -> None:
    sampler = Sampler(ordinary, a_job(job, form), Capture.nothing())
    sampler.run(2)
    other = sampler.branch(blending="stock")
    last, changed = sampler.step(), other.step()
    assert not np.array_equal(sampler.node.latents, other.node.latents)
    assert last.settings.blending == form
    assert changed.settings.blending == "stock"
    with pytest.raises(SettingsError, match="skip can change only before the first step"):
        sampler.branch(skip=0.5)
    with pytest.raises(SettingsError, match="start can change only before the first step"):
        sampler.branch(start="auto" if form == "bld" else "noise")


@pytest.mark.parametrize("form", FORMS)
def test_noise_is_fresh_in_each_step_and_follows_from_the_seed(
    ordinary: Model, job: Job, form: str
) -> None:
    """What is known is the source, noised anew: of its noise no two steps share any."""
    sampler = finished(ordinary, a_job(job, form))
    known = (sampler.cond.latent_mask[0, 0] == 0).numpy()
    assert sampler.cond.known_latents is not None
    source = sampler.cond.known_latents[0].numpy()
    noises = []
    for number, record in enumerate(sampler.records):
        # LDM's form blends what the step sees; the other one what it leaves behind.
        x = record.latents if form == "bld_ldm" else sampler.path[number + 1].latents
        noise = (x - record.alpha**0.5 * source) / (1 - record.alpha) ** 0.5
        noises.append(noise[:, known])
    noises = noises[:-1]  # the last timestep of one has hardly any noise
    for one in noises:
        assert 0.8 < one.std() < 1.2
    for one, other in pairwise(noises):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.2
    same, unlike = (finished(ordinary, a_job(job, form, seed=seed)) for seed in (3, 4))
    np.testing.assert_array_equal(same.node.latents, sampler.node.latents)
    assert not np.allclose(unlike.node.latents, sampler.node.latents)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_each_seed_alone(ordinary: Model, job: Job, form: str) -> None:
    chosen = a_job(job, form, steps=3)
    batch = SamplerBatch(ordinary, chosen, seeds=[3, 8], capture=Capture.nothing())
    batch.run()
    for sampler in batch:
        alone = finished(ordinary, chosen.replace(seed=sampler.settings.seed))
        np.testing.assert_allclose(sampler.node.latents, alone.node.latents, atol=1e-4)


def test_a_run_that_ends_unblended_ends_with_what_the_model_made(ordinary: Model, job: Job) -> None:
    """`bld` leaves noise of the last timestep in what is known; stock leaves clean latents."""
    ends = {}
    for how in ("stock", "bld"):
        sampler = finished(ordinary, a_job(job, "bld", blending=how))
        assert sampler.cond.known_latents is not None
        known = (sampler.cond.latent_mask[0, 0] == 0).numpy()
        source = sampler.cond.known_latents[0].numpy()
        ends[how] = np.abs(sampler.node.latents - source)[:, known].max()
    assert ends["stock"] == 0
    assert 0 < ends["bld"] < 0.2


# --- where a run starts --------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpm++_2m"])
def test_skipped_steps_start_from_noise_or_picture(
    ordinary: Model, job: Job, scheduler: str
) -> None:
    some = {"scheduler": scheduler, "skip": 0.5, "blending": "stock"}
    starts = {}
    for start in ("noise", "picture"):
        sampler = Sampler(ordinary, a_job(job, "bld", start=start, **some), Capture.nothing())
        assert sampler.total == 3
        seen = sampler.stepper.inputs(sampler.state).x
        starts[start] = seen
    level = sampler.stepper.scheduler.at(0)
    noise = starts["noise"]
    assert 0.9 < float(noise.std()) < 1.1
    assert 0.05 < float(level.alpha) < 0.95
    assert sampler.cond.known_latents is not None
    noised = level.alpha**0.5 * sampler.cond.known_latents + (1 - level.alpha) ** 0.5 * noise
    torch.testing.assert_close(starts["picture"], noised, atol=1e-5, rtol=1e-5)


def test_int_of_the_share_is_skipped_as_in_the_scripts() -> None:
    assert [Settings(steps=n, skip=0.25).skipped_steps for n in (50, 25, 6, 3)] == [12, 6, 1, 0]
    assert Settings(steps=50, strength=0.75).skipped_steps == 13  # diffusers' way


def test_a_picture_may_start_a_run_of_a_model_that_sees_it(model: Model, job: Job) -> None:
    sampler = Sampler(model, job.replace(start="picture", skip=0.5), Capture.nothing())
    other = Sampler(model, job.replace(strength=0.5), Capture.nothing())
    np.testing.assert_array_equal(sampler.node.latents, other.node.latents)
    assert sampler.timesteps == other.timesteps


# --- masks ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The mask is soft")
@pytest.mark.parametrize("side", [128, 200])
def test_the_mask_is_the_pixel_in_the_middle_of_each_cell(ordinary: Model, side: int) -> None:
    rng = np.random.default_rng(1)
    levels = rng.choice(np.array([0, 127, 128, 255], np.uint8), (side, side))
    job = Job(np.zeros((side, side, 3), np.uint8), levels, "a star", preset="bld")
    mask = ordinary.layout(job).mask.for_unet("nearest_centre")[0, 0].numpy()
    middle = np.floor((np.arange(16) + 0.5) * side / 16).astype(int)
    np.testing.assert_array_equal(mask, levels[np.ix_(middle, middle)] >= 128)


def test_masks_shrink_to_the_hole_in_equal_shares() -> None:
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 6, 2:10] = 1  # one position thin
    rows = [
        int(blending.shrinking_mask(mask, 2, step, 50)[0, 0].amax(1).sum()) for step in range(50)
    ]
    assert rows == [5] * 17 + [3] * 17 + [1] * 16
    assert torch.equal(blending.shrinking_mask(mask, 2, 49, 50), mask)
    assert blending.shrinking_mask(mask, 0, 0, 50) is mask
    wide = blending.grown(0.25 * mask, 1)  # what is not 0 counts
    assert torch.equal(wide[0, 0].nonzero().amin(0), torch.tensor([5, 1]))
    assert set(wide.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("form", FORMS)
def test_a_thin_hole_is_begun_with_larger_masks(ordinary: Model, job: Job, form: str) -> None:
    """The latents that are blended in each step are those outside that step's mask."""
    mask = np.zeros((128, 128), bool)
    mask[64:72] = True
    thin = Job(job.image, mask, job.prompt, preset=form, steps=4, skip=0.0, grown_masks=1, seed=2)
    grown, own = (Sampler(ordinary, thin.replace(grown_masks=n), Capture.nothing()) for n in (1, 0))
    assert int(grown.cond.latent_mask.sum()) == 16  # one row
    for sampler in (grown, own):
        sampler.step()
    if form == "bld_ldm":  # blended before the UNet sees it, so that is where it shows
        difference = np.abs(grown.records[0].latents - own.records[0].latents)
    else:
        difference = np.abs(grown.node.latents - own.node.latents)
    rows = difference.max((0, 2)) > 0
    assert rows.nonzero()[0].tolist() == [7, 9]  # beside the hole's, 8, from another source


# --- watching and changing -----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_attention_is_watched_and_asked_again(ordinary: Model, job: Job, form: str) -> None:
    sampler = Sampler(ordinary, a_job(job, form), Capture.standard(dtype="float32"))
    record = sampler.step()
    maps = record.cross["star", 16]
    assert maps.shape[-2:] == (8, 8)
    asked = sampler.attention(record, levels=(16,))  # makes the UNet's call once more
    np.testing.assert_allclose(asked.word("star", level=16), maps, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_edits_reach_the_attention_and_the_blend(ordinary: Model, job: Job, form: str) -> None:
    sampler = Sampler(ordinary, a_job(job, form), Capture.nothing())
    plain = sampler.branch()
    plain.run(2)
    louder = sampler.branch(edit=ScaleWord("star", 3.0))
    louder.run(2)
    assert not np.array_equal(louder.node.latents, plain.node.latents)
    free = sampler.branch(edit=MoveMask(np.ones((128, 128), bool), unet=True))
    free.run(1)
    plain.goto(1)
    known = (sampler.cond.latent_mask[0, 0] == 0).numpy()
    difference = np.abs(free.node.latents - plain.node.latents)
    assert difference[:, known].max() > 0.1  # nothing is put back there any more
    if form == "bld":
        assert difference[:, ~known].max() == 0
    with pytest.raises(SettingsError, match="MoveMask"):  # neither method is on
        sampler.branch(edit=MoveMask(np.ones((128, 128), bool)))


@pytest.mark.parametrize("form", FORMS)
def test_the_paper_s_methods_act_on_a_blended_run(ordinary: Model, job: Job, form: str) -> None:
    plain = finished(ordinary, a_job(job, form, steps=3))
    ours = finished(ordinary, a_job(job, form, steps=3, painta=True, rasg=True))
    assert ours.settings.method == f"{form}+painta+rasg"
    assert plain.settings.method == form
    assert all(record.score is not None for record in ours.records)
    assert not np.array_equal(ours.node.latents, plain.node.latents)


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", BASELINES)
def test_a_model_that_sees_what_is_known_is_not_blended(model: Model, job: Job, form: str) -> None:
    sentence = "of 4 input channels, to the known pixels, and '.*' sees those by itself: use blend"
    with pytest.raises(SettingsError, match=sentence):
        Sampler(model, a_job(job, form))
    sampler = Sampler(model, job.replace(rasg=False), Capture.nothing())
    with pytest.raises(SettingsError, match=sentence):
        sampler.branch(blending=BASELINES[form]["blending"])
    bare = Model.from_unet(builders.make_unet().eval())
    settings = sampler.settings.replace(blending="bld")
    with pytest.raises(SettingsError, match=sentence):
        Sampler.from_cond(bare, sampler.cond, sampler.state, settings)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"blending": "blend"}, "blending must be one of 'stock', 'bld', 'bld_ldm', not 'blend'"),
        ({"start": "image"}, "start must be one of 'auto', 'noise', 'picture', not 'image'"),
        ({"skip": 1.5}, "skip must be a number from 0 to 1"),
        ({"skip": 1.0}, "skip=1.0 leaves no step"),
        ({"skip": 0.25, "strength": 0.5}, "strength=0.5 and skip=0.25 both leave out first steps"),
        ({"grown_masks": 2}, "grown_masks=2 belongs to blended latent diffusion: set blending="),
        ({"grown_masks": -1, "blending": "bld"}, "grown_masks must be a whole number from 0"),
        ({"grid": "leading_1"}, "grid must be one of 'official', 'leading', 'leading_0'"),
    ],
)
def test_settings_that_cannot_be_say_what_is_right(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Settings().replace(**changes)


def test_every_baseline_is_one_of_settings_and_of_jobs(job: Job) -> None:
    for name, values in BASELINES.items():
        settings = Settings.preset(name)
        assert {key: getattr(settings, key) for key in values} == dict(values)
        assert a_job(job, name, steps=50, seed=1).settings == settings
    with pytest.raises(SettingsError, match="'bld', 'bld_sdxl', 'bld_ldm'"):
        Settings.preset("bld2")  # type: ignore[arg-type]
