"""HD-Painter's sampler, one step at a time: `Sampler`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import PAINTA_LEVELS, Capture
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images.compositing import paste as pasted
from hdpainter_nb.images.compositing import poisson, surroundings
from hdpainter_nb.images.resize import resize
from hdpainter_nb.job import Job
from hdpainter_nb.models.conditioning import Conditioning, TextConditioning, frame_of
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.base import BaseSampler
from hdpainter_nb.sampling.cost import Estimate
from hdpainter_nb.sampling.predict import predict
from hdpainter_nb.sampling.step import InpaintStep
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.attention import Attention
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.checked import checked

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["Sampler"]

Paste = bool | Literal["poisson"]
Size = Literal["model", "original"]


@checked
class Sampler(BaseSampler):
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

    job: Job | None
    settings: Settings
    cond: Conditioning
    stepper: InpaintStep
    _step_type = InpaintStep

    @staticmethod
    def _prepare(model: Model, job: Job) -> tuple[Conditioning, State]:
        return model.prepare(job)

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> Job:
        if trace.image is None or trace.mask is None:
            raise SettingsError("This trace holds no picture and mask to go on from.")
        if not isinstance(branch.settings, Settings):
            raise SettingsError(
                f"This trace is of another kind of run ({branch.settings.method}): for a picture "
                "made larger use Upscaler.from_trace, for GLIDE's GlideSampler.from_trace or "
                "GlideUpsampler.from_trace."
            )
        values = branch.settings.to_dict()
        mask = trace.mask if trace.mask_levels is None else trace.mask_levels
        return Job(trace.image, mask, branch.prompt, control=trace.control, **values)

    @staticmethod
    def _trace(model: Model, job: Job, cond: TextConditioning) -> Trace:
        trace = BaseSampler._trace(model, job, cond)
        trace.control = job.control
        return trace

    # --- looking ---------------------------------------------------------------------------------

    def image(self, *, paste: Paste = False, size: Size = "model") -> NDArray[np.uint8]:
        """The picture as it stands, decoded: (H, W, 3).

        The last x0 prediction or the last latent, as switch 14 says; before the end always the x0
        prediction, because the latent is still noise.

        Args:
            paste: put the original's known pixels back, over a soft edge of a few pixels, or,
                with ``"poisson"``, by gradients, which takes a difference in colour away
                (sec. 3.5).
            size: ``model``: at the size that the model works at. ``original``: at that of the
                picture as it was given, enlarged bicubically; with `paste` the known pixels are
                then the given picture's own.

        Raises:
            SettingsError: no step is made yet.
        """
        one_of("size", size, get_args(Size))
        chosen = self._chosen()
        with self._turns.take():
            picture = self.model.decode(chosen, self.cond, rounding=self.settings.pixel_rounding)
        if self.settings.decode == "x0" or not self.done:
            self.trace.pictures[self.node.id] = picture
        if size == "original":
            return self._at_own_size(picture, paste)
        return self._paste(picture, paste) if paste else picture

    def _at_own_size(self, picture: NDArray[np.uint8], how: Paste) -> NDArray[np.uint8]:
        """The picture at the size of the one that was given, and in it where that is wanted."""
        if self.job is None:
            raise SettingsError("Without a job there is no picture whose size to take.")
        image, mask = self.job.image, self.job.mask
        if picture.shape == image.shape and how:
            return self._paste(picture, how)
        large = resize(picture, (mask.shape[0], mask.shape[1]))
        if not how:
            return large
        one_of("paste", how, (True, "poisson"))
        part = surroundings(mask)  # all else stays, and of a photograph that is most of it
        blended = image.copy()
        blended[part] = (
            poisson(image[part], large[part], mask[part])
            if how == "poisson"
            else pasted(image[part], large[part], mask[part].astype(np.float32))
        )
        return blended

    def decoded(self, record: Record, *, paste: Paste = False) -> NDArray[np.uint8]:
        """The x0 prediction of any kept record through the VAE: (H, W, 3).

        Args:
            record: of this sampler or of one of the same size.
            paste: as in `image`.
        """
        x0 = self._x0(record)
        with self._turns.take():
            picture = self.model.decode(x0, self.cond, rounding=self.settings.pixel_rounding)
        return self._paste(picture, paste) if paste else picture

    def _paste(self, picture: NDArray[np.uint8], how: Paste) -> NDArray[np.uint8]:
        """The picture in the original as the model saw it: at the size that it worked at."""
        if self.job is None:
            raise SettingsError("Without a job there is no picture to paste into.")
        one_of("paste", how, (True, False, "poisson"))
        job, frame = self.job, frame_of(self.job, self.model.native_size)
        top, left, height, width = frame.crop
        inside = (slice(top, top + height), slice(left, left + width))
        original = frame.fit_image(job.image)[inside]
        mask = frame.fit_mask(job.mask_levels, job.settings.soft_mask)[inside]
        if how == "poisson":
            return poisson(original, picture, mask)
        return pasted(original, picture, mask.astype(np.float32))

    def attention(
        self, record: Record | None = None, *, levels: Collection[int] = PAINTA_LEVELS
    ) -> Attention:
        """Attention of a step, to ask for any pixel, head or word: see `Attention`.

        Queries and keys that were kept at these levels are read. Otherwise the step's UNet call
        is made once more with them kept, so nothing needs to be stored for it beforehand.

        Args:
            record: a kept record; the newest by default.
            levels: resolutions to ask at, counted from the image.

        Raises:
            SettingsError: no step is made yet, or there is no such level.
            OutOfMemoryError: the memory does not suffice; nothing has moved.
        """
        if record is None:
            if not self.records:
                raise SettingsError("No step is made yet: call step() or run() first.")
            record = self.records[-1]
        wanted = {layer.name for layer in self.layers if layer.level in levels}
        if not wanted:
            there_are = sorted({layer.level for layer in self.layers})
            raise SettingsError(f"No attention layer is at {[*levels]}; there are {there_are}.")
        if wanted <= {*record.self_qk} & {*record.cross_qk} and record.self_qk.heads is None:
            return Attention.of(record)
        settings = record.settings
        assert isinstance(settings, Settings)
        branches = (node.branch for node in self.trace.nodes.values() if node.record is record)
        edits = next((self.trace.branches[branch].edits for branch in branches), ())
        capture = Capture.nothing(queries=True, levels=tuple(levels), dtype="float32")
        seen = settings.replace(blending="stock", grown_masks=0)  # the record's latents are blended
        step = InpaintStep.of(self.model, self.cond, seen, capture, edits=edits)
        ungraded = settings.replace(rasg=False)  # no gradient is computed here, whatever was
        explained = out_of_memory_explained(self.model, "attention", ungraded, self.cond.size)
        with self._turns.take(), explained:
            x = torch.from_numpy(record.latents)[None].to(self.model.device, self.model.dtype)
            inputs = step.inputs(State(record.index, x, torch.empty(0)))
            plan = dataclasses.replace(inputs.plan, gradient=False)
            asked = dataclasses.replace(inputs, x=x, plan=plan, guided=False)
            fields = predict(self.model.unet, asked).observations.fields()
        return Attention.of(dataclasses.replace(record, **fields))

    def estimate(self, *, dtype: torch.dtype | None = None) -> Estimate:
        """Bytes and FLOPs of the whole run, counted on the meta device before it starts.

        Its `peak_bytes` is the most that the model's device will hold at once. To know it before
        even the picture is encoded, see `hdpainter_nb.painting.run_cost`.

        Args:
            dtype: the precision to count for; the model's by default.
        """
        from hdpainter_nb.sampling.cost import count

        return count(self.stepper, dtype=dtype)
