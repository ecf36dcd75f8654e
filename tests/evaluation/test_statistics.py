"""Intervals and tests against closed forms, plain enumeration and simulation."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.agreement import agreement_of, rank_correlation
from hdpainter_nb.evaluation.statistics.intervals import (
    Bootstrap,
    column_interval,
    mean_interval,
    wilson,
)
from hdpainter_nb.evaluation.statistics.mcnemar import McNemar
from hdpainter_nb.evaluation.statistics.paired import (
    column_difference,
    holm,
    sign_flip,
)
from hdpainter_nb.evaluation.statistics.preference import preference_of, probabilities
from hdpainter_nb.evaluation.statistics.seeds import seed_spread
from support.measured import measured

FEW = Bootstrap(resamples=400)
YES = {"v": Column("V", binary=True)}
NUMBER = {"v": Column("V")}


def rows_of(columns: dict[str, Column], **systems: list[float]) -> Rows:
    """One seed; triplets by their place."""
    return Rows.of(
        [
            {"system": name, "seed": 1, "id": str(i), "group": "", "v": value}
            for name, values in systems.items()
            for i, value in enumerate(values)
        ],
        columns,
    )


# --- intervals -----------------------------------------------------------------------------------


def test_the_interval_of_many_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    error = values.std(ddof=1) / len(values) ** 0.5
    for method in ("bca", "percentile"):
        interval = mean_interval(values, options=Bootstrap(method=method, resamples=40_000))
        assert interval.value == pytest.approx(values.mean())
        assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.06 * error)
        assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.06 * error)
        assert (interval.n, interval.triplets, interval.missing) == (400, 400, 0)
        assert interval.method == method
        assert interval.half == pytest.approx((interval.high - interval.low) / 2)


def test_bca_is_efrons_as_written_out() -> None:
    values = np.random.default_rng(1).exponential(1, 12)
    options = Bootstrap(resamples=500, seed=4)
    index = np.random.default_rng(4).integers(0, 12, (500, 12), dtype=np.int32)
    means = sorted(float(np.mean([values[i] for i in row])) for row in index)
    normal = NormalDist()
    bias = normal.inv_cdf(sum(m < values.mean() for m in means) / 500)
    without = [np.delete(values, i).mean() for i in range(12)]
    middle = np.mean(without)
    above = sum((middle - w) ** 3 for w in without)
    a = above / (6 * sum((middle - w) ** 2 for w in without) ** 1.5)
    ends = []
    for share in (0.025, 0.975):
        z = bias + normal.inv_cdf(share)
        ends.append(float(np.quantile(means, normal.cdf(bias + z / (1 - a * z)))))
    interval = mean_interval(values, options=options)
    assert [interval.low, interval.high] == pytest.approx(ends, rel=1e-12)
    plain = mean_interval(values, options=Bootstrap(resamples=500, seed=4, method="percentile"))
    assert [plain.low, plain.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), rel=1e-12)
    assert interval.low > plain.low  # a long tail to the right moves both ends there
    assert interval.high > plain.high


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(method: str) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for trial in range(300):
        values = rng.exponential(1, 40)
        options = Bootstrap(resamples=300, method=method, seed=trial)  # type: ignore[arg-type]
        interval = mean_interval(values, options=options)
        held += interval.low <= 1 <= interval.high
    assert 0.89 <= held / 300 <= 0.98


def test_the_difference_holds_the_true_one_as_often_as_it_says_under_several_seeds() -> None:
    rng = np.random.default_rng(5)
    held = alone = 0
    for trial in range(200):
        own = np.repeat(rng.normal(0, 1, 25), 4)  # what the triplet decides, not the seed
        differences = 0.3 + own + rng.normal(0, 0.3, 100)
        ids = np.repeat(np.arange(25), 4)
        options = Bootstrap(resamples=200, seed=trial)
        together = mean_interval(differences, ids, options)
        held += together.low <= 0.3 <= together.high
        apart = mean_interval(differences, None, options)
        alone += apart.low <= 0.3 <= apart.high
    assert 0.88 <= held / 200 <= 0.985
    assert alone / 200 < 0.75  # what comes of taking seeds for triplets


def test_seeds_that_say_the_same_again_prove_nothing_more() -> None:
    values = np.random.default_rng(3).normal(size=20)
    once = mean_interval(values, np.arange(20), FEW)
    thrice = mean_interval(np.tile(values, 3), np.tile(np.arange(20), 3), FEW)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert (thrice.n, thrice.triplets) == (60, 20)


def test_triplets_with_fewer_seeds_weigh_less() -> None:
    values, ids = [1.0, 1.0, 4.0], ["a", "a", "b"]
    interval = mean_interval(values, ids, FEW)
    assert interval.value == 2.0  # the mean of the pictures
    assert interval.low == 1.0
    assert interval.high == 4.0


def test_intervals_are_equal_for_equal_settings_and_only_then() -> None:
    values = np.random.default_rng(3).normal(size=20)
    assert mean_interval(values, options=FEW) == mean_interval(values, options=FEW)
    other = mean_interval(values, options=Bootstrap(resamples=400, seed=1))
    assert other != mean_interval(values, options=FEW)
    wider = mean_interval(values, options=Bootstrap(resamples=400, level=0.99))
    assert wider.half > mean_interval(values, options=FEW).half


def test_draws_in_parts_are_the_draws_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from hdpainter_nb.evaluation.statistics import intervals

    values = np.random.default_rng(3).normal(size=20)
    before = mean_interval(values, options=FEW)
    monkeypatch.setattr(intervals, "_AT_ONCE", 20 * 64)  # 64 resamples at a time
    monkeypatch.setattr(intervals, "_KEPT", 0)
    after = mean_interval(values, options=FEW)
    assert (after.low, after.high) == pytest.approx((before.low, before.high), rel=1e-12)


def test_intervals_of_little_or_nothing() -> None:
    nothing = mean_interval([math.nan])
    assert math.isnan(nothing.value)
    assert (nothing.n, nothing.missing) == (0, 1)
    one = mean_interval([3.0, 4.0], ["a", "a"])
    assert one.value == 3.5
    assert math.isnan(one.low)
    assert math.isnan(one.half)
    constant = mean_interval([2.0, 2.0, math.nan])
    assert (constant.value, constant.low, constant.high, constant.missing) == (2, 2, 2, 1)
    endless = mean_interval([1.0, math.inf])
    assert endless.value == math.inf
    assert math.isnan(endless.low)


def test_wilson_as_printed() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_a_share_of_none_or_all_is_not_certain() -> None:
    rows = rows_of(YES, none=[0.0] * 10, some=[1.0] * 5 + [0.0] * 5, all=[1.0] * 10)
    intervals = {name: column_interval(rows, name, "v") for name in rows.names}
    assert intervals["none"].high == pytest.approx(0.2775, abs=1e-4)
    assert intervals["all"].low == pytest.approx(0.7225, abs=1e-4)
    assert intervals["some"].low == pytest.approx(0.2366, abs=1e-4)
    assert {i.method for i in intervals.values()} == {"wilson"}
    twice = Rows.of(
        [{**r, "seed": s} for r in rows.records() for s in (1, 2)], YES
    )  # no more triplets than before
    assert column_interval(twice, "all", "v").low == pytest.approx(0.7225, abs=1e-4)
    assert column_interval(twice, "some", "v").method == "bca"


@pytest.mark.parametrize(
    "wrong", [{"level": 1.0}, {"resamples": 5}, {"method": "t"}, {"seed": -1}, {"resamples": 1e9}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Bootstrap(**wrong)  # type: ignore[arg-type]


# --- McNemar -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("second", range(5))
def test_mcnemar_is_what_enumeration_gives(first: int, second: int) -> None:
    n = first + second
    ways = [sum(signs) for signs in itertools.product((1, -1), repeat=n)]  # all equally likely
    seen = abs(first - second)
    beyond = sum(abs(way) > seen for way in ways) / len(ways)
    at = sum(abs(way) == seen for way in ways) / len(ways)
    test = McNemar(first, second)
    assert test.exact == pytest.approx(beyond + at, abs=1e-15)
    if first == second:
        assert test.mid_p == pytest.approx(1 - at / 2 if n else 1)
    else:
        assert test.mid_p == pytest.approx(beyond + at / 2, abs=1e-15)
    assert test.p == test.exact


def test_mcnemar_by_hand() -> None:
    test = McNemar(10, 2)
    assert test.discordant == 12
    assert test.exact == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert test.mid_p == pytest.approx((2 * (1 + 12 + 66) - 66) / 4096)
    assert test.chi_square == pytest.approx(0.020921, abs=1e-6)  # 64 / 12, one degree of freedom
    assert test.corrected == pytest.approx(0.043308, abs=1e-6)  # 49 / 12
    assert McNemar(0, 0).p == McNemar(0, 0).chi_square == McNemar(0, 0).corrected == 1.0
    assert McNemar(2, 10) == McNemar(2, 10)
    assert McNemar(2, 10).exact == test.exact


def test_mcnemar_of_many_is_the_chi_square_and_quick() -> None:
    test = McNemar(2600, 2400)
    assert test.mid_p == pytest.approx(test.chi_square, rel=0.002)
    assert test.exact > test.mid_p
    assert test.p == test.mid_p
    assert 0 < McNemar(900, 100).exact < 1e-100
    for wrong in (-1, 1.5, True):
        with pytest.raises(SettingsError, match="whole number"):
            McNemar(wrong, 1)  # type: ignore[arg-type]


# --- paired differences --------------------------------------------------------------------------


def test_sign_flips_of_yes_and_no_are_mcnemar() -> None:
    for first, second in ((0, 0), (5, 1), (9, 9), (30, 12), (300, 240)):
        differences = [1.0] * first + [-1.0] * second + [0.0] * 7
        assert sign_flip(differences) == pytest.approx(McNemar(first, second).exact, rel=1e-9)


def test_sign_flips_are_what_enumeration_gives() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(0.4, 1, 9), np.array([3.0, -1, 2, 2, -1, 4]), np.array([0.1, 0.2])):
        sums = [abs(np.dot(s, values)) for s in itertools.product((1, -1), repeat=len(values))]
        exact = np.mean([s >= abs(values.sum()) - 1e-12 for s in sums])
        assert sign_flip(values) == pytest.approx(exact)


def test_sign_flips_by_drawing_agree_with_the_exact_ones() -> None:
    whole = np.random.default_rng(1).integers(-3, 5, 60).astype(float)
    exact = sign_flip(whole)
    drawn = sign_flip(0.1 * whole, Bootstrap(resamples=20_000))
    assert drawn == pytest.approx(exact, abs=0.015)
    assert sign_flip(np.full(50, 0.3), Bootstrap(resamples=400)) == pytest.approx(1 / 401)


def test_p_is_uniform_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(6)
    below = [sign_flip(rng.normal(size=20), FEW) <= 0.05 for _ in range(400)]
    assert 0.02 <= np.mean(below) <= 0.085


def test_a_difference_of_numbers() -> None:
    rows = rows_of(NUMBER, a=[1.0, 2.0, 3.5, 4.0], b=[0.5, 2.0, 3.0, 3.0])
    seen = column_difference(rows, "a", "b", "v", FEW)
    assert seen.interval.value == pytest.approx(0.5)
    assert seen.sd == pytest.approx(np.std([0.5, 0, 0.5, 1], ddof=1))
    assert seen.p == pytest.approx(2 / 8)  # of three signs, all alike
    assert (seen.test, seen.missing, seen.mcnemar) == ("sign flips", 0, None)
    back = column_difference(rows, "b", "a", "v", FEW)
    assert back.interval.value == -seen.interval.value
    assert back.p == seen.p


def test_a_difference_of_shares_is_tested_by_mcnemar() -> None:
    rows = rows_of(YES, a=[1.0] * 12 + [0.0] * 8, b=[1.0] * 2 + [0.0] * 16 + [1.0] * 2)
    seen = column_difference(rows, "a", "b", "v")
    assert seen.mcnemar == McNemar(10, 2)
    assert seen.p == McNemar(10, 2).exact
    assert seen.test == "McNemar"
    assert seen.interval.value == pytest.approx(0.4)
    assert 0.05 < seen.interval.low < 0.2
    assert 0.55 < seen.interval.high < 0.7


def test_shares_of_several_seeds_are_tested_by_triplet() -> None:
    entries = [
        {"system": s, "seed": seed, "id": str(i), "group": "", "v": float(s == "a" and i < 6)}
        for s in "ab" for i in range(20) for seed in (1, 2, 3)
    ]  # fmt: skip
    seen = column_difference(Rows.of(entries, YES), "a", "b", "v", FEW)
    assert seen.mcnemar is None
    assert seen.p == pytest.approx(2 / 2**6)  # six triplets, not eighteen pictures
    assert seen.interval.triplets == 20


def test_two_systems_that_never_differ_may_still() -> None:
    rows = rows_of(YES, a=[1.0, 0.0] * 10, b=[1.0, 0.0] * 10)
    seen = column_difference(rows, "a", "b", "v")
    assert seen.interval.value == 0
    # Bonett and Price: 0 ± 1.96 sqrt((1/22 + 1/22) / 22)
    assert seen.interval.high == pytest.approx(1.959964 * math.sqrt(2 / 22 / 22))
    assert seen.interval.low == -seen.interval.high
    assert seen.p == 1


def test_what_is_not_compared_is_counted_and_nothing_is_no_difference() -> None:
    rows = rows_of(NUMBER, a=[1.0, math.nan, 2.0], b=[0.0, 1.0])
    assert column_difference(rows, "a", "b", "v", FEW).missing == 2
    empty = column_difference(rows_of(NUMBER, a=[math.nan], b=[1.0]), "a", "b", "v")
    assert math.isnan(empty.p)
    assert math.isnan(empty.interval.value)
    endless = column_difference(rows_of(NUMBER, a=[math.inf, 1.0], b=[1.0, 1.0]), "a", "b", "v")
    assert math.isnan(endless.p)
    with pytest.raises(EvaluationError, match="no column 'w'"):
        column_difference(rows, "a", "b", "w")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.5, math.nan, 0.9])
    assert adjusted[0] == adjusted[2] == 1.0
    assert math.isnan(adjusted[1])
    assert holm([]) == []


# --- PickScore, agreement, seeds -----------------------------------------------------------------


def test_probabilities_are_the_softmax_of_two() -> None:
    a, b = np.array([20.0, 21.0, 900.0, 0.0]), np.array([20.0, 20.0, 0.0, 900.0])
    assert probabilities(a, b) == pytest.approx([0.5, math.e / (1 + math.e), 1.0, 0.0])
    assert probabilities(a, b) + probabilities(b, a) == pytest.approx(np.ones(4))


def test_preference_counts_wins_and_ties() -> None:
    rows = rows_of(
        NUMBER, ours=[21.0, 20.0, 19.0, 20.1, math.nan], other=[20.0, 20.0, 20.0, 20.0, 1]
    )
    seen = preference_of(rows, "ours", "other", "v", options=FEW)
    assert (seen.won, seen.tied, seen.lost) == (0.5, 0.25, 0.25)
    assert seen.wins.value == 0.625
    e = math.e / (1 + math.e)
    small = math.exp(0.1) / (1 + math.exp(0.1))
    assert seen.probability.value == pytest.approx((e + 0.5 + 1 - e + small) / 4)
    assert seen.missing == 1
    near = preference_of(rows, "ours", "other", "v", tie=0.05, options=FEW)
    assert (near.won, near.tied, near.lost) == (0.25, 0.5, 0.25)
    back = preference_of(rows, "other", "ours", "v", options=FEW)
    assert back.probability.value == pytest.approx(1 - seen.probability.value)
    assert (back.won, back.lost) == (seen.lost, seen.won)
    with pytest.raises(SettingsError, match="tie"):
        preference_of(rows, "ours", "other", "v", tie=0.6)


def test_rank_correlation_by_hand() -> None:
    a = np.array([1.0, 2, 3, 4, 5])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    # 1 - 6 * (1 + 1 + 0 + 1 + 1) / (5 * 24)
    assert rank_correlation(a, np.array([2.0, 1, 3, 5, 4])) == pytest.approx(0.8)
    # ranks 1.5, 1.5, 3 and 1, 2, 3
    tied = rank_correlation(np.array([1.0, 1, 2]), np.array([1.0, 2, 3]))
    assert tied == pytest.approx(1.5 / math.sqrt(1.5 * 2))
    assert math.isnan(rank_correlation(a, np.ones(5)))
    assert math.isnan(rank_correlation(a[:1], a[:1]))


def test_agreement_turns_columns_so_that_more_is_better() -> None:
    columns = {
        "up": Column("Up"), "down": Column("Down", better="lower"), "yes": Column("Y", binary=True),
        "time": Column("T", better=""),
    }  # fmt: skip
    differences = [0.1, 0.5, -0.3, 0.9, 0.0]
    entries = []
    for i, d in enumerate(differences):
        entries.append({"system": "a", "seed": 1, "id": str(i), "group": "", "up": d, "down": -d,
                        "yes": float(d > 0), "time": 1.0})  # fmt: skip
        entries.append({"system": "b", "seed": 1, "id": str(i), "group": "", "up": 0.0,
                        "down": 0.0, "yes": 0.0 if i else math.nan, "time": 1.0})  # fmt: skip
    seen = agreement_of(Rows.of(entries, columns), "a", "b")
    assert seen.columns == ("up", "down", "yes")
    assert seen.rank[0, 1] == pytest.approx(1)
    assert seen.sign[0, 1] == 1
    assert (seen.items[0, 1], seen.decided[0, 1]) == (5, 4)
    assert (seen.items[0, 2], seen.decided[0, 2]) == (4, 2)
    assert seen.sign[0, 2] == 1
    np.testing.assert_array_equal(seen.rank, seen.rank.T)
    assert agreement_of(Rows.of(entries, columns), "a", "b", ["time"]).columns == ("time",)


def test_seeds_are_told_from_triplets() -> None:
    rng = np.random.default_rng(8)
    entries = []
    for i in range(400):
        own = rng.normal(1e6, 3)
        for seed in (1, 2, 3):
            value = own + rng.normal(0, 1) + 0.5 * (seed == 3)
            entries.append({"system": "a", "seed": seed, "id": str(i), "group": "", "v": value})
    seen = seed_spread(Rows.of(entries, NUMBER), "a", "v")
    assert list(seen.means) == [1, 2, 3]
    assert seen.between_triplets == pytest.approx(3, rel=0.1)
    assert seen.within_triplet == pytest.approx(math.sqrt(1 + 0.25 / 3), rel=0.1)
    assert seen.expected == pytest.approx(seen.within_triplet / 20)
    assert seen.between_seeds == pytest.approx(np.std([0, 0, 0.5], ddof=1), abs=0.1)
    assert seen.between_seeds > 3 * seen.expected  # which tells that seed 3 is another matter


def test_the_spread_of_seeds_by_hand() -> None:
    entries = [
        {"system": "a", "seed": s, "id": id, "group": "", "v": v}
        for id, values in {"x": (1.0, 3.0), "y": (5.0, 9.0)}.items()
        for s, v in enumerate(values)
    ]
    seen = seed_spread(Rows.of(entries, NUMBER), "a", "v")
    assert seen.means == {0: 3.0, 1: 6.0}
    assert seen.within_triplet == pytest.approx(math.sqrt((2 + 8) / 2))
    # mean squares: among 2 (2.5² + 2.5²) = 25, within 5; (25 - 5) / 2
    assert seen.between_triplets == pytest.approx(math.sqrt(10))
    alone = seed_spread(measured(5), "both", "mse")
    assert math.isnan(alone.between_seeds)
    assert math.isnan(alone.within_triplet)
