"""Fills the holes of a run: whatever is not there yet, by any engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdpainter_nb.errors import EvaluationError, HDPainterError
from hdpainter_nb.evaluation.engines.engine import Engine, Outcome, Task
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.system import StoredPictures, System
from hdpainter_nb.evaluation.triplet import FramedTriplet, TripletSet, framed
from hdpainter_nb.images.fit import scaled_size
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["Shard", "paint_all", "tasks_of", "working_side"]

_GIVE_UP = 5  # tasks of one system that fail before any has gone well
_NAMED = 5  # of the pictures that are missing


@checked
@dataclass(frozen=True)
class Shard:
    """A machine's share of a run: every `of`-th triplet, from the `number`-th on (1 .. `of`).

    Raises:
        SettingsError: numbers that make no share.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        between("of", self.of, 1, 10**6, integer=True)
        between("number", self.number, 1, self.of, integer=True)

    def share(self, ids: Sequence[str]) -> list[str]:
        """The triplets of this share."""
        return list(ids[self.number - 1 :: self.of])

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"


class _UnwritableError(Exception):
    """A result cannot be kept, and the next ones could not either."""


@dataclass(frozen=True)
class PaintWorker:
    """Paints tasks and writes the results into the run's folder."""

    folder: Path
    protocol: EvaluationProtocol
    triplets: TripletSet
    systems: Mapping[str, System]

    def do(self, task: Task) -> Outcome:
        """Paint what is not there; where several fail together, one by one."""
        try:
            return self._done(task)
        except (OSError, _UnwritableError) as error:  # nor can any other result be written
            return Outcome(task, str(error), fatal=True)

    def _done(self, task: Task) -> Outcome:
        run, started = Run(self.folder), time.perf_counter()
        due = [id for id in task.ids if not run.has(task.system, task.seed, id)]
        try:
            self._paint(run, task, due)
            errors = []
        except HDPainterError as error:
            if len(due) == 1:
                errors = [f"{due[0]}: {error}"]
            else:
                errors = self._one_by_one(run, task, due)
        return Outcome(task, "; ".join(errors), seconds=time.perf_counter() - started)

    def _one_by_one(self, run: Run, task: Task, due: Sequence[str]) -> list[str]:
        errors = []
        for id in due:
            try:
                self._paint(run, task, [id])
            except HDPainterError as error:
                errors.append(f"{id}: {error}")
        return errors

    def _paint(self, run: Run, task: Task, ids: Sequence[str]) -> None:
        if not ids:
            return
        side = working_side(self.protocol, self.triplets)
        given = [framed(self.triplets[id], side, self.protocol.box) for id in ids]
        for triplet in given:
            if not triplet.hole.any():
                raise EvaluationError(f"The mask of triplet {triplet.triplet.id} is empty.")
        paintings = self.systems[task.system].paint(given, task.seed)
        for triplet, painting in zip(given, paintings, strict=True):
            if painting.picture.shape != triplet.image.shape:
                raise EvaluationError(
                    f"{task.system!r} made {painting.picture.shape} of {triplet.image.shape}."
                )
            try:
                run.write(task.system, task.seed, triplet.triplet.id, painting)
            except EvaluationError as error:
                raise _UnwritableError(str(error)) from error


def working_side(protocol: EvaluationProtocol, triplets: TripletSet) -> int:
    """Long side in pixels at which a run is painted and scored."""
    return protocol.side or triplets.side


def framed_triplet(triplets: TripletSet, id: str, protocol: EvaluationProtocol) -> FramedTriplet:
    """A triplet at the size of a run."""
    return framed(triplets[id], working_side(protocol, triplets), protocol.box)


