"""Small CLIP tokenizers: every byte is a token, and each given word is one token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

SOT, EOT = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(
    folder: Path,
    words: Sequence[str],
    pad: Literal["eot", "!"] = "eot",
    max_length: int = 77,
    *,
    without: Sequence[str] = (),
    kind: str = "CLIPTokenizer",
) -> Any:
    """Write vocab.json and merges.txt into `folder` and read them with transformers.

    Args:
        folder: made if missing.
        words: lower case, letters only; each becomes one token.
        pad: ``eot`` as in Stable Diffusion 1.5, ``!`` (id 0) as in 2.x.
        max_length: tokenizer.model_max_length.
        without: single-byte symbols that the vocabulary lacks, so that they are unknown.
        kind: class of transformers to read it with.
    """
    import transformers

    symbols = _byte_symbols()
    merges: list[tuple[str, str]] = []
    for word in words:
        for size in range(1, len(word)):
            head, last = word[:size], size == len(word) - 1
            pair = (head, word[size] + "</w>" * last)
            if pair not in merges:
                merges.append(pair)
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    tokens = [token for token in tokens if token.removesuffix("</w>") not in without]
    tokens = [*dict.fromkeys([*tokens, *("".join(pair) for pair in merges)]), SOT, EOT]
    special = {
        "bos_token": SOT,
        "eos_token": EOT,
        "unk_token": EOT,
        "pad_token": EOT if pad == "eot" else "!",
    }
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": max_length,
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, content in (
        ("vocab.json", {token: place for place, token in enumerate(tokens)}),
        ("tokenizer_config.json", settings),
        ("special_tokens_map.json", special),
    ):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return getattr(transformers, kind).from_pretrained(folder)


def _byte_symbols() -> list[str]:
    """The characters that stand for the 256 bytes; "!" comes first and gets id 0, as in CLIP."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, plain), *map(chr, range(256, 256 + 256 - len(plain)))]
