"""Guidance in half precision: the standardised gradient is that of float32."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from hdpainter_nb import Capture
from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.method import objectives, rasg
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.sampling import predict
from hdpainter_nb.settings import Settings
from support import builders
from support.steps import step_inputs

pytestmark = pytest.mark.diffusers

SIDE = 16
HALVES = [torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    network = builders.make_unet().eval()
    with torch.no_grad():  # weights of float16, so that only the arithmetic differs
        for p in network.parameters():
            p.copy_(p.bfloat16().half())
    return network


@pytest.fixture(scope="module")
def cond() -> Conditioning:
    torch.manual_seed(1)
    inside = torch.zeros(SIDE // 4, SIDE // 4)
    inside[1:3, 1:3] = 1
    return Conditioning(
        context=torch.randn(2, builders.LENGTH, 32).bfloat16().float(),
        latent_mask=torch.ones(1, 1, SIDE, SIDE),
        masked_image_latents=torch.randn(1, 4, SIDE, SIDE).bfloat16().float(),
        painta_masks={},
        score_mask=inside,
        indices=(1, 2, 3),
        size=(8 * SIDE, 8 * SIDE),
    )


PLAN = HookPlan(
    size=(8 * SIDE, 8 * SIDE),
    indices=(1, 2, 3),
    tokens=5,
    rows={},
    capture=Capture.nothing(),
    gradient=True,
)


def x_t() -> torch.Tensor:
    return torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).bfloat16()


def standard(unet: Any, cond: Conditioning, dtype: torch.dtype) -> torch.Tensor:
    """g / std(g) with network, conditions and latents in `dtype`."""
    changed = {
        name: getattr(cond, name).to(dtype)
        for name in ("context", "latent_mask", "masked_image_latents")
    }
    network = torch.nn.Module.to(unet, dtype)
    try:
        there = dataclasses.replace(cond, **changed)
        said = predict.predict(network, step_inputs(there, x_t().to(dtype), 801, Settings(), PLAN))
    finally:
        torch.nn.Module.to(unet, torch.float32)
    assert said.grad is not None
    assert said.score is not None
    assert said.grad.dtype == said.score.dtype == torch.float32
    return rasg.standardised(said.grad, "global_std")


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square of the difference; both have standard deviation 1."""
    return float((a - b).square().mean() ** 0.5)


@pytest.mark.parametrize("smaller", [1.0, 1e-9], ids=["as is", "a billionth"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_the_standardised_gradient_is_that_of_float32(
    unet: Any,
    cond: Conditioning,
    dtype: torch.dtype,
    bound: float,
    smaller: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where S is so flat that its gradient is nothing in float16."""
    exact = standard(unet, cond, torch.float32)
    real = objectives.objective
    monkeypatch.setattr(predict, "objective", lambda *args: smaller * real(*args))
    assert apart(standard(unet, cond, torch.float32), exact) < 1e-4
    assert 0 < apart(standard(unet, cond, dtype), exact) < bound


def unscaled(unet: Any, cond: Conditioning, factor: float) -> torch.Tensor:
    """The gradient of factor * S, taken as it stands in float16, from scores of float16."""
    half = torch.float16
    network = torch.nn.Module.to(unet, half)
    there = dataclasses.replace(
        cond,
        context=cond.context.to(half),
        latent_mask=cond.latent_mask.to(half),
        masked_image_latents=cond.masked_image_latents.to(half),
    )
    try:
        hooks = AttentionHooks(network, PLAN)
        with predict.Frozen(network), hooks, hooks.call("cond"), torch.enable_grad():
            leaf = x_t().half().requires_grad_()
            predict.call(network, there.unet_inputs(leaf, slice(1, 2)), 801)
            with torch.enable_grad():  # the graph ends with the scores
                scores = hooks.observations.mean_scores()[list(cond.indices)].half()
                s = factor * objectives.objective(scores, cond.score_mask.half(), Settings())
            (g,) = torch.autograd.grad(s, leaf)
    finally:
        torch.nn.Module.to(unet, torch.float32)
    return g


def test_unscaled_it_would_underflow(unet: Any, cond: Conditioning) -> None:
    """What the scaling is for: the same gradient as it stands loses itself in float16."""
    exact = standard(unet, cond, torch.float32)
    small = unscaled(unet, cond, 1e-3)
    assert 0 < small.count_nonzero() < small.numel()
    assert apart(rasg.standardised(small, "global_std"), exact) > 0.2
    assert not unscaled(unet, cond, 1e-9).any()


def test_a_gradient_too_large_travels_once_more_smaller(
    unet: Any, cond: Conditioning, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = standard(unet, cond, torch.float32)
    real, tried = torch.autograd.grad, []

    def overflow(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        grads = real(outputs, inputs, *args, **kwargs)
        if isinstance(outputs, list):
            tried.append(kwargs["retain_graph"])
            if len(tried) < at:
                return tuple(g * torch.inf for g in grads)
        return grads

    monkeypatch.setattr(torch.autograd, "grad", overflow)
    at = 2
    assert apart(standard(unet, cond, torch.float16), exact) < 0.01
    assert tried == [True, True]
    tried.clear()
    standard(unet, cond, torch.float32)
    assert tried == [False], "the graph is let go as it is walked"
    at = 9
    for dtype in HALVES:
        assert not standard(unet, cond, dtype).isfinite().all()  # the step says so
