"""GLIDE's two stages, one step at a time: `GlideSampler`, `GlideUpsampler`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.glide.conditioning import GlideConditioning
from hdpainter_nb.glide.job import GlideJob, GlideUpsampleJob
from hdpainter_nb.glide.model import GlideModel, GlideUpsamplingModel
from hdpainter_nb.glide.step import GlideStep
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.base import BaseSampler
from hdpainter_nb.settings import (
    BaseGlideSettings,
    GlideSettings,
    GlideUpsampleSettings,
)
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch
from hdpainter_nb.utils.checked import checked

__all__ = ["BaseGlideSampler", "GlideSampler", "GlideUpsampler"]


@checked
class BaseGlideSampler(BaseSampler):
    """What the samplers of both stages share; it steps, goes back and branches as any other.

    Args:
        model: of the stage.
        job: of the stage.
        capture: what to keep of each step; `Capture.standard` by default. Levels count from the
            finished picture of 256 px, in both stages.
    """

    settings: BaseGlideSettings
    cond: GlideConditioning
    stepper: GlideStep
    _step_type = GlideStep

    def image(self, *, native: bool = False, paste: bool = False) -> NDArray[np.uint8]:
        """The picture as it stands: the last x0 prediction, (H, W, 3).

        Args:
            native: of the size that the stage paints at, a square; by default of the original's.
            paste: put the original's known pixels back, over a soft edge of a few pixels.

        Raises:
            SettingsError: no step is made yet.
        """
        picture = self._finished(self._read(self._chosen()), native, paste)
        self.trace.pictures[self.node.id] = picture
        return picture

    def decoded(
        self, record: Record, *, native: bool = False, paste: bool = False
    ) -> NDArray[np.uint8]:
        """The x0 prediction of any kept record: (H, W, 3).

        Args:
            record: of this sampler or of one of the same size.
            native, paste: as in `image`.
        """
        return self._finished(self._read(record.x0_latents), native, paste)

    def _read(self, pixels: Any) -> NDArray[np.uint8]:
        return self.model.decode(pixels, rounding=self.settings.pixel_rounding)

    def _finished(self, picture: NDArray[np.uint8], native: bool, paste: bool) -> NDArray[np.uint8]:
        job = self.job
        if native or job is None:
            return picture
        large = resize.resize(picture, (job.mask.shape[0], job.mask.shape[1]))
        if paste:
            return compositing.paste(job.image, large, job.mask.astype(np.float32))
        return large


@checked
class GlideSampler(BaseGlideSampler):
    """Fills a hole at 64 px with GLIDE's base model, and hands over to the upsampler.

    >>> model = load_glide("weights/glide")
    >>> sampler = GlideSampler(model, GlideJob(image, mask, "a corgi in a field"))
    >>> record = sampler.step()
    >>> record.cross["corgi"], record.x0_preview
    >>> sampler.run()
    >>> larger = sampler.upsampler()
    >>> larger.run()
    >>> picture = larger.image()

    Args:
        model: from `load_glide`.
        job: what to paint.
        capture: what to keep of each step; `Capture.standard` by default. Levels count from 256 px.
    """

    model: GlideModel
    job: GlideJob | None
    settings: GlideSettings

    def __init__(self, model: GlideModel, job: GlideJob, capture: Capture | None = None) -> None:
        super().__init__(model, job, capture)

    @staticmethod
    def _prepare(model: GlideModel, job: GlideJob) -> tuple[GlideConditioning, State]:
        return model.prepare(job)

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> GlideJob:
        if not isinstance(branch.settings, GlideSettings):
            raise SettingsError("This trace is not of GLIDE's base model.")
        image, mask = _given(trace)
        return GlideJob(image, mask, branch.prompt, **branch.settings.to_dict())

    def upsampler(self, *, capture: Capture | None = None, **settings: Any) -> GlideUpsampler:
        """A sampler that makes 256 px of what stands here, with a trace of its own.

        The seed and the negative prompt are this run's.

        Args:
            capture: what to keep of its steps; `Capture.standard` by default.
            settings: any field of `GlideUpsampleSettings`, by name.

        Raises:
            SettingsError: no step is made yet; unknown or impossible setting.
        """
        if self.job is None:
            raise SettingsError("Without a job there is no original to follow.")
        low = self.image(native=True)
        mine = self.settings
        chosen = {
            "seed": mine.seed,
            "negative_prompt": mine.negative_prompt,
            "soft_mask": mine.soft_mask,
            **settings,
        }
        job = GlideUpsampleJob(low, self.job.image, self.job.mask_levels, self.prompt, **chosen)
        return GlideUpsampler(self.model.upsampler, job, capture)


@checked
class GlideUpsampler(BaseGlideSampler):
    """Makes 256 px of a picture that GLIDE filled at 64 px, keeping to the known pixels.

    Made by `GlideSampler.upsampler`.

    Args:
        model: ``load_glide(...).upsampler``.
        job: what to make larger.
        capture: what to keep of each step; `Capture.standard` by default.
    """

    model: GlideUpsamplingModel
    job: GlideUpsampleJob | None
    settings: GlideUpsampleSettings

    def __init__(
        self,
        model: GlideUpsamplingModel,
        job: GlideUpsampleJob,
        capture: Capture | None = None,
    ) -> None:
        super().__init__(model, job, capture)

    @staticmethod
    def _prepare(
        model: GlideUpsamplingModel, job: GlideUpsampleJob
    ) -> tuple[GlideConditioning, State]:
        return model.prepare(job)

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> GlideUpsampleJob:
        if not isinstance(branch.settings, GlideUpsampleSettings) or trace.low is None:
            raise SettingsError("This trace is not of GLIDE's upsampler.")
        image, mask = _given(trace)
        return GlideUpsampleJob(trace.low, image, mask, branch.prompt, **branch.settings.to_dict())

    @staticmethod
    def _trace(model: Model, job: GlideUpsampleJob, cond: TextConditioning) -> Trace:
        trace = BaseSampler._trace(model, job, cond)
        trace.low = job.low
        return trace


def _given(trace: Trace) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The original and its mask.

    Raises:
        SettingsError: the trace does not hold them.
    """
    if trace.image is None or trace.mask is None:
        raise SettingsError("This trace holds no picture and mask to go on from.")
    return trace.image, trace.mask if trace.mask_levels is None else trace.mask_levels
