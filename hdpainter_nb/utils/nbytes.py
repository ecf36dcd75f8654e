"""Arrays within a budget: in main memory up to it, in a temporary file beyond it.

What lies in the file is read through a memory map, so it is an array like any other; the system
loads the pages that are looked at and lets go of them again. The file has no name where the system
allows that, so nothing is left behind, whatever ends the process.
"""

from __future__ import annotations

import re

from hdpainter_nb.errors import SettingsError

__all__ = ["byte_count", "readable_bytes"]

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def byte_count(amount: int | str | None) -> int | None:
    """Bytes of ``"512 MB"`` (powers of 1000), ``"2 GiB"`` (of 1024) or a number; None: no limit.

    Raises:
        SettingsError: it is none of these, or negative.
    """
    if amount is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?\s*", str(amount), re.IGNORECASE)
    if found is None or isinstance(amount, bool):
        raise SettingsError(f"{amount!r} is no number of bytes: write '512 MB', '2 GiB' or 1000.")
    return int(float(found[1]) * _UNITS[(found[2] or "b").lower()])


def readable_bytes(count: float) -> str:
    """A byte count for people: 1.5 MB, 72 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
