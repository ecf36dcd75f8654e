"""Engines past this process: a real Ray cluster on this machine, submitit's local executor."""

from __future__ import annotations

import importlib.util
import multiprocessing.util
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.engines.engine import Outcome, Task
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.engines.ray import RayEngine
from hdpainter_nb.evaluation.engines.slurm import SlurmEngine
from hdpainter_nb.evaluation.painting import paint_all
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from support.evaluation import Painter, SmallSet

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="an optional extra")
needs_slurm = pytest.mark.skipif(
    not importlib.util.find_spec("submitit"), reason="an optional extra"
)


def begun(folder: Path, system: Painter) -> Run:
    return Run.begin(folder / "run", EvaluationProtocol(), SmallSet(40), [system])


def assert_each_once(run: Run, log: Path, dead: int) -> None:
    """Every picture is there; only what a dead worker had in its hands was begun twice."""
    triplets = SmallSet(40)
    assert run.due("painter", 1, triplets.ids) == []
    for id in triplets.ids:
        picture = run.read("painter", 1, id).picture
        assert (picture[10, 20] == 1).all()
        assert (picture[0, 0] == triplets[id].image[0, 0]).all()
    lines = Counter(line.split()[-1] for line in log.read_text().splitlines())
    assert set(lines) == set(triplets.ids)
    assert sum(lines.values()) - 40 <= dead * Painter().at_once
    assert not list(run.folder.rglob("*.part"))


@dataclass(frozen=True)
class Tidier:
    """A worker that leaves a file behind where its process ends by itself."""

    folder: str

    def do(self, task: Task) -> Outcome:
        mark = Path(self.folder) / str(os.getpid())
        multiprocessing.util.Finalize(None, mark.touch, exitpriority=1)
        return Outcome(task)


def test_processes_without_a_task_end_by_themselves(tmp_path: Path) -> None:
    tasks = [Task("painter", 1, (str(n),)) for n in range(6)]
    outcomes = list(LocalEngine(2).run(Tidier(str(tmp_path)), tasks))
    assert len(outcomes) == 6
    assert len(list(tmp_path.iterdir())) == 2


@needs_ray
@pytest.mark.slow
def test_ray_with_actors_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    system = Painter(log=str(log), dies_once=("7_0", "20_0"), slow=0.02)
    run = begun(tmp_path, system)
    assert paint_all(run, [system], SmallSet(40), engine=RayEngine(actors=2)) == 40
    assert_each_once(run, log, dead=2)
    import ray

    assert not ray.is_initialized()


@needs_ray
@pytest.mark.slow
def test_ray_gives_up_a_task_whose_actor_always_dies(tmp_path: Path) -> None:
    system = Painter(dies=("7_0",), at_once=1)
    run = begun(tmp_path, system)
    with pytest.raises(EvaluationError, match="its actor died 2 times"):
        paint_all(run, [system], SmallSet(40), engine=RayEngine(actors=2, tries=2))
    assert run.due("painter", 1, SmallSet(40).ids) == ["7_0"]


@needs_slurm
@pytest.mark.slow
def test_submitit_with_a_job_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Jobs find what this process finds; pytest's own additions are not in the environment.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    log = tmp_path / "log"
    system = Painter(log=str(log), dies_once=("9_0",))
    run = begun(tmp_path, system)
    engine = SlurmEngine(str(tmp_path / "jobs"), jobs=2, cluster="local", poll=0.1)
    assert paint_all(run, [system], SmallSet(40), engine=engine) == 40
    assert_each_once(run, log, dead=1)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Painter()
    run = begun(tmp_path, system)
    for module, engine in (
        ("ray", RayEngine()),
        ("submitit", SlurmEngine(str(tmp_path / "jobs"))),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(EvaluationError, match="pip install 'hdpainter-nb"):
            paint_all(run, [system], SmallSet(40), engine=engine)


def test_numbers_out_of_range_are_refused() -> None:
    for make in (
        lambda: LocalEngine(0),
        lambda: LocalEngine(tries=0),
        lambda: RayEngine(actors=0),
        lambda: RayEngine(gpus=-1),
        lambda: SlurmEngine("x", jobs=0),
        lambda: SlurmEngine("x", cluster="pbs"),
    ):
        with pytest.raises(SettingsError):
            make()
