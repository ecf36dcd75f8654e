"""A run outlives its processes: every result is there once, and none of another making."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation import run as run_module
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.painting import Shard, paint_all, tasks_of
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run, read_painting
from hdpainter_nb.evaluation.scoring import columns_of, rows_of, score_all, score_path
from hdpainter_nb.evaluation.system import SECONDS
from support.evaluation import Brightness, Painter, SmallSet

TWO_SEEDS = EvaluationProtocol(seeds=(3, 4))


def begun(folder: Path, *systems: Painter, triplets: SmallSet = SmallSet(), **more: Any) -> Run:  # noqa: B008
    protocol = more.get("protocol", EvaluationProtocol())
    return Run.begin(folder, protocol, triplets, systems or [Painter()])


def assert_whole(run: Run, system: str, seeds: tuple[int, ...] = (1,)) -> None:
    """Every result is there, of the right seed and triplet, and nothing else is left."""
    triplets = SmallSet()
    for seed in seeds:
        folder = run.picture_path(system, seed, "x").parent
        assert {p.name for p in folder.iterdir()} == {f"{id}.png" for id in triplets.ids}
        for id in triplets.ids:
            picture = run.read(system, seed, id).picture
            triplet = triplets[id]
            assert (picture[10, 20] == seed).all()
            assert (picture[0, 0] == triplet.image[0, 0]).all()


# --- painting ------------------------------------------------------------------------------------


def test_every_hole_is_filled_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    system = Painter(log=str(log))
    run = begun(tmp_path / "run", system, protocol=TWO_SEEDS)
    assert paint_all(run, [system], SmallSet()) == 24
    assert_whole(run, "painter", (3, 4))
    assert set(Counter(log.read_text().splitlines()).values()) == {1}
    assert run.read("painter", 3, "0_0").numbers == run.numbers("painter", 3, "0_0")
    assert run.numbers("painter", 3, "0_0") == {"seconds": 0.25}
    assert paint_all(Run.open(run.folder), [system], SmallSet()) == 0


def test_what_is_painted_at_once_has_one_size(tmp_path: Path) -> None:
    system = Painter(at_once=3)
    run = begun(tmp_path / "run", system)
    tasks = tasks_of(run, [system], SmallSet(), SmallSet().ids)
    sizes = [{SmallSet().size(id) for id in task.ids} for task in tasks]
    assert all(len(each) == 1 for each in sizes[1:]) or len(tasks) == 4
    assert sorted(id for task in tasks for id in task.ids) == sorted(SmallSet().ids)
    assert max(len(task.ids) for task in tasks) == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_worker_is_replaced(tmp_path: Path, processes: int) -> None:
    log = tmp_path / "log"
    system = Painter(log=str(log), dies_once=("2_0", "7_0", "9_0"))
    run = begun(tmp_path / "run", system)
    assert paint_all(run, [system], SmallSet(), engine=LocalEngine(processes)) == 12
    assert_whole(run, "painter")
    assert multiprocessing.active_children() == []


def test_a_worker_that_always_dies_is_given_up(tmp_path: Path) -> None:
    system = Painter(dies=("2_0",), at_once=1)
    run = begun(tmp_path / "run", system)
    with pytest.raises(EvaluationError, match=r"process died 2 times \(exit code -9"):
        paint_all(run, [system], SmallSet(), engine=LocalEngine(1, tries=2))
    assert run.due("painter", 1, SmallSet().ids) == ["2_0"]
    assert multiprocessing.active_children() == []


def test_a_killed_coordinator_loses_nothing(tmp_path: Path) -> None:
    """Killed in the middle, its workers end with it, and the next call makes what is missing."""
    log = tmp_path / "log"
    script = (
        "from support.evaluation import *\n"
        "from hdpainter_nb.evaluation.engines.local import LocalEngine\n"
        "from hdpainter_nb.evaluation.painting import paint_all\n"
        "from hdpainter_nb.evaluation.protocol import EvaluationProtocol\n"
        "from hdpainter_nb.evaluation.run import Run\n"
        "if __name__ == '__main__':\n"
        f"    system = Painter(log={str(log)!r}, slow=0.05)\n"
        f"    folder = {str(tmp_path / 'run')!r}\n"
        "    run = Run.begin(folder, EvaluationProtocol(), SmallSet(), [system])\n"
        "    paint_all(run, [system], SmallSet(), engine=LocalEngine(2))\n"
    )
    file = tmp_path / "coordinator.py"
    file.write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, str(file)], env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().split()) > 9):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # for workers that were in the middle of one
    before = log.read_text().splitlines()
    time.sleep(0.3)
    assert log.read_text().splitlines() == before, "a worker lives on without its coordinator"
    system = Painter(log=str(log))
    run = Run.open(tmp_path / "run")
    made = 12 - len(run.due("painter", 1, SmallSet().ids))
    assert 0 < made < 12
    assert paint_all(run, [system], SmallSet()) == 12 - made
    assert_whole(run, "painter")
    repeated = [line for line, n in Counter(log.read_text().splitlines()).items() if n > 1]
    assert len(repeated) <= 4, "at most what was in the hands of two workers, two each"


def test_one_that_fails_keeps_no_other_from_being_painted(tmp_path: Path) -> None:
    system = Painter(fails=("4_0",), at_once=4)
    run = begun(tmp_path / "run", system)
    with pytest.raises(EvaluationError, match=r"1 of 3 calls failed.*nothing to paint 4_0"):
        paint_all(run, [system], SmallSet())
    assert run.due("painter", 1, SmallSet().ids) == ["4_0"]
    assert paint_all(run, [Painter()], SmallSet()) == 1


def test_a_system_that_never_works_stops_the_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    system = Painter(fails=SmallSet().ids, at_once=1, log=str(log))
    run = begun(tmp_path / "run", system)
    with pytest.raises(EvaluationError, match="The first 5 calls of 'painter' all failed"):
        paint_all(run, [system], SmallSet())
    assert len(log.read_text().splitlines()) == 5


def test_shards_add_up(tmp_path: Path) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system)
    assert [paint_all(run, [system], SmallSet(), shard=Shard(n, 3)) for n in (1, 2, 3)] == [4] * 3
    assert_whole(run, "painter")
    with pytest.raises(SettingsError, match="number must be a whole number from 1 to 3"):
        Shard(4, 3)


def test_two_coordinators_do_not_meet(tmp_path: Path) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system)
    with run.locked("shard 1-of-1"), pytest.raises(EvaluationError, match="Another process is"):
        paint_all(run, [system], SmallSet())
    assert paint_all(run, [system], SmallSet()) == 12


def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system)
    real, count = Image.Image.save, [0]

    def save(self: Any, *arguments: Any, **options: Any) -> None:
        count[0] += 1
        if count[0] > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(EvaluationError, match=r"cannot be written \(No space left"):
        paint_all(run, [system], SmallSet())
    assert count[0] == 6  # nothing more is painted that could not be kept
    monkeypatch.undo()
    assert not list(run.folder.rglob("*.part"))
    assert paint_all(run, [system], SmallSet()) == 12 - 5


# --- what a run is -------------------------------------------------------------------------------


def test_other_weights_settings_protocol_or_triplets_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = begun(folder).facts
    refused: list[tuple[str, dict[str, Any]]] = [
        ("other weights of 'painter'", {"systems": [Painter(weights="v")]}),
        ("other settings of 'painter' (eta)", {"systems": [Painter(more={"eta": 1})]}),
        ("another protocol: eta=0.25 (now 0.1)", {"protocol": EvaluationProtocol(eta=0.1)}),
        ("other triplets", {"triplets": SmallSet(salt="s")}),
    ]
    for sentence, changes in refused:
        given = {
            "protocol": EvaluationProtocol(),
            "triplets": SmallSet(),
            "systems": [Painter()],
            **changes,
        }
        with pytest.raises(EvaluationError, match=re.escape(sentence)):
            Run.begin(folder, **given)
        assert Run.open(folder).facts == before


def test_a_setting_that_was_no_choice_yet_was_its_default(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begun(folder)  # by a version that knew neither of the two
    triplets = SmallSet()
    now = {"painta_scaling": "multiply", "blending": "stock"}
    run = Run.begin(folder, EvaluationProtocol(), triplets, [Painter(more=now)])
    assert run.systems == ["painter"]
    other = Painter(more={**now, "painta_scaling": "log"})
    with pytest.raises(EvaluationError, match=r"other settings of 'painter' \(painta_scaling\)"):
        Run.begin(folder, EvaluationProtocol(), triplets, [other])


def test_systems_and_triplets_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = begun(folder, Painter(), triplets=SmallSet(4))
    paint_all(run, [Painter()], SmallSet(4))
    other = Painter(name="other")
    run = begun(folder, other, triplets=SmallSet(12))
    assert (run.systems, run.ids) == (["painter", "other"], list(SmallSet(12).ids))
    assert paint_all(run, [Painter(), other], SmallSet(12)) == 8 + 12


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds no run.json"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 99, "protocol": {}, "triplets": {}, "systems": {}}', "has format 99"),
        ('{"format": 1, "protocol": 3, "triplets": {}, "systems": {}}', "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_no_run_says_so(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(EvaluationError, match=sentence):
        Run.open(tmp_path)


def test_names_are_file_names(tmp_path: Path) -> None:
    for name in ("../up", "a/b", "", ".hidden"):
        with pytest.raises(EvaluationError, match="no id"):
            begun(tmp_path / "run", Painter(name=name))
    with pytest.raises(EvaluationError, match="Two systems have one name"):
        begun(tmp_path / "run", Painter(), Painter())
    facts = begun(tmp_path / "run").facts
    facts["triplets"]["ids"][0] = "../../etc"
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(EvaluationError, match="no id"):
        _ = Run.open(tmp_path / "run").ids


def test_a_damaged_result_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    assert read_painting(path).numbers == {}
    for content in (b"", whole[:40], b"GIF89a" + whole):
        path.write_bytes(content)
        with pytest.raises(EvaluationError, match="delete it"):
            read_painting(path)


def test_the_lock_is_freed_by_an_exception(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(KeyError), run.locked("x"):
        raise KeyError
    with run.locked("x"):
        pass
    assert run.facts["format"] == run_module._FORMAT


# --- scoring -------------------------------------------------------------------------------------


def test_every_picture_is_scored_once(tmp_path: Path) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system, protocol=TWO_SEEDS)
    paint_all(run, [system], SmallSet())
    metric = Brightness()
    assert score_all(run, SmallSet(), [metric]) == 24
    assert score_all(run, SmallSet(), [metric]) == 0
    rows = rows_of(run)
    assert [(r["system"], r["seed"], r["id"]) for r in rows[:2]] == [
        ("painter", 3, "0_0"),
        ("painter", 3, "1_0"),
    ]
    assert [r["brightness"] for r in rows] == [3.0] * 12 + [4.0] * 12
    assert {r["group"] for r in rows} == {"dark", "light"}
    assert {r["seconds"] for r in rows} == {0.25}
    columns = columns_of(Run.open(run.folder))
    assert columns == {"seconds": SECONDS, **metric.columns}


def test_scores_follow_the_pictures_and_the_metric(tmp_path: Path) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system)
    paint_all(run, [system], SmallSet())
    score_all(run, SmallSet(), [Brightness()])
    run.picture_path("painter", 1, "3_0").unlink()
    assert [r["id"] for r in rows_of(run)] == [id for id in SmallSet().ids if id != "3_0"]
    paint_all(run, [system], SmallSet())
    again = Brightness()
    assert score_all(run, SmallSet(), [again]) == 1
    assert again.seen == ["3_0"]
    assert score_all(run, SmallSet(), [Brightness(scale=2.0)]) == 12, "another setting"
    assert {r["brightness"] for r in rows_of(run)} == {2.0}
    assert rows_of(run, metrics=[])[0].keys() == {"system", "seed", "id", "group", "seconds"}


def test_a_line_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    system = Painter()
    run = begun(tmp_path / "run", system)
    paint_all(run, [system], SmallSet())
    score_all(run, SmallSet(), [Brightness()])
    path = score_path(run, "brightness", "painter", 1)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:7]) + lines[7][:15])
    assert score_all(run, SmallSet(), [Brightness()]) == 12 - 6
    assert len(rows_of(run)) == 12
    assert not np.isnan([r["brightness"] for r in rows_of(run)]).any()


@pytest.mark.parametrize("count", [4, 40])
def test_files_and_folders_are_read_as_often_for_many_pictures_as_for_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A run of the whole list has 10,000 pictures a system, and lies on a disk far away."""
    system, triplets = Painter(at_once=2), SmallSet(count)
    run = begun(tmp_path / "run", system, triplets=triplets)
    looks: Counter[str] = Counter()
    real_scan, real_facts = os.scandir, Run.facts

    def scandir(path: Any) -> Any:
        looks["folder"] += str(path).startswith(str(run.folder / "pictures"))
        return real_scan(path)

    def facts(self: Run) -> Any:
        looks["run.json"] += 1
        return real_facts.fget(self)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Run, "facts", property(facts))
    paint_all(run, [system], triplets)
    score_all(run, triplets, [Brightness()])
    rows_of(run)
    assert len(rows_of(run)) == count
    # Looking for what a killed writer left is bounded by the clock, not by the pictures.
    assert looks["folder"] <= 6
    assert looks["run.json"] <= 16


def test_scoring_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="has no pictures of painter yet"):
        score_all(begun(tmp_path / "run"), SmallSet(), [Brightness()])
