"""Attention maps by word, token, level and layer, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CrossMaps", "Float", "LevelMaps", "Word"]

Float = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Word:
    """A word of the prompt and the token positions that spell it.

    The end-of-text token is the word ``<eot>``; it counts in ind(tau) though nobody typed it.
    """

    text: str
    tokens: tuple[int, ...]


class LevelMaps(Mapping[int, Float]):
    """Maps by level and layer; ``maps[16]`` is the mean over the layers of H/16.

    ``maps.layers[16]`` gives ``{layer name: (..., h, w)}``.
    """

    def __init__(self, layers: Mapping[int, Mapping[str, Float]]) -> None:
        self.layers = {int(level): dict(named) for level, named in sorted(layers.items()) if named}

    def __getitem__(self, level: int) -> Float:
        if level not in self.layers:
            raise KeyError(f"no maps at level {level}; captured levels: {list(self.layers)}")
        stack = np.stack([np.asarray(a, np.float32) for a in self.layers[level].values()])
        mean: Float = stack.mean(0)
        return mean

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        inside = ", ".join(f"{level}: {len(named)} layers" for level, named in self.layers.items())
        return f"{type(self).__name__}({{{inside}}})"


class CrossMaps:
    """Cross-attention probabilities of the conditional half, by word or token and level.

    >>> record.cross["star"]          # (H/16, W/16), mean over heads, layers and the word's tokens
    >>> record.cross["star", 32]      # at H/32
    >>> record.cross[3, 8]            # token at position 3, at H/8
    >>> record.cross.layers(16)       # {layer: (tokens, h, w)}, or (heads, tokens, h, w) per head

    A word that stands twice in the prompt gives the mean of both. Looking is exact: no word
    is lower-cased or stemmed beyond the tokenizer's own lower-casing.
    """

    def __init__(self, maps: LevelMaps, words: tuple[Word, ...], tokens: tuple[str, ...]) -> None:
        self.maps = maps
        self.words = words
        self.tokens = tokens

    @property
    def levels(self) -> tuple[int, ...]:
        """The captured resolutions."""
        return tuple(self.maps)

    def layers(self, level: int) -> dict[str, Float]:
        """``{layer name: (tokens, h, w)}``, with a leading heads axis where heads were kept."""
        return dict(self.maps.layers[level])

    def __contains__(self, word: object) -> bool:
        return any(w.text == word for w in self.words)

    def __getitem__(self, key: str | int | tuple[str | int, int]) -> Float:
        which, level = key if isinstance(key, tuple) else (key, self._default_level())
        stack = self.maps[level]  # ([heads,] tokens, h, w)
        if stack.ndim == 4:
            stack = stack.mean(0)
        chosen: Float = stack[list(self._positions(which))].mean(0)
        return chosen

    def _default_level(self) -> int:
        return 16 if 16 in self.maps else next(iter(self.maps))

    def _positions(self, which: str | int) -> tuple[int, ...]:
        if isinstance(which, str):
            found = tuple(t for word in self.words if word.text == which for t in word.tokens)
            if not found:
                known = ", ".join(repr(w.text) for w in self.words)
                raise KeyError(f"{which!r} is not a word of this prompt; its words are {known}")
            return found
        if not 0 <= which < len(self.tokens):
            raise KeyError(f"token {which} is outside 0 .. {len(self.tokens) - 1}")
        return (which,)

    def __repr__(self) -> str:
        return f"CrossMaps(words={[w.text for w in self.words]}, levels={list(self.levels)})"
