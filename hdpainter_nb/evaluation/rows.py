"""What was measured of each picture: one row for each system, seed and triplet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.system import SECONDS
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Item", "Paired", "Rows"]

Item = tuple[str, int, str]
"""System, seed and id of a triplet: what one picture is known by."""

_KEYS = ("system", "seed", "id", "group")


@dataclass(frozen=True, eq=False)
class Paired:
    """A number of the same items under two systems.

    Attributes:
        first, second: names of the systems.
        ids, seeds: (n,), of the items for which both have a number, in the first one's order.
        a, b: (n,) float64, the numbers.
        missing: (id, seed) of every other item of either -> the systems that have no number for it.
    """

    first: str
    second: str
    ids: NDArray[np.object_]
    seeds: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    missing: Mapping[tuple[str, int], tuple[str, ...]]

    @property
    def differences(self) -> NDArray[np.float64]:
        """(n,): the first one's number less the second one's; 0 where both are infinite alike."""
        with np.errstate(invalid="ignore"):
            return np.where(self.a == self.b, 0.0, self.a - self.b)

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of numbers, held column by column; nothing in it changes.

    Attributes:
        systems: (n,) names.
        seeds: (n,) int64.
        ids: (n,) of triplets.
        groups: (n,) strata of the triplets.
        values: (n,) float64 for each column; NaN where there is no number.
        columns: how tables show each.
    """

    systems: NDArray[np.object_]
    seeds: NDArray[np.int64]
    ids: NDArray[np.object_]
    groups: NDArray[np.object_]
    values: Mapping[str, NDArray[np.float64]]
    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        arrays = {name: getattr(self, f"{name}s") for name in _KEYS}
        for name, array in arrays.items():
            object.__setattr__(self, f"{name}s", _fixed(array))
        values = {name: _fixed(self.values[name]) for name in self.columns}
        object.__setattr__(self, "values", MappingProxyType(values))
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        lengths = {len(array) for array in (*arrays.values(), *values.values())}
        if len(lengths) > 1:
            raise EvaluationError(f"The columns of rows have different lengths: {sorted(lengths)}.")
        if len(self._places) < len(self):
            twice = next(item for item, count in _counts(self.items()).items() if count > 1)
            raise EvaluationError(
                f"Triplet {twice[2]!r} of system {twice[0]!r} with seed {twice[1]} has two rows."
            )

    @classmethod
    @checked(leaves=("rows",))
    def of(cls, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Column]) -> Self:
        """Rows from mappings with the keys ``system``, ``seed``, ``id``, ``group`` and columns.

        Args:
            rows: a column that a mapping lacks, or None, is NaN there.
            columns: every other key of the mappings, and how tables show it.

        Raises:
            EvaluationError: a key is missing or unknown, a value is no number, an item is there
                twice.
        """
        taken = [name for name in columns if name in _KEYS]
        if taken:
            raise EvaluationError(f"A column cannot be named {taken[0]!r}; that names the item.")
        keys: list[tuple[Any, ...]] = []
        numbers: list[list[float]] = []
        for place, row in enumerate(rows, 1):
            lacking = [name for name in _KEYS if name not in row]
            if lacking:
                raise EvaluationError(f"Row {place} does not say its {lacking[0]}.")
            unknown = [name for name in row if name not in columns and name not in _KEYS]
            if unknown:
                raise EvaluationError(
                    f"Row {place} has a number {unknown[0]!r}, which is none of the columns: "
                    f"{', '.join(columns)}."
                )
            keys.append((str(row["system"]), _seed(row["seed"], place), str(row["id"]),
                         str(row["group"])))  # fmt: skip
            numbers.append([_number(row.get(name), name, place) for name in columns])
        table = np.array(numbers, np.float64).reshape(len(numbers), len(columns))
        systems, seeds, ids, groups = zip(*keys, strict=True) if keys else ((), (), (), ())
        return cls(
            _texts(systems),
            np.array(seeds, np.int64),
            _texts(ids),
            _texts(groups),
            {name: table[:, place] for place, name in enumerate(columns)},
            columns,
        )

    # --- looking ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.systems)

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """(n,) float64, read-only.

        Raises:
            EvaluationError: no such column.
        """
        if column not in self.values:
            raise EvaluationError(
                f"There is no column {column!r}; there are {', '.join(self.columns) or 'none'}."
            )
        return self.values[column]

    def __repr__(self) -> str:
        return (
            f"Rows({len(self)}: {len(self.names)} systems, {len(self.seed_values)} seeds, "
            f"{len(self.id_values)} triplets, columns {', '.join(self.columns) or 'none'})"
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The systems, in the order in which they first come."""
        return tuple(dict.fromkeys(self.systems))

    @cached_property
    def seed_values(self) -> tuple[int, ...]:
        """The seeds, in ascending order."""
        return tuple(int(seed) for seed in np.unique(self.seeds))

    @cached_property
    def id_values(self) -> tuple[str, ...]:
        """The triplets, in the order in which they first come."""
        return tuple(dict.fromkeys(self.ids))

    @property
    def judging(self) -> tuple[str, ...]:
        """The columns that tell better pictures from worse ones, which what they cost does not."""
        return tuple(n for n, c in self.columns.items() if c.better and c != SECONDS)

    def items(self) -> Iterator[Item]:
        """System, seed and id of each row."""
        return zip(self.systems, map(int, self.seeds), self.ids, strict=True)

    def records(self) -> list[dict[str, Any]]:
        """The rows as mappings, as `of` takes them."""
        names = (*_KEYS, *self.columns)
        arrays = (self.systems, self.seeds.tolist(), self.ids, self.groups,
                  *(array.tolist() for array in self.values.values()))  # fmt: skip
        return [dict(zip(names, row, strict=True)) for row in zip(*arrays, strict=True)]

    def places_of(self, system: str) -> NDArray[np.int64]:
        """The numbers of one system's rows.

        Raises:
            EvaluationError: it has none.
        """
        if system not in self._systems:
            raise EvaluationError(
                f"No row is of system {system!r}; there are {', '.join(self.names) or 'none'}."
            )
        return self._systems[system]

    def place(self, item: Item) -> int | None:
        """The number of an item's row, or None where it has none."""
        return self._places.get(item)

    def select(
        self,
        *,
        system: str | Sequence[str] | None = None,
        seed: int | Sequence[int] | None = None,
        id: str | Sequence[str] | None = None,
        group: str | Sequence[str] | None = None,
    ) -> Rows:
        """The rows of some systems, seeds, triplets or groups, in their order.

        Raises:
            EvaluationError: one of them is in no row at all.
        """
        inside = np.ones(len(self), bool)
        asked = (("system", system), ("seed", seed), ("id", id), ("group", group))
        for name, wanted in asked:
            if wanted is None:
                continue
            chosen = [wanted] if isinstance(wanted, str | int | np.integer) else list(wanted)
            array = getattr(self, f"{name}s")
            known = set(array.tolist())
            for value in chosen:
                if value not in known:
                    some = ", ".join(map(repr, sorted(known)[:8]))
                    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
                    raise EvaluationError(
                        f"No row is of {name} {value!r}; there are {some or 'none'}{more}."
                    )
            wanted_set = set(chosen)
            inside &= np.fromiter((v in wanted_set for v in array.tolist()), bool, len(self))
        return Rows(
            self.systems[inside],
            self.seeds[inside],
            self.ids[inside],
            self.groups[inside],
            {name: array[inside] for name, array in self.values.items()},
            self.columns,
        )

    def paired(self, first: str, second: str, column: str) -> Paired:
        """A column of two systems, the same triplet and seed beside each other.

        Raises:
            EvaluationError: no such system or column.
        """
        values = self[column]
        tables: list[dict[tuple[str, int], float]] = []
        for name in (first, second):
            own = self.places_of(name)
            keys = zip(self.ids[own], self.seeds[own].tolist(), strict=True)
            tables.append(dict(zip(keys, values[own].tolist(), strict=True)))
        one, other = tables
        both: list[tuple[str, int]] = []
        missing: dict[tuple[str, int], tuple[str, ...]] = {}
        for key in dict.fromkeys((*one, *other)):
            lacking = [
                name
                for name, table in ((first, one), (second, other))
                if math.isnan(table.get(key, math.nan))
            ]
            if lacking:
                missing[key] = tuple(lacking)
            else:
                both.append(key)
        return Paired(
            first,
            second,
            _texts(id for id, _ in both),
            np.array([seed for _, seed in both], np.int64),
            np.array([one[key] for key in both], np.float64),
            np.array([other[key] for key in both], np.float64),
            MappingProxyType(missing),
        )

    def lacking(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """For each system the (id, seed) that another one has a row for and it has not."""
        everything = dict.fromkeys(zip(self.ids, map(int, self.seeds), strict=True))
        return {
            name: tuple((id, s) for id, s in everything if (name, s, id) not in self._places)
            for name in self.names
        }

    # --- files -----------------------------------------------------------------------------------

    @checked
    def to_csv(self, path: str | Path) -> Path:
        """Write all rows as comma-separated values, whole or not at all.

        Numbers are written so that they are read back exactly; an empty cell is NaN.

        Raises:
            OSError: it cannot be written.
        """
        with (
            replacing(path) as part,
            part.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file,
        ):
            writer = csv.writer(file)  # lines end with \r\n, so that a \r in a name is quoted
            writer.writerow((*_KEYS, *self.columns))
            columns = list(self.values.values())
            for place, (system, seed, id) in enumerate(self.items()):
                numbers = (_written(float(column[place])) for column in columns)
                writer.writerow((system, seed, id, self.groups[place], *numbers))
        return Path(path)

    @classmethod
    @checked
    def from_csv(cls, path: str | Path, columns: Mapping[str, Column] | None = None) -> Self:
        """Read what `to_csv` wrote, or any table with the same headings.

        Args:
            path: of the file.
            columns: how tables show the numbers; a heading that is not among them is shown under
                its own name.

        Raises:
            EvaluationError: it is no such table; the message says in which line.
            OSError: it cannot be read.
        """
        with Path(path).open(encoding="utf-8", errors="surrogatepass", newline="") as file:
            try:
                reader = csv.reader(file, strict=True)
                headings = next(reader, [])
                _check_headings(headings, path)
                rows = []
                for cells in reader:
                    if len(cells) != len(headings):
                        raise EvaluationError(
                            f"{path}, line {reader.line_num}: {len(cells)} cells under "
                            f"{len(headings)} headings."
                        )
                    rows.append(dict(zip(headings, cells, strict=True)))
            except (csv.Error, UnicodeDecodeError) as error:
                raise EvaluationError(f"{path} is no table of rows: {error}.") from error
        try:
            return cls.of(rows, _columns(headings, columns))
        except EvaluationError as error:
            raise EvaluationError(f"{path}: {error}") from error

    @checked
    def to_parquet(self, path: str | Path) -> Path:
        """Write all rows as Parquet, with what is known of the columns.

        Raises:
            EvaluationError: pyarrow is not installed.
            OSError: it cannot be written.
        """
        arrow, parquet = _pyarrow()
        keys = {
            "system": arrow.array(self.systems.tolist(), arrow.string()),
            "seed": arrow.array(self.seeds),
            "id": arrow.array(self.ids.tolist(), arrow.string()),
            "group": arrow.array(self.groups.tolist(), arrow.string()),
        }
        about = json.dumps({name: asdict(column) for name, column in self.columns.items()})
        table = arrow.table(
            {**keys, **self.values}, metadata={b"hdpainter_nb.columns": about.encode()}
        )
        with replacing(path) as part:
            parquet.write_table(table, part)
        return Path(path)

    @classmethod
    @checked
    def from_parquet(cls, path: str | Path, columns: Mapping[str, Column] | None = None) -> Self:
        """Read what `to_parquet` wrote; `columns` as for `from_csv`, before what the file says.

        Raises:
            EvaluationError: pyarrow is not installed, or it is no such table.
            OSError: it cannot be read.
        """
        arrow, parquet = _pyarrow()
        with Path(path).open("rb") as file:
            try:
                table = parquet.read_table(file)
            except arrow.ArrowException as error:
                raise EvaluationError(f"{path} is no table of rows: {error}.") from error
        _check_headings(table.column_names, path)
        about = json.loads((table.schema.metadata or {}).get(b"hdpainter_nb.columns", b"{}"))
        said = {name: Column(**entry) for name, entry in about.items()}
        return cls.of(table.to_pylist(), _columns(table.column_names, {**said, **(columns or {})}))

    def to_frame(self) -> pd.DataFrame:
        """All rows as a pandas data frame.

        Raises:
            EvaluationError: pandas is not installed.
        """
        return frame_of(
            {
                "system": self.systems,
                "seed": self.seeds,
                "id": self.ids,
                "group": self.groups,
                **self.values,
            }
        )

    @cached_property
    def _systems(self) -> dict[str, NDArray[np.int64]]:
        return {name: np.flatnonzero(self.systems == name) for name in self.names}

    @cached_property
    def _places(self) -> dict[Item, int]:
        return {item: place for place, item in enumerate(self.items())}


def frame_of(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Columns as a pandas data frame.

    Raises:
        EvaluationError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise EvaluationError(
            "A data frame needs pandas, which is not installed: `pip install pandas`. "
            "CSV, Markdown and LaTeX need nothing."
        ) from error
    return pd.DataFrame({name: np.array(column) for name, column in columns.items()})


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise EvaluationError(
            "Parquet needs pyarrow, which is not installed: `pip install pyarrow`. "
            "CSV needs nothing and holds the same numbers."
        ) from error
    return pyarrow, pyarrow.parquet


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.setflags(write=False)
    return array


def _texts(values: Iterable[str]) -> NDArray[np.object_]:
    # As objects: NumPy's own texts lose a zero at their end.
    listed = list(values)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array


def _counts(items: Iterable[Item]) -> dict[Item, int]:
    counts: dict[Item, int] = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return counts


def _seed(value: Any, place: int) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(np.int64(int(value)))
    except (ValueError, TypeError, OverflowError):
        raise EvaluationError(
            f"Row {place} has the seed {value!r}; a seed is a whole number below 2**63."
        ) from None


def _number(value: Any, column: str, place: int) -> float:
    if value is None or (isinstance(value, str) and not value):
        return math.nan
    try:
        return float(value)
    except (ValueError, TypeError):
        raise EvaluationError(
            f"Row {place} has {value!r} for {column}, which is no number."
        ) from None


def _written(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _check_headings(headings: Sequence[str], path: str | Path) -> None:
    lacking = [name for name in _KEYS if name not in headings]
    if lacking:
        raise EvaluationError(f"{path} is no table of rows: it has no column {lacking[0]!r}.")
    if len(set(headings)) < len(headings):
        twice = next(name for name in headings if list(headings).count(name) > 1)
        raise EvaluationError(f"{path} has two columns {twice!r}.")


def _columns(headings: Iterable[str], columns: Mapping[str, Column] | None) -> dict[str, Column]:
    known = columns or {}
    return {
        name: known.get(name, Column(name, better="")) for name in headings if name not in _KEYS
    }
