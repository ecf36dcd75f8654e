"""Captions of the world, word by word, each word knowing which object it speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdpainter_nb.mini.world.backgrounds import BACKGROUNDS
from hdpainter_nb.mini.world.scene import COLORS, SHAPES

_GLUE = ("a", "an", "the", "and", "of", "on", "with", "photo", "background", ",", ".")
WORDS = tuple(dict.fromkeys((*_GLUE, *COLORS, *SHAPES, *BACKGROUNDS)))
# Now and then one of these joins a caption and changes nothing, so that tokens from outside the
# world do not upset the model later.
_STRAY = ("nice", "shiny", "big", "please", "!", "?", "small", "'s", "7", "\U0001f642", "very")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def unknown_words(prompt: str) -> list[str]:
    """The words of a prompt that no caption of this world has, each once, in small letters.

    The miniature was trained on these captions alone: what else is asked for means nothing to it.
    """
    said = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", prompt.lower())
    return [word for word in dict.fromkeys(said) if word not in WORDS]


@dataclass(frozen=True)
class Caption:
    """Words and, for each word, the index of the object it names (-1: none)."""

    words: tuple[str, ...] = ()
    owners: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.words).replace(" ,", ",").replace(" .", ".")


EMPTY = Caption()


def article(word: str) -> str:
    """The indefinite article of a colour or shape."""
    return "an" if word[0] in "aeiou" else "a"


def prompt(names: Sequence[tuple[str, str]]) -> str:
    """A plain prompt, such as "a red star and a blue circle"."""
    return " and ".join(f"{article(color)} {color} {shape}" for color, shape in names)


def _stray(rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return str(rng.choice(_STRAY))
    return "".join(rng.choice(list(_LETTERS), int(rng.integers(2, 5))))


def describe(
    rng: np.random.Generator,
    names: Sequence[tuple[str, str, int]],
    background: str | None = None,
    named: float = 0.2,
) -> Caption:
    """A random caption of `(color, shape, owner)` triples, perhaps with its background's name.

    `named` is how often a caption of objects also names the background.
    """
    said: list[tuple[str, int]] = []
    for place, index in enumerate(rng.permutation(len(names))):
        color, shape, owner = names[index]
        if place:
            said.append(("," if rng.random() < 0.1 else "and", -1))
        if rng.random() < 0.75:
            said.append(("the" if rng.random() < 0.1 else article(color), -1))
        said += [(color, owner), (shape, owner)]
    scenery = background if background not in (None, "photo") else None
    if scenery and not said:
        said = [(scenery, -1), *([("background", -1)] if rng.random() < 0.3 else [])]
    elif scenery and rng.random() < named:
        if rng.random() < 0.25:
            said = [(scenery, -1), ("with", -1), *said]
        else:
            said += [("on", -1), (scenery, -1)]
    if said and rng.random() < 0.06:
        said = [("a", -1), ("photo", -1), ("of", -1), *said]
    if rng.random() < 0.05:
        said.append((".", -1))
    if said and rng.random() < 0.07:
        said.insert(int(rng.integers(len(said) + 1)), (_stray(rng), -1))
    return Caption(tuple(w for w, _ in said), tuple(o for _, o in said))
