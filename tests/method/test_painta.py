"""PAIntA against eq. 5 written out with the whole matrix."""

from __future__ import annotations

import pytest
import torch

from hdpainter_nb.method.painta import (
    c_scores,
    key_scale,
    mean_similarity,
    painta_attention,
    rescaled,
)
from hdpainter_nb.settings import SMALLEST_C, PaintaScaling

SCALINGS: tuple[PaintaScaling, ...] = ("multiply", "log")
SHAPE = (6, 8)
HW = 48


@pytest.fixture
def qkv() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 4, HW, 16), torch.randn(2, 4, HW, 16), torch.randn(2, 4, HW, 16)


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[1:4, 2:6] = True
    return mask.flatten()


def written_out(
    q: torch.Tensor, k: torch.Tensor, c: torch.Tensor, mask: torch.Tensor, scaling: str
) -> torch.Tensor:
    """A~ of eq. 5: A_ij c_j where i is masked and j is known. (batch, heads, hw, hw)."""
    a = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    concerned = mask[:, None] & ~mask[None, :]
    return torch.where(concerned, a * c if scaling == "multiply" else a + c.log(), a)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_two_attentions_equal_the_rescaled_matrix(
    qkv: tuple[torch.Tensor, ...], mask: torch.Tensor, scaling: PaintaScaling
) -> None:
    q, k, v = qkv
    c = torch.rand(HW)
    rows = mask.nonzero()[:, 0]
    expected = written_out(q, k, c, mask, scaling).softmax(-1) @ v
    ours = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    masked = painta_attention(q[:, :, rows], k, v, key_scale(c, rows), scaling)
    ours = ours.index_copy(2, rows, masked)
    torch.testing.assert_close(ours, expected, atol=2e-6, rtol=1e-5)


def test_c_of_one_changes_nothing_and_of_zero_levels_the_known(
    qkv: tuple[torch.Tensor, ...], mask: torch.Tensor
) -> None:
    q, k, v = qkv
    rows = mask.nonzero()[:, 0]
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, :, rows]
    torch.testing.assert_close(painta_attention(q[:, :, rows], k, v, torch.ones(HW)), plain)
    scale = key_scale(torch.zeros(HW), rows)
    logits = (q[:, :, rows] @ (k * scale[:, None]).transpose(-1, -2)) / 4
    assert (logits[..., ~mask] == 0).all()


def test_log_multiplies_the_attention_itself(
    qkv: tuple[torch.Tensor, ...], mask: torch.Tensor
) -> None:
    """Eq. 5 gives a known pixel of a negative logit more attention than it had; this never does."""
    q, k, _ = qkv
    plain = written_out(q, k, torch.ones(HW), mask, "log").softmax(-1)[:, :, mask]
    c = torch.full((HW,), 0.5)
    shares = {s: written_out(q, k, c, mask, s).softmax(-1)[:, :, mask] for s in SCALINGS}
    ratio = {s: share / plain for s, share in shares.items()}
    # Up to what the row's new sum makes of all its entries alike.
    alike = {s: r / r[..., mask].mean(-1, keepdim=True) for s, r in ratio.items()}
    torch.testing.assert_close(
        alike["log"][..., ~mask], torch.full_like(alike["log"], 0.5)[..., ~mask]
    )
    assert (alike["multiply"][..., ~mask] > 1).float().mean() > 0.4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_c_of_zero_has_a_logarithm_and_a_gradient(
    qkv: tuple[torch.Tensor, ...], mask: torch.Tensor, dtype: torch.dtype
) -> None:
    q, k, v = (x.to(dtype) for x in qkv)
    rows = mask.nonzero()[:, 0]
    c = torch.zeros(HW, requires_grad=True)
    found = painta_attention(q[:, :, rows], k, v, key_scale(c, rows), "log")
    hole = torch.nn.functional.scaled_dot_product_attention(
        q[:, :, rows].float(), k[:, :, mask].float(), v[:, :, mask].float()
    )  # as if nothing but the hole were there
    torch.testing.assert_close(found.float(), hole, atol=50 * SMALLEST_C + 0.02, rtol=0)
    (gradient,) = torch.autograd.grad(found.float().sum(), c)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_mean_similarity_is_the_mean_of_the_matrix(
    qkv: tuple[torch.Tensor, ...], mask: torch.Tensor, scaling: PaintaScaling
) -> None:
    q, k, _ = qkv
    rows = mask.nonzero()[:, 0]
    c = torch.rand(HW)
    for matrix, ours in (
        (written_out(q, k, torch.ones(HW), mask, scaling), mean_similarity(q[0][:, rows], k[0])),
        (
            written_out(q, k, c, mask, scaling),
            rescaled(mean_similarity(q[0][:, rows], k[0]), key_scale(c, rows), scaling),
        ),
    ):
        expected = matrix[0][:, mask].mean((0, 1))
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_c_follows_its_formula() -> None:
    torch.manual_seed(1)
    q, k = torch.randn(3, HW, 8), torch.randn(3, 10, 8)
    share = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1).mean(0)[:, [1, 4]].sum(-1)
    expected = ((share - share.median()) / share.max()).clip(0, 1)
    ours = c_scores(q, k, (1, 4), SHAPE, smooth=False)
    torch.testing.assert_close(ours, expected)
    assert (ours == 0).sum() >= HW // 2  # the median and everything below it


def one_peak(position: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys with which one pixel attends to token 1 and all others to token 0."""
    q, k = torch.zeros(1, HW, 4), torch.zeros(1, 2, 4)
    q[0, :, 0], q[0, position] = 8.0, torch.tensor([0.0, 8.0, 0.0, 0.0])
    k[0, 0, 0] = k[0, 1, 1] = 8.0
    return q, k


def test_smoothing_spreads_a_single_peak_to_its_neighbours_only() -> None:
    q, k = one_peak(2 * SHAPE[1] + 3)
    sharp = c_scores(q, k, (1,), SHAPE, smooth=False).view(SHAPE)
    smooth = c_scores(q, k, (1,), SHAPE, smooth=True).view(SHAPE)
    assert (sharp > 1e-6).nonzero().tolist() == [[2, 3]]
    spread = {(int(y), int(x)) for y, x in (smooth > 1e-6).nonzero()}
    assert spread == {(y, x) for y in (1, 2, 3) for x in (2, 3, 4)}
    assert smooth[2, 3] / smooth[2, 2] == pytest.approx(torch.e, rel=1e-3)  # exp(0), exp(-1)
    assert smooth[2, 2] / smooth[1, 2] == pytest.approx(torch.e, rel=1e-3)  # exp(-1), exp(-2)


def test_c_is_smoothed_along_the_picture_not_the_row() -> None:
    """A map that is not square must not be transposed or wrapped."""
    q, k = one_peak(SHAPE[1] - 1)  # the last pixel of the first row
    smooth = c_scores(q, k, (1,), SHAPE).view(SHAPE)
    assert smooth[1, SHAPE[1] - 1] > 0.1
    assert smooth[1, 0] < 1e-6  # next in memory, but no neighbour
