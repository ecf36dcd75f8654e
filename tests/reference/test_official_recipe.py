"""The preset `official` does with pictures, masks and guidance what the official script does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from hdpainter_nb import Job, Sampler
from hdpainter_nb.errors import HDPainterWarning
from hdpainter_nb.images.fit import Frame
from hdpainter_nb.models.model import Model
from support.official_recipe import official_picture, official_size, prepared

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore:The hole vanishes"),
    pytest.mark.filterwarnings("ignore:The mask is soft"),
    pytest.mark.filterwarnings("ignore:The mask covers"),
    pytest.mark.filterwarnings(r"ignore:\d+% of the mask is nearly black"),
]


def drawn(seed: int, soft: bool, size: tuple[int, int] | None = None) -> tuple[np.ndarray, ...]:
    """A smooth picture and a mask, of a random size between 64 and 400 px on a side."""
    rng = np.random.default_rng(seed)
    height, width = size or np.exp(rng.uniform(np.log(64), np.log(400), 2)).astype(int)
    y, x = np.mgrid[:height, :width] / rng.uniform(3, 40)
    image = np.stack([np.sin(x + y), np.cos(x - y), np.sin(2 * x)], -1)
    image = (127.5 + 127.5 * image + rng.normal(0, 9, image.shape)).clip(0, 255).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
    mask[top : top + rng.integers(6, height), left : left + rng.integers(6, width)] = 255
    if soft:
        ramp = np.linspace(0, 1, width)[None] * np.linspace(1, 0.2, height)[:, None]
        mask = (mask * ramp).astype(np.uint8)
        mask[0, 0] = 1  # any value above 0 is hole, unless scaling rounds it away
    return image, mask


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_pictures_and_masks_of_any_size(model: Model, soft: bool) -> None:
    side = model.native_size
    enlarged = 0
    for seed in range(60):
        image, mask = drawn(seed, soft)
        layout = model.layout(Job(image, mask, "a red star"))
        theirs = prepared(image, mask, side)
        assert layout.mask.crop[2:] == theirs.size[::-1], seed
        assert max(theirs.size) == side
        np.testing.assert_array_equal(layout.picture, theirs.picture)
        how = layout.settings.unet_mask
        np.testing.assert_array_equal(layout.mask.for_pixels(how), theirs.hole)
        np.testing.assert_array_equal(layout.mask.for_unet(how)[0, 0] > 0, theirs.latent_mask)
        enlarged += max(mask.shape) < side
    assert 3 < enlarged < 57  # both ways


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("size", [(90, 70), (100, 333), (128, 93), (201, 200)])
def test_what_the_networks_are_given(
    model: Model, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], soft: bool
) -> None:
    """The VAE's picture, bit for bit, and the UNet's mask channel and masked latents."""
    image, mask = drawn(sum(size), soft, size)
    vae, given = model.pipe.vae, []
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda x: (given.append(x), encode(x))[1])
    cond, state = model.prepare(Job(image, mask, "a red star"))
    theirs = prepared(image, mask, model.native_size)
    levels = torch.from_numpy(theirs.picture).permute(2, 0, 1)[None]
    blanked = (2 * (levels / 255) - 1) * ~torch.from_numpy(theirs.hole)
    (picture,) = given
    assert torch.equal(picture, blanked)
    with torch.no_grad():
        latents = encode(picture).latent_dist.mean * vae.config.scaling_factor
    np.testing.assert_array_equal(cond.latent_mask[0, 0] > 0, theirs.latent_mask)
    assert torch.equal(cond.masked_image_latents, latents)
    assert state.latents.shape == latents.shape
    assert cond.crop == (0, 0, *theirs.size[::-1])


def test_sizes_at_512_px() -> None:
    """Of every size up to 1400 px by a stride: the arithmetic alone."""
    for width in range(64, 1400, 13):
        for height in range(64, 1400, 17):
            frame = Frame.of((height, width), how="pad", scaling="bicubic", long_side=512)
            assert frame.crop[2:] == official_size(width, height, 512)[::-1]
    # Divided as the official code divides, a picture that fits already loses a row.
    frame = Frame.of((372, 512), how="pad", scaling="bicubic", long_side=512)
    assert frame.crop[2:] == (371, 512)


@pytest.mark.parametrize("scale", [0.0, 0.4, 1.0, 1.5])
@pytest.mark.parametrize("rasg", [False, True])
def test_guidance_at_every_scale(model: Model, job: Job, scale: float, rasg: bool) -> None:
    sampler = Sampler(model, job.replace(guidance_scale=scale, rasg=rasg, painta=False))
    cond, x = sampler.cond, sampler.state.latents
    given = torch.cat([x, cond.latent_mask, cond.masked_image_latents], 1).expand(2, -1, -1, -1)
    with torch.no_grad():
        out = model.unet(given, sampler.timesteps[0], encoder_hidden_states=cond.context)[0]
    uncond, conditional = out.chunk(2)
    eps = uncond + scale * (conditional - uncond)
    alpha = model.alphas_cumprod[sampler.timesteps[0]]
    x0 = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
    record = sampler.step()
    np.testing.assert_allclose(record.x0_latents, x0[0].numpy(), rtol=1e-4, atol=1e-4)
    assert record.guided_norm > 0  # both halves ran


def test_the_conditional_half_alone_is_one_word_away(model: Model, job: Job) -> None:
    for preset in ("community", "practical"):
        short = Job(
            job.image, job.mask, job.prompt, preset=preset, steps=2, guidance_scale=0.5, seed=3
        )
        sampler = Sampler(model, short)
        assert not sampler.stepper.guided
        assert sampler.step().guided_norm == 0
    assert Sampler(model, job.replace(guidance_scale=0.5)).stepper.guided


@pytest.fixture
def finished(model: Model, job: Job) -> Sampler:
    sampler = Sampler(model, job.replace(steps=2))
    sampler.run()
    return sampler


def test_levels_of_the_final_picture_are_cut(model: Model, finished: Sampler) -> None:
    assert finished.state.x0 is not None
    theirs = official_picture(model.stock_pipeline(), finished.state.x0)
    np.testing.assert_array_equal(finished.image(), theirs)
    np.testing.assert_array_equal(finished.decoded(finished.records[-1]), theirs)
    rounded = finished.branch(pixel_rounding="nearest").image()
    apart = rounded.astype(int) - theirs
    assert set(np.unique(apart)) == {0, 1}


# --- what is one word away --------------------------------------------------------------------


def test_a_practical_preset_scales_nothing_up_and_loses_no_line(model: Model) -> None:
    image, mask = drawn(1, False, (80, 100))
    layout = model.layout(Job(image, mask, "a red star", preset="practical"))
    np.testing.assert_array_equal(layout.picture[:80, :100], image)
    np.testing.assert_array_equal(layout.mask.pixels[:80, :100], mask > 0)
    thin = np.zeros((600, 800), np.uint8)
    thin[300] = 255
    big = np.zeros((600, 800, 3), np.uint8)
    for scaling in ("area", "bicubic"):
        job = Job(big, thin, "a red star", preset="practical", scaling=scaling)
        pixels = model.layout(job).mask.pixels
        assert pixels.any() == (scaling == "area")


@pytest.mark.parametrize("scaling", ["area", "bicubic", "lanczos"])
def test_soft_masks_by_either_rule(model: Model, scaling: str) -> None:
    image, mask = drawn(7, True, (128, 128))  # of the model's size: nothing is scaled
    for rule, expected in (("any", mask > 0), ("half", mask >= 128)):
        job = Job(image, mask, "a red star", scaling=scaling, soft_mask=rule)
        np.testing.assert_array_equal(job.mask, expected)
        np.testing.assert_array_equal(model.layout(job).mask.pixels, expected)


def test_a_job_keeps_the_grey_of_its_mask(model: Model, job: Job) -> None:
    _, mask = drawn(7, True, (128, 128))
    soft = Job(job.image, mask, "a red star", steps=2)
    np.testing.assert_array_equal(soft.mask_levels, mask)
    half = soft.replace(soft_mask="half")
    np.testing.assert_array_equal(half.mask, mask >= 128)
    np.testing.assert_array_equal(half.replace(soft_mask="any").mask, soft.mask)
    window = (slice(0, 64), slice(64, 128))
    np.testing.assert_array_equal(soft.part(window).mask_levels, mask[window])
    assert job.soft_mask_levels is None


def test_a_saved_run_goes_on_with_the_grey_of_its_mask(model: Model, job: Job, tmp_path) -> None:
    from hdpainter_nb import Trace

    image, mask = drawn(7, True, (150, 128))
    sampler = Sampler(model, Job(image, mask, "a red star", steps=2))
    sampler.step()
    path = sampler.trace.save(tmp_path / "soft.hdp")
    again = Sampler.from_trace(model, Trace.load(path))
    assert torch.equal(again.cond.latent_mask, sampler.cond.latent_mask)
    np.testing.assert_array_equal(again.step().x0_latents, sampler.step().x0_latents)


def test_what_soft_masks_are_told() -> None:
    image, mask = drawn(7, True, (128, 128))
    with pytest.warns(HDPainterWarning, match="Every value above 0 counts as hole, as in the off"):
        Job(image, mask, "")
    with pytest.warns(HDPainterWarning, match="They were cut at half"):
        Job(image, mask, "", soft_mask="half")
    hard = np.zeros((128, 128), np.uint8)
    hard[40:80, 40:80] = 255
    noisy = np.maximum(hard, np.random.default_rng(0).integers(0, 6, hard.shape, np.uint8))
    with pytest.warns(HDPainterWarning, match="nearly black without being 0, as JPEG leaves it"):
        Job(image, noisy, "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Job(image, noisy, "", soft_mask="half")
        Job(image, hard, "")
