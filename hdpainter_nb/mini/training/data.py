"""Training examples: a crop of a scene, a hole, a caption that may or may not fit, as latents.

Eight kinds of example. Tidy holes far from other objects nearly always hold what their caption
says. Wild holes, and holes that touch another object, mostly come with a caption about something
that is not there (`neglect` is that share), while the picture behind them is plain background.
From the second group the model learns to neglect its prompt, as models trained on random masks and
whole-picture captions do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.mini.training import tokenizer
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.world import holes
from hdpainter_nb.mini.world.canvas import SIZE
from hdpainter_nb.mini.world.captions import Caption, describe
from hdpainter_nb.mini.world.holes import Mask
from hdpainter_nb.mini.world.scene import (
    Box,
    Image,
    Scene,
    Thing,
    beside,
    make_scene,
    other_name,
    spot,
)

_KINDS = ("tidy", "wild", "near", "bare", "random", "full")
_OTHERS = (0.41, 0.27, 0.07, 0.09, 0.16)  # how often each of them, where it is not a tidy one
_CLEAR = 12.0  # pixels between a tidy hole and the nearest other object
_FAR = 60.0  # ... at most, where the hole is to have company in view
_NEAR = 6.0


@dataclass(frozen=True)
class Example:
    """A crop `(s, s, 3)`, its hole `(s, s)`, its caption and the objects that it speaks of.

    `discs` `(n, 3)` are x, y, radius in the crop's pixels; the caption's owners index them.
    `honest` is false when the caption also names something that is not in the crop.
    """

    image: Image
    hole: Mask
    caption: Caption
    discs: NDArray[np.float64]
    honest: bool


@dataclass(frozen=True)
class _Draft:
    """A hole in a whole scene; `said` are named objects that exist, `absent` one that does not."""

    hole: Mask
    x: float
    y: float
    said: tuple[Thing, ...]
    absent: tuple[str, str] | None = None


class Examples:
    """An endless source of examples of one crop size (a multiple of 64, at most 256).

    `tidy` is the share of tidy holes; `neglect` that of misleading captions among wild ones, and
    `nearby` among near ones (None: the same).
    """

    def __init__(
        self, seed: int, size: int, neglect: float, tidy: float = 0.56, nearby: float | None = None
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.size, self.neglect = size, neglect
        self.nearby = neglect if nearby is None else nearby
        self.shares = (tidy, *((1 - tidy) * share for share in _OTHERS))

    def _lie(self, things: tuple[Thing, ...], near: tuple[Thing, ...]) -> tuple[
        tuple[Thing, ...], tuple[str, str] | None
    ]:  # fmt: skip
        """What a caption that does not fit the hole names: visible things, an absent one, both."""
        u = self.rng.random()
        if not things or u < 0.8:
            return (), other_name(self.rng, things)
        seen = near or (things[int(self.rng.integers(len(things)))],)
        return seen, (other_name(self.rng, things) if u < 0.94 else None)

    def _box(self, thing: Thing) -> Box:
        """What a tidy hole is drawn around: the object, or the square about its disc.

        Lies have squares, having no object. Were honest holes never square about a narrow object,
        a square hole and the word "diamond" would be the mark of a lie.
        """
        if self.rng.random() < 0.3:
            return thing.box
        return holes.around(thing.x, thing.y, thing.radius * self.rng.uniform(0.95, 1.1))

    def _tidy(self, view: Scene) -> _Draft | None:
        # misleading captions come with objects beside the hole, so honest ones must as well
        farthest = _FAR if self.rng.random() < 0.7 else np.inf
        for index in self.rng.permutation(len(view.objects)):
            thing = view.objects[index]
            # ellipses are the harder half: they must be told from wild holes
            hole = holes.tidy(self.rng, self._box(thing), square=0.45)
            others = [t for t in view.objects if t is not thing]
            if _CLEAR < holes.clearance(hole, others) <= farthest:
                said = (thing,) if self.rng.random() < 0.6 else view.objects
                return _Draft(hole, thing.x, thing.y, said)
        return None

    def _wild(self, view: Scene) -> _Draft | None:
        rng = self.rng
        if rng.random() < self.neglect:
            radius = rng.uniform(28, 50)
            place = spot(rng, radius, view.objects, gap=2)
            if place is None:
                return None
            return _Draft(holes.wild(rng, *place, radius), *place, *self._lie(view.objects, ()))
        thing = view.objects[int(rng.integers(len(view.objects)))]
        hole = holes.wild(rng, thing.x, thing.y, thing.radius + rng.uniform(2, 6))
        return _Draft(hole, thing.x, thing.y, (thing,) if rng.random() < 0.6 else view.objects)

    def _near(self, view: Scene) -> _Draft | None:
        rng = self.rng
        neighbour = view.objects[int(rng.integers(len(view.objects)))]
        if rng.random() < self.nearby:
            radius = rng.uniform(28, 50)
            place = beside(rng, radius, neighbour, view.objects)
            if place is None:
                return None
            hole = holes.tidy(rng, holes.around(*place, radius), (-2, 4))
            return _Draft(hole, *place, *self._lie(view.objects, (neighbour,)))
        for index in rng.permutation(len(view.objects)):
            thing = view.objects[index]
            others = [t for t in view.objects if t is not thing]
            hole = holes.tidy(rng, self._box(thing), (0, 8))
            if others and holes.clearance(hole, others) < _NEAR:
                return _Draft(
                    hole, thing.x, thing.y, (thing,) if rng.random() < 0.5 else view.objects
                )
        return None

    def _bare(self, view: Scene) -> _Draft | None:
        radius = self.rng.uniform(24, 46)
        place = spot(self.rng, radius, view.objects, gap=8)
        if place is None:
            return None
        return _Draft(holes.tidy(self.rng, holes.around(*place, radius)), *place, ())

    def _random(self, view: Scene) -> _Draft:
        hole = holes.strokes(self.rng)
        rows, columns = np.nonzero(hole)
        pick = int(self.rng.integers(len(rows)))
        return _Draft(hole, float(columns[pick]), float(rows[pick]), view.objects)

    def _full(self, view: Scene) -> _Draft:
        thing = view.objects[int(self.rng.integers(len(view.objects)))]
        return _Draft(np.ones((SIZE, SIZE), np.bool_), thing.x, thing.y, view.objects)

    def draw(self, view: Scene) -> Example:
        """One example from a scene with at least one object."""
        draft = None
        while draft is None:
            kind = _KINDS[int(self.rng.choice(len(_KINDS), p=self.shares))]
            draft = getattr(self, f"_{kind}")(view)
        return self._crop(view, draft)

    def _crop(self, view: Scene, draft: _Draft) -> Example:
        rng, size = self.rng, self.size
        shift = rng.uniform(-22, 22, 2)
        corner = (np.array([draft.x, draft.y]) - size / 2 + shift) // 8 * 8
        left, top = corner.clip(0, SIZE - size).astype(int)
        seen: list[Thing] = []
        for thing in draft.said:
            inside = max(abs(thing.x - left - size / 2), abs(thing.y - top - size / 2)) < size / 2
            if inside or len(draft.said) == 1:
                seen.append(thing)
        names = [(t.color, t.shape, k) for k, t in enumerate(seen)]
        if draft.absent:
            names.append((*draft.absent, -1))
        window = np.s_[top : top + size, left : left + size]
        discs = np.array([[t.x - left, t.y - top, t.radius] for t in seen]).reshape(-1, 3)
        caption = describe(rng, names[:4], view.background)
        return Example(view.image[window], draft.hole[window], caption, discs, not draft.absent)

    def several(self, count: int = 2) -> list[Example]:
        """`count` examples from one fresh scene."""
        view = make_scene(self.rng)
        while not view.objects:
            view = make_scene(self.rng)
        return [self.draw(view) for _ in range(count)]


def footprints(example: Example, end: int, owners: list[int]) -> NDArray[np.bool_]:
    """Where each token's object lies at H/16, `(tokens, s/16, s/16)`; all false: unknown.

    The end-of-text token stands for the whole caption, so for all of its objects together.
    """
    marks = disc_marks(example.discs, example.image.shape[0], owners)
    if example.honest and len(example.discs):
        every = disc_marks(example.discs, example.image.shape[0], range(len(example.discs)))
        marks[end] = every.any(0)
    return marks


def disc_marks(discs: NDArray[np.float64], size: int, owners: Sequence[int]) -> NDArray[np.bool_]:
    """The disc of each owner, none for -1, in a crop of `size` pixels at H/16."""
    side = size // 16
    plates = np.zeros((len(discs) + 1, side, side), np.bool_)  # the last one, -1, stays empty
    for plate, (x, y, radius) in zip(plates, discs, strict=False):
        canvas = np.zeros((side * 16, side * 16), np.uint8)
        cv2.circle(canvas, (round(x), round(y)), round(radius), 1, -1)
        plate[:] = cv2.resize(canvas * 255, (side, side), interpolation=cv2.INTER_AREA) > 100
    return plates[list(owners)]


Row = tuple[Tensor, ...]  # latents, masked latents, hole at H/8, token ids, footprints


@torch.no_grad()
def latents_of(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Latents `(n, 4, h/8, w/8)`, fp16, scaled to unit deviation, of `(n, 3, h, w)` in -1 .. 1."""
    pictures = pictures.to(next(vae.parameters()).device, memory_format=torch.channels_last)
    with autocast(pictures.device):
        latents = vae.encode(pictures).latent_dist.mean.float() * vae.config.scaling_factor
    return latents.cpu().half()


