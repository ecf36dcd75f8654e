"""What `Settings` and `UpscaleSettings` have in common: frozen, checked, compared by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdpainter_nb.errors import SettingsError

__all__ = ["as_tuple", "between", "one_of"]


def between(name: str, value: Any, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `SettingsError` unless `value` is a number from `low` to `high`."""
    kind = "a whole number" if integer else "a number"
    wanted = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}.")


def as_tuple(value: Any) -> Any:
    """One thing or many as a tuple or range, which compare and hash; None stays None."""
    if value is None or isinstance(value, tuple | range):
        return value
    if isinstance(value, str | int):
        return (value,)
    return tuple(sorted(value) if isinstance(value, set | frozenset) else value)


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Raise `SettingsError` unless a setting has one of the known values."""
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise SettingsError(f"{name}={value!r} is not one of {listed}.")
