"""A trace in one file: nothing is lost, nothing foreign gets in."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from hdpainter_nb import Capture, Job, Sampler, Trace
from hdpainter_nb.capture.store import is_mapped
from hdpainter_nb.errors import SettingsError, TraceError
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.trace.file import pack_tree
from hdpainter_nb.trace.record import Record


@pytest.fixture(scope="module")
def sampler(folders: dict[str, str]) -> Sampler:
    rng = np.random.default_rng(0)
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True
    job = Job(
        rng.integers(0, 255, (128, 128, 3), dtype=np.uint8),
        mask,
        "a red star",
        steps=4,
        positive_suffix="",
    )
    sampler = Sampler(load(folders["sd15"]), job)
    sampler.run()
    sampler.image()
    sampler.back(2).branch(painta=False).run()
    sampler.run()
    return sampler


@pytest.fixture
def file(sampler: Sampler, tmp_path: Path) -> Path:
    return sampler.trace.save(tmp_path / "run.hdp")


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif hasattr(a, "__dict__") and not isinstance(a, type):
        assert vars(a).keys() == vars(b).keys()
        for name in vars(a):
            assert_same(vars(a)[name], vars(b)[name])
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    else:
        assert a == b


def test_what_is_loaded_is_what_was_saved(sampler: Sampler, file: Path) -> None:
    loaded = Trace.load(file)
    assert repr(loaded) == repr(sampler.trace)
    for branch in ("main", "painta=False"):
        ours, theirs = sampler.trace.records(branch), loaded.records(branch)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert isinstance(b, Record)
            assert_same(vars(a), vars(b))
    ours, theirs = ({**vars(trace)} for trace in (sampler.trace, loaded))
    for values in (ours, theirs):
        del values["store"]  # counts bytes, holds none
    assert_same(ours, theirs)
    assert loaded.nbytes == sampler.trace.nbytes


def test_a_loaded_run_goes_on_to_the_bit(sampler: Sampler, file: Path, model: Model) -> None:
    taken_up = Sampler.from_trace(model, Trace.load(file))
    assert (taken_up.index, taken_up.done) == (sampler.total, True)
    other = taken_up.back(3).branch(painta=False, rasg=False)
    same = Sampler(model, taken_up.job).branch()
    same.run(sampler.total - 3)
    same = same.branch(painta=False, rasg=False)
    np.testing.assert_array_equal(other.run().x0_latents, same.run().x0_latents)


def test_a_trace_of_another_size_is_refused(file: Path, folders: dict[str, str]) -> None:
    trace = Trace.load(file)
    trace.nodes[0] = dataclasses.replace(trace.nodes[0], latents=np.zeros((4, 8, 8), "f4"))
    with pytest.raises(SettingsError, match="load the model it was made with"):
        Sampler.from_trace(load(folders["sd15"]), trace)


def test_a_file_opens_without_torch(file: Path) -> None:
    code = (
        "import sys; from hdpainter_nb import Trace; t = Trace.load(sys.argv[1]);"
        "assert len(t) == 4 and t.picture() is not None;"
        "assert not {'torch', 'diffusers'} & set(sys.modules), 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)


def test_the_file_is_safetensors_and_json(file: Path) -> None:
    with safe_open(file, framework="np") as f:
        header = json.loads(f.metadata()["hdpainter_nb"])
    assert header["version"] == 1
    assert [b["name"] for b in header["branches"]] == ["main", "painta=False"]


def test_saving_over_a_file_keeps_the_old_one_until_done(
    sampler: Sampler, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def fail(file: Any, _: Any) -> None:
        file.write(b"half an array")
        raise OSError("disk full")

    monkeypatch.setattr("hdpainter_nb.trace.array_file.write_all", fail)
    with pytest.raises(OSError, match="disk full"):
        sampler.trace.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_printing_packs_nothing_and_counts_as_packing_does(
    folders: dict[str, str], sampler: Sampler, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A multistep scheduler remembers arrays from step to step.
    job = sampler.job.replace(scheduler="dpm++_2m", rasg=False, steps=3)
    detailed = Sampler(load(folders["sd15"]), job, Capture.everything())
    detailed.run()
    loaded = [Trace.load(file, budget=budget) for budget in (None, 0)]
    traces = [sampler.trace, detailed.trace, Trace(), *loaded]
    expected = []
    for trace in traces:
        arrays = pack_tree(trace)[0].values()
        on_disk = sum(array.nbytes for array in arrays if is_mapped(array))
        expected.append((sum(array.nbytes for array in arrays), on_disk))
    assert detailed.records[-1].memory

    def refuse(*_: Any) -> None:
        raise AssertionError("it was packed")

    for name in ("file.pack_tree", "file.pack_record", "maps._arrived"):
        monkeypatch.setattr(f"hdpainter_nb.trace.{name}", refuse)
    assert [(trace.nbytes, trace.nbytes_on_disk) for trace in traces] == expected
    for trace, (_, on_disk) in zip(traces, expected, strict=True):
        assert ("on disk" in repr(trace)) == (on_disk > 0)
        assert trace._repr_html_()


def test_it_is_the_file_that_safetensors_would_write(sampler: Sampler, file: Path) -> None:
    """Read by safetensors itself, and read by us when safetensors wrote it."""
    with safe_open(file, framework="np") as f:
        meta = f.metadata()
        theirs = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    ours, _ = pack_tree(sampler.trace)
    assert_same(theirs, ours)
    save_file({name: np.ascontiguousarray(array) for name, array in ours.items()}, file, meta)
    again, _ = pack_tree(Trace.load(file))
    assert_same(again, ours)


def test_a_file_beyond_the_budget_is_read_where_it_lies(sampler: Sampler, file: Path) -> None:
    whole = Trace.load(file, budget=None)
    assert whole.nbytes_on_disk == 0
    part = Trace.load(file, budget="50 kB")
    assert part.nbytes - part.nbytes_on_disk <= 50_000
    assert part.store.in_memory <= 50_000
    assert "on disk" in repr(part)
    ours, _ = pack_tree(sampler.trace)
    theirs, _ = pack_tree(part)
    assert_same(ours, theirs)
    before = file.read_bytes()
    part[0].latents[:] = 0  # a copy of the page, never the file
    assert file.read_bytes() == before
    part = Trace.load(file, budget=0)
    part.save(file)  # onto itself
    assert_same(pack_tree(Trace.load(file))[0], ours)


def newer(file: Path) -> None:
    with safe_open(file, framework="np") as f:
        header = json.loads(f.metadata()["hdpainter_nb"])
    header["version"] = 99
    save_file({"x": np.zeros(1)}, file, metadata={"hdpainter_nb": json.dumps(header)})


def half_a_header(file: Path) -> None:
    save_file(
        {"x": np.zeros(1)}, file, metadata={"hdpainter_nb": '{"version": 1, "nodes": [{"id": 0'}
    )


def missing_array(file: Path) -> None:
    with safe_open(file, framework="np") as f:
        meta = f.metadata()
    save_file({"x": np.zeros(1)}, file, metadata=meta)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]), "truncated"),
        (lambda f: f.write_bytes(b""), "truncated"),
        (lambda f: f.write_bytes(pickle.dumps({"a": 1})), "cannot be read as a trace"),
        (lambda f: f.write_bytes(b"\x89PNG\r\n" + bytes(100)), "cannot be read as a trace"),
        (lambda f: save_file({"x": np.zeros(1)}, f), "not a trace of this tool"),
        (newer, "update hdpainter-nb"),
        (half_a_header, "cannot be read as a trace"),
        (missing_array, "cannot be read as a trace"),
        (lambda f: f.unlink(), "no trace file at"),
    ],
)
def test_damaged_and_foreign_files_are_refused(file: Path, damage: Any, sentence: str) -> None:
    damage(file)
    with pytest.raises(TraceError, match=sentence):
        Trace.load(file)


def test_branches_are_found_by_name_and_number(sampler: Sampler) -> None:
    trace = sampler.trace
    assert trace.records(1) == trace.records("painta=False")
    assert trace.records("main")[:2] == trace.records(1)[:2]
    assert trace.picture("main") is not None
    with pytest.raises(KeyError, match="'painta=False'"):
        trace.records("rasg=False")
    assert len(trace) == 4
    assert trace[1] is list(trace)[1]
    assert len(Trace()) == 0
