"""Guided predictions of the UNet under hooks; for RASG, with the gradient of S.

S depends on the conditional half only, on no weight, and on no layer after the last
cross-attention at H/32. So with a gradient the halves run apart: the conditional one with a graph
that ends there, the unconditional one without any. Otherwise both run as one batch, as the stock
pipeline has it. Several samples share a call: its rows are the unconditional halves of all samples,
then the conditional ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from hdpainter_nb.attention.hooks import AttentionHooks, Installation, shared
from hdpainter_nb.attention.observations import Observations
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.errors import HDPainterError, ModelError
from hdpainter_nb.method.attention import take
from hdpainter_nb.method.objectives import objective
from hdpainter_nb.models.conditioning import Conditioning, TextConditioning, UNetInputs
from hdpainter_nb.models.families import refuse_ip_adapter
from hdpainter_nb.models.schedulers import NoiseLevel, State
from hdpainter_nb.settings import BaseSettings, Settings
from hdpainter_nb.utils.memory import is_shortage
from hdpainter_nb.utils.swapped_weights import UsedWeights, may_swap

__all__ = ["Frozen", "Prediction", "StepInputs", "call", "gradients", "predict", "predict_all"]

C_co = TypeVar("C_co", bound=TextConditioning, covariant=True)
S_co = TypeVar("S_co", bound=BaseSettings, covariant=True)

_HALVES: dict[Half, slice] = {"both": slice(0, 2), "cond": slice(1, 2), "uncond": slice(0, 1)}


@dataclass(frozen=True, eq=False, kw_only=True)
class StepInputs(Generic[C_co, S_co]):
    """Everything that one step is told, worked out once."""

    state: State
    level: NoiseLevel  # of x
    x: Tensor  # (1, 4, h, w): x_t as the UNet takes it
    conditioning: C_co  # with the masks as this step's edits leave them
    settings: S_co
    plan: HookPlan
    guided: bool = True  # whether the unconditional half runs
    started: float = field(default_factory=time.perf_counter)  # seconds


@dataclass(frozen=True, eq=False)
class Prediction:
    """The UNet's output at x_t, each (1, 4, h, w), in its own terms (epsilon or v).

    A UNet may have a fifth channel, `object_logits` (1, 1, h, w): the mask of the object.
    """

    uncond: Tensor | None  # None without classifier-free guidance
    cond: Tensor
    observations: Observations
    score: Tensor | None = None  # () float32, S(x_t)
    grad: Tensor | None = None  # (1, 4, h, w) float32, grad_{x_t} S
    object_logits: Tensor | None = None  # (1, 1, h, w), of the conditional half

    @classmethod
    def of(
        cls,
        uncond: Tensor | None,
        cond: Tensor,
        observations: Observations,
        score: Tensor | None = None,
        grad: Tensor | None = None,
    ) -> Self:
        """A prediction of the UNet's whole outputs, (1, 4 or 5, h, w)."""
        logits = cond[:, 4:] if cond.shape[1] > 4 else None
        uncond = None if uncond is None else uncond[:, :4]
        return cls(uncond, cond[:, :4], observations, score, grad, logits)

    def guided(self, scale: float) -> Tensor:
        """Classifier-free guidance (Ho & Salimans 2022): u + scale (c - u)."""
        if self.uncond is None:
            return self.cond
        return self.uncond + scale * (self.cond - self.uncond)

    @property
    def guided_norm(self) -> float:
        """Root mean square of the guidance term, 0 without guidance."""
        if self.uncond is None:
            return 0.0
        return float((self.cond - self.uncond).float().square().mean() ** 0.5)


def predict(unet: nn.Module, inputs: StepInputs[TextConditioning, BaseSettings]) -> Prediction:
    """Run the UNet on x_t under this step's hooks; see `predict_all`."""
    return predict_all(unet, [inputs])[0]


