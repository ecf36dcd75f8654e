"""The miniature x4 upscaler: the world in large, its training, the shipped weights."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdpainter_nb import Capture, UpscaleJob, Upscaler, load, load_upscaler, mini
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.mini import evaluate_x4, train_vae, train_x4
from hdpainter_nb.mini.training import networks_x4
from hdpainter_nb.mini.training.autoencoder import new_vae, psnr, scale_latents
from hdpainter_nb.mini.training.data_x4 import Source, View, ViewStock
from hdpainter_nb.mini.training.feed import Feed
from hdpainter_nb.mini.training.learner import chances
from hdpainter_nb.mini.training.parallel import Team
from hdpainter_nb.mini.world.large import band, decibels, error, gradient_energy, large_task
from hdpainter_nb.mini.world.scene import make_scene
from hdpainter_nb.upscale.model import UpscaleModel
from support.supplies import few

DATA = Path(__file__).resolve().parents[2] / "data"
X4 = DATA / "mini_x4"

held_out = functools.cache(large_task)  # two scenes of 1024 x 1024 px each


@pytest.fixture(scope="module")
def model() -> UpscaleModel:
    return load_upscaler("mini", device="cpu")


# --- the world at four times the resolution ------------------------------------------------------


@pytest.mark.parametrize("background", mini.BACKGROUNDS)
def test_large_scene_reduced_is_the_small_one(background: str) -> None:
    for seed in (3, 11):
        small, large = mini.scene(seed, background), mini.scene(seed, background, scale=4)
        assert large.image.shape == (1024, 1024, 3)
        assert large.objects == small.objects
        gap = mini.reduced(large.image).astype(np.float32) - small.image
        assert np.abs(gap.mean((0, 1))).max() < 4  # grey levels
        # what is left of the details at this scale has no broad structure
        assert np.abs(cv2.blur(gap, (16, 16))).mean() < 4
        assert np.abs(gap).mean() < 8


@pytest.mark.parametrize("background", [b for b in mini.BACKGROUNDS if b not in ("sky", "photo")])
def test_large_scene_shows_what_the_small_one_cannot(background: str) -> None:
    large = mini.scene(4, background, (), scale=4).image
    enlarged = cv2.resize(mini.reduced(large), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    everywhere = np.ones(large.shape[:2], bool)
    assert gradient_energy(large, everywhere) > 2 * gradient_energy(enlarged, everywhere)


def test_scenes_of_every_scale_take_the_same_numbers() -> None:
    generators = np.random.default_rng(7), np.random.default_rng(7)
    first, second = (
        make_scene(rng, scale=scale) for rng, scale in zip(generators, (1, 4), strict=True)
    )
    assert (first.background, first.objects) == (second.background, second.objects)
    assert generators[0].random() == generators[1].random()


def test_large_tasks_are_well_formed() -> None:
    for seed in range(3):
        task = held_out(seed)
        assert np.array_equal(task.image, large_task(seed).image)
        assert np.array_equal(task.image[~task.mask], task.truth[~task.mask])
        assert np.array_equal(task.low, mini.reduced(task.truth))
        assert np.array_equal(task.mask[::4, ::4], task.hole)
        assert f"{task.thing.color} {task.thing.shape}" in task.prompt
        part = task.crop(512)
        assert part.image.shape == (512, 512, 3)
        assert part.low.shape == (128, 128, 3)
        assert part.mask.sum() == task.mask.sum()  # the whole hole is in it
        assert np.array_equal(mini.reduced(part.truth), part.low)


# --- measures ------------------------------------------------------------------------------------


def test_measures() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    edge = band(mask, 4)
    assert edge[16:24, 30].all()
    assert not edge[24:36, 30].any()
    grey = np.full((64, 64, 3), 100, np.uint8)
    assert error(grey + np.uint8(2), grey, mask) == 4
    assert decibels(255.0**2) == 0
    assert gradient_energy(grey, mask) == 0
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    assert gradient_energy(ramp, mask) == 3  # one grey level in three channels, to the right alone


def test_summary_relates_to_truth_and_to_the_first_variant() -> None:
    seen = {"hole": 1.0, "edge": 4.0, "hole_energy": 5.0, "edge_energy": 6.0}
    better = {"hole": 0.1, "edge": 0.4, "hole_energy": 10.0, "edge_energy": 3.0}
    report = evaluate_x4.summary([{"truth": seen, "bicubic": seen, "ours": better}] * 3)
    assert report["ours"]["lead_hole"] == {"mean": 10.0, "error": 0.0}
    assert report["bicubic"]["lead_edge"]["mean"] == 0
    assert (report["ours"]["energy_hole"], report["ours"]["energy_edge"]) == (2.0, 0.5)


# --- training ------------------------------------------------------------------------------------


def test_scaling_the_latents_changes_no_reconstruction() -> None:
    torch.manual_seed(0)
    vae, pictures = new_vae(4).eval(), torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = vae.encode(pictures).latent_dist
        shown = vae.decode(before.mean).sample
        scale_latents(vae, 12.0)
        after = vae.encode(pictures).latent_dist
        torch.testing.assert_close(after.mean, 12 * before.mean)
        torch.testing.assert_close(after.std, 12 * before.std, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(vae.decode(after.mean).sample, shown, atol=1e-4, rtol=1e-3)


def test_both_networks_train_and_resume(tmp_path: Path) -> None:
    team = Team(0, 1, tmp_path / "unused")
    work, out = tmp_path / "work", tmp_path / "out"
    vae_plan = train_vae.Plan(
        work, out / "vae", 5, factor=4, max_steps=2, large_from=0.0, crops=(32, 32),
        batches=(1, 1), measured=2,
    )  # fmt: skip
    train_vae.train(team, vae_plan)
    plan = train_x4.Plan(
        work, out, DATA / "mini", minutes=5, max_steps=2, batches=(2, 1), sides=(16, 16),
        warm_rows=4,
    )  # fmt: skip
    for expected in (2, 4):
        train_x4.train(team, plan)
        state = torch.load(work / "upscaler.pt", weights_only=True)
        assert (state["step"], state["seen"]) == (expected, 2 * expected)
    trained = load_upscaler(out, device="cpu")
    assert trained.guidance_scale == networks_x4.GUIDANCE
    assert not [f for f in out.rglob("*") if f.is_file() and f.stat().st_mode & 0o111]
    begun = train_x4.UpscaleTrainee(
        train_x4.Plan(tmp_path / "none", out, DATA / "mini", 5, start=out)
    )
    for name, tensor in begun.unet.state_dict().items():
        torch.testing.assert_close(tensor, trained.unet.state_dict()[name], rtol=0, atol=0)


def test_loss_asks_for_v(tmp_path: Path) -> None:
    trainee = train_x4.UpscaleTrainee(train_x4.Plan(tmp_path, tmp_path, DATA / "mini", minutes=1))
    clean, low, ids = torch.randn(3, 4, 8, 8), torch.rand(3, 3, 8, 8), torch.zeros(3, 24).long()

    class Knowing(torch.nn.Module):
        """A denoiser that has seen the picture, and is off by `wrong`."""

        wrong = 0.0

        def forward(self, packed, time, context, class_labels):  # type: ignore[no-untyped-def]
            assert packed.shape == (3, 7, 8, 8)
            assert class_labels.max() <= networks_x4.MAX_LEVEL
            a, s = (x[time].view(-1, 1, 1, 1) for x in (trainee.signal, trainee.noise))
            eps = (packed[:, :4] - a * clean) / s
            return type("Output", (), {"sample": a * eps - s * clean + self.wrong})

    trainee.run = Knowing()
    assert trainee.loss(clean, low, ids) < 1e-6
    Knowing.wrong = 0.5
    assert trainee.loss(clean, low, ids).item() == pytest.approx(0.25, rel=1e-3)


def test_chances_spare_the_easy_timesteps() -> None:
    alphas = networks_x4.new_scheduler().alphas_cumprod
    found = chances(alphas)
    assert found[0] == pytest.approx(0.12)
    assert (found[alphas < 5 / 6] == 1).all()
    assert (found.diff() >= 0).all()


def test_views_show_the_same_place_large_and_small() -> None:
    source = Source(5, None)
    for _ in range(2):
        crops, lows, ids = source.view()
        assert (crops.shape, lows.shape) == ((8, 256, 256, 3), (8, 64, 64, 3))
        assert (ids.shape, ids.dtype) == ((8, 24), np.int64)
        small = np.stack([mini.reduced(crop) for crop in crops]).astype(np.float32)
        assert np.abs(lows - small).mean() < 6  # grey levels; some of them are blurred
    assert Source(5, None, side=512).view()[0].shape == (2, 512, 512, 3)


def test_stock_cuts_both_pictures_at_one_place() -> None:
    """The autoencoder here takes every fourth pixel's red, so that places can be compared."""

    class Every:
        config = type("Config", (), {"scaling_factor": 1.0})

        def parameters(self):  # type: ignore[no-untyped-def]
            yield torch.zeros(1)

        def encode(self, x):  # type: ignore[no-untyped-def]
            mean = x[:, :1, ::4, ::4].expand(-1, 4, -1, -1)
            return type("Posterior", (), {"latent_dist": type("Normal", (), {"mean": mean})})

    def paint(seed: int) -> Iterator[View]:
        rng = np.random.default_rng(seed)
        while True:
            low = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
            yield low.repeat(4, 1).repeat(4, 2), low, np.tile(np.arange(24), (3, 1))

    stock = ViewStock(Feed(paint, 0), Every(), 6)  # type: ignore[arg-type]
    assert len(stock.ring) == 6
    latents, low, ids = stock.batch(5, 8, 1.2)
    assert (latents.shape, low.shape, ids.shape) == ((5, 4, 8, 8), (5, 3, 8, 8), (5, 24))
    torch.testing.assert_close(latents[:, 0], low[:, 0], atol=1e-3, rtol=0)
    assert len(stock.ring) == 12  # six rows were asked for
    assert -1 <= low.min() < -0.9
    assert 0.9 < low.max() <= 1


