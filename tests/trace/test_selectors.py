"""Steps, branches, words, levels, layers, heads: by NumPy's scalars as by Python's, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Trace, views
from hdpainter_nb.errors import SettingsError
from support import fuzz

FOLDER = Path(__file__).parents[1] / "golden" / "traces"
Call = Callable[[Any], Any]
MASKS = Trace.load(FOLDER / "masks.hdp")  # means over layers
DETAIL = Trace.load(FOLDER / "detail.hdp")  # heads, queries and keys
RANKING = MASKS.screen("star")
BY_HEAD = DETAIL.screen("star")
ATTENTION = DETAIL.ask(1)
CROSS, CROSS_BY_HEAD = MASKS[0].cross, DETAIL[1].cross

NUMBERS: dict[str, tuple[Call, int]] = {
    "word": (MASKS.screen, 1),
    "branch": (lambda value: MASKS.screen("star", value), 1),
    "records": (MASKS.records, 1),
    "path": (MASKS.path, 1),
    "picture": (MASKS.picture, 0),
    "index": (lambda value: MASKS[value], 1),
    "row index": (lambda value: RANKING[value], 1),
    "step": (DETAIL.ask, 1),
    "ask branch": (lambda value: DETAIL.ask(1, value), 0),
    "position": (lambda value: CROSS[value], 3),
    "places": (CROSS.places, 3),
    "cross level": (lambda value: CROSS.map("star", level=value), 16),
    "cross key": (lambda value: CROSS["star", value], 16),
    "cross layers": (CROSS.layers, 16),
    "cross head": (lambda value: CROSS_BY_HEAD.map("star", head=value), 1),
    "maps level": (lambda value: MASKS[0].c[value], 16),
    "layers level": (ATTENTION.layers, 16),
    "x": (lambda value: ATTENTION.row(value, 3), 3),
    "level": (lambda value: ATTENTION.row(3, 3, level=value), 16),
    "head": (lambda value: ATTENTION.row(3, 3, head=value), 1),
    "region level": (lambda value: ATTENTION.region(np.ones((4, 4)), level=value), 16),
    "token": (ATTENTION.word, 3),
    "token level": (lambda value: ATTENTION.word(3, level=value), 16),
    "token head": (lambda value: ATTENTION.word(3, head=value), 1),
    "top": (RANKING.top, 3),
    "where step": (lambda value: RANKING.where(step=value), 1),
    "where level": (lambda value: RANKING.where(level=value), 16),
    "where head": (lambda value: BY_HEAD.where(head=value), 1),
    "view level": (lambda value: views.heatmaps(MASKS[0], level=value, tile=32), 16),
    "view tile": (lambda value: views.c_map(MASKS[0], tile=value), 32),
    "view count": (lambda value: views.needles(RANKING, value, tile=32), 2),
    "rows": (lambda value: views.upsample(np.ones((4, 4)), (value, 8)), 8),
}
TEXTS: dict[str, tuple[Call, str]] = {
    "word": (MASKS.screen, "star"),
    "branch": (MASKS.records, "main"),
    "cross": (lambda value: CROSS[value], "star"),
    "layer": (lambda value: ATTENTION.row(3, 3, layer=value), "up_blocks.2"),
    "where": (lambda value: BY_HEAD.where(layer=value), "up_blocks.2*"),
    "queries": (lambda value: DETAIL[1].self_qk[value], ATTENTION.layers(16)[0]),
    "sort": (RANKING.sort, "iou"),
    "by": (lambda value: RANKING.top(2, by=value), "iou"),
    "per": (RANKING.per, "step"),
    "view words": (lambda value: views.heatmaps(MASKS[0], words=[value], tile=32), "star"),
    "view sort": (lambda value: views.table([{"a": 1}], sort=value), "a"),
}


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif hasattr(a, "tobytes"):
        assert a.tobytes() == b.tobytes()
    else:
        assert repr(a) == repr(b)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_numbers(name: str) -> None:
    call, value = NUMBERS[name]
    expected = call(value)
    for kind in (np.int64, np.int8, np.uint16, np.array):
        same(call(kind(value)), expected)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_numpy_are_texts(name: str) -> None:
    call, value = TEXTS[name]
    same(call(np.str_(value)), call(value))


ODD = [True, np.bool_(True), 1.5, float("nan"), np.float32(1), "\ud800", b"star", [1], {}, 10**400]
ODD += [2**70, object(), np.array([1, 2]), 1j, np.datetime64("2020"), -(2**40), "no such"]


@pytest.mark.parametrize("name", [*NUMBERS, *TEXTS])
def test_everything_else_is_refused_in_the_librarys_own_words(name: str) -> None:
    calls = [table[name][0] for table in (NUMBERS, TEXTS) if name in table]
    for call in calls:
        for value in ODD:
            between_pixels = name == "x" and isinstance(value, float | np.floating)
            if between_pixels and np.isfinite(value):
                continue
            with pytest.raises((SettingsError, KeyError, IndexError, ValueError)) as raised:
                call(value)
            assert fuzz.is_meant(raised.value), f"{value!r}: {raised.value!r}"
            assert "\n" not in str(raised.value).replace("\n  ", "")  # but for lists of layers


def test_asking_whether_something_is_there_raises_nothing() -> None:
    for value in (*ODD, None, 16, "star"):
        assert (value in CROSS) == (isinstance(value, str) and value == "star")
        assert (value in MASKS[0].c) == (isinstance(value, int) and value == 16)
        assert (MASKS[0].c.get(value) is not None) == (value in MASKS[0].c)


def test_a_place_outside_is_told() -> None:
    with pytest.raises(IndexError, match="no step 9; there are 3"):
        MASKS[9]
    with pytest.raises(IndexError, match="no row 999"):
        RANKING[999]
    with pytest.raises(SettingsError, match="count must be"):
        RANKING.top(-1)
    with pytest.raises(ValueError, match="size must be of 1 to"):
        views.upsample(np.ones((4, 4)), (10**6, 10**6))
    with pytest.raises(SettingsError, match="tile must be"):
        views.c_map(MASKS[0], tile=10**6)
    assert len(MASKS[1:]) == 2


# --- what is not finite --------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_maps_of_any_numbers_are_ranked_drawn_and_sent(value: float, tmp_path: Path) -> None:
    trace = Trace.load(FOLDER / "masks.hdp")
    for record in trace:
        for maps in (record.cross.maps, record.c, record.similarity):
            for named in maps.layers.values():
                for array in named.values():
                    if array.dtype == np.float32 or not np.isfinite(value):
                        array.reshape(-1)[1:] = value
    ranking = trace.screen("star")
    assert np.isnan(ranking[0].auc) == (not np.isfinite(value))
    views.c_map(trace[0])
    views.similarity(trace[0], tile=32)
    views.layer_maps(trace.records(), "difference", tile=32)
    views.needles(ranking, 2, tile=32)
    trace.to_html(tmp_path / "a.html")


@pytest.mark.filterwarnings("error")
def test_colours_of_huge_numbers() -> None:
    ends = np.array([[-3e38, 0, 3e38]], np.float32)
    gray = views.jet(ends, colormap="gray")[0, :, 0]
    assert gray.tolist() == [0, 128, 255]
    assert views.jet(ends, -1e308, 1e308, colormap="gray")[0, :, 0].tolist() == [128] * 3


def test_layers_that_only_some_steps_kept_are_drawn() -> None:
    trace = Trace.load(FOLDER / "masks.hdp")
    first = trace[0].c.layers[16]
    del first[next(iter(first))]
    sheet = views.layer_maps(trace.records()[:2], "c", tile=32)
    whole = views.layer_maps(MASKS.records()[:2], "c", tile=32)
    assert sheet.size == whole.size


def test_layers_of_a_level_may_have_different_numbers_of_heads() -> None:
    trace = Trace.load(FOLDER / "detail.hdp")
    cross = trace[1].cross
    named = cross.maps.layers[16]
    name = next(iter(named))
    expected = np.mean([array.mean(0)[0] for array in named.values()], axis=0)
    named[name] = named[name].mean(0, keepdims=True)
    np.testing.assert_allclose(cross["star", 16], expected, atol=1e-3)
    with pytest.raises(KeyError, match="no head 1"):
        cross.map("star", layer=name, head=1)
