"""Attention asked later is the attention that was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdpainter_nb import Capture, Job, Sampler, Trace
from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.method.painta import key_scale, painta_attention
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import PaintaScaling
from hdpainter_nb.trace.attention import Attention, logits, rescaled, softmax

TOLERANCE = {"float16": 1e-3, "float32": 1e-5}


@pytest.fixture
def plain(job: Job) -> Job:
    return job.replace(rasg=False)


def matrices(model: Model, sampler: Sampler) -> dict[str, Tensor]:
    """softmax(A) of every self-attention layer in the next step, (heads, hw, hw), from outside."""
    inputs: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _, args: inputs.update({name: args[0][-1]})  # the conditional half

    layers = {layer.name: layer.block.attn1 for layer in attention_layers(model.unet)}
    hooks = [attn.register_forward_pre_hook(note(name)) for name, attn in layers.items()]
    sampler.step()
    for hook in hooks:
        hook.remove()
    logits = {}
    with torch.no_grad():
        for name, attn in layers.items():
            q, k = (
                to(inputs[name]).unflatten(-1, (attn.heads, -1)).transpose(0, 1)
                for to in (attn.to_q, attn.to_k)
            )
            logits[name] = q @ k.transpose(-1, -2) * attn.scale  # (heads, hw, hw)
    return logits


@pytest.mark.parametrize(
    ("dtype", "scaling"), [("float16", "multiply"), ("float32", "multiply"), ("float32", "log")]
)
def test_rows_are_those_of_the_whole_matrix(
    model: Model, plain: Job, dtype: Any, scaling: str
) -> None:
    plain = plain.replace(painta_scaling=scaling)
    capture = Capture.standard(queries=True, levels=(8, 16, 32, 64), dtype=dtype)
    sampler = Sampler(model, plain, capture)
    logits = matrices(model, sampler)
    asked, record = sampler.trace.ask(0), sampler.records[0]
    assert asked.levels == (8, 16, 32, 64)
    for level in asked.levels:
        width = 128 // level
        masked = sampler.cond.painta_masks.get(level)
        x, y = 70, 65  # in the hole
        row = (y // level) * width + x // level
        for name in asked.layers(level):
            full = logits[name]
            rescaled = full.clone()
            if level in (16, 32):
                assert masked is not None
                inside = masked.flatten()
                assert inside[row]
                c = torch.from_numpy(record.c.layers[level][name]).flatten()
                c = torch.where(inside, 1, c)
                scaled = full * c if scaling == "multiply" else full + c.clamp_min(1e-4).log()
                rescaled = torch.where(inside[:, None], scaled, full)
            for painta, matrix in ((True, rescaled), (False, full)):
                p = matrix.softmax(-1)
                for head in range(len(p)):
                    found = asked.row(x, y, layer=name, head=head, painta=painta)
                    assert found.sum() == pytest.approx(1, abs=1e-5)
                    np.testing.assert_allclose(
                        found.ravel(), p[head, row], atol=TOLERANCE[dtype], rtol=0
                    )
                everywhere = np.ones((width, width), bool)  # known and masked rows together
                np.testing.assert_allclose(
                    asked.region(everywhere, layer=name, painta=painta).ravel(),
                    p.mean((0, 1)),
                    atol=TOLERANCE[dtype],
                    rtol=0,
                )


def test_painta_changes_rows_of_the_hole_only(model: Model, plain: Job) -> None:
    sampler = Sampler(model, plain, Capture.standard(queries="self"))
    sampler.run()
    asked, late = sampler.trace.ask(0), sampler.trace.ask(-1)
    assert not np.allclose(asked.row(64, 64), asked.row(64, 64, painta=False))
    np.testing.assert_array_equal(asked.row(4, 4), asked.row(4, 4, painta=False))
    np.testing.assert_array_equal(late.row(64, 64), late.row(64, 64, painta=False))
    without_c = Sampler(model, plain, Capture.nothing(queries="self"))
    without_c.step()
    assert len(without_c.records[0].c) == 2  # rows cannot be told without it
    np.testing.assert_allclose(without_c.trace.ask(0).row(64, 64), asked.row(64, 64), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("rasg", [False, True])
def test_words_are_those_of_full_capture(model: Model, job: Job, rasg: bool, dtype: Any) -> None:
    job = job.replace(rasg=rasg, positive_suffix="high quality")
    sampler = Sampler(model, job, Capture.everything(dtype=dtype))
    record = sampler.step()
    asked = sampler.trace.ask(0)
    again = asked.words("a red star", model=model)
    assert again.words == record.cross.words
    assert again.tokens == record.cross.tokens
    for level in record.cross.levels:
        for name, captured in record.cross.layers(level).items():
            assert captured.ndim == 4
            for found in (asked.cross, again):
                np.testing.assert_allclose(
                    found.layers(level)[name], captured, atol=TOLERANCE[dtype], rtol=0
                )
    np.testing.assert_allclose(asked.word("star"), record.cross["star"], atol=TOLERANCE[dtype])
    name = asked.layers(32)[0]
    np.testing.assert_allclose(
        asked.word("star", layer=name, head=2),
        record.cross.map("star", layer=name, head=2),
        atol=TOLERANCE[dtype],
    )


def test_another_prompt_is_asked_with_the_same_queries(model: Model, plain: Job) -> None:
    """Stored q, the other prompt's k, softmax over its tokens: from outside, layer by layer."""
    sampler = Sampler(model, plain, Capture.standard(queries=True, dtype="float32"))
    sampler.step()
    found = sampler.trace.ask(0).words("a blue circle", model=model)
    assert [word.text for word in found.words] == ["a", "blue", "circle", "<eot>"]
    context = Sampler(model, plain.replace(prompt="a blue circle")).cond.context[1]
    assert found.levels == (8, 16, 32)
    for layer in attention_layers(model.unet):
        if layer.level == 64:
            continue
        attn = layer.block.attn2
        q = torch.from_numpy(sampler.records[0].cross_qk[layer.name][0])
        with torch.no_grad():
            k = attn.to_k(context).unflatten(-1, (attn.heads, -1)).transpose(0, 1)
        p = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)  # (heads, hw, L)
        np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
        maps = found.layers(layer.level)[layer.name]
        np.testing.assert_allclose(
            maps.reshape(*maps.shape[:2], -1), p.transpose(1, 2)[:, : maps.shape[1]], atol=1e-5
        )
    assert not np.allclose(found["circle"], sampler.trace.ask(0).word("star"))


