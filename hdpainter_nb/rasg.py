"""RASG, Reweighting Attention Score Guidance (sec. 3.4), and what the paper compares it with.

Objectives (what is descended): eq. 9 and eq. 11. Guidance (how the gradient enters a step): eq. 7
and eq. 6. Pure tensor functions; the gradient itself is taken in `predict`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hdpainter_nb.types import GradStats, Settings

__all__ = ["attend_excite", "bce", "gradient_stats", "objective", "standardise", "vanilla"]


def objective(
    scores: Float[Tensor, "n h w"], mask: Float[Tensor, "h w"], settings: Settings
) -> Float[Tensor, ""]:
    """S(x_t), the scalar that guidance descends, as `settings.objective` chooses.

    Args:
        scores: Abar^k for the n tokens k in ind(tau): cross-attention scores before softmax at
            H/32, conditional half, mean over layers and heads.
        mask: 1 = fill.
    """
    if settings.objective == "attend_excite":
        return attend_excite(scores, mask)
    return bce(scores, mask, settings.logit_shift, settings.reduction)


def bce(
    scores: Float[Tensor, "n h w"],
    mask: Float[Tensor, "h w"],
    shift: float,
    reduction: Literal["mean", "sum"],
) -> Float[Tensor, ""]:
    """Eq. 9: sum over tokens of the binary cross-entropy between sigmoid(Abar^k) and the mask.

    `shift` is subtracted from the scores first (switch 4); `reduction` is over pixels (switch 5).
    """
    loss = F.binary_cross_entropy_with_logits(
        scores - shift, mask.expand_as(scores), reduction="none"
    )
    per_token = loss.flatten(1)  # (n, hw)
    return (per_token.mean(1) if reduction == "mean" else per_token.sum(1)).sum()


def attend_excite(scores: Float[Tensor, "n h w"], mask: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
    """Eq. 11: minus the mean over tokens of the highest score inside the mask.

    A mask without any position at this resolution leaves nothing to excite; S is then 0.
    """
    inside = (mask > 0.5).expand_as(scores)
    lowest = scores.detach().amin() - 1
    best = scores.where(inside, lowest).flatten(1).amax(1)  # (n,)
    return -best.where(inside.flatten(1).any(1), 0 * best).mean()


def standardise(
    g: Float[Tensor, "*any"], how: Literal["global_std", "centred"]
) -> Float[Tensor, "*any"]:
    """The gradient made comparable with unit noise (eq. 7, switch 6).

    A gradient of zero stays zero instead of becoming NaN.
    """
    g = g.float()
    if how == "centred":
        g = g - g.mean()
    return g / g.std().clamp_min(1e-30)


def vanilla(
    eps: Float[Tensor, "*any"], g: Float[Tensor, "*any"], alpha: Float[Tensor, ""], scale: float
) -> Float[Tensor, "*any"]:
    """Post-hoc guidance (eq. 6): eps + sqrt(1 - alpha_t) * s * grad S, which descends S."""
    return eps + (1 - alpha) ** 0.5 * scale * g.to(eps.dtype)


def gradient_stats(
    g: Float[Tensor, "*any"], standard: Float[Tensor, "*any"], bins: int = 61
) -> GradStats:
    """Moments and histograms of the gradient before and after standardisation (figs. 12, 13).

    Args:
        g, standard: the gradient and `standardise` of it.
        bins: odd, so that one bin is centred on zero.
    """
    raw = g.detach().cpu().double().flatten().numpy()
    unit = standard.detach().cpu().double().flatten().numpy()
    mean, std = float(raw.mean()), float(raw.std())
    z = (raw - mean) / std if std > 0 else raw * 0
    reach = max(float(np.abs(raw).max()), 1e-30)
    hist, edges = np.histogram(raw, bins, (-reach, reach))
    unit_hist, unit_edges = np.histogram(unit.clip(-5, 5), bins, (-5, 5))
    return GradStats(
        mean=mean,
        std=std,
        skewness=float((z**3).mean()),
        kurtosis=float((z**4).mean() - 3) if std > 0 else 0.0,
        hist=hist.astype(np.int64),
        edges=edges,
        standard_hist=unit_hist.astype(np.int64),
        standard_edges=unit_edges,
    )
