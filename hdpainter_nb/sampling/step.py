"""One step of HD-Painter, x_t to x_{t-1}, as the paper has it: `InpaintStep`.

A step flows through three calls. `inputs` works out once what the step is told: how noisy x_t is
(`NoiseLevel`), what the UNet is told (`Conditioning`, its masks as edits leave them) and what the
hooks do (`HookPlan`). `predict` runs the UNet under the hooks, PAIntA among them (eq. 5), and gives
a `Prediction`: both halves, the hooks' `Observations`, and, for RASG, S and its gradient (eq. 8,
9). `finish` guides, puts the gradient in the noise's place (eq. 7), lets the scheduler step (eq. 3)
and keeps the known region of UNets with 4 channels. Out come the next `State` and the `Record`.
One way of blended latent diffusion keeps it before the UNet runs: `entered`, in `inputs`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import HostTransfer, to_array
from hdpainter_nb.edits.edit import Edit, Layers, StepEdits
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.method import blending, rasg
from hdpainter_nb.method.painta import painta_window
from hdpainter_nb.models.conditioning import Conditioning, TextConditioning, check_blending
from hdpainter_nb.models.schedulers import Guided, Scheduler, State, Stepped, draw, to_arrays
from hdpainter_nb.sampling import active_edits
from hdpainter_nb.sampling.finite import StepNumbers
from hdpainter_nb.sampling.predict import Prediction, StepInputs, predict
from hdpainter_nb.settings import BaseSettings, Settings
from hdpainter_nb.trace.record import GradStats, Record, gradient_stats

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["BaseStep", "Cancelled", "EditableStep", "InpaintStep", "never"]

C = TypeVar("C", bound=TextConditioning)
S = TypeVar("S", bound=BaseSettings)

Cancelled = Callable[[], bool]
"""Asked in every attention layer whether the step is no longer wanted."""


def never() -> bool:
    """A `Cancelled` that never is."""
    return False


@dataclass(frozen=True, eq=False)
class BaseStep(Generic[C, S]):
    """What the steps of a run share, whatever its UNet paints. It has no state of its own."""

    model: Model
    conditioning: C
    settings: S
    scheduler: Scheduler
    capture: Capture
    edits: tuple[Edit, ...] = ()  # interventions
    transfer: HostTransfer = field(default_factory=HostTransfer)  # where what is kept goes

    @classmethod
    def of(
        cls,
        model: Model,
        conditioning: C,
        settings: S,
        capture: Capture,
        *,
        edits: tuple[Edit, ...] = (),
        transfer: HostTransfer | None = None,
    ) -> Self:
        """A step under the scheduler that the settings ask for."""
        scheduler = model.scheduler_for(settings)
        transfer = HostTransfer() if transfer is None else transfer
        return cls(model, conditioning, settings, scheduler, capture, edits, transfer)

    def __call__(self, state: State, cancelled: Cancelled = never) -> tuple[State, Record]:
        """x_t to x_{t-1}, and what was seen on the way.

        Raises:
            SamplingCancelled: `cancelled` became true while the UNet ran.
            ModelError: something is not finite; the message says what.
        """
        inputs = self.inputs(state, cancelled)
        return self.finish(inputs, predict(self.model.unet, inputs))

    def inputs(self, state: State, cancelled: Cancelled = never) -> StepInputs[C, S]:
        """Everything that this step is told, worked out once.

        An edit of the masks is asked here and nowhere else: it need not give the same twice.
        """
        started, index = time.perf_counter(), state.index
        conditioning = self.edited(index)
        state = self.entered(state, conditioning)
        return StepInputs(
            state=state,
            level=self.scheduler.at(index),
            x=conditioning.seen(self.scheduler.scaled(state.latents, index)),
            conditioning=conditioning,
            settings=self.settings,
            plan=self.plan(index, conditioning, cancelled),
            guided=self.guided,
            started=started,
        )

    def edited(self, index: int) -> C:
        """The conditioning with the masks as the edits of step `index` leave them."""
        return self.conditioning

    def entered(self, state: State, conditioning: C) -> State:
        """The state that the UNet and the scheduler then see, which a step may change first."""
        return state

    def plan(
        self, index: int, conditioning: C | None = None, cancelled: Cancelled = never
    ) -> HookPlan:
        """What the attention hooks do in step `index`.

        Args:
            conditioning: what `edited` gave for this step, where it is at hand.
        """
        conditioning = self.edited(index) if conditioning is None else conditioning
        return HookPlan(
            size=conditioning.size,
            indices=conditioning.indices,
            words=conditioning.words,
            tokens=self.tokens,
            token_texts=conditioning.tokens,
            rows={},
            capture=self.capture.at(index),
            positions=self.positions,
            transfer=self.transfer,
            factor=self.settings.factor,
            cancelled=cancelled,
        )

    def finish(self, inputs: StepInputs[C, S], unet: Prediction) -> tuple[State, Record]:
        """From the UNet's prediction at x_t to the next state, and the record of the step."""
        raise NotImplementedError

    def check_start(self, index: int) -> None:
        """See that every step from `index` on has an x0, before any is made.

        At zero terminal SNR alpha is 0 at the first timestep, and x_t is noise alone. Then v tells
        x0 (it is -v), but epsilon does not, nor does an epsilon that eq. 6 has changed.

        Raises:
            SettingsError: it has none.
        """
        timesteps, settings = self.scheduler.timesteps, self.settings
        if index >= len(timesteps) or float(self.scheduler.at(index).alpha) > 0:
            return
        vanilla = (
            getattr(settings, "rasg", False) and getattr(settings, "guidance", "") == "vanilla"
        )
        epsilon = self.model.prediction_type == "epsilon"
        if not (epsilon or vanilla):
            return
        who = "the model predicts" if epsilon else "guidance='vanilla' changes"
        ways = [] if epsilon else ["guidance='rasg'"]
        if settings.grid == "official" and getattr(settings, "scheduler", "ddim") == "ddim":
            ways.append("grid='leading'")
        ways.append("scheduler='euler_a'" if hasattr(settings, "scheduler") else "another model")
        raise SettingsError(
            f"The noise schedule of {self.model.name!r} ends without any signal (zero terminal "
            f"SNR: alpha is 0 at timestep {round(timesteps[index])}), and {who} the noise, from "
            f"which x0 cannot be told there: use {' or '.join(ways)}."
        )

    def check_finite(
        self, inputs: StepInputs[C, S], unet: Prediction, x0: Tensor, x_prev: Tensor
    ) -> None:
        """See that a step's numbers are finite.

        Args:
            x0, x_prev: (1, 4, h, w), what the step came to.

        Raises:
            ModelError: they are not; the message says which is not first.
        """
        index, total = inputs.state.index, len(self.scheduler.timesteps)
        numbers = StepNumbers(
            latents=inputs.x,
            conditioning=inputs.conditioning,
            networks=[self.model.unet, *inputs.conditioning.networks],
            predictions={"unconditional prediction": unet.uncond, "prediction": unet.cond},
            gradient=unet.grad,
            x0=x0,
            after=x_prev,
        )
        numbers.check(f"step {index + 1} of {total}, timestep {round(inputs.level.timestep)}")

    @property
    def editable(self) -> Layers:
        """The attention layers that an edit may name, and the heads of each."""
        return active_edits.layers(self.model.unet, self.model.factor)

    @property
    def timesteps(self) -> list[int]:
        """The timestep t of every step, descending, in whole numbers (switch 13)."""
        return [round(t) for t in self.scheduler.timesteps]

    @property
    def guidance_scale(self) -> float:
        """Of classifier-free guidance; the model's default where the settings give none."""
        scale = self.settings.guidance_scale
        return self.model.guidance_scale if scale is None else scale

    @property
    def guided(self) -> bool:
        """Whether the unconditional half runs at all (switch 20)."""
        return self.guidance_scale > 1 or self.settings.low_guidance == "formula"

    @property
    def tokens(self) -> int:
        """Tokens from SOT to EOT, what is kept of the text axis."""
        return len(self.conditioning.tokens) or self.conditioning.context.shape[1]

    @property
    def positions(self) -> tuple[int, ...]:
        """The tokens that are kept."""
        return self.capture.positions(self.conditioning.words, self.tokens)

    def record(
        self,
        inputs: StepInputs[C, S],
        unet: Prediction,
        x0: Tensor,
        sigma: float,
        **further: Any,
    ) -> Record:
        """What was seen in a step.

        Args:
            x0: (1, 4, h, w), the prediction that the step went by.
            sigma: standard deviation of what stood in the noise's place.
            further: fields that only some steps have.
        """
        index = inputs.state.index
        fields: dict[str, Any] = {
            "index": index,
            "timestep": round(inputs.level.timestep),
            "latents": to_array(inputs.x[0]),
            "x0_latents": to_array(x0[0]),
            "x0_preview": self.model.preview(x0),
            "score": None if unet.score is None else float(unet.score),
            "grad": None,
            "sigma": sigma,
            "alpha": float(inputs.level.alpha),
            "guided_norm": unet.guided_norm,
            "settings": self.settings,
            **unet.observations.fields(),
            **further,
        }
        return Record(**fields, seconds=time.perf_counter() - inputs.started)


