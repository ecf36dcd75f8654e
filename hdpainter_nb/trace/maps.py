"""Attention maps as NumPy arrays, which are looked up by what they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.select import Word, as_spelt, matches, telling, word_positions
from hdpainter_nb.utils.checked import checked

__all__ = ["CrossMaps", "Float", "LevelMaps", "Pending", "QueryKeys"]

_CLIP_LENGTH = 77  # tokens, padding included
Float = NDArray[np.floating[Any]]
Value: TypeAlias = "Float | Pending"


class Pending(Protocol):
    """An array that is still on its way to main memory, with what is known of it before."""

    @property
    def nbytes(self) -> int:
        """Of the array."""

    @property
    def ndim(self) -> int:
        """Of the array."""

    @property
    def ready(self) -> bool:
        """Whether `wait` gives the array at once."""

    def wait(self) -> Float:
        """The array, once it is there."""


class LevelMaps(Mapping[int, Float]):
    """Maps by level and layer; ``maps[16]`` is the mean over the layers of H/16.

    ``maps.layers[16]`` gives ``{layer name: (..., h, w)}``.
    """

    def __init__(self, layers: Mapping[int, Mapping[str, Value]]) -> None:
        self._layers: dict[int, dict[str, Any]] = {
            int(level): dict(named) for level, named in sorted(layers.items()) if named
        }

    @property
    def layers(self) -> dict[int, dict[str, Float]]:
        """``{level: {layer name: (..., h, w)}}``; waits for what is still being copied."""
        for named in self._layers.values():
            for name, value in named.items():
                named[name] = _arrived(value)
        return self._layers

    @property
    def waiting(self) -> dict[int, dict[str, Value]]:
        """As `layers`, but waits for nothing: some may still be on their way."""
        return {level: dict(named) for level, named in self._layers.items()}

    @checked(error=KeyError)
    def __getitem__(self, level: int) -> Float:
        if level not in self._layers:
            raise KeyError(f"no maps at level {level}; captured levels: {list(self._layers)}")
        return _mean_map(self.layers[level].values())

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        inside = ", ".join(f"{level}: {len(named)} layers" for level, named in self._layers.items())
        return f"{type(self).__name__}({{{inside}}})"


class QueryKeys(Mapping[str, tuple[Float, Float]]):
    """Queries and keys of attention layers: ``q, k = kept["up_blocks.1..."]``.

    q is (heads, h w, d) and k (heads, n, d): n = h w in self-attention, all tokens of the text
    with its padding in cross-attention.

    Attributes:
        heads: the numbers of the heads that were kept, where not all were.
    """

    def __init__(
        self,
        layers: Mapping[int, Mapping[str, tuple[Value, Value]]],
        heads: tuple[int, ...] | None = None,
    ) -> None:
        self._layers: dict[int, dict[str, Any]] = {
            int(level): dict(named) for level, named in sorted(layers.items()) if named
        }
        self.heads = heads

    @property
    def levels(self) -> dict[str, int]:
        """The level of every layer."""
        return {name: level for level, named in self._layers.items() for name in named}

    @property
    def layers(self) -> dict[int, dict[str, tuple[Float, Float]]]:
        """``{level: {layer name: (q, k)}}``; waits for what is still being copied."""
        return {
            level: {name: self[name] for name in named} for level, named in self._layers.items()
        }

    @property
    def waiting(self) -> dict[int, dict[str, tuple[Value, Value]]]:
        """As `layers`, but waits for nothing: some may still be on their way."""
        return {level: dict(named) for level, named in self._layers.items()}

    @checked(error=KeyError)
    def at(self, level: int) -> list[str]:
        """Names of the layers at a level."""
        return list(self._layers.get(level, ()))

    @checked(error=KeyError)
    def __getitem__(self, layer: str) -> tuple[Float, Float]:
        for named in self._layers.values():
            if layer in named:
                q, k = named[layer]
                named[layer] = (_arrived(q), _arrived(k))
                return named[layer]
        raise KeyError(f"no queries and keys of layer {layer!r}; kept layers: {list(self)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    def __repr__(self) -> str:
        inside = ", ".join(f"{level}: {len(named)} layers" for level, named in self._layers.items())
        return f"{type(self).__name__}({{{inside}}})"


class CrossMaps:
    """Cross-attention probabilities of the conditional half, by word or token and level.

    >>> record.cross["star"]          # (H/16, W/16), mean over heads, layers and the word's tokens
    >>> record.cross["star", 32]      # at H/32
    >>> record.cross[3, 8]            # token at position 3, at H/8
    >>> record.cross.layers(16)       # {layer: (tokens, h, w)}, or (heads, tokens, h, w) per head
    >>> record.cross.map("star", layer="up_blocks.1...", head=3)

    A word that stands twice in the prompt gives the mean of both. Capitals do not
    count, since CLIP reads none; nothing is stemmed.

    Attributes:
        words, tokens: those of the prompt; tokens from start-of-text to end-of-text.
        positions: the tokens that have maps, in the order of the maps' token axis.
        heads: the numbers of the heads on the maps' head axis, where not all were kept.
        keys: how many tokens the softmax ran over, padding included; None: a file of an earlier
            version does not say.
    """

    def __init__(
        self,
        maps: LevelMaps,
        words: tuple[Word, ...],
        tokens: tuple[str, ...],
        positions: tuple[int, ...] | None = None,
        heads: tuple[int, ...] | None = None,
        keys: int | None = None,
    ) -> None:
        self.maps = maps
        self.words = words
        self.tokens = tokens
        self.positions = tuple(range(len(tokens))) if positions is None else positions
        self.heads = heads
        self.keys = keys

    @property
    def levels(self) -> tuple[int, ...]:
        """The captured resolutions."""
        return tuple(self.maps)

    @property
    def telling(self) -> list[str]:
        """The words worth a look at first, of those that have maps: no articles, four at most."""
        return telling(list(dict.fromkeys(w.text for w in self.words if w.text in self)))

    @property
    def even_share(self) -> float:
        """What every token would get if a position attended to all of them alike: 1 / tokens.

        Attention far below it is attention to nothing in particular, so colour scales span at
        least this much. Where the number of tokens is not known it is taken for CLIP's 77.
        """
        return 1 / (self.keys or max(_CLIP_LENGTH, len(self.tokens)))

    @checked(error=KeyError)
    def layers(self, level: int) -> dict[str, Float]:
        """``{layer name: (tokens, h, w)}``, with a leading heads axis where heads were kept.

        Raises:
            KeyError: no such level was kept.
        """
        levels = self.maps.layers
        if level not in levels:
            raise KeyError(f"no maps at level {level}; captured levels: {list(levels)}")
        return dict(levels[level])

    def __contains__(self, word: object) -> bool:
        if not isinstance(word, str):
            return False
        text = as_spelt(word, (w.text for w in self.words))
        return any(w.text == text and {*w.tokens} <= {*self.positions} for w in self.words)

    @checked(error=KeyError)
    def __getitem__(self, key: str | int | tuple[str | int, int]) -> Float:
        which, level = key if isinstance(key, tuple) else (key, None)
        return self.map(which, level=level)

    @checked(error=KeyError)
    def map(
        self,
        which: str | int,
        *,
        level: int | None = None,
        layer: str | None = None,
        head: int | None = None,
    ) -> Float:
        """(h, w): a word's or a token's map.

        Args:
            which: a word, or a token's position.
            level: H/16 by default, or the layer's own.
            layer: a name, its beginning or a pattern; the mean over all that fit, of one level.
                None: over all layers.
            head: the mean over all where None.

        Raises:
            KeyError: no such word, position, level, layer or head was kept.
        """
        places = self.places(which)
        if layer is None:
            stack = self.maps[self._default_level() if level is None else level]
        else:
            stack = self._layer(layer, level)  # ([heads,] tokens, h, w)
        if head is not None:
            if stack.ndim < 4:
                raise KeyError("heads were not kept apart; capture them with cross='heads'")
            numbers = range(len(stack)) if self.heads is None else self.heads[: len(stack)]
            if head not in numbers:
                raise KeyError(f"no head {head}; kept heads: {list(numbers)}")
            stack = stack[numbers.index(head)]
        with np.errstate(over="ignore", invalid="ignore"):
            if stack.ndim == 4 and head is None:
                stack = stack.mean(0, dtype=np.float32)
            chosen: Float = stack[places].mean(0, dtype=np.float32)
        return chosen

    @checked(error=KeyError)
    def places(self, which: str | int) -> list[int]:
        """Where a word's or a token's maps lie on the token axis.

        Raises:
            KeyError: no such word or position was kept.
        """
        if isinstance(which, str):
            positions = word_positions(which, self.words, KeyError)
        else:
            positions = (which,)
            if not 0 <= which < len(self.tokens):
                raise KeyError(f"token {which} is outside 0 .. {len(self.tokens) - 1}")
        if not {*positions} <= {*self.positions}:
            names = [self.tokens[place] for place in self.positions]
            raise KeyError(f"{which!r} was not kept; kept tokens: {names}")
        return [self.positions.index(place) for place in positions]

    def spread(self, stack: Float) -> Float:
        """A stack of maps (..., kept tokens, h, w) over all tokens; zeros for those not kept."""
        if len(self.positions) >= len(self.tokens):  # all, or a run without named tokens
            return stack
        full = np.zeros((*stack.shape[:-3], len(self.tokens), *stack.shape[-2:]), stack.dtype)
        full[..., list(self.positions), :, :] = stack
        return full

    def _layer(self, layer: str, level: int | None) -> Float:
        levels = self.maps.layers
        fitting = {
            at: stacks
            for at, named in levels.items()
            if level in (None, at)
            and (stacks := [stack for name, stack in named.items() if matches(name, (layer,))])
        }
        if not fitting:
            names = [name for named in levels.values() for name in named]
            raise KeyError(f"no maps of layer {layer!r}; kept layers: {names}")
        chosen = fitting[_preferred(fitting)]
        if len(chosen) == 1:
            return chosen[0]
        return _mean_map(chosen)

    def _default_level(self) -> int:
        return _preferred(self.maps)

    def __repr__(self) -> str:
        return f"CrossMaps(words={[w.text for w in self.words]}, levels={list(self.levels)})"


def _mean_map(maps: Iterable[Float]) -> Float:
    """The mean over layers; where they have different numbers of heads, of each one's own mean."""
    stacks = [np.asarray(each, np.float32) for each in maps]
    with np.errstate(over="ignore", invalid="ignore"):  # of runs gone wrong
        if len({stack.shape for stack in stacks}) > 1:
            stacks = [stack.mean(0) if stack.ndim == 4 else stack for stack in stacks]
        mean: Float = np.stack(stacks).mean(0)
    return mean


def _arrived(value: Value) -> Float:
    return value if isinstance(value, np.ndarray) else value.wait()


def _preferred(levels: Iterable[int]) -> int:
    """H/16 where it is there, else the finest."""
    choice = {*levels}
    return 16 if 16 in choice else min(choice, default=16)
