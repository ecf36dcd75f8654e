"""Several samples in one UNet call, each with taps of its own: `predict_all`.

A call's rows are the unconditional halves of all samples, then the conditional ones. Everything but
the tapped attention layers treats them as a batch like any other; at those, each sample's rows go
through that sample's own taps, which see what they would see if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.attention.processors import HookedAttention, HookedSelfAttention
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.sampling.predict import (
    Inputs,
    Prediction,
    ask,
    frozen,
    gradients,
    inputs,
    networks,
)
from hdpainter_nb.settings import Settings

__all__ = ["predict_all", "shared_taps"]


def predict_all(
    unet: nn.Module,
    conds: Sequence[Conditioning],
    latents: Sequence[Tensor],
    timestep: float,
    settings: Settings,
    plans: Sequence[HookPlan],
    *,
    guided: bool = True,
) -> list[Prediction]:
    """What `predict` says of each sample, from one UNet call for all, or from two with a gradient.

    Args:
        conds, latents, plans: of each sample; latents (1, 4, h, w), as the UNet takes them.
        settings: those of all samples; the plans agree in everything but ``edits``.

    Raises:
        SamplingCancelled: a plan was cancelled while the UNet ran; nothing is left behind.
    """

    def call(xs: Sequence[Tensor], half: Half) -> Tensor:
        for one in taps:
            one.half = half
        halves = {"both": slice(0, 2), "cond": slice(1, 2), "uncond": slice(0, 1)}[half]
        given = [inputs(cond, x, halves) for cond, x in zip(conds, xs, strict=True)]
        return ask(unet, _together(given), timestep)

    learning = [unet, *networks(conds[0])] if plans[0].scores else []
    with frozen(*learning), shared_taps(unet, plans) as taps, torch.no_grad():
        if not plans[0].scores:
            said = call(latents, "both" if guided else "cond").split(len(conds))
            uncond = said[0].split(1) if guided else [None] * len(conds)
            each = zip(uncond, said[-1].split(1), taps, strict=True)
            return [Prediction(u, c, one.seen) for u, c, one in each]

        with torch.enable_grad():
            leaf = torch.cat(list(latents)).detach().float().requires_grad_()  # (n, 4, h, w)
            conditional = call(leaf.to(latents[0].dtype).split(1), "cond").detach().split(1)
        seen = [one.seen for one in taps]
        scores, grad = gradients(leaf, seen, conds, settings)
        for one in seen:
            one.scores = [a.detach() for a in one.scores]  # let the graph go
        uncond = call(latents, "uncond").split(1) if guided else [None] * len(conds)
        every = zip(uncond, conditional, seen, scores, grad.split(1), strict=True)
        return [Prediction(*one) for one in every]


def _together(given: Sequence[Inputs]) -> Inputs:
    """The rows of all samples, first half first."""

    def rows(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(parts), 1).flatten(0, 1)  # (halves * n, ...)

    images = [one.images for one in given if one.images is not None]
    return Inputs(
        rows([one.stacked for one in given]),
        rows([one.context for one in given]),
        {name: rows([one.added[name] for one in given]) for name in given[0].added},
        given[0].control,
        rows(images) if images else None,
    )


@contextmanager
def shared_taps(unet: nn.Module, plans: Sequence[HookPlan]) -> Iterator[list[AttentionHooks]]:
    """The UNet with taps for every plan inside, as it was before outside."""
    layers = attention_layers(unet, plans[0].factor)
    attentions = [part for layer in layers for part in (layer.block.attn1, layer.block.attn2)]
    own: dict[Attention, list[HookedAttention]] = {part: [] for part in attentions}
    all_taps = [AttentionHooks(unet, plan) for plan in plans]
    for taps in all_taps:
        with taps:  # in and out again: what is wanted are the processors that it puts in
            for part in attentions:
                if isinstance(part.processor, HookedAttention):
                    own[part].append(part.processor)
    with ExitStack() as undo:
        for layer in layers:
            for part in (layer.block.attn1, layer.block.attn2):
                if own[part]:
                    undo.callback(part.set_processor, part.processor)
                    part.set_processor(_Shared(own[part]))
            watching = [
                tap for tap in own[layer.block.attn1] if isinstance(tap, HookedSelfAttention)
            ]
            if watching:
                hook = layer.block.register_forward_pre_hook(_hand_over(watching), with_kwargs=True)
                undo.callback(hook.remove)
        yield all_taps


class _Shared:
    """An attention processor that hands each sample's rows to that sample's own tap."""

    def __init__(self, taps: Sequence[HookedAttention]) -> None:
        self.taps = taps

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        given = {"encoder_hidden_states": encoder_hidden_states, **more}
        watching, done = torch.is_grad_enabled(), []
        for number, tap in enumerate(self.taps):
            torch.set_grad_enabled(watching)  # a tap may end the graph, for its own sample
            own = _part({"hidden_states": hidden_states, **given}, number, len(self.taps))
            done.append(tap(attn, **own))  # type: ignore[operator]  # every tap can be called
        return torch.stack(done, 1).flatten(0, 1)


def _hand_over(taps: Sequence[HookedSelfAttention]) -> Any:
    """A forward pre-hook of a block that shows each tap its own sample's input."""

    def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for number, tap in enumerate(taps):
            own = _part(dict(enumerate(args)), number, len(taps))
            tap.take_input(block, tuple(own.values()), _part(kwargs, number, len(taps)))

    return hook


def _part(values: Mapping[Any, Any], number: int, count: int) -> dict[Any, Any]:
    """What of some arguments belongs to one sample of `count`: every count-th row of tensors."""
    return {
        name: value[number::count] if isinstance(value, Tensor) and value.ndim else value
        for name, value in values.items()
    }
