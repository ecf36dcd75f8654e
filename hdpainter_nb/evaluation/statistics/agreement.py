"""Whether two metrics prefer the same pictures of two systems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.rows import Rows

__all__ = ["Agreement", "agreement_of", "rank_correlation"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """How the columns' differences between two systems go together, item by item.

    Attributes:
        first, second: names of the systems.
        columns: the k columns.
        rank: (k, k), Spearman's correlation of the differences, each turned so that more is
            better; NaN where a column does not vary.
        sign: (k, k), of the items on which both columns prefer one of the two, the share on which
            it is the same one; NaN where there is no such item.
        items: (k, k), how many items both columns have a difference for.
        decided: (k, k), how many of them `sign` is of.
    """

    first: str
    second: str
    columns: tuple[str, ...]
    rank: NDArray[np.float64]
    sign: NDArray[np.float64]
    items: NDArray[np.int64]
    decided: NDArray[np.int64]


def agreement_of(
    rows: Rows, first: str, second: str, columns: Sequence[str] | None = None
) -> Agreement:
    """Compare what columns say of the same items of two systems.

    Args:
        rows: a row for each picture.
        first: name of a system.
        second: of the other.
        columns: None takes all that judge pictures and differ on any item.

    Raises:
        EvaluationError: no such system or column.
    """
    asked = rows.judging if columns is None else columns
    by_column = {}
    for name in asked:
        pairs = rows.paired(first, second, name)
        differences = (-1 if rows.columns[name].better == "lower" else 1) * pairs.differences
        if columns is None and not differences.any():
            continue
        keys = zip(pairs.ids, pairs.seeds.tolist(), strict=True)
        by_column[name] = dict(zip(keys, differences.tolist(), strict=True))
    chosen, tables = tuple(by_column), list(by_column.values())
    size = len(chosen)
    rank, sign = np.full((2, size, size), math.nan)
    items, decided = np.zeros((2, size, size), np.int64)
    for i, one in enumerate(tables):
        for j, other in enumerate(tables):
            shared = [key for key in one if key in other]
            a, b = (np.array([table[key] for key in shared]) for table in (one, other))
            both = (a != 0) & (b != 0)
            items[i, j], decided[i, j] = len(a), both.sum()
            rank[i, j] = rank_correlation(a, b)
            if both.any():
                sign[i, j] = float((np.sign(a) == np.sign(b))[both].mean())
    return Agreement(first, second, chosen, rank, sign, items, decided)


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's correlation, equal numbers sharing their mean rank; NaN where one is constant."""
    if len(a) < 2:
        return math.nan
    one, other = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    below = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / below if below > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1; equal numbers get the mean of the ranks that they take up."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[index.ravel()], np.float64)