def predict_all(
    unet: nn.Module, inputs: Sequence[StepInputs[TextConditioning, BaseSettings]]
) -> list[Prediction]:
    """The prediction of each sample, from one UNet call for all, or from two with a gradient.

    Args:
        unet: of all samples.
        inputs: one for each sample; they agree in the timestep, the settings, the size, and in
            everything of their plans but ``edits``. ``plan.gradient`` asks for grad S.

    Raises:
        SamplingCancelled: a plan was cancelled while the UNet ran; nothing is left behind.
    """
    hooks = [AttentionHooks(unet, one.plan) for one in inputs]
    installation = shared(hooks)
    gradient = inputs[0].plan.gradient
    freeze = Frozen(unet, *inputs[0].conditioning.networks) if gradient else Frozen()
    grad_mode = torch.is_grad_enabled()
    try:
        with freeze, installation, torch.no_grad():
            return _predictions(unet, inputs, hooks, installation, swaps=freeze.swaps)
    finally:  # again, where an interrupt came in while all was being put back
        installation.eject()
        freeze.thaw()
        torch.set_grad_enabled(grad_mode)


def _predictions(
    unet: nn.Module,
    inputs: Sequence[StepInputs[TextConditioning, BaseSettings]],
    hooks: Sequence[AttentionHooks],
    installation: Installation,
    *,
    swaps: bool,
) -> list[Prediction]:
    """What `predict_all` gives, with hooks in place and weights frozen.

    Args:
        swaps: whether networks may have other weights after they run than while.
    """
    first, count = inputs[0], len(inputs)

    def run(xs: Sequence[Tensor], half: Half) -> Tensor:
        rows = [
            one.conditioning.unet_inputs(x, _HALVES[half])
            for one, x in zip(inputs, xs, strict=True)
        ]
        with installation.call(half):
            return call(unet, UNetInputs.together(rows), first.level.timestep)

    xs = [one.x for one in inputs]
    observations = [one.observations for one in hooks]
    if not first.plan.gradient:
        halves = run(xs, "both" if first.guided else "cond").split(count)
        uncond = _each(halves[0], count) if first.guided else [None] * count
        each = zip(uncond, _each(halves[-1], count), observations, strict=True)
        return [Prediction.of(*one) for one in each]

    used = UsedWeights() if swaps else nullcontext()
    with torch.enable_grad(), used:
        leaf = _joined(xs).detach().float().requires_grad_()  # (n, 4, h, w)
        cond = _each(run(_each(leaf.to(xs[0].dtype), count), "cond").detach(), count)
    scores, grad = gradients(leaf, observations, inputs)
    if isinstance(used, UsedWeights):
        used.check()
    for one in observations:
        one.end_graph()
    uncond = _each(run(xs, "uncond"), count) if first.guided else [None] * count
    every = zip(uncond, cond, observations, scores, _each(grad, count), strict=True)
    return [Prediction.of(*one) for one in every]


def call(unet: nn.Module, given: UNetInputs, timestep: float) -> Tensor:
    """The UNet's output (n, 4, h, w), after its control network's where there is one.

    Raises:
        ModelError: an IP-Adapter was loaded into the UNet meanwhile.
    """
    refuse_ip_adapter(unet)
    more: dict[str, Any] = {}
    if given.control is not None and given.images is not None:
        x = given.stacked[:, :4]
        more = given.control.residuals(x, timestep, given.context, given.images)
    if given.class_labels is not None:
        more["class_labels"] = given.class_labels
    output: Tensor = unet(
        given.stacked,
        timestep,
        encoder_hidden_states=given.context,
        added_cond_kwargs=given.added or None,
        return_dict=False,
        **more,
    )[0]
    return output


