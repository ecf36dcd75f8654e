"""What a run will cost, counted on the meta device: no weights, no arithmetic, exact numbers.

FLOPs are those of matrix products and convolutions, as torch's counter has them. The graph's bytes
are those of the distinct tensors saved for backward, weights excluded, with fused attention.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from hdpainter_nb import schedule
from hdpainter_nb.capture import Capture, Estimate
from hdpainter_nb.predict import predict
from hdpainter_nb.taps import Plan, attention_layers
from hdpainter_nb.types import Cond, Settings

if TYPE_CHECKING:
    from hdpainter_nb.sampler import Sampler

__all__ = ["estimate", "step_cost"]


def estimate(sampler: Sampler) -> Estimate:
    """See `Sampler.estimate`."""
    unet, dtype = sampler.model.unet, sampler.model.dtype
    with torch.device("meta"):
        twin = type(unet).from_config(unet.config)
    torch.nn.Module.to(twin, dtype)  # diffusers' own `to` would warn about precision
    guided, total = sampler.stepper.guided, sampler.total
    plans = [sampler.stepper.plan(index) for index in range(total)]
    costs = {
        painta: step_cost(twin, sampler.cond, plan, sampler.settings, guided=guided)
        for painta, plan in {plan.painta: plan for plan in plans}.items()
    }
    nothing = dataclasses.replace(plans[0], painta=False, scores=False, capture=Capture.nothing())
    plain, _ = step_cost(twin, sampler.cond, nothing, sampler.settings, guided=guided)

    counts = Counter(layer.level for layer in attention_layers(unet))
    layers = {
        layer.level: (counts[layer.level], layer.block.attn2.heads)
        for layer in attention_layers(unet)
    }
    latents = sampler.state.latents[0].numel()
    kept = sum(
        sampler.capture.bytes_per_step(layers, plan.tokens, sampler.cond.size, painta=plan.painta)
        + 3 * 4 * latents  # before, after, x0; float32
        + 3 * latents // 4  # preview
        for plan in plans
    )
    return Estimate(
        steps=total,
        capture_bytes=kept,
        graph_bytes=max(graph for _, graph in costs.values()),
        flops=sum(costs[plan.painta][0] for plan in plans),
        plain_flops=plain * total,
    )


def step_cost(
    unet: torch.nn.Module, cond: Cond, plan: Plan, settings: Settings, *, guided: bool = True
) -> tuple[int, int]:
    """FLOPs of one prediction, and bytes that its graph holds.

    Args:
        unet: on the meta device, in the precision to count for.
        cond, plan, settings: of the step; tensors on any device.
    """
    dtype = next(unet.parameters()).dtype
    there = _to_meta(cond, dtype)
    rows = {level: r.to("meta") for level, r in plan.rows.items()}
    plan = dataclasses.replace(plan, rows=rows)
    x = torch.empty_like(there.masked_image_latents)
    t = schedule.timesteps(settings.steps, settings.grid)[0]
    with FlopCounterMode(display=False) as counter:
        predict(unet, there, x, t, settings, plan, guided=guided)
    saved = _SavedBytes(unet)
    if plan.scores:
        with saved.hooks(), _Fused():
            predict(unet, there, x, t, settings, plan, guided=guided)
    return counter.get_total_flops(), saved.total


def _to_meta(cond: Cond, dtype: torch.dtype) -> Cond:
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(cond):
        value = getattr(cond, f.name)
        if isinstance(value, Tensor):
            changes[f.name] = value.to("meta", dtype if value.is_floating_point() else None)
        elif f.name in ("painta_masks", "added"):
            changes[f.name] = {k: v.to("meta") for k, v in value.items()}
    return dataclasses.replace(cond, **changes)


class _SavedBytes:
    """Bytes of distinct tensors saved for backward, weights excluded."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.total = 0
        self._weights = {p.untyped_storage()._cdata for p in unet.parameters()}
        self._kept: dict[int, Tensor] = {}  # holds storages, so that none is reused and missed

    def hooks(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in self._weights and key not in self._kept:
            self._kept[key] = tensor
            self.total += tensor.untyped_storage().nbytes()
        return tensor


class _FusedAttention(torch.autograd.Function):
    """Attention as a fused kernel does it.

    Saves q, k, v, the output and one number per row; the backward pass computes the probabilities
    anew.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = (q @ k.transpose(-1, -2)) @ v
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, _, _ = ctx.saved_tensors
        p = q @ k.transpose(-1, -2)
        dv = p.transpose(-1, -2) @ grads[0]
        dp = grads[0] @ v.transpose(-1, -2)
        return dp @ k, dp.transpose(-1, -2) @ q, dv


class _Fused(TorchFunctionMode):
    """Keeps what a fused kernel keeps; on the meta device torch would materialise the matrix."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))
