"""Names: what a user writes becomes systems, triplets and metrics; what a run will cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.catalogue import SYSTEMS, system_of, triplets_of, triplets_source
from hdpainter_nb.evaluation.cost import RunCost, SystemCost, cost_of
from hdpainter_nb.evaluation.metric_catalogue import NAMES, default_metrics, metric_of
from hdpainter_nb.evaluation.metrics.detectors import TransformersDetector
from hdpainter_nb.evaluation.metrics.external import ExternalMetric
from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet
from hdpainter_nb.evaluation.painting import Shard, paint_all
from hdpainter_nb.evaluation.protocol import PROTOCOLS, EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.systems import ResultsFolder, SamplerSystem
from hdpainter_nb.mini.triplets import MiniTriplets
from support.evaluation import Painter, SmallSet

OFFICIAL = EvaluationProtocol()
SOUND = EvaluationProtocol.named("sound")


# --- systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_name_makes_its_system(name: str) -> None:
    system: Any = system_of(name, SOUND, at_once=2, load_options={"device": "cpu"})
    assert (system.name, system.model) == (name.replace(":", "-"), SYSTEMS[name]["model"])
    assert system.settings["steps"] == 50
    assert system.settings["eta"] == 0.1
    assert system.settings["rasg"] is (name in ("ours", "ours-rasg"))
    assert system.settings["painta"] is (name in ("ours", "ours-painta"))
    assert (system.at_once, system.load_options) == (2, {"device": "cpu"})


def test_what_a_row_sets_can_be_changed() -> None:
    stock: Any = system_of("controlnet", OFFICIAL, overrides={"steps": 3})
    assert (stock.settings["control_scale"], stock.settings["steps"]) == (0.5, 3)
    changed: Any = system_of("controlnet", OFFICIAL, overrides={"control_scale": 1.0})
    assert changed.settings["control_scale"] == 1.0


def test_models_and_rows_get_names() -> None:
    one: Any = system_of("some/where/model:rasg", OFFICIAL)
    assert (one.name, one.model, one.method) == ("model-rasg", "some/where/model", "rasg")
    named: Any = system_of("row=some/where/model:rasg", OFFICIAL, overrides={"eta": 0.5})
    assert (named.name, named.model, named.settings["eta"]) == ("row", "some/where/model", 0.5)
    again: Any = system_of("mine=sd2", OFFICIAL)
    assert (again.name, again.model) == ("mine", "sd2")
    drive: Any = system_of(r"C:\models\x:both", OFFICIAL)
    assert drive.model == r"C:\models\x"


def test_a_folder_of_results_is_a_system(tmp_path: Path) -> None:
    system = system_of(f"theirs={tmp_path}", OFFICIAL)
    assert isinstance(system, ResultsFolder)
    assert (system.name, system.folder) == ("theirs", str(tmp_path))


@pytest.mark.parametrize("text", ["", "hers", "a=", "a=b", "mini:every", ":", "=", "=mini"])
def test_other_systems_are_refused(text: str) -> None:
    with pytest.raises(EvaluationError, match="There is no system"):
        system_of(text, OFFICIAL)


def test_other_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="etta"):
        system_of("mini:base", OFFICIAL, overrides={"etta": 1})


# --- triplets ------------------------------------------------------------------------------------


def test_sources_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    file = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    file.write_text("{}")
    root = str(tmp_path / "coco")
    assert triplets_source(root, list_file="l.csv", count=5, seed=2) == {
        "kind": "coco",
        "options": {"root": root, "list_file": "l.csv"},
        "count": 5,
        "seed": 2,
    }
    of_file = triplets_source(str(file))
    assert (of_file["kind"], of_file["options"]["root"]) == ("coco", root)
    assert triplets_source(str(tmp_path))["kind"] == "folder"
    assert triplets_source("mini") == {"kind": "mini", "options": {}}
    for source in (of_file, triplets_source(str(tmp_path), count=2)):
        assert json.loads(json.dumps(source)) == source


def test_a_source_is_made_again() -> None:
    more: dict[str, Any] = {"small": SmallSet}
    whole = triplets_of({"kind": "small", "options": {"count": 8}}, more)
    assert len(whole.ids) == 8
    some = triplets_of({"kind": "small", "options": {}, "count": 4, "seed": 1}, more)
    assert len(some.ids) == 4
    assert some.fingerprint() == whole.fingerprint()


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"kind": "os.system"},
        {"kind": ["coco"]},
        {"kind": "folder", "options": "x"},
        {"kind": "folder", "options": {"folder": "/nowhere"}},
        {"kind": "folder", "options": {"folder": 3}},
        {"kind": "folder", "options": {"fodler": "x"}},
        {"kind": "small", "options": {}, "count": 0},
        {"kind": "small", "options": {}, "count": "4"},
    ],
)
def test_a_source_that_makes_nothing_is_refused(source: dict[str, Any]) -> None:
    more: dict[str, Any] = {"small": SmallSet}
    with pytest.raises((EvaluationError, SettingsError)):
        triplets_of(source, more)


# --- metrics -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_made_without_its_weights(name: str) -> None:
    options = {"python": "/usr/bin/python3"} if metric_is_external(name) else {}
    metric = metric_of(name, OFFICIAL, **options)
    beginning = {"clip_score_l14": "clip_score_l14", "aesthetic_v1": "aesthetic"}.get(name, name)
    assert metric.columns
    assert all(column.startswith(beginning) for column in metric.columns)


def metric_is_external(name: str) -> bool:
    return name in ("image_reward", "hpsv2", "lpips")


def test_the_protocol_chooses_the_detector() -> None:
    official: Any = metric_of("accuracy", OFFICIAL)
    assert isinstance(official.detector, RTMDet)
    assert official.detector.channels == "swapped"
    sound: Any = metric_of("accuracy", SOUND)
    assert isinstance(sound.detector, TransformersDetector)
    assert sound.detector.channels == "rgb"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_papers_metrics_are_the_default(name: str) -> None:
    metrics = default_metrics(EvaluationProtocol.named(name), device="cpu")
    columns = [column for metric in metrics for column in metric.columns]
    assert len(columns) == len(set(columns))
    for name in ("clip_score", "accuracy", "aesthetic", "pickscore", "preservation"):
        assert any(column.startswith(name) for column in columns)


def test_one_of_ones_own_in_another_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("")
    metric = metric_of("mine", OFFICIAL, python="/usr/bin/python3", script=str(script))
    assert isinstance(metric, ExternalMetric)
    assert metric.name == "mine"


def test_other_metrics_and_options_are_refused() -> None:
    with pytest.raises(EvaluationError, match="Did you mean 'aesthetic'"):
        metric_of("aesthetics", OFFICIAL)
    with pytest.raises(EvaluationError, match="has no such option"):
        metric_of("clip_score", OFFICIAL, colour="red")
    with pytest.raises(SettingsError, match="per"):
        metric_of("preservation", OFFICIAL, per="page")


# --- cost ----------------------------------------------------------------------------------------


def test_cost_is_of_what_is_left(tmp_path: Path) -> None:
    protocol = EvaluationProtocol(seeds=(1, 2))
    system = Painter()
    run = Run.begin(tmp_path / "run", protocol, SmallSet(6), [system])
    assert cost_of(run, [system], SmallSet(6)).pictures == 12
    assert cost_of(run, [system], SmallSet(6), Shard(1, 4)).pictures == 4
    paint_all(run, [system], SmallSet(6), shard=Shard(1, 2))
    cost = cost_of(run, [system], SmallSet(6))
    assert cost == RunCost((SystemCost("painter", 6, 0, 0),))
    assert str(cost).startswith("painter: 6 pictures\nin all 6 pictures")


def test_cost_is_counted_for_one_and_taken_for_all(tmp_path: Path) -> None:
    protocol, triplets = EvaluationProtocol(steps=2), MiniTriplets("provocation", 3)
    systems = [
        SamplerSystem(name=method, model="mini", method=method, protocol=protocol)  # type: ignore[arg-type]
        for method in ("base", "both")
    ]
    run = Run.begin(tmp_path / "run", protocol, triplets, systems)
    cost = cost_of(run, systems, triplets)
    plain, ours = cost.systems
    assert 0 < plain.flops < ours.flops  # RASG's gradient
    assert cost.flops == plain.flops + ours.flops
    one = cost_of(run, systems[:1], triplets, Shard(1, 3)).systems[0]
    assert one.flops * 3 == plain.flops
    assert "FLOP, peak " in str(plain)


def test_smartbrush_is_named_by_its_folder() -> None:
    protocol = EvaluationProtocol()
    for text, name, model in (
        ("smartbrush:some/folder", "smartbrush", "some/folder"),
        ("mine=smartbrush:some/folder", "mine", "some/folder"),
        ("mini:smartbrush", "mini-smartbrush", "mini-smartbrush"),
    ):
        system: Any = system_of(text, protocol, overrides={"mask_precision": 2})
        assert (system.name, system.model, system.method) == (name, model, "base")
        assert system.settings["mask_precision"] == 2
    bundled: Any = system_of("mini:smartbrush", protocol)
    assert bundled.settings["mask_precision"] == 3
    with pytest.raises(EvaluationError, match=r"published weights of SmartBrush.*train_smartbrush"):
        system_of("smartbrush", protocol)
