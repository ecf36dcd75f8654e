"""The shipped weights: they load, and they do what the model card says, on a small sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline

from hdpainter_nb import Capture, Job, Sampler, SamplerBatch, load
from hdpainter_nb.mini import oracle, scene, triple
from hdpainter_nb.mini.training.autoencoder import psnr

MINI = Path(__file__).resolve().parents[2] / "data" / "mini"


def test_folder_is_small() -> None:
    assert sum(f.stat().st_size for f in MINI.rglob("*") if f.is_file()) < 25e6


def test_autoencoder_keeps_the_picture() -> None:
    vae = AutoencoderKL.from_pretrained(MINI / "vae").float().eval()
    images = np.stack([scene(90_000 + k).image for k in range(12)])
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = torch.cat([vae.encode(p[None]).latent_dist.mean for p in pictures])
        output = torch.cat([vae.decode(z[None]).sample for z in latents])
    assert psnr(output, pictures).mean() > 29
    assert (output - pictures).mean((0, 2, 3)).abs().max() < 0.03  # no shift of colour
    deviations = latents.std((0, 2, 3)) * vae.config.scaling_factor
    assert 0.6 < deviations.min() <= deviations.max() < 1.6


def test_oracle_knows_the_world() -> None:
    color, shape = oracle.accuracy(oracle.load(MINI / "oracle.safetensors"), count=500)
    assert color >= 0.98
    assert shape >= 0.96


def test_oracle_sees_empty_holes() -> None:
    judge = oracle.load(MINI / "oracle.safetensors")
    tasks = [triple(k) for k in range(30)]
    seen = judge.judge([t.image for t in tasks], [t.mask for t in tasks])
    right = judge.judge([t.truth for t in tasks], [t.mask for t in tasks])
    assert sum(color == oracle.NOTHING for color, _ in seen) >= 28
    wanted = [(t.color, t.shape) for t in tasks]
    assert sum(a == b for a, b in zip(right, wanted, strict=True)) >= 28


@pytest.mark.diffusers
def test_stock_pipeline_paints() -> None:
    pipe = StableDiffusionInpaintPipeline.from_pretrained(
        MINI, safety_checker=None, torch_dtype=torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    task = triple(3)
    output = pipe(
        task.prompt,
        image=torch.from_numpy(task.image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1,
        mask_image=torch.from_numpy(task.mask)[None, None].float(),
        height=256,
        width=256,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]
    assert output.shape == (256, 256, 3)
    assert output.std() > 0.02


def test_it_hears_its_prompt() -> None:
    model = load("mini")
    tasks = [triple(300 + k) for k in range(6)]  # easy ones, not among those of the model card
    jobs = [
        Job(t.image, t.mask, t.prompt, steps=6, seed=k, painta=False, rasg=False)
        for k, t in enumerate(tasks)
    ]
    batch = SamplerBatch.of([Sampler(model, job, Capture.nothing()) for job in jobs])
    batch.run()
    judge = oracle.load(MINI / "oracle.safetensors")
    seen = judge.judge(batch.images(paste=True), [t.mask for t in tasks])
    wanted = [(t.color, t.shape) for t in tasks]
    assert sum(a == b for a, b in zip(seen, wanted, strict=True)) >= 5
