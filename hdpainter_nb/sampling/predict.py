"""One guided noise prediction and, with it, the gradient that RASG needs.

S depends on the conditional half only, on no weight, and on no layer after the last
cross-attention at H/32. So with guidance the halves run apart: the conditional one with a graph
that ends there, the unconditional one without any. Without guidance both run as one batch, as the
stock pipeline has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.observations import Seen
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.errors import HDPainterError
from hdpainter_nb.method.attention import take
from hdpainter_nb.method.objectives import objective
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.settings import Settings

if TYPE_CHECKING:
    from hdpainter_nb.models.controlnet import Control

__all__ = ["Inputs", "Prediction", "ask", "call", "frozen", "gradients", "inputs", "predict"]


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
    cond: Conditioning,
    x: Tensor,
    timestep: float,
    settings: Settings,
    plan: HookPlan,
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
    learning = [unet, *networks(cond)] if plan.scores else []
    with frozen(*learning), AttentionHooks(unet, plan) as taps, torch.no_grad():
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


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the UNet is given, one row for each half of each sample."""

    stacked: Tensor  # (n, 4 or 9, h, w)
    context: Tensor  # (n, L, d)
    added: Mapping[str, Tensor]  # (n, ...) each
    control: Control | None = None
    images: Tensor | None = None  # (n, 3, H, W), what ControlNet follows


def inputs(cond: Conditioning, x: Tensor, halves: slice) -> Inputs:
    """What the UNet is given for the halves (0 unconditional, 1 conditional) of a sample."""
    context = cond.context[halves]
    count = len(context)
    channels = (
        [x, cond.latent_mask, cond.masked_image_latents] if cond.known_latents is None else [x]
    )
    stacked = torch.cat([channel.expand(count, -1, -1, -1) for channel in channels], dim=1)
    added = {name: value[halves] for name, value in cond.added.items()}
    images = None if cond.control is None else cond.control.image.expand(count, -1, -1, -1)
    return Inputs(stacked, context, added, cond.control, images)


def ask(unet: nn.Module, given: Inputs, timestep: float) -> Tensor:
    """What the UNet says, (n, 4, h, w)."""
    more: dict[str, Any] = {}
    if given.control is not None and given.images is not None:
        x = given.stacked[:, :4]
        more = given.control.residuals(x, timestep, given.context, given.images)
    output: Tensor = unet(
        given.stacked,
        timestep,
        encoder_hidden_states=given.context,
        added_cond_kwargs=given.added or None,
        return_dict=False,
        **more,
    )[0]
    return output


def call(unet: nn.Module, cond: Conditioning, x: Tensor, timestep: float, halves: slice) -> Tensor:
    """The UNet on the given halves of one sample."""
    return ask(unet, inputs(cond, x, halves), timestep)


def gradient(
    leaf: Tensor, seen: Seen, cond: Conditioning, settings: Settings
) -> tuple[Tensor, Tensor]:
    """S and grad_{x_t} S of one sample, both float32; see `gradients`."""
    scores, grad = gradients(leaf, [seen], [cond], settings)
    return scores[0], grad


def gradients(
    leaf: Tensor, seen: Sequence[Seen], conds: Sequence[Conditioning], settings: Settings
) -> tuple[list[Tensor], Tensor]:
    """S of every sample and grad_{x_t} S, all float32; no sample's S depends on another's x_t.

    S itself is differentiated with respect to the scores in float32. What then travels back through
    the UNet is scaled to a largest entry near 1 by a power of two, so that half precision neither
    underflows nor rounds; if it overflows, it travels once more, smaller.

    Args:
        leaf: (n, 4, h, w), the x_t that the graph starts from, one row for each sample.
        seen: each holds the scores of every H/32 layer, with their graph.
    """
    chosen, scores, units, pushes = [], [], [], []
    for one, cond in zip(seen, conds, strict=True):
        with torch.enable_grad():
            abar = take(one.mean_scores(), cond.indices, 0)  # (tokens, H/32, W/32)
            detached = abar.detach().requires_grad_()
            score = objective(detached, cond.score_mask.to(detached), settings)
            (by_score,) = torch.autograd.grad(score, detached)
        largest = by_score.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
        unit = torch.exp2(-torch.floor(torch.log2(largest)))
        chosen.append(abar)
        scores.append(score.detach())
        units.append(unit)
        pushes.append(by_score * unit)
    dtype = conds[0].context.dtype
    # bfloat16 reaches as far as float32, so only float16 may need a second attempt.
    scales = (1.0, 2.0**-6, 2.0**-12) if dtype == torch.float16 else (1.0,)
    unit = torch.stack(units).view(-1, 1, 1, 1)
    for scale in scales:
        pushed = [push * scale for push in pushes]
        (g,) = torch.autograd.grad(chosen, leaf, pushed, retain_graph=scale != scales[-1])
        if dtype == torch.float32 or g.is_meta or bool(g.isfinite().all()):
            return scores, g / (unit * scale)
    raise HDPainterError(
        "The gradient of S is not finite in this precision. Load the model with "
        "dtype='bfloat16' or 'float32', or use rasg=False."
    )


def networks(cond: Conditioning) -> list[nn.Module]:
    """What runs besides the UNet."""
    return [] if cond.control is None else [cond.control.network]


@contextmanager
def frozen(*parts: nn.Module) -> Iterator[None]:
    """No weight asks for a gradient inside; those that did ask again afterwards.

    Found by their place, since the hooks of an offloaded network put other parameters there. It is
    the modules' own dictionaries that are read: asking by name takes longer than many a step.
    """
    learning = [
        (module._parameters, name)
        for part in parts
        for module in part.modules()
        for name, p in module._parameters.items()
        if p is not None and p.requires_grad
    ]

    def learn(wanted: bool) -> None:
        for places, name in learning:
            if (parameter := places[name]) is not None:
                parameter.requires_grad_(wanted)

    learn(False)
    try:
        yield
    finally:
        learn(True)
