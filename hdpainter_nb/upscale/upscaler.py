"""The inpainting-specialised upscaler (sec. 3.5), one step at a time: `Upscaler`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.base import BaseSampler
from hdpainter_nb.sampling.cost import Estimate
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch
from hdpainter_nb.upscale.job import UpscaleJob
from hdpainter_nb.upscale.model import UpscaleConditioning, UpscaleModel
from hdpainter_nb.upscale.step import UpscaleStep
from hdpainter_nb.utils.checked import checked

__all__ = ["Upscaler"]


@checked
class Upscaler(BaseSampler):
    """Makes a filled picture four times as large, keeping the original's detail around the hole.

    It steps, goes back, branches and remembers exactly as `Sampler` does.

    >>> upscaler = Upscaler(load_upscaler(), UpscaleJob(sampler.image(), image, mask, "a red star"))
    >>> record = upscaler.step()
    >>> record.x0_unblended, record.x0_latents  # before and after eq. 10
    >>> picture = upscaler.image()
    >>> plain = upscaler.restart().branch(blend=False)

    Args:
        model: from `hdpainter_nb.load_upscaler`.
        job: what to make larger.
        capture: what to keep of each step; `Capture.standard` by default. Levels count from the
            large picture. PAIntA's maps and self-similarity do not exist here.
    """

    job: UpscaleJob | None
    settings: UpscaleSettings
    stepper: UpscaleStep
    _step_type = UpscaleStep

    @staticmethod
    def _prepare(model: UpscaleModel, job: UpscaleJob) -> tuple[UpscaleConditioning, State]:
        return model.prepare(job)

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> UpscaleJob:
        given = trace.image is not None and trace.mask is not None and trace.low is not None
        if not given or not isinstance(branch.settings, UpscaleSettings):
            raise SettingsError(
                "This trace holds no picture that is made larger: use Sampler.from_trace."
            )
        values = branch.settings.to_dict()
        mask = trace.mask if trace.mask_levels is None else trace.mask_levels
        return UpscaleJob(trace.low, trace.image, mask, branch.prompt, **values)

    @staticmethod
    def _trace(model: Model, job: UpscaleJob, cond: TextConditioning) -> Trace:
        trace = BaseSampler._trace(model, job, cond)
        trace.low = job.low
        return trace

    # --- looking ---------------------------------------------------------------------------------

    def image(self, *, paste: bool = False, exact: bool = True) -> NDArray[np.uint8]:
        """The picture as it stands, decoded, of the original's size and blended in: (H, W, 3).

        Args:
            paste: where the settings switch Poisson's equation off, put the original's known
                pixels back over a soft edge of a few pixels.
            exact: as for `Model.decode`.

        Raises:
            SettingsError: no step is made yet.
        """
        picture = self._finished(self._chosen(), paste, exact)
        self.trace.pictures[self.node.id] = picture
        return picture

    def decoded(
        self, record: Record, *, paste: bool = False, exact: bool = True, blended: bool = True
    ) -> NDArray[np.uint8]:
        """The x0 prediction of any kept record through the VAE: (H, W, 3).

        Args:
            record: of this upscaler or of one of the same size.
            paste, exact: as in `image`.
            blended: after eq. 10 and with Poisson's equation, as `image` has it. If not, the raw
                prediction before both.
        """
        if blended:
            return self._finished(self._x0(record), paste, exact)
        raw = record.x0_latents if record.x0_unblended is None else record.x0_unblended
        return self._decode(torch.from_numpy(raw), exact)

    def estimate(self, *, dtype: torch.dtype | None = None, exact: bool = True) -> Estimate:
        """Bytes and FLOPs of the whole run, counted on the meta device before it starts.

        Args:
            dtype: the precision to count for; the model's by default.
            exact: whether `image` is to be called so.
        """
        from hdpainter_nb.sampling.cost import count

        return count(self.stepper, dtype=dtype, exact=exact)

    def _decode(self, latents: torch.Tensor, exact: bool) -> NDArray[np.uint8]:
        with self._turns.take():
            picture = self.model.decode(
                latents, self.cond, exact=exact, rounding=self.settings.pixel_rounding
            )
        return picture if self.job is None else resize.resize(picture, self.job.mask.shape)

    def _finished(self, latents: torch.Tensor, paste: bool, exact: bool) -> NDArray[np.uint8]:
        picture, job, settings = self._decode(latents, exact), self.job, self.settings
        if job is None:
            return picture
        if settings.poisson:
            bounds = settings.poisson_bounds
            return compositing.poisson(job.image, picture, job.mask, bounds=bounds)
        if paste:
            return compositing.paste(job.image, picture, job.mask.astype(np.float32))
        return picture
