"""Captions and the tokenizer: one token a word, anything else in bytes, owners in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPTokenizer

from hdpainter_nb.mini.training import tokenizer
from hdpainter_nb.mini.world.captions import WORDS, describe, prompt

FOREIGN = ("Ünï 漢字 \U0001f642!", "stars' 42 hedgehogs?!", "re-do, please...", "")


@pytest.fixture(scope="module", params=["fresh", "shipped"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    if request.param == "fresh":
        folder = tmp_path_factory.mktemp("tokenizer")
        tokenizer.write(folder)
    else:
        folder = Path(__file__).resolve().parents[2] / "data" / "mini" / "tokenizer"
    return CLIPTokenizer.from_pretrained(folder)


def test_each_word_is_one_token(clip: CLIPTokenizer) -> None:
    for word in WORDS:
        assert len(clip(word).input_ids) == 3, word
        assert tokenizer.pieces(word) == tuple(clip(word).input_ids[1:-1])


def test_end_of_text_is_the_highest_id(clip: CLIPTokenizer) -> None:
    assert clip.eos_token_id == len(clip) - 1
    assert clip.pad_token_id == clip.eos_token_id
    assert clip.model_max_length == tokenizer.MAX_LENGTH


@pytest.mark.parametrize("text", FOREIGN)
def test_any_text_is_spelt_not_dropped(clip: CLIPTokenizer, text: str) -> None:
    ids = clip(text).input_ids
    assert clip.eos_token_id not in ids[1:-1]
    back = clip.decode(ids, skip_special_tokens=True)
    assert back.replace(" ", "") == text.lower().replace(" ", "")


def test_encode_agrees_with_clip(clip: CLIPTokenizer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        caption = describe(rng, [("red", "star", 0), ("blue", "ring", 1)], "brick")
        ids, owners, end = tokenizer.encode(caption.words, caption.owners)
        expected = clip(
            caption.text, padding="max_length", truncation=True, max_length=tokenizer.MAX_LENGTH
        )
        assert ids == expected.input_ids
        assert ids[end] == clip.eos_token_id
        named = {clip.decode([i]).strip() for i, o in zip(ids, owners, strict=True) if o == 1}
        assert named <= {"blue", "ring"}


def test_captions_use_the_vocabulary() -> None:
    rng, known, strays = np.random.default_rng(1), set(WORDS), 0
    for _ in range(300):
        caption = describe(rng, [("orange", "heart", 0)], "wood")
        strays += sum(word not in known for word in caption.words)
        assert "orange heart" in caption.text or strays
    assert 0 < strays < 60  # an unknown word now and then, on purpose
    assert prompt([("orange", "star"), ("red", "ring")]) == "an orange star and a red ring"
