"""A large picture with a hole, filled in one call: `paint`, and `paint_cost` beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import blending, blueprint, geometry
from hdpainter_nb.capture import Capture
from hdpainter_nb.cost import PaintEstimate
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.estimate import run_cost
from hdpainter_nb.sampler import Sampler
from hdpainter_nb.types import Job
from hdpainter_nb.upscale import Upscaler
from hdpainter_nb.upscale_model import UpscaleJob

if TYPE_CHECKING:
    from hdpainter_nb.models import Model
    from hdpainter_nb.upscale_model import UpscaleModel

__all__ = ["mask_box", "paint", "paint_cost"]

Box = tuple[int, int, int, int]  # top, left, height, width


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

    The picture is scaled down to the size that the model was made for and painted by `Sampler`;
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
    _, _, *low = blueprint.painted(model, job).crop
    if upscaler is None or low[0] * low[1] >= job.mask.size:
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
    if upscaler is None or low.shape[0] * low.shape[1] >= size[0] * size[1]:
        picture = geometry.resize(low, size)
        return blending.poisson(job.image, picture, job.mask)
    larger = UpscaleJob(low, job.image, job.mask, job.prompt, **upscale)
    large = Upscaler(upscaler, larger, Capture.nothing())
    large.run(progress=progress)
    picture = large.image(paste=True)
    near = blending.grown(job.mask)[..., None]
    return np.where(near, picture, job.image)


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
    side = max(round(context * longest), longest + 4 * blending.BAND, smallest)
    spans = []
    for (start, stop), length in zip(hole, mask.shape, strict=True):
        size = min(side, length)
        begin = min(max(0, (start + stop - size) // 2), length - size)
        spans.append((begin, size))
    (top, height), (left, width) = spans
    return top, left, height, width
