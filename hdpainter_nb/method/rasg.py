"""RASG, Reweighting Attention Score Guidance (sec. 3.4): how the gradient of S enters a step.

What S is stands in `objectives`. Eq. 7 is RASG; eq. 6 is what the paper compares it with.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from hdpainter_nb.settings import Settings

__all__ = ["noise", "standardised", "vanilla"]


def noise(grad: Float[Tensor, "*any"], settings: Settings) -> Float[Tensor, "*any"]:
    """Eq. 7: what RASG puts in the place of DDIM's noise, -g / std(g), in float32.

    The scheduler multiplies it by sigma_t, which holds eta (see `hdpainter_nb.method.ddim.sigma`).
    The sign is that which descends S (switch 3): eq. 7 as printed has the other one, against its
    own text and the authors' code.

    Args:
        grad: g, the gradient of S with respect to x_t.
    """
    return -_sign(settings) * standardised(grad, settings.gradient_norm)


def standardised(
    grad: Float[Tensor, "*any"], how: Literal["global_std", "centred"]
) -> Float[Tensor, "*any"]:
    """G / std(g) in float32: the gradient made comparable with unit noise (eq. 7, switch 6).

    A gradient of zero stays zero instead of becoming NaN.
    """
    grad = grad.float()
    if how == "centred":
        grad = grad - grad.mean()
    return grad / grad.std().clamp_min(1e-30)


def vanilla(
    eps: Float[Tensor, "*any"],
    grad: Float[Tensor, "*any"],
    alpha: Float[Tensor, ""],
    settings: Settings,
) -> Float[Tensor, "*any"]:
    """Eq. 6, post-hoc guidance: eps + sqrt(1 - alpha_t) * s * grad S, which descends S.

    Args:
        eps: the guided noise prediction.
        grad: g, the gradient of S with respect to x_t.
        alpha: cumulative alpha_t.
        settings: s is ``vanilla_scale``.
    """
    scale = _sign(settings) * settings.vanilla_scale
    return eps + (1 - alpha) ** 0.5 * scale * grad.to(eps.dtype)


def _sign(settings: Settings) -> int:
    """1 where S is descended, -1 where the printed sign of eq. 7 is asked for (switch 3)."""
    return 1 if settings.direction == "descend" else -1
