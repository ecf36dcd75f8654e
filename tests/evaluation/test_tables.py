"""Tables: what is in bold, how numbers are rounded, and that no name becomes markup."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.result_table import (
    Cell,
    ResultTable,
    heading,
    rounded,
    rounded_p,
)
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap, column_interval
from hdpainter_nb.evaluation.statistics.paired import column_difference
from hdpainter_nb.evaluation.statistics.power import triplets_for_mean
from hdpainter_nb.evaluation.tables import (
    Preferred,
    ablation_table,
    agreement_table,
    groups_table,
    power_table,
    preference_table,
    seeds_table,
    switches_table,
    systems_table,
)
from support.measured import COLUMNS, measured, records

FEW = Bootstrap(resamples=300)
HOSTILE = '<b>50%</b> | a_b & $x$ `c` *d* [e](f) \\ {g} #1 ~ ^ "h"\n\x00\''


def cell(table: ResultTable, row: str, key: str) -> Cell:
    return next(r for r in table.rows if r[0].text == row)[table.keys.index(key)]


class Texts(HTMLParser):
    """The tags of some HTML, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


# --- cells ---------------------------------------------------------------------------------------


def test_numbers_are_rounded_as_their_column_says() -> None:
    share, score = Column("A", binary=True, digits=1), Column("S", digits=3)
    assert rounded(0.6825, share) == "68.2"  # a share is in percent, said so or not
    assert rounded(0.6825, Column("A", binary=True, digits=1, scale=100)) == "68.2"
    assert rounded(25.12345, score) == "25.123"
    assert rounded(-1.5, score) == "−1.500"
    assert rounded(1.5, score, signed=True) == "+1.500"
    assert rounded(-0.0001, score) == rounded(0.0001, score, signed=True) == "0.000"
    assert rounded(math.nan, score) == "–"
    assert rounded(-math.inf, score) == "−∞"
    assert rounded(math.inf, score, signed=True) == "+∞"
    assert rounded_p(0.0004) == "p < 0.001"
    assert rounded_p(0.0123) == "p = 0.012"
    assert rounded_p(math.nan) == "p –"
    assert heading(share) == "A % ↑"
    assert heading(Column("PSNR dB", better="lower")) == "PSNR dB ↓"
    assert heading(Column("Share %", binary=True, better="")) == "Share %"


def odd_table() -> ResultTable:
    return ResultTable(
        HOSTILE,
        ("system", "v"),
        (HOSTILE, "V % ↑"),
        (
            (Cell(HOSTILE), Cell("1.00 ± 0.10", ("+0.10 [−0.2, +0.4]", "p = 0.012*"), best=True,
                                 note=HOSTILE, numbers={"": 1.0, "low": 0.9})),
            (Cell("[x]"), Cell("–")),
        ),
        (HOSTILE, "# no heading"),
    )  # fmt: skip


def test_no_name_becomes_html() -> None:
    text = odd_table()._repr_html_()
    page = Texts(text)
    assert page.tags <= {
        "div", "style", "table", "caption", "thead", "tbody", "tr", "th", "td", "small", "b", "p",
    }  # fmt: skip
    assert text.count("<b>") == 1
    assert page.text.count("<b>50%</b>") == 4


def test_no_name_becomes_markdown() -> None:
    text = odd_table().to_markdown()
    assert "\x00" not in text
    for line in text.splitlines():
        bare = re.sub(r"\\.", "", line)
        if line.startswith("|"):
            assert bare.count("|") == 3
        assert "<b>" not in line
        assert "`" not in bare
        assert "$" not in bare
        assert "](" not in bare
        assert not line.startswith("#")
    assert "| **1.00 ± 0.10** (+0.10 [−0.2, +0.4], p = 0.012\\*) |" in text


def test_no_name_becomes_latex() -> None:
    text = odd_table().to_latex("tab:a b}")
    assert r"\label{tab:a-b-}" in text
    body = "\n".join(text.splitlines()[1:])
    assert "\x00" not in body
    # Every special sign is escaped, or the table's own.
    bare = re.sub(r"\\(begin|end|caption|label|multicolumn|textbf|small|footnotesize|par|smallskip|"
                  r"toprule|midrule|bottomrule|centering|text[a-z]+|pm|uparrow|\\|[{}$&#%_])",
                  "", body)  # fmt: skip
    assert not set(bare) & set('%#_^~<>|"\\`')
    assert r"\textless{}b\textgreater{}50\%\textless{}/b\textgreater{}" in body
    assert r"\multicolumn{2}{c}{V \% $\uparrow$}" in body
    assert r"\textbf{1.00 $\pm$ 0.10} & {\small +0.10 [$-$0.2, +0.4], p = 0.012*} \\" in body
    assert "\n{}[x] & -- &  \\\\" in body  # not an argument of the line before
    for line in body.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 2
    assert r"\begin{tabular}{lrl}" in body


