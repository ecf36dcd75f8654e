"""Scores the pictures of a run: whatever has no number yet, or another picture's."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import Metric, PaintedTriplet
from hdpainter_nb.evaluation.painting import framed_triplet
from hdpainter_nb.evaluation.run import Run, read_painting
from hdpainter_nb.evaluation.triplet import FramedTriplet, TripletSet
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import replacing

__all__ = ["columns_of", "rows_of", "score_all"]

_AT_ONCE = 16  # pictures in one call of a metric


@checked
def score_all(
    run: Run,
    triplets: TripletSet,
    metrics: Sequence[Metric],
    *,
    systems: Sequence[str] | None = None,
    progress: bool = False,
) -> int:
    """Score every picture of a run by every metric; gives how many numbers are new.

    A call that was stopped goes on where it was; a metric whose settings are others than last
    time begins anew, and a picture that was painted anew is scored anew.

    Args:
        run: with pictures.
        triplets: of the run.
        metrics: to score by.
        systems: their names; None: all of the run.
        progress: show a bar.

    Raises:
        EvaluationError: there are no pictures; a metric's weights or package are missing.
    """
    from tqdm.auto import tqdm

    # The run's file and its folders are read once, not for each picture: there may be thousands.
    chosen = run.systems if systems is None else list(systems)
    protocol, ids = run.protocol, run.ids
    painted = {(s, seed): run.painted(s, seed, ids) for s in chosen for seed in protocol.seeds}
    if not any(painted.values()):
        raise EvaluationError(f"{str(run.folder)!r} has no pictures of {', '.join(chosen)} yet.")
    total, new = len(metrics) * sum(map(len, painted.values())), 0
    with tqdm(total=total, unit="picture", disable=not progress) as bar:
        for metric, (system, seed) in itertools.product(metrics, painted):
            with run.locked(f"{metric.name}, {system}, seed {seed}"):
                paths = {id: run.picture_path(system, seed, id) for id in painted[system, seed]}
                table = _ScoreFile(score_path(run, metric.name, system, seed), metric, paths)
                bar.set_postfix_str(f"{metric.name} of {system}", refresh=False)
                bar.update(table.known)
                for group in table.due():
                    given = [
                        _painted(framed_triplet(triplets, id, protocol), paths[id]) for id in group
                    ]
                    table.add(group, metric.score(given))
                    bar.update(len(group))
                    new += len(group)
    return new


def _painted(triplet: FramedTriplet, path: Path) -> PaintedTriplet:
    picture = read_painting(path).picture
    if picture.shape != triplet.image.shape:
        raise EvaluationError(
            f"The result {str(path)!r} has {picture.shape[1]}x{picture.shape[0]} px, and its "
            f"triplet {triplet.image.shape[1]}x{triplet.image.shape[0]}: delete it."
        )
    return PaintedTriplet(triplet, picture)


class _ScoreFile:
    """The numbers of one metric for one system under one seed: a line for each picture.

    The first line says what decided them. A line that was cut off by an end in the middle of it is
    not counted, and its picture is scored again.

    Args:
        path: of the file.
        metric: whose numbers they are.
        pictures: that are there: id -> file.
    """

    def __init__(self, path: Path, metric: Metric, pictures: Mapping[str, Path]) -> None:
        self._path = path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: dataclasses.asdict(column) for name, column in metric.columns.items()}
        head = {"metric": metric.name, "settings": dict(metric.settings), "columns": columns}
        self._head = json.loads(json.dumps(head))
        head, rows = _read(self._path)
        self._stamps = {id: _stamp(picture) for id, picture in pictures.items()}
        kept = {
            id: row
            for id, row in rows.items()
            if head == self._head and row.get("stamp") == self._stamps.get(id)
        }
        self.known = len(kept)
        self._due = [id for id in pictures if id not in kept]
        # Written anew as a whole, so that nothing half written or out of date is left in it.
        with replacing(self._path) as part:
            lines = [self._head, *kept.values()]
            part.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    def due(self) -> Iterator[list[str]]:
        for start in range(0, len(self._due), _AT_ONCE):
            yield self._due[start : start + _AT_ONCE]

    def add(self, ids: Sequence[str], scores: Sequence[Mapping[str, float]]) -> None:
        lines = []
        for id, numbers in zip(ids, scores, strict=True):
            values = {name: _written(value) for name, value in numbers.items()}
            lines.append({"id": id, "stamp": self._stamps[id], "values": values})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
        except OSError as error:
            raise EvaluationError(
                f"{str(self._path)!r} cannot be written ({error.strerror}): make room and start "
                "again; what is there stays."
            ) from error


def score_path(run: Run, metric: str, system: str, seed: int) -> Path:
    """Where the numbers of one metric for one system under one seed lie."""
    return run.folder / "scores" / metric / f"{system}-seed-{seed}.jsonl"


def _written(value: float) -> float | None:
    return None if math.isnan(value) else float(value)  # JSON has no NaN


def _stamp(path: Path) -> str:
    """Which file a number is of; cheaper than its contents."""
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


def _read(path: Path) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The first line, and the whole ones after it by id."""
    if not path.is_file():
        return None, {}
    head, rows = None, {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines()):
        try:
            row = json.loads(line)
            if number == 0:
                head = row
            elif isinstance(row["values"], dict):
                rows[str(row["id"])] = row
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # cut off when its process ended
    return head, rows


@checked
def rows_of(run: Run, metrics: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """A row for each picture of a run: system, seed, id, group, and all its numbers.

    Args:
        run: with scores.
        metrics: their names; None: all that there are.

    Returns:
        Rows in the order of systems, seeds and triplets; NaN where a number is missing.
    """
    folder = run.folder / "scores"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    chosen = names if metrics is None else [name for name in names if name in set(metrics)]
    groups, ids = run.facts["triplets"].get("groups", {}), run.ids
    rows: list[dict[str, Any]] = []
    for system in run.systems:
        for seed in run.protocol.seeds:
            scores = [_read(score_path(run, name, system, seed))[1] for name in chosen]
            for id in run.painted(system, seed, ids):
                row: dict[str, Any] = {"system": system, "seed": seed, "id": id}
                row["group"] = str(groups.get(id, ""))
                row.update(run.numbers(system, seed, id))
                for table in scores:
                    for name, value in table.get(id, {}).get("values", {}).items():
                        row[name] = math.nan if value is None else float(value)
                rows.append(row)
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, math.nan) for name in columns} for row in rows]


@checked
def columns_of(run: Run) -> dict[str, Column]:
    """How the numbers of a run are to be shown: each metric's, then those of painting."""
    columns: dict[str, Column] = {}
    for path in sorted((run.folder / "scores").glob("*/*.jsonl")):
        head, _ = _read(path)
        columns |= _columns(head.get("columns") if isinstance(head, dict) else None)
    for facts in run.facts["systems"].values():
        columns |= _columns(facts.get("columns"))
    return columns


def _columns(written: Any) -> dict[str, Column]:
    """What is understood of columns in a file."""
    names = {f.name for f in dataclasses.fields(Column)}
    columns = {}
    for name, values in written.items() if isinstance(written, dict) else ():
        if isinstance(values, dict) and isinstance(values.get("title"), str):
            columns[str(name)] = Column(**{k: v for k, v in values.items() if k in names})
    return columns
