"""Values that a person gave, checked as they come in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hdpainter_nb.errors import HDPainterError, SettingsError

__all__ = ["as_tuple", "between", "one_of", "refusal"]


def between(name: str, value: Any, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `SettingsError` unless `value` is a number from `low` to `high`."""
    kind = "a whole number" if integer else "a number"
    wanted = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}.")


def one_of(
    name: str, value: Any, choices: Iterable[Any], error: type[Exception] = SettingsError
) -> None:
    """Raise `error` unless a value is one of its choices.

    Args:
        name: of the parameter, for the message; empty where the value speaks for itself.
        value: what was given.
        choices: in the order in which the message lists them.
        error: its kind.
    """
    listed = tuple(choices)
    if value not in listed:
        what = f"{name}={value!r}" if name else repr(value)
        raise refusal(error, f"{what} is not one of {', '.join(map(repr, listed))}")


def refusal(error: type[Exception], text: str) -> Exception:
    """An error with a text: those of this library are whole sentences, with a full stop."""
    return error(f"{text}." if issubclass(error, HDPainterError) else text)


def as_tuple(value: Any) -> Any:
    """One thing or many as a tuple or range, which compare and hash; None stays None."""
    if value is None or isinstance(value, tuple | range):
        return value
    if isinstance(value, str | int):
        return (value,)
    return tuple(sorted(value) if isinstance(value, set | frozenset) else value)
