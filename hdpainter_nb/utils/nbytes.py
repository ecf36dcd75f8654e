"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

from hdpainter_nb.errors import SettingsError

__all__ = ["byte_count", "readable_bytes"]

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def byte_count(amount: int | str | None) -> int | None:
    """Bytes of ``"512 MB"`` (powers of 1000), ``"2 GiB"`` (of 1024) or a number; None: no limit.

    Raises:
        SettingsError: it is none of these, or negative.
    """
    if amount is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?\s*", str(amount), re.IGNORECASE)
    if match is None or isinstance(amount, bool):
        raise SettingsError(f"{amount!r} is no number of bytes: write '512 MB', '2 GiB' or 1000.")
    return int(float(match[1]) * _UNITS[(match[2] or "b").lower()])


def readable_bytes(count: float) -> str:
    """A byte count for people: 1.5 MB, 72 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
