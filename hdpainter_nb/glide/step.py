"""One step of either stage of GLIDE, x_t to x_{t-1}: `GlideStep`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from hdpainter_nb.attention.joint import JointHooks
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.edits.edit import Layers
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.glide.conditioning import GlideConditioning
from hdpainter_nb.method.blending import blend_known
from hdpainter_nb.models.glide.schedule import AncestralScheduler
from hdpainter_nb.models.schedulers import Guided, State
from hdpainter_nb.sampling.predict import Prediction, StepInputs
from hdpainter_nb.sampling.step import Cancelled, EditableStep, never
from hdpainter_nb.settings import BaseGlideSettings
from hdpainter_nb.trace.record import Record

__all__ = ["GlidePrediction", "GlideStep"]

Inputs = StepInputs[GlideConditioning, BaseGlideSettings]


@dataclass(frozen=True, eq=False)
class GlidePrediction(Prediction):
    """The network's output at x_t, each (1, 6, h, w): the noise, and where the variance lies."""

    @property
    def guided_norm(self) -> float:
        """Root mean square of the guidance term of the noise, 0 without guidance."""
        if self.uncond is None:
            return 0.0
        return float((self.cond - self.uncond)[:, :3].square().mean() ** 0.5)


@dataclass(frozen=True, eq=False)
class GlideStep(EditableStep[GlideConditioning, BaseGlideSettings]):
    """x_t -> x_{t-1} of GLIDE: guided noise, known pixels in x0, an ancestral step.

    The noise is guided, u + g (c - u); the variance is the conditional half's. In the predicted x0
    the known pixels take their place, and it is cut to -1 .. 1.

    Raises:
        SettingsError: an edit of the mask, which both networks were told of once.
    """

    scheduler: AncestralScheduler

    def __post_init__(self) -> None:
        for edit in self.edits:
            if "mask" in edit.points:
                raise SettingsError(
                    f"{edit} changes the mask, which GLIDE's pixels and attention share: make "
                    "another job. Words, heads and c can be edited."
                )

    def __call__(self, state: State, cancelled: Cancelled = never) -> tuple[State, Record]:
        """x_t to x_{t-1}, and what was seen on the way.

        Raises:
            SamplingCancelled: `cancelled` became true while the network ran.
            ModelError: something is not finite; the message says what.
        """
        inputs = self.inputs(state, cancelled)
        return self.finish(inputs, self.predict(inputs))

    def predict(self, inputs: Inputs) -> GlidePrediction:
        """Run the network on x_t, watched as the step's plan says."""
        halves = ["uncond", "cond"] if inputs.guided else ["cond"]
        hooks = JointHooks(inputs.plan, self.model.layers, halves)
        rows = slice(0, 2) if inputs.guided else slice(1, 2)
        given = inputs.conditioning.unet_inputs(inputs.x, rows)
        timesteps = torch.full((len(halves),), inputs.level.timestep, device=inputs.x.device)
        with torch.no_grad():
            output = self.model.unet(
                given.stacked, timesteps, given.context, given.added["pooled"], hooks
            )
        uncond = output[:1] if inputs.guided else None
        return GlidePrediction(uncond, output[-1:], hooks.observations)

    def finish(self, inputs: Inputs, unet: Prediction) -> tuple[State, Record]:
        """From the network's prediction at x_t to x_{t-1}, and the record of the step."""
        conditioning, settings, index = inputs.conditioning, self.settings, inputs.state.index
        eps = unet.guided(self.guidance_scale)[:, :3]
        predicted = self.scheduler.x0(inputs.x, eps, index)
        x0 = predicted
        if settings.keep_known:
            x0 = blend_known(x0, conditioning.known, 1 - conditioning.known_mask)
        if settings.clip:
            x0 = x0.clamp(-1, 1)
        output = torch.cat([eps, unet.cond[:, 3:]], 1)
        stepped = self.scheduler.step(inputs.state, Guided(output, x0, eps), None)
        self.check_finite(inputs, unet, x0, stepped.latents)
        unblended = to_array(predicted[0]) if settings.keep_known else None
        record = self.record(inputs, unet, x0, stepped.sigma, x0_unblended=unblended)
        return stepped.state(index + 1, stepped.latents, x0), record

    def plan(
        self,
        index: int,
        conditioning: GlideConditioning | None = None,
        cancelled: Cancelled = never,
    ) -> HookPlan:
        """What is watched in step `index`, and whether PAIntA acts: where t > 500."""
        conditioning = self.edited(index) if conditioning is None else conditioning
        masks = conditioning.masks
        return dataclasses.replace(
            super().plan(index, conditioning, cancelled),
            rows={level: mask.flatten().nonzero()[:, 0] for level, mask in masks.items()},
            painta=self.settings.painta and self.timesteps[index] > 500,
            scaling=self.settings.painta_scaling,
            edits=self.step_edits(index),
        )

    @property
    def editable(self) -> Layers:
        """The joint layers; pixels and text share each one's heads."""
        heads: dict[str, dict[Any, int]] = {
            layer.name: {"cross": layer.heads, "self": layer.heads} for layer in self.model.layers
        }
        return heads