@dataclass(frozen=True, eq=False)
class EditableStep(BaseStep[C, S]):
    """What the steps share that interventions may act in."""

    def step_edits(self, index: int) -> StepEdits | None:
        """The edits that act in step `index`."""
        if not self.edits:
            return None
        timesteps = self.timesteps
        return active_edits.step_edits(
            self.edits, self.conditioning, index, timesteps[index], len(timesteps)
        )


@dataclass(frozen=True, eq=False)
class InpaintStep(EditableStep[Conditioning, Settings]):
    """x_t -> x_{t-1} of HD-Painter.

    PAIntA (eq. 5) acts inside the UNet; grad S (eq. 8, 9, 11) comes back with the prediction. It
    takes the noise's place (eq. 7) or, to compare, is added to eps (eq. 6); the scheduler steps
    (eq. 3).
    """

    def finish(
        self, inputs: StepInputs[Conditioning, Settings], unet: Prediction
    ) -> tuple[State, Record]:
        """From the UNet's prediction at x_t to x_{t-1}, and the record of the step."""
        settings, model, x, level = self.settings, self.model, inputs.x, inputs.level
        output = unet.guided(self.guidance_scale)
        guided = Guided.of(output, x, level, model.prediction_type)  # output, x0, eps

        noise = None
        if unet.grad is not None and settings.guidance == "rasg":
            noise = rasg.noise(unet.grad, settings)  # eq. 7
        elif unet.grad is not None:
            eps = rasg.vanilla(guided.eps, unet.grad, level.alpha, settings)  # eq. 6
            guided = Guided.from_eps(eps, x, level, model.prediction_type)

        stepped = self.scheduler.step(inputs.state, guided, noise)  # eq. 3
        x0, stepped = self._keep_known(inputs, guided.x0, stepped)
        self.check_finite(inputs, unet, x0, stepped.latents)

        further: dict[str, Any] = {
            "grad": self._gradient(unet.grad),
            "memory": to_arrays(stepped.memory),
        }
        if unet.object_logits is not None:
            further["object_mask"] = to_array(unet.object_logits[0, 0].float().sigmoid())
        record = self.record(inputs, unet, x0, stepped.sigma, **further)
        return stepped.state(inputs.state.index + 1, stepped.latents, x0), record

    def check_start(self, index: int) -> None:
        """See that every step from `index` on can be made; see `BaseStep`.

        Raises:
            SettingsError: it cannot.
        """
        told = self.conditioning.precision is not None  # sees the known pixels by itself
        blended = self.conditioning.known_latents is not None and not told
        check_blending(self.settings, self.model.name, blended=blended)
        super().check_start(index)

    def entered(self, state: State, conditioning: Conditioning) -> State:
        """x_t with its known region from the picture, where it is blended before a step."""
        if self.settings.blending != "bld_ldm":
            return state
        latents, rng = self._blended(state.latents, conditioning, state.index, state.rng)
        return dataclasses.replace(state, latents=latents, rng=rng)

    def edited(self, index: int) -> Conditioning:
        """The conditioning with the masks as the edits of step `index` leave them."""
        return active_edits.applied(self.conditioning, self.settings, self.step_edits(index))

    def plan(
        self, index: int, conditioning: Conditioning | None = None, cancelled: Cancelled = never
    ) -> HookPlan:
        """What the attention hooks do in step `index`: PAIntA, scores of RASG, what is kept."""
        conditioning = self.edited(index) if conditioning is None else conditioning
        settings, timesteps = self.settings, self.timesteps
        window = painta_window(settings, index, len(timesteps), timesteps[index])
        masks = conditioning.painta_masks
        return dataclasses.replace(
            super().plan(index, conditioning, cancelled),
            rows={level: mask.flatten().nonzero()[:, 0] for level, mask in masks.items()},
            painta=settings.painta and window,
            residual=settings.painta_input == "residual",
            smooth=settings.c_smoothing == "gaussian",
            scaling=settings.painta_scaling,
            gradient=settings.rasg,
            edits=self.step_edits(index),
        )

    def _keep_known(
        self, inputs: StepInputs[Conditioning, Settings], x0: Tensor, stepped: Stepped
    ) -> tuple[Tensor, Stepped]:
        """x0, and x_{t-1} of a UNet of 4 channels with the known latents put back, noised.

        A UNet of 9 channels sees the known pixels and needs none of it. ``stock`` is what diffusers
        does, ``bld`` what blended latent diffusion itself does (Avrahami et al. 2023). One that is
        told its mask's precision has noise in the hole alone, and gets them back without any.
        """
        conditioning, index = inputs.conditioning, inputs.state.index
        known, mask = conditioning.known_latents, conditioning.latent_mask
        if known is None or self.settings.blending == "bld_ldm":  # seen, or blended before the step
            return x0, stepped
        if self.settings.blending == "bld":
            x_prev, rng = self._blended(stepped.latents, conditioning, index, stepped.rng)
            x0 = blending.blend_known(x0, known, self._mask(conditioning, index))
            return x0, dataclasses.replace(stepped, latents=x_prev, rng=rng)
        noised = known
        if index + 1 < len(self.scheduler.timesteps) and conditioning.known_noise is not None:
            noised = self.scheduler.noised(known, conditioning.known_noise, index + 1)
        x_prev = blending.blend_known(stepped.latents, noised, mask)
        return blending.blend_known(x0, known, mask), dataclasses.replace(stepped, latents=x_prev)

    def _blended(
        self, x: Tensor, conditioning: Conditioning, index: int, rng: Tensor
    ) -> tuple[Tensor, Tensor]:
        """X with the known latents, noised anew as much as step `index` has it; the generator then.

        Args:
            x: (1, 4, h, w), before or after that step.
            rng: state of the noise generator.
        """
        known = conditioning.known_latents
        assert known is not None  # `check_start` saw to it
        noise, rng = draw(known, rng)
        noised = self.scheduler.noised(known, noise, index)
        return blending.blend_known(x, noised, self._mask(conditioning, index)), rng

    def _mask(self, conditioning: Conditioning, index: int) -> Tensor:
        """(1, 1, h, w): what step `index` may fill, which begins larger for thin holes."""
        larger, total = self.settings.grown_masks, len(self.scheduler.timesteps)
        return blending.shrinking_mask(conditioning.latent_mask, larger, index, total)

    def _gradient(self, grad: Tensor | None) -> GradStats | None:
        """Statistics of g (1, 4, h, w) and of g / std(g), worked out where they are kept."""
        if grad is None:
            return None
        g = to_array(grad)
        unit = rasg.standardised(torch.from_numpy(g), self.settings.gradient_norm)
        return gradient_stats(g, unit.numpy())
