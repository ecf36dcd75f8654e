"""What a viewer is given, resolved to a trace, a branch's number, words of its prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hdpainter_nb.select import Word, as_spelt, check_word, telling
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.runner.base import BaseRunner

__all__ = [
    "branch_of",
    "check_words",
    "chosen_words",
    "first_branch",
    "kept_words",
    "number_of",
    "spelt_words",
    "telling",
    "trace_of",
    "words_of",
]


def trace_of(source: Any) -> Trace:
    """The trace itself, or that of a sampler.

    Raises:
        TypeError: neither; the message says what was given.
    """
    trace = source if isinstance(source, Trace) else getattr(source, "trace", None)
    if not isinstance(trace, Trace):
        raise TypeError(f"A Trace or a Sampler is needed, not {type(source).__name__}.")
    return trace


def branch_of(sampler: Any) -> int:
    """The number of the branch that a sampler's next step belongs to."""
    return int(sampler.branch_id)


def number_of(trace: Trace, branch: int | str) -> int:
    """A branch's number, given that or its name.

    Raises:
        KeyError: there is no such branch; the message names those that are.
    """
    if branch == 0 and not trace.branches:
        return 0  # an empty trace's first branch is yet to come
    trace.path(branch)
    names = (number for number, b in trace.branches.items() if branch in (number, b.name))
    return next(names)


def first_branch(source: Any, runner: BaseRunner | None, branch: int | str | None) -> int:
    """The number of the branch shown at first; see `BranchWidget`.

    Raises:
        KeyError: there is no such branch.
    """
    if branch is None:
        sampler = source if runner is None else runner.sampler
        return 0 if isinstance(sampler, Trace) else branch_of(sampler)
    return number_of(trace_of(source), branch)


def chosen_words(trace: Trace, branch: int, words: Sequence[str] | None) -> list[str]:
    """The words given, or the telling ones of a branch's prompt.

    Raises:
        ValueError: one of them is not in the prompt, as far as that is known.
    """
    of_prompt = _words_of_branch(trace, branch)
    if words is None:
        return telling(of_prompt)
    if isinstance(words, str):
        raise ValueError(f"words must be a list of words: [{words!r}].")
    return _spelt(words, of_prompt)


def kept_words(words: Sequence[str], trace: Trace, branch: int) -> list[str]:
    """Those of the words that another prompt has too, or its telling ones."""
    of_prompt = _words_of_branch(trace, branch)
    spelt = (as_spelt(word, of_prompt) for word in words)
    return list(dict.fromkeys(word for word in spelt if word is not None)) or telling(of_prompt)


def spelt_words(words: Sequence[str], trace: Trace, branch: int) -> list[str]:
    """Words as a branch's prompt has them; what it does not have stays as it is."""
    of_prompt = _words_of_branch(trace, branch)
    return list(dict.fromkeys(as_spelt(word, of_prompt) or word for word in words))


def words_of(sampler: Any) -> list[str]:
    """The prompt's words, each once; empty before the first record where the sampler hides them."""
    words = getattr(getattr(sampler, "cond", None), "words", ())
    if not words and sampler.records:
        words = sampler.records[-1].cross.words
    return _each_once(words)


def check_words(sampler: Any, words: Sequence[str]) -> list[str]:
    """Words as the prompt's tokenizer spells them.

    Raises:
        ValueError: one of them is known not to be in the prompt.
    """
    return _spelt(words, words_of(sampler))


def _words_of_branch(trace: Trace, branch: int) -> list[str]:
    """The words of a branch's prompt, each once; none before they are known."""
    records = trace.records(branch) if branch in trace.branches else []
    return _each_once(records[-1].cross.words if records else trace.words)


def _each_once(words: Iterable[Word]) -> list[str]:
    return list(dict.fromkeys(word.text for word in words))


def _spelt(words: Sequence[str], of_prompt: Sequence[str]) -> list[str]:
    """Words as the prompt has them; as they are while its words are not known yet.

    Raises:
        ValueError: the prompt lacks one.
    """
    return [check_word(word, of_prompt, ValueError) for word in words] if of_prompt else [*words]
