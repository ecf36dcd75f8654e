"""Values that a person gave, checked as they come in."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from hdpainter_nb.errors import HDPainterError, SettingsError

__all__ = ["as_tuple", "between", "one_of", "refusal", "shown"]


class _Short(reprlib.Repr):
    """Of long text and of lists the beginning and the end; of objects what they say themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong = 3, 60, 40

    def repr_instance(self, x: Any, level: int) -> str:
        return repr(x)


_SHORT = _Short()


def between(name: str, value: Any, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `SettingsError` unless `value` is a number from `low` to `high`."""
    kind = "a whole number" if integer else "a number"
    wanted = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, not {shown(value)}.")


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
    if not any(type(value) is type(choice) and value == choice for choice in listed):
        what = f"{name}={shown(value)}" if name else shown(value)
        raise refusal(error, f"{what} is not one of {', '.join(map(repr, listed))}")


def refusal(error: type[Exception], text: str) -> Exception:
    """An error with a text: those of this library are whole sentences, with a full stop."""
    return error(f"{text}." if issubclass(error, HDPainterError) else text)


def shown(value: Any) -> str:
    """A value in a message: short, in one line, whatever it is."""
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and shape:  # NumPy's or torch's
            return f"an array of shape {tuple(shape)} of {value.dtype}"
        text = " ".join(_SHORT.repr(value).split())
    except Exception:  # an object's own methods, a number of too many digits
        text = f"something of type {type(value).__name__}"
    return text if len(text) <= 120 else f"{text[:117]}..."


def as_tuple(value: Any) -> Any:
    """One thing or many as a tuple or range, which compare and hash; None stays None."""
    if value is None or isinstance(value, tuple | range):
        return value
    if isinstance(value, str | int):
        return (value,)
    if isinstance(value, set | frozenset):  # numbers first, then words
        return tuple(sorted(value, key=lambda one: (isinstance(one, str), one)))
    return tuple(value)
