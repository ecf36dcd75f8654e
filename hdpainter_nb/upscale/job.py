"""What to make larger: `UpscaleJob`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.images.read import read_image
from hdpainter_nb.job import BaseJob
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.upscale import geometry
from hdpainter_nb.utils.checked import checked

__all__ = ["UpscaleJob"]


@checked
@dataclass(frozen=True, init=False, eq=False, repr=False)
class UpscaleJob(BaseJob[UpscaleSettings]):
    """What to make larger: a small filled picture, the large original, its hole and a prompt.

    Args:
        low: (h, w, 3), the filled picture, small; of any kind that `Job` takes.
        image: (H, W, 3), the original. Four times `low`, or else the work is done at four times
            `low` and the result scaled to the original's size.
        mask: (H, W), True or white where filled; None: everywhere.
        prompt: what is in the picture. May be empty.
        settings: any field of `UpscaleSettings`, by name.

    Raises:
        ImageError, MaskError: a picture or the mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    low: NDArray[np.uint8]  # (h, w, 3)

    def __init__(self, low: Any, image: Any, mask: Any, prompt: str, **settings: Any) -> None:
        super().__init__(image, mask, prompt, UpscaleSettings().replace(**settings))
        object.__setattr__(self, "low", read_image(low, smallest=1))
        self.geometry()

    def geometry(self) -> geometry.Geometry:
        """The sizes of its pictures and of the frames that hold them."""
        height, width = self.mask.shape
        return geometry.fit_pair((height, width), (self.low.shape[0], self.low.shape[1]))
