"""GLIDE stepped: both stages, branches, traces, what is watched and what can be changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import (
    Capture,
    GlideJob,
    GlideModel,
    GlideSampler,
    GlideUpsampleJob,
    GlideUpsampler,
    Sampler,
    ScaleHead,
    ScaleWord,
    SetC,
    Trace,
    load_glide,
    views,
)
from hdpainter_nb.edits.builtin import MoveMask
from hdpainter_nb.errors import (
    ImageError,
    ModelError,
    PromptWarning,
    SamplingCancelled,
    SettingsError,
)
from hdpainter_nb.glide.conditioning import hole_at, squeezed, to_picture, to_units
from hdpainter_nb.models.glide.config import GlideConfig
from hdpainter_nb.settings import GlideSettings, GlideUpsampleSettings
from hdpainter_widgets import Player
from support import builders_glide

EXACT = Capture.everything(dtype="float32")
LAYER = "output_blocks.2.1"  # at H/16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders_glide.make_folder(tmp_path_factory.mktemp("glide"))


@pytest.fixture(scope="module")
def model(folder: Path) -> GlideModel:
    return builders_glide.load(folder)


def make_job(prompt: str = "a red star", **settings: Any) -> GlideJob:
    y, x = np.mgrid[:80, :100] / 20
    waves = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(2 * x)], -1)
    mask = np.zeros((80, 100), bool)
    mask[26:50, 40:72] = True
    values = {"steps": 4, "seed": 3, **settings}
    return GlideJob((127.5 + 127.5 * waves).astype(np.uint8), mask, prompt, **values)


@pytest.fixture(scope="module")
def done(model: GlideModel) -> GlideSampler:
    sampler = GlideSampler(model, make_job(), EXACT)
    sampler.run()
    return sampler


@pytest.fixture(scope="module")
def upsampled(done: GlideSampler) -> GlideUpsampler:
    upsampler = done.upsampler(steps=3, respacing="even")
    upsampler.run()
    return upsampler


def same(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(one.latents, other.latents)
        and np.array_equal(one.x0_latents, other.x0_latents)
        for one, other in zip(a.records, b.records, strict=True)
    )


# --- loading -------------------------------------------------------------------------------------


def test_both_networks_are_read(model: GlideModel, folder: Path) -> None:
    assert (model.kind, model.native_size, model.side) == ("glide", 64, 16)
    assert (model.upsampler.kind, model.upsampler.side) == ("glide x4", 64)
    assert "7 channels" in repr(model)
    assert "10 channels" in model.upsampler._repr_html_()
    named = load_glide(
        folder / "base_inpaint.pt",
        folder / "upsample_inpaint.pt",
        folder,
        configs=(builders_glide.BASE, builders_glide.UPSAMPLER),
        device="cpu",
        dtype="bfloat16",
    )
    assert named.unet.dtype == torch.bfloat16
    assert "bfloat16" in repr(named)
    sampler = GlideSampler(named, make_job())
    assert np.isfinite(sampler.run().x0_latents).all()


def test_published_sizes_are_the_default(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"GLIDE's base network: of its|of another size"):
        load_glide(folder, device="cpu")


def test_swapped_files_are_told(folder: Path) -> None:
    with pytest.raises(ModelError, match="upsampler network with 10 input channels"):
        load_glide(
            folder / "upsample_inpaint.pt",
            folder / "base_inpaint.pt",
            configs=(builders_glide.BASE, builders_glide.UPSAMPLER),
            device="cpu",
        )


def test_networks_that_do_not_go_together_are_refused(model: GlideModel) -> None:
    small = dataclasses.replace(builders_glide.UPSAMPLER, sample_size=32)
    upsampler = type(model.upsampler)(builders_glide.make_unet(small), model.tokenizer)
    with pytest.raises(ModelError, match="makes 32 px, and must make 64"):
        GlideModel(model.unet, model.tokenizer, upsampler)
    with pytest.raises(ModelError, match="wrong way round"):
        GlideModel(model.upsampler.unet, model.tokenizer, model.upsampler)
    other: GlideConfig = dataclasses.replace(builders_glide.BASE, vocabulary=300)
    with pytest.raises(ModelError, match="vocabulary has 265 tokens, and the network knows 300"):
        GlideModel(builders_glide.make_unet(other), model.tokenizer, model.upsampler)


def test_there_is_no_pipeline(model: GlideModel) -> None:
    with pytest.raises(ModelError, match="no pipeline of diffusers"):
        model.stock_pipeline()


# --- a job ---------------------------------------------------------------------------------------


def test_pictures_are_squeezed_and_holes_kept_whole(model: GlideModel) -> None:
    job = make_job()
    cond, state = model.prepare(job)
    known = cond.known_mask[0, 0].numpy() == 1
    rows, columns = np.nonzero(job.mask)
    assert not known[rows * 16 // 80, columns * 16 // 100].any()
    small = to_units(squeezed(job.image, 16))[0].numpy()
    np.testing.assert_array_equal(cond.known[0].numpy(), small * known)
    np.testing.assert_array_equal(state.latents.numpy(), noise(3, 16))
    large, _ = model.upsampler.prepare(GlideUpsampleJob(small_picture(), job.image, job.mask, ""))
    wide = known.repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(large.known_mask[0, 0].numpy() == 1, wide)
    assert [*cond.masks] == [8, 16, 32, 64]
    np.testing.assert_array_equal(~cond.masks[16].numpy(), known.reshape(4, 4, 4, 4).all((1, 3)))


def noise(seed: int, side: int) -> np.ndarray:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, side, side, generator=rng).numpy()


def small_picture(side: int = 16) -> np.ndarray:
    return np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)


def test_a_hole_thinner_than_a_pixel_of_the_base_model_is_one() -> None:
    mask = np.zeros((200, 300), bool)
    mask[77, 10:290] = True
    assert hole_at(mask, 16, 16)[6, 1:15].all()
    assert hole_at(mask[:7, :9], 16, 64).shape == (64, 64)


def test_units_and_levels_are_each_other() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    np.testing.assert_array_equal(to_picture(to_units(levels)[0]), levels)
    half = torch.full((3, 1, 1), 0.5 / 127.5)  # 128.0
    assert to_picture(half + 0.006, down=True)[0, 0, 0] == 128
    assert to_picture(half + 0.006)[0, 0, 0] == 129


def test_the_small_picture_must_be_the_base_models(model: GlideModel) -> None:
    job = make_job()
    with pytest.raises(ImageError, match="8x8 px, and the base model makes 16x16"):
        model.upsampler.prepare(GlideUpsampleJob(small_picture(8), job.image, job.mask, ""))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rasg": False}, "GLIDE has no RASG"),
        ({"stepz": 3}, "Did you mean 'steps'"),
        ({"grid": "official"}, "GLIDE has no grid"),
        ({"prompt_additions": "comma"}, "GLIDE has no prompt_additions"),
        ({"respacing": "fast27"}, "27 steps, not 100"),
        ({"steps": 0}, "steps"),
    ],
)
def test_impossible_settings_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        GlideSettings().replace(**settings)


def test_settings_are_the_notebooks() -> None:
    assert (GlideSettings().steps, GlideSettings().method) == (100, "glide")
    upsample = GlideUpsampleSettings()
    assert (upsample.steps, upsample.respacing, upsample.noise_scale) == (27, "fast27", 0.997)
    assert upsample.replace(painta=True).method == "glide x4+painta"
    with pytest.raises(SettingsError, match="noise_scale"):
        upsample.replace(noise_scale=-1.0)


def test_long_prompts_are_cut_aloud(model: GlideModel) -> None:
    with pytest.warns(PromptWarning, match="GLIDE takes 12"):
        model.prepare(make_job("a red star a red star a red star a red star a red star"))


# --- stepping ------------------------------------------------------------------------------------


def test_known_pixels_take_their_place_in_every_step(done: GlideSampler) -> None:
    known = done.cond.known_mask[0, 0].numpy() == 1
    for record in done.records:
        np.testing.assert_array_equal(
            record.x0_latents[:, known], done.cond.known[0].numpy()[:, known]
        )
        assert np.abs(record.x0_latents).max() <= 1
        assert record.x0_unblended is not None
        assert not np.array_equal(record.x0_unblended[:, known], record.x0_latents[:, known])
        np.testing.assert_array_equal(
            record.x0_preview, to_picture(torch.from_numpy(record.x0_latents))
        )


def test_a_run_is_the_steps_by_hand(model: GlideModel, done: GlideSampler) -> None:
    cond, state = model.prepare(make_job())
    x, rng = state.latents, torch.Generator()
    rng.set_state(state.rng)
    scheduler = model.scheduler_for(done.settings)
    for index in range(4):
        stacked = torch.cat([x, cond.known, cond.known_mask], 1).expand(2, -1, -1, -1)
        t = torch.full((2,), float(scheduler.timesteps[index]))
        u, c = model.unet(stacked, t, cond.context, cond.pooled)[:, None]
        eps = u[:, :3] + 5 * (c[:, :3] - u[:, :3])
        x0 = scheduler.x0(x, eps, index)
        x0 = (x0 * (1 - cond.known_mask) + cond.known).clamp(-1, 1)
        x_prev = scheduler.mean(x0, x, index)
        if index < 3:
            deviation = torch.exp(0.5 * scheduler.log_variance(c[:, 3:], index))
            x_prev = x_prev + deviation * torch.randn(1, 3, 16, 16, generator=rng)
        x = x_prev
        np.testing.assert_allclose(done.records[index].x0_latents, x0[0].numpy(), atol=2e-4)
        np.testing.assert_allclose(done.path[index + 1].latents, x[0].numpy(), atol=2e-5)


def test_watching_changes_nothing(model: GlideModel, done: GlideSampler) -> None:
    blind = GlideSampler(model, make_job(), Capture.nothing())
    blind.run()
    for one, other in zip(blind.records, done.records, strict=True):
        np.testing.assert_allclose(one.x0_latents, other.x0_latents, atol=1e-6)


def test_both_stages(done: GlideSampler, upsampled: GlideUpsampler) -> None:
    assert upsampled.image(native=True).shape == (64, 64, 3)
    assert upsampled.image().shape == done.image().shape == (80, 100, 3)
    np.testing.assert_array_equal(upsampled.job.low, done.image(native=True))
    np.testing.assert_array_equal(upsampled.decoded(upsampled.records[-1]), upsampled.image())
    assert (upsampled.settings.seed, upsampled.total) == (3, 3)
    assert upsampled.records[0].guided_norm == 0  # without guidance
    np.testing.assert_allclose(upsampled.path[0].latents, 0.997 * noise(3, 64)[0], rtol=1e-6)
    job = make_job()
    pasted = upsampled.image(paste=True)
    far = ~job.mask
    far[18:58, 32:80] = False
    np.testing.assert_array_equal(pasted[far], job.image[far])
    assert done.upsampler().total == 27


def test_guidance_of_1_or_less_runs_one_half(model: GlideModel) -> None:
    one = GlideSampler(model, make_job(guidance_scale=1.0), Capture.standard())
    assert one.step().guided_norm == 0
    assert one.records[0].cross["star"].shape == (4, 4)
    two = GlideSampler(model, make_job(negative_prompt="star"))
    assert two.step().guided_norm > 0


def test_back_and_branch(model: GlideModel, done: GlideSampler) -> None:
    sampler = GlideSampler(model, make_job(), Capture.nothing())
    sampler.run(3)
    again = sampler.back(2).branch()
    again.run()
    assert same(again, done)
    free = sampler.branch(keep_known=False, clip=False)
    free.run()
    assert free.records[-1].x0_unblended is None
    assert not np.array_equal(free.records[-1].x0_latents, done.records[-1].x0_latents)
    other = sampler.branch(prompt="a star")
    other.step()
    assert [w.text for w in other.records[-1].cross.words] == ["a", "star", "<pad>"]
    with pytest.raises(SettingsError, match="only before the first step"):
        sampler.branch(steps=9)
    sampler.restart().branch(steps=9).step()


def test_a_saved_run_goes_on(
    model: GlideModel, upsampled: GlideUpsampler, done: GlideSampler, tmp_path: Path
) -> None:
    sampler = GlideSampler(model, make_job(painta=True), EXACT)
    sampler.run(2)
    loaded = Trace.load(sampler.trace.save(tmp_path / "base.hdp"))
    resumed = GlideSampler.from_trace(model, loaded)
    sampler.run(), resumed.run()
    assert same(sampler, resumed)
    assert resumed.settings == sampler.settings
    np.testing.assert_array_equal(
        resumed.records[0].cross["star"], sampler.records[0].cross["star"]
    )
    big = Trace.load(upsampled.trace.save(tmp_path / "x4.hdp"))
    assert big.factor == 1
    assert GlideUpsampler.from_trace(model.upsampler, big).done
    with pytest.raises(SettingsError, match="not of GLIDE's upsampler"):
        GlideUpsampler.from_trace(model.upsampler, loaded)
    with pytest.raises(SettingsError, match="not of GLIDE's base model"):
        GlideSampler.from_trace(model, big)
    with pytest.raises(SettingsError, match=r"another kind of run .glide.painta"):
        Sampler.from_trace(model, loaded)


def test_a_step_can_be_cancelled(model: GlideModel) -> None:
    sampler = GlideSampler(model, make_job())
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(SamplingCancelled):
        sampler.stepper(sampler.state, cancelled)
    assert len(asked) == 4
    assert sampler.index == 0


def test_numbers_that_are_not_finite_are_told(folder: Path) -> None:
    model = builders_glide.load(folder)
    model.unet.out[2].bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"prediction is not finite at step 1 .*out.2.bias"):
        GlideSampler(model, make_job()).step()


# --- what is watched -----------------------------------------------------------------------------


def naive(model: GlideModel, sampler: GlideSampler, index: int) -> dict[str, Any]:
    """q, k and the length of the text of every layer in the conditional half of a step."""
    kept: dict[str, Any] = {}

    def attend(layer: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, text: int) -> Any:
        kept[layer] = (q[0].double().numpy(), k[0].double().numpy(), text)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    cond, record = sampler.cond, sampler.records[index]
    x = torch.from_numpy(record.latents)[None]
    given = torch.cat([x, cond.known, cond.known_mask], 1)
    t = torch.tensor([float(record.timestep)])
    model.unet(given, t, cond.context[1:], cond.pooled[1:], attend)
    return kept


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_maps_are_the_text_columns_of_the_joint_softmax(
    model: GlideModel, done: GlideSampler
) -> None:
    layers = naive(model, done, 1)
    record = done.records[1]
    assert record.cross.levels == (8, 16, 32)
    for info in done.layers:
        q, k, _ = layers[info.name]
        p = softmax(q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5)  # (heads, hw, text + hw)
        stack = record.cross.layers(info.level)[info.name]  # (heads, tokens, h, w)
        side = 64 // info.level
        naive_maps = p[..., : len(record.cross.tokens)].transpose(0, 2, 1)
        np.testing.assert_allclose(
            stack, naive_maps.reshape(*naive_maps.shape[:2], side, side), atol=2e-5
        )
    star = record.cross.map("star", layer=LAYER, head=1)
    np.testing.assert_array_equal(star, record.cross.layers(16)[LAYER][1, 2])
    assert {"a", "red", "star", "<pad>"} == {w.text for w in record.cross.words}


def test_any_pixel_and_word_can_be_asked_later(model: GlideModel, done: GlideSampler) -> None:
    q, k, text = naive(model, done, 1)[LAYER]
    p = softmax(q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5)
    asked = done.trace.ask(step=1)
    row = asked.row(20, 36, layer=LAYER, head=0)  # position (2, 1) of 4 x 4
    np.testing.assert_allclose(row, p[0, 9, text:].reshape(4, 4), atol=2e-5)
    assert float(row.sum()) < 0.99  # the rest is the text's
    word = asked.word("star", layer=LAYER)
    np.testing.assert_allclose(word, done.records[1].cross.map("star", layer=LAYER), atol=1e-5)
    own = asked.words("a red star", model=model)
    np.testing.assert_allclose(own["red", 16], asked.cross["red", 16], atol=1e-5)
    assert asked.words("star", model=model)["star", 8].shape == (8, 8)


def test_one_kind_of_queries_does_not_tell_a_joint_softmax(model: GlideModel) -> None:
    sampler = GlideSampler(model, make_job(), Capture.nothing(queries="self"))
    sampler.step()
    with pytest.raises(SettingsError, match="queries=True"):
        sampler.trace.ask().row(20, 36)
    sampler = GlideSampler(model, make_job(), Capture.nothing(queries="cross"))
    sampler.step()
    with pytest.raises(SettingsError, match="queries=True"):
        sampler.trace.ask().word("star")


def test_the_same_views_show_it(
    model: GlideModel, done: GlideSampler, upsampled: GlideUpsampler, tmp_path: Path
) -> None:
    sampler = GlideSampler(model, make_job(painta=True))
    sampler.run()
    for trace in (sampler.trace, upsampled.trace):
        assert views.heatmaps(trace.records()[0], trace.image, words=["star"]).size
        assert views.filmstrip(trace.records(), words=["star"]).size
        page = trace.to_html(tmp_path / "page.html")
        assert page.stat().st_size > 10_000
    assert done.trace.screen("star").top(3)
    assert upsampled.records[0].cross["star", 32].shape == (2, 2)
    assert upsampled.records[0].similarity[16].shape == (4, 4)
    assert done.records[0].scores.shape == (4, 2, 2)


def test_a_player_steps_it(
    model: GlideModel, done: GlideSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    for sampler in (GlideSampler(model, make_job()), done.upsampler(steps=2, respacing="even")):
        player = Player(sampler)
        try:
            player.step()
            assert len(sampler.records) == 1
            assert player.controls.rasg.layout.display == "none"
            assert player.controls.maps.value
            player.controls.painta.value = True  # goes on as a branch
            player.step()
            assert player.sampler.records[-1].settings.painta
        finally:
            player.close()


# --- PAIntA --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["multiply", "log"])
def test_painta_scales_what_masked_pixels_make_of_known_ones(
    model: GlideModel, scaling: str
) -> None:
    plain = GlideSampler(model, make_job(), EXACT)
    sampler = GlideSampler(model, make_job(painta=True, painta_scaling=scaling), EXACT)
    plain.step(), sampler.step()
    assert not np.array_equal(plain.records[0].x0_unblended, sampler.records[0].x0_unblended)
    record = sampler.records[0]
    assert [*record.c] == [16, 32]
    first = "input_blocks.5.1"  # before it nothing has changed: level 8 stays
    q, k, text = naive(model, sampler, 0)[first]
    hole = sampler.cond.masks[16].numpy().ravel()
    logits = q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
    c = softmax(logits[..., :text])[..., :3].mean(0).sum(-1).reshape(4, 4)
    g = np.exp(-(np.arange(-1.0, 2.0) ** 2))
    kernel = np.outer(g, g) / np.outer(g, g).sum()
    padded = np.pad(c, 1)
    smooth = sum(
        kernel[i, j] * padded[i : i + 4, j : j + 4] for i in range(3) for j in range(3)
    ).ravel()
    middle = np.sort(smooth)[(len(smooth) - 1) // 2]
    c = ((smooth - middle) / smooth.max()).clip(0, 1)
    np.testing.assert_allclose(record.c.layers[16][first].ravel(), c, atol=1e-5)
    own = logits[..., text:]  # a view
    factor = np.where(hole, 1, c)
    if scaling == "log":
        own[:, hole] += np.log(np.maximum(factor, 1e-4))
    else:
        own[:, hole] *= factor
    p = softmax(logits)
    maps = record.cross.layers(16)[first]
    np.testing.assert_allclose(
        maps.reshape(*maps.shape[:2], 16), p[..., :4].transpose(0, 2, 1), atol=2e-5
    )
    asked = sampler.trace.ask()
    row = asked.region(hole.reshape(4, 4), layer=first)
    np.testing.assert_allclose(row.ravel(), p[:, hole, text:].mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(
        asked.word("star", layer=first), record.cross.map("star", layer=first), atol=1e-5
    )
    before, after = record.similarity.layers[16][first], record.similarity_painta.layers[16][first]
    changed = before.ravel() * factor
    if scaling == "log":
        changed = before.ravel() + np.log(np.maximum(factor, 1e-4))
    np.testing.assert_allclose(after.ravel(), changed, atol=1e-4)


def test_painta_acts_in_the_noisier_half_alone(model: GlideModel) -> None:
    sampler = GlideSampler(model, make_job(painta=True))
    sampler.run()
    assert [bool(len(r.c)) for r in sampler.records] == [t > 500 for t in sampler.timesteps]


# --- edits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        ScaleWord("star", 0.0),
        ScaleHead(LAYER, 1, 0.0),
        SetC(0.5),
    ],
)
def test_words_heads_and_c_can_be_edited(model: GlideModel, edit: Any) -> None:
    sampler = GlideSampler(model, make_job(painta=True), EXACT)
    edited = sampler.branch(edit=edit)
    one, other = sampler.step(), edited.step()
    assert not np.array_equal(one.x0_unblended, other.x0_unblended)
    if isinstance(edit, ScaleWord):
        first = "input_blocks.3.1"
        assert not other.cross.map("star", layer=first).any()
        np.testing.assert_array_equal(
            other.cross.map("red", layer=first), one.cross.map("red", layer=first)
        )


def test_the_mask_cannot_be_edited(model: GlideModel) -> None:
    sampler = GlideSampler(model, make_job())
    with pytest.raises(SettingsError, match="changes the mask"):
        sampler.branch(edit=MoveMask(to=np.ones((80, 100), bool)))
    with pytest.raises(SettingsError, match="not a word of this prompt"):
        sampler.branch(edit=ScaleWord("moon", 2.0))
    with pytest.raises(SettingsError, match="No attention layer"):
        sampler.branch(edit=ScaleHead("down_blocks", 0, 2.0))
