"""Examples for SmartBrush's recipe: an object with its mask, or a whole picture with its caption.

Every example is a function of its number alone, so that a run that was ended goes on with those
that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdpainter_nb.mini.training import tokenizer
from hdpainter_nb.mini.training.data import disc_marks, footprints
from hdpainter_nb.mini.training.data_text import Pictures
from hdpainter_nb.mini.training.object_masks import LEVELS, coarser_mask
from hdpainter_nb.mini.world.canvas import SIZE
from hdpainter_nb.mini.world.captions import Caption, describe
from hdpainter_nb.mini.world.scene import Scene, Thing, make_scene, silhouette

__all__ = ["Groups", "ObjectExample", "ObjectSource", "WorldObjects", "in_order", "to_row"]

WHOLE = 0.2  # of the examples are whole pictures: the share of text-to-image in the paper


@dataclass(frozen=True)
class ObjectExample:
    """A picture `(s, s, 3)` with an object's mask `(s, s)` and the hole `(s, s)` made of it.

    `shape` is None of a whole picture, which is hole everywhere. `ids` are the caption's tokens,
    `marks` where they lie at H/16, if that is known: `(tokens, s/16, s/16)`.
    """

    image: NDArray[np.uint8]
    hole: NDArray[np.bool_]
    shape: NDArray[np.bool_] | None
    level: int
    ids: Sequence[int]
    marks: NDArray[np.bool_] | None = None


class ObjectSource(Protocol):
    """Groups of examples by number, without end."""

    def group(self, number: int) -> list[ObjectExample]: ...


class WorldObjects:
    """Objects of the procedural world; a group is two examples of one scene.

    Three captions in twenty are the shape's word alone, as the paper has a class label in place of
    a description at times. No other object is named: the text speaks of the hole only.

    Args:
        seed: of the world.
        size: of a crop in pixels, a multiple of 64, at most 256.
    """

    def __init__(self, seed: int, size: int) -> None:
        self.seed, self.size = seed, size

    def group(self, number: int) -> list[ObjectExample]:
        """Two examples of the scene of this number."""
        rng = np.random.default_rng([self.seed, number])
        view = make_scene(rng)
        return [self._example(rng, view) for _ in range(2)]

    def _example(self, rng: np.random.Generator, view: Scene) -> ObjectExample:
        if not view.objects or rng.random() < WHOLE:
            pictures = Pictures(0, self.size)
            pictures.rng = rng
            whole = pictures.crop(view)
            ids, owners, end = tokenizer.encode(whole.caption.words, whole.caption.owners)
            marks = footprints(whole, end, owners)
            return ObjectExample(whole.image, whole.hole, None, LEVELS - 1, ids, marks)
        return self._object(rng, view, view.objects[int(rng.integers(len(view.objects)))])

    def _object(self, rng: np.random.Generator, view: Scene, thing: Thing) -> ObjectExample:
        size, own, level = self.size, silhouette(thing), int(rng.integers(LEVELS))
        middle = np.array([thing.x, thing.y]) - size / 2 + rng.uniform(-22, 22, 2)
        left, top = (middle // 8 * 8).clip(0, SIZE - size).astype(int)
        window = np.s_[top : top + size, left : left + size]
        caption = describe(rng, [(thing.color, thing.shape, 0)])
        if rng.random() < 0.15:
            caption = Caption((thing.shape,), (0,))
        hole = coarser_mask(own, level, SIZE)
        disc = np.array([[thing.x - left, thing.y - top, thing.radius]])
        ids, owners, end = tokenizer.encode(caption.words, caption.owners)
        marks = disc_marks(disc, size, owners)
        marks[end] = disc_marks(disc, size, [0])[0]
        return ObjectExample(view.image[window], hole[window], own[window], level, ids, marks)


class Groups(Dataset[list[ObjectExample]]):
    """A source from some number on, every `step`-th group, as a `DataLoader` wants it."""

    def __init__(self, source: ObjectSource, first: int, step: int) -> None:
        self.source, self.first, self.step = source, first, step

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> list[ObjectExample]:
        return self.source.group(self.first + index * self.step)


class _Counting:
    """0, 1, 2 ...: a sampler of endless data."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(2**40))

    def __len__(self) -> int:
        return 2**40


def in_order(
    source: ObjectSource, first: int, *, step: int = 1, workers: int = 0
) -> Iterator[list[ObjectExample]]:
    """The groups first, first + step, ... in this order, made ahead by so many processes."""
    loader: Any = DataLoader(
        Groups(source, first, step),
        batch_size=None,
        sampler=_Counting(),
        num_workers=workers,
        generator=torch.Generator(),  # else it draws from the one that noises
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _as_it_is(group: list[ObjectExample]) -> list[ObjectExample]:
    return group


Row = dict[str, Tensor]


def to_row(example: ObjectExample, clean: Tensor, masked: Tensor) -> Row:
    """What one example trains on, beside its latents `(4, h, w)`, whole and with the hole grey."""
    hole = torch.from_numpy(example.hole)[None, None].float()
    own = hole if example.shape is None else torch.from_numpy(example.shape)[None, None].float()
    row = {
        "clean": clean,
        "masked": masked,
        # as the official code makes the UNet's mask: whatever the hole touches
        "hole": F.max_pool2d(hole, 8)[0].half(),
        "shape": F.avg_pool2d(own, 8)[0].half(),
        "whole": torch.tensor(example.shape is None),
        "level": torch.tensor(example.level),
        "ids": torch.tensor(example.ids),
    }
    if example.marks is not None:
        row["marks"] = torch.from_numpy(example.marks)
    return row