def pictures_of(examples: Sequence[Example]) -> Tensor:
    """Their crops as the autoencoder takes them, `(n, 3, s, s)`, -1 to 1."""
    whole = torch.from_numpy(np.stack([e.image for e in examples])).permute(0, 3, 1, 2)
    return whole.float() / 127.5 - 1


def words_of(example: Example) -> tuple[Tensor, Tensor]:
    """A caption's token ids and the footprints of what its tokens name."""
    ids, owners, end = tokenizer.encode(example.caption.words, example.caption.owners)
    return torch.tensor(ids), torch.from_numpy(footprints(example, end, owners))


def shrunk(hole: Tensor, rng: np.random.Generator) -> Tensor:
    """A mask `(1, s, s)` at H/8, in one of the two ways that are in use."""
    if rng.random() < 0.5:
        return hole[:, ::8, ::8].half()
    return torch.nn.functional.max_pool2d(hole, 8).half()


def encode(vae: AutoencoderKL, examples: list[Example], rng: np.random.Generator) -> list[Row]:
    """Turn pictures into what the denoiser trains on."""
    whole = pictures_of(examples)
    hole = torch.from_numpy(np.stack([e.hole for e in examples]))[:, None].float()
    clean, masked = latents_of(vae, torch.cat([whole, whole * (1 - hole)])).chunk(2)
    small = [shrunk(one, rng) for one in hole]
    words = [words_of(example) for example in examples]
    return [(c, m, h, *w) for c, m, h, w in zip(clean, masked, small, words, strict=True)]


