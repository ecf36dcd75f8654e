"""Words as they can be drawn: prompts hold what no font has, and line breaks of many kinds."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line", "printable"]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Line and paragraph separators, control characters, unpaired surrogates.
_UNDRAWN = {"Zl": " ", "Zp": " ", "Cc": " ", "Cs": _REPLACEMENT}


def printable(text: str) -> str:
    """The text with blanks for all but plain line breaks that draws nothing.

    A text library may refuse what is replaced here, and measures it in ways of its own: separators
    of lines and paragraphs, control characters, and the halves of surrogate pairs, which cannot
    even be encoded.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter == "\n" else _UNDRAWN.get(unicodedata.category(letter), letter)
        for letter in text
    )


def one_line(text: str) -> str:
    """The text as `printable`, in one line, each run of blanks as one."""
    return " ".join(printable(text).split())