def test_a_loaded_trace_answers_the_same(model: Model, plain: Job, tmp_path: Path) -> None:
    capture = Capture.where(heads=[1, 6], queries=True, budget=0)
    sampler = Sampler(model, plain, capture)
    sampler.run(2)
    sampler.trace.save(tmp_path / "run.hdp")
    ours = sampler.trace.ask(step=1)
    theirs = Trace.load(tmp_path / "run.hdp", budget=0).ask(step=1)
    for question in (
        {"level": 16},
        {"level": 32, "head": 6},
        {"layer": "mid_block"},
        {"level": 16, "painta": False},
    ):
        np.testing.assert_array_equal(ours.row(60, 60, **question), theirs.row(60, 60, **question))
    np.testing.assert_array_equal(ours.word("star", head=1), theirs.word("star", head=1))
    ring = ours.words("a blue circle", model=model)
    same = theirs.words("a blue circle", model=model)
    np.testing.assert_array_equal(ring.map("circle", head=6), same.map("circle", head=6))
    with pytest.raises(SettingsError, match=r"no head 0; kept are \[1, 6\]"):
        theirs.row(60, 60, head=0)


def test_without_keeping_the_call_is_made_again(model: Model, job: Job) -> None:
    kept = Sampler(model, job, Capture.standard(queries=True, dtype="float32"))
    bare = Sampler(model, job, Capture.nothing())
    calls = []
    hook = model.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        kept.run(2)
        bare.run(2)
        made = len(calls)
        stored = kept.attention(kept.records[1])
        assert len(calls) == made
        replayed = bare.attention(bare.records[1])
        assert len(calls) == made + 1
    finally:
        hook.remove()
    assert replayed.levels == (16, 32)
    assert isinstance(replayed, Attention)
    for painta in (True, False):
        np.testing.assert_allclose(
            stored.row(64, 64, painta=painta), replayed.row(64, 64, painta=painta), atol=1e-5
        )
    np.testing.assert_allclose(
        stored.word("star", level=32), replayed.word("star", level=32), atol=1e-5
    )
    ours, theirs = (a.words("a blue circle", model=model) for a in (stored, replayed))
    np.testing.assert_allclose(ours["circle"], theirs["circle"], atol=1e-5)
    assert bare.attention(levels=(8,)).row(4, 4, level=8).shape == (16, 16)


