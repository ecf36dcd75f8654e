"""Prompts as the text encoder sees them: tokens, words, ind(tau), and the embeddings.

ind(tau) of eqs. 5 and 9 are the positions of the bare prompt's own tokens and the end-of-text
position of the full prompt, suffix included. Start-of-text and padding never count.
"""

from __future__ import annotations

import copy
import re
import threading
import unicodedata
import weakref
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from hdpainter_nb.errors import HDPainterWarning, ModelError, PromptWarning, SettingsError
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings, Joining
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.messages import because, quiet_logging, warn_user

__all__ = [
    "MAX_LENGTH",
    "MAX_WORD",
    "STRETCH",
    "PromptText",
    "Tokens",
    "check_length",
    "compose",
    "embed",
    "end_tokens",
    "nothing_to_match",
    "private_tokenizer",
    "read_prompt",
    "read_text",
    "segments",
]

MAX_LENGTH = 10_000
"""Characters of a prompt, of its suffix and of a negative prompt."""
MAX_WORD = 1_000
"""Characters without white space between them."""

STRETCH = re.compile(r"(?:\S|[\x0b\x0c\x1c-\x1f\x85])+")
"""What stands between white space, as every tokenizer sees it."""

_SHOWN = 300  # characters of the prompt in a message
_NAMED = 10  # pieces of it
_END_OF_WORD = "</w>"
_GOES_ON = "##"  # before a piece of a word that is not its first
_CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)(?!\w)", re.IGNORECASE)
# Each alternative begins where nothing before it can belong to it, and gives nothing back: time
# grows as the prompt does, whatever it holds.
_EMPHASIS = re.compile(
    r"\([^()]*:\s*+(?:\d*+\.)?\d++\s*+\)"  # (red:1.3)
    r"|(?<!\()\({2,}+[^()]*+\){2,}"  # ((star))
    r"|(?<!\[)\[{2,}+[^\[\]]*+\]{2,}"  # [[star]]
    r"|(?<!\{)\{{2,}+[^{}]*+\}{2,}"  # {{star}}
    r"|<\w++:[^<>]*+>"  # <lora:name:0.8>
    r"|(?<!\w)\w++(?:\+{2,}|-{2,})(?!\w)"  # star++
)


@dataclass(frozen=True)
class Tokens:
    """A prompt after the tokenizer: SOT, the full prompt's tokens, EOT; no padding."""

    ids: tuple[int, ...]
    """Token ids of the full prompt, SOT to EOT."""
    tokens: tuple[str, ...]
    """The same, readable: ``<sot>``, ``red``, ``star``, ``<eot>``; bytes that are no whole
    character as ``\\xf0``."""
    words: tuple[Word, ...]
    """The bare prompt's words and punctuation with their token positions, then ``<eot>``."""
    indices: tuple[int, ...]
    """ind(tau), ascending."""
    lost: tuple[str, ...] = ()
    """Words of the bare prompt that did not fit, whole or in part (warned about)."""
    lost_suffix: str = ""
    """The end of the suffix that did not fit (not warned about: nobody typed it)."""


@dataclass(frozen=True)
class PromptText:
    """What the text encoder will be given for a prompt, and what its tokens are."""

    full: str
    """The prompt with its additions; a word that textual inversion learnt stands for several."""
    negative: str | None
    """The unconditional half; None is the empty text."""
    tokens: Tokens
    length: int
    """L: tokens of the embeddings, padding included."""


def read_text(
    pipeline: Any,
    prompt: str,
    settings: BaseSettings,
    *,
    suffix: str,
    negative: str,
) -> PromptText:
    """A prompt and what `settings` add to it (switch 16), through the tokenizer.

    Args:
        pipeline: a diffusers pipeline, of which the tokenizer alone works.
        prompt: what the user typed. May be empty.
        settings: of the run.
        suffix, negative: the model's own, for settings that name none.

    Raises:
        SettingsError: a text is longer than `check_length` lets through.

    Warns:
        PromptWarning: as `read_prompt` says.
        HDPainterWarning: `Settings.positive_suffix` is given and ``prompt_additions="none"``.
    """
    adds = settings.prompt_additions != "none"
    if settings.positive_suffix is None:
        suffix = suffix if adds else ""
    else:
        suffix = settings.positive_suffix
        if suffix.strip() and not adds:
            warn_user(
                f"positive_suffix={suffix!r} is left out, since prompt_additions='none' adds "
                "nothing: set prompt_additions='comma', or write the words into the prompt.",
                HDPainterWarning,
            )
    check_length(prompt)
    check_length(suffix, "positive_suffix")
    full = compose(prompt, suffix, settings.prompt_additions, settings.joining)
    unconditional = settings.negative_prompt
    if unconditional is None and adds:
        unconditional = negative
    check_length(unconditional or "", "negative_prompt")
    with quiet_logging():
        tokenizer, convert = pipeline.tokenizer, pipeline.maybe_convert_prompt
        bare, full = convert(prompt, tokenizer), convert(full, tokenizer)
        tokens = read_prompt(tokenizer, bare, full)
    return PromptText(full, unconditional, tokens, int(tokenizer.model_max_length))


