"""What a studio makes larger: the picture as it stands, and the original around its hole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import blending, geometry
from hdpainter_nb.errors import SettingsError

__all__ = ["Original", "original_of"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Original:
    """What is made larger, and what it is compared with."""

    low: Picture  # (h, w, 3): the filled picture, small
    image: Picture  # (H, W, 3): the original
    mask: NDArray[np.bool_]  # (H, W)
    prompt: str
    of: tuple[Any, int]  # trace and node that the small picture is from
    detailed: bool  # whether the original has more pixels than the small picture

    @property
    def about(self) -> str:
        """The sizes, and what becomes of the surroundings, as a sentence."""
        small, large = (f"{p.shape[1]} × {p.shape[0]}" for p in (self.low, self.image))
        if self.detailed:
            return f"{small} → {large} pixels; around the hole the original's detail stays."
        return (
            f"{small} → {large} pixels. The given picture has no more detail than that, so all "
            "of it is made larger, not only the hole."
        )

    def bicubic(self) -> Picture:
        """The small picture enlarged without a model, (H, W, 3), blended in all the same."""
        large = geometry.resize(self.low, self.mask.shape)
        return blending.poisson(self.image, large, self.mask) if self.detailed else large


def original_of(sampler: Any) -> Original:
    """What of a sampler's picture, as it stands, is made larger. Call it on the model's thread.

    The original is the picture as it was given, at its own size. Where that is no larger than what
    the model worked at, there is no detail to keep, and all of the picture is filled.

    Raises:
        SettingsError: no step is made yet.
    """
    if not sampler.records:
        raise SettingsError("There is no picture to make larger yet: press ▶ first.")
    job = sampler.job
    low = sampler.image()
    detailed = max(job.image.shape) > max(low.shape)
    image, mask = job.image, job.mask
    if not detailed:
        low = sampler.image(paste="poisson")
        height, width = low.shape[:2]
        image = geometry.resize(job.image, (geometry.FACTOR * height, geometry.FACTOR * width))
        mask = np.ones(image.shape[:2], np.bool_)
    of = (sampler.trace, sampler.node.id)
    return Original(low, image, mask, job.prompt, of, detailed)
