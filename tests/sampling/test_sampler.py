"""The sampler: stepping, going back, branching, and what its records say."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import Capture, Job, Sampler, Trace
from hdpainter_nb.attention.layers import attention_layers, heads
from hdpainter_nb.edits import ScaleWord
from hdpainter_nb.errors import SamplingFinished, SettingsError
from hdpainter_nb.images.compositing import grown, poisson
from hdpainter_nb.method.painta import c_scores
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.utils.turns import Turns
from support.hook_traces import break_at


def test_a_run_steps_to_the_end(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    assert (sampler.index, sampler.total, sampler.done) == (0, 7, False)
    assert len(sampler) == 7
    records = list(sampler)
    assert [r.index for r in records] == list(range(7))
    assert [r.timestep for r in records] == sampler.timesteps
    assert sampler.done
    with pytest.raises(SamplingFinished, match=r"back\(\), branch\(\) or restart\(\)"):
        sampler.step()
    picture = sampler.image()
    assert (picture.shape, picture.dtype) == ((128, 128, 3), np.uint8)
    assert np.array_equal(sampler.decoded(records[-1]), picture)


def test_a_record_says_everything(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    record = sampler.step()
    assert record.cross.levels == (8, 16, 32)
    assert [w.text for w in record.cross.words] == ["a", "red", "star", "<eot>"]
    total = sum(record.cross[i, 8] for i in range(len(record.cross.tokens)))
    assert total.shape == (16, 16)
    assert (total <= 1.01).all()  # padding takes the rest
    names = {
        level: [x.name for x in attention_layers(model.unet) if x.level == level]
        for level in (16, 32)
    }
    for maps in (record.c, record.similarity, record.similarity_painta):
        assert {level: list(maps.layers[level]) for level in maps} == names
        assert maps[16].shape == (8, 8)
    assert record.c[16].min() >= 0
    assert record.c[16].max() <= 1
    inside = sampler.cond.painta_masks[16].numpy()
    np.testing.assert_array_equal(
        record.similarity[16][inside], record.similarity_painta[16][inside]
    )
    layer = names[16][0]
    np.testing.assert_allclose(
        record.similarity_painta.layers[16][layer][~inside],
        (record.similarity.layers[16][layer] * record.c.layers[16][layer])[~inside],
        atol=1e-6,
    )
    assert record.scores is not None
    assert record.scores.shape == (5, 4, 4)
    assert record.grad is not None
    assert record.grad.hist.sum() == record.latents.size
    assert record.x0_preview.shape == (16, 16, 3)
    assert 0 < record.sigma < 0.1
    assert record.guided_norm > 0
    assert record.seconds > 0


def test_painta_acts_only_in_its_window(model: Model, job: Job) -> None:
    records = list(Sampler(model, job))
    assert [bool(len(r.c)) for r in records] == [r.timestep > 500 for r in records]
    assert all(len(r.similarity) for r in records)


def test_per_layer_and_per_head(model: Model, job: Job) -> None:
    job = job.replace(rasg=False)
    by_head = Sampler(model, job, Capture(cross="heads")).step().cross
    by_layer = Sampler(model, job, Capture(cross="layers")).step().cross
    mean = Sampler(model, job).step().cross
    for level in (8, 16, 32):
        wanted = [x.name for x in attention_layers(model.unet) if x.level == level]
        assert list(by_layer.layers(level)) == list(by_head.layers(level)) == wanted
        for name, stack in by_head.layers(level).items():
            assert stack.ndim == 4
            np.testing.assert_allclose(
                stack.astype(float).mean(0), by_layer.layers(level)[name], atol=1e-3
            )
        np.testing.assert_allclose(by_head["star", level], mean["star", level], atol=1e-3)


def test_nothing_captured_changes_nothing(model: Model, job: Job) -> None:
    quiet, loud = (Sampler(model, job, c) for c in (Capture.nothing(), Capture.everything()))
    for a, b in zip(quiet, loud, strict=True):
        np.testing.assert_array_equal(a.x0_latents, b.x0_latents)
    assert a.cross.levels == ()
    assert len(a.c) == len(a.similarity) == 0


def test_c_is_that_of_the_next_cross_attention(model: Model, job: Job) -> None:
    """c of the first PAIntA layer, computed from outside with forward hooks alone."""
    sampler = Sampler(model, job.replace(rasg=False))
    layer = next(x for x in attention_layers(model.unet) if x.level == 16)
    block, kept = layer.block, {}

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept.update(x=args[0], text=kwargs["encoder_hidden_states"])

    handle = block.register_forward_pre_hook(note, with_kwargs=True)
    record = sampler.step()
    handle.remove()
    with torch.no_grad():
        y = block.attn1(block.norm1(kept["x"]))  # stock again: the taps are out
        q = heads(block.attn2, block.attn2.to_q(block.norm2(kept["x"] + y)))[1]
        k = heads(block.attn2, block.attn2.to_k(kept["text"]))[1]
        c = c_scores(q, k, sampler.cond.indices, (8, 8))
    np.testing.assert_allclose(record.c.layers[16][layer.name].ravel(), c, atol=1e-5)


def test_back_and_forward_is_the_same_record(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run(5)
    fourth = sampler.records[3]
    assert sampler.back(3).index == 2
    assert len(sampler.records) == 2
    sampler.step()
    assert sampler.step() is fourth
    assert sampler.restart().index == 0
    sampler.run()
    assert len(sampler.trace.nodes) == sampler.total + 1  # nothing was made twice
    with pytest.raises(SettingsError, match="Cannot go back 8 steps from step 7"):
        sampler.back(8)


def test_go_to_any_step_that_was_made(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run(4)
    path, records = sampler.path, sampler.records
    assert path == tuple(sampler.trace.path())
    assert sampler.at_end
    assert sampler.goto(1) is sampler
    assert (sampler.index, sampler.node, sampler.at_end) == (1, path[1], False)
    assert sampler.path == path
    assert sampler.goto(path[3]).records == records[:3]
    assert sampler.step() is records[3]
    assert len(sampler.trace.nodes) == 5  # nothing was made twice
    with pytest.raises(SettingsError, match="Cannot go to step 5: branch 'main' has 4 steps"):
        sampler.goto(5)
    other = sampler.goto(2).branch(painta=False)
    other.step()
    assert other.path[:3] == path[:3]
    with pytest.raises(SettingsError, match="'painta=False' does not lead through node 3"):
        other.goto(path[3])
    assert other.index == 3


def test_a_step_is_appended_only_where_it_follows(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    start = sampler.state
    state, record = sampler.stepper(start)
    kept = sampler.append(state, record)
    assert sampler.records == [kept]
    assert sampler.state is state
    with pytest.raises(SettingsError, match="Step 1 cannot follow step 1"):
        sampler.append(state, record)
    sampler.back()
    with pytest.raises(SettingsError, match="Step 1 cannot follow step 0"):
        sampler.append(state, record)  # it was made already
    assert len(sampler.trace.nodes) == 2
    assert sampler.step() is kept


def test_a_branch_that_cannot_be_made_leaves_nothing_behind(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run(2)
    with pytest.raises(SettingsError):
        sampler.branch(edit=ScaleWord("moon", 2.0))
    with pytest.raises(SettingsError):
        sampler.branch(prompt="a blue circle", edit=ScaleWord("star", 2.0))
    assert len(sampler.trace.branches) == 1
    assert len(sampler.trace.nodes) == 3


def test_samplers_on_one_unet_take_turns(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    turns = Turns.of(model.unet)
    with turns.take():
        sampler.step()  # one's own turn is no obstacle
        thread = threading.Thread(target=sampler.step, daemon=True)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert sampler.index == 1
    thread.join(60)
    assert sampler.index == 2


def test_a_branch_shares_the_past_and_leaves_its_parent_alone(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run()
    final = sampler.records[-1]
    other = sampler.back(5).branch(painta=False, eta=0.2)
    other.run()
    assert other.records[:2] == sampler.records[:2]
    assert other.branch_name == "painta=False, eta=0.2"
    assert len(other.records[2].c) == 0
    assert not np.array_equal(other.records[-1].x0_latents, final.x0_latents)
    assert sampler.index == 2
    assert sampler.run() is final
    assert [b.name for b in sampler.trace.branches.values()] == ["main", "painta=False, eta=0.2"]
    assert sampler.trace.records("main")[-1] is final


def test_a_branch_equals_a_run_made_so_from_the_start(model: Model, job: Job) -> None:
    changed = {"rasg": False, "unet_mask": "nearest"}
    branch = Sampler(model, job).branch(**changed)
    direct = Sampler(model, job.replace(**changed))
    for a, b in zip(branch, direct, strict=True):
        np.testing.assert_array_equal(a.x0_latents, b.x0_latents)


def test_a_branch_may_change_its_words(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run(3)
    other = sampler.branch(prompt="a blue circle")
    record = other.step()
    assert "circle" in record.cross
    np.testing.assert_array_equal(record.latents, sampler.step().latents)
    assert "circle" not in sampler.records[-1].cross


def test_what_shapes_the_run_changes_only_at_its_start(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    assert sampler.branch(steps=3).total == 3
    assert not np.array_equal(sampler.branch(seed=4).step().latents, sampler.step().latents)
    with pytest.raises(SettingsError, match="steps can change only before the first step"):
        sampler.branch(steps=3)
    with pytest.raises(SettingsError, match="Did you mean 'painta'"):
        sampler.branch(pinta=False)


def test_random_noise_is_drawn_from_the_state(model: Model, job: Job) -> None:
    noisy = job.replace(rasg=False, painta=False, ddim_eta=1.0, sigma="cumulative")
    a, b = Sampler(model, noisy), Sampler(model, noisy)
    a.run()
    b.run(4)
    torch.manual_seed(99)  # the global generator has no say
    again = b.back(2).branch(vanilla_scale=3.0)
    again.run()
    np.testing.assert_array_equal(a.records[-1].x0_latents, again.records[-1].x0_latents)
    still = Sampler(model, noisy.replace(ddim_eta=0.0))
    assert not np.array_equal(still.run().x0_latents, a.records[-1].x0_latents)


@pytest.mark.parametrize("objective", ["bce", "attend_excite"])
@pytest.mark.parametrize("guidance", ["rasg", "vanilla"])
def test_guidance_lowers_the_score(model: Model, job: Job, objective: str, guidance: str) -> None:
    """One step's S, seen from the next: lower when descending than when ascending."""
    job = job.replace(
        painta=False,
        objective=objective,
        guidance=guidance,
        sigma="cumulative",
        eta=0.5,
        vanilla_scale=3000.0,
    )
    scores = {}
    for direction in ("descend", "ascend"):
        sampler = Sampler(model, job.replace(direction=direction))
        scores[direction] = [sampler.step().score for _ in range(4)]
    assert scores["descend"][0] == scores["ascend"][0]
    assert scores["descend"][3] < scores["ascend"][3]


