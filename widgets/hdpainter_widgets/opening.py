"""Pictures to begin with: bundled ones with a hole, and files that a person opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.inputs import read_image, read_mask

from .choosers import bundled_pictures, shape_mask

__all__ = ["forget_upload", "open_sample", "sample_names", "uploaded"]

_PAINTINGS = ("painter_1", "painter_2", "painter_3")  # these bring a mask along
_MIDDLE = (31, 34, 38, 38)


def sample_names() -> list[str]:
    """What can be asked of `open_sample`."""
    return [*bundled_pictures(), *(_named(name) for name in _PAINTINGS)]


def open_sample(
    name: str, hole: tuple[float, float, float, float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bundled picture (H, W, 3) and a hole in it (H, W).

    Args:
        name: one of `sample_names`.
        hole: left, top, width and height of an ellipse, in percent of the picture; None takes the
            hole that belongs to the picture, or one in the middle.

    Raises:
        ValueError: there is none of that name.
    """
    from hdpainter_nb.resources import data_path

    pictures = dict(bundled_pictures())
    own = {_named(painting): painting for painting in _PAINTINGS}
    if name in own:
        image = read_image(data_path("samples", f"{own[name]}.jpg"))
        if hole is not None:
            return image, shape_mask(image.shape[:2], hole)
        return image, read_mask(data_path("samples", "masks", f"{own[name]}.png"), image.shape[:2])
    if name not in pictures:
        raise ValueError(f"sample={name!r} is not one of {', '.join(sample_names())}")
    image = pictures[name]()
    return image, shape_mask(image.shape[:2], hole or _MIDDLE)


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """The value of an `ipywidgets.FileUpload` as (name, content) pairs.

    ipywidgets 7 has a dict by name, ipywidgets 8 a tuple of dicts.
    """
    if isinstance(value, Mapping):
        named = [(str(name), file["content"]) for name, file in value.items()]
    else:
        named = [(str(file["name"]), file["content"]) for file in value]
    return [(name, bytes(content)) for name, content in named]


def forget_upload(upload: Any) -> None:
    """Empty a `FileUpload`, so that the same file can be opened once more."""
    upload.set_trait("value", {} if isinstance(upload.value, Mapping) else ())
    if hasattr(upload, "_counter"):  # ipywidgets 7 counts the files itself
        upload._counter = 0


def _named(painting: str) -> str:
    return f"HD-Painter's sample {painting[-1]}"
