"""How many triplets a difference needs, and which difference some triplets can show.

Paired, two-sided, by default with 80 % power at the 5 % level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import totals
from hdpainter_nb.utils.check import between

__all__ = [
    "Power",
    "column_power",
    "detectable_mean",
    "detectable_share",
    "power_statement",
    "triplets_for_mean",
    "triplets_for_share",
]


def triplets_for_share(
    difference: float, discordant: float, *, power: float = 0.8, level: float = 0.05
) -> int:
    """How many triplets McNemar's test needs for a difference of two shares (Connor 1987).

    Args:
        difference: of the shares, 0 to 1: 0.0857 for 8.57 points.
        discordant: share of the triplets on which exactly one system succeeds.
        power: chance to find it.
        level: two-sided.

    Raises:
        SettingsError: a value is out of range; a difference cannot exceed the discordant share.
    """
    below, within = _quantiles(power, level)
    apart = abs(difference)
    between("difference", difference, -1, 1)
    between("discordant", discordant, 0, 1)
    if not 0 < apart <= discordant:
        raise SettingsError(
            f"A difference of {apart:g} needs at least that share of discordant triplets, and "
            f"must not be 0; discordant is {discordant:g}."
        )
    root = below * math.sqrt(discordant) + within * math.sqrt(discordant - apart**2)
    return math.ceil((root / apart) ** 2 - 1e-9)


def triplets_for_mean(
    difference: float, sd: float, *, power: float = 0.8, level: float = 0.05
) -> int:
    """How many triplets a paired t test needs for a difference of two means.

    The normal formula with Guenther's correction (1981), which is that of the t distribution to
    within one triplet.

    Args:
        difference: of the means.
        sd: standard deviation of the triplets' differences.
        power: chance to find it.
        level: two-sided.

    Raises:
        SettingsError: a value is out of range.
    """
    below, within = _quantiles(power, level)
    if not (math.isfinite(difference) and difference):
        raise SettingsError(f"A difference to be found is a number other than 0, not {difference}.")
    if not (math.isfinite(sd) and sd > 0):
        raise SettingsError(f"sd must be a number above 0, not {sd}.")
    count = ((below + within) * sd / difference) ** 2 + below**2 / 2
    return max(2, math.ceil(count - 1e-9))


def detectable_share(
    n: int, discordant: float, *, power: float = 0.8, level: float = 0.05
) -> float:
    """The smallest difference of two shares that n triplets show; NaN where none can be.

    Raises:
        SettingsError: a value is out of range.
    """
    below, within = _quantiles(power, level)
    between("n", n, 1, 10**9, integer=True)
    between("discordant", discordant, 0, 1)

    def enough(apart: float) -> bool:
        root = below * math.sqrt(discordant) + within * math.sqrt(max(0, discordant - apart**2))
        return root <= apart * math.sqrt(n)

    low, high = 0.0, discordant
    if not discordant or not enough(high):
        return math.nan
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_mean(n: int, sd: float, *, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest difference of two means that n triplets show; NaN of fewer than 3.

    Raises:
        SettingsError: a value is out of range.
    """
    below, within = _quantiles(power, level)
    between("n", n, 1, 10**9, integer=True)
    left = n - below**2 / 2
    return (below + within) * sd / math.sqrt(left) if left > 0 else math.nan


@dataclass(frozen=True)
class Power:
    """What the triplets of a run can show of two systems in one column.

    Attributes:
        column: its name.
        triplets: how many both have.
        spread: share of discordant triplets where `by_share`, else the differences' standard
            deviation.
        by_share: whether numbers are 0 or 1 with one seed each.
        observed: the difference that was measured.
        detectable: the smallest that so many triplets show; NaN where none can be.
        needed: triplets for the observed one; None where it is 0 or the spread unknown.
    """

    column: str
    triplets: int
    spread: float
    by_share: bool
    observed: float
    detectable: float
    needed: int | None


def column_power(
    rows: Rows,
    first: str,
    second: str,
    column: str,
    *,
    power: float = 0.8,
    level: float = 0.05,
) -> Power:
    """What the triplets that two systems share can show in a column, and what they would need.

    Raises:
        EvaluationError: no such system or column.
        SettingsError: a value is out of range.
    """
    pairs = rows.paired(first, second, column)
    differences = pairs.differences
    n = len(set(pairs.ids.tolist()))
    if not n or not np.isfinite(differences).all():
        return Power(column, n, math.nan, False, math.nan, math.nan, None)
    sums, counts = totals(differences, pairs.ids)
    means = sums / counts
    observed = float(means.mean())
    by_share = rows.columns[column].binary and len(pairs) == n
    needed = None
    if by_share:
        spread = float((means != 0).mean())
        detectable = detectable_share(n, spread, power=power, level=level)
        if observed:
            needed = triplets_for_share(observed, spread, power=power, level=level)
    else:
        spread = float(np.std(means, ddof=1)) if n > 1 else math.nan
        detectable = detectable_mean(n, spread, power=power, level=level)
        if observed and spread > 0:
            needed = triplets_for_mean(observed, spread, power=power, level=level)
    return Power(column, n, spread, by_share, observed, detectable, needed)


def power_statement(
    n: int = 300,
    *,
    discordant: tuple[float, float] = (0.15, 0.25),
    power: float = 0.8,
    level: float = 0.05,
) -> str:
    """Which difference of two systems' accuracies n triplets show, in a sentence.

    Args:
        n: how many triplets.
        discordant: the share on which exactly one succeeds, from and to; what two inpainting
            models of similar strength usually have.
        power: chance to find it.
        level: two-sided.

    Raises:
        SettingsError: a value is out of range.
    """
    ends = [detectable_share(n, share, power=power, level=level) for share in discordant]
    chance = f"with {power:.0%} power at the two-sided {level:.0%} level"
    shares = f"{discordant[0]:.0%} to {discordant[1]:.0%} of them are decided differently"
    error = 100 * math.sqrt(0.25 / n)
    known = [100 * end for end in ends if not math.isnan(end)]
    if not known:
        return (
            f"{n} triplets are too few to show any difference of two systems' accuracies "
            f"{chance} if {shares}."
        )
    if len(known) < len(ends):
        differences = f"at best {known[0]:.1f} points"
    else:
        differences = f"{min(known):.1f} to {max(known):.1f} points"
    return (
        f"{n} triplets show a difference of {differences} between two systems' accuracies "
        f"{chance} if {shares}; one accuracy's standard error is at most {error:.1f} points."
    )


def _quantiles(power: float, level: float) -> tuple[float, float]:
    """The normal quantiles of level and power."""
    between("power", power, 0.5, 0.9999)
    between("level", level, 0.0001, 0.5)
    normal = NormalDist()
    return normal.inv_cdf(1 - level / 2), normal.inv_cdf(power)
