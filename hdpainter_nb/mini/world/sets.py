"""Held-out tasks: a picture, a hole and a prompt that names what should appear in the hole.

"standard" tasks are easy. The two provoking kinds are the paper's causes of prompt neglect: a
free-form hole in a dominant "background", and one right beside a "nearby" object. As in the
paper's evaluation, a prompt is the name of the missing object and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hdpainter_nb.mini.world import holes
from hdpainter_nb.mini.world.backgrounds import BACKGROUNDS
from hdpainter_nb.mini.world.captions import prompt
from hdpainter_nb.mini.world.holes import Mask
from hdpainter_nb.mini.world.scene import (
    COLORS,
    SHAPES,
    Image,
    Thing,
    beside,
    make_scene,
    other_name,
    random_objects,
    spot,
)
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

Kind = Literal["standard", "background", "nearby"]
KINDS: tuple[Kind, ...] = ("standard", "background", "nearby")
_HELD_OUT = 777_000  # training draws its scenes from other streams


@checked
@dataclass(frozen=True)
class Triple:
    """One task: picture `(256, 256, 3)` uint8 RGB, hole `(256, 256)` bool, prompt.

    `truth` is one right answer, with the asked object drawn in the hole; `box` is its place.
    """

    image: Image
    mask: Mask
    prompt: str
    color: str
    shape: str
    kind: Kind
    truth: Image
    thing: Thing


def _try(rng: np.random.Generator, kind: Kind) -> Triple | None:
    count = {"standard": (0, 1, 2, 3), "background": (0, 1), "nearby": (1, 2)}[kind]
    others = random_objects(rng, int(rng.choice(count)))
    radius = float(rng.uniform(28, 42))
    near = kind == "nearby"
    if near and not others:
        return None
    place = beside(rng, radius, others[0], others) if near else spot(rng, radius, others, gap=34)
    if place is None:
        return None
    if kind == "standard":
        mask = holes.tidy(rng, holes.around(*place, radius), (4.0, 12.0))
    else:
        mask = holes.wild(rng, *place, radius)
    gap = holes.clearance(mask, others)
    if (near and not -4 <= gap <= 6) or (not near and gap < 14):
        return None
    color, shape = other_name(rng, others) if others else (
        str(rng.choice(COLORS)), str(rng.choice(SHAPES))
    )  # fmt: skip
    thing = Thing(color, shape, *place, radius * 0.92, float(rng.uniform(-0.2, 0.2)))
    # the same stream paints both pictures, so they differ by the asked object alone
    background, stream = str(rng.choice(BACKGROUNDS)), int(rng.integers(2**31))
    image, truth = (
        make_scene(np.random.default_rng(stream), background, objects).image
        for objects in (others, (*others, thing))
    )
    words = prompt([(color, shape)])
    return Triple(image, mask, words, color, shape, kind, truth, thing)


@checked
def triple(seed: int, kind: Kind = "standard") -> Triple:
    """The task of a seed; the same seed and kind always give the same task.

    Raises:
        SettingsError: a negative seed, an unknown kind.
    """
    between("seed", seed, 0, 2**63 - 1, integer=True)
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    rng = np.random.default_rng([_HELD_OUT, KINDS.index(kind), seed])
    while True:
        found = _try(rng, kind)
        if found is not None:
            return found


@checked
def standard_set(n: int = 200) -> list[Triple]:
    """The first `n` easy tasks."""
    return [triple(seed, "standard") for seed in range(n)]


@checked
def provocation_set(n: int = 200) -> list[Triple]:
    """The first `n` tasks made to cause prompt neglect, the two kinds in turn."""
    return [triple(seed // 2, KINDS[1 + seed % 2]) for seed in range(n)]