def tasks_of(
    run: Run, systems: Iterable[System], triplets: TripletSet, ids: Sequence[str]
) -> list[Task]:
    """What is left to do, cut into calls of triplets of one padded size.

    The order is system by system, so that each process loads a model once.
    """
    protocol = run.protocol
    side = working_side(protocol, triplets)
    padded = {}
    for id in ids:
        height, width = scaled_size(triplets.size(id), side, "bicubic")
        padded[id] = -(-height // 64), -(-width // 64)
    tasks = []
    for system in systems:
        together = getattr(system, "at_once", 1)
        for seed in protocol.seeds:
            by_size: dict[tuple[int, int], list[str]] = {}
            for id in run.due(system.name, seed, ids):
                by_size.setdefault(padded[id], []).append(id)
            for due in by_size.values():
                tasks += [
                    Task(system.name, seed, tuple(due[start : start + together]))
                    for start in range(0, len(due), together)
                ]
    return tasks


@checked
def paint_all(
    run: Run,
    systems: Sequence[System],
    triplets: TripletSet,
    *,
    engine: Engine | None = None,
    shard: Shard = Shard(),  # frozen
    progress: bool = False,
) -> int:
    """Fill all holes of a run that are not filled yet; gives how many were.

    It may be stopped or killed at any moment and called again: what is there is not done again.

    Args:
        run: begun with these systems and triplets.
        systems, triplets: of the run.
        engine: who works; processes of this machine by default.
        shard: this call's share; others may work on theirs at the same time.
        progress: show a bar with the time left.

    Raises:
        EvaluationError: another call is at this share; a folder of results lacks pictures, which
            is said before anything is painted; triplets that could not be painted, after all others
            were; the disk is full.
    """
    from tqdm.auto import tqdm

    engine = engine or LocalEngine()
    ids = shard.share(triplets.ids)
    worker = PaintWorker(run.folder, run.protocol, triplets, {s.name: s for s in systems})
    failed: list[Outcome] = []
    painted = 0
    with run.locked(f"shard {shard}"):
        _check_stored(run, systems, ids)
        tasks = tasks_of(run, systems, triplets, ids)
        whole = len(ids) * len(systems) * len(run.protocol.seeds)
        left = sum(len(task.ids) for task in tasks)
        outcomes = engine.run(worker, tasks)
        succeeded: set[str] = set()
        with tqdm(total=whole, initial=whole - left, unit="picture", disable=not progress) as bar:
            try:
                for outcome in outcomes:
                    task = outcome.task
                    bar.set_postfix_str(f"{task.system}, seed {task.seed}", refresh=False)
                    bar.update(len(task.ids))
                    if outcome.fatal:
                        raise EvaluationError(outcome.error)
                    if outcome.error:
                        failed.append(outcome)
                        _give_up(failed, task.system, succeeded)
                    else:
                        succeeded.add(task.system)
                        painted += len(task.ids)
            finally:
                if hasattr(outcomes, "close"):
                    outcomes.close()
    if failed:
        raise EvaluationError(
            f"{len(failed)} of {len(tasks)} calls failed, and the others' pictures are there. The "
            f"first was of {failed[0].task.system!r}: {failed[0].error} Start again to try them "
            "anew."
        )
    return painted


def _check_stored(run: Run, systems: Iterable[System], ids: Sequence[str]) -> None:
    """See that pictures made elsewhere are all there, before others are painted for hours."""
    for system in systems:
        if not isinstance(system, StoredPictures):
            continue
        for seed in run.protocol.seeds:
            due = run.due(system.name, seed, ids)
            if missing := system.missing(due, seed):
                first = ", ".join(f"{id}.png" for id in missing[:_NAMED])
                more = ", ..." if len(missing) > _NAMED else ""
                raise EvaluationError(
                    f"{system.name!r} has no picture of {len(missing)} of {len(due)} triplets "
                    f"(seed {seed}): {first}{more}. Add them, or leave {system.name!r} out."
                )


def _give_up(failed: Sequence[Outcome], system: str, succeeded: set[str]) -> None:
    """Stop where a system never works."""
    own = [outcome for outcome in failed if outcome.task.system == system]
    if len(own) >= _GIVE_UP and system not in succeeded:
        raise EvaluationError(
            f"The first {len(own)} calls of {system!r} all failed, so the run was stopped: "
            f"{own[-1].error}"
        )
