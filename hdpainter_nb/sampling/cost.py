"""What a run will cost, counted on the meta device: no weights, no arithmetic, exact numbers.

FLOPs are those of matrix products and convolutions. Bytes are those of tensors, with fused
attention: what the gradient graph saves, and the most that is held at once in each phase of a run.
The real modules run, hooks and gradient included, on tensors without memory.
"""

from __future__ import annotations

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
from hdpainter_nb.models.schedulers import NoiseLevel, State
from hdpainter_nb.sampling.predict import StepInputs, predict
from hdpainter_nb.sampling.step import BaseStep
from hdpainter_nb.utils import html
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.memory import Fused, LiveBytes, SavedBytes, meta_twin, weight_bytes
from hdpainter_nb.utils.nbytes import readable_bytes

__all__ = ["Estimate", "StepCost", "count", "step_cost"]

_CHANNELS = 4  # of latents, whatever a UNet says beside their prediction


@checked
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
    step: BaseStep[Any, Any], *, dtype: torch.dtype | None = None, exact: bool = True
) -> Estimate:
    """What a run will cost, whose every step is `step` at another index.

    Args:
        step: its conditioning may be empty tensors on the meta device.
        dtype: the precision to count for; the model's by default.
        exact: as for `Model.decode`.
    """
    model, cond, settings = step.model, step.conditioning, step.settings
    dtype = dtype or model.dtype
    unet = meta_twin(model.unet, dtype)
    plans = [step.plan(index) for index in range(len(step.timesteps))]
    kinds = {(plan.painta, plan.capture): plan for plan in plans}
    costs = {
        kind: step_cost(unet, cond, plan, settings, guided=step.guided)
        for kind, plan in kinds.items()
    }
    nothing = dataclasses.replace(plans[0], painta=False, gradient=False, capture=Capture.nothing())
    plain = step_cost(unet, cond, nothing, settings, guided=step.guided)

    latents = _CHANNELS * _area(cond, model.factor)
    shapes = layer_infos(unet, model.factor)
    capture_bytes = sum(
        plan.capture.bytes_per_step(
            shapes,
            len(step.positions),
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
    weights, phases, tile = _phases(step, max(each, key=_peak_of), held, dtype, exact=exact)
    return Estimate(
        steps=len(plans),
        capture_bytes=capture_bytes,
        graph_bytes=max(cost.graph_bytes for cost in each),
        flops=sum(cost.flops for cost in each),
        plain_flops=plain.flops * len(plans),
        weight_bytes=weights,
        phases=phases,
        tile=tile,
        dtype=str(dtype).removeprefix("torch."),
        budget=step.capture.limit,
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
    kernels: int
    """Operations that compute something: what a GPU is given to do, one by one."""


def _peak_of(cost: StepCost) -> int:
    return cost.peak_bytes


def step_cost(
    unet: Any, cond: TextConditioning, plan: HookPlan, settings: Any, *, guided: bool = True
) -> StepCost:
    """What one prediction costs.

    Args:
        unet: on the meta device, in the precision to count for.
        cond, plan, settings: of the step; tensors on any device.
        guided: whether the unconditional half is needed.
    """
    dtype = next(unet.parameters()).dtype
    control = getattr(cond, "control", None)
    network = None if control is None else meta_twin(control.network, dtype)  # not in the peak
    with LiveBytes() as live, Fused() as fused, SavedBytes(unet.parameters()) as saved:
        inputs = _on_meta(unet, cond, plan, settings, network, guided=guided)
        predict(unet, inputs).guided(2.0)
    return StepCost(
        flops=live.flops + fused.flops,
        peak_bytes=live.peak,
        graph_bytes=saved.total,
        graph_weights=saved.weights,
        kernels=live.kernels,
    )


def _on_meta(
    unet: Any,
    cond: TextConditioning,
    plan: HookPlan,
    settings: Any,
    network: Any,
    *,
    guided: bool,
) -> StepInputs[Any, Any]:
    """What a step is told, without memory."""
    dtype = next(unet.parameters()).dtype
    rows = {level: row.to("meta") for level, row in plan.rows.items()}
    size = 1, _CHANNELS, *_latent_size(cond, plan.factor)
    x = torch.empty(size, dtype=dtype, device="meta")
    return StepInputs(
        state=State(0, x, torch.empty(0)),
        level=NoiseLevel(999, torch.ones(())),
        x=x,
        conditioning=_to_meta(cond, dtype, network),
        settings=settings,
        plan=dataclasses.replace(plan, rows=rows, edits=None, transfer=_Gone(plan.capture.device)),
        guided=guided,
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
    step: BaseStep[Any, Any],
    cost: StepCost,
    held: int,
    dtype: torch.dtype,
    *,
    exact: bool,
) -> tuple[int, dict[str, int], int | None]:
    """Weights that stay, the peak of each phase, and the tile to decode in."""
    model, size = step.model, step.conditioning.size
    if model.pipe is None:
        weights = weight_bytes([model.unet], dtype)
        return weights, {"step": weights + cost.peak_bytes + held}, None
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
        "step": resident("unet", "controlnet", "vae", graph=cost.graph_weights)
        + cost.peak_bytes
        + held,
        "decode": resident("vae") + decode + held + _conditioning_bytes(step.conditioning, dtype),
    }
    return stay, phases, tile


def _conditioning_bytes(cond: TextConditioning, dtype: torch.dtype) -> int:
    """Bytes of the conditions, which stay on the device."""
    tensors = [getattr(cond, f.name) for f in dataclasses.fields(cond)]
    return sum(x.numel() * dtype.itemsize for x in tensors if isinstance(x, Tensor))


def _leaves(part: nn.Module) -> Iterator[nn.Module]:
    return (module for module in part.modules() if not any(True for _ in module.children()))