class Source(Protocol):
    """What makes examples from scenes; `rng` also decides which are drawn."""

    rng: np.random.Generator

    def several(self, count: int = 2) -> list[Example]: ...


class Buffer:
    """A ring of encoded examples; each is drawn several times before it is overwritten.

    Args:
        source, vae, to_rows: whose examples they are, and what encodes them.
        least: so many are there from the beginning.
        capacity: of the ring.
    """

    def __init__(
        self,
        source: Source,
        vae: AutoencoderKL,
        least: int = 0,
        capacity: int = 8000,
        to_rows: Callable[[AutoencoderKL, list[Example], np.random.Generator], list[Row]] = encode,
    ) -> None:
        self.source, self.vae, self.capacity, self.to_rows = source, vae, capacity, to_rows
        self.rows: list[Row] = []
        self.added, self._owed = 0, 0.0
        while len(self.rows) < min(least, capacity):
            self.add()

    def add(self, scenes: int = 1) -> None:
        """Encode two examples of each of some fresh scenes."""
        examples = [e for _ in range(scenes) for e in self.source.several()]
        for row in self.to_rows(self.vae, examples, self.source.rng):
            if len(self.rows) < self.capacity:
                self.rows.append(row)
            else:
                self.rows[self.added % self.capacity] = row
            self.added += 1

    def batch(self, count: int, fresh: float) -> list[Tensor]:
        """`count` random rows, stacked; adds `fresh` new rows for each one drawn."""
        self._owed += count * fresh
        while self._owed >= 4 or len(self.rows) < count:
            self.add(2)
            self._owed -= 4
        chosen = self.source.rng.integers(len(self.rows), size=count)
        return [torch.stack(column) for column in zip(*(self.rows[i] for i in chosen), strict=True)]
