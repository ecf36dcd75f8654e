"""Which layers, heads and tokens: names and patterns, checked against what there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from hdpainter_nb.errors import SettingsError

if TYPE_CHECKING:
    from hdpainter_nb.maps import QueryKeys, Word

__all__ = [
    "LayerShape",
    "as_tuple",
    "choose_heads",
    "choose_layers",
    "choose_tokens",
    "matches",
    "need_queries",
    "one_of",
    "tokens_there",
    "which_layers",
]


@dataclass(frozen=True)
class LayerShape:
    """A transformer block: one self-attention and one cross-attention layer of the UNet."""

    name: str
    level: int
    """Pixels of the picture per position: 16 has (H/16) x (W/16) positions."""
    heads: int
    width: int
    """Channels of all heads together."""
    own: bool = True
    """Whether its first attention is self-attention; in upscalers' it may look at the text."""

    def __str__(self) -> str:
        return f"{self.name} (H/{self.level}, {self.heads} heads)"


def matches(name: str, patterns: Iterable[str] | None) -> bool:
    """Whether a layer is meant; None means all.

    A pattern is a layer's name, the beginning of one up to a dot (``up_blocks.1``), or has
    wildcards (``*.attentions.0.*``), where ``*`` goes across dots.
    """
    return patterns is None or any(
        name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)
        for pattern in patterns
    )


def choose_layers(
    patterns: Sequence[str] | None, layers: Iterable[LayerShape]
) -> tuple[LayerShape, ...]:
    """The layers that are meant.

    Raises:
        SettingsError: a pattern fits none; the message lists those that there are.
    """
    known = tuple(layers)
    for pattern in patterns or ():
        if not any(matches(layer.name, (pattern,)) for layer in known):
            listed = "\n  ".join(map(str, known))
            raise SettingsError(f"No layer is called {pattern!r}. There are\n  {listed}")
    return tuple(layer for layer in known if matches(layer.name, patterns))


def choose_heads(heads: Sequence[int] | None, count: int) -> tuple[int, ...] | None:
    """The heads that are meant, of a layer that has `count`; None means all."""
    return None if heads is None else tuple(head for head in heads if head < count)


def choose_tokens(
    tokens: Sequence[str | int] | None, words: Sequence[Word], count: int
) -> tuple[int, ...]:
    """The token positions that are meant, ascending; a word means all tokens that spell it.

    Args:
        tokens: words or positions; None means all.
        words: those of the prompt.
        count: tokens from start-of-text to end-of-text.

    Raises:
        SettingsError: a word or position that the prompt does not have; the message lists those
            that there are.
    """
    if tokens is None:
        return tuple(range(count))
    found: set[int] = set()
    for token in tokens:
        if isinstance(token, str):
            places = {place for word in words if word.text == token for place in word.tokens}
        else:
            places = {token} if 0 <= token < count else set()
        if not places:
            listed = ", ".join(repr(word.text) for word in words)
            raise SettingsError(
                f"{token!r} is no word of this prompt and no position of a token. Its words are "
                f"{listed}; its positions are 0 to {count - 1}."
            )
        found |= places
    return tuple(sorted(found))


def tokens_there(
    tokens: Sequence[str | int], words: Sequence[Word], count: int
) -> tuple[tuple[str | int, ...], list[str]]:
    """The tokens that a prompt has, and a sentence for each that it lacks.

    Args:
        tokens, words, count: as for `choose_tokens`.
    """
    found: list[str | int] = []
    missing: list[str] = []
    for token in tokens:
        try:
            choose_tokens((token,), words, count)
            found.append(token)
        except SettingsError as error:
            missing.append(str(error))
    return tuple(found), missing


def which_layers(
    kept: QueryKeys, kind: str, level: int | None, layer: str | None
) -> tuple[int, list[str]]:
    """The level, and the names of the layers there that are meant.

    Args:
        kept: what there is to choose from.
        kind: ``self`` or ``cross``, for messages.
        level: H/16 by default, or the layer's own.
        layer: a name or pattern; all where None.

    Raises:
        SettingsError: nothing was kept, or no such level or layer.
    """
    need_queries(kept, kind)
    known = kept.levels
    fitting = {n: at for n, at in known.items() if layer is None or matches(n, (layer,))}
    if not fitting:
        listed = "\n  ".join(f"{name} (H/{at})" for name, at in known.items())
        raise SettingsError(f"There is no layer {layer!r}; kept are\n  {listed}")
    if level is None:
        level = 16 if 16 in fitting.values() else min(fitting.values())
    names = [name for name, at in fitting.items() if at == level]
    if not names:
        what = "" if layer is None else f" of {layer!r}"
        there = sorted({*fitting.values()})
        raise SettingsError(f"There is no level {level}{what}; there are {there}.")
    return level, names


def need_queries(kept: QueryKeys, kind: str) -> None:
    """Raise `SettingsError` where no queries and keys were kept."""
    if not len(kept):
        raise SettingsError(
            f"Queries and keys of {kind}-attention were not kept: capture them with "
            f"queries={kind!r}."
        )


def as_tuple(value: Any) -> Any:
    """One thing or many as a tuple or range, which compare and hash; None stays None."""
    if value is None or isinstance(value, tuple | range):
        return value
    if isinstance(value, str | int):
        return (value,)
    return tuple(sorted(value) if isinstance(value, set | frozenset) else value)


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Raise `SettingsError` unless a setting has one of the known values."""
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise SettingsError(f"{name}={value!r} is not one of {listed}.")
