"""What the fields of a dataclass mean, read from the texts below them in its source."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import cache

__all__ = ["Meaning", "meanings"]


@dataclass(frozen=True)
class Meaning:
    """The text of one field."""

    number: str
    """``7`` where the text begins with ``7.``, else empty."""
    brief: str
    """Its first sentence, without the number."""
    full: str
    """All of it, in one line."""


@cache
def meanings(cls: type) -> dict[str, Meaning]:
    """The string below each annotated field, inherited ones included, by the field's name.

    Such strings leave no trace at run time, hence the look into the source. Empty where the source
    is not there to read (a frozen application, say).
    """
    found: dict[str, Meaning] = {}
    for base in cls.__mro__[:-1]:  # without `object`
        found = {**found, **{name: text for name, text in _own(base).items() if name not in found}}
    return found


def _own(cls: type) -> dict[str, Meaning]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = _meaning(below.value.value)
    return found


def _meaning(text: str) -> Meaning:
    plain = " ".join(text.replace("``", "").split())
    # A sentence ends at a full stop before a capital: "sec. 3.3" and "eq. 5" do not end one.
    parts = re.fullmatch(r"(?:(\d+)\. )?(.+?\.)(?:\s+[A-Z].*)?", plain)
    if parts is None:
        return Meaning("", plain, plain)
    return Meaning(parts[1] or "", parts[2], plain)
