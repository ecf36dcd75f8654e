"""A CLIP tokenizer of the world's words: each is one token, any other text becomes bytes.

The folder that `write` makes holds the classic files (vocab.json, merges.txt, two configurations),
which `transformers.CLIPTokenizer.from_pretrained` has read in the same way for years.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from hdpainter_nb.mini.world.captions import WORDS

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 24


def _byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in byte-level BPE."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


def _merge(symbols: list[str], merges: Sequence[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding of one word: the earliest merge that applies goes first."""
    rank = {pair: place for place, pair in enumerate(merges)}
    while len(symbols) > 1:
        pairs = list(pairwise(symbols))
        best = min(pairs, key=lambda pair: rank.get(pair, len(rank)))
        if best not in rank:
            break
        joined: list[str] = []
        for symbol in symbols:
            if joined and (joined[-1], symbol) == best:
                joined[-1] += symbol
            else:
                joined.append(symbol)
        symbols = joined
    return symbols


def vocabulary(words: Sequence[str] = WORDS) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token ids and merges. The end-of-text token has the highest id, as in CLIP.

    A word's merges are appended after all earlier ones, so they never disturb an earlier word:
    what joined it before still goes first.
    """
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = _merge([*word[:-1], word[-1] + "</w>"], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merge(pieces, merges)
    letters = _byte_symbols()
    tokens = [*letters, *(s + "</w>" for s in letters), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), BOS, EOS]
    return {token: place for place, token in enumerate(tokens)}, merges


def write(folder: Path) -> None:
    """Write the tokenizer's files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = vocabulary()
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    special = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_LENGTH,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
    }
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, content in (
        ("vocab.json", tokens),
        ("tokenizer_config.json", settings),
        ("special_tokens_map.json", special),
    ):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + "\n", encoding="utf-8")


@cache
def _tables() -> tuple[dict[str, int], list[tuple[str, str]], list[str]]:
    return *vocabulary(), _byte_symbols()


@cache
def pieces(word: str) -> tuple[int, ...]:
    """The token ids of one word (letters only, or one digit, or punctuation only)."""
    ids, merges, letters = _tables()
    symbols = [letters[byte] for byte in word.lower().encode()]
    symbols[-1] += "</w>"
    return tuple(ids[symbol] for symbol in _merge(symbols, merges))


def encode(words: Sequence[str], owners: Sequence[int]) -> tuple[list[int], list[int], int]:
    """Padded ids, the owner of each token (-1: none) and the place of the end-of-text token."""
    ids, _, _ = _tables()
    tokens, owned = [ids[BOS]], [-1]
    for word, owner in zip(words, owners, strict=True):
        found = pieces(word)
        tokens += found
        owned += [owner] * len(found)
    tokens, owned = tokens[: MAX_LENGTH - 1], owned[: MAX_LENGTH - 1]
    end, rest = len(tokens), MAX_LENGTH - len(tokens)
    return tokens + [ids[EOS]] * rest, owned + [-1] * rest, end
