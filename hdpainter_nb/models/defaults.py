"""What a model says of itself: `ModelDefaults`.

A model folder may hold an ``hdpainter.json`` beside its ``model_index.json``::

    {"guidance_scale": 4.0, "positive_suffix": "", "negative_prompt": "", "preview": null}
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdpainter_nb.errors import ModelError

__all__ = ["ModelDefaults", "read_defaults"]

_MAX_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class ModelDefaults:
    """A model's own defaults. Those here are the official HD-Painter script's.

    Raises:
        ModelError: a value is of the wrong kind.
    """

    guidance_scale: float = 7.5
    """Classifier-free guidance scale."""
    positive_suffix: str = "Full HD, 4K, high quality, high resolution"
    """What switch 16 appends to the prompt."""
    negative_prompt: str = (
        "text, bad anatomy, bad proportions, blurry, cropped, deformed, disfigured, duplicate, "
        "error, extra limbs, gross proportions, jpeg artifacts, long neck, low quality, lowres, "
        "malformed, morbid, mutated, mutilated, out of frame, ugly, worst quality"
    )
    """What switch 16 puts into the unconditional half."""
    preview: list[list[float]] | None = None
    """(5, 3): four rows that take latents to RGB in 0 .. 1 and one to add; None fits them."""

    def __post_init__(self) -> None:
        scale: Any = self.guidance_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 100:
            raise ModelError(f"guidance_scale must be a number from 0 to 100, not {scale!r}.")
        for name in ("positive_suffix", "negative_prompt"):
            if not isinstance(getattr(self, name), str):
                raise ModelError(f"{name} must be a string, not {getattr(self, name)!r}.")
        if self.preview is not None:
            try:
                shape = np.asarray(self.preview, np.float32).shape
            except (TypeError, ValueError):
                shape = ()
            if shape != (5, 3):
                raise ModelError("preview must be null or 5 rows of 3 numbers.")


def read_defaults(folder: Path, default: ModelDefaults | None = None) -> ModelDefaults:
    """Read ``hdpainter.json`` of a model folder; what it leaves out is as in `default`.

    Raises:
        ModelError: the file is no JSON, or holds an unknown name or an impossible value.
    """
    path = folder / "hdpainter.json"
    default = default or ModelDefaults()
    if not path.is_file():
        return default
    known = [f.name for f in dataclasses.fields(ModelDefaults)]
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelError(f"it has more than {_MAX_BYTES} bytes")
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or any(name not in known for name in values):
            raise ModelError(f"it may only hold {', '.join(known)}")
        return dataclasses.replace(default, **values)
    except RecursionError as error:
        raise ModelError(f"{path} cannot be used: it is nested too deeply") from error
    except (ModelError, OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be used: {error}") from error
