"""What the seed alone moves: a system's numbers under several of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import totals

__all__ = ["SeedSpread", "seed_spread"]


@dataclass(frozen=True)
class SeedSpread:
    """How one system's column spreads over seeds.

    Attributes:
        system, column: names.
        means: seed -> mean over its triplets; what is infinite is left out of all of this.
        between_seeds: standard deviation of these means; NaN of one seed.
        within_triplet: standard deviation over seeds of one triplet, all triplets pooled: what a
            picture's number owes to chance.
        between_triplets: standard deviation of the triplets' true means, chance taken off.
        expected: what `between_seeds` should be if seeds moved each triplet for itself:
            `within_triplet` over the root of the number of triplets.
    """

    system: str
    column: str
    means: dict[int, float]
    between_seeds: float
    within_triplet: float
    between_triplets: float
    expected: float


def seed_spread(rows: Rows, system: str, column: str) -> SeedSpread:
    """Tell what the seeds move from what the triplets do (one-way analysis of variance).

    Raises:
        EvaluationError: no such system or column.
    """
    own = rows.places_of(system)
    own = own[np.isfinite(rows[column][own])]
    values, ids, seeds = rows[column][own], rows.ids[own], rows.seeds[own]
    means = {int(seed): float(values[seeds == seed].mean()) for seed in np.unique(seeds)}
    between_seeds = _sd(list(means.values()))
    triplets, n = len(set(ids.tolist())), len(values)
    if n <= triplets or triplets < 2:
        nothing = math.nan
        return SeedSpread(system, column, means, between_seeds, nothing, nothing, nothing)
    centred = values - values.mean()  # large numbers would lose digits in their squares
    sums, counts = totals(centred, ids)
    squares, _ = totals(centred**2, ids)
    within = max(0.0, float((squares - sums**2 / counts).sum())) / (n - triplets)
    among = float((sums**2 / counts).sum() - sums.sum() ** 2 / n) / (triplets - 1)
    typical = (n - float((counts**2).sum()) / n) / (triplets - 1)
    between = max(0.0, (among - within) / typical)
    return SeedSpread(
        system,
        column,
        means,
        between_seeds,
        math.sqrt(within),
        math.sqrt(between),
        math.sqrt(within / triplets),
    )


def _sd(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
