"""PickScore as percentages: how likely one picture is preferred, how often it wins.

PickScore says P(ours) = exp(s_ours) / (exp(s_ours) + exp(s_other)) of two pictures of one prompt,
where s is the scaled similarity of picture and prompt (Kirstain et al. 2023, equation 1). The
official evaluation prints the mean of P; the paper's words describe the share of wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap, Interval, mean_interval
from hdpainter_nb.utils.check import between

__all__ = ["Preference", "preference_of", "probabilities"]


@dataclass(frozen=True)
class Preference:
    """How one system's pictures are preferred to another's.

    Attributes:
        first, second: names of the systems.
        probability: mean P of the first, as the official code has it.
        wins: mean of 1 where the first wins, ½ where neither does, 0 where it loses.
        won, tied, lost: shares of the items; NaN without items.
        missing: items for which one of the two has no score.
    """

    first: str
    second: str
    probability: Interval
    wins: Interval
    won: float
    tied: float
    lost: float
    missing: int


def probabilities(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """P of the first of two pictures, from their scores, elementwise."""
    return np.asarray(np.exp(-np.logaddexp(0, second - first)), np.float64)


def preference_of(
    rows: Rows,
    first: str,
    second: str,
    column: str,
    *,
    tie: float = 0.0,
    options: Bootstrap | None = None,
) -> Preference:
    """How often, and how likely, the first system's pictures are preferred to the second's.

    Args:
        rows: a row for each picture.
        first: the system that P is of.
        second: the other.
        column: the scaled scores.
        tie: neither wins where P is within this of ½; 0: only where both score the same.
        options: of the intervals.

    Raises:
        EvaluationError: no such system or column.
        SettingsError: `tie` is out of range.
    """
    between("tie", tie, 0, 0.5)
    pairs = rows.paired(first, second, column)
    chances = probabilities(pairs.a, pairs.b)
    close = np.where(tie > 0, np.abs(chances - 0.5) <= tie, pairs.a == pairs.b)
    points = np.where(close, 0.5, pairs.a > pairs.b)
    won, tied, lost = (
        float((points == value).mean()) if len(pairs) else math.nan for value in (1, 0.5, 0)
    )
    return Preference(
        first,
        second,
        mean_interval(chances, pairs.ids, options),
        mean_interval(points, pairs.ids, options),
        won,
        tied,
        lost,
        len(pairs.missing),
    )
