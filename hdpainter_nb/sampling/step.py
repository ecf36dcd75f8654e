"""One step from x_t to x_{t-1}, as the paper has it: `Stepper.advance`.

Predict with guidance (`predict`), put the standardised gradient in the noise's place (`rasg`), make
the DDIM step (`schedule`), and note what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from hdpainter_nb.attention import observations
from hdpainter_nb.attention.observations import Seen
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import HostTransfer, to_array
from hdpainter_nb.edits.edit import Edit, StepEdits
from hdpainter_nb.method import ddim, painta, rasg
from hdpainter_nb.models.conditioning import Conditioning, TextConditioning
from hdpainter_nb.models.schedulers import DiffusersScheduler, State, mix_noise, to_arrays
from hdpainter_nb.sampling.active_edits import edited, step_edits
from hdpainter_nb.sampling.predict import Prediction, predict
from hdpainter_nb.settings import BaseSettings, Settings
from hdpainter_nb.trace import record
from hdpainter_nb.trace.record import Record

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["BaseStepper", "Said", "SolverStepper", "Stepper", "draw", "never", "stepper"]

C = TypeVar("C", bound=TextConditioning)
S = TypeVar("S", bound=BaseSettings)


def never() -> bool:
    """Nobody cancels."""
    return False


@dataclass(frozen=True, eq=False)
class BaseStepper(Generic[C, S]):
    """What all steps of a branch share. It has no state of its own."""

    model: Model
    cond: C
    settings: S
    capture: Capture
    edits: tuple[Edit, ...] = ()  # interventions
    shelf: HostTransfer = field(default_factory=HostTransfer)  # where what is kept goes

    @property
    def timesteps(self) -> list[int]:
        """The timestep t of every step, descending (switch 13)."""
        return ddim.timesteps(
            self.settings.steps, self.settings.grid, len(self.model.alphas_cumprod)
        )

    @property
    def guidance_scale(self) -> float:
        """Of classifier-free guidance; the model's default where the settings give none."""
        scale = self.settings.guidance_scale
        return self.model.guidance_scale if scale is None else scale

    @property
    def guided(self) -> bool:
        """Whether the unconditional half runs at all; at a scale of 1 or less it does not."""
        return self.guidance_scale > 1

    @property
    def tokens(self) -> int:
        """Tokens from SOT to EOT, what is kept of the text axis."""
        return len(self.cond.tokens) or self.cond.context.shape[1]

    @property
    def positions(self) -> tuple[int, ...]:
        """The tokens that are kept."""
        return self.capture.positions(self.cond.words, self.tokens)

    def alphas(self, timestep: int) -> tuple[Tensor, Tensor]:
        """Cumulative alpha at a timestep of the run, and at the one that its step leads to."""
        known = self.model.alphas_cumprod
        prev = ddim.previous(timestep, self.settings.steps, len(known))
        final = self.model.final_alpha
        return ddim.alpha_at(known, timestep), ddim.alpha_at(known, prev, final)

    def advance(self, state: State, cancelled: Callable[[], bool] = never) -> tuple[State, Record]:
        """One step: from a state to the next, and what was seen on the way.

        Raises:
            SamplingCancelled: `cancelled` said so while the UNet ran.
        """
        raise NotImplementedError

    def seen_of_text(self, seen: Seen) -> dict[str, Any]:
        """The part of a record that comes from cross-attention, and queries and keys."""
        heads = self.capture.head_numbers
        return observations.text_fields(seen, self.cond, self.positions, heads)


@dataclass(frozen=True, eq=False)
class Said:
    """The guided prediction at x_t, each (1, 4, h, w), and where RASG pushes."""

    output: Tensor  # in the UNet's own terms
    x0: Tensor
    eps: Tensor
    push: Tensor | None  # -g / std(g) (eq. 7); None without RASG


