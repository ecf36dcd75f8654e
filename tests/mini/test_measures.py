"""The miniature in an evaluation: its triplets, what its oracle sees, its seams, its attention."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.triplet import FramedTriplet, framed
from hdpainter_nb.mini import triple
from hdpainter_nb.mini.oracle_metric import OracleMetric
from hdpainter_nb.mini.triplets import MINI_SETS, MiniTriplets
from hdpainter_nb.mini.true_seam import TrueSeam
from hdpainter_nb.mini.watched_system import WatchedSystem, peak_inside
from support.evaluation import SmallSet


def given(id: str = "standard_1", kind: Any = "standard") -> FramedTriplet:
    return framed(MiniTriplets(kind, 2)[id], 256, "hole")


# --- triplets ------------------------------------------------------------------------------------


def test_triplets_are_the_worlds_tasks() -> None:
    tasks = MiniTriplets("provocation", 3)
    assert tasks.ids == ("background_0", "nearby_0", "background_1")
    assert tasks.groups == ("background", "nearby", "background")
    assert MiniTriplets("standard", 2).ids == ("standard_0", "standard_1")
    one, task = tasks["nearby_0"], triple(0, "nearby")
    assert np.array_equal(one.image, task.image)
    assert np.array_equal(one.mask > 0, task.mask)
    assert (one.prompt, one.facts["color"], one.facts["shape"]) == (
        task.prompt,
        task.color,
        task.shape,
    )
    assert one.image.shape[:2] == tasks.size("nearby_0") == (256, 256)


def test_a_longer_set_goes_on_with_a_shorter_one() -> None:
    few, many = MiniTriplets("provocation", 5), MiniTriplets("provocation", 9)
    assert many.ids[:5] == few.ids
    assert many.fingerprint() == few.fingerprint()
    assert MiniTriplets("standard").fingerprint() != few.fingerprint()


@pytest.mark.parametrize("id", ["standard_0", "nearby", "nearby_", "nearby_-1", "nearby_x", ""])
def test_a_triplet_of_another_set_is_refused(id: str) -> None:
    with pytest.raises(EvaluationError, match="There is no triplet"):
        MiniTriplets("provocation")[id]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 2.5}, {"kind": "hard"}, {"count": "2"}])
def test_no_set_is_made_of_wrong_values(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        MiniTriplets(**wrong)


def test_the_sets_have_names() -> None:
    made = {name: make(count=1) for name, make in MINI_SETS.items()}
    assert {name: tasks.kind for name, tasks in made.items()} == {
        "mini": "provocation",
        "mini-standard": "standard",
    }


# --- metrics -------------------------------------------------------------------------------------


def test_the_oracle_sees_what_is_in_the_hole() -> None:
    task = given()
    pictures = [task.triplet.facts["truth"], task.image]
    right, empty = OracleMetric().score([PaintedTriplet(task, one) for one in pictures])
    assert right == {
        "oracle": 1.0,
        "oracle_color": 1.0,
        "oracle_shape": 1.0,
        "oracle_nothing": 0.0,
    }
    assert (empty["oracle"], empty["oracle_nothing"]) == (0.0, 1.0)
    assert {*right} == {*OracleMetric().columns}


def test_the_oracle_sees_known_pixels_as_they_were() -> None:
    task = given()
    changed = np.where(task.hole[..., None], task.triplet.facts["truth"], 0).astype(np.uint8)
    (seen,) = OracleMetric().score([PaintedTriplet(task, changed)])
    assert seen["oracle"] == 1.0


def test_the_oracle_is_known_by_its_weights(tmp_path: Any) -> None:
    other = tmp_path / "oracle.safetensors"
    other.write_bytes(b"other")
    assert OracleMetric().settings == OracleMetric().settings
    assert OracleMetric(weights=str(other)).settings != OracleMetric().settings


@pytest.mark.parametrize("metric", [OracleMetric(), TrueSeam()])
def test_pictures_of_another_world_are_refused(metric: Any) -> None:
    task = framed(SmallSet(1)["0_0"], 64, "hole")
    with pytest.raises(EvaluationError, match="0_0"):
        metric.score([PaintedTriplet(task, task.image)])


def test_the_true_picture_has_the_true_seam() -> None:
    task = given()
    truth = task.triplet.facts["truth"]
    black = np.where(task.hole[..., None], 0, truth).astype(np.uint8)
    whole, torn = TrueSeam().score([PaintedTriplet(task, one) for one in (truth, black)])
    assert whole["true_seam_pasted"] == pytest.approx(whole["true_seam"], rel=1e-6)
    assert torn["true_seam"] == whole["true_seam"]
    assert torn["true_seam_pasted"] > 2 * whole["true_seam"]
    assert torn["true_seam_blended"] < torn["true_seam_pasted"]
    assert {*whole} == {*TrueSeam().columns}


def test_a_true_picture_of_another_size_is_refused() -> None:
    small = framed(MiniTriplets("standard", 1)["standard_0"], 128, "hole")
    with pytest.raises(EvaluationError, match="not known at this size"):
        TrueSeam().score([PaintedTriplet(small, small.image)])


# --- attention -----------------------------------------------------------------------------------


def test_a_peak_is_inside_or_not() -> None:
    hole = np.zeros((64, 64), bool)
    hole[8:24, 16:40] = True
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 1
    assert peak_inside(heat, hole)
    heat[7, 7] = 2
    assert not peak_inside(heat, hole)


def test_half_a_cell_counts_and_the_fullest_cell_of_a_small_hole() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[1, 1] = 1
    half = np.zeros((64, 64), bool)
    half[8:16, 8:12] = True
    assert peak_inside(heat, half)
    half[8:16, 16:24] = True  # another cell is full, and half of one does still
    assert peak_inside(heat, half)
    half[8:16, 11] = False
    assert not peak_inside(heat, half)
    speck = np.zeros((64, 64), bool)
    speck[8:10, 8:10] = True
    assert peak_inside(heat, speck)


def test_the_two_words_are_looked_for_at_two_levels() -> None:
    task = given()
    words = [task.triplet.facts[name] for name in ("color", "shape")]
    inside = task.hole.astype(np.float32)

    def record(color: Any, shape: Any) -> SimpleNamespace:
        maps = {(words[0], n): color for n in (16, 32)} | {(words[1], n): shape for n in (16, 32)}
        return SimpleNamespace(cross=maps)

    system = WatchedSystem(name="mini", model="mini", method="base")
    sampler: Any = SimpleNamespace(records=[record(inside, 1 - inside), record(inside, inside)])
    # The second word's mean is even, and its highest cell the first, outside.
    assert system._numbers(task, sampler) == {"peak_16": 0.5, "peak_32": 0.5}
    assert {"seconds", "peak_16", "peak_32"} == {*system.columns}
    other = framed(SmallSet(1)["0_0"], 64, "hole")
    assert np.isnan(system._numbers(other, sampler)["peak_16"])
