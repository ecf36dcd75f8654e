"""What a run will cost, counted on the meta device: no weights, no arithmetic, exact numbers.

FLOPs are those of matrix products and convolutions. Bytes are those of tensors, with fused
attention: what the gradient graph saves, and the most that is held at once in each phase of a run.
The real modules run, taps and gradient included, on tensors without memory.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hdpainter_nb.attention.layers import layer_infos
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import HostTransfer
from hdpainter_nb.models import vae_memory
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.devices import offload_mode
from hdpainter_nb.sampling.predict import predict
from hdpainter_nb.sampling.step import BaseStepper, Stepper
from hdpainter_nb.upscale.step import UpscaleStepper
from hdpainter_nb.utils import html
from hdpainter_nb.utils.memory import Fused, LiveBytes, SavedBytes, meta_twin, weight_bytes
from hdpainter_nb.utils.nbytes import readable_bytes

__all__ = ["Estimate", "StepCost", "count", "step_cost"]


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, counted before it starts.

    Peaks are the bytes of tensors. What CUDA itself takes (about half a GB) and what its
    allocator wastes (some per cent) come on top.
    """

    steps: int
    capture_bytes: int
    """Kept by the end of the run: maps, latents and previews of every step."""
    graph_bytes: int
    """Held at once by the gradient graph on the model's device; 0 without guidance."""
    flops: int
    """Floating-point operations of the whole run's UNet calls and gradients."""
    plain_flops: int
    """The same for plain guided sampling with nothing watched."""
    weight_bytes: int = 0
    """Weights that stay on the model's device all the time; 0 where they are offloaded."""
    phases: Mapping[str, int] = field(default_factory=dict)
    """``prepare``, ``step``, ``decode`` -> the most that is held at once on the model's device,
    weights included. A bare UNet has only ``step``."""
    tile: int | None = None
    """Side in pixels of the tiles that the VAE is assumed to decode in; None: in one piece."""
    dtype: str = ""
    """The precision counted for: ``float16``."""
    budget: int | None = None
    """What of `capture_bytes` may lie in main memory; the rest goes to disk. None: all of it."""

    @property
    def ratio(self) -> float:
        """`flops` over `plain_flops`."""
        return self.flops / self.plain_flops

    @property
    def peak_bytes(self) -> int:
        """The largest of `phases`: what the device must have free before the model is loaded."""
        return max(self.phases.values(), default=0)

    def __str__(self) -> str:
        text = (
            f"{self.steps} steps: {self.flops / 1e12:.3g} TFLOP "
            f"({self.ratio:.2f} x plain sampling), "
            f"{self._captured()}, "
            f"{readable_bytes(self.graph_bytes)} held by the gradient graph"
        )
        if not self.phases:
            return text
        each = ", ".join(f"{name} {readable_bytes(n)}" for name, n in self.phases.items())
        return (
            f"{text}; peak {readable_bytes(self.peak_bytes)} in {self.dtype} "
            f"(weights {readable_bytes(self.weight_bytes)}; {each}{self._tiles()})"
        )

    def _captured(self) -> str:
        whole = f"{readable_bytes(self.capture_bytes)} captured"
        if self.budget is None or self.capture_bytes <= self.budget:
            return f"{whole} in main memory"
        return f"{whole}, all but {readable_bytes(self.budget)} of it on disk"

    def _tiles(self) -> str:
        return "" if self.tile is None else f" in tiles of {self.tile} px"

    def _repr_html_(self) -> str:
        return html.table(self._facts())

    def _facts(self) -> dict[str, Any]:
        peaks = {f"peak of {name}": readable_bytes(n) for name, n in self.phases.items()}
        if self.tile is not None and "peak of decode" in peaks:
            peaks["peak of decode"] += self._tiles()
        return {
            "peak on the device": f"{readable_bytes(self.peak_bytes)} in {self.dtype}",
            "weights": readable_bytes(self.weight_bytes),
            **peaks,
            "gradient graph": readable_bytes(self.graph_bytes),
            "captured": self._captured(),
            "operations": f"{self.flops / 1e12:.3g} TFLOP in {self.steps} steps, "
            f"{self.ratio:.2f} x plain sampling",
        }


