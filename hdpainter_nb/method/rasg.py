"""RASG, Reweighting Attention Score Guidance (sec. 3.4), and what the paper compares it with.

Objectives (what is descended): eq. 9 and eq. 11. Guidance (how the gradient enters a step): eq. 7
and eq. 6. Pure tensor functions; the gradient itself is taken in `predict`.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

__all__ = ["standardised", "vanilla"]


def standardised(
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
