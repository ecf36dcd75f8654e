"""PAIntA, Prompt-Aware Introverted Attention (sec. 3.3, eq. 5): pure tensor functions.

Eq. 5 rescales the self-attention logits from masked to known pixels by c_j in [0, 1], which says
how well known pixel j matches the prompt. Rows of known pixels stay as they are, and a rescaled
logit is the logit of a rescaled key, ``c_j (q_i . k_j) = q_i . (c_j k_j)``. So PAIntA is one
ordinary attention, plus a second one for the masked queries only; no (hw, hw) matrix is formed.

A negative logit times c_j < 1 grows, and so does its share of the attention, which is not what the
method is for. `painta_scaling="log"` adds log c_j instead: the share itself is multiplied by c_j.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hdpainter_nb.method.attention import mean_scores, probabilities, take
from hdpainter_nb.settings import SMALLEST_C, PaintaScaling, Settings

__all__ = [
    "c_scores",
    "gaussian",
    "key_scale",
    "mean_similarity",
    "painta_attention",
    "painta_window",
    "rescaled",
]


def c_scores(
    q: Float[Tensor, "heads hw d"],
    k: Float[Tensor, "heads tokens d"],
    indices: Sequence[int],
    shape: tuple[int, int],
    *,
    smooth: bool = True,
    kernel: Float[Tensor, "1 1 3 3"] | None = None,
) -> Float[Tensor, " hw"]:
    """c_j of every pixel: its cross-attention to ind(tau), smoothed and normalised.

    Args:
        q: pixel queries of the cross-attention that follows the self-attention.
        k: keys of the text.
        indices: ind(tau), positions of the prompt's own tokens and of EOT.
        shape: (h, w), with h * w = hw.
        smooth: 3x3 Gaussian over the map (switch 10).
        kernel: from `gaussian`, where it is at hand; making it takes longer than using it.

    Returns:
        float32 in [0, 1]: ``clip((c - median c) / max c, 0, 1)``; 0 everywhere where max c is 0,
        of which eq. 5 says nothing.
    """
    per_token = probabilities(q.float(), k.float()).mean(0)  # (hw, L)
    c = take(per_token, indices, -1).sum(-1)  # (hw,)
    if smooth:
        kernel = gaussian(c.device) if kernel is None else kernel
        c = F.conv2d(c.view(1, 1, *shape), kernel, padding=1).flatten()
    largest = c.max().clamp_min(torch.finfo(c.dtype).tiny)
    return ((c - c.median()) / largest).clamp(0, 1)


def gaussian(device: torch.device) -> Float[Tensor, "1 1 3 3"]:
    """The 3x3 kernel that smooths c: exp(-(x / (2 s))^2) in both directions, summing to 1.

    A Gaussian has 2 s^2 there. The official code has (2 s)^2 with s = 0.5, hence its exponent -x^2;
    the community pipeline has taken that over (switch 10).
    """
    g = torch.exp(-(torch.arange(-1.0, 2.0, device=device) ** 2))
    kernel = g[:, None] * g[None]
    return (kernel / kernel.sum())[None, None]


def key_scale(c: Float[Tensor, " hw"], rows: Int[Tensor, " n"]) -> Float[Tensor, " hw"]:
    """The factor on each key as masked queries see it: c_j where known, 1 where masked."""
    return c.index_fill(0, rows, 1.0)


def painta_attention(
    q: Float[Tensor, "batch heads n d"],
    k: Float[Tensor, "batch heads hw d"],
    v: Float[Tensor, "batch heads hw d"],
    scale: Float[Tensor, " hw"],
    scaling: PaintaScaling = "multiply",
) -> Float[Tensor, "batch heads n d"]:
    """The masked rows of softmax(A~) V (eq. 5); the other rows are those of plain attention.

    Args:
        q: queries of the n masked pixels.
        k, v: of all pixels.
        scale: from `key_scale`.
        scaling: how it enters: ``multiply`` as in eq. 5, or ``log``.
    """
    if scaling == "log":
        bias = scale.clamp_min(SMALLEST_C).log().to(q.dtype)[None, None, None]  # (1, 1, 1, hw)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return F.scaled_dot_product_attention(q, k * scale.to(k.dtype)[:, None], v)


def rescaled(
    similarity: Float[Tensor, "*layers hw"],
    scale: Float[Tensor, "*layers hw"],
    scaling: PaintaScaling = "multiply",
) -> Float[Tensor, "*layers hw"]:
    """A~ of eq. 5 from A, where all rows are those of masked pixels; see `painta_attention`."""
    if scaling == "log":
        return similarity + scale.clamp_min(SMALLEST_C).log()
    return similarity * scale


def mean_similarity(
    q: Float[Tensor, "heads n d"], k: Float[Tensor, "heads hw d"]
) -> Float[Tensor, " hw"]:
    """Appendix B: self-similarity before softmax, averaged over the masked rows and the heads.

    Linear in the query, so the mean query does: O(hw d) instead of O(hw^2 d). `rescaled` makes the
    same after PAIntA of it.

    Args:
        q: queries of the n masked pixels.
        k: keys of all pixels.

    Returns:
        In q's dtype.
    """
    return mean_scores(q.mean(1, keepdim=True), k)[:, 0]


def painta_window(settings: Settings, index: int, total: int, timestep: int) -> bool:
    """Whether PAIntA acts in step `index` of `total`, at training step `timestep` (switch 12)."""
    if settings.painta_window == "first_half":
        return index < total / 2
    return timestep >= 500 if settings.painta_window == "t>=500" else timestep > 500
