"""Timesteps, sigma and the step of eq. 3."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from hdpainter_nb.method import ddim, painta
from hdpainter_nb.settings import Settings

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0)
SCHEDULE = ddim.NoiseSchedule(BETAS, ALPHAS, ALPHAS[0])


@pytest.mark.parametrize("steps", [1, 4, 7, 30, 50, 333, 1000])
def test_leading_grid_is_that_of_diffusers(steps: int) -> None:
    scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(steps)
    theirs = [min(t, 999) for t in scheduler.timesteps.tolist()]
    assert ddim.timesteps(steps, "leading") == theirs


def test_official_grid() -> None:
    assert ddim.timesteps(4, "official") == [999, 749, 499, 249]
    assert ddim.timesteps(50, "official")[-1] == 19
    assert len(ddim.timesteps(30, "official")) == 31
    for steps in range(1, 1001):
        grid = ddim.timesteps(steps, "official")
        assert grid[0] == 999
        assert grid[-1] > 0
        assert ddim.previous(grid[-1], steps) < grid[-1]


@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
def test_step_with_cumulative_sigma_is_ddim(eta: float) -> None:
    torch.manual_seed(0)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    scheduler.set_timesteps(20)
    x, eps, noise = torch.randn(3, 1, 4, 8, 8)
    for t in (951, 451, 1):
        prev = ddim.previous(t, 20)
        theirs = scheduler.step(eps, t, x, eta=eta, variance_noise=noise)
        alpha, alpha_prev = ALPHAS[t], SCHEDULE.alpha(prev)
        sigma = ddim.sigma("cumulative", eta, SCHEDULE, t, prev)
        x0, e = ddim.x0_and_eps("epsilon", eps, x, alpha)
        ours = ddim.ddim_step(x0, e, alpha_prev, sigma, noise if eta else None)
        torch.testing.assert_close(ours, theirs.prev_sample, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(x0, theirs.pred_original_sample)


def test_per_step_sigma_is_an_order_smaller() -> None:
    """The disagreement of switch 1: official sigma is 10 to 25 times below the paper's."""
    for t in range(999, 20, -20):
        wide = ddim.sigma("cumulative", 0.1, SCHEDULE, t, t - 20)
        narrow = ddim.sigma("per_step", 0.1, SCHEDULE, t, t - 20)
        a, b = 1 - BETAS[t], 1 - BETAS[t - 20]
        by_hand = 0.1 * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        assert narrow == pytest.approx(by_hand.item(), rel=1e-6)
        assert wide / narrow > 3
    first = ddim.sigma("cumulative", 0.1, SCHEDULE, 979, 959)
    assert 5 < first / ddim.sigma("per_step", 0.1, SCHEDULE, 979, 959) < 30


def test_sigma_at_the_end_is_finite() -> None:
    assert ddim.sigma("per_step", 0.1, SCHEDULE, 9, -24) == 0
    assert ddim.sigma("cumulative", 0.1, SCHEDULE, 1, -19).isfinite()


def test_v_prediction_says_the_same_as_epsilon() -> None:
    x0, noise = torch.randn(2, 1, 4, 8, 8)
    alpha = torch.tensor(0.3)
    x = ddim.add_noise(x0, noise, alpha)
    v = alpha**0.5 * noise - (1 - alpha) ** 0.5 * x0
    for kind, output in (("epsilon", noise), ("v_prediction", v)):
        found = ddim.x0_and_eps(kind, output, x, alpha)
        torch.testing.assert_close(found[0], x0, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found[1], noise, atol=1e-5, rtol=1e-4)


def test_painta_windows() -> None:
    official, community, paper = (Settings.preset(n) for n in ("official", "community", "paper"))
    assert not painta.painta_window(official, 5, 10, 500)
    assert painta.painta_window(official, 5, 10, 501)
    assert painta.painta_window(community, 5, 10, 500)
    assert [painta.painta_window(paper, i, 5, 0) for i in range(5)] == [True] * 3 + [False] * 2


def test_without_noise_eq_3_is_eq_4() -> None:
    x0, eps = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    alpha = SCHEDULE.alpha(480)
    noisy = ddim.ddim_step(x0, eps, alpha, torch.zeros(()), torch.randn(1, 4, 4, 4))
    assert torch.equal(ddim.deterministic_step(x0, eps, alpha), noisy)
