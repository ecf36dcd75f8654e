"""With PAIntA and RASG off, ours is the stock pipeline to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

from hdpainter_nb import Capture, Job, Sampler, load
from hdpainter_nb.models.model import Model
from support.stock_runs import latents_of, run_stock

pytestmark = pytest.mark.diffusers
SCHEDULERS = ("sd15", "sd2", "sd2-v", "sd15-4ch")
PLAIN: dict[str, Any] = {"preset": "community", "painta": False, "rasg": False, "steps": 7}


def plain_job(job: Job, **more: Any) -> Job:
    return Job(
        job.image, job.mask, job.prompt, **{**PLAIN, "positive_suffix": "", "seed": 3, **more}
    )


def stock(folder: str, job: Job, scale: float = 7.5) -> tuple[list[torch.Tensor], np.ndarray]:
    """Every latent that the stock pipeline passes through, and its picture."""
    pipe = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    pipe.scheduler = DDIMScheduler.from_config(
        pipe.scheduler.config, steps_offset=1, clip_sample=False
    )
    latents, images = run_stock(pipe, job, guidance_scale=scale, output_type="np")
    return latents, (images[0] * 255).round().astype(np.uint8)


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_bit_equal_while_watched(kind: str, folders: dict[str, str], job: Job) -> None:
    job = plain_job(job, negative_prompt="blurry")
    theirs, picture = stock(folders[kind], job)
    sampler = Sampler(load(folders[kind]), job, Capture.everything())
    sampler.run()
    assert same(latents_of(sampler), theirs)
    assert np.array_equal(sampler.image(), picture)
    assert sampler.records[0].cross["star", 16].shape == (8, 8)  # it was watched indeed


def test_without_guidance_only_one_half_runs(folders: dict[str, str], job: Job) -> None:
    job = plain_job(job, guidance_scale=1.0, negative_prompt="blurry")
    theirs, _ = stock(folders["sd15"], job, scale=1.0)
    sampler = Sampler(load(folders["sd15"]), job)
    sampler.run()
    assert same(latents_of(sampler), theirs)


def test_bit_equal_when_resumed_from_the_middle(folders: dict[str, str], job: Job) -> None:
    job = plain_job(job, negative_prompt="blurry")
    theirs, _ = stock(folders["sd15"], job)
    sampler = Sampler(load(folders["sd15"]), job)
    sampler.run(5)
    other = sampler.back(3).branch(vanilla_scale=7.0)  # has no effect, so nothing is reused
    other.run()
    assert same(latents_of(other), theirs)


def test_bit_equal_when_two_samplers_alternate(
    model: Model, folders: dict[str, str], job: Job
) -> None:
    job = plain_job(job, negative_prompt="blurry")
    theirs, _ = stock(folders["sd15"], job)
    plain = Sampler(model, job)
    both = Sampler(model, job.replace(painta=True, rasg=True))
    for _ in range(plain.total):
        plain.step()
        both.step()
    assert same(latents_of(plain), theirs)
    assert not same(latents_of(both), theirs)