def test_text_is_aligned() -> None:
    lines = str(systems_table(measured(6), options=FEW)).splitlines()
    assert lines[0].startswith("Means with")
    assert {len(line) for line in lines[1:6]} == {len(lines[1])}
    assert repr(odd_table()).splitlines()[1].startswith("<b>")


# --- Table 1 -------------------------------------------------------------------------------------


def test_table_1_has_means_intervals_and_the_best_in_bold() -> None:
    rows = measured(30)
    table = systems_table(rows, options=FEW)
    assert table.keys == ("system", *COLUMNS, "n")
    assert table.headings == (
        "System", "CLIP score ↑", "Accuracy % ↑", "MSE ↓", "Seconds", "n",
    )  # fmt: skip
    assert [row[0].text for row in table.rows] == list(rows.names)
    for name in rows.names:
        for key in COLUMNS:
            interval = column_interval(rows, name, key, FEW)
            scale = 100 if key == "accuracy" else 1
            shown = cell(table, name, key)
            assert shown.number() == pytest.approx(scale * interval.value)
            assert shown.number("low") == pytest.approx(scale * interval.low)
            assert shown.text.startswith(rounded(interval.value, COLUMNS[key]) + " ± ")
        assert cell(table, name, "n").text == "30"
    assert [cell(table, name, "clip_score").best for name in rows.names] == [False, False, True]
    assert [cell(table, name, "mse").best for name in rows.names] == [False, False, True]
    assert not any(cell(table, name, "seconds").best for name in rows.names)


def test_what_is_shown_alike_is_equally_good() -> None:
    rows = Rows.of(
        [{"system": s, "seed": 1, "id": "x", "group": "", "v": v, "w": 1.0}
         for s, v in (("a", 1.001), ("b", 1.004), ("c", 0.5))],
        {"v": Column("V"), "w": Column("W")},
    )  # fmt: skip
    table = systems_table(rows)
    assert [row[1].best for row in table.rows] == [True, True, False]
    assert not any(row[2].best for row in table.rows)  # all are the same: none is better
    assert [row[1].text for row in table.rows] == ["1.00", "1.00", "0.50"]  # one has no interval


def test_the_means_say_what_they_lack() -> None:
    listed = [r for r in records(5) if (r["system"], r["id"]) != ("RASG", "000002_0")]
    listed[0]["mse"] = math.nan
    table = systems_table(Rows.of(listed, COLUMNS), options=FEW)
    assert table.notes == (
        "RASG lacks 1 picture that others have: 000002_0 (seed 1).",
        "MSE: 1 of 5 pictures of base have no number.",
    )
    assert cell(table, "RASG", "n").text == "4"


def test_table_1_as_the_paper_has_pickscore() -> None:
    entries = [
        {"system": s, "seed": 1, "id": str(i), "group": "", "pickscore": 20 + d * i}
        for s, d in (("ours", 0.1), ("other", 0.0)) for i in range(5)
    ]  # fmt: skip
    rows = Rows.of(entries, {"pickscore": Column("PickScore")})
    table = systems_table(rows, preferred=Preferred(ours="ours"), options=FEW)
    assert table.headings[1] == "ours preferred %"
    assert cell(table, "ours", "pickscore").text == "50.0"
    expected = np.mean([100 / (1 + math.exp(-0.1 * i)) for i in range(5)])
    assert cell(table, "other", "pickscore").number() == pytest.approx(expected)
    wins = systems_table(rows, preferred=Preferred(ours="ours", kind="wins"), options=FEW)
    assert cell(wins, "other", "pickscore").number() == 90  # the first is a tie
    with pytest.raises(SettingsError, match="kind"):
        Preferred(ours="ours", kind="mean")  # type: ignore[arg-type]
    both = preference_table(rows, "ours", options=FEW)
    assert [row[0].text for row in both.rows] == ["other"]
    assert cell(both, "other", "probability").number() == pytest.approx(expected)
    assert [cell(both, "other", key).text for key in ("won", "tied", "lost")] == [
        "80.0 %", "20.0 %", "0.0 %",
    ]  # fmt: skip


# --- Table 2 and the others ----------------------------------------------------------------------


