"""Rows of numbers: nothing changes, is lost or is taken for another; files give back all of it."""

from __future__ import annotations

import builtins
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.rows import Rows
from support.measured import COLUMNS, SYSTEMS, measured, records

ODD = ["a,b", 'say "no"', "two\nlines", "\r", "", "=1+1", "ü \u2028", "end\0", "\udc80", " 1 "]


def row(system: Any = "a", seed: Any = 1, id: Any = "x", **numbers: Any) -> dict[str, Any]:
    return {"system": system, "seed": seed, "id": id, "group": "", **numbers}


def same(one: Rows, other: Rows) -> bool:
    """Down to the bits of the numbers, and NaN in the same places."""
    return (
        list(one.items()) == list(other.items())
        and one.groups.tolist() == other.groups.tolist()
        and list(one.columns) == list(other.columns)
        and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one.columns)
    )


def test_rows_know_their_systems_seeds_and_triplets() -> None:
    rows = measured(4, (2, 1))
    assert len(rows) == 4 * 2 * 3
    assert rows.names == tuple(SYSTEMS)
    assert rows.seed_values == (1, 2)
    assert rows.id_values == tuple(f"{i:06d}_0" for i in range(4))
    assert rows.records() == records(4, (2, 1))
    assert repr(rows).startswith("Rows(24: 3 systems, 2 seeds, 4 triplets, columns clip_score")
    assert len(Rows.of([], COLUMNS)) == 0
    assert Rows.of([], COLUMNS).names == ()


def test_nothing_in_rows_can_be_changed() -> None:
    rows = measured(2)
    for array in (rows.systems, rows.seeds, rows.ids, rows.groups, rows["mse"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(TypeError):
        rows.values["mse"] = rows["mse"]  # type: ignore[index]
    own = np.array([1.0])
    one = Rows(*(np.array([v], object) for v in ("a",)), np.array([1]), np.array(["x"], object),
               np.array([""], object), {"mse": own}, {"mse": COLUMNS["mse"]})  # fmt: skip
    own[0] = 2
    assert one["mse"][0] == 1


def test_select_keeps_the_order_and_says_what_there_is() -> None:
    rows = measured(4, (1, 2))
    assert set(rows.select(system="RASG").systems) == {"RASG"}
    chosen = rows.select(system=("both", "base"), seed=2, group="far")
    assert chosen.names == ("base", "both")
    assert chosen.seed_values == (2,)
    assert chosen.id_values == ("000001_0", "000003_0")
    assert rows.select(id="000001_0").id_values == ("000001_0",)
    for what, value in (("system", "rasg"), ("seed", 3), ("id", "1"), ("group", "")):
        with pytest.raises(EvaluationError, match=f"No row is of {what} {value!r}; there are"):
            rows.select(**{what: value})
    with pytest.raises(EvaluationError, match="no column 'clip'; there are clip_score, accuracy"):
        rows["clip"]


def test_pairs_are_of_the_same_item_whatever_the_order_of_the_rows() -> None:
    rows = measured(5, (1, 2))
    listed = records(5, (1, 2))
    np.random.default_rng(0).shuffle(listed)  # type: ignore[arg-type]
    mixed = Rows.of(listed, COLUMNS)
    for table in (rows, mixed):
        pairs = table.paired("both", "base", "mse")
        assert len(pairs) == 10
        assert not pairs.missing
        for id, seed, a, b in zip(pairs.ids, pairs.seeds, pairs.a, pairs.b, strict=True):
            assert a == table["mse"][table.place(("both", int(seed), id))]
            assert b == table["mse"][table.place(("base", int(seed), id))]
        np.testing.assert_array_equal(pairs.differences, pairs.a - pairs.b)


def test_what_cannot_be_paired_is_named() -> None:
    rows = Rows.of(
        [
            row("a", 1, "both", v=1.0), row("b", 1, "both", v=3.0),
            row("a", 1, "first", v=1.0),
            row("b", 1, "second", v=1.0),
            row("a", 2, "both", v=math.nan), row("b", 2, "both", v=1.0),
            row("a", 1, "none", v=math.nan), row("b", 1, "none", v=math.nan),
        ],
        {"v": Column("V")},
    )  # fmt: skip
    pairs = rows.paired("a", "b", "v")
    assert pairs.ids.tolist() == ["both"]
    assert pairs.differences.tolist() == [-2.0]
    assert pairs.missing == {
        ("first", 1): ("b",),
        ("second", 1): ("a",),
        ("both", 2): ("a",),
        ("none", 1): ("a", "b"),
    }
    assert rows.lacking() == {"a": (("second", 1),), "b": (("first", 1),)}
    with pytest.raises(EvaluationError, match="No row is of system 'c'; there are a, b"):
        rows.paired("a", "c", "v")


def test_two_infinite_numbers_do_not_differ() -> None:
    rows = Rows.of([row("a", v=math.inf), row("b", v=math.inf)], {"v": Column("V")})
    assert rows.paired("a", "b", "v").differences.tolist() == [0.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"system": "a", "seed": 1, "group": ""}], "Row 1 does not say its id."),
        ([row(w=1.0)], "Row 1 has a number 'w', which is none of the columns: v."),
        ([row(v="much")], "Row 1 has 'much' for v, which is no number."),
        ([row(), row(id="y", seed=1.5)], "Row 2 has the seed 1.5; a seed is a whole number"),
        ([row(seed=True)], "Row 1 has the seed True"),
        ([row(seed=2**63)], "Row 1 has the seed 9223372036854775808"),
        ([row(), row()], "Triplet 'x' of system 'a' with seed 1 has two rows."),
    ],
)
def test_what_is_no_row_is_refused(given: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        Rows.of(given, {"v": Column("V")})
    assert str(caught.value).startswith(message)


def test_a_column_cannot_be_called_as_what_names_an_item() -> None:
    with pytest.raises(EvaluationError, match="cannot be named 'seed'"):
        Rows.of([], {"seed": Column("Seed")})


def test_a_number_that_is_not_there_is_nan() -> None:
    rows = Rows.of([row(), row(id="y", v=None), row(id="z", v=2)], {"v": Column("V")})
    assert np.isnan(rows["v"]).tolist() == [True, True, False]


# --- files ---------------------------------------------------------------------------------------


def awkward() -> Rows:
    """Names that a file can stumble over, numbers that lose digits in print."""
    rng = np.random.default_rng(3)
    numbers = [0.1 + 0.2, 1e-320, -0.0, math.inf, -math.inf, math.nan, 1 / 3, 2.0**70, 1e300, 5.0]
    entries = [
        {"system": f"s{name}", "seed": 2**62 + i, "id": name, "group": name[::-1],
         "first": numbers[i], "second": float(rng.normal())}
        for i, name in enumerate(ODD)
    ]  # fmt: skip
    return Rows.of(entries, {"first": Column("First"), "second": Column("Second", digits=5)})


def test_csv_gives_back_every_bit(tmp_path: Path) -> None:
    for rows in (measured(5, (1, 2)), awkward(), Rows.of([], COLUMNS)):
        path = rows.to_csv(tmp_path / "rows.csv")
        again = Rows.from_csv(path, rows.columns)
        assert same(again, rows)
        assert again.columns == rows.columns
        assert np.signbit(again["first"][2]) if "first" in again.columns else True
    assert sorted(tmp_path.iterdir()) == [tmp_path / "rows.csv"]


def test_csv_of_unknown_columns_shows_them_by_name(tmp_path: Path) -> None:
    path = measured(2).to_csv(tmp_path / "rows.csv")
    columns = Rows.from_csv(path).columns
    assert columns["clip_score"] == Column("clip_score", better="")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no table of rows: it has no column 'system'"),
        ("system,seed,id\n", "is no table of rows: it has no column 'group'"),
        ("system,seed,id,group,v,v\n", "has two columns 'v'"),
        ("system,seed,id,group,v\na,1,x,g,1\na,1,y\n", "line 3: 3 cells under 5 headings"),
        ("system,seed,id,group,v\na,1,x,g,soon\n", "Row 1 has 'soon' for v"),
        ("system,seed,id,group,v\na,one,x,g,1\n", "Row 1 has the seed 'one'"),
        ('system,seed,id,group,v\na,1,"x,g,1\n', "is no table of rows: "),
    ],
)
def test_csv_that_is_no_table_of_rows_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError) as caught:
        Rows.from_csv(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"system,seed,id,group\n\xff\xfe,1,x,g\n")
    with pytest.raises(EvaluationError, match="is no table of rows"):
        Rows.from_csv(path)


