"""How a number of each picture is shown in tables."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Column"]


@dataclass(frozen=True)
class Column:
    """A number of each picture, as tables show it.

    Attributes:
        title: of its column.
        better: ``higher`` or ``lower``, or empty where neither is better.
        binary: whether it is 0 or 1 for each picture; the table shows a share in percent, and
            differences are tested by McNemar.
        digits: after the point.
        scale: by what a table multiplies it: 100 for shares.
    """

    title: str
    better: str = "higher"
    binary: bool = False
    digits: int = 2
    scale: float = 1.0