def gradients(
    leaf: Tensor,
    observations: Sequence[Observations],
    inputs: Sequence[StepInputs[TextConditioning, BaseSettings]],
) -> tuple[list[Tensor], Tensor]:
    """S of every sample and grad_{x_t} S, all float32; no sample's S depends on another's x_t.

    S itself is differentiated with respect to the scores in float32. What then travels back through
    the UNet is scaled to a largest entry near 1 by a power of two, so that half precision neither
    underflows nor rounds; if it overflows, it travels once more, smaller. What is then not
    finite is given as it is.

    Args:
        leaf: (n, 4, h, w), the x_t that the graph starts from, one row for each sample.
        observations: each holds the scores of every H/32 layer, with their graph.
        inputs: of each sample.
    """
    outputs, scores, units, by_outputs = [], [], [], []
    for seen, one in zip(observations, inputs, strict=True):
        assert isinstance(one.conditioning, Conditioning)
        assert isinstance(one.settings, Settings)
        with torch.enable_grad():
            abar = take(seen.mean_scores(), one.conditioning.indices, 0)  # (tokens, H/32, W/32)
            detached = abar.detach().requires_grad_()
            score = objective(detached, one.conditioning.score_mask.to(detached), one.settings)
            (by_abar,) = torch.autograd.grad(score, detached)
        largest = by_abar.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
        unit = torch.exp2(-torch.floor(torch.log2(largest)))
        outputs.append(abar)
        scores.append(score.detach())
        units.append(unit)
        by_outputs.append(by_abar * unit)
    dtype = inputs[0].conditioning.context.dtype
    # bfloat16 reaches as far as float32, so only float16 may need a second attempt.
    scales = (1.0, 2.0**-6, 2.0**-12) if dtype == torch.float16 else (1.0,)
    unit = torch.stack(units).view(-1, 1, 1, 1)
    for scale in scales:
        scaled = [by_abar * scale for by_abar in by_outputs]
        grad = _gradient(outputs, leaf, scaled, again=scale != scales[-1])
        if dtype == torch.float32 or grad.is_meta or bool(grad.isfinite().all()):
            break
    return scores, grad / (unit * scale)


def _gradient(
    outputs: Sequence[Tensor], leaf: Tensor, weights: Sequence[Tensor], *, again: bool
) -> Tensor:
    """The gradient of the outputs, weighted, with respect to the leaf.

    Args:
        again: whether the graph is needed once more.

    Raises:
        ModelError: the UNet lets none through.
    """
    try:
        (grad,) = torch.autograd.grad(outputs, leaf, weights, retain_graph=again)
    except RuntimeError as error:
        if is_shortage(error) or isinstance(error, HDPainterError):
            raise
        raise ModelError(
            "The gradient of S does not come back through this UNet: its weights were swapped "
            "after it ran, or they are quantised in a way that has no gradient. Load plain weights "
            f"(float32, bfloat16 or float16), or use rasg=False. PyTorch says: {error}"
        ) from error
    return grad


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """(n, ...) of n parts (1, ...); one part as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _each(x: Tensor, count: int) -> list[Tensor]:
    """The reverse of `_joined`."""
    return [x] if count == 1 else list(x.split(1))


class Frozen(AbstractContextManager["Frozen"]):
    """Context manager: no weight of the networks asks for a gradient inside.

    Attributes:
        swaps: whether a module of theirs may have other weights after it runs than while.

    Those that did ask again afterwards. They are found by their place, since the hooks of an
    offloaded network put other parameters there. It is the modules' own dictionaries that are read:
    asking by name takes longer than many a step.
    """

    def __init__(self, *networks: nn.Module) -> None:
        modules = [module for network in networks for module in network.modules()]
        self.swaps = any(map(may_swap, modules))
        self._learning = [
            (module._parameters, name)
            for module in modules
            for name, p in module._parameters.items()
            if p is not None and p.requires_grad
        ]

    def __enter__(self) -> Frozen:
        try:
            self._learn(False)
        except BaseException:
            self.thaw()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()

    def thaw(self) -> None:
        """Let them ask for a gradient again. More than once does no harm."""
        self._learn(True)

    def _learn(self, wanted: bool) -> None:
        for places, name in self._learning:
            if (parameter := places[name]) is not None:
                parameter.requires_grad_(wanted)
