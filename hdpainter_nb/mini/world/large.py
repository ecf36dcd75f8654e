"""Held-out tasks for the x4 upscaler: large pictures with a hole whose true content is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.mini.world import holes
from hdpainter_nb.mini.world.backgrounds import BACKGROUNDS
from hdpainter_nb.mini.world.captions import prompt
from hdpainter_nb.mini.world.holes import Mask
from hdpainter_nb.mini.world.scene import (
    COLORS,
    SHAPES,
    Image,
    Thing,
    make_scene,
    random_objects,
    reduced,
    spot,
)

SCALE = 4
_HELD_OUT = 888_000  # training draws its scenes from other streams


@dataclass(frozen=True)
class LargeTask:
    """A large picture, its hole, what the hole truly holds, and all of it in small.

    `image` `(4 s, 4 s, 3)` has bare background in the hole; `truth` has the object that `prompt`
    names; outside the hole they are equal. `low` `(s, s, 3)` is the truth reduced, `hole` `(s, s)`
    and `mask` `(4 s, 4 s)` are the same hole.
    """

    image: Image
    truth: Image
    mask: Mask
    low: Image
    hole: Mask
    prompt: str
    thing: Thing

    def crop(self, side: int) -> LargeTask:
        """The square of `side` large pixels (a multiple of 64) about the hole."""
        rows, columns = np.nonzero(self.hole)
        small = side // SCALE
        top, left = (
            int(np.clip((k.min() + k.max() + 1) / 2 - small / 2, 0, self.low.shape[0] - small))
            for k in (rows, columns)
        )
        few = np.s_[top : top + small, left : left + small]
        many = np.s_[SCALE * top : SCALE * (top + small), SCALE * left : SCALE * (left + small)]
        return LargeTask(
            self.image[many],
            self.truth[many],
            self.mask[many],
            self.low[few],
            self.hole[few],
            self.prompt,
            self.thing,
        )


def large_task(seed: int, background: str | None = None) -> LargeTask:
    """The task of a seed; tidy and wild holes in turn."""
    rng = np.random.default_rng([_HELD_OUT, seed])
    while True:
        others = random_objects(rng, int(rng.choice((0, 1, 2))))
        radius = float(rng.uniform(28, 42))
        place = spot(rng, radius, others, gap=24)
        if place is not None:
            break
    if seed % 2:
        hole = holes.wild(rng, *place, radius)
    else:
        hole = holes.tidy(rng, holes.around(*place, radius), (4.0, 12.0))
    color, shape = str(rng.choice(COLORS)), str(rng.choice(SHAPES))
    thing = Thing(color, shape, *place, radius * 0.92, float(rng.uniform(-0.2, 0.2)))
    name, stream = str(rng.choice(BACKGROUNDS)), int(rng.integers(2**31))
    bare, truth = (
        make_scene(np.random.default_rng(stream), background or name, objects, SCALE).image
        for objects in (others, (*others, thing))
    )
    mask = np.repeat(np.repeat(hole, SCALE, 0), SCALE, 1)
    image = np.where(mask[..., None], bare, truth)
    return LargeTask(
        image, truth, mask, reduced(truth, SCALE), hole, prompt([(color, shape)]), thing
    )


def error(picture: Image, truth: Image, where: Mask) -> float:
    """Mean squared error over a region, in grey levels squared."""
    gap = picture[where].astype(np.float64) - truth[where]
    return float(np.square(gap).mean())


def decibels(squared: float) -> float:
    """Peak signal to noise ratio of a mean squared error."""
    return float(10 * np.log10(255**2 / max(squared, 1e-9)))


def gradient_energy(picture: Image, where: Mask) -> float:
    """Mean square of the differences of neighbours, right and below, over a region."""
    values = picture.astype(np.float64)
    across, down = np.zeros(where.shape), np.zeros(where.shape)
    across[:, :-1] = np.square(np.diff(values, axis=1)).sum(-1)
    down[:-1] = np.square(np.diff(values, axis=0)).sum(-1)
    return float((across + down)[where].mean())


def band(mask: Mask, width: int = 16) -> Mask:
    """The pixels within `width` of the hole's edge, on either side."""
    solid = mask.astype(np.uint8)
    square: NDArray[np.uint8] = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.asarray(cv2.dilate(solid, square) != cv2.erode(solid, square))