def test_feed_of_other_processes_and_its_end() -> None:
    feed = Feed(partial(few, count=3), 10, workers=2)
    assert sorted(feed.next() for _ in range(6)) == [10, 10, 10, 11, 11, 11]
    with pytest.raises(RuntimeError, match="have ended"):
        feed.next()
    feed.close()


# --- the shipped weights -------------------------------------------------------------------------


def test_folder_is_small_and_plain() -> None:
    files = [f for f in X4.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 20e6
    both = sum(f.stat().st_size for f in (DATA / "mini").rglob("*") if f.is_file())
    assert both + sum(f.stat().st_size for f in files) < 45e6
    assert not [f.name for f in files if f.stat().st_mode & 0o111]
    assert {f.suffix for f in files} <= {".json", ".md", ".safetensors", ".txt"}
    assert (X4 / "MODEL_CARD.md").is_file()


@pytest.mark.diffusers
def test_the_alias_loads_it(model: UpscaleModel) -> None:
    assert (model.name, model.kind, model.prediction_type) == ("mini", "x4", "v_prediction")
    assert (model.positive_suffix, model.negative_prompt) == ("", "")
    assert (model.native_size, model.max_noise_level) == (1024, 350)
    card = json.loads((X4 / "hdpainter.json").read_text())
    assert model.guidance_scale == card["guidance_scale"]


@pytest.mark.diffusers
def test_layout_is_stabilitys(model: UpscaleModel) -> None:
    unet, vae = model.unet.config, model.pipe.vae.config
    assert (unet.in_channels, unet.out_channels, unet.num_class_embeds) == (7, 4, 1000)
    assert unet.down_block_types == ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3
    assert unet.only_cross_attention == [True, True, True, False]
    assert (len(vae.block_out_channels), vae.latent_channels) == (3, 4)
    assert vae.scaling_factor == 0.08333  # diffusers puts this number into any x4 upscaler
    for part in (model.pipe.scheduler, model.pipe.low_res_scheduler):
        found = (part.config.beta_start, part.config.beta_end, part.config.beta_schedule)
        assert found == (0.0001, 0.02, "scaled_linear")


def test_text_encoder_is_the_miniatures_own_kind(model: UpscaleModel) -> None:
    other = load("mini", device="cpu").pipe
    assert model.pipe.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    assert model.pipe.text_encoder.config.hidden_size == other.text_encoder.config.hidden_size


def test_autoencoder_keeps_the_picture(model: UpscaleModel) -> None:
    vae = model.pipe.vae.float()
    images = np.stack([mini.scene(91_000 + k, scale=4).image[400:656, 400:656] for k in range(8)])
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = torch.cat([vae.encode(p[None]).latent_dist.mean for p in pictures])
        output = torch.cat([vae.decode(z[None]).sample for z in latents])
    small = torch.nn.functional.avg_pool2d(pictures, 4)
    bicubic = torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic")
    assert psnr(output, pictures).mean() > psnr(bicubic, pictures).mean() + 1
    assert (output - pictures).mean((0, 2, 3)).abs().max() < 0.03  # no shift of colour
    deviations = latents.std((0, 2, 3)) * vae.config.scaling_factor
    assert 0.4 < deviations.min() <= deviations.max() < 2.5


def test_known_pixels_help_near_the_edge(model: UpscaleModel) -> None:
    """Three held-out scenes, few steps: nearer the truth than bicubic, and than without eq. 10."""
    leads, errors, energies = [], [], []
    for seed in (0, 1, 2):  # the first of those that the card tells of
        task = held_out(seed).crop(512)
        job = UpscaleJob(task.low, task.image, task.mask, task.prompt, steps=3, seed=seed)
        upscaler = Upscaler(model, job, Capture.nothing())
        ours, plain = (_picture(run) for run in (upscaler, upscaler.branch(blend=False)))
        bicubic = compositing.poisson(
            job.image,
            resize.resize(job.low, job.mask.shape),
            job.mask,
            bounds=job.settings.poisson_bounds,
        )
        edge = band(task.mask)
        leads.append(
            decibels(error(ours, task.truth, edge)) - decibels(error(plain, task.truth, edge))
        )
        errors.append(
            [[error(p, task.truth, place) for place in (task.mask, edge)] for p in (bicubic, ours)]
        )
        energies.append([gradient_energy(p, edge) for p in (bicubic, ours)])
    assert min(leads) > 0.6  # dB
    (blurred_hole, blurred_edge), (our_hole, our_edge) = np.sum(errors, 0)
    assert decibels(our_hole) - decibels(blurred_hole) > 0.3
    assert decibels(our_edge) - decibels(blurred_edge) > 0.3
    blurred, crisp = np.mean(energies, 0)
    assert crisp > 1.2 * blurred


def _picture(upscaler: Upscaler) -> np.ndarray:
    upscaler.run()
    return upscaler.image()
