"""Colour scales: nothing paints red what is next to nothing, and each says what its values are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Sampler, Trace, views
from hdpainter_nb.job import Job
from hdpainter_nb.models.model import Model
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps
from hdpainter_nb.trace.record import Record
from hdpainter_nb.views.layout import Tile
from support.synthetic import make_record

TOKENS = 24  # with the padding


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the views put on sheets: tiles, and the titles of the sheets."""
    caught: list[Any] = []

    def catch(tiles: list[Tile], *_: Any, **given: Any) -> Any:
        caught.extend([*tiles, given.get("title", "")])
        return None

    for module in ("maps", "layers"):
        monkeypatch.setattr(f"hdpainter_nb.views.{module}.sheet", catch)
    return caught


def with_cross(scale: float) -> Record:
    """A record whose attention is so many times as strong as usual."""
    record = make_record(0, 4)
    named = {n: {k: scale * a for k, a in x.items()} for n, x in record.cross.maps.layers.items()}
    cross = record.cross
    return replace(
        record, cross=CrossMaps(LevelMaps(named), cross.words, cross.tokens, keys=TOKENS)
    )


def flat(record: Record) -> Record:
    """The same with similarities that hardly differ."""
    for levels in (record.similarity, record.similarity_painta):
        for named in levels.layers.values():
            for name in named:
                named[name] = named[name] * 1e-3
    return record


DRAWINGS: dict[str, Callable[[Record], Any]] = {
    "heatmaps": lambda r: views.heatmaps(r, words=["star"]),
    "one scale": lambda r: views.heatmaps(r, shared=True),
    "filmstrip": lambda r: views.filmstrip([r, r], words=["star"]),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_word_that_gets_next_to_nothing_stays_blue(
    draw: Callable[[Record], Any], drawn: list[Any]
) -> None:
    """1e-5 of the attention was painted dark red, as the map's own maximum."""
    record = with_cross(1e-4)
    assert record.cross.even_share == 1 / TOKENS
    draw(record)
    tile = next(one for one in drawn if isinstance(one, Tile) and "star" in one.title)
    blue = views.overlay(np.full((64, 64), 128, np.uint8), np.zeros((2, 2)), 1.0)[0, 0]
    red = views.jet([[0.0, 1.0]])[0, 1]
    pixels = np.asarray(tile.picture, float).reshape(-1, 3)
    assert np.abs(pixels[:, 2] - blue[2]).max() < 160  # blue throughout, over any picture
    assert pixels[:, 0].mean() < 0.6 * float(red[0])


def test_scales_of_attention_end_at_an_even_share_at_the_least(drawn: list[Any]) -> None:
    for scale, wide in ((1e-4, False), (1.0, True)):
        drawn.clear()
        record = with_cross(scale)
        views.heatmaps(record, words=["star"])
        bar, own = drawn[0].bar, record.cross["star"]
        assert bar.lo == pytest.approx(own.min())
        assert bar.hi == pytest.approx(own.max() if wide else own.min() + 1 / TOKENS, rel=1e-5)
        assert (bar.unit, bar.mark) == ("share", 1 / TOKENS)


def test_similarities_span_a_logit_and_c_goes_from_0_to_1(drawn: list[Any]) -> None:
    record = flat(make_record(0, 4))
    views.similarity(record)
    before, after, change, _ = drawn
    assert before.bar == after.bar
    assert before.bar.hi - before.bar.lo == pytest.approx(1)
    assert (change.bar.lo, change.bar.hi) == (-1, 1)
    assert {tile.bar.unit for tile in (before, after, change)} == {"logits"}
    drawn.clear()
    views.c_map(record)
    assert {(tile.bar.lo, tile.bar.hi) for tile in drawn[:-1]} == {(0, 1)}
    drawn.clear()
    views.layer_maps(record, "difference")
    assert drawn[-1].endswith("blue -1, red 1 logits")


def test_the_number_of_tokens_is_in_the_file(model: Model, job: Job, tmp_path: Path) -> None:
    sampler = Sampler(model, job.replace(painta=False, rasg=False))
    length = sampler.cond.context.shape[1]
    assert sampler.step().cross.even_share == 1 / length
    again = Trace.load(sampler.trace.save(tmp_path / "run.hdp"))
    assert again.records()[0].cross.keys == length
    asked = Sampler.from_trace(model, again).attention(again.records()[0])
    assert asked.words("a blue star", model=model).even_share == 1 / length


def test_files_without_it_are_taken_for_clips_77_tokens() -> None:
    folder = Path(__file__).parents[1] / "golden" / "traces"
    assert Trace.load(folder / "words.hdp").records()[0].cross.even_share == 1 / 77
