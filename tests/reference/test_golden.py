"""Parity with the official code, on traces recorded from it. The tolerances are the licence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from hdpainter_nb.sampling.predict import predict
from support.golden_cases import Case, case_files, read_case, sampler_at, step_from_recorded
from support.steps import step_inputs


# Of the module, so that the tests of one case follow each other and share its steps.
@pytest.fixture(scope="module", params=case_files(), ids=lambda file: file.stem)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    file: Path = request.param
    yield read_case(file)
    step_from_recorded.cache_clear()


def assert_close(
    what: str, actual: torch.Tensor, expected: torch.Tensor, **tolerances: float
) -> None:
    torch.testing.assert_close(actual, expected, msg=lambda m: f"{what}: {m}", **tolerances)


def test_masks_and_timesteps(case: Case) -> None:
    assert torch.equal(case.cond.latent_mask, case.tensors["latent_mask"])
    for level in (16, 32):
        recorded = case.tensors[f"mask_h{level}"] > 0.5
        assert torch.equal(case.cond.painta_masks[level], recorded)
    assert sampler_at(case, case.state(0)).timesteps == case.timesteps


def test_each_step_from_its_recorded_latent(case: Case) -> None:
    """What is predicted at each recorded x_t, and which x_{t-1} follows."""
    d = case.tensors
    last = len(case.timesteps) - 1
    for index, timestep in enumerate(case.timesteps):
        step = step_from_recorded(case, index)
        said, close = step.prediction, partial(assert_close, f"step {index}")
        close(said.uncond, d["eps_uncond"][index], atol=1e-5, rtol=0)
        close(said.cond, d["eps_cond"][index], atol=1e-5, rtol=0)
        if case.settings.rasg:
            largest = d["grad"][index].abs().max()
            worst = (-said.grad - d["grad"][index]).abs().max()
            assert worst / largest < 1e-4
            close(-said.score, d["score"][index, 0], atol=1e-5, rtol=1e-5)
            close(said.observations.mean_scores(), d["crossattn16"][index], atol=1e-5, rtol=1e-5)
        for level in (16, 32):
            height, width = case.cond.size[0] // level, case.cond.size[1] // level
            recorded = d.get(f"c.step{index}.tokens{height * width}")
            if recorded is not None:
                assert step.painta
                c = torch.stack(list(said.observations.c[level].values()))
                close(c, recorded[::2], atol=1e-5, rtol=0)
        assert step.record.timestep == timestep
        if index < last:
            close(step.after.latents, d["zt"][index + 1], atol=1e-4, rtol=0)
        else:
            close(step.after.x0, d["z0_final"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "case",
    [
        # A quarter of a minute for what each single step has shown already.
        pytest.param(f, marks=pytest.mark.slow if f.stem == "both_512" else (), id=f.stem)
        for f in case_files()
    ],
    indirect=True,
    scope="module",
)
def test_whole_trajectory(case: Case) -> None:
    """From the recorded noise on; the first step is that of the test before."""
    first = step_from_recorded(case, 0)
    sampler = sampler_at(case, case.state(0))
    sampler.append(first.after, first.record)
    sampler.run()
    for record, recorded in zip(sampler.records, case.tensors["zt"], strict=True):
        latents = torch.from_numpy(record.latents)
        assert_close(f"step {record.index}", latents, recorded[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(sampler.state.x0, case.tensors["z0_final"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradient_survives_half_precision(dtype: torch.dtype) -> None:
    """The direction of g in half precision is that of float32 (its scale is divided away)."""
    import copy
    import dataclasses

    file = next(f for f in case_files() if f.stem == "rasg_256")
    case = read_case(file)
    unet = copy.deepcopy(case.model.unet).to(dtype)
    half = dataclasses.replace(
        case.cond,
        context=case.cond.context.to(dtype),
        latent_mask=case.cond.latent_mask.to(dtype),
        masked_image_latents=case.cond.masked_image_latents.to(dtype),
    )
    x = case.tensors["zt"][0]
    plan = sampler_at(case, case.state(0)).stepper.plan(0)
    said = predict(unet, step_inputs(half, x.to(dtype), case.timesteps[0], case.settings, plan))
    assert said.grad is not None
    mine, reference = said.grad.flatten(), -case.tensors["grad"][0].flatten()
    assert torch.nn.functional.cosine_similarity(mine, reference, dim=0) > 0.99
    ratio = float(mine.std() / reference.std())
    assert 0.95 < ratio < 1.05
