"""RASG, Reweighting Attention Score Guidance (sec. 3.4), and what the paper compares it with.

Objectives (what is descended): eq. 9 and eq. 11. Guidance (how the gradient enters a step): eq. 7
and eq. 6. Pure tensor functions; the gradient itself is taken in `predict`.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hdpainter_nb.settings import Settings

__all__ = ["attend_excite", "bce", "objective"]


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