def test_table_2_has_paired_differences_to_the_base() -> None:
    rows = measured(30)
    table = ablation_table(rows, "base", options=FEW)
    assert not cell(table, "base", "clip_score").details
    for name in ("RASG", "both"):
        for key, column in COLUMNS.items():
            seen = column_difference(rows, name, "base", key, FEW)
            shown = cell(table, name, key)
            low, high = (rounded(v, column, signed=True)
                         for v in (seen.interval.low, seen.interval.high))  # fmt: skip
            apart = rounded(seen.interval.value, column, signed=True)
            assert shown.details[0] == f"{apart} [{low}, {high}]"
            assert shown.details[1].rstrip("*") == rounded_p(seen.p)
            assert shown.number("p") == seen.p
            assert shown.number("p_holm") >= seen.p
            assert shown.details[1].endswith("*") == (shown.number("p_holm") < 0.05)
    assert "McNemar or sign flips" in table.notes[0]
    assert "all 8 of them" in table.notes[0]
    narrow = ablation_table(rows, "RASG", systems=["both"], columns=["mse"], options=FEW)
    assert [row[0].text for row in narrow.rows] == ["RASG", "both"]
    assert narrow.keys == ("system", "mse", "n")
    with pytest.raises(EvaluationError, match="No row is of system 'none'"):
        ablation_table(rows, "none", options=FEW)
    with pytest.raises(EvaluationError, match="no column 'none'"):
        systems_table(rows, columns=["none"], options=FEW)
    with pytest.raises(EvaluationError, match="no column 'none'"):
        ablation_table(rows, "base", columns=["none"], options=FEW)


def test_records_and_the_frame_hold_every_number() -> None:
    table = ablation_table(measured(10), "base", options=FEW)
    first, second, _ = table.records()
    assert first["system"] == "base"
    assert {"clip_score", "clip_score_low", "clip_score_high", "n"} <= set(first)
    assert {"mse_difference", "mse_difference_low", "mse_p", "mse_p_holm"} <= set(second)
    pandas = pytest.importorskip("pandas")
    frame = table.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["system"].tolist() == ["base", "RASG", "both"]
    assert math.isnan(frame["mse_p"][0])
    assert frame["mse_p"][1] == second["mse_p"]
    assert frame["clip_score"].dtype == float


def test_switches_say_how_far_each_moves_a_number() -> None:
    rows = measured(20)
    moved = Rows.of([{**r, "mse": r["mse"] + 2} for r in rows.records()], COLUMNS)
    seeds = measured(20, (1, 2, 3))
    fewer = Rows.of(
        [{k: v for k, v in r.items() if k != "accuracy"} for r in rows.records()],
        {k: c for k, c in COLUMNS.items() if k != "accuracy"},
    )
    variants = {"official": rows, "mse + 2": moved, "three seeds": seeds, "no detector": fewer}
    table = switches_table(variants, "both", options=FEW)
    assert [row[0].text for row in table.rows] == list(variants)
    assert not cell(table, "official", "mse").details
    assert cell(table, "mse + 2", "mse").details == ("+2.0 [+2.0, +2.0]",)
    assert cell(table, "mse + 2", "clip_score").number("difference") == 0
    assert cell(table, "no detector", "accuracy").text == "–"
    assert cell(table, "three seeds", "clip_score").number() == pytest.approx(
        float(seeds.select(system="both")["clip_score"].mean())
    )
    assert cell(table, "three seeds", "clip_score").number("difference") != 0
    assert cell(table, "three seeds", "triplets").text == "20"
    other = switches_table(variants, "both", reference="mse + 2", options=FEW)
    assert cell(other, "official", "mse").details == ("−2.0 [−2.0, −2.0]",)
    for wrong in ({}, variants):
        with pytest.raises(SettingsError, match="reference"):
            switches_table(wrong, "both", reference="none")


def test_groups_have_their_own_means() -> None:
    rows = measured(10)
    table = groups_table(rows, "clip_score", options=FEW)
    assert table.headings == ("System", "far (5)", "near (5)")
    far = rows.select(group="far", system="both")["clip_score"].mean()
    assert cell(table, "both", "group_far").number() == pytest.approx(float(far))
    with pytest.raises(EvaluationError, match="no column"):
        groups_table(rows, "none")


def test_agreement_power_and_seeds_as_tables() -> None:
    rows = measured(30, (1, 2))
    agreement = agreement_table(rows, "both", "base")
    assert agreement.keys == ("column", "clip_score", "accuracy", "mse")
    assert cell(agreement, "CLIP score", "clip_score").text == ""
    assert cell(agreement, "CLIP score", "mse").number() == pytest.approx(
        cell(agreement, "MSE", "clip_score").number()
    )
    assert re.fullmatch(r"\d+% of 60", cell(agreement, "CLIP score", "mse").details[0])
    power = power_table(rows, "both", "base")
    row = cell(power, "MSE ↓", "needed")
    pairs = rows.paired("both", "base", "mse")
    means = pairs.differences.reshape(30, 2).mean(1)
    needed = triplets_for_mean(float(means.mean()), float(means.std(ddof=1)))
    assert row.text == str(needed)
    seconds = cell(power, "Seconds", "spread")
    assert seconds.text == "0.00 sd"
    seeds = seeds_table(rows)
    assert cell(seeds, "base", "clip_score").number("expected") > 0
    assert seeds_table(measured(4)).rows[0][1].text == "–"
