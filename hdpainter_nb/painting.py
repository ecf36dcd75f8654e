"""A large picture with a hole, filled in one call: `paint`, and `paint_cost` beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.cost import Estimate, count
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.sampling.step import BaseStep, InpaintStep
from hdpainter_nb.upscale.job import UpscaleJob
from hdpainter_nb.upscale.model import UpscaleModel
from hdpainter_nb.upscale.step import UpscaleStep
from hdpainter_nb.upscale.upscaler import Upscaler
from hdpainter_nb.utils import html
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.nbytes import readable_bytes

__all__ = ["PaintEstimate", "mask_box", "paint", "paint_cost", "run_cost"]


@checked
@dataclass(frozen=True)
class PaintEstimate:
    """What `paint` will cost: filling the hole, then making the result larger."""

    paint: Estimate
    upscale: Estimate | None
    """None where no network makes it larger."""

    @property
    def stages(self) -> dict[str, Estimate]:
        """``paint``, and ``upscale`` where there is one."""
        both = {"paint": self.paint, "upscale": self.upscale}
        return {name: stage for name, stage in both.items() if stage is not None}

    @property
    def weight_bytes(self) -> int:
        """Of both models, which lie on the device together."""
        return sum(stage.weight_bytes for stage in self.stages.values())

    @property
    def phases(self) -> dict[str, int]:
        """``paint step`` and so on -> the most held at once, both models' weights included."""
        return {
            f"{name} {phase}": held + self.weight_bytes - stage.weight_bytes
            for name, stage in self.stages.items()
            for phase, held in stage.phases.items()
        }

    @property
    def peak_bytes(self) -> int:
        """The largest of `phases`."""
        return max(self.phases.values(), default=0)

    @property
    def flops(self) -> int:
        """Of both stages."""
        return sum(stage.flops for stage in self.stages.values())

    def __str__(self) -> str:
        each = ", ".join(f"{name} {readable_bytes(n)}" for name, n in self.phases.items())
        return (
            f"{self.flops / 1e12:.3g} TFLOP; peak {readable_bytes(self.peak_bytes)} "
            f"(weights {readable_bytes(self.weight_bytes)}; {each})"
        )

    def _repr_html_(self) -> str:
        cards = [html.table({"": name, **s._facts()}) for name, s in self.stages.items()]
        both = {
            "peak of both": readable_bytes(self.peak_bytes),
            "weights of both": readable_bytes(self.weight_bytes),
            "operations": f"{self.flops / 1e12:.3g} TFLOP",
        }
        return html.card(html.table(both), *cards)


@checked
def run_cost(
    model: Model,
    job: Job | UpscaleJob,
    capture: Capture | None = None,
    *,
    dtype: torch.dtype | None = None,
    exact: bool = True,
) -> Estimate:
    """What a run will cost, before anything of it is computed, its preparation included.

    >>> print(run_cost(model, job))
    >>> run_cost(model, job.replace(long_side=1024), dtype=torch.float16).peak_bytes

    Args:
        model: from `load` or `load_upscaler`.
        job: what to paint, or to make larger.
        capture: what to keep of each step; `Capture.standard` by default.
        dtype: the precision to count for; the model's by default.
        exact: as for `Model.decode`.

    Raises:
        ModelError: this is a bare UNet; make a sampler and call its `estimate`.
    """
    kept = Capture.standard() if capture is None else capture
    step: BaseStep[Any, Any]
    if isinstance(job, UpscaleJob):
        assert isinstance(model, UpscaleModel)
        step = UpscaleStep.of(model, model.empty_conditioning(job), job.settings, kept)
    else:
        step = InpaintStep.of(model, model.empty_conditioning(job), job.settings, kept)
    return count(step, dtype=dtype, exact=exact)


Box = tuple[int, int, int, int]  # top, left, height, width


@checked
def paint(
    image: Any,
    mask: Any,
    prompt: str,
    *,
    model: Model,
    upscaler: UpscaleModel | None = None,
    crop: bool = False,
    context: float = 2.0,
    upscale: Mapping[str, Any] = MappingProxyType({}),
    progress: bool = False,
    **settings: Any,
) -> NDArray[np.uint8]:
    """Fill the hole of a picture of any size: scale down, paint, scale up, blend.

    The picture is scaled to the size that the model was made for and painted by `Sampler`;
    `Upscaler` makes the result four times as large, with the original's detail around the hole, and
    Poisson's equation blends it in. More than `blending.BAND` pixels away from the hole, every
    pixel is the original's, to the bit.

    Args:
        image, mask, prompt: as for `Job`. Detail is painted up to a long side of four times the
            model's size (2048 px for Stable Diffusion); of a larger picture, the filling is
            scaled up.
        model: from `load`.
        upscaler: from `load_upscaler`; None: bicubic.
        crop: work on a part of the picture around the hole, for small holes in large pictures.
        context: how many times as large as the hole that part is, on its longer side.
        upscale: any field of `UpscaleSettings`, by name.
        progress: show a bar for each run.
        settings: `preset`, and any field of `Settings`, by name.

    Returns:
        (H, W, 3), of the picture's own size.

    Raises:
        ImageError, MaskError, SettingsError: as `Job` and `UpscaleJob` do; a `context` below 1.
    """
    job = Job(image, mask, prompt, **settings)
    part = _part(job, model, crop, context)
    whole = job.image.copy()
    whole[part] = _paint(job.part(part), model, upscaler, upscale, progress)
    return whole


