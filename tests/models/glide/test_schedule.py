"""GLIDE's noise schedules and its ancestral step, against their definitions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.models.glide.schedule import (
    AncestralScheduler,
    fast27,
    linear,
    respaced,
    squared_cosine,
)
from hdpainter_nb.models.schedulers import Guided, State


def test_squared_cosine() -> None:
    def alpha(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    naive = [min(1 - alpha((t + 1) / 1000) / alpha(t / 1000), 0.999) for t in range(1000)]
    np.testing.assert_allclose(squared_cosine(), naive, rtol=1e-11)
    assert squared_cosine()[-1] == 0.999


def test_linear() -> None:
    np.testing.assert_allclose(linear()[[0, 500, 999]], [1e-4, 0.0100599600, 0.02], rtol=1e-8)
    np.testing.assert_allclose(linear(250)[[0, -1]], [4e-4, 0.08])


def test_respacing() -> None:
    assert respaced([100]) == [round(i * 999 / 99) for i in range(100)]
    assert respaced([3, 1, 2], 11) == [0, 2, 3, 4, 8, 10]  # parts of 4, 4 and 3
    assert respaced([1000]) == [*range(1000)]
    quick = fast27()
    assert len(quick) == len({*quick}) == 27
    assert quick[:10] == [0, 22, 44, 66, 88, 111, 133, 155, 177, 199]
    assert quick[-7:] == [400, 500, 599, 600, 799, 800, 997]


@pytest.mark.parametrize("sections", [[], [1001], [600, 1], [0]])
def test_impossible_respacings_are_refused(sections: list[int]) -> None:
    with pytest.raises(SettingsError):
        respaced(sections)


def run_of(steps: int = 7) -> AncestralScheduler:
    return AncestralScheduler(squared_cosine(), tuple(respaced([steps])))


def test_respaced_alphas_stay() -> None:
    scheduler, whole = run_of(), np.cumprod(1 - squared_cosine())
    assert scheduler.timesteps == (999, 832, 666, 500, 333, 166, 0)
    for index, t in enumerate(scheduler.timesteps):
        level = scheduler.at(index)
        assert level.timestep == t
        assert float(level.alpha) == pytest.approx(whole[t], rel=1e-12)


@pytest.mark.parametrize("index", range(6))
def test_the_step_is_the_posterior(index: int) -> None:
    """By Bayes: x_{t-1} given x_0 is a Gaussian, and so is x_t given x_{t-1}."""
    scheduler, whole = run_of(), np.cumprod(1 - squared_cosine())
    before, after = (whole[scheduler.timesteps[n]] for n in (index, index + 1))
    kept = before / after  # of x_{t-1} in x_t
    x0, x = 0.3, -0.7
    precision = 1 / (1 - after) + kept / (1 - kept)
    mean = (math.sqrt(after) * x0 / (1 - after) + math.sqrt(kept) * x / (1 - kept)) / precision
    ours = scheduler.mean(*torch.tensor([x0, x], dtype=torch.float64), index)
    assert float(ours) == pytest.approx(mean, rel=1e-9)
    low, high = (float(scheduler.log_variance(torch.tensor(v), index)) for v in (-1.0, 1.0))
    assert math.exp(low) == pytest.approx(1 / precision, rel=1e-5)
    assert math.exp(high) == pytest.approx(1 - kept, rel=1e-5)
    between = float(scheduler.log_variance(torch.tensor(0.5), index))
    assert between == pytest.approx(0.75 * high + 0.25 * low, rel=1e-5)


def test_x0_undoes_noising() -> None:
    scheduler = run_of()
    x0, noise = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    for index in range(7):
        x = scheduler.noised(x0, noise, index)
        torch.testing.assert_close(scheduler.x0(x, noise, index), x0, atol=1e-6, rtol=0)


def test_a_step_draws_from_the_state_and_changes_nothing() -> None:
    scheduler = run_of()
    rng = torch.Generator().manual_seed(4)
    state = State(2, torch.zeros(1, 3, 8, 8), rng.get_state())
    zeros = torch.zeros(1, 3, 8, 8)
    guided = Guided(torch.zeros(1, 6, 8, 8), zeros, zeros)
    one, again = scheduler.step(state, guided, None), scheduler.step(state, guided, None)
    assert torch.equal(one.latents, again.latents)
    drawn = torch.randn(1, 3, 8, 8, generator=rng)
    torch.testing.assert_close(one.latents, one.sigma * drawn)
    assert torch.equal(one.rng, rng.get_state())


def test_the_last_step_gives_x0() -> None:
    scheduler = run_of()
    x0 = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    state = State(6, torch.ones(1, 3, 4, 4), torch.Generator().get_state())
    stepped = scheduler.step(state, Guided(torch.ones(1, 6, 4, 4), x0, x0), None)
    torch.testing.assert_close(stepped.latents, x0, atol=1e-6, rtol=0)
    assert stepped.sigma == 0
    assert torch.equal(stepped.rng, state.rng)