def embed(
    pipeline: Any, text: PromptText, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The text encoder's embeddings of a prompt; SDXL's are those of both encoders side by side.

    Args:
        pipeline: a stock pipeline of diffusers.
        text: from `read_text`.
        device: where the encoders compute.
        dtype: of the result.

    Returns:
        (2, L, d), unconditional first; and the whole prompt in a vector, (2, d'), for SDXL.

    Raises:
        ModelError: the text encoder does not know the tokenizer's words.

    Raises:
        ModelError: they are not finite.
    """
    with quiet_logging():
        try:
            cond, uncond, *pooled = pipeline.encode_prompt(
                prompt=text.full,
                device=device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=True,
                negative_prompt=text.negative,
            )
        except IndexError as error:
            raise ModelError(
                "The tokenizer gives numbers that the text encoder does not know, so they are not "
                "of one model, or a word was added to one of them alone: load both from the same "
                "model, or resize the encoder's embeddings to the tokenizer."
            ) from error
    context = torch.cat([uncond, cond]).to(dtype)
    vector = torch.cat(pooled[::-1]).to(context) if pooled else None
    total = sum(x.float().sum() for x in (context, vector) if x is not None)
    if not bool(torch.as_tensor(total).isfinite()):
        raise ModelError(
            "The text encoder's embeddings of the prompt are not finite in "
            f"{str(context.dtype).removeprefix('torch.')}: it overflows, or its weights are "
            "damaged; load the model with dtype='float32', or again."
        )
    return context, vector


def compose(
    prompt: str,
    suffix: str,
    how: Literal["comma", "none", "bare"],
    joining: Joining = "literal",
) -> str:
    """The full prompt (switch 16).

    Args:
        prompt: may be empty.
        suffix: may be empty, which adds nothing.
        how: ``comma`` (official): joined by ", ". ``bare`` (community): joined by nothing. ``none``
            (paper): the prompt alone.
        joining: ``literal`` (official): ", " whatever the prompt is, so that "a star," ends in two
            commas and an empty prompt begins with one. ``tidy``: no comma is left over where one
            side is blank, nor doubled where the prompt ends in one.

    Raises:
        SettingsError: unknown `how` or `joining`.
    """
    one_of("prompt_additions", how, ("comma", "none", "bare"))
    one_of("joining", joining, get_args(Joining))
    if how == "none" or not suffix:
        return prompt
    if how == "bare":
        return prompt + suffix
    if joining == "literal":
        return f"{prompt}, {suffix}"
    if not suffix.strip():
        return prompt
    if not STRETCH.search(prompt):
        return suffix
    head = prompt.rstrip(" \t\r\n")
    return f"{head} {suffix}" if head.endswith(",") else f"{head}, {suffix}"


def nothing_to_match(tokens: Tokens) -> bool:
    """Whether ind(tau) is just the end-of-text token: an empty prompt, for PAIntA and RASG."""
    return len(tokens.indices) <= 1


def read_prompt(tokenizer: Any, prompt: str, full: str | None = None) -> Tokens:
    """Tokens, words and ind(tau) of a prompt.

    Args:
        tokenizer: of transformers, CLIP's or BERT's, slow or fast.
        prompt: the bare prompt, what the user typed. May be empty.
        full: what the text encoder is given, from `compose`; None: the bare prompt.

    Warns:
        PromptWarning: words do not fit, are not in the vocabulary, run into the suffix, or
            emphasis marks are used, which Stable Diffusion reads literally.
    """
    full = prompt if full is None else full
    vocabulary = _Vocabulary.of(tokenizer)
    pieces = list(_pieces(tokenizer, prompt, vocabulary))  # (text, number of tokens), in order
    bare, body = _tokenize(tokenizer, prompt), _tokenize(tokenizer, full)
    room = _room(tokenizer)
    fitting = body[:room]
    last = min(len(bare), len(fitting))  # of the bare prompt's own tokens
    end = len(fitting) + 1

    words, lost = [], []
    for text, positions in pieces:
        inside = tuple(p for p in positions if p <= last)
        if len(inside) < len(positions):
            lost.append(text)
        if inside:
            words.append(Word(text, inside))
    _warn_emphasis(prompt)
    _warn_unknown(tokenizer, vocabulary.controls, prompt, pieces, bare)
    if bare[:last] != fitting[:last]:
        _warn_merged(prompt, full)
    if lost:
        beyond = _shortened(" ".join(lost))
        warn_user(
            f"The prompt has {len(bare)} tokens and the text encoder takes "
            f"{room}; what does not reach the model: {beyond!r}. Shorten the prompt.",
            PromptWarning,
        )
    ids = tokenizer.convert_tokens_to_ids(fitting)
    first_id, last_id = (getattr(tokenizer, f"{name}_id") for name in end_tokens(tokenizer))
    cut = "" if lost else "".join(_text(token, vocabulary) for token in body[room:])
    return Tokens(
        ids=(first_id, *ids, last_id),
        tokens=("<sot>", *(_text(token, vocabulary).strip() for token in fitting), "<eot>"),
        words=(*words, Word("<eot>", (end,))),
        indices=(*range(1, last + 1), end),
        lost=tuple(lost),
        lost_suffix=cut.strip(),
    )


def end_tokens(tokenizer: Any) -> tuple[str, str]:
    """What a tokenizer calls the tokens before and after a text: BERT's are named otherwise."""
    return ("cls_token", "sep_token") if _is_wordpiece(tokenizer) else ("bos_token", "eos_token")


def _is_wordpiece(tokenizer: Any) -> bool:
    """Whether it is BERT's, which writes a word's further pieces as ``##ing``."""
    return type(tokenizer).__name__.startswith("Bert")


_copies: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_copying = threading.Lock()


def private_tokenizer(tokenizer: Any) -> Any:
    """A copy that nobody else uses.

    A fast tokenizer remembers how it was last asked to pad. Reading without padding while a
    pipeline encodes in another thread would give that pipeline embeddings of another length.

    Raises:
        ModelError: its vocabulary is damaged.
    """
    with _copying:
        known = _copies.get(tokenizer)
        if known is None or len(known) != len(tokenizer):  # textual inversion adds tokens
            try:
                known = _copies[tokenizer] = copy.deepcopy(tokenizer)
            except Exception as error:  # a bare Exception, where two words have one number
                raise ModelError(
                    "This model's tokenizer cannot be used, as its vocabulary is damaged: copy or "
                    f"download its tokenizer again. ({because(error)})"
                ) from error
        return known


def check_length(text: str, what: str = "prompt") -> None:
    """Refuse a text that no text encoder could take in, and that tokenizers take minutes for.

    Args:
        text: a prompt, or what is added to one.
        what: it is, for messages.

    Raises:
        SettingsError: it is longer than `MAX_LENGTH`, or one of its words than `MAX_WORD`.
    """
    if len(text) > MAX_LENGTH:
        raise SettingsError(
            f"The {what} has {len(text)} characters, and may have {MAX_LENGTH}; a text encoder "
            "reads about 75 words of it."
        )
    longest = max(STRETCH.findall(text), key=len, default="")
    if len(longest) > MAX_WORD:
        raise SettingsError(
            f"The {what} has a word of {len(longest)} characters without a space "
            f"({_shortened(longest)!r}); a word may have {MAX_WORD}."
        )


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _room(tokenizer: Any) -> int:
    """Tokens between SOT and EOT; without a declared length, all that are asked for."""
    return max(0, min(int(tokenizer.model_max_length), 1_000_000) - 2)


def _tokenize(tokenizer: Any, text: str) -> list[str]:
    """Stretch by stretch, as white space always separates tokens; long texts log no warning."""
    return [token for stretch in STRETCH.findall(text) for token in tokenizer.tokenize(stretch)]


@dataclass(frozen=True)
class _Vocabulary:
    """How a tokenizer writes its tokens, and which of them stand for no bytes."""

    controls: frozenset[str]
    """Start, end and unknown. Not CLIP's padding token, which may be an ordinary "!"."""
    learnt: frozenset[str]
    """What was added to it, by textual inversion mostly."""
    wordpiece: bool
    """BERT's: plain text, with ``##`` before what goes on with a word."""

    @classmethod
    def of(cls, tokenizer: Any) -> _Vocabulary:
        wordpiece = _is_wordpiece(tokenizer)
        if wordpiece:  # its padding and its gap in a text have tokens of their own
            controls = {str(token) for token in tokenizer.all_special_tokens}
        else:
            names = ("bos_token", "eos_token", "unk_token")
            controls = {str(getattr(tokenizer, name)) for name in names}
        added = {str(token) for token in tokenizer.get_added_vocab() if len(token) > 1}
        return cls(frozenset(controls), frozenset(added - controls), wordpiece)


def _pieces(
    tokenizer: Any, prompt: str, vocabulary: _Vocabulary
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Words and punctuation of the prompt with their token positions, from 1.

    A learnt token is a word of its own, whatever touches it. One of several vectors stands in the
    text as ``<cat> <cat>_1 <cat>_2``, and is one word.
    """
    start = 1
    last: tuple[str, tuple[int, ...]] | None = None
    for stretch in STRETCH.findall(prompt):
        tokens = tokenizer.tokenize(stretch)
        for text, places in _spans(tokens, stretch, tokenizer, vocabulary):
            positions = tuple(start + place for place in places)
            if last and last[0] in vocabulary.learnt and text == f"{last[0]}_{len(last[1])}":
                last = last[0], last[1] + positions
                continue
            if last:
                yield last
            last = text, positions
        start += len(tokens)
    if last:
        yield last


def _spans(
    tokens: list[str], stretch: str, tokenizer: Any, vocabulary: _Vocabulary
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(word, indices into `tokens`) of a stretch between white space.

    Between learnt tokens, the others are matched to words by their bytes; where that fails
    (characters that the vocabulary lacks), by tokenizing each word alone; where that fails too, the
    stretch is one word.
    """
    if vocabulary.learnt.isdisjoint(tokens):
        yield from _by_bytes(tokens, vocabulary) or _by_parts(tokens, stretch.lower(), tokenizer)
        return
    first = 0
    for place in range(len(tokens) + 1):
        if place < len(tokens) and tokens[place] not in vocabulary.learnt:
            continue
        between = tokens[first:place]
        for text, places in _by_bytes(between, vocabulary):
            yield text, tuple(first + one for one in places)
        if between and not _by_bytes(between, vocabulary):
            text = "".join(_text(token, vocabulary) for token in between)
            yield text.strip(), tuple(range(first, place))
        if place < len(tokens):
            yield tokens[place], (place,)
        first = place + 1


def _by_bytes(tokens: list[str], vocabulary: _Vocabulary) -> list[tuple[str, tuple[int, ...]]]:
    """(word, indices into `tokens`) from the bytes that the tokens stand for; [] if unknown."""
    parts = [_bytes(token, vocabulary) for token in tokens]
    pieces = [part for part in parts if part is not None]
    if len(pieces) < len(parts):
        return []
    try:
        text = b"".join(pieces).decode()
    except UnicodeDecodeError:
        return []
    owner = [place for place, part in enumerate(pieces) for _ in part]  # byte -> token
    spans, at = [], 0
    for word in segments(text):
        size = len(word.encode())
        spans.append((word, tuple(dict.fromkeys(owner[at : at + size]))))
        at += size
    return spans


def _by_parts(tokens: list[str], stretch: str, tokenizer: Any) -> list[tuple[str, tuple[int, ...]]]:
    """(word, indices into `tokens`), each word tokenized alone."""
    spans: list[tuple[str, tuple[int, ...]]] = []
    together: list[str] = []
    for word in segments(stretch):
        alone = tokenizer.tokenize(word)
        if alone:
            places = range(len(together), len(together) + len(alone))
            spans.append((word, tuple(places)))
        together += alone
    if together == tokens:
        return spans
    return [(stretch, tuple(range(len(tokens))))] if tokens else []


def segments(text: str) -> Iterator[str]:
    """Runs of letters and digits, of symbols (emoji) and of punctuation; 's as in CLIP."""
    begin, kind = 0, ""
    skip = {at for m in _CONTRACTION.finditer(text) if m.start() for at in range(*m.span())}
    for at, character in enumerate(text):
        category = unicodedata.category(character)
        if at in skip:
            new = f"contraction {at}" if character == "'" else kind
        elif category[0] in "MC" and at > begin:  # accents, joiners, variation selectors
            new = kind
        elif category[0] in "LN":
            new = "word"
        else:
            new = "symbol" if category in {"So", "Sk"} else "mark"
        if at > begin and new != kind:
            yield text[begin:at]
            begin = at
        kind = new
    if text:
        yield text[begin:]


@cache
def _byte_of() -> dict[str, int]:
    """The byte behind each of the 256 printable characters of byte-level BPE."""
    shown = {b for b in range(256) if chr(b).isprintable() and chr(b) != " "}
    hidden = [b for b in range(256) if b not in shown]
    table = {chr(b): b for b in shown}
    table.update({chr(256 + place): b for place, b in enumerate(hidden)})
    return table


def _bytes(token: str, vocabulary: _Vocabulary) -> bytes | None:
    """The bytes of a token; None for control and added tokens and what is not byte-level."""
    if token in vocabulary.controls or token in vocabulary.learnt:
        return None
    if vocabulary.wordpiece:
        return token.removeprefix(_GOES_ON).encode()
    table = _byte_of()
    inside = token.removesuffix(_END_OF_WORD)
    if any(character not in table for character in inside):
        return None
    return bytes(table[character] for character in inside)


def _text(token: str, vocabulary: _Vocabulary) -> str:
    """A token as a person reads it, with a space where a word ends, or one begins."""
    inside = _bytes(token, vocabulary)
    if inside is None:
        text = "<unk>" if token in vocabulary.controls else token
    else:
        text = inside.decode("utf-8", "backslashreplace")
    if vocabulary.wordpiece:
        return text if token.startswith(_GOES_ON) else f" {text}"
    return text.removesuffix(_END_OF_WORD) + " " * token.endswith(_END_OF_WORD)


def _warn_emphasis(prompt: str) -> None:
    emphasised = [match.group() for match in islice(_EMPHASIS.finditer(prompt), _NAMED)]
    if not emphasised:
        return
    texts = ", ".join(repr(_shortened(text)) for text in emphasised)
    marks = [m for text in emphasised for m in re.findall(r"[\d.]+|[^\w\s]", text)]
    warn_user(
        f"Stable Diffusion reads emphasis marks literally: in {texts} the "
        f"characters {' '.join(dict.fromkeys(marks))} are read as words of the prompt and change "
        "no weight. Leave them out.",
        PromptWarning,
    )


def _warn_unknown(
    tokenizer: Any,
    controls: Collection[str],
    prompt: str,
    pieces: list[tuple[str, tuple[int, ...]]],
    tokens: list[str],
) -> None:
    specials = sorted(mark for mark in controls if mark in prompt)
    if specials:
        warn_user(
            f"{', '.join(map(repr, specials))} in the prompt is a control mark of the tokenizer, "
            "not a word. Leave it out.",
            PromptWarning,
        )
        return
    ids = tokenizer.convert_tokens_to_ids(tokens)
    unknown = {p for p, number in enumerate(ids, 1) if number == tokenizer.unk_token_id}
    names = [text for text, positions in pieces if unknown.intersection(positions)]
    if names:
        warn_user(
            f"The tokenizer does not know {', '.join(map(repr, names))}: the model sees an "
            "unknown token in its place. Use other words.",
            PromptWarning,
        )


def _warn_merged(prompt: str, full: str) -> None:
    """Joined by nothing, the last word and the suffix may become one. Punctuation does no harm."""
    last = STRETCH.findall(prompt)[-1]
    if not last[-1].isalnum():
        return
    read = full[len(prompt.rstrip()) - len(last) :].split(maxsplit=1)[0]
    warn_user(
        f"The prompt's last word {last!r} runs into the suffix: the tokenizer reads {read!r}. End "
        'the prompt with a space, or set prompt_additions="comma".',
        PromptWarning,
    )
