"""Tokens, words and ind(tau), with real CLIP tokenizers of both padding styles."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdpainter_nb.errors import HDPainterWarning, PromptWarning, SettingsError
from hdpainter_nb.models.prompt import (
    _byte_of,
    check_length,
    compose,
    nothing_to_match,
    read_prompt,
)
from hdpainter_nb.select import Word, choose_tokens, word_positions
from support.builders_tokenizer import make_tokenizer

WORDS = ["a", "red", "star", "full", "hd", "quality", "dog", "shirt"]
SCHEDULERS = sorted(
    {name for name in ("CLIPTokenizer", "CLIPTokenizerFast") if hasattr(transformers, name)}
)


@pytest.fixture(scope="module", params=[(k, p) for k in SCHEDULERS for p in ("eot", "!")], ids=str)
def tokenizer(request, tmp_path_factory):
    kind, pad = request.param
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), WORDS, pad, kind=kind)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("short"), WORDS, max_length=8)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    made = make_tokenizer(tmp_path_factory.mktemp("learnt"), WORDS)
    made.add_tokens(["<cat>"])
    return made


@pytest.fixture(autouse=True)
def _no_silent_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", HDPainterWarning)
        yield


def spelt(read) -> dict[str, tuple[int, ...]]:
    return {word.text: word.tokens for word in read.words}


def seen(tokenizer, text: str) -> tuple[int, ...]:
    """What the text encoder is given, without padding, as the pipelines call the tokenizer."""
    out = tokenizer(
        text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True
    )
    return tuple(i for i, on in zip(out["input_ids"], out["attention_mask"], strict=True) if on)


# --- compose ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "suffix", "how", "full"),
    [
        ("a star", "Full HD, 4K", "comma", "a star, Full HD, 4K"),
        ("a star", "Full HD", "bare", "a starFull HD"),
        ("a star", "Full HD", "none", "a star"),
        ("a star", "", "comma", "a star"),
        ("a star", "  ", "comma", "a star,   "),
        ("a star", "", "bare", "a star"),
        ("", "Full HD", "comma", ", Full HD"),
        ("  ", "Full HD", "comma", "  , Full HD"),
        ("", "", "comma", ""),
        ("a red fox,", "Full HD, 4K", "comma", "a red fox,, Full HD, 4K"),
        ("a star, ", "Full HD", "comma", "a star, , Full HD"),
        ("a star.", "Full HD", "comma", "a star., Full HD"),
        (",", "Full HD", "comma", ",, Full HD"),
    ],
)
def test_compose(prompt, suffix, how, full):
    assert compose(prompt, suffix, how) == full


@pytest.mark.parametrize(
    ("prompt", "suffix", "how", "full"),
    [
        ("a star", "Full HD", "comma", "a star, Full HD"),
        ("a star", "Full HD", "bare", "a starFull HD"),
        ("a star", "  ", "comma", "a star"),
        ("", "Full HD", "comma", "Full HD"),
        ("  ", "Full HD", "comma", "Full HD"),
        ("a star, ", "Full HD", "comma", "a star, Full HD"),
        ("a star.", "Full HD", "comma", "a star., Full HD"),
        (",", "Full HD", "comma", ", Full HD"),  # the comma is the prompt's own
    ],
)
def test_compose_without_a_comma_too_many(prompt, suffix, how, full):
    assert compose(prompt, suffix, how, "tidy") == full


def test_two_commas_are_the_tokenizers_business(tokenizer):
    """ind(tau) counts the bare prompt's tokens, also where its comma meets the suffix's."""
    bare = read_prompt(tokenizer, "red star,")
    read = read_prompt(tokenizer, "red star,", compose("red star,", "full hd", "comma"))
    assert read.indices[:-1] == bare.indices[:-1]
    assert read.indices[-1] == len(read.ids) - 1


def test_compose_refuses_an_unknown_way():
    with pytest.raises(SettingsError, match="prompt_additions='dash' is not one of 'comma'"):
        compose("a", "b", "dash")
    with pytest.raises(SettingsError, match="joining='glue' is not one of 'literal', 'tidy'"):
        compose("a", "b", "comma", "glue")


# --- ind(tau) --------------------------------------------------------------------------------


def test_two_words_and_the_end(tokenizer):
    read = read_prompt(tokenizer, "red star")
    assert read.indices == (1, 2, 3)
    assert read.tokens == ("<sot>", "red", "star", "<eot>")
    assert read.words == (Word("red", (1,)), Word("star", (2,)), Word("<eot>", (3,)))
    assert read.ids == seen(tokenizer, "red star")


def test_the_end_is_that_of_the_full_prompt(tokenizer):
    full = compose("red star", "full hd", "comma")
    read = read_prompt(tokenizer, "red star", full)
    assert read.indices == (1, 2, 6)
    assert read.tokens == ("<sot>", "red", "star", ",", "full", "hd", "<eot>")
    assert read.words[-1] == Word("<eot>", (6,))
    assert "full" not in spelt(read)
    assert read.ids == seen(tokenizer, full)


@pytest.mark.parametrize(
    "text",
    [
        "red star",
        "",
        "Red STAR, wow!",
        "a dog's don't 4k",
        "t-shirt",
        'a "red" star!!!',
        "  red \n\t star ",
        "star 🌟, नमस्ते",
        "café",
        "北京 star",
        "snake_case",
        "1920s",
        "👩‍🚀 in space",
        "a.b",
        "red star " * 60,
    ],
)
def test_the_ids_are_what_the_text_encoder_sees(tokenizer, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        read = read_prompt(tokenizer, text)
    assert read.ids == seen(tokenizer, text)
    assert len(read.tokens) == len(read.ids)
    assert read.indices[-1] == len(read.ids) - 1
    assert 0 not in read.indices
    assert sorted({p for word in read.words for p in word.tokens}) == list(read.indices)


def test_words_are_lower_case_and_bare_of_punctuation(tokenizer):
    read = read_prompt(tokenizer, 'A "Red" STAR, dog!')
    assert read.words == (
        Word("a", (1,)),
        Word('"', (2,)),
        Word("red", (3,)),
        Word('"', (4,)),
        Word("star", (5,)),
        Word(",", (6,)),
        Word("dog", (7,)),
        Word("!", (8,)),
        Word("<eot>", (9,)),
    )
    assert read.indices == tuple(range(1, 10))


def test_repeated_words_stay_apart(tokenizer):
    read = read_prompt(tokenizer, "red star red")
    assert [w for w in read.words if w.text == "red"] == [Word("red", (1,)), Word("red", (3,))]


def test_a_word_of_several_tokens(tokenizer):
    read = read_prompt(tokenizer, "red unicorns 2024")
    assert spelt(read) == {
        "red": (1,),
        "unicorns": tuple(range(2, 10)),
        "2024": (10, 11, 12, 13),
        "<eot>": (14,),
    }


def test_contractions_and_hyphens(tokenizer):
    read = read_prompt(tokenizer, "a dog's t-shirt")
    assert [w.text for w in read.words] == ["a", "dog", "'s", "t", "-", "shirt", "<eot>"]
    assert spelt(read)["dog"] == (2,)


def test_emoji_and_other_scripts(tokenizer):
    read = read_prompt(tokenizer, "star 🌟, नमस्ते ❤️ 👩‍🚀! 北京")
    joiner = "\u200d"  # the slow tokenizer of transformers 4 drops it
    texts = [w.text.replace(joiner, "") for w in read.words]
    assert texts == ["star", "🌟", ",", "नमस्ते", "❤️", "👩🚀", "!", "北京", "<eot>"]
    assert spelt(read)["🌟"] == (2, 3, 4, 5)
    assert read.tokens[2] == "\\xf0"
    assert not read.lost


def test_empty(tokenizer):
    for blank in ("", "   "):
        read = read_prompt(tokenizer, blank)
        assert read.indices == (1,)
        assert read.words == (Word("<eot>", (1,)),)
        assert read.tokens == ("<sot>", "<eot>")
        assert nothing_to_match(read)
    read = read_prompt(tokenizer, "", compose("", "full hd", "comma"))
    assert read.indices == (4,)  # a comma, full, hd, and the end
    assert nothing_to_match(read)
    assert not nothing_to_match(read_prompt(tokenizer, "red"))


# --- too long --------------------------------------------------------------------------------


def test_lost_words_are_named(short):
    with pytest.warns(PromptWarning) as caught:
        read = read_prompt(short, "a red star a red star a dog")
    assert str(caught[0].message) == (
        "The prompt has 8 tokens and the text encoder takes 6; what does not reach the model: "
        "'a dog'. Shorten the prompt."
    )
    assert Path(caught[0].filename).name == Path(__file__).name
    assert read.lost == ("a", "dog")
    assert read.indices == (1, 2, 3, 4, 5, 6, 7)
    assert read.ids == seen(short, "a red star a red star a dog")
    assert read.words[-1] == Word("<eot>", (7,))


def test_over_77_tokens(tokenizer):
    with pytest.warns(PromptWarning, match="has 80 tokens and the text encoder takes 75"):
        read = read_prompt(tokenizer, "red star " * 40)
    assert read.indices == tuple(range(1, 77))
    assert len(read.ids) == 77


def test_a_word_cut_in_the_middle(short):
    with pytest.warns(PromptWarning, match="does not reach the model: 'unicorn'"):
        read = read_prompt(short, "a red star unicorn")
    assert spelt(read)["unicorn"] == (4, 5, 6)
    assert read.lost == ("unicorn",)


def test_a_cut_suffix_is_noted_quietly(short):
    full = compose("a red star", "full hd quality", "comma")
    read = read_prompt(short, "a red star", full)
    assert read.indices == (1, 2, 3, 7)
    assert read.tokens[-2:] == ("hd", "<eot>")
    assert read.lost == ()
    assert read.lost_suffix == "quality"
    assert read.ids == seen(short, full)


def test_no_declared_length(tmp_path):
    unlimited = make_tokenizer(tmp_path, WORDS, max_length=int(1e30))
    assert len(read_prompt(unlimited, "red star " * 100).ids) == 202


def test_long_prompts_are_not_logged_about(short, capfd):
    with pytest.warns(PromptWarning):
        read_prompt(short, "a red star a red star a dog")
    assert "indexing errors" not in capfd.readouterr().err


# --- what is read literally ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "found", "marks"),
    [
        ("(red:1.3) star", "'(red:1.3)'", "( : 1.3 )"),
        ("a ((star))", "'((star))'", "( )"),
        ("[[star]] {{red}}", "'[[star]]', '{{red}}'", "[ ] { }"),
        ("a star++", "'star++'", "+"),
        ("<lora:neon:0.8> star", "'<lora:neon:0.8>'", "< : 0.8 >"),
    ],
)
def test_emphasis_marks(tokenizer, prompt, found, marks):
    with pytest.warns(PromptWarning) as caught:
        read = read_prompt(tokenizer, prompt)
    assert str(caught[0].message) == (
        f"Stable Diffusion reads emphasis marks literally: in {found} the characters {marks} are "
        "read as words of the prompt and change no weight. Leave them out."
    )
    assert len(read.indices) == len(read.ids) - 1


@pytest.mark.parametrize("prompt", ["a star (red)", "a 16:9 star", "red [star]", ":) (:", "-- a"])
def test_ordinary_punctuation_is_no_emphasis(tokenizer, prompt):
    assert len(read_prompt(tokenizer, prompt).indices) > 3


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_unknown_characters_are_named(tmp_path, kind):
    lacking = make_tokenizer(tmp_path, WORDS, without=["z"], kind=kind)
    with pytest.warns(PromptWarning, match="does not know 'zoo': the model sees an unknown token"):
        read = read_prompt(lacking, "red zoo, star")
    assert "star" in spelt(read)
    assert spelt(read)["red"] == (1,)
    assert read.ids == seen(lacking, "red zoo, star")


def test_control_marks(tokenizer):
    with pytest.warns(PromptWarning, match=r"'<\|endoftext\|>' in the prompt is a control mark"):
        read = read_prompt(tokenizer, "red <|endoftext|> star")
    assert read.tokens == ("<sot>", "red", "<unk>", "star", "<eot>")


def test_a_learnt_token_is_one_word(tmp_path):
    learnt = make_tokenizer(tmp_path, WORDS)
    learnt.add_tokens(["<cat-toy>"])
    read = read_prompt(learnt, "a <cat-toy> star")
    assert spelt(read) == {"a": (1,), "<cat-toy>": (2,), "star": (3,), "<eot>": (4,)}
    assert read.tokens[2] == "<cat-toy>"


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a <cat>, star", ["a", "<cat>", ",", "star"]),
        ("(<cat>)", ["(", "<cat>", ")"]),
        ("<cat>'s shirt.", ["<cat>", "'", "s", "shirt", "."]),
        ("red<cat><dog>star", ["red", "<cat>", "<dog>", "star"]),
        ("a <dog> <dog>_1 <dog>_2, red", ["a", "<dog>", ",", "red"]),
        ("<dog> <dog>_1 <dog>_2 <dog> <dog>_1 <dog>_2", ["<dog>", "<dog>"]),
        ("<dog>_1 star <dog> star", ["<dog>_1", "star", "<dog>", "star"]),
    ],
)
def test_a_learnt_token_stands_by_itself(tmp_path, kind, prompt, words):
    """Whatever touches it; and one of several vectors, which diffusers writes out, is one word."""
    learnt = make_tokenizer(tmp_path, WORDS, kind=kind)
    learnt.add_tokens(["<cat>", "<dog>", "<dog>_1", "<dog>_2"])
    read = read_prompt(learnt, prompt)
    assert [word.text for word in read.words] == [*words, "<eot>"]
    places = [place for word in read.words for place in word.tokens]
    assert places == [*range(1, len(read.ids))]  # every token belongs to one word, in order
    for word in read.words:
        if word.text == "<dog>" and "_1 <dog>_2" in prompt:
            first = word.tokens[0]
            assert read.tokens[first : first + 3] == ("<dog>", "<dog>_1", "<dog>_2")


def test_words_are_found_however_they_are_written(tokenizer):
    read = read_prompt(tokenizer, "A Red STAR, gro\u0308\u00dfer")
    for asked in ("star", "Star", "STAR"):
        assert word_positions(asked, read.words) == (3,)
        assert choose_tokens((asked, "RED"), read.words, len(read.tokens)) == (2, 3)
    for asked in ("gr\u00f6\u00dfer", "Gro\u0308\u00dfer"):
        assert word_positions(asked, read.words) == word_positions("gr\u00f6\u00dfer", read.words)
    with pytest.raises(SettingsError, match="'Sta' is not a word of this prompt; its words are"):
        word_positions("Sta", read.words)


def test_words_that_differ_in_capitals_alone_stay_apart():
    words = (Word("<Cat>", (1,)), Word("<cat>", (2,)))
    assert [word_positions(word.text, words) for word in words] == [(1,), (2,)]
    assert word_positions("<CAT>", words) == (1,)


@pytest.mark.parametrize(
    "text",
    ["redstar", "(", "((", "[[a", "{{", "<a:", "a+", "a++b", "(:1", "1", "(: ", "\u7ea2", "<cat>"],
)
def test_time_grows_as_the_prompt_does(learnt, text):
    """Ten times as long takes at most some twenty times as long, where it was a hundred times."""

    def seconds(size: int) -> float:
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)
            read_prompt(learnt, (text * size)[:size])
        return time.process_time() - begun

    assert seconds(10_000) < 20 * max(seconds(1_000), 0.02)


def test_prompts_that_no_encoder_could_take_in_are_refused():
    check_length("star " * 2_000)
    check_length("s" * 1_000)
    with pytest.raises(SettingsError, match="prompt has 10001 characters, and may have 10000"):
        check_length("a" * 10_001)
    with pytest.raises(SettingsError, match="suffix has a word of 1001 characters without a spac"):
        check_length("a " + "s" * 1_001, "suffix")


def test_joined_by_nothing(tokenizer):
    full = compose("red star", "Full hd", "bare")
    with pytest.warns(PromptWarning) as caught:
        read = read_prompt(tokenizer, "red star", full)
    assert str(caught[0].message) == (
        "The prompt's last word 'star' runs into the suffix: the tokenizer reads 'starFull'. End "
        'the prompt with a space, or set prompt_additions="comma".'
    )
    assert read.indices[:2] == (1, 2)
    assert read.indices[-1] == len(read.ids) - 1
    read_prompt(tokenizer, "red star ", compose("red star ", "Full hd", "bare"))
    read_prompt(tokenizer, "red star!", compose("red star!", "full", "comma"))


# --- in general ------------------------------------------------------------------------------


def test_the_byte_alphabet():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = _byte_of()
    assert sorted(table.values()) == list(range(256))
    assert all(table[chr(b)] == b for b in plain)
    assert table["Ġ"] == 32
    assert table["Ł"] == 159


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=30), suffix=st.sampled_from(["", "full hd", "quality"]))
def test_any_text(tokenizer, text, suffix):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        full = compose(text, suffix, "comma")
        read = read_prompt(tokenizer, text, full)
    assert read.ids == seen(tokenizer, full)
    assert len(read.ids) == len(read.tokens)
    end = len(read.ids) - 1
    assert read.words[-1] == Word("<eot>", (end,))
    assert read.indices[-1] == end
    assert list(read.indices[:-1]) == list(range(1, len(read.indices)))
    assert {p for word in read.words for p in word.tokens} <= set(read.indices)
    assert all(word.tokens and word.text for word in read.words)