@checked
def paint_cost(
    image: Any,
    mask: Any,
    prompt: str,
    *,
    model: Model,
    upscaler: UpscaleModel | None = None,
    crop: bool = False,
    context: float = 2.0,
    upscale: Mapping[str, Any] = MappingProxyType({}),
    exact: bool = True,
    **settings: Any,
) -> PaintEstimate:
    """What `paint` will cost with the same arguments, counted before anything is computed.

    >>> print(paint_cost(image, mask, "a red star", model=model, upscaler=upscaler))

    Args:
        image, mask, prompt, model, upscaler, crop, context, upscale, settings: as for `paint`.
        exact: whether large pictures are decoded in one piece where the memory suffices.

    Raises:
        ImageError, MaskError, SettingsError: as `paint` does.
    """
    whole = Job(image, mask, prompt, **settings)
    job = whole.part(_part(whole, model, crop, context))
    first = run_cost(model, job, Capture.nothing(), exact=exact)
    _, _, *low = model.layout(job).mask.crop
    if upscaler is None or _large_enough((low[0], low[1]), job.mask.shape):
        return PaintEstimate(first, None)
    small = np.zeros((*low, 3), np.uint8)
    larger = UpscaleJob(small, job.image, job.mask, job.prompt, **upscale)
    return PaintEstimate(first, run_cost(upscaler, larger, Capture.nothing(), exact=exact))


def _part(job: Job, model: Model, crop: bool, context: float) -> tuple[slice, slice]:
    """The window (rows, columns) of the picture that is worked on."""
    if not 1 <= context <= 100:
        raise SettingsError(f"context must be a number from 1 to 100, not {context!r}.")
    if not crop:
        return slice(None), slice(None)
    top, left, height, width = mask_box(job.mask, context, model.native_size)
    return slice(top, top + height), slice(left, left + width)


def _paint(
    job: Job,
    model: Model,
    upscaler: UpscaleModel | None,
    upscale: Mapping[str, Any],
    progress: bool,
) -> NDArray[np.uint8]:
    sampler = Sampler(model, job, Capture.nothing())
    sampler.run(progress=progress)
    low, size = sampler.image(), job.mask.shape
    if upscaler is None or _large_enough(low.shape, size):
        picture = resize.resize(low, size)
        return compositing.poisson(job.image, picture, job.mask)
    larger = UpscaleJob(low, job.image, job.mask, job.prompt, **upscale)
    large = Upscaler(upscaler, larger, Capture.nothing())
    large.run(progress=progress)
    picture = large.image(paste=True)
    near = compositing.grown(job.mask)[..., None]
    return np.where(near, picture, job.image)


@checked
def _large_enough(low: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether a picture was not scaled down, but for the row or column that cutting its size takes.

    Args:
        low: (h, w, ...), what it was painted at.
        size: (height, width) of its own.
    """
    return low[0] * low[1] >= size[0] * size[1] or max(low[:2]) >= max(size)


def mask_box(mask: NDArray[np.bool_], context: float, smallest: int = 64) -> Box:
    """A box around the hole: square where the picture allows it, inside the picture.

    Args:
        mask: (H, W) bool.
        context: its side over the hole's longer side.
        smallest: its side is at least this, in pixels.

    Returns:
        (top, left, height, width).
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    hole = [(int(places[0]), int(places[-1]) + 1) for places in (rows, columns)]
    longest = max(stop - start for start, stop in hole)
    # Room for the blending band on both sides, whatever the context.
    side = max(round(context * longest), longest + 4 * compositing.BAND, smallest)
    spans = []
    for (start, stop), length in zip(hole, mask.shape, strict=True):
        size = min(side, length)
        begin = min(max(0, (start + stop - size) // 2), length - size)
        spans.append((begin, size))
    (top, height), (left, width) = spans
    return top, left, height, width
