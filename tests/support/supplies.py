"""What other processes make in tests. They import this module, so it imports next to nothing."""

from __future__ import annotations

from collections.abc import Iterator


def few(seed: int, count: int) -> Iterator[int]:
    """A supply that ends: the seed, `count` times."""
    yield from [seed] * count
