"""Means of pictures with bootstrap intervals, in which seeds of one triplet stay together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.utils.check import between, one_of

__all__ = ["Bootstrap", "Interval", "column_interval", "mean_interval", "wilson"]

_AT_ONCE = 2_000_000  # draws made at a time
_KEPT = 60_000_000  # draws kept for the next column, in two bytes each


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made; equal settings and numbers give equal intervals.

    Attributes:
        level: share of intervals that hold the true value.
        resamples: how often the triplets are drawn again.
        method: ``bca`` corrects for bias and skewness (Efron 1987), ``percentile`` does not.
        seed: of the draws.

    Raises:
        SettingsError: a value is out of range.
    """

    level: float = 0.95
    resamples: int = 5000
    method: Literal["bca", "percentile"] = "bca"
    seed: int = 0

    def __post_init__(self) -> None:
        between("level", self.level, 0.5, 0.9999)
        between("resamples", self.resamples, 100, 1_000_000, integer=True)
        one_of("method", self.method, ("bca", "percentile"))
        between("seed", self.seed, 0, 2**63 - 1, integer=True)


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies.

    Attributes:
        value: the mean; NaN of nothing.
        low, high: ends of the interval; NaN where fewer than two triplets, or a number that is
            infinite, leave it open.
        n: how many numbers there are.
        triplets: of how many triplets they are.
        missing: how many more were NaN.
        method: how the interval was made.
    """

    value: float
    low: float
    high: float
    n: int
    triplets: int
    missing: int
    method: str

    @property
    def half(self) -> float:
        """Half its width: what stands behind ±."""
        return (self.high - self.low) / 2


def mean_interval(
    values: ArrayLike, ids: ArrayLike | None = None, options: Bootstrap | None = None
) -> Interval:
    """The mean of some numbers with a bootstrap interval.

    Args:
        values: (n,); NaN is left out and counted.
        ids: (n,), whose numbers belong together, as those of one triplet with several seeds do:
            they are drawn together. None: each stands for itself.
        options: None takes the defaults of `Bootstrap`.
    """
    options = options or Bootstrap()
    numbers = np.asarray(values, np.float64)
    real = ~np.isnan(numbers)
    missing = int((~real).sum())
    numbers = numbers[real]
    names = np.arange(len(real))[real] if ids is None else np.asarray(ids, object)[real]
    with np.errstate(invalid="ignore"):
        sums, counts = totals(numbers, names)
    n, triplets = len(numbers), len(sums)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0, 0, missing, "none")
    with np.errstate(invalid="ignore"):
        mean = float(numbers.mean())
    if triplets < 2 or not np.isfinite(numbers).all():  # PSNR of equal pictures is infinite
        return Interval(mean, math.nan, math.nan, n, triplets, missing, "none")
    if np.ptp(numbers) == 0:  # whatever is drawn, it is this
        return Interval(mean, mean, mean, n, triplets, missing, "constant")
    low, high = _ends(sums, counts, options)
    return Interval(mean, low, high, n, triplets, missing, options.method)


def column_interval(
    rows: Rows, system: str, column: str, options: Bootstrap | None = None
) -> Interval:
    """The mean of a column for one system.

    A share of pictures, one seed each, has Wilson's interval, which holds at 0 and 1 too, where no
    resample differs; so has a share that is 0 or 1 under several seeds.

    Raises:
        EvaluationError: no such system or column.
    """
    options = options or Bootstrap()
    own = rows.places_of(system)
    interval = mean_interval(rows[column][own], rows.ids[own], options)
    alone = interval.n == interval.triplets
    if rows.columns[column].binary and interval.n and (alone or interval.method == "constant"):
        low, high = wilson(interval.value, interval.triplets, options.level)
        return Interval(
            interval.value, low, high, interval.n, interval.triplets, interval.missing, "wilson"
        )
    return interval


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of n (1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def totals(
    values: NDArray[np.float64], ids: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and count of the numbers of each id, in the order in which they first come."""
    places: dict[Any, int] = {}
    index = np.fromiter((places.setdefault(i, len(places)) for i in ids.tolist()), np.int64)
    sums = np.bincount(index, values, len(places)).astype(np.float64)
    return sums, np.bincount(index, minlength=len(places)).astype(np.int64)


def _ends(
    sums: NDArray[np.float64], counts: NDArray[np.int64], options: Bootstrap
) -> tuple[float, float]:
    """Ends of the bootstrap interval of Σ sums / Σ counts."""
    drawn = np.sort(np.concatenate(list(_resampled(sums, counts, options))))
    tail = (1 - options.level) / 2
    shares = np.array([tail, 1 - tail])
    if options.method == "bca":
        shares = _corrected(shares, drawn, sums, counts)
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def _resampled(
    sums: NDArray[np.float64], counts: NDArray[np.int64], options: Bootstrap
) -> Iterator[NDArray[np.float64]]:
    n = len(sums)
    equal = bool((counts == counts[0]).all())
    if n * options.resamples <= _KEPT:
        parts: Iterable[NDArray[np.uint16]] = _kept_draws(n, options.resamples, options.seed)
    else:
        parts = _draws(n, options.resamples, options.seed)
    for part in parts:
        times = part.astype(np.float64)
        below = n * counts[0] if equal else times @ counts.astype(np.float64)
        yield times @ sums / below


@lru_cache(maxsize=2)
def _kept_draws(n: int, resamples: int, seed: int) -> tuple[NDArray[np.uint16], ...]:
    """The same for every column of as many triplets, and dearer than all that is made of them."""
    return tuple(_draws(n, resamples, seed))


def _draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.uint16]]:
    """How often each of n is drawn in each resample, some resamples at a time."""
    rng = np.random.default_rng(seed)
    left = resamples
    while left:
        now = min(left, max(1, _AT_ONCE // n))
        index = rng.integers(0, n, (now, n), dtype=np.int32) + n * np.arange(now)[:, None]
        yield np.bincount(index.ravel(), minlength=now * n).reshape(now, n).astype(np.uint16)
        left -= now


def _corrected(
    shares: NDArray[np.float64],
    drawn: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The shares at which BCa reads the resamples: equations 14.9 to 14.15 of Efron, Tibshirani."""
    normal, size = NormalDist(), len(drawn)
    mean = sums.sum() / counts.sum()
    close = 1e-12 * max(1.0, float(np.abs(drawn).max()))
    below = float((drawn < mean - close).sum() + (drawn <= mean + close).sum()) / 2
    bias = normal.inv_cdf(min(max(below, 0.5), size - 0.5) / size)
    without = (sums.sum() - sums) / (counts.sum() - counts)  # the mean with one triplet left out
    apart = without.mean() - without
    spread = float(np.square(apart).sum())
    skewness = float((apart**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    adjusted = []
    for share in shares:
        z = bias + normal.inv_cdf(float(share))
        if skewness * z >= 1:  # beyond where the correction is defined
            return shares
        adjusted.append(normal.cdf(bias + z / (1 - skewness * z)))
    return np.array(adjusted)