def test_parquet_gives_back_every_bit_and_the_columns(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    plain = Rows.of([r for r in awkward().records() if r["id"] != "\udc80"], awkward().columns)
    for rows in (measured(5, (1, 2)), plain):
        path = rows.to_parquet(tmp_path / "rows.parquet")
        again = Rows.from_parquet(path)
        assert same(again, rows)
        assert again.columns == rows.columns
    assert Rows.from_parquet(path, {"first": Column("Other")}).columns["first"].title == "Other"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(EvaluationError, match="is no table of rows"):
        Rows.from_parquet(path)


def test_a_frame_has_all_columns() -> None:
    pandas = pytest.importorskip("pandas")
    rows = measured(3)
    frame = rows.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame) == ["system", "seed", "id", "group", *COLUMNS]
    assert frame["clip_score"].tolist() == rows["clip_score"].tolist()
    frame.loc[0, "clip_score"] = 0.0  # its own copy
    assert rows["clip_score"][0] != 0


def test_without_the_optional_packages_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in {"pandas", "pyarrow"}:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in [n for n in sys.modules if n.partition(".")[0] in {"pandas", "pyarrow"}]:
        monkeypatch.delitem(sys.modules, name)
    rows = measured(1)
    with pytest.raises(EvaluationError, match="needs pandas, which is not installed"):
        rows.to_frame()
    for call in (rows.to_parquet, Rows.from_parquet):
        with pytest.raises(EvaluationError, match="Parquet needs pyarrow, which is not installed"):
            call(tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())
