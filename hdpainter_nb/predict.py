"""One guided noise prediction and, with it, the gradient that RASG needs.

S depends on the conditional half only, on no weight, and on no layer after the last
cross-attention at H/32. So with guidance the halves run apart: the conditional one with a graph
that ends there, the unconditional one without any. Without guidance both run as one batch, as the
stock pipeline has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hdpainter_nb.errors import HDPainterError
from hdpainter_nb.rasg import objective
from hdpainter_nb.taps import Plan, Seen, Taps
from hdpainter_nb.types import Cond, Settings

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the UNet said at x_t, each (1, 4, h, w), in its own terms (epsilon or v)."""

    uncond: Tensor | None  # None without classifier-free guidance
    cond: Tensor
    seen: Seen
    score: Tensor | None = None  # () float32, S(x_t)
    grad: Tensor | None = None  # (1, 4, h, w) float32, grad_{x_t} S

    def guided(self, scale: float) -> Tensor:
        """Classifier-free guidance."""
        if self.uncond is None:
            return self.cond
        return self.uncond + scale * (self.cond - self.uncond)

    @property
    def guided_norm(self) -> float:
        """Root mean square of the guidance term, 0 without guidance."""
        if self.uncond is None:
            return 0.0
        return float((self.cond - self.uncond).float().square().mean() ** 0.5)


def predict(
    unet: nn.Module,
    cond: Cond,
    x: Tensor,
    timestep: int,
    settings: Settings,
    plan: Plan,
    *,
    guided: bool = True,
) -> Prediction:
    """Run the UNet on x_t under taps.

    Args:
        x: (1, 4, h, w).
        plan: what the taps do; ``plan.scores`` asks for the gradient.
        guided: whether the unconditional half is needed.

    Raises:
        SamplingCancelled: the plan was cancelled while the UNet ran; nothing is left behind.
    """
    with frozen(unet), Taps(unet, plan) as taps, torch.no_grad():
        if not plan.scores:
            if not guided:
                taps.half = "cond"
                return Prediction(None, call(unet, cond, x, timestep, slice(1, 2)), taps.seen)
            both = call(unet, cond, x, timestep, slice(0, 2))
            return Prediction(both[:1], both[1:], taps.seen)

        taps.half = "cond"
        with torch.enable_grad():
            leaf = x.detach().float().requires_grad_()
            conditional = call(unet, cond, leaf.to(x.dtype), timestep, slice(1, 2)).detach()
        score, grad = gradient(leaf, taps.seen, cond, settings)
        taps.seen.scores = [a.detach() for a in taps.seen.scores]  # let the graph go
        uncond = None
        if guided:
            taps.half = "uncond"
            uncond = call(unet, cond, x, timestep, slice(0, 1))
        return Prediction(uncond, conditional, taps.seen, score, grad)


def call(unet: nn.Module, cond: Cond, x: Tensor, timestep: int, halves: slice) -> Tensor:
    """The UNet on the given halves (0 unconditional, 1 conditional) of the context."""
    context = cond.context[halves]
    count = len(context)
    channels = (
        [x, cond.latent_mask, cond.masked_image_latents] if cond.known_latents is None else [x]
    )
    stacked = torch.cat([channel.expand(count, -1, -1, -1) for channel in channels], dim=1)
    added = {name: value[halves] for name, value in cond.added.items()} or None
    output: Tensor = unet(
        stacked,
        timestep,
        encoder_hidden_states=context,
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    return output


def gradient(leaf: Tensor, seen: Seen, cond: Cond, settings: Settings) -> tuple[Tensor, Tensor]:
    """S and grad_{x_t} S, both float32.

    S itself is differentiated with respect to the scores in float32. What then travels back through
    the UNet is scaled to a largest entry near 1 by a power of two, so that half precision neither
    underflows nor rounds; if it overflows, it travels once more, smaller.

    Args:
        leaf: (1, 4, h, w), the x_t that the graph starts from.
        seen: holds the scores of every H/32 layer, with their graph.
    """
    with torch.enable_grad():
        chosen = seen.mean_scores()[list(cond.indices)]  # (n, H/32, W/32)
        detached = chosen.detach().requires_grad_()
        score = objective(detached, cond.score_mask.to(detached), settings)
        (by_score,) = torch.autograd.grad(score, detached)
    largest = by_score.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    unit = torch.exp2(-torch.floor(torch.log2(largest)))
    half = chosen.device.type != "meta" and cond.context.dtype in (torch.float16, torch.bfloat16)
    for exponent in (0, -6, -12) if half else (0,):
        scale = unit * 2.0**exponent
        (g,) = torch.autograd.grad(chosen, leaf, by_score * scale, retain_graph=half)
        if not half or bool(g.isfinite().all()):
            return score.detach(), g / scale
    raise HDPainterError(
        "The gradient of S is not finite in this precision. Load the model with "
        "dtype='bfloat16' or 'float32', or use rasg=False."
    )


@contextmanager
def frozen(unet: nn.Module) -> Iterator[None]:
    """No weight asks for a gradient inside; those that did ask again afterwards."""
    learning = [p for p in unet.parameters() if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)
