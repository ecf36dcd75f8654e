"""Attention maps by word, token, level and layer."""

from __future__ import annotations

import numpy as np
import pytest

from hdpainter_nb.select import Word
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps


@pytest.fixture
def cross() -> CrossMaps:
    rng = np.random.default_rng(0)
    maps = LevelMaps(
        {
            16: {"one": rng.random((4, 8, 8)), "two": rng.random((4, 8, 8))},
            32: {"one": rng.random((2, 4, 4, 4))},  # per head
        }
    )
    words = (Word("red", (1,)), Word("star", (2,)), Word("<eot>", (3,)))
    return CrossMaps(maps, words, ("<sot>", "red", "star", "<eot>"))


def test_maps_by_word_token_level_and_layer(cross: CrossMaps) -> None:
    one, two = cross.layers(16).values()
    np.testing.assert_allclose(cross["star"], (one[2] + two[2]) / 2, rtol=1e-6)
    np.testing.assert_allclose(cross[1, 16], (one[1] + two[1]) / 2, rtol=1e-6)
    heads = cross.layers(32)["one"]
    np.testing.assert_allclose(cross["red", 32], heads[:, 1].mean(0), rtol=1e-6)
    assert "star" in cross
    assert "ring" not in cross
    assert cross.levels == (16, 32)


def test_maps_say_what_there_is(cross: CrossMaps) -> None:
    with pytest.raises(KeyError, match="'red', 'star'"):
        cross["ring"]
    with pytest.raises(KeyError, match=r"0 \.\. 3"):
        cross[4]
    with pytest.raises(KeyError, match=r"\[16, 32\]"):
        cross["red", 8]


def test_a_word_of_several_tokens_or_places_is_their_mean() -> None:
    stack = np.arange(5 * 4, dtype=float).reshape(5, 2, 2)
    words = (Word("dog", (1, 2)), Word("dog", (4,)))
    cross = CrossMaps(LevelMaps({8: {"one": stack}}), words, tuple("sdogs"))
    np.testing.assert_allclose(cross["dog"], (stack[1] + stack[2] + stack[4]) / 3)
