"""HD-Painter's sampler, one step at a time: `Sampler`. How it moves is the business of `Loop`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.attention import SelfAttention
from hdpainter_nb.blending import paste as pasted
from hdpainter_nb.blending import poisson
from hdpainter_nb.capture import Capture, Estimate
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.loop import Loop
from hdpainter_nb.predict import predict
from hdpainter_nb.settings import Settings
from hdpainter_nb.step import Stepper
from hdpainter_nb.trace import Branch, Trace
from hdpainter_nb.types import Cond, Job, Record, State

if TYPE_CHECKING:
    from hdpainter_nb.models import Model

__all__ = ["Sampler"]

Paste = bool | Literal["poisson"]


class Sampler(Loop[Cond, Settings]):
    """Steps a job from noise to picture, and remembers every step.

    >>> sampler = Sampler(model, job)
    >>> record = sampler.step()
    >>> for record in sampler: ...
    >>> other = sampler.back(5).branch(painta=False)

    Args:
        model: from `hdpainter_nb.load`.
        job: what to paint.
        capture: what to keep of each step; `Capture.standard` by default.

    A step may run in any thread; samplers on one UNet take turns, step by step.
    """

    stepper: Stepper

    @staticmethod
    def _prepare(model: Model, job: Any) -> tuple[Cond, State]:
        return model.prepare(job)

    @staticmethod
    def _stepper(model: Model, cond: Cond, settings: Settings, capture: Capture) -> Stepper:
        return Stepper(model, cond, settings, capture)

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> Job:
        if trace.image is None or trace.mask is None:
            raise SettingsError("This trace holds no picture and mask to go on from.")
        if not isinstance(branch.settings, Settings):
            raise SettingsError("This trace is of a picture made larger: use Upscaler.from_trace.")
        return Job(trace.image, trace.mask, branch.prompt, **branch.settings.to_dict())

    # --- looking ---------------------------------------------------------------------------------

    def image(self, *, paste: Paste = False) -> NDArray[np.uint8]:
        """The picture as it stands, decoded: (H, W, 3).

        The last x0 prediction or the last latent, as switch 14 says; before the end always the x0
        prediction, because the latent is still noise.

        Args:
            paste: put the original's known pixels back, over a soft edge of a few pixels, or,
                with ``"poisson"``, by gradients, which takes a difference in colour away
                (sec. 3.5).

        Raises:
            SettingsError: no step is made yet.
        """
        chosen = self._chosen()
        with self._turn:
            picture = self.model.decode(chosen, self.cond)
        if self.settings.decode == "x0" or not self.done:
            self.trace.pictures[self.node.id] = picture
        return self._paste(picture, paste) if paste else picture

    def decoded(self, record: Record, *, paste: Paste = False) -> NDArray[np.uint8]:
        """The x0 prediction of any kept record through the VAE: (H, W, 3).

        Args:
            record: of this sampler or of one of the same size.
            paste: as in `image`.
        """
        x0 = self._x0(record)
        with self._turn:
            picture = self.model.decode(x0, self.cond)
        return self._paste(picture, paste) if paste else picture

    def _paste(self, picture: NDArray[np.uint8], how: Paste) -> NDArray[np.uint8]:
        import cv2

        if self.job is None:
            raise SettingsError("Without a job there is no picture to paste into.")
        if how not in (True, "poisson"):
            raise SettingsError(f"paste={how!r} is not one of True, False, 'poisson'.")
        size = picture.shape[1::-1]  # width, height
        original = cv2.resize(self.job.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        mask = cv2.resize(self.job.mask.astype(np.float32), size).astype(np.float32)
        if how == "poisson":
            return poisson(original, picture, mask > 0)
        return pasted(original, picture, mask)

    def attention(self, record: Record | None = None) -> SelfAttention:
        """Self-attention of a step, to ask for any pixel's row: see `SelfAttention`.

        The step's UNet call is made once more with its queries and keys kept, so nothing needs to
        be stored for it beforehand.

        Args:
            record: a kept record; the newest by default.
        """
        if record is None:
            if not self.records:
                raise SettingsError("No step is made yet: call step() or run() first.")
            record = self.records[-1]
        settings = record.settings
        assert isinstance(settings, Settings)
        plan = dataclasses.replace(
            Stepper(self.model, self.cond, settings, Capture.nothing()).plan(record.index),
            scores=False,
            queries=True,
        )
        x = torch.from_numpy(record.latents)[None].to(self.model.device, self.model.dtype)
        with self._turn:
            seen = predict(
                self.model.unet, self.cond, x, record.timestep, settings, plan, guided=False
            ).seen
        return SelfAttention(seen, plan)

    def estimate(self) -> Estimate:
        """Bytes and FLOPs of the whole run, counted on the meta device before it starts."""
        from hdpainter_nb.estimate import estimate

        return estimate(self)
