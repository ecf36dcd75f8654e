"""The bundled pictures, each with a hole to begin with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_nb.utils.check import one_of

__all__ = [
    "SHAPES",
    "bundled_pictures",
    "not_understood",
    "open_sample",
    "sample_names",
    "shape_mask",
]

SHAPES = ("ellipse", "rectangle")
"""What a hole may look like."""
_PHOTOGRAPHS = ("flower", "coffee", "chelsea", "china", "grass", "gravel", "brick", "rocket")
# Scenes with room in the middle: a background and its objects, as (colour, shape, x, y, radius).
_SCENES: dict[str, tuple[str, tuple[tuple[str, str, float, float, float], ...]]] = {
    "hills": ("sky", (("pink", "heart", 52, 70, 34), ("yellow", "circle", 214, 54, 26))),
    "wooden floor": ("wood", (("blue", "ring", 56, 58, 36), ("white", "star", 210, 206, 34))),
    "brick wall": ("brick", (("green", "cross", 212, 66, 32),)),
    "stripes": ("stripes", (("orange", "diamond", 48, 200, 32), ("purple", "heart", 208, 52, 32))),
    "empty wall": ("plain", ()),
}


def shape_mask(
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    shape: str = "ellipse",
) -> NDArray[np.bool_]:
    """A filled ellipse or rectangle: (H, W) bool, never empty.

    Args:
        size: (H, W) in pixels.
        box: left, top, width, height in percent; what lies outside the picture is cut off.
        shape: ``ellipse`` or ``rectangle``.

    Raises:
        ValueError: another shape.
    """
    one_of("shape", shape, SHAPES, ValueError)
    height, width = size
    left, top, across, down = box
    # Pixel centres in units of the box's half axes, 0 in its middle.
    x = ((np.arange(width) + 0.5) / width * 100 - left - across / 2) / (across / 2)
    y = ((np.arange(height) + 0.5) / height * 100 - top - down / 2) / (down / 2)
    if shape == "ellipse":
        mask = x[None] ** 2 + y[:, None] ** 2 <= 1
    else:
        mask = (np.abs(x)[None] <= 1) & (np.abs(y)[:, None] <= 1)
    if not mask.any():
        mask[np.abs(y).argmin(), np.abs(x).argmin()] = True
    return mask


def bundled_pictures() -> dict[str, Callable[[], NDArray[np.uint8]]]:
    """The offers by name; each is made or read when it is first looked at."""

    def drawn(name: str) -> Callable[[], NDArray[np.uint8]]:
        def make() -> NDArray[np.uint8]:
            from hdpainter_nb.mini import Thing, scene

            background, things = _SCENES[name]
            return scene(7, background, [Thing(*thing) for thing in things]).image

        return make

    def read(name: str) -> Callable[[], NDArray[np.uint8]]:
        def open_() -> NDArray[np.uint8]:
            from PIL import Image

            from hdpainter_nb.utils.files import data_path

            with Image.open(data_path("samples", f"{name}.jpg")) as photograph:
                return np.asarray(photograph.convert("RGB"))

        return open_

    scenes = {f"scene: {name}": drawn(name) for name in _SCENES}
    return {**scenes, **{f"photograph: {name}": read(name) for name in _PHOTOGRAPHS}}


_PAINTINGS = ("painter_1", "painter_2", "painter_3")  # these bring a mask along
_MIDDLE = (31, 34, 38, 38)


def sample_names() -> list[str]:
    """What can be asked of `open_sample`."""
    return [*bundled_pictures(), *(_named(name) for name in _PAINTINGS)]


def not_understood(prompt: str) -> str:
    """What the miniature does not know of a prompt, as a sentence; empty where it knows all."""
    from hdpainter_nb.mini.world.captions import unknown_words
    from hdpainter_nb.mini.world.scene import COLORS, SHAPES

    unknown = unknown_words(prompt)
    if not unknown:
        return ""
    words = ", ".join(f"“{word}”" for word in unknown)
    mean = "means" if len(unknown) == 1 else "mean"
    return (
        f"{words} {mean} nothing to the miniature. It knows the colours {', '.join(COLORS)} and "
        f"the shapes {', '.join(SHAPES)}."
    )


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
    from hdpainter_nb.utils.files import data_path

    pictures = dict(bundled_pictures())
    paintings = {_named(painting): painting for painting in _PAINTINGS}
    if name in paintings:
        image = read_image(data_path("samples", f"{paintings[name]}.jpg"))
        if hole is not None:
            return image, shape_mask(image.shape[:2], hole)
        return image, read_mask(
            data_path("samples", "masks", f"{paintings[name]}.png"), image.shape[:2]
        )
    one_of("sample", name, sample_names(), ValueError)
    image = pictures[name]()
    return image, shape_mask(image.shape[:2], hole or _MIDDLE)


def _named(painting: str) -> str:
    return f"HD-Painter's sample {painting[-1]}"
