"""A UNet that is told its mask's precision: noise in the hole alone, the object's mask said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import Job, Model, Sampler, load, views
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.models.schedulers import Guided
from hdpainter_nb.sampling.batch import SamplerBatch
from hdpainter_nb.trace.trace import Trace
from support.builders import make_folder, make_unet


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(str(make_folder(tmp_path_factory.mktemp("told"), "smartbrush")), device="cpu")


def _job(job: Job, **settings: Any) -> Job:
    return job.replace(**{"steps": 4, "painta": False, "rasg": False, **settings})


def test_steps_are_those_of_the_recipe(told: Model, job: Job) -> None:
    """Against DDIM written out: x_t = x m + x_0 (1 - m), the precision as the class label."""
    sampler = Sampler(told, _job(job, mask_precision=1))
    cond, scheduler = sampler.cond, sampler.stepper.scheduler
    known, hole = cond.known_latents, cond.latent_mask
    assert known is not None
    x = sampler.state.latents
    for index, record in enumerate(sampler):
        x = x * hole + known * (1 - hole)
        np.testing.assert_array_equal(record.latents, x[0].numpy())
        stacked = torch.cat([x, hole, cond.masked_image_latents], 1).expand(2, -1, -1, -1)
        level, labels = scheduler.at(index), torch.tensor([1, 1])
        with torch.no_grad():
            output = told.unet(stacked, level.timestep, cond.context, class_labels=labels).sample
        uncond, text = output[:1], output[1:]
        mixed = uncond[:, :4] + sampler.stepper.guidance_scale * (text - uncond)[:, :4]
        guided = Guided.of(mixed, x, level, told.prediction_type)
        x = scheduler.step(replace(sampler.state, index=index, latents=x), guided, None).latents
        assert record.object_mask is not None
        expected = text[0, 4].sigmoid().numpy()
        np.testing.assert_allclose(record.object_mask, expected, atol=1e-6)
    np.testing.assert_allclose(
        sampler.state.latents.numpy(), (x * hole + known * (1 - hole)).numpy(), atol=1e-4
    )


@pytest.mark.parametrize("scheduler", ["euler_a", "dpm++_2m"])
def test_the_known_region_is_clean_under_every_scheduler(
    told: Model, job: Job, scheduler: str
) -> None:
    sampler = Sampler(told, _job(job, scheduler=scheduler))
    known, outside = sampler.cond.known_latents, sampler.cond.latent_mask[0, 0] == 0
    assert known is not None
    for record in sampler:
        for latents in (record.latents, record.x0_latents):
            where = outside.numpy()
            np.testing.assert_allclose(latents[:, where], known[0].numpy()[:, where], atol=1e-6)


def test_the_precision_changes_the_picture_and_none_means_the_coarsest(
    told: Model, job: Job
) -> None:
    results = {}
    for precision in (None, 0, 2):
        sampler = Sampler(told, _job(job, mask_precision=precision, steps=2))
        sampler.run()
        results[precision] = sampler.state.latents
    torch.testing.assert_close(results[None], results[2], rtol=0, atol=0)
    assert not torch.equal(results[0], results[2])


def test_a_branch_may_change_it(told: Model, job: Job) -> None:
    sampler = Sampler(told, _job(job))
    sampler.run(2)
    other = sampler.branch(mask_precision=0)
    assert (sampler.cond.precision, other.cond.precision) == (2, 0)
    other.step()


def test_painta_rasg_and_batches_work_on_it(told: Model, job: Job) -> None:
    alone = Sampler(told, _job(job, painta=True, rasg=True, steps=2))
    alone.run()
    batch = SamplerBatch(told, _job(job, painta=True, rasg=True, steps=2), seeds=2)
    batch.run()
    torch.testing.assert_close(batch[0].state.latents, alone.state.latents, rtol=1e-3, atol=1e-3)
    mine, theirs = alone.records[-1].object_mask, batch[0].records[-1].object_mask
    assert mine is not None
    np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_what_it_costs_is_counted(told: Model, model: Model, job: Job) -> None:
    mine, plain = (Sampler(one, _job(job)).estimate() for one in (told, model))
    assert mine.flops == pytest.approx(plain.flops, rel=0.02)


def test_other_models_take_no_precision(model: Model, job: Job) -> None:
    with pytest.raises(SettingsError, match="told how exact the mask is"):
        Sampler(model, job.replace(mask_precision=0))
    sampler = Sampler(model, _job(job))
    assert model.mask_precisions == 0
    assert sampler.step().object_mask is None


@pytest.mark.parametrize("wrong", [3, 999])
def test_a_precision_that_the_model_lacks(told: Model, job: Job, wrong: int) -> None:
    with pytest.raises(SettingsError, match=r"0 .* to 2 .*not " + str(wrong)):
        Sampler(told, job.replace(mask_precision=wrong))


@pytest.mark.parametrize("wrong", [-1, 1000, 1.5, True, "box"])
def test_a_precision_that_is_none(job: Job, wrong: Any) -> None:
    with pytest.raises(SettingsError, match="mask_precision"):
        job.replace(mask_precision=wrong)


@pytest.mark.parametrize("odd", [{"out_channels": 5}, {"num_class_embeds": 7}, {"out_channels": 8}])
def test_outputs_that_mean_nothing_here_are_refused(tmp_path: Path, odd: dict[str, int]) -> None:
    folder = make_folder(tmp_path, "sd15")
    make_unet(**odd).save_pretrained(folder / "unet")
    with pytest.raises(ModelError, match=r"output channels .*SmartBrush"):
        load(str(folder), device="cpu")


def test_the_objects_mask_is_saved_and_read(told: Model, job: Job, tmp_path: Path) -> None:
    sampler = Sampler(told, _job(job, steps=2), Capture.nothing())
    sampler.run()
    sampler.trace.save(tmp_path / "run.hdp")
    for mine, theirs in zip(
        sampler.records, Trace.load(tmp_path / "run.hdp").records(), strict=True
    ):
        assert mine.object_mask is not None
        np.testing.assert_allclose(mine.object_mask, theirs.object_mask, atol=1e-3)
    again = Sampler.from_trace(told, Trace.load(tmp_path / "run.hdp"))
    assert again.done


def test_the_objects_mask_is_drawn(told: Model, job: Job, model: Model) -> None:
    sampler = Sampler(told, _job(job, steps=2))
    record = sampler.run()
    sheet = views.object_mask(record, mask=job.mask)
    assert sheet.size[0] > 200
    with pytest.raises(ValueError, match="says no mask of the object"):
        views.object_mask(Sampler(model, _job(job)).step())
