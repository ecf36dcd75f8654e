"""The objective S(x_t) that guidance descends, made of cross-attention scores at H/32 (sec. 3.4).

The gradient of S is taken in `hdpainter_nb.sampling.predict`; how it enters a step is in `rasg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hdpainter_nb.settings import Settings

__all__ = ["attend_excite", "bce", "mean_over_layers", "objective"]


def objective(
    scores: Float[Tensor, "n h w"], mask: Float[Tensor, "h w"], settings: Settings
) -> Float[Tensor, ""]:
    """S(x_t), the scalar that guidance descends, as `settings.objective` chooses.

    Args:
        scores: Abar^k (eq. 8) for the n tokens k in ind(tau).
        mask: 1 = fill.
    """
    if settings.objective == "attend_excite":
        return attend_excite(scores, mask)
    return bce(scores, mask, settings.logit_shift, settings.reduction)


def mean_over_layers(scores: Sequence[Float[Tensor, "tokens h w"]]) -> Float[Tensor, "tokens h w"]:
    """Abar^k (eq. 8): cross-attention scores before softmax, mean over layers and heads.

    Args:
        scores: of each cross-attention at H/32, conditional half, its mean over heads (see
            `hdpainter_nb.method.attention.mean_scores`). All layers have equally many heads, so the
            mean of means is the mean.
    """
    return torch.stack(list(scores)).mean(0)


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
