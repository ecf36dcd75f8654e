"""Parity of the upscaler with the official code, on numbers recorded from it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.method import ddim
from hdpainter_nb.method.blending import soft_mask
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import predict
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.upscale.model import UpscaleConditioning, UpscaleModel
from hdpainter_nb.upscale.upscaler import Upscaler

FOLDER = Path(__file__).parents[1] / "golden"


@functools.cache
def model() -> UpscaleModel:
    unet = UNet2DConditionModel.from_pretrained(FOLDER / "sr_unet").float().eval()
    return UpscaleModel.from_unet(unet)


@functools.cache
def recorded() -> tuple[dict[str, torch.Tensor], UpscaleSettings, list[int]]:
    facts = json.loads((FOLDER / "sr_256.json").read_text())
    settings = UpscaleSettings(
        steps=len(facts["timesteps"]),
        guidance_scale=facts["guidance_scale"],
        noise_level=facts["noise_level"],
    )
    return load_file(FOLDER / "sr_256.safetensors"), settings, facts["timesteps"]


def upscaler(index: int = 0) -> Upscaler:
    d, settings, _ = recorded()
    soft = torch.from_numpy(soft_mask(d["mask"][..., 0].numpy() > 0, (64, 64)))[None, None]
    cond = UpscaleConditioning(
        context=d["context"],
        low=d["lr_cond"],
        noise_level=settings.noise_level,
        known=d["hr_z0"],
        soft=soft,
        hard=(soft > 0.5).float(),
        indices=(1,),
        size=(256, 256),
        crop=(0, 0, 256, 256),
    )
    state = State(index, d["zt"][index].clone(), torch.Generator().get_state())
    return Upscaler.from_cond(model(), cond, state, settings, Capture.standard())


def test_timesteps_and_noise_on_the_small_picture() -> None:
    d, settings, timesteps = recorded()
    assert upscaler().timesteps == timesteps
    alpha = model().low_alphas[settings.noise_level]
    noise = (d["lr_cond"] - alpha**0.5 * d["lr_clean"]) / (1 - alpha) ** 0.5
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    again = ddim.add_noise(d["lr_clean"], noise, alpha)
    torch.testing.assert_close(again, d["lr_cond"], atol=1e-5, rtol=0)


def test_each_step_from_its_recorded_latent() -> None:
    d, _, timesteps = recorded()
    last = len(timesteps) - 1
    for index, timestep in enumerate(timesteps):
        one = upscaler(index)
        inputs = one.stepper.inputs(one.state)
        assert torch.equal(inputs.x, d["zt"][index])
        said = predict(one.model.unet, inputs)
        torch.testing.assert_close(said.uncond, d["v_uncond"][index], atol=1e-5, rtol=0)
        torch.testing.assert_close(said.cond, d["v_cond"][index], atol=1e-5, rtol=0)
        after, record = one.stepper.finish(inputs, said)
        assert record.timestep == timestep
        assert record.cross.levels == (8, 16, 32)
        if index < last:
            torch.testing.assert_close(after.latents, d["zt"][index + 1], atol=1e-4, rtol=0)
        else:
            torch.testing.assert_close(after.x0 / 0.08333, d["z_decode"], atol=1e-3, rtol=1e-4)


def test_whole_trajectory() -> None:
    d, _, _ = recorded()
    run = upscaler()
    for index, record in enumerate(run):
        latents = torch.from_numpy(record.latents)
        torch.testing.assert_close(latents, d["zt"][index, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(run.state.x0, 0.08333 * d["z_decode"], atol=1e-3, rtol=0)