def count(
    stepper: BaseStepper[Any, Any], *, dtype: torch.dtype | None = None, exact: bool = True
) -> Estimate:
    """What the run that a stepper makes will cost. See `Sampler.estimate` and `run_cost`."""
    model, cond, settings = stepper.model, stepper.cond, stepper.settings
    dtype = dtype or model.dtype
    unet = meta_twin(model.unet, dtype)
    plans = [_plan(stepper, index) for index in range(len(stepper.timesteps))]
    costs = {
        (plan.painta, plan.capture): step_cost(unet, cond, plan, settings, stepper=stepper)
        for plan in {(plan.painta, plan.capture): plan for plan in plans}.values()
    }
    nothing = dataclasses.replace(plans[0], painta=False, scores=False, capture=Capture.nothing())
    plain = step_cost(unet, cond, nothing, settings, stepper=stepper)

    latents = model.unet.config.out_channels * _area(cond, model.factor)
    shapes = layer_infos(unet, model.factor)
    kept = sum(
        plan.capture.bytes_per_step(
            shapes,
            len(stepper.positions),
            cond.size,
            painta=plan.painta,
            text=cond.context.shape[1],
        )
        + 3 * 4 * latents  # before, after, x0; float32
        + 3 * latents // 4  # preview
        for plan in plans
    )
    each = [costs[plan.painta, plan.capture] for plan in plans]
    held = 3 * latents * dtype.itemsize  # the first state, and x_t and x0 of the newest
    weights, phases, tile = _phases(stepper, max(each, key=_peak_of), held, dtype, exact=exact)
    return Estimate(
        steps=len(plans),
        capture_bytes=kept,
        graph_bytes=max(cost.graph_bytes for cost in each),
        flops=sum(cost.flops for cost in each),
        plain_flops=plain.flops * len(plans),
        weight_bytes=weights,
        phases=phases,
        tile=tile,
        dtype=str(dtype).removeprefix("torch."),
        budget=stepper.capture.limit,
    )


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What the UNet calls and the gradient of one step cost."""

    flops: int
    peak_bytes: int
    """The most held at once, weights excluded."""
    graph_bytes: int
    """Saved for the gradient, weights excluded."""
    graph_weights: int
    """Bytes of the weights that the gradient needs."""


def _peak_of(cost: StepCost) -> int:
    return cost.peak_bytes


def step_cost(
    unet: Any,
    cond: TextConditioning,
    plan: HookPlan,
    settings: Any,
    *,
    guided: bool = True,
    stepper: BaseStepper[Any, Any] | None = None,
) -> StepCost:
    """What one prediction costs.

    Args:
        unet: on the meta device, in the precision to count for.
        cond, plan, settings: of the step; tensors on any device.
        guided: whether the unconditional half is needed.
        stepper: knows it better, where given, and is needed to make pictures larger.
    """
    dtype = next(unet.parameters()).dtype
    guided = guided if stepper is None else stepper.guided
    control = getattr(cond, "control", None)
    lead = None if control is None else meta_twin(control.network, dtype)  # no part of the peak
    with LiveBytes() as live, Fused() as fused, SavedBytes(unet.parameters()) as saved:
        there = _to_meta(cond, dtype, lead)
        rows = {level: r.to("meta") for level, r in plan.rows.items()}
        shelf = _Gone(plan.capture.device)
        plan = dataclasses.replace(plan, rows=rows, edits=None, shelf=shelf)
        size = 1, unet.config.out_channels, *_latent_size(cond, plan.factor)
        x = torch.empty(size, dtype=dtype, device="meta")
        if isinstance(stepper, UpscaleStepper):
            bare = copy.copy(stepper.model)
            bare.pipe, bare._unet = None, unet
            quiet = dataclasses.replace(stepper, model=bare, cond=there, shelf=shelf)
            said = quiet.predict(x, stepper.timesteps[0])
        else:
            said = predict(unet, there, x, 999, settings, plan, guided=guided)
        said.guided(2.0)
    return StepCost(
        flops=live.flops + fused.flops,
        peak_bytes=live.peak,
        graph_bytes=saved.total,
        graph_weights=saved.weights,
    )


class _Gone(HostTransfer):
    """Where maps leave the device; `place` says whether they do."""

    def __init__(self, place: Any) -> None:
        super().__init__(place=place)

    def put(self, x: Any, dtype: torch.dtype = torch.float32) -> Any:
        """The tensor where it stays, else nothing."""
        if not isinstance(x, Tensor):
            return x
        cast = x.to(dtype).contiguous()
        return cast if self.place == "model" else None


def _plan(stepper: BaseStepper[Any, Any], index: int) -> HookPlan:
    if isinstance(stepper, UpscaleStepper):
        return stepper.plan(index=index)
    assert isinstance(stepper, Stepper)
    return stepper.plan(index)


def _to_meta(cond: TextConditioning, dtype: torch.dtype, network: Any) -> Any:
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(cond):
        value = getattr(cond, f.name)
        if isinstance(value, Tensor):
            half = dtype if value.is_floating_point() and f.name != "score_mask" else None
            changes[f.name] = torch.empty_like(value, device="meta", dtype=half)
        elif f.name in ("painta_masks", "added"):
            changes[f.name] = {k: v.to("meta") for k, v in value.items()}
        elif f.name == "control" and value is not None:
            image = value.image.to("meta", dtype)
            changes[f.name] = dataclasses.replace(value, network=network, image=image)
    return dataclasses.replace(cond, **changes)


def _latent_size(cond: TextConditioning, factor: int) -> tuple[int, int]:
    return cond.size[0] // factor, cond.size[1] // factor


def _area(cond: TextConditioning, factor: int) -> int:
    height, width = _latent_size(cond, factor)
    return height * width


def _phases(
    stepper: BaseStepper[Any, Any],
    step: StepCost,
    held: int,
    dtype: torch.dtype,
    *,
    exact: bool,
) -> tuple[int, dict[str, int], int | None]:
    """Weights that stay, the peak of each phase, and the tile to decode in."""
    model, size = stepper.model, stepper.cond.size
    if model.pipe is None:
        weights = weight_bytes([model.unet], dtype)
        return weights, {"step": weights + step.peak_bytes + held}, None
    pipe, where = model.pipe, offload_mode(model.pipe)
    parts = {n: p for n, p in pipe.components.items() if isinstance(p, nn.Module)}
    if model.controlnet is not None:
        parts["controlnet"] = model.controlnet
    sizes = {name: weight_bytes([part], dtype) for name, part in parts.items()}
    stay = 0 if where else sum(sizes.values())
    leaf = max(weight_bytes([module], dtype) for part in parts.values() for module in _leaves(part))

    def resident(*names: str, graph: int = 0) -> int:
        """Bytes of weights on the device while these parts work."""
        if where is None:
            return stay
        fetched = sum(sizes.get(n, 0) for n in names)
        return fetched if where == "model" else leaf + graph

    upcast = model.upcasts(dtype)
    tile: int | None
    if exact:
        room = torch.device(model.device)
        tile = vae_memory.choose(pipe.vae, "decode", size, room, dtype=dtype, float32=upcast)[0]
        encoding = vae_memory.choose(pipe.vae, "encode", size, room, dtype=dtype)[0]
    else:
        tile, encoding = vae_memory.own_tile(pipe.vae), None
        tile = tile if tile < max(size) else None
    encode = vae_memory.peak(pipe.vae, "encode", size, encoding, dtype=dtype) or 0
    decode = vae_memory.peak(pipe.vae, "decode", size, tile, dtype=dtype, float32=upcast) or 0
    phases = {
        "prepare": resident("text_encoder", "text_encoder_2", "vae") + encode,
        "step": resident("unet", "controlnet", "vae", graph=step.graph_weights)
        + step.peak_bytes
        + held,
        "decode": resident("vae") + decode + held + _told(stepper.cond, dtype),
    }
    return stay, phases, tile


def _told(cond: TextConditioning, dtype: torch.dtype) -> int:
    """Bytes of the conditions, which stay on the device."""
    tensors = [getattr(cond, f.name) for f in dataclasses.fields(cond)]
    return sum(x.numel() * dtype.itemsize for x in tensors if isinstance(x, Tensor))


def _leaves(part: nn.Module) -> Iterator[nn.Module]:
    return (module for module in part.modules() if not any(True for _ in module.children()))
