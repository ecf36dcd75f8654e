"""Examples for text-to-image: crops of scenes, captioned by what they hold."""

from __future__ import annotations

import numpy as np
from diffusers import AutoencoderKL

from hdpainter_nb.mini.training.data import Example, Row, latents_of, pictures_of, words_of
from hdpainter_nb.mini.world.canvas import SIZE
from hdpainter_nb.mini.world.captions import describe
from hdpainter_nb.mini.world.scene import Scene, make_scene

__all__ = ["Pictures", "encode_pictures"]


class Pictures:
    """An endless source of whole examples of one crop size (a multiple of 64, at most 256).

    Three captions in four name every object whose centre is in the crop, the others some of them;
    a third also names the background. The hole of an example is all of it.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.rng, self.size = np.random.default_rng(seed), size

    def several(self, count: int = 2) -> list[Example]:
        """`count` crops of one fresh scene."""
        view = make_scene(self.rng)
        return [self.crop(view) for _ in range(count)]

    def crop(self, view: Scene) -> Example:
        """A crop of the scene, mostly with one of its objects somewhere in it."""
        rng, size = self.rng, self.size
        corner = rng.uniform(0, SIZE - size, 2)
        if view.objects and rng.random() < 0.85:
            thing = view.objects[int(rng.integers(len(view.objects)))]
            corner = np.array([thing.x, thing.y]) - size * rng.uniform(0.25, 0.75, 2)
        left, top = (corner // 8 * 8).clip(0, SIZE - size).astype(int)
        centres = [(max(abs(t.x - left - size / 2), abs(t.y - top - size / 2)), t)
                   for t in view.objects]  # fmt: skip
        seen = [thing for distance, thing in centres if distance < size / 2]
        if seen and rng.random() < 0.25:
            kept = rng.permutation(len(seen))[: int(rng.integers(1, len(seen) + 1))]
            seen = [seen[index] for index in kept]
        names = [(t.color, t.shape, index) for index, t in enumerate(seen)]
        caption = describe(rng, names, view.background, named=1 / 3)
        discs = np.array([[t.x - left, t.y - top, t.radius] for t in seen]).reshape(-1, 3)
        window = np.s_[top : top + size, left : left + size]
        return Example(view.image[window], np.ones((size, size), np.bool_), caption, discs, True)


def encode_pictures(
    vae: AutoencoderKL, examples: list[Example], _: np.random.Generator
) -> list[Row]:
    """Latents, token ids, footprints of each example."""
    clean = latents_of(vae, pictures_of(examples))
    return [(latents, *words_of(e)) for latents, e in zip(clean, examples, strict=True)]
