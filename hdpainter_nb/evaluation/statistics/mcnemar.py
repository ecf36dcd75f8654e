"""McNemar's test: do two systems succeed on the same triplets equally often?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hdpainter_nb.utils.check import between

__all__ = ["McNemar"]


@dataclass(frozen=True)
class McNemar:
    """The test of the triplets on which exactly one of two systems succeeds (McNemar 1947).

    Attributes:
        first_only: on how many only the first one succeeds.
        second_only: on how many only the second one does.

    Raises:
        SettingsError: a count is no whole number of 0 or more.
    """

    first_only: int
    second_only: int

    def __post_init__(self) -> None:
        between("first_only", self.first_only, 0, 10**9, integer=True)
        between("second_only", self.second_only, 0, 10**9, integer=True)

    @property
    def discordant(self) -> int:
        """On how many the two differ; the others say nothing."""
        return self.first_only + self.second_only

    @property
    def exact(self) -> float:
        """Two-sided p of the binomial test, which is never too small."""
        upto, _ = self._tail()
        return min(1.0, 2 * upto)

    @property
    def mid_p(self) -> float:
        """The same with half the probability of what was seen, so less cautious."""
        upto, at = self._tail()
        if self.first_only == self.second_only:  # both tails are the same middle
            return 1 - at / 2 if self.discordant else 1.0
        return 2 * upto - at

    @property
    def chi_square(self) -> float:
        """Two-sided p of (b - c)² / (b + c), which holds for many discordant triplets."""
        if not self.discordant:
            return 1.0
        apart = abs(self.first_only - self.second_only)
        return math.erfc(apart / math.sqrt(2 * self.discordant))

    @property
    def corrected(self) -> float:
        """The same with Edwards' correction for continuity."""
        if not self.discordant:
            return 1.0
        apart = max(0, abs(self.first_only - self.second_only) - 1)
        return math.erfc(apart / math.sqrt(2 * self.discordant))

    @property
    def p(self) -> float:
        """What tables show: exact below 25 discordant triplets, mid-p from there on."""
        return self.exact if self.discordant < 25 else self.mid_p

    def _tail(self) -> tuple[float, float]:
        """P(X <= m) and P(X = m) for the smaller count m and X ~ Binomial(discordant, 1/2)."""
        n, smaller = self.discordant, min(self.first_only, self.second_only)
        ways, total = 1, 1  # whole numbers, however large: nothing is rounded before the end
        for k in range(smaller):
            ways = ways * (n - k) // (k + 1)
            total += ways
        return total / 2**n, ways / 2**n
