"""Prompts as GLIDE reads them: byte pairs of GPT-2's vocabulary, in small letters.

There is no token before or after the text: the rest of the positions have a padding embedding each,
and the text as a whole is read off the last one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hdpainter_nb.errors import ModelError, PromptWarning
from hdpainter_nb.models.prompt import STRETCH, Tokens, check_length, segments
from hdpainter_nb.select import Word
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.messages import because, warn_user

__all__ = ["MERGES", "NUMBERS", "PADDING", "GlideTokenizer"]

NUMBERS = ("encoder.json", "vocab.json", "encoder.json.gz")
"""Files of the tokens' numbers, by the names that GLIDE's repository and GPT-2's on the hub use."""
MERGES = ("vocab.bpe", "merges.txt", "vocab.bpe.gz")
"""Files of the pairs that are merged, the first ones first."""
PADDING = "<pad>"
"""The first position after the text, as it is shown."""
_LARGEST = 20_000_000  # bytes of a file; GPT-2's have a million


@checked(error=ModelError)
class GlideTokenizer:
    """Byte-pair encoding as GPT-2 does it, of a text in small letters.

    The vocabulary is GPT-2's (50,257 tokens): ``encoder.json`` and ``vocab.bpe`` of GLIDE's
    repository, or the same two as ``vocab.json`` and ``merges.txt`` of ``openai-community/gpt2``.

    Args:
        numbers: token -> its number. The last one stands for the padding.
        merges: pairs of tokens, the first to be merged first.

    Raises:
        ModelError: they are no vocabulary.
    """

    def __init__(self, numbers: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        from tokenizers import Tokenizer
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel

        if sorted(numbers.values()) != [*range(len(numbers))] or not numbers:
            raise ModelError(
                "The numbers of a vocabulary's tokens must be 0, 1, 2 and so on without a gap."
            )
        if lacking := sorted(set(ByteLevel.alphabet()) - numbers.keys()):
            raise ModelError(
                f"This is no vocabulary of byte pairs: it lacks {len(lacking)} of the 256 bytes, "
                f"{lacking[0]!r} among them."
            )
        try:
            self._encoder: Any = Tokenizer(BPE(dict(numbers), [*merges]))
        except Exception as error:  # of the library's own kind, a bare Exception
            raise ModelError(
                f"These merges do not go with these tokens: {because(error)}."
            ) from error
        self._encoder.pre_tokenizer = ByteLevel(add_prefix_space=False)
        self.size = len(numbers)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """From the two files in a folder, compressed or not.

        Raises:
            ModelError: one is missing, too large or something else.
        """
        place = Path(folder).expanduser()
        numbers, merges = (_file(place, names) for names in (NUMBERS, MERGES))
        try:
            values = json.loads(_text(numbers))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{str(numbers)!r} is no JSON: {because(error)}.") from error
        if not isinstance(values, dict) or not all(type(v) is int for v in values.values()):
            raise ModelError(f"{str(numbers)!r} must give a whole number for each token.")
        lines = [line for line in _text(merges).split("\n") if not line.startswith("#version")]
        pairs = [tuple(line.split()) for line in lines if line.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ModelError(f"{str(merges)!r} must have two tokens in each line.")
        return cls(values, pairs)  # type: ignore[arg-type]  # of two, as was just seen

    def fingerprint(self) -> str:
        """Hash of the vocabulary."""
        return hashlib.sha256(self._encoder.to_str().encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Numbers of the text's tokens."""
        check_length(text)
        ids: list[int] = self._encoder.encode(text.lower()).ids
        return ids

    def padded(self, text: str, length: int) -> tuple[list[int], list[bool]]:
        """Numbers of the tokens, filled up with the last one, and which of them are the text's.

        Args:
            text: what does not fit is cut off.
            length: of both.
        """
        ids = self.encode(text)[:length]
        rest = length - len(ids)
        return ids + [self.size - 1] * rest, [True] * len(ids) + [False] * rest

    def tokens(self, prompt: str, length: int) -> Tokens:
        """What the tokens of a prompt are, and where its words stand, from 0.

        The first position of padding is the word ``<pad>``, where there is room for it. ind(tau)
        is the prompt's own tokens: there is no end-of-text.

        Args:
            prompt: may be empty.
            length: of the text with its padding.

        Warns:
            PromptWarning: words do not fit.
        """
        check_length(prompt)
        text = prompt.lower()
        encoded = self._encoder.encode(text)
        spans, ids = encoded.offsets, encoded.ids
        words: list[Word] = []
        lost: list[str] = []
        for word, start in _words(text):
            end = start + len(word)
            places = [n for n, (first, last) in enumerate(spans) if first < end and last > start]
            inside = tuple(n for n in places if n < length)
            if len(inside) < len(places):
                lost.append(word)
            if inside:
                words.append(Word(word, inside))
        if lost:
            warn_user(
                f"The prompt has {len(ids)} tokens and GLIDE takes {length}; what does not reach "
                f"the model: {' '.join(lost)[:300]!r}. Shorten the prompt.",
                PromptWarning,
            )
        count = min(len(ids), length)
        shown = [text[first:last].strip() or "␣" for first, last in spans[:count]]
        if count < length:
            shown.append(PADDING)
            words.append(Word(PADDING, (count,)))
        return Tokens(
            ids=tuple(ids[:count]),
            tokens=tuple(shown),
            words=tuple(words),
            indices=tuple(range(count)),
            lost=tuple(lost),
        )


def _words(text: str) -> list[tuple[str, int]]:
    """Words and punctuation of a text, and where each begins."""
    words = []
    for stretch in STRETCH.finditer(text):
        at = stretch.start()
        for word in segments(stretch.group()):
            words.append((word, at))
            at += len(word)
    return words


def _file(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        f"There is no {' or '.join(names)} in {str(folder)!r}. GLIDE's vocabulary is GPT-2's: "
        "encoder.json and vocab.bpe, in glide_text2im/tokenizer of GLIDE's repository, or "
        "vocab.json and merges.txt of openai-community/gpt2."
    )


def _text(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ModelError(f"{str(path)!r} has more than {_LARGEST} bytes: it is no vocabulary.")
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {because(error)}.") from error
