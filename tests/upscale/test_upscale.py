"""The upscaler: loading, stepping, branching, its traces, and the stock pipeline's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hdpainter_nb import Capture, Sampler, Trace, UpscaleJob, Upscaler, load, load_upscaler
from hdpainter_nb.errors import ModelError, SamplingCancelled, SettingsError
from hdpainter_nb.images.compositing import grown
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.trace import web
from hdpainter_nb.upscale.model import UpscaleModel
from support import builders

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> UpscaleModel:
    return load_upscaler(folder, device="cpu")


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 20
    waves = [np.sin(x + y), np.cos(x - 2 * y), np.sin(2 * x)]
    return (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


def make_job(
    size: tuple[int, int] = (256, 256), low: tuple[int, int] = (64, 64), **settings: Any
) -> UpscaleJob:
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 3 : height // 2, width // 3 : width // 2] = True
    values = {"steps": 4, "seed": 3, **settings}
    return UpscaleJob(picture(*low), picture(*size), mask, "a red star", **values)


@pytest.fixture(scope="module")
def done(model: UpscaleModel) -> Upscaler:
    upscaler = Upscaler(model, make_job())
    upscaler.run()
    return upscaler


# --- loading -------------------------------------------------------------------------------------


def test_a_folder_loads(model: UpscaleModel) -> None:
    assert (model.name, model.kind, model.prediction_type) == ("tiny", "x4", "v_prediction")
    assert (model.factor, model.native_size, model.max_noise_level) == (4, 256, 350)
    assert model.positive_suffix == "high resolution professional photo"
    assert model.negative_prompt == ""
    assert model.low_alphas[0].item() == pytest.approx(1 - 0.0001)


def test_a_pipeline_is_taken_as_it_is(folder: Path) -> None:
    from diffusers import StableDiffusionUpscalePipeline

    pipe = StableDiffusionUpscalePipeline.from_pretrained(folder)
    config = dict(pipe.scheduler.config)
    model = load_upscaler(pipe)
    assert model.pipe is pipe
    stock = model.stock_pipeline()
    assert all(getattr(stock, n) is getattr(pipe, n) for n in ("unet", "vae", "text_encoder"))
    assert not any(getattr(stock, n) is getattr(pipe, n) for n in ("scheduler", "tokenizer"))
    Upscaler(model, make_job(steps=1)).run()
    assert dict(pipe.scheduler.config) == config
    assert pipe.scheduler.num_inference_steps is None


def test_the_alias_asks_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionUpscalePipeline as Pipeline

    from hdpainter_nb.models import loading

    asked = []

    def download(place: str, **options: Any) -> Path:
        asked.append((place, options["safety_checker"], options["watermarker"]))
        return folder

    monkeypatch.setattr(loading, "hf_hub_download", lambda _, file: str(folder / file))
    monkeypatch.setattr(Pipeline, "download", download)
    assert load_upscaler(device="cpu").name == "x4"
    assert asked == [("stabilityai/stable-diffusion-x4-upscaler", None, None)]


def test_errors_say_what_to_do(folder: Path, folders: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'x4' is loaded with load_upscaler\('x4'\)"):
        load("x4")
    with pytest.raises(ModelError, match=r"'sd15' is loaded with load\('sd15'\)"):
        load_upscaler("sd15")
    with pytest.raises(ModelError, match="Did you mean 'x4'"):
        load_upscaler("x44")
    with pytest.raises(ModelError, match=r"load_upscaler\(\) knows no option 'config'"):
        load_upscaler(folder, config="x")
    with pytest.raises(ModelError, match=r"StableDiffusionInpaintPipeline, which cannot.*x4"):
        load_upscaler(folders["sd15"])
    with pytest.raises(ModelError, match="StableDiffusionUpscalePipeline, which cannot"):
        load(folder)
    with pytest.raises(ModelError, match=r"holds no model_index\.json"):
        load_upscaler(tmp_path)
    with pytest.raises(ModelError, match="needs 7 input channels, not 9"):
        UpscaleModel.from_unet(builders.make_unet())


def test_a_bare_unet_neither_prepares_nor_decodes() -> None:
    model = UpscaleModel.from_unet(builders.make_upscaler_unet())
    assert model.betas[-1].item() == pytest.approx(0.02)
    with pytest.raises(ModelError, match="build an UpscaleConditioning"):
        Upscaler(model, make_job())


# --- against the stock pipeline ------------------------------------------------------------------


@pytest.mark.parametrize("scale", [7.5, 1.0])
def test_without_blending_it_is_the_stock_pipeline(folder: Path, scale: float) -> None:
    from diffusers import StableDiffusionUpscalePipeline

    pipe = StableDiffusionUpscalePipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    latents: list[torch.Tensor] = []
    job = make_job(
        blend=False,
        poisson=False,
        grid="leading",
        decode="latent",
        prompt_additions="none",
        negative_prompt="blue",
        guidance_scale=scale,
        low_guidance="conditional",
        pixel_rounding="nearest",
    )
    stock = pipe(
        job.prompt,
        image=Image.fromarray(job.low),
        num_inference_steps=job.settings.steps,
        guidance_scale=scale,
        negative_prompt="blue",
        generator=torch.Generator().manual_seed(job.settings.seed),
        callback=lambda _, __, x: latents.append(x.clone()),
        output_type="np",
    ).images[0]
    upscaler = Upscaler(load_upscaler(folder, device="cpu"), job, Capture.everything())
    upscaler.run()
    nodes = upscaler.trace.path()[1:]
    assert len(nodes) == len(latents)
    for node, theirs in zip(nodes, latents, strict=True):
        assert np.array_equal(node.latents, theirs[0].numpy())
    assert np.array_equal(upscaler.image(), (stock * 255).round().astype(np.uint8))
    assert upscaler.records[0].cross["star", 16].shape == (16, 16)  # it was watched indeed


def test_by_default_guidance_and_levels_are_the_official_ones(folder: Path) -> None:
    model = load_upscaler(folder, device="cpu")
    upscaler = Upscaler(model, make_job(guidance_scale=0.5, blend=False, poisson=False, steps=1))
    cond, x = upscaler.cond, upscaler.state.latents
    given = cond.unet_inputs(x, slice(0, 2))
    t = upscaler.timesteps[0]
    with torch.no_grad():
        uncond, conditional = model.unet(
            given.stacked, t, encoder_hidden_states=cond.context, class_labels=given.class_labels
        )[0].chunk(2)
    alpha = model.alphas_cumprod[t]
    v = uncond + 0.5 * (conditional - uncond)
    x0 = alpha.sqrt() * x - (1 - alpha).sqrt() * v
    record = upscaler.step()
    np.testing.assert_allclose(record.x0_latents, x0[0].numpy(), rtol=1e-4, atol=1e-4)
    rounded = upscaler.branch(pixel_rounding="nearest").image()
    assert set(np.unique(rounded.astype(int) - upscaler.image())) == {0, 1}


# --- stepping ------------------------------------------------------------------------------------


def test_a_record_shows_the_prediction_before_and_after_the_blend(done: Upscaler) -> None:
    for record in done.records:
        assert record.x0_unblended is not None
        soft, known = (t.numpy()[0] for t in (done.cond.soft, done.cond.known))
        np.testing.assert_allclose(
            record.x0_latents, soft * record.x0_unblended + (1 - soft) * known, atol=1e-5
        )
        assert record.x0_preview.shape == (64, 64, 3)
        assert record.cross.levels == (8, 16, 32)
        assert record.cross["star", 8].shape == (32, 32)
        assert record.settings.method == "x4+blend+soft+poisson"
        assert record.guided_norm > 0
    far = (done.cond.soft == 0)[0, 0].numpy()
    assert far.any()
    np.testing.assert_array_equal(record.x0_latents[:, far], done.cond.known.numpy()[0][:, far])


def test_the_picture_is_the_originals_around_the_hole(done: Upscaler) -> None:
    image = done.image()
    assert done.job is not None
    beyond = ~grown(done.job.mask)
    np.testing.assert_array_equal(image[beyond], done.job.image[beyond])
    assert not np.array_equal(image, done.job.image)
    np.testing.assert_array_equal(image, done.decoded(done.records[-1]))
    raw = done.decoded(done.records[-1], blended=False)
    assert not np.array_equal(raw[beyond], done.job.image[beyond])


def test_back_branch_and_restart(model: UpscaleModel) -> None:
    upscaler = Upscaler(model, make_job(), Capture.nothing())
    first = list(upscaler)
    assert upscaler.done
    assert upscaler.back(2).step() is first[2]
    other = upscaler.back(1).branch(blend=False)
    assert isinstance(other, Upscaler)
    other.run()
    assert other.records[:2] == first[:2]
    assert other.branch_name == "blend=False"
    assert other.records[-1].x0_unblended is None
    assert not np.array_equal(other.records[-1].x0_latents, first[-1].x0_latents)
    hard = upscaler.restart().branch(soft=False)
    assert hard.cond is upscaler.cond  # nothing was encoded again
    noisier = upscaler.branch(noise_level=100)
    assert not torch.equal(noisier.cond.low, upscaler.cond.low)
    words = upscaler.branch(prompt="a blue circle")
    words.step()
    upscaler.step()
    with pytest.raises(SettingsError, match="steps can change only before the first step"):
        upscaler.branch(steps=9)
    with pytest.raises(SettingsError, match="Did you mean 'poisson'"):
        upscaler.branch(poison=False)
    with pytest.raises(SettingsError, match="at most 350"):
        upscaler.branch(noise_level=400)


def test_a_branch_equals_a_run_made_so_from_the_start(model: UpscaleModel) -> None:
    branch = Upscaler(model, make_job(), Capture.nothing()).branch(soft=False)
    direct = Upscaler(model, make_job(soft=False), Capture.nothing())
    for a, b in zip(branch, direct, strict=True):
        np.testing.assert_array_equal(a.x0_latents, b.x0_latents)


def test_cancelling_leaves_it_where_it_stood(model: UpscaleModel) -> None:
    upscaler = Upscaler(model, make_job())
    upscaler.step()
    before = [p.attn2.processor for p in _blocks(model)]
    layer = _blocks(model)[2]
    hook = layer.register_forward_pre_hook(lambda *_: upscaler.cancel())
    with pytest.raises(SamplingCancelled):
        upscaler.step()
    hook.remove()
    assert upscaler.index == 1
    assert [p.attn2.processor for p in _blocks(model)] == before
    assert upscaler.step().index == 1


def _blocks(model: UpscaleModel) -> list[Any]:
    from hdpainter_nb.attention.layers import attention_layers

    return [layer.block for layer in attention_layers(model.unet, model.factor)]


# --- traces --------------------------------------------------------------------------------------


def test_a_trace_of_it_is_saved_and_taken_up(
    done: Upscaler, model: UpscaleModel, tmp_path: Path, folders: dict[str, str]
) -> None:
    done.image()
    loaded = Trace.load(done.trace.save(tmp_path / "x4.hdp"))
    assert loaded.factor == 4
    assert loaded.low is not None
    for a, b in zip(done.records, loaded.records(), strict=True):
        assert isinstance(b.settings, UpscaleSettings)
        assert a.settings == b.settings
        np.testing.assert_array_equal(a.x0_unblended, b.x0_unblended)
    taken_up = Upscaler.from_trace(model, loaded)
    assert taken_up.done
    np.testing.assert_array_equal(taken_up.image(), done.image())
    again = taken_up.back(2).branch(guidance_scale=3.0)
    same = done.back(2).branch(guidance_scale=3.0)
    np.testing.assert_array_equal(again.run().x0_latents, same.run().x0_latents)
    done.run()
    with pytest.raises(SettingsError, match=r"use Upscaler\.from_trace"):
        Sampler.from_trace(load(folders["sd15"]), loaded)
    loaded.low = None
    with pytest.raises(SettingsError, match=r"use Sampler\.from_trace"):
        Upscaler.from_trace(model, loaded)


def test_messages_about_it_have_its_size(done: Upscaler) -> None:
    buffers: list[bytes] = []
    message = web.run_message(done.trace, buffers)
    assert message["frame"] == [256, 256]
    assert message["crop"] == [0, 0, 256, 256]
    assert web.step_message(done.trace.path()[1], buffers)["method"] == "x4+blend+soft+poisson"


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "low"),
    [
        ((64, 64), (16, 16)),
        ((67, 201), (17, 50)),
        ((300, 263), (75, 66)),
        ((150, 132), (64, 56)),  # smaller than four times the small picture
        ((64, 1030), (16, 256)),
    ],
)
def test_any_size(model: UpscaleModel, size: tuple[int, int], low: tuple[int, int]) -> None:
    upscaler = Upscaler(model, make_job(size, low, steps=2), Capture.standard())
    upscaler.run()
    image = upscaler.image()
    assert image.shape == (*size, 3)
    assert upscaler.job is not None
    beyond = ~grown(upscaler.job.mask)
    np.testing.assert_array_equal(image[beyond], upscaler.job.image[beyond])
    assert upscaler.branch(poisson=False).image(paste=True).shape == (*size, 3)


@pytest.fixture(scope="module")
def tiniest(folder: Path) -> UpscaleModel:
    """With a VAE of 4 channels and without attention, whose time grows with the area alone."""
    from diffusers import AutoencoderKL, StableDiffusionUpscalePipeline

    torch.manual_seed(0)
    pipe = StableDiffusionUpscalePipeline.from_pretrained(folder)
    pipe.vae = AutoencoderKL(
        block_out_channels=(4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=256,
        scaling_factor=0.08333,
        mid_block_add_attention=False,
    )
    return load_upscaler(pipe)


@pytest.mark.parametrize(
    ("size", "low", "frame"),
    [
        ((64, 64), (16, 16), (256, 256)),
        ((1200, 1052), (300, 263), (1280, 1280)),  # the official code's assertion fails here
        ((65, 2047), (16, 512), (256, 2048)),
        ((2047, 771), (512, 193), (2048, 1024)),
        ((2048, 2048), (512, 512), (2048, 2048)),
    ],
)
def test_sizes_up_to_2048(
    tiniest: UpscaleModel, size: tuple[int, int], low: tuple[int, int], frame: tuple[int, int]
) -> None:
    job = make_job(size, low, steps=1, guidance_scale=1.0)  # one half of the UNet's work suffices
    upscaler = Upscaler(tiniest, job, Capture.nothing())
    assert upscaler.cond.size == frame
    assert upscaler.state.latents.shape == (1, 4, frame[0] // 4, frame[1] // 4)
    record = upscaler.step()
    assert np.isfinite(record.x0_latents).all()
    image = upscaler.image(exact=max(size) < 2048)
    assert image.shape == (*size, 3)
    assert upscaler.job is not None
    beyond = ~grown(upscaler.job.mask)
    np.testing.assert_array_equal(image[beyond], upscaler.job.image[beyond])
