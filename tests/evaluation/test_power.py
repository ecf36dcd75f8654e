"""How many triplets: the published figures, textbook values, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.mcnemar import McNemar
from hdpainter_nb.evaluation.statistics.power import (
    column_power,
    detectable_mean,
    detectable_share,
    power_statement,
    triplets_for_mean,
    triplets_for_share,
)


def test_the_paper_s_accuracy_needs_158_to_265_triplets() -> None:
    assert triplets_for_share(0.0857, 0.15) == 158  # both methods against the base
    assert triplets_for_share(0.0857, 0.25) == 265
    assert triplets_for_share(0.0515, 0.15) == pytest.approx(440, rel=0.01)  # PAIntA alone
    assert triplets_for_share(0.0365, 0.12) == pytest.approx(700, rel=0.01)  # RASG alone


def test_the_paper_s_scores_need_so_many() -> None:
    assert triplets_for_mean(0.63, 2.5) == pytest.approx(124, abs=3)  # CLIP score
    assert triplets_for_mean(0.63, 3.5) == pytest.approx(242, abs=3)
    assert triplets_for_mean(0.04, 0.35) == pytest.approx(600, rel=0.01)  # aesthetic
    assert triplets_for_mean(0.01, 0.36) == pytest.approx(10_000, rel=0.03)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_paired_t_test_as_tables_have_it(effect: float, n: int) -> None:
    assert triplets_for_mean(effect, 1.0) == n


def test_so_many_triplets_find_the_difference_four_times_in_five() -> None:
    difference, discordant = 0.15, 0.3
    n = triplets_for_share(difference, discordant)
    up, down = (discordant + difference) / 2, (discordant - difference) / 2
    counts = np.random.default_rng(0).multinomial(n, [up, down, 1 - discordant], 3000)
    found = np.mean([McNemar(int(b), int(c)).chi_square < 0.05 for b, c, _ in counts])
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n", [50, 300, 10_000])
def test_what_n_triplets_can_show_needs_n_triplets(n: int) -> None:
    for discordant in (0.15, 0.5):
        difference = detectable_share(n, discordant)
        if n * discordant > 10:
            assert triplets_for_share(difference, discordant) == n
            assert triplets_for_share(0.99 * difference, discordant) > n
    assert triplets_for_mean(detectable_mean(n, 2.5), 2.5) == n


def test_too_few_triplets_show_nothing() -> None:
    assert math.isnan(detectable_share(10, 0.25))
    assert math.isnan(detectable_share(300, 0.0))
    assert math.isnan(detectable_mean(1, 1.0))


def test_the_statement_for_the_default_number() -> None:
    assert power_statement(300) == (
        "300 triplets show a difference of 6.2 to 8.1 points between two systems' accuracies with "
        "80% power at the two-sided 5% level if 15% to 25% of them are decided differently; one "
        "accuracy's standard error is at most 2.9 points."
    )
    assert "are too few to show any difference" in power_statement(10)
    assert "at best 21.5 points" in power_statement(40)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: triplets_for_share(0.3, 0.2),
        lambda: triplets_for_share(0.0, 0.2),
        lambda: triplets_for_share(0.1, 1.2),
        lambda: triplets_for_share(0.1, 0.2, power=1.0),
        lambda: triplets_for_share(0.1, 0.2, level=0.0),
        lambda: triplets_for_mean(0.0, 1.0),
        lambda: triplets_for_mean(math.nan, 1.0),
        lambda: triplets_for_mean(0.1, 0.0),
        lambda: detectable_share(0, 0.2),
        lambda: detectable_mean(1.5, 0.2),
    ],
)
def test_what_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(SettingsError):
        wrong()  # type: ignore[operator]


def test_what_a_run_can_show_is_read_from_its_pairs() -> None:
    columns = {"yes": Column("Y", binary=True), "v": Column("V"), "same": Column("S")}
    rng = np.random.default_rng(0)
    entries = [
        {
            "system": system, "seed": 1, "id": str(i), "group": "",
            "yes": float(i < 40 or (system == "a" and i < 60) or (system == "b" and i > 190)),
            "v": float(rng.normal(0.5 * (system == "a"), 1)), "same": 1.0,
        }
        for i in range(200) for system in "ab"
    ]  # fmt: skip
    rows = Rows.of(entries, columns)
    yes = column_power(rows, "a", "b", "yes")
    assert (yes.triplets, yes.by_share) == (200, True)
    assert yes.spread == pytest.approx(29 / 200)
    assert yes.observed == pytest.approx(11 / 200)
    assert yes.needed == triplets_for_share(11 / 200, 29 / 200)
    assert yes.detectable == detectable_share(200, 29 / 200)
    number = column_power(rows, "a", "b", "v")
    sd = float(np.std(rows.paired("a", "b", "v").differences, ddof=1))
    assert number.needed == triplets_for_mean(number.observed, sd)
    same = column_power(rows, "a", "b", "same")
    assert (same.observed, same.needed) == (0, None)
    twice = Rows.of([{**e, "seed": s} for e in entries for s in (1, 2)], columns)
    both = column_power(twice, "a", "b", "yes")
    assert (both.triplets, both.by_share) == (200, False)
