"""Edits as a person reads them: `edit_said`."""

from __future__ import annotations

import numpy as np

from hdpainter_nb.edits.builtin import MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
from hdpainter_nb.edits.edit import Edit

__all__ = ["edit_said"]


def edit_said(edit: Edit) -> str:
    """What an edit does, in words; steps are counted from 1. Edits of one's own by their text.

    >>> edit_said(ScaleWord("star", 0.0, steps=slice(0, 10)))
    '“star” silenced, steps 1 to 10'
    """
    what = _what(edit)
    return what + _where(edit) if what else str(edit)


def _what(edit: Edit) -> str:
    if isinstance(edit, ScaleWord):
        return f"{_word(edit.word)} {_scaled(edit.factor, 'silenced')}"
    if isinstance(edit, ReplaceWord):
        by = _word(edit.by) if isinstance(edit.by, str | int) else "a given map"
        return f"{by} in the place of {_word(edit.word)}"
    if isinstance(edit, ScaleHead):
        which = "all heads" if edit.head is None else f"head {edit.head}"
        what = f"{which} of {edit.attention}-attention"
        return f"{what} {_scaled(edit.factor, 'muted')}"
    if isinstance(edit, SetC):
        plain = isinstance(edit.value, float | int | np.number)
        return f"c set to {edit.value:g}" if plain else "c changed"
    if isinstance(edit, MoveMask):
        return "the methods' mask moved"
    return ""


def _word(word: str | int) -> str:
    return f"“{word}”" if isinstance(word, str) else f"token {word}"


def _scaled(factor: float, none: str) -> str:
    return f"× {factor:g}" if factor else none


def _where(edit: Edit) -> str:
    parts = [] if edit.layer == "*" else [f"in {edit.layer}"]
    steps = edit.steps
    if isinstance(steps, slice | range) and steps.step in (None, 1):
        first, stop = (steps.start or 0) + 1, steps.stop
        if first > 0 and (stop is None or stop >= 0):
            parts.append(f"from step {first} on" if stop is None else f"steps {first} to {stop}")
    elif isinstance(steps, int | np.integer):
        parts.append(f"step {int(steps) + 1}")
    elif steps is not None:
        parts.append("in some steps")
    return "".join(f", {part}" for part in parts)
