"""How a person names the parts of a run: one rule for each kind, checked against what there is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.utils.check import refusal

__all__ = [
    "LayerInfo",
    "Word",
    "as_spelt",
    "check_word",
    "choose_heads",
    "choose_layers",
    "choose_tokens",
    "matches",
    "telling",
    "tokens_of_prompt",
    "word_positions",
]


@dataclass(frozen=True)
class Word:
    """A word of the prompt and the token positions that spell it.

    The end-of-text token is the word ``<eot>``; it counts in ind(tau) though nobody typed it.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class LayerInfo:
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
    patterns: Sequence[str] | None, layers: Iterable[LayerInfo]
) -> tuple[LayerInfo, ...]:
    """The layers that are meant.

    Raises:
        SettingsError: a pattern fits none; the message lists those that there are.
    """
    network = tuple(layers)
    for pattern in patterns or ():
        if not any(matches(layer.name, (pattern,)) for layer in network):
            listed = "\n  ".join(map(str, network))
            raise SettingsError(f"No layer is called {pattern!r}. There are\n  {listed}")
    return tuple(layer for layer in network if matches(layer.name, patterns))


def choose_heads(heads: Sequence[int] | None, count: int) -> tuple[int, ...] | None:
    """The heads that are meant, of a layer that has `count`; None means all."""
    return None if heads is None else tuple(head for head in heads if head < count)


def word_positions(
    word: str, words: Iterable[Word], error: type[Exception] = SettingsError
) -> tuple[int, ...]:
    """The token positions that spell a word, in all places where it stands.

    Args:
        word: as the prompt has it.
        words: those of the prompt.
        error: what is raised where the prompt has no such word; the message lists its words.
    """
    prompt = tuple(words)
    text = check_word(word, [one.text for one in prompt], error)
    return tuple(token for one in prompt if one.text == text for token in one.tokens)


def as_spelt(word: str, words: Iterable[str]) -> str | None:
    """A word of a prompt as its tokenizer spells it; None if there is no such word.

    CLIP reads "Star" as "star", so a word is found as the prompt has it too. Only where two words
    of a prompt differ in nothing but capitals, as learnt tokens may, does the exact one count.

    Args:
        word: as a person writes it.
        words: those of the prompt.
    """
    prompt = tuple(words)
    if word in prompt:
        return word
    return next((one for one in prompt if _read(one) == _read(word)), None)


def check_word(word: str, words: Iterable[str], error: type[Exception] = SettingsError) -> str:
    """The word as the prompt's tokenizer spells it; raises `error` where the prompt has none."""
    prompt = tuple(words)
    text = as_spelt(word, prompt)
    if text is None:
        names = ", ".join(map(repr, prompt))
        raise refusal(error, f"{word!r} is not a word of this prompt; its words are {names}")
    return text


def _read(word: str) -> str:
    """As a tokenizer of CLIP reads it: composed, in small letters."""
    return unicodedata.normalize("NFC", word).lower()


_STOP_WORDS = {"a", "an", "the", "of", "on", "in", "and", "with", "at", "to"}


def telling(words: Sequence[str]) -> list[str]:
    """The words worth a look at first: no articles, no end-of-text, four at most."""
    chosen = [x for x in words if x.lower() not in _STOP_WORDS and not x.startswith("<")]
    return chosen[:4] or list(words[:4])


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
    chosen: set[int] = set()
    for token in tokens:
        if isinstance(token, str):
            text = as_spelt(token, [word.text for word in words])
            positions = {place for word in words if word.text == text for place in word.tokens}
        else:
            positions = {token} if 0 <= token < count else set()
        if not positions:
            listed = ", ".join(repr(word.text) for word in words)
            raise SettingsError(
                f"{token!r} is no word of this prompt and no position of a token. Its words are "
                f"{listed}; its positions are 0 to {count - 1}."
            )
        chosen |= positions
    return tuple(sorted(chosen))


def tokens_of_prompt(
    tokens: Sequence[str | int], words: Sequence[Word], count: int
) -> tuple[tuple[str | int, ...], list[str]]:
    """The tokens that a prompt has, and a sentence for each that it lacks.

    Args:
        tokens, words, count: as for `choose_tokens`.
    """
    present: list[str | int] = []
    complaints: list[str] = []
    for token in tokens:
        try:
            choose_tokens((token,), words, count)
            present.append(token)
        except SettingsError as error:
            complaints.append(str(error))
    return tuple(present), complaints