@dataclass(frozen=True, eq=False)
class Stepper(BaseStepper[Conditioning, Settings]):
    """The steps of HD-Painter's inpainting."""

    def plan(
        self, index: int, cancelled: Callable[[], bool] = never, cond: Conditioning | None = None
    ) -> HookPlan:
        """What the attention taps do in step `index`; `cond` is what `conditions` gave for it."""
        settings, timesteps = self.settings, self.timesteps
        cond = self.conditions(index) if cond is None else cond
        window = painta.painta_window(settings, index, len(timesteps), timesteps[index])
        return HookPlan(
            size=cond.size,
            indices=cond.indices,
            tokens=self.tokens,
            rows={n: m.flatten().nonzero()[:, 0] for n, m in cond.painta_masks.items()},
            capture=self.capture.at(index),
            positions=self.positions,
            shelf=self.shelf,
            painta=settings.painta and window,
            residual=settings.painta_input == "residual",
            smooth=settings.c_smoothing == "gaussian",
            scores=settings.rasg,
            factor=settings.factor,
            cancelled=cancelled,
            edits=self.step_edits(index),
        )

    def step_edits(self, index: int) -> StepEdits | None:
        """The edits that act in step `index`."""
        if not self.edits:
            return None
        timesteps = self.timesteps
        return step_edits(self.edits, self.cond, index, timesteps[index], len(timesteps))

    def conditions(self, index: int) -> Conditioning:
        """What the UNet and the methods are told in step `index`.

        To be asked once a step, and handed on: an edit of the masks need not give the same twice.
        """
        return edited(self.cond, self.settings, self.step_edits(index))

    def advance(self, state: State, cancelled: Callable[[], bool] = never) -> tuple[State, Record]:
        """x_t to x_{t-1} (eq. 3), the gradient of S in the noise's place (eq. 7).

        Raises:
            SamplingCancelled: `cancelled` said so while the UNet ran.
        """
        started = time.perf_counter()
        cond = self.conditions(state.index)
        return self.move(state, self.look(state, cancelled, cond), started, cond)

    def look(
        self, state: State, cancelled: Callable[[], bool] = never, cond: Conditioning | None = None
    ) -> Prediction:
        """What the UNet says at x_t, and grad S where the step needs it; `cond` as for `plan`."""
        x, t, _ = self.here(state)
        cond = self.conditions(state.index) if cond is None else cond
        plan = self.plan(state.index, cancelled, cond)
        return predict(self.model.unet, cond, x, t, self.settings, plan, guided=self.guided)

    def move(
        self, state: State, said: Prediction, started: float, cond: Conditioning
    ) -> tuple[State, Record]:
        """From what the UNet said at x_t to x_{t-1}.

        Args:
            started: reading of `time.perf_counter` when the step began.
            cond: what the UNet was told in this step.
        """
        model, settings = self.model, self.settings
        x, _, alpha = self.here(state)
        output = said.guided(self.guidance_scale)
        x0, eps = ddim.x0_and_eps(model.prediction_type, output, x, alpha)

        push, standard = None, None
        if said.grad is not None:
            sign = 1 if settings.direction == "descend" else -1
            standard = rasg.standardised(said.grad, settings.gradient_norm)
            if settings.guidance == "rasg":
                push = (-sign * standard).to(x.dtype)
            else:
                eps = rasg.vanilla(eps, said.grad, alpha, sign * settings.vanilla_scale)
                x0 = (x - (1 - alpha) ** 0.5 * eps) / alpha**0.5
                output = ddim.output_from(model.prediction_type, x0, eps, alpha)
        after, sigma = self.update(state, Said(output, x0, eps, push))
        x0, x_prev = self._keep_known(x0, after.latents, state.index, cond)

        seen = self._seen(said, standard)  # before the clock is read: it is part of the step
        record = Record(
            index=state.index,
            timestep=self.timesteps[state.index],
            latents=to_array(x[0]),
            x0_latents=to_array(x0[0]),
            x0_preview=model.preview(x0),
            sigma=sigma,
            alpha=float(alpha),
            seconds=time.perf_counter() - started,
            settings=settings,
            memory=to_arrays(after.memory),
            **seen,
        )
        return replace(after, latents=x_prev, x0=x0), record

    def here(self, state: State) -> tuple[Tensor, float, Tensor]:
        """x_t as the UNet takes it, t, and the cumulative alpha there."""
        t = self.timesteps[state.index]
        return state.latents, t, self.alphas(t)[0]

    def update(self, state: State, said: Said) -> tuple[State, float]:
        """x_{t-1} by eq. 3, with the gradient in the noise's place where there is one (eq. 7).

        Returns:
            The state after the step, and sigma_t.
        """
        settings, t = self.settings, self.timesteps[state.index]
        prev = ddim.previous(t, settings.steps, len(self.model.alphas_cumprod))
        _, alpha_prev = self.alphas(t)
        sigma = self._sigma(settings.ddim_eta if said.push is None else settings.eta, t, prev)
        noise, rng = said.push, state.rng
        if noise is None and sigma > 0:
            noise, rng = draw(state.latents, rng)
        x_prev = ddim.ddim_step(said.x0, said.eps, alpha_prev, sigma, noise)
        return State(state.index + 1, x_prev, rng), float(sigma)

    def _sigma(self, eta: float, t: int, prev: int) -> Tensor:
        model = self.model
        return ddim.sigma(
            self.settings.sigma, eta, model.betas, model.alphas_cumprod, t, prev, model.final_alpha
        )

    def _keep_known(
        self, x0: Tensor, x_prev: Tensor, index: int, cond: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """For a UNet of 4 channels: put the known latents back, noised as x_{t-1} is.

        Blended latent diffusion; a UNet of 9 channels sees the known pixels and needs none of it.
        """
        known, mask = cond.known_latents, cond.latent_mask
        if known is None:
            return x0, x_prev
        noised = known
        if index + 1 < len(self.timesteps) and cond.known_noise is not None:
            noised = self.noised(known, cond.known_noise, index + 1)
        return (1 - mask) * known + mask * x0, (1 - mask) * noised + mask * x_prev

    def noised(self, known: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents with as much noise as x has before step `index`."""
        alpha = self.model.alphas_cumprod[self.timesteps[index]]
        return ddim.add_noise(known, noise, alpha)

    def _seen(self, said: Prediction, standard: Tensor | None) -> dict[str, Any]:
        """The part of a record that comes from the taps and the gradient."""
        seen, grad = said.seen, None
        if said.grad is not None and standard is not None:
            grad = record.gradient_stats(*(x.cpu().double().numpy() for x in (said.grad, standard)))
        return {
            **self.seen_of_attention(seen),
            "score": None if said.score is None else float(said.score),
            "grad": grad,
            "guided_norm": said.guided_norm,
        }

    def seen_of_attention(self, seen: Seen) -> dict[str, Any]:
        """The part of a record that comes from the taps."""
        maps = observations.pixel_maps(seen, self.cond.size, self.shelf)
        return {**self.seen_of_text(seen), **maps}


def draw(like: Tensor, rng: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise from a generator in state `rng`, and its state afterwards."""
    generator = torch.Generator("cpu")
    generator.set_state(rng)
    noise = torch.randn(like.shape, generator=generator)
    return noise.to(like), generator.get_state()


def stepper(model: Model, cond: Conditioning, settings: Settings, capture: Capture) -> Stepper:
    """What makes the steps that the settings ask for."""
    if settings.scheduler == "ddim":
        return Stepper(model, cond, settings, capture)
    solver = DiffusersScheduler(settings.scheduler, model.schedule, settings.steps)
    return SolverStepper(model, cond, settings, capture, solver=solver)


@dataclass(frozen=True, eq=False)
class SolverStepper(Stepper):
    """The steps of HD-Painter's inpainting by a scheduler of diffusers.

    The gradient of S is that with respect to what the UNet takes. Where the scheduler's latent is
    larger by a factor, so much smaller is the gradient with respect to it; g / std(g) is the same.
    """

    solver: DiffusersScheduler = field(kw_only=True)

    @property
    def timesteps(self) -> list[int]:
        """The timestep t of every step, descending, in whole numbers."""
        return [round(t) for t in self.solver.timesteps]

    def here(self, state: State) -> tuple[Tensor, float, Tensor]:
        """x_t as the UNet takes it, t, and the cumulative alpha there."""
        index, solver = state.index, self.solver
        return solver.scaled(state.latents, index), solver.timesteps[index], solver.alpha(index)

    def update(self, state: State, said: Said) -> tuple[State, float]:
        """The scheduler's step, with eta of the gradient in its noise (eq. 7).

        Returns:
            The state after the step, and the standard deviation of what takes the noise's place.
        """
        x, index, noise = state.latents, state.index, None
        rng = torch.Generator("cpu")
        rng.set_state(state.rng)
        if said.push is not None:
            drawn, after = draw(x, state.rng)
            rng.set_state(after)
            noise = mix_noise(said.push, drawn, self.settings.eta)
        x_prev, memory = self.solver.step(said.output, x, index, state.memory, rng=rng, noise=noise)
        moved = replace(state, index=index + 1, latents=x_prev, rng=rng.get_state(), memory=memory)
        return moved, self.solver.sigma(index)

    def noised(self, known: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents with as much noise as x has before step `index`."""
        return self.solver.known(known, noise, index)
