"""What GLIDE is to paint, `GlideJob`, and what it then makes four times as large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.images.read import read_image
from hdpainter_nb.job import BaseJob
from hdpainter_nb.settings import GlideSettings, GlideUpsampleSettings
from hdpainter_nb.utils.checked import checked

__all__ = ["GlideJob", "GlideUpsampleJob"]


@checked
@dataclass(frozen=True, init=False, eq=False, repr=False)
class GlideJob(BaseJob[GlideSettings]):
    """What to paint with GLIDE: an image, a mask (1 = fill), a prompt and the `GlideSettings`.

    Whatever its size, the picture is squeezed to a square of 64 px, and later 256 px.

    Args:
        image, mask: of any kind that `hdpainter_nb.Job` takes.
        prompt: what to paint there. May be empty.
        settings: any field of `GlideSettings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    def __init__(self, image: Any, mask: Any, prompt: str, **settings: Any) -> None:
        super().__init__(image, mask, prompt, GlideSettings().replace(**settings))


@checked
@dataclass(frozen=True, init=False, eq=False, repr=False)
class GlideUpsampleJob(BaseJob[GlideUpsampleSettings]):
    """What GLIDE's upsampler makes larger: a filled picture of 64 px, and the original.

    Made by `GlideSampler.upsampler`.

    Args:
        low: (64, 64, 3), what the base model made.
        image, mask: the original and its hole.
        prompt: what is in the hole.
        settings: any field of `GlideUpsampleSettings`, by name.

    Raises:
        ImageError, MaskError: a picture or the mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    low: NDArray[np.uint8]  # (64, 64, 3)

    def __init__(self, low: Any, image: Any, mask: Any, prompt: str, **settings: Any) -> None:
        super().__init__(image, mask, prompt, GlideUpsampleSettings().replace(**settings))
        object.__setattr__(self, "low", read_image(low, smallest=1))
