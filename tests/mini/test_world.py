"""The procedural world: deterministic, well-formed, light to import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hdpainter_nb import mini
from hdpainter_nb.mini.world import holes
from hdpainter_nb.mini.world.canvas import SIZE


def test_import_without_torch() -> None:
    code = "import sys, hdpainter_nb.mini as m; m.triple(1); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("background", [None, *mini.BACKGROUNDS])
def test_scene_is_deterministic(background: str | None) -> None:
    first, second = mini.scene(5, background), mini.scene(5, background)
    assert first.image.shape == (SIZE, SIZE, 3)
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, second.image)
    assert first.objects == second.objects
    assert background in (None, first.background)
    assert not np.array_equal(first.image, mini.scene(6, background).image)


def test_scene_of_given_objects() -> None:
    thing = mini.Thing("red", "circle", 128, 128, 40)
    red = mini.scene(1, "plain", [thing]).image[128, 128].astype(int)
    assert red[0] > 150 > 100 > max(red[1:])
    assert mini.scene(1, "plain", []).objects == ()


@pytest.mark.parametrize("shape", mini.SHAPES)
def test_every_shape_fills_its_box(shape: str) -> None:
    bare = mini.scene(1, "plain", []).image.astype(int)
    thing = mini.Thing("blue", shape, 128, 128, 40)
    changed = np.abs(mini.scene(1, "plain", [thing]).image.astype(int) - bare).sum(2) > 150
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = thing.box
    assert abs(columns.min() - left) < 13
    assert abs(rows.min() - top) < 13
    assert abs(columns.max() - right) < 13
    assert abs(rows.max() - bottom) < 13


def test_unknown_names_say_what_is_known() -> None:
    with pytest.raises(ValueError, match="brick"):
        mini.scene(1, "marble")
    with pytest.raises(ValueError, match="purple"):
        mini.scene(1, "plain", [mini.Thing("teal", "star", 99, 99, 30)])
    with pytest.raises(ValueError, match="heart"):
        mini.scene(1, "plain", [mini.Thing("red", "moon", 99, 99, 30)])
    with pytest.raises(ValueError, match="nearby"):
        mini.triple(1, "easy")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["standard", "background", "nearby"])
def test_triples_are_well_formed(kind: str) -> None:
    for seed in range(12):
        task = mini.triple(seed, kind)  # type: ignore[arg-type]
        again = mini.triple(seed, kind)  # type: ignore[arg-type]
        assert np.array_equal(task.image, again.image)
        assert np.array_equal(task.mask, again.mask)
        assert task.prompt == again.prompt
        assert task.mask.shape == (SIZE, SIZE)
        assert task.mask.dtype == np.bool_
        assert 0.01 < task.mask.mean() < 0.4
        assert f"{task.color} {task.shape}" in task.prompt
        apart = np.abs(task.truth.astype(int) - task.image.astype(int)).sum(2) > 60
        assert apart.any()
        assert (apart & task.mask).sum() > 0.9 * apart.sum()  # the answer lies in the hole


def test_sets_are_made_of_triples() -> None:
    assert [t.kind for t in mini.provocation_set(4)] == ["background", "nearby"] * 2
    assert [t.prompt for t in mini.standard_set(3)] == [mini.triple(k).prompt for k in range(3)]


def test_holes_cover_what_they_hide() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        wild = holes.wild(rng, 128, 128, 40)
        assert wild[128, 128]
        assert wild[128 - 38, 128]
        assert wild.sum() > np.pi * 40**2
        tidy = holes.tidy(rng, (100, 100, 150, 140))
        assert tidy[120, 125]
    assert holes.clearance(tidy, [mini.Thing("red", "star", 125, 120, 20)]) < 0
