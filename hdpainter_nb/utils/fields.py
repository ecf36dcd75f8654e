"""Fields of JSON that may come from anywhere, each of the kind that it must be."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from hdpainter_nb.utils.check import shown

__all__ = ["FieldError", "Fields", "text_of", "whole_of"]

_LONGEST = 2**20


class FieldError(ValueError):
    """A field is missing or of another kind; the message is a clause that names it."""


class Fields:
    """A JSON object, asked for its fields by their kinds.

    Args:
        values: of the object.
        where: what it is, for messages: ``step 3``.

    Raises:
        FieldError: from every method too, where there is something else.
    """

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise FieldError(f"{where} must be an object, not {shown(values)}")
        self.values, self.where = values, where

    def has(self, name: str) -> bool:
        """Whether there is a field of this name that is not null."""
        return self.values.get(name) is not None

    def raw(self, name: str) -> Any:
        """Whatever the field holds."""
        if name not in self.values:
            raise FieldError(f"{self.where} has no {name!r}")
        return self.values[name]

    def text(self, name: str) -> str:
        """A string."""
        return text_of(self.raw(name), lambda: self.name_of(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Strings."""
        where = functools.partial(self.name_of, name)
        return tuple(text_of(value, where) for value in self.items(name))

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return whole_of(self.raw(name), lambda: self.name_of(name), low, high)

    def optional_whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number, or null."""
        return None if self.raw(name) is None else self.whole(name, low, high)

    def wholes(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """Whole numbers from `low` to `high`."""
        where = functools.partial(self.name_of, name)
        return tuple(whole_of(value, where, low, high) for value in self.items(name))

    def ascending(self, name: str, high: int) -> tuple[int, ...]:
        """Different whole numbers from 0 to `high` in order."""
        numbers = self.wholes(name, 0, high)
        if any(a >= b for a, b in pairwise(numbers)):
            raise FieldError(f"{self.name_of(name)} must ascend, unlike {shown(list(numbers))}")
        return numbers

    def number(self, name: str, *, finite: bool = False) -> float:
        """A number, NaN and infinity among them unless it must be `finite`."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldError(f"{self.name_of(name)} must be a number, not {shown(value)}")
        try:
            number = float(value)
        except OverflowError as error:
            raise FieldError(f"{self.name_of(name)} is too large a number") from error
        if finite and not math.isfinite(number):
            raise FieldError(f"{self.name_of(name)} must be finite, not {number}")
        return number

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        value = self.raw(name)
        if not isinstance(value, list):
            raise FieldError(f"{self.name_of(name)} must be a list, not {shown(value)}")
        return value

    def part(self, name: str) -> Fields:
        """An object within."""
        return Fields(self.raw(name), self.name_of(name))

    def parts(self, name: str) -> Iterator[Fields]:
        """Objects within."""
        for number, value in enumerate(self.items(name)):
            yield Fields(value, f"number {number} of {self.name_of(name)}")

    def name_of(self, name: str) -> str:
        """A field's name in messages."""
        return f"{shown(name)} of {self.where}"


def text_of(value: Any, where: Callable[[], str]) -> str:
    """A string; halves of surrogate pairs, which nothing could show or write, become U+FFFD.

    Args:
        value: from anywhere.
        where: gives its name for messages.

    Raises:
        FieldError: it is none, or has more than a million characters.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        kind = "a string" if not isinstance(value, str) else f"at most {_LONGEST} characters"
        raise FieldError(f"{where()} must be {kind}, not {shown(value)}")
    if value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_of(value: Any, where: Callable[[], str], low: int, high: int) -> int:
    """A whole number from `low` to `high`; the other arguments as for `text_of`.

    Raises:
        FieldError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        wanted = f"a whole number from {low} to {high}"
        raise FieldError(f"{where()} must be {wanted}, not {shown(value)}")
    return value
