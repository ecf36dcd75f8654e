"""GLIDE as a row of a table: painted, fingerprinted, told by a run's file, explained."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb.errors import EvaluationError, ModelError, SettingsError
from hdpainter_nb.evaluation.catalogue import GLIDE, system_of, system_of_run
from hdpainter_nb.evaluation.explaining import explain
from hdpainter_nb.evaluation.glide_system import GlideSystem
from hdpainter_nb.evaluation.painting import framed_triplet, paint_all
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from support import builders_glide
from support.evaluation import SmallSet

PROTOCOL = EvaluationProtocol()
CONFIGS = {"configs": (builders_glide.BASE, builders_glide.UPSAMPLER), "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders_glide.make_folder(tmp_path_factory.mktemp("glide"))


class Squares(SmallSet):
    """Of a size that can be painted on."""

    def size(self, id: str) -> tuple[int, int]:
        return (64, 64)


def system(folder: Path, **values: Any) -> GlideSystem:
    return GlideSystem(
        name="glide",
        weights=str(folder),
        overrides={"steps": 2, **values},
        upsample_overrides={"steps": 2, "respacing": "even"},
        load_options=CONFIGS,
    )


def test_a_run_is_painted_scored_by_name_and_explained(folder: Path, tmp_path: Path) -> None:
    triplets, glide = Squares(2), system(folder)
    run = Run.begin(tmp_path / "run", PROTOCOL, triplets, [glide])
    assert paint_all(run, [glide], triplets) == 2
    one = framed_triplet(triplets, "1_0", PROTOCOL)
    painting = glide.paint([one], 1)[0]
    assert painting.picture.shape == one.image.shape
    assert painting.numbers["seconds"] > 0
    base = glide.sampler(one, 1)
    base.run()
    upsampler = base.upsampler(steps=2, respacing="even")
    upsampler.run()
    np.testing.assert_array_equal(upsampler.image(), painting.picture)

    told = system_of_run(run, "glide", load_options=CONFIGS)
    assert isinstance(told, GlideSystem)
    assert (told.name, told.settings) == (glide.name, glide.settings)
    trace = explain(run, told, triplets, "1_0")
    assert len(trace) == 2
    assert trace.records()[0].cross["thing"].shape == (4, 4)
    assert len(run.traces()) == 1


def test_its_file_and_its_workers_know_it_again(folder: Path) -> None:
    glide = system(folder, painta=True)
    assert json.loads(json.dumps(glide.settings))["glide"]["painta"] is True
    assert "seed" not in glide.settings["glide"]
    again = pickle.loads(pickle.dumps(glide))
    assert again == glide
    assert again.fingerprint() == glide.fingerprint()


def test_other_weights_have_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    other = builders_glide.make_folder(tmp_path / "other")
    first = system(folder).fingerprint()
    assert system(other).fingerprint() == first
    lines = (other / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    lines[1:3] = lines[2:0:-1]
    (other / "vocab.bpe").write_text("\n".join(lines), encoding="utf-8")
    glide = GlideSystem(name="glide", weights=f"{other}/base_inpaint.pt", load_options=CONFIGS)
    assert glide.fingerprint() != first


@pytest.mark.parametrize("row", GLIDE)
def test_its_names(row: str, folder: Path) -> None:
    glide = system_of(f"{row}:{folder}", PROTOCOL, overrides={"steps": 7})
    assert isinstance(glide, GlideSystem)
    assert (glide.name, glide.weights) == (row, str(folder))
    assert glide.settings["glide"]["painta"] is (row == "glide-painta")
    assert glide.settings["glide"]["steps"] == 7
    assert system_of(f"mine={row}:{folder}", PROTOCOL).name == "mine"


@pytest.mark.parametrize("text", ["glide", "glide:", "mine=glide"])
def test_where_its_weights_lie_must_be_said(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"glide:FOLDER.*openaipublic.*people"):
        system_of(text, PROTOCOL)


def test_wrong_settings_are_heard_of_before_anything_is_loaded() -> None:
    with pytest.raises(SettingsError, match="no setting 'eta'"):
        system_of("glide:nowhere", PROTOCOL, overrides={"eta": 0.1})
    with pytest.raises(EvaluationError, match="seeds are the protocol's"):
        GlideSystem(name="a", weights="nowhere", overrides={"seed": 3})
    with pytest.raises(ModelError, match=r"There is no encoder\.json or"):
        _ = GlideSystem(name="a", weights="nowhere").loaded


def test_a_file_that_says_less_is_refused(folder: Path, tmp_path: Path) -> None:
    glide = system(folder)
    run = Run.begin(tmp_path / "run", PROTOCOL, SmallSet(1), [glide])
    facts = run.facts
    del facts["systems"]["glide"]["settings"]["vocabulary"]
    (run.folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(EvaluationError, match="does not say what 'glide' is"):
        system_of_run(run, "glide")
