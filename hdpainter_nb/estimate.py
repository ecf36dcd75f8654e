"""What a run will cost, counted on the meta device: no weights, no arithmetic, exact numbers.

FLOPs are those of matrix products and convolutions. Bytes are those of tensors, with fused
attention: what the gradient graph saves, and the most that is held at once in each phase of a run.
The real modules run, taps and gradient included, on tensors without memory.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hdpainter_nb import blueprint, solver_step, vae_run
from hdpainter_nb.capture import Capture
from hdpainter_nb.cost import Estimate
from hdpainter_nb.memory import Fused, LiveBytes, SavedBytes, meta_twin, weight_bytes
from hdpainter_nb.models import Model
from hdpainter_nb.offload import Shelf
from hdpainter_nb.placement import placed
from hdpainter_nb.predict import predict
from hdpainter_nb.step import BaseStepper, Stepper
from hdpainter_nb.taps import Plan, layer_shapes
from hdpainter_nb.types import Conditions, Job
from hdpainter_nb.upscale_model import UpscaleJob, UpscaleModel
from hdpainter_nb.upscale_step import UpscaleStepper

__all__ = ["StepCost", "count", "run_cost", "step_cost"]


def run_cost(
    model: Model,
    job: Job | UpscaleJob,
    capture: Capture | None = None,
    *,
    dtype: torch.dtype | None = None,
    exact: bool = True,
) -> Estimate:
    """What a run will cost, before anything of it is computed, its preparation included.

    >>> print(run_cost(model, job))
    >>> run_cost(model, job.replace(long_side=1024), dtype=torch.float16).peak_bytes

    Args:
        model: from `load` or `load_upscaler`.
        job: what to paint, or to make larger.
        capture: what to keep of each step; `Capture.standard` by default.
        dtype: the precision to count for; the model's by default.
        exact: as for `Model.decode`.

    Raises:
        ModelError: this is a bare UNet; make a sampler and call its `estimate`.
    """
    kept = Capture.standard() if capture is None else capture
    if isinstance(job, UpscaleJob):
        assert isinstance(model, UpscaleModel)
        larger = UpscaleStepper(model, blueprint.upscaled(model, job), job.settings, kept)
        return count(larger, dtype=dtype, exact=exact)
    return count(
        solver_step.stepper(model, blueprint.painted(model, job), job.settings, kept),
        dtype=dtype,
        exact=exact,
    )


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
    shapes = layer_shapes(unet, model.factor)
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


# --- a step --------------------------------------------------------------------------------------


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
    cond: Conditions,
    plan: Plan,
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


class _Gone(Shelf):
    """Where maps leave the device; `place` says whether they do."""

    def __init__(self, place: Any) -> None:
        super().__init__(place=place)

    def put(self, x: Any, dtype: torch.dtype = torch.float32) -> Any:
        """The tensor where it stays, else nothing."""
        if not isinstance(x, Tensor):
            return x
        cast = x.to(dtype).contiguous()
        return cast if self.place == "model" else None


def _plan(stepper: BaseStepper[Any, Any], index: int) -> Plan:
    if isinstance(stepper, UpscaleStepper):
        return stepper.plan(index=index)
    assert isinstance(stepper, Stepper)
    return stepper.plan(index)


def _to_meta(cond: Conditions, dtype: torch.dtype, network: Any) -> Any:
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


def _latent_size(cond: Conditions, factor: int) -> tuple[int, int]:
    return cond.size[0] // factor, cond.size[1] // factor


def _area(cond: Conditions, factor: int) -> int:
    height, width = _latent_size(cond, factor)
    return height * width


# --- the phases of a run -------------------------------------------------------------------------


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
    pipe, where = model.pipe, placed(model.pipe)
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
        tile = vae_run.choose(pipe.vae, "decode", size, room, dtype=dtype, float32=upcast)[0]
        encoding = vae_run.choose(pipe.vae, "encode", size, room, dtype=dtype)[0]
    else:
        tile, encoding = vae_run.own_tile(pipe.vae), None
        tile = tile if tile < max(size) else None
    encode = vae_run.peak(pipe.vae, "encode", size, encoding, dtype=dtype) or 0
    decode = vae_run.peak(pipe.vae, "decode", size, tile, dtype=dtype, float32=upcast) or 0
    phases = {
        "prepare": resident("text_encoder", "text_encoder_2", "vae") + encode,
        "step": resident("unet", "controlnet", "vae", graph=step.graph_weights)
        + step.peak_bytes
        + held,
        "decode": resident("vae") + decode + held + _told(stepper.cond, dtype),
    }
    return stay, phases, tile


def _told(cond: Conditions, dtype: torch.dtype) -> int:
    """Bytes of the conditions, which stay on the device."""
    tensors = [getattr(cond, f.name) for f in dataclasses.fields(cond)]
    return sum(x.numel() * dtype.itemsize for x in tensors if isinstance(x, Tensor))


def _leaves(part: nn.Module) -> Iterator[nn.Module]:
    return (module for module in part.modules() if not any(True for _ in module.children()))
