"""One step of the inpainting-specialised upscaler (sec. 3.5): `UpscaleStep`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.method.blending import blend_known
from hdpainter_nb.models.schedulers import Guided, State
from hdpainter_nb.sampling.predict import Prediction, StepInputs
from hdpainter_nb.sampling.step import BaseStep, Cancelled, never
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.trace.record import Record
from hdpainter_nb.upscale.model import UpscaleConditioning

__all__ = ["UpscaleStep"]


@dataclass(frozen=True, eq=False)
class UpscaleStep(BaseStep[UpscaleConditioning, UpscaleSettings]):
    """x_t -> x_{t-1} of making a picture four times as large.

    The original is blended into the x0 prediction (eq. 10), and DDIM steps from there without noise
    (eq. 4), with eps as it was predicted.
    """

    def plan(
        self,
        index: int,
        conditioning: UpscaleConditioning | None = None,
        cancelled: Cancelled = never,
    ) -> HookPlan:
        """What the attention hooks do in step `index`: watch the words, keep queries and keys."""
        plan = super().plan(index, conditioning, cancelled)
        return dataclasses.replace(plan, capture=plan.capture.replace(c=False, similarity=False))

    def finish(
        self, inputs: StepInputs[UpscaleConditioning, UpscaleSettings], unet: Prediction
    ) -> tuple[State, Record]:
        """From the UNet's prediction at x_t to x_{t-1}, and the record of the step."""
        conditioning, model = inputs.conditioning, self.model
        output = unet.guided(self.guidance_scale)
        guided = Guided.of(output, inputs.x, inputs.level, model.prediction_type)

        x0 = guided.x0
        if self.settings.blend:
            mask = conditioning.soft if self.settings.soft else conditioning.hard
            x0 = blend_known(x0, conditioning.known, mask)  # eq. 10

        blended = dataclasses.replace(guided, x0=x0)
        stepped = self.scheduler.step(inputs.state, blended, None)  # eq. 4
        self.check_finite(inputs, unet, x0, stepped.latents)
        unblended = to_array(guided.x0[0]) if self.settings.blend else None
        record = self.record(inputs, unet, x0, stepped.sigma, x0_unblended=unblended)
        return stepped.state(inputs.state.index + 1, stepped.latents, x0), record
