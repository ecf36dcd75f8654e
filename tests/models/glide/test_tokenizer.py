"""GLIDE's byte pairs: numbers, padding, words and where they stand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.errors import ModelError, PromptWarning, SettingsError
from hdpainter_nb.models.glide.tokenizer import GlideTokenizer
from support.builders_glide import make_vocabulary


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> GlideTokenizer:
    return GlideTokenizer.read(make_vocabulary(tmp_path_factory.mktemp("words")))


def table(folder: Path) -> dict[str, int]:
    return json.loads((folder / "encoder.json").read_text(encoding="utf-8"))


def test_pairs_are_merged_in_their_order(tokenizer: GlideTokenizer, tmp_path: Path) -> None:
    numbers = table(make_vocabulary(tmp_path))
    expected = [numbers[token] for token in ("a", "Ġred", "Ġstar")]
    assert tokenizer.encode("a red star") == expected
    assert tokenizer.encode("A Red STAR") == expected
    assert tokenizer.encode("star") == [numbers["star"]]  # no space before
    assert tokenizer.encode("sta") == [numbers["st"], numbers["a"]]
    assert tokenizer.encode("") == []
    assert tokenizer.size == len(numbers) == 265


def test_texts_are_filled_up_with_the_last_token(tokenizer: GlideTokenizer) -> None:
    ids, real = tokenizer.padded("a red star", 5)
    assert ids[3:] == [264, 264]
    assert real == [True, True, True, False, False]
    assert tokenizer.padded("a red star", 2) == (ids[:2], [True, True])
    assert tokenizer.padded("", 2) == ([264, 264], [False, False])


def test_words_know_their_tokens(tokenizer: GlideTokenizer) -> None:
    tokens = tokenizer.tokens("A red star, dog's", 16)
    words = {word.text: word.tokens for word in tokens.words}
    assert words == {
        "a": (0,),
        "red": (1,),
        "star": (2,),
        ",": (3,),
        "dog": (5, 6, 7),  # the space before it is a token of its own here
        "'s": (8, 9),
        "<pad>": (10,),
    }
    assert tokens.tokens[:6] == ("a", "red", "star", ",", "␣", "d")
    assert tokens.tokens[10] == "<pad>"
    assert tokens.indices == tuple(range(10))


def test_letters_of_several_bytes(tokenizer: GlideTokenizer) -> None:
    tokens = tokenizer.tokens("café İ 🙂", 32)
    words = {word.text: word.tokens for word in tokens.words}
    assert words["café"] == (0, 1, 2, 3, 4)
    assert len(words["🙂"]) == 4
    assert [*words["🙂"]][-1] == len(tokens.ids) - 1


def test_an_empty_prompt_has_padding_alone(tokenizer: GlideTokenizer) -> None:
    tokens = tokenizer.tokens("", 12)
    assert [(word.text, word.tokens) for word in tokens.words] == [("<pad>", (0,))]
    assert tokens.indices == ()


def test_what_does_not_fit_is_warned_about(tokenizer: GlideTokenizer) -> None:
    with pytest.warns(PromptWarning, match=r"has 3 tokens and GLIDE takes 2.*'star'"):
        tokens = tokenizer.tokens("a red star", 2)
    assert [word.text for word in tokens.words] == ["a", "red"]
    assert tokens.lost == ("star",)


def test_endless_texts_are_refused(tokenizer: GlideTokenizer) -> None:
    with pytest.raises(SettingsError, match="10000"):
        tokenizer.encode("a " * 20_000)


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "merges.txt")])
def test_other_names_of_the_files(names: tuple[str, str], tmp_path: Path) -> None:
    assert GlideTokenizer.read(make_vocabulary(tmp_path, names)).size == 265


def test_compressed_files(tokenizer: GlideTokenizer, tmp_path: Path) -> None:
    for path in [*make_vocabulary(tmp_path).iterdir()]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert GlideTokenizer.read(tmp_path).fingerprint() == tokenizer.fingerprint()


def damaged(folder: Path, how: str) -> None:
    numbers, merges = folder / "encoder.json", folder / "vocab.bpe"
    values = table(folder)
    if how == "no JSON":
        numbers.write_text("{")
    elif how == "a whole number":
        numbers.write_text(json.dumps({**values, "a": "1"}), encoding="utf-8")
    elif how == "without a gap":
        numbers.write_text(json.dumps({**values, "a": 999}), encoding="utf-8")
    elif how == "it lacks 1 of":
        values[" x"] = values.pop("a")
        numbers.write_text(json.dumps(values), encoding="utf-8")
    elif how == "two tokens":
        merges.write_text("a b c\n")
    elif how == "do not go with":
        merges.write_text("q z\n")
    elif how == "cannot be read":
        merges.write_bytes(b"\xff\xfe")
    else:
        merges.unlink()


@pytest.mark.parametrize(
    "how",
    [
        "no JSON",
        "a whole number",
        "without a gap",
        "it lacks 1 of",
        "two tokens",
        "do not go with",
        "cannot be read",
        "There is no vocab.bpe or merges.txt",
    ],
)
def test_damaged_files_are_refused(how: str, tmp_path: Path) -> None:
    damaged(make_vocabulary(tmp_path), how)
    with pytest.raises(ModelError, match=how):
        GlideTokenizer.read(tmp_path)


def test_files_of_any_size_are_not_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("hdpainter_nb.models.glide.tokenizer._LARGEST", 100)
    with pytest.raises(ModelError, match="more than 100 bytes"):
        GlideTokenizer.read(make_vocabulary(tmp_path))
