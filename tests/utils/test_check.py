"""What a person gives is refused in one form of words."""

from __future__ import annotations

import sys

import pytest

import hdpainter_nb
from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.select import Word, check_word, word_positions
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.lazy import lazy_names

WORDS = (Word("a", (1,)), Word("star", (2, 3)), Word("a", (4,)))


def test_errors_of_ours_are_sentences_and_others_are_not() -> None:
    for error, end in ((SettingsError, "."), (ModelError, "."), (ValueError, ""), (KeyError, "")):
        with pytest.raises(error) as raised:
            one_of("size", "wide", ("pad", None), error)
        assert raised.value.args == (f"size='wide' is not one of 'pad', None{end}",)
    with pytest.raises(SettingsError, match=r"^'wide' is not one of 'pad'"):
        one_of("", "wide", iter(("pad", "squash")))
    one_of("size", "pad", ("pad", "squash"))


def test_a_word_is_found_in_all_its_places() -> None:
    assert word_positions("a", WORDS) == (1, 4)
    assert word_positions("star", WORDS) == (2, 3)
    with pytest.raises(KeyError) as raised:
        word_positions("moon", WORDS, KeyError)
    text = "'moon' is not a word of this prompt; its words are 'a', 'star', 'a'"
    assert raised.value.args == (text,)
    with pytest.raises(SettingsError) as ours:
        check_word("moon", ["a", "star", "a"])
    assert str(ours.value) == f"{text}."


def test_public_names_come_when_they_are_asked_for() -> None:
    get, names = lazy_names("hdpainter_nb", {"Trace": "trace.trace"}, ("errors",))
    assert get("Trace") is hdpainter_nb.Trace
    assert get("errors") is sys.modules["hdpainter_nb.errors"]
    assert names() == sorted(hdpainter_nb.__all__)
    with pytest.raises(AttributeError, match="module 'hdpainter_nb' has no attribute 'Studio'"):
        get("Studio")
