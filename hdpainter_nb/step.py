"""One step from x_t to x_{t-1}, as the paper has it: `Stepper.advance`.

Predict with guidance (`predict`), put the standardised gradient in the noise's place (`rasg`), make
the DDIM step (`schedule`), and note what was seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb import rasg, schedule
from hdpainter_nb.capture import Capture
from hdpainter_nb.options import Options
from hdpainter_nb.predict import Prediction, predict
from hdpainter_nb.settings import Settings
from hdpainter_nb.taps import Plan, Seen
from hdpainter_nb.types import Cond, Conditions, CrossMaps, LevelMaps, Record, State

if TYPE_CHECKING:
    from hdpainter_nb.models import Model

__all__ = ["BaseStepper", "Stepper", "never", "to_array"]

C = TypeVar("C", bound=Conditions)
S = TypeVar("S", bound=Options)


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

    @property
    def timesteps(self) -> list[int]:
        """The timestep t of every step, descending (switch 13)."""
        return schedule.timesteps(
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

    def alphas(self, timestep: int) -> tuple[Tensor, Tensor]:
        """Cumulative alpha at a timestep of the run, and at the one that its step leads to."""
        known = self.model.alphas_cumprod
        prev = schedule.previous(timestep, self.settings.steps, len(known))
        final = self.model.final_alpha
        return schedule.alpha_at(known, timestep), schedule.alpha_at(known, prev, final)

    def advance(self, state: State, cancelled: Callable[[], bool] = never) -> tuple[State, Record]:
        """One step: from a state to the next, and what was seen on the way.

        Raises:
            SamplingCancelled: `cancelled` said so while the UNet ran.
        """
        raise NotImplementedError

    def seen_of_text(self, seen: Seen) -> dict[str, Any]:
        """The part of a record that comes from cross-attention."""
        cross = {
            level: {name: to_array(a).astype(np.float16) for name, a in named.items()}
            for level, named in seen.cross.items()
        }
        scores = None
        if self.capture.scores and seen.scores:
            scores = to_array(seen.mean_scores()[: self.tokens])
        maps = CrossMaps(LevelMaps(cross), self.cond.words, self.cond.tokens)
        return {"cross": maps, "scores": scores}


@dataclass(frozen=True, eq=False)
class Stepper(BaseStepper[Cond, Settings]):
    """The steps of HD-Painter's inpainting."""

    def plan(self, index: int, cancelled: Callable[[], bool] = never) -> Plan:
        """What the attention taps do in step `index`."""
        settings, timesteps = self.settings, self.timesteps
        window = schedule.painta_window(settings, index, len(timesteps), timesteps[index])
        return Plan(
            size=self.cond.size,
            indices=self.cond.indices,
            tokens=self.tokens,
            rows={n: m.flatten().nonzero()[:, 0] for n, m in self.cond.painta_masks.items()},
            capture=self.capture,
            painta=settings.painta and window,
            residual=settings.painta_input == "residual",
            smooth=settings.c_smoothing == "gaussian",
            scores=settings.rasg,
            cancelled=cancelled,
        )

    def advance(self, state: State, cancelled: Callable[[], bool] = never) -> tuple[State, Record]:
        """x_t to x_{t-1} (eq. 3), the gradient of S in the noise's place (eq. 7).

        Raises:
            SamplingCancelled: `cancelled` said so while the UNet ran.
        """
        started = time.perf_counter()
        model, settings, x = self.model, self.settings, state.latents
        t = self.timesteps[state.index]
        prev = schedule.previous(t, settings.steps, len(model.alphas_cumprod))
        alpha, alpha_prev = self.alphas(t)

        plan = self.plan(state.index, cancelled)
        said = predict(model.unet, self.cond, x, t, settings, plan, guided=self.guided)
        output = said.guided(self.guidance_scale)
        x0, eps = schedule.predictions(model.prediction_type, output, x, alpha)

        noise, rng, standard = None, state.rng, None
        sigma = self._sigma(settings.ddim_eta, t, prev)
        if said.grad is not None:
            sign = 1 if settings.direction == "descend" else -1
            standard = rasg.standardise(said.grad, settings.gradient_norm)
            if settings.guidance == "rasg":
                sigma = self._sigma(settings.eta, t, prev)
                noise = (-sign * standard).to(x.dtype)
            else:
                eps = rasg.vanilla(eps, said.grad, alpha, sign * settings.vanilla_scale)
                x0 = (x - (1 - alpha) ** 0.5 * eps) / alpha**0.5
        if noise is None and sigma > 0:
            noise, rng = _draw(x, rng)
        x_prev = schedule.ddim_step(x0, eps, alpha_prev, sigma, noise)
        x0, x_prev = self._keep_known(x0, x_prev, state.index)

        seen = self._seen(said, standard)  # before the clock is read: it is part of the step
        record = Record(
            index=state.index,
            timestep=t,
            latents=to_array(x[0]),
            x0_latents=to_array(x0[0]),
            x0_preview=model.preview(x0),
            sigma=float(sigma),
            alpha=float(alpha),
            seconds=time.perf_counter() - started,
            settings=settings,
            **seen,
        )
        return State(state.index + 1, x_prev, rng, x0), record

    def _sigma(self, eta: float, t: int, prev: int) -> Tensor:
        model = self.model
        return schedule.sigma(
            self.settings.sigma, eta, model.betas, model.alphas_cumprod, t, prev, model.final_alpha
        )

    def _keep_known(self, x0: Tensor, x_prev: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """For a UNet of 4 channels: put the known latents back, noised as x_{t-1} is.

        Blended latent diffusion; a UNet of 9 channels sees the known pixels and needs none of it.
        """
        known, mask = self.cond.known_latents, self.cond.latent_mask
        if known is None:
            return x0, x_prev
        noised, timesteps = known, self.timesteps
        if index + 1 < len(timesteps) and self.cond.known_noise is not None:
            alpha = self.model.alphas_cumprod[timesteps[index + 1]]
            noised = schedule.add_noise(known, self.cond.known_noise, alpha)
        return (1 - mask) * known + mask * x0, (1 - mask) * noised + mask * x_prev

    def _seen(self, said: Prediction, standard: Tensor | None) -> dict[str, Any]:
        """The part of a record that comes from the taps and the gradient."""
        seen, grad = said.seen, None
        if said.grad is not None and standard is not None:
            grad = rasg.gradient_stats(said.grad, standard)
        return {
            **self.seen_of_text(seen),
            "c": self._maps(seen.c if self.capture.c else {}),
            "similarity": self._maps(seen.similarity),
            "similarity_painta": self._maps(seen.similarity_painta),
            "score": None if said.score is None else float(said.score),
            "grad": grad,
            "guided_norm": said.guided_norm,
        }

    def _maps(self, maps: Mapping[int, Mapping[str, Tensor]]) -> LevelMaps:
        """(hw,) tensors as (h, w) arrays."""
        height, width = self.cond.size
        return LevelMaps(
            {
                level: {
                    name: to_array(a).reshape(height // level, width // level)
                    for name, a in named.items()
                }
                for level, named in maps.items()
            }
        )


def to_array(x: Tensor) -> NDArray[Any]:
    """To main memory, as float32. A copy, so that later in-place work cannot reach it."""
    return x.detach().to("cpu", torch.float32, copy=True).numpy()


def _draw(like: Tensor, rng: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise from a generator in state `rng`, and its state afterwards."""
    generator = torch.Generator("cpu")
    generator.set_state(rng)
    noise = torch.randn(like.shape, generator=generator)
    return noise.to(like), generator.get_state()