def test_long_regions_are_asked_in_blocks(
    model: Model, plain: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(model, plain, Capture.standard(queries=True))
    sampler.step()
    asked, everywhere = sampler.trace.ask(0), np.ones((16, 16), bool)
    whole = asked.region(everywhere, level=8)
    monkeypatch.setattr("hdpainter_nb.trace.attention._BLOCK", 8 * 256 * 3)  # three rows at a time
    np.testing.assert_allclose(asked.region(everywhere, level=8), whole, atol=1e-6)


def test_questions_that_have_no_answer(model: Model, plain: Job, folders: dict[str, str]) -> None:
    sampler = Sampler(model, plain, Capture.where(layers="up_blocks", queries="self"))
    sampler.step()
    asked = sampler.trace.ask()
    assert "self at H/16: 2 layers" in repr(asked)
    for wrong, sentence in (
        ({"x": 999, "y": 0}, "lies outside the 128 x 128"),
        ({"x": 0, "y": 0, "level": 64}, "no level 64"),
        ({"x": 0, "y": 0, "layer": "down_blocks.1"}, r"(?s)kept are\n.*up_blocks"),
        ({"x": 0, "y": 0, "head": 99}, "no head 99"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            asked.row(**wrong)
    with pytest.raises(SettingsError, match="queries='cross'"):
        asked.word("star")
    with pytest.raises(SettingsError, match="queries='cross'"):
        asked.words("a ring", model=model)
    with pytest.raises(SettingsError, match=r"bool array of shape \(8, 8\)"):
        asked.region(np.zeros((8, 8), bool), level=16)
    with pytest.raises(SettingsError, match="There is no step 1; there are 1"):
        sampler.trace.ask(1)
    bare = Sampler(model, plain)
    bare.step()
    with pytest.raises(SettingsError, match=r"queries=True.*sampler\.attention"):
        bare.trace.ask(0)
    crossed = Sampler(model, plain, Capture.where(layers="up_blocks", queries="cross"))
    crossed.step()
    with pytest.raises(SettingsError, match="the model that made the run"):
        crossed.trace.ask(0).words("a ring", model=load(folders["sd2"]))


@pytest.mark.parametrize(("heads", "hw", "d"), [(1, 4, 1), (2, 48, 16), (8, 64, 40)])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scaling", ["multiply", "log"])
def test_eq_5_in_numpy_is_eq_5_in_torch(
    heads: int, hw: int, d: int, seed: int, scaling: PaintaScaling
) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(heads, hw, d)).astype(np.float32) for _ in range(3))
    c = rng.random(hw, np.float32)
    hole = rng.random(hw) > 0.6
    hole[:2] = True, False
    rows = np.flatnonzero(hole)
    whole = rescaled(logits(q, k), c, hole, np.arange(hw), scaling)
    part = rescaled(logits(q[:, rows], k), c, hole, rows, scaling)
    np.testing.assert_allclose(whole[:, rows], part, atol=1e-5)
    np.testing.assert_allclose(whole[:, ~hole], logits(q, k)[:, ~hole])  # known rows stay
    scale = key_scale(torch.from_numpy(c), torch.from_numpy(rows))
    batch = [torch.from_numpy(x)[None] for x in (q[:, rows], k, v)]
    expected = painta_attention(*batch, scale, scaling)[0]
    np.testing.assert_allclose(softmax(part) @ v, expected, atol=2e-6, rtol=1e-4)
