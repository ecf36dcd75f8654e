"""What each part of the upscaler does, side by side (figures 6 and 17): `upscale_ablation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import views
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.upscale.job import UpscaleJob
from hdpainter_nb.upscale.upscaler import Upscaler
from hdpainter_nb.utils.checked import checked

if TYPE_CHECKING:
    from PIL.Image import Image

    from hdpainter_nb.upscale.model import UpscaleModel

__all__ = ["upscale_ablation", "upscale_variants", "zoom_boxes"]

Box = tuple[int, int, int, int]  # top, left, height, width
Picture = NDArray[np.uint8]


@checked
def upscale_variants(
    model: UpscaleModel,
    job: UpscaleJob,
    *,
    ours: Upscaler | None = None,
    progress: bool = False,
) -> dict[str, Picture]:
    """The picture made larger in every way that the figures compare: label -> (H, W, 3).

    Three runs serve all: what is called plain super-resolution is also ours without eq. 10, and
    leaving Poisson's equation out needs no run of its own.

    Args:
        model: from `load_upscaler`.
        job: what to make larger.
        ours: a run of this job with `blend`, `soft` and `poisson` on, finished or not, if there is
            one already: it is branched from its start, and spares one of the three.
        progress: show a bar for each run.
    """
    job = job.replace(blend=True, soft=True, poisson=True)
    if ours is None:
        ours = Upscaler(model, job, Capture.nothing())
    ours.restart()
    plain, hard = ours.branch(blend=False), ours.branch(soft=False)
    for upscaler in (ours, plain, hard):
        upscaler.run(progress=progress)
    bicubic = resize.resize(job.low, job.mask.shape)
    bounds = job.settings.poisson_bounds
    done = ours.image()
    raw = ours.branch(poisson=False).image()
    return {
        "bicubic + Poisson": compositing.poisson(job.image, bicubic, job.mask, bounds=bounds),
        "plain x4 + Poisson (no latent blend)": plain.image(),
        "HD-Painter": done,
        "HD-Painter, hard mask": hard.image(),
        "HD-Painter without Poisson": raw,
    }


@checked
def upscale_ablation(
    model: UpscaleModel,
    job: UpscaleJob,
    *,
    variants: Mapping[str, Picture] | None = None,
    boxes: Sequence[Box] | None = None,
    tile: int = 320,
    progress: bool = False,
) -> Image:
    """A labelled grid: one column per variant of `upscale_variants`, one row per zoomed box.

    Args:
        model: from `load_upscaler`.
        job: what to make larger.
        variants: pictures by label, if `upscale_variants` has made them already.
        boxes: (top, left, height, width) in the original's pixels; None: `zoom_boxes`.
        tile: longer side of a tile in pixels.
        progress: show a bar for each run.
    """
    if variants is None:
        variants = upscale_variants(model, job, progress=progress)
    columns = {"original": job.image, **variants}
    chosen = zoom_boxes(job.mask) if boxes is None else list(boxes)
    rows = [list(columns.values())]
    labels = list(columns)
    for top, left, height, width in chosen:
        part = (slice(top, top + height), slice(left, left + width))
        scale = tile / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        rows.append([resize.resize(picture[part], size) for picture in rows[0]])
        labels += [f"at {left}, {top}"] * len(columns)
    pictures = [picture for row in rows for picture in row]
    return views.grid(pictures, labels, columns=len(columns), tile=tile)


@checked
def zoom_boxes(mask: NDArray[np.bool_]) -> list[Box]:
    """Two squares worth a closer look: the hole's middle and a piece of its edge.

    Args:
        mask: (H, W) bool.

    Returns:
        (top, left, height, width) each, a quarter of the picture's shorter side.
    """
    side = max(16, min(mask.shape) // 4)
    rows, columns = np.nonzero(mask)
    if not len(rows):
        rows, columns = (np.array([length // 2]) for length in mask.shape)
    middle = (int(np.median(rows)), int(np.median(columns)))
    row = int(np.median(rows))
    along = columns[rows == row]
    edge = (row, int(along.min()) if len(along) else int(columns.min()))
    return [_around(point, side, mask.shape) for point in (middle, edge)]


def _around(point: tuple[int, int], side: int, shape: tuple[int, ...]) -> Box:
    sizes = [min(side, length) for length in shape]
    starts = [
        min(max(0, at - size // 2), length - size)
        for at, size, length in zip(point, sizes, shape, strict=True)
    ]
    return starts[0], starts[1], sizes[0], sizes[1]
