"""Objectives and guidance: the values of eqs. 6, 7, 9 and 11, and the way they point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hdpainter_nb.method import objectives, rasg
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace import record


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(4, 4)
    mask[:2, :2] = 1
    return mask


def test_bce_is_eq_9_written_out(mask: torch.Tensor) -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 4, 4)
    p = torch.sigmoid(scores)
    expected = -(mask * p.log() + (1 - mask) * (1 - p).log()).sum()
    torch.testing.assert_close(objectives.bce(scores, mask, 0.0, "sum"), expected)
    torch.testing.assert_close(objectives.bce(scores, mask, 0.0, "mean"), expected / 16)
    shifted = objectives.bce(scores - 1, mask, 0.0, "sum")
    torch.testing.assert_close(objectives.bce(scores, mask, 1.0, "sum"), shifted)


def test_descending_bce_raises_scores_inside_and_lowers_them_outside(mask: torch.Tensor) -> None:
    scores = torch.randn(2, 4, 4, requires_grad=True)
    (g,) = torch.autograd.grad(objectives.bce(scores, mask, 0.0, "sum"), scores)
    torch.testing.assert_close(g, torch.sigmoid(scores) - mask)
    assert (g[:, mask > 0] < 0).all()
    assert (g[:, mask == 0] > 0).all()


def test_attend_excite_sees_the_best_pixel_inside_only(mask: torch.Tensor) -> None:
    scores = torch.zeros(2, 4, 4)
    scores[0, 1, 1], scores[1, 0, 0] = 3.0, 1.0
    scores[:, 3, 3] = 9.0  # outside
    scores.requires_grad_()
    s = objectives.attend_excite(scores, mask)
    assert s.item() == pytest.approx(-2.0)
    (g,) = torch.autograd.grad(s, scores)
    assert g.nonzero().tolist() == [[0, 1, 1], [1, 0, 0]]
    assert objectives.attend_excite(scores, torch.zeros(4, 4)).item() == 0.0


def test_settings_choose_the_objective(mask: torch.Tensor) -> None:
    scores = torch.randn(2, 4, 4)
    official = objectives.objective(scores, mask, Settings())
    assert official == objectives.bce(scores, mask, 1.0, "mean")
    paper = objectives.objective(scores, mask, Settings.preset("paper"))
    assert paper == objectives.bce(scores, mask, 0.0, "sum")
    excite = objectives.objective(scores, mask, Settings(objective="attend_excite"))
    assert excite == objectives.attend_excite(scores, mask)


def test_standardised_gradient_has_unit_deviation_at_any_scale() -> None:
    g = torch.randn(1, 4, 8, 8) * 3e-9 + 1e-9
    for how in ("global_std", "centred"):
        unit = rasg.standardised(g, how)
        assert unit.std().item() == pytest.approx(1, rel=1e-5)
    assert rasg.standardised(g, "centred").mean().abs() < 1e-6
    assert rasg.standardised(g, "global_std").mean().abs() > 0.1
    torch.testing.assert_close(
        rasg.standardised(g * 2e4, "global_std"), rasg.standardised(g, "global_std")
    )
    assert (rasg.standardised(g * 0, "global_std") == 0).all()


def test_the_gradient_takes_the_noises_place_and_descends() -> None:
    g = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(rasg.noise(g, Settings()), -g / g.std())
    torch.testing.assert_close(rasg.noise(g, Settings(direction="ascend")), g / g.std())


def test_vanilla_guidance_descends(mask: torch.Tensor) -> None:
    eps, g, alpha = torch.zeros(1, 4, 4, 4), torch.randn(1, 4, 4, 4), torch.tensor(0.36)
    guided = rasg.vanilla(eps, g, alpha, Settings(guidance="vanilla", vanilla_scale=10.0))
    torch.testing.assert_close(guided, 0.8 * 10 * g)
    x = torch.zeros_like(g)
    x0 = (x - (1 - alpha) ** 0.5 * guided) / alpha**0.5
    assert (x0 * g).sum() < 0


def test_gradient_stats_are_the_moments() -> None:
    rng = np.random.default_rng(0)
    sample = rng.gamma(4.0, size=50_000)
    stats = record.gradient_stats(sample, sample / sample.std())
    assert stats.mean == pytest.approx(4.0, rel=0.02)
    assert stats.std == pytest.approx(2.0, rel=0.02)
    assert stats.skewness == pytest.approx(1.0, abs=0.08)  # 2 / sqrt(4)
    assert stats.kurtosis == pytest.approx(1.5, abs=0.35)  # 6 / 4
    assert stats.hist.sum() == stats.standard_hist.sum() == 50_000
    assert len(stats.edges) == len(stats.hist) + 1
    assert stats.standard_edges[0] == -5


def test_stats_of_no_gradient_at_all_are_finite() -> None:
    stats = record.gradient_stats(np.zeros(10), np.zeros(10))
    assert (stats.std, stats.skewness, stats.kurtosis) == (0, 0, 0)
    assert stats.hist.sum() == 10
