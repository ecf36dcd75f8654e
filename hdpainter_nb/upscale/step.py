"""One step of the inpainting-specialised upscaler (sec. 3.5): `UpscaleStepper.advance`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.method import ddim
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import Prediction
from hdpainter_nb.sampling.step import BaseStepper, never
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.trace.maps import LevelMaps
from hdpainter_nb.trace.record import Record
from hdpainter_nb.upscale.model import UpscaleConditioning

__all__ = ["UpscaleStepper"]


@dataclass(frozen=True, eq=False)
class UpscaleStepper(BaseStepper[UpscaleConditioning, UpscaleSettings]):
    """The steps of making a picture four times as large."""

    def plan(self, cancelled: Callable[[], bool] = never, index: int = 0) -> HookPlan:
        """What the attention taps do in step `index`: watch the words, keep queries and keys."""
        return HookPlan(
            size=self.cond.size,
            indices=self.cond.indices,
            tokens=self.tokens,
            rows={},
            capture=self.capture.at(index).replace(c=False, similarity=False),
            positions=self.positions,
            shelf=self.shelf,
            cancelled=cancelled,
            factor=self.settings.factor,
        )

    def predict(
        self,
        x: Tensor,
        timestep: int,
        cancelled: Callable[[], bool] = never,
        index: int = 0,
    ) -> Prediction:
        """The UNet on [x_t, small picture] of 7 channels, both halves in one batch.

        Args:
            x: (1, 4, h, w).
        """
        cond, unet = self.cond, self.model.unet
        halves = slice(0 if self.guided else 1, 2)
        context = cond.context[halves]
        stacked = torch.cat([x, cond.low], 1).expand(len(context), -1, -1, -1)
        level = torch.full((len(context),), cond.noise_level, device=x.device)
        with AttentionHooks(unet, self.plan(cancelled, index)) as taps, torch.no_grad():
            taps.half = "both" if self.guided else "cond"
            output = unet(
                stacked,
                timestep,
                encoder_hidden_states=context,
                class_labels=level,
                return_dict=False,
            )[0]
        return Prediction(output[:1] if self.guided else None, output[-1:], taps.seen)

    def blended(self, x0: Tensor) -> Tensor:
        """x0 <- M x0 + (1 - M) E(I): eq. 10."""
        cond = self.cond
        mask = cond.soft if self.settings.soft else cond.hard
        return mask * x0 + (1 - mask) * cond.known

    def advance(self, state: State, cancelled: Callable[[], bool] = never) -> tuple[State, Record]:
        """x_t to x_{t-1}: DDIM (eq. 4) from the blended x0 prediction, with the noise as predicted.

        Raises:
            SamplingCancelled: `cancelled` said so while the UNet ran.
        """
        started = time.perf_counter()
        model, settings, x = self.model, self.settings, state.latents
        t = self.timesteps[state.index]
        alpha, alpha_prev = self.alphas(t)

        said = self.predict(x, t, cancelled, state.index)
        output = said.guided(self.guidance_scale)
        x0, eps = ddim.x0_and_eps(model.prediction_type, output, x, alpha)
        free, x0 = x0, self.blended(x0) if settings.blend else x0
        x_prev = ddim.ddim_step(x0, eps, alpha_prev, torch.zeros_like(alpha), None)

        record = Record(
            index=state.index,
            timestep=t,
            latents=to_array(x[0]),
            x0_latents=to_array(x0[0]),
            x0_preview=model.preview(x0),
            x0_unblended=to_array(free[0]) if settings.blend else None,
            **self.seen_of_text(said.seen),
            c=LevelMaps({}),
            similarity=LevelMaps({}),
            similarity_painta=LevelMaps({}),
            score=None,
            grad=None,
            sigma=0.0,
            alpha=float(alpha),
            guided_norm=said.guided_norm,
            seconds=time.perf_counter() - started,
            settings=settings,
        )
        return State(state.index + 1, x_prev, state.rng, x0), record
