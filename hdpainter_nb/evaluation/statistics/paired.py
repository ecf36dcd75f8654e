"""The difference of two systems on the same triplets, with an interval and a test."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.evaluation.rows import Paired, Rows
from hdpainter_nb.evaluation.statistics.intervals import (
    Bootstrap,
    Interval,
    mean_interval,
    totals,
)
from hdpainter_nb.evaluation.statistics.mcnemar import McNemar

__all__ = ["Difference", "column_difference", "difference_of", "holm", "sign_flip"]

_ENUMERATED = 14  # triplets whose signs are tried out in all 2**n ways


@dataclass(frozen=True)
class Difference:
    """How far the first of two systems lies above the second.

    Attributes:
        first, second: names of the systems.
        interval: mean of the differences, the first one's number less the second one's.
        sd: standard deviation of the differences, one of each triplet (its mean over seeds).
        p: two-sided.
        test: how p was made.
        missing: on how many items one of the two has no number, so that they are not compared.
        mcnemar: the counts, where numbers are 0 or 1 and each triplet has one seed.
    """

    first: str
    second: str
    interval: Interval
    sd: float
    p: float
    test: str
    missing: int
    mcnemar: McNemar | None = None


def column_difference(
    rows: Rows, first: str, second: str, column: str, options: Bootstrap | None = None
) -> Difference:
    """The difference of two systems in one column.

    Raises:
        EvaluationError: no such system or column.
    """
    binary = rows.columns[column].binary if column in rows.columns else False
    return difference_of(rows.paired(first, second, column), binary=binary, options=options)


def difference_of(
    pairs: Paired, *, binary: bool = False, options: Bootstrap | None = None
) -> Difference:
    """The difference of two systems on the items that both have a number for.

    The interval is a bootstrap of triplets. For numbers that are 0 or 1, one seed each, the test is
    McNemar's; otherwise signs are flipped triplet by triplet, which is McNemar's exact test again
    where the two meet.
    """
    options = options or Bootstrap()
    differences = pairs.differences
    interval = mean_interval(differences, pairs.ids, options)
    if not np.isfinite(differences).all() or not len(pairs):
        return Difference(
            pairs.first, pairs.second, interval, math.nan, math.nan, "none", len(pairs.missing)
        )
    sums, counts = totals(differences, pairs.ids)
    means = sums / counts
    sd = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    mcnemar = None
    if binary and len(sums) == len(differences):
        mcnemar = McNemar(int((differences > 0).sum()), int((differences < 0).sum()))
        p, test = mcnemar.p, "McNemar"
    else:
        p, test = sign_flip(sums, options=options), "sign flips"
    if binary and interval.method == "constant":
        low, high = _bonett_price(means, options.level)
        interval = Interval(interval.value, low, high, interval.n, interval.triplets,
                            interval.missing, "Bonett-Price")  # fmt: skip
    return Difference(pairs.first, pairs.second, interval, sd, p, test, len(pairs.missing), mcnemar)


def sign_flip(values: ArrayLike, options: Bootstrap | None = None) -> float:
    """Two-sided p of a sum whose terms might as well have had the other sign.

    If two systems are equally good, each triplet's difference could have come out the other way
    round (Fisher's randomisation test). Exact for whole numbers and for few of them, otherwise by
    as many draws as `options` says, in which what was seen counts as one.

    Args:
        values: (n,), one of each triplet: the sum of its differences over seeds.
        options: `resamples` and `seed` of the draws.
    """
    options = options or Bootstrap()
    terms = np.asarray(values, np.float64)
    terms = terms[terms != 0]  # no sign to flip
    if not len(terms):
        return 1.0
    if (terms == np.rint(terms)).all() and np.abs(terms).sum() <= 100_000:
        return _exact_whole(terms.astype(np.int64))
    # What is equal but for rounding counts as equal.
    seen = abs(float(terms.sum())) - 1e-12 * float(np.abs(terms).sum())
    if len(terms) <= _ENUMERATED:
        ways = np.array([0.0])
        for term in terms:
            ways = np.concatenate([ways - term, ways + term])
        return float((np.abs(ways) >= seen).mean())
    beyond = 0
    for signs in _signs(len(terms), options):
        flipped = 2 * (signs.astype(np.float64) @ terms) - terms.sum()
        beyond += int((np.abs(flipped) >= seen).sum())
    return (beyond + 1) / (options.resamples + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjustment of several p: below the level, all of those are real at that level (1979).

    NaN stays NaN and does not count.
    """
    adjusted = [math.nan] * len(p)
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=lambda i: p[i])
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def _signs(n: int, options: Bootstrap) -> Iterator[NDArray[np.bool_]]:
    """Which of n have a plus in each draw, some draws at a time."""
    rng = np.random.default_rng(options.seed)
    left = options.resamples
    while left:
        now = min(left, max(1, 2_000_000 // n))
        bits = np.frombuffer(rng.bytes(now * -(-n // 8)), np.uint8).reshape(now, -1)
        yield np.unpackbits(bits, axis=1, count=n).astype(bool)
        left -= now


def _exact_whole(terms: NDArray[np.int64]) -> float:
    """The exact distribution of ± terms, built up term by term."""
    sizes = np.abs(terms)
    whole = int(sizes.sum())
    chances = np.zeros(whole + 1)  # of the sum of those with a plus, which is (S + total) / 2
    chances[0] = 1
    for size in sizes:
        moved = np.zeros_like(chances)
        moved[size:] = chances[: len(chances) - size]
        chances = (chances + moved) / 2
    signed = 2 * np.arange(whole + 1) - whole
    return min(1.0, float(chances[np.abs(signed) >= abs(int(terms.sum()))].sum()))


def _bonett_price(means: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Interval of a difference of paired shares that holds where no two differ (2012)."""
    n = len(means)
    up = (float(means[means > 0].sum()) + 1) / (n + 2)
    down = (-float(means[means < 0].sum()) + 1) / (n + 2)
    z = NormalDist().inv_cdf((1 + level) / 2)
    half = z * math.sqrt(max(0.0, up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)
