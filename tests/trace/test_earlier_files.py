"""A trace that an earlier version saved opens, and means what it meant (see golden/traces)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Trace
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.file import pack_tree
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.tree import Branch

FOLDER = Path(__file__).parents[1] / "golden" / "traces"
ANSWERS: dict[str, dict[str, Any]] = json.loads((FOLDER / "answers.json").read_text())


@pytest.fixture(params=sorted(ANSWERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trace(name: str) -> Trace:
    return Trace.load(FOLDER / f"{name}.hdp")


def total(array: Any) -> Any:
    return pytest.approx(float(np.asarray(array, np.float64).sum()), rel=1e-6, abs=1e-9)


def test_every_file_has_its_answers() -> None:
    assert {path.stem for path in FOLDER.glob("*.hdp")} == ANSWERS.keys()


def test_the_run_reads_as_before(name: str, trace: Trace) -> None:
    known = ANSWERS[name]
    assert repr(trace) == known["repr"]
    assert trace.model == known["model"]
    assert trace.crop == (None if known["crop"] is None else tuple(known["crop"]))
    assert [word.text for word in trace.words] == known["words"]
    assert list(trace.tokens) == known["tokens"]
    assert sorted(trace.pictures) == known["pictures"]
    assert len(trace.branches) == len(known["branches"])
    assert "<table" in trace._repr_html_()


# What runs did before these could be chosen.
THEN = {
    "strength": 1.0,
    "scaling": "area",
    "soft_mask": "half",
    "low_guidance": "conditional",
    "joining": "tidy",
    "pixel_rounding": "nearest",
    "skip": 0.0,
    "start": "auto",
    "blending": "stock",
    "grown_masks": 0,
    "painta_scaling": "multiply",
    "mask_precision": None,
}


def assert_settings(settings: BaseSettings, known: str) -> None:
    """What the file names is as it was; of what it does not name, what was done then."""
    kind, values = re.fullmatch(r"(\w+)\((.*)\)", known).groups()
    assert type(settings).__name__ == kind
    named = ast.literal_eval("{" + re.sub(r"(?:^|(?<=, ))(\w+)=", r"'\1': ", values) + "}")
    now = settings.to_dict()
    assert {name: now[name] for name in named} == named
    assert {name: now[name] for name in now.keys() - named.keys()} == {
        name: THEN[name] for name in now.keys() - named.keys()
    }


def assert_branch(branch: Branch, known: dict[str, Any]) -> None:
    assert (branch.name, branch.prompt) == (known["name"], known["prompt"])
    assert (branch.parent, branch.start) == (known["parent"], known["start"])
    assert_settings(branch.settings, known["settings"])
    assert [str(edit) for edit in branch.edits] == known["edits"]
    assert [repr(edit) for edit in branch.edits] == known["arguments"]
    renamed = {"Lost": "UnloadableEdit"}
    kinds = [renamed.get(kind, kind) for kind in known["kinds"]]
    assert [type(edit).__name__ for edit in branch.edits] == kinds


def assert_record(record: Record, known: dict[str, Any]) -> None:
    # The answers' texts count steps from 0.
    text = known["repr"].replace(f"step {record.index}", f"step {record.number}")
    assert re.sub(r", \d+ ms", "", repr(record)) == text
    assert (record.timestep, record.score) == (known["t"], known["score"])
    assert (record.sigma, record.alpha) == (known["sigma"], known["alpha"])
    assert known["latents"] == total(record.latents)
    assert known["x0"] == total(record.x0_latents)
    assert [word.text for word in record.cross.words if word.text in record.cross] == [
        *known["words"]
    ]
    for word, levels in known["words"].items():
        assert [*map(str, record.cross.levels)] == [*levels]
        for level, expected in levels.items():
            assert expected == total(record.cross[word, int(level)])
    for kind in ("c", "similarity", "similarity_painta", "score_maps"):
        maps = getattr(record, kind).layers
        read = {f"{n} {layer}": a for n, named in maps.items() for layer, a in named.items()}
        assert read.keys() == known[kind].keys()
        assert all(expected == total(read[at]) for at, expected in known[kind].items())
    assert (record.scores is None) == (known["scores"] is None)
    assert record.scores is None or known["scores"] == total(record.scores)
    for kind, layers in known["queries"].items():
        pairs = getattr(record, kind)
        assert [*pairs] == [*layers]
        assert all([total(q), total(k)] == layers[layer] for layer, (q, k) in pairs.items())
    assert repr(sorted(record.memory)) == known["memory"]
    assert (record.grad is None) == (known["grad"] is None)
    if record.grad is not None:
        grad = record.grad
        moments = [grad.mean, grad.std, grad.skewness, grad.kurtosis]
        assert [*moments, int(grad.hist.sum())] == known["grad"]


def test_every_branch_and_step_reads_as_before(name: str, trace: Trace) -> None:
    for branch, known in zip(trace.branches.values(), ANSWERS[name]["branches"], strict=True):
        assert_branch(branch, known)
        records = trace.records(branch.id)
        for record, told in zip(records, known["records"], strict=True):
            assert_record(record, told)


def test_it_can_be_saved_again_without_a_loss(name: str, trace: Trace, tmp_path: Path) -> None:
    arrays, header = pack_tree(trace)
    again, same = pack_tree(Trace.load(trace.save(tmp_path / "again.hdp")))
    assert same == header
    assert again.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(again[key], array)


def test_a_page_of_it_shows_every_step(name: str, trace: Trace, tmp_path: Path) -> None:
    text = trace.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    data = re.search(r'id="film">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    (run,) = json.loads(data[1])["films"]
    known = ANSWERS[name]["branches"]
    assert [b["edits"] for b in run["opening"]["branches"]] == [b["edits"] for b in known]
    steps = [node for node in trace.nodes.values() if node.record is not None]
    assert [frame["node"] for frame in run["frames"]] == [node.id for node in steps]
    assert all(node.record is not None for node in steps)
    timesteps = [node.record.timestep for node in steps if node.record is not None]
    assert [frame["timestep"] for frame in run["frames"]] == timesteps


def test_kept_queries_still_answer() -> None:
    trace = Trace.load(FOLDER / "detail.hdp")
    attention = trace.ask(step=1)
    assert attention.row(40, 40).sum() == pytest.approx(1, abs=1e-5)
    assert trace.screen("star").detail == "heads"
    with pytest.raises(SettingsError, match="kept no queries"):
        trace.ask(step=0)


def test_code_of_ones_own_is_told_by_its_name_alone() -> None:
    (edit,) = Trace.load(FOLDER / "words.hdp").branches[4].edits
    assert str(edit) == "Custom(c=halved)"
    with pytest.raises(SettingsError, match="code of your own"):
        edit.in_step(0, 3)


def test_they_open_without_torch() -> None:
    code = (
        "import sys, hdpainter_nb.trace.trace as t\n"
        "for path in sys.argv[1:]: t.Trace.load(path)\n"
        "assert not {'torch', 'diffusers'} & set(sys.modules), 'torch was loaded'"
    )
    paths = [str(path) for path in FOLDER.glob("*.hdp")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
