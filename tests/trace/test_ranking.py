"""A planted needle is found, and the scores are what their definitions say."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from hdpainter_nb import views
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps
from hdpainter_nb.trace.ranking import METRICS, concentration, localisation, mask_at_level
from hdpainter_nb.trace.trace import Trace
from support.synthetic import TOKENS, WORDS, make_record, scene

LAYERS = {16: ("down_blocks.1.attentions.0.x", "up_blocks.2.attentions.1.x"), 32: ("mid_block.x",)}
NEEDLE = ("up_blocks.2.attentions.1.x", 2)


def make_trace(
    detail: str = "heads", *, crop: tuple[int, int, int, int] | None = None, masked: bool = True
) -> Trace:
    """Five steps of noise, in which one head looks at the hole, from step 2 on."""
    rng = np.random.default_rng(0)
    image, mask = scene()
    trace = Trace(image=image, mask=mask if masked else None, words=WORDS, tokens=TOKENS, crop=crop)
    node = trace.root(np.zeros((4, 32, 32), np.float32), np.zeros(8, np.uint8))
    branch = trace.open_branch("a red star", Settings(steps=20), node, None)
    for index in range(5):
        maps: dict[int, dict[str, np.ndarray]] = {}
        for level, names in LAYERS.items():
            size = (256 // level, 256 // level)
            inside, _ = mask_at_level(mask, crop, (256, 256), level)
            for name in names:
                stack = rng.random((4, len(TOKENS), *size)).astype(np.float16)
                if name == NEEDLE[0] and index >= 2:
                    stack[NEEDLE[1], 3:5] = inside + 0.1 * rng.random(size)
                if detail != "heads":
                    stack = stack.mean(0)
                key = "mean" if detail == "mean" else name
                maps.setdefault(level, {}).setdefault(key, stack)
        cross = CrossMaps(LevelMaps(maps), WORDS, TOKENS)
        record = dataclasses.replace(make_record(index), cross=cross)
        after = np.zeros((4, 32, 32), np.float32)
        node = trace.add(branch, node, after, np.zeros(8, np.uint8), record)
    return trace


def test_the_needle_is_found() -> None:
    found = make_trace().screen("star")
    assert len(found) == 5 * 3 * 4
    assert found.detail == "heads"
    best = found.per("layer", "head").top(3)
    assert (best[0].layer, best[0].head, best[0].level, best[0].step) == (*NEEDLE, 16, None)
    assert best[0].auc > 0.75 > best[1].auc + 0.05
    for by in METRICS:
        row = found.top(1, by=by)[0]
        assert by == "pointing" or (row.layer, row.head) == NEEDLE
    steps = found.where(layer="up*", head=2).per("step")
    assert [row.step for row in steps if row.auc > 0.99] == [2, 3, 4]
    assert {row.layer for row in found.where(level=32)} == {"mid_block.x"}
    other = make_trace().screen("red").top(1, by="iou")[0]
    assert other.iou < 0.7 < found.top(1, by="iou")[0].iou


def test_what_is_meant_of_layers_goes_by_name_beginning_or_pattern() -> None:
    found = make_trace().screen("star")
    for meant in (NEEDLE[0], "up_blocks.2", "up*", ("up_blocks.2", "up_blocks.3")):
        assert {row.layer for row in found.where(layer=meant)} == {NEEDLE[0]}
    assert {row.layer for row in found.where(layer=["mid_block", "up*"])} == {
        NEEDLE[0],
        "mid_block.x",
    }
    there = "\n  ".join(["There are", *LAYERS[16], *LAYERS[32]])
    with pytest.raises(SettingsError, match=rf"layer='up_block'\. {there}"):
        found.where(layer="up_block")
    with pytest.raises(SettingsError, match=r"step=99\. There are\n  0\n  1"):
        found.where(step=99)
    with pytest.raises(SettingsError, match=r"layer='up\*'\. There are\n  mid_block\.x$"):
        found.where(level=32, layer="up*")
    with pytest.raises(SettingsError, match=r"layer='up\*'\. There are\n  None"):
        found.per("step").where(layer="up*")


def test_the_map_of_a_row_is_what_was_captured() -> None:
    trace = make_trace()
    found = trace.screen("star")
    row = found.top(1)[0]
    assert row.step is not None
    record = trace[row.step]
    assert found.record(row) is record
    np.testing.assert_allclose(
        found.map(row), record.cross.map("star", layer=row.layer, head=row.head), rtol=1e-3
    )
    mean = found.per("layer", "head").where(layer=NEEDLE[0], head=2)[0]
    maps = [r.cross.map("star", layer=NEEDLE[0], head=2) for r in trace]
    np.testing.assert_allclose(found.map(mean), np.mean(maps, axis=0), rtol=1e-3)
    assert found.record(mean) is trace[4]


@pytest.mark.parametrize("detail", ["layers", "mean"])
def test_what_was_not_kept_apart_says_what_to_capture(detail: str) -> None:
    found = make_trace(detail).screen("star")
    assert found.detail == detail
    with pytest.raises(SettingsError, match=r"Capture\(cross='heads'\)"):
        found.per("layer", "head")
    if detail == "layers":
        assert found.per("layer").top(1)[0].layer == NEEDLE[0]
        return
    with pytest.raises(SettingsError, match=r"Capture\(cross='layers'\)"):
        found.where(layer="up*")
    assert [row.layer for row in found] == [None] * len(found)
    assert len(found.per("step")) == 5


def test_without_a_mask_only_concentration_counts() -> None:
    found = make_trace(masked=False).screen("star")
    assert (found.masked, found.best) == (False, "concentration")
    assert found.top(1)[0].layer == NEEDLE[0]
    assert all(math.isnan(row.auc) for row in found)
    assert "auc" not in found._repr_html_()


def test_tables_arrays_and_wrong_names() -> None:
    found = make_trace().screen("star")
    columns = found.per("layer", "head").to_numpy()
    assert list(columns)[:4] == ["step", "level", "layer", "head"]
    assert columns["auc"].shape == (12,)
    assert (columns["step"] == -1).all()
    assert found.to_dicts()[0]["head"] == 0
    assert found._repr_html_().count("<tr>") == 13
    assert "48 more rows" in found._repr_html_()
    assert found.sort("iou", ascending=True)[0].iou == min(row.iou for row in found)
    with pytest.raises(SettingsError, match="'area' is not one of 'concentration'"):
        found.top(3, by="area")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="'word' is not one of 'step'"):
        found.per("word")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="'moon' is not a word"):
        make_trace().screen("moon")
    empty = Trace()
    node = empty.root(np.zeros((4, 8, 8), np.float32), np.zeros(8, np.uint8))
    empty.open_branch("", Settings(), node, None)
    with pytest.raises(SettingsError, match=r"no cross-attention maps: capture with Capture"):
        empty.screen("star")


def test_padding_does_not_count() -> None:
    """What lies beyond the picture neither helps nor harms a map."""
    trace = make_trace(crop=(0, 0, 256, 160))
    before = trace.screen("star").top(1)[0]
    assert before.auc > 0.99
    for record in trace:
        for stack in record.cross.layers(16).values():
            stack[..., 10:] = 1  # beyond column 160
    after = trace.screen("star").where(level=16).top(1)[0]
    assert after == before


# --- the scores ----------------------------------------------------------------------------------


def naive(values: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """By the book: every threshold, every pair."""
    ious = [((values >= t) & mask).sum() / ((values >= t) | mask).sum() for t in np.unique(values)]
    pairs = [(a > b) + 0.5 * (a == b) for a in values[mask] for b in values[~mask]]
    peaks = mask[values == values.max()]
    return {
        "inside": values[mask].sum() / values.sum(),
        "iou": max(ious),
        "auc": float(np.mean(pairs)),
        "pointing": float(peaks.mean()),
    }


@pytest.mark.parametrize("kinds", [2, 5, 1000])  # ties, and none
def test_scores_are_those_of_their_definitions(kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    maps = rng.integers(1, kinds + 1, (6, 40)).astype(np.float32) / kinds
    mask = rng.random(40) < 0.3
    found = localisation(maps, mask)
    for i, values in enumerate(maps):
        for name, wanted in naive(values.astype(np.float64), mask).items():
            assert found[name][i] == pytest.approx(wanted), name


def test_an_even_map_tells_nothing() -> None:
    mask = np.arange(20) < 5
    found = localisation(np.full((1, 20), 0.3, np.float32), mask)
    assert found["auc"][0] == pytest.approx(0.5)
    assert found["iou"][0] == found["pointing"][0] == 0.25
    assert found["inside"][0] == pytest.approx(0.25)
    for nothing in (None, np.zeros(20, bool), np.ones(20, bool)):
        assert np.isnan(localisation(np.ones((1, 20), np.float32), nothing)["auc"]).all()


def test_concentration_runs_from_even_to_one_position() -> None:
    maps = np.zeros((4, 16), np.float32)
    maps[0] = 0.7
    maps[1, 3] = 5
    maps[2, :4] = 1
    np.testing.assert_allclose(concentration(maps), [0, 1, 0.5, 0], atol=1e-6)


def test_the_mask_comes_down_by_area() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:9, :32] = True  # 9 of 16 rows of a cell
    mask[32:39] = True  # 7 of 16
    inside, valid = mask_at_level(mask, (0, 0, 64, 64), (64, 128), 16)
    assert inside is not None
    np.testing.assert_array_equal(inside[0], [1, 1, 0, 0, 0, 0, 0, 0])
    assert not inside[1:].any()
    np.testing.assert_array_equal(valid[0], [1, 1, 1, 1, 0, 0, 0, 0])
    half, _ = mask_at_level(mask, (0, 0, 32, 32), (32, 32), 8)  # a picture scaled down by two
    np.testing.assert_array_equal(half, inside[:4, :4])


# --- pictures ------------------------------------------------------------------------------------


def test_needles_are_drawn_best_first() -> None:
    found = make_trace().screen("star")
    sheet = views.needles(found.per("layer", "head"), 6, tile=96)
    assert sheet.width > 6 * 96
    one = views.needles(found, 1, tile=96)
    plain = views.needles(found, 1, tile=96, mask=False)
    assert np.asarray(one).std() > 10
    assert (np.asarray(one) != np.asarray(plain)).any()
    bare = views.needles(make_trace("mean", masked=False).screen("star").per("step"), 2, tile=96)
    assert bare.height < sheet.height + 1
    with pytest.raises(ValueError, match="empty"):
        views.needles(found.top(0))


def test_no_torch_is_needed() -> None:
    code = "import sys, hdpainter_nb.trace.ranking; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