def test_a_unet_of_4_channels_keeps_the_known_latents(folders: dict[str, str], job: Job) -> None:
    sampler = Sampler(load(folders["sd15-4ch"]), job)
    record = sampler.run()
    known = sampler.cond.known_latents
    assert known is not None
    outside = (sampler.cond.latent_mask == 0)[0].expand(4, -1, -1)
    torch.testing.assert_close(torch.from_numpy(record.x0_latents)[outside], known[0][outside])
    middle = sampler.records[2]
    assert middle.grad is not None
    assert len(middle.c)


def test_v_prediction_runs_with_everything_on(folders: dict[str, str], job: Job) -> None:
    record = Sampler(load(folders["sd2-v"]), job).run()
    assert np.isfinite(record.x0_latents).all()
    assert record.grad is not None
    assert record.grad.std > 0


def test_pasting_keeps_the_known_pixels(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    with pytest.raises(SettingsError, match=r"call step\(\) or run\(\) first"):
        sampler.image()
    sampler.run(1)
    pasted, plain = sampler.image(paste=True), sampler.image()
    np.testing.assert_array_equal(pasted, sampler.decoded(sampler.records[0], paste=True))
    far = np.ones((128, 128), bool)
    far[20:108, 20:108] = False
    np.testing.assert_array_equal(pasted[far], job.image[far])
    np.testing.assert_array_equal(pasted[40:88, 40:88], plain[40:88, 40:88])
    blended = sampler.image(paste="poisson")
    np.testing.assert_array_equal(blended, poisson(job.image, plain, job.mask))
    far = ~grown(job.mask)
    assert far.any()
    np.testing.assert_array_equal(blended[far], job.image[far])
    with pytest.raises(SettingsError, match="'poisson'"):
        sampler.image(paste="feather")  # type: ignore[arg-type]


def test_self_attention_of_any_pixel(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.run(2)
    record = sampler.records[0]
    attention = sampler.attention(record)
    assert attention.levels == (16, 32)
    masked = attention.row(64, 64, level=16)
    assert masked.shape == (8, 8)
    assert masked.sum() == pytest.approx(1, abs=1e-5)
    assert not np.allclose(masked, attention.row(64, 64, level=16, painta=False))
    np.testing.assert_array_equal(attention.row(4, 4), attention.row(4, 4, painta=False))
    layer = attention.layers(32)[0]
    heads = [attention.row(64, 64, level=32, layer=layer, head=h) for h in range(8)]
    np.testing.assert_allclose(
        np.mean(heads, axis=0), attention.row(64, 64, level=32, layer=layer), atol=1e-6
    )
    two = np.zeros((8, 8), bool)
    two[0, 0] = two[4, 4] = True
    np.testing.assert_allclose(
        attention.region(two), (attention.row(0, 0) + attention.row(64, 64)) / 2, atol=1e-6
    )
    c = np.stack(list(record.c.layers[16].values()))
    replayed = np.stack([np.asarray(a) for a in attention.c[16].values()]).reshape(c.shape)
    np.testing.assert_allclose(replayed, c, atol=1e-5)
    for wrong in ({"x": 999, "y": 0}, {"x": 0, "y": 0, "level": 8}, {"x": 0, "y": 0, "head": 99}):
        with pytest.raises(SettingsError):
            attention.row(**wrong)


def test_running_shows_progress_only_when_asked(
    model: Model, job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    Sampler(model, job).run(2)
    assert capfd.readouterr() == ("", "")
    Sampler(model, job).run(2, progress=True)
    assert "2/2" in capfd.readouterr().err


def test_a_run_that_fails_closes_its_bar(
    model: Model, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr("tqdm.auto.tqdm.close", lambda _: closed.append(True))
    sampler = Sampler(model, job)
    mend = break_at(model.unet, 1, lambda: ValueError("broken"))
    with pytest.raises(ValueError, match="broken") as raised:
        sampler.run(2, progress=True)
    mend()
    assert closed
    assert raised.tb is not None  # it holds the frame with the bar: nobody else has closed it


@pytest.mark.parametrize("steps", [1.5, np.float64(1.0), "1", None, True, [1], -1, 10**30])
def test_a_wrong_way_back_moves_nothing(model: Model, job: Job, steps: Any) -> None:
    sampler = Sampler(model, job.replace(steps=2, rasg=False), Capture.nothing())
    sampler.run()
    for call in (sampler.back, sampler.goto):
        with pytest.raises(SettingsError):
            call(steps)
    with pytest.raises(SettingsError):
        sampler.run("x" if steps in (-1, None) else steps)
    assert sampler.done
    assert sampler.back(np.int64(1)).goto(np.int8(2)).done
    assert sampler.back().step().index == 1


def test_a_run_given_in_numpy_scalars_is_saved_and_loaded(
    model: Model, job: Job, tmp_path: Path
) -> None:
    given = job.replace(
        seed=np.int64(3),
        steps=np.int8(2),
        guidance_scale=np.float32(7.5),
        rasg=np.False_,
        prompt=np.str_("a red star"),
        negative_prompt=np.str_("blurry"),
    )
    plain = job.replace(
        seed=3,
        steps=2,
        guidance_scale=7.5,
        rasg=False,
        prompt="a red star",
        negative_prompt="blurry",
    )
    assert given.settings == plain.settings
    assert {type(v) for v in given.settings.to_dict().values()} == {
        type(v) for v in plain.settings.to_dict().values()
    }
    sampler = Sampler(model, given, Capture.standard(heads=[np.int64(0)], levels=[np.int32(16)]))
    sampler.run(np.int16(1))
    loaded = Trace.load(sampler.trace.save(tmp_path / "run.hdp"))
    assert loaded.branches[0].settings == plain.settings
    other = Sampler(model, plain)
    other.step()
    assert torch.equal(sampler.state.latents, other.state.latents)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"negative_prompt": 5}, "negative_prompt must be a string or None, not 5"),
        ({"positive_suffix": b"x"}, "positive_suffix must be a string or None, not b'x'"),
        ({"prompt": "a \ud83d star"}, "prompt holds U.D83D, half of a character"),
        ({"positive_suffix": "\udc80"}, "positive_suffix holds U.DC80"),
        ({"seed": 10**400}, "seed has too many digits"),
        ({"eta": float("nan")}, "eta must be a number, not nan"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(
    job: Job, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        job.replace(**settings)
