"""prepare, decode and preview, held against the stock pipeline where it does the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hdpainter_nb.errors import HDPainterWarning, ModelError, PromptWarning, SettingsError
from hdpainter_nb.job import Job
from hdpainter_nb.method import masks
from hdpainter_nb.models import vae
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from support import builders

pytestmark = pytest.mark.diffusers

PLAIN = {"prompt_additions": "none", "painta": False, "rasg": False}
SCHEDULERS = ("sd15", "sd2", "sd15-4ch")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: builders.make_folder(root / kind, kind) for kind in SCHEDULERS}


@pytest.fixture(scope="module")
def model(folders: dict[str, Path]) -> Model:
    model = load(folders["sd15"], device="cpu")
    model.positive_suffix, model.negative_prompt = "high quality", "blue"
    return model


def picture(height: int = 128, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 20
    waves = [np.sin(x + y), np.cos(x - 2 * y), np.sin(2 * x)]
    return (127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


def hole(height: int = 128, width: int = 128) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[height // 4 : height // 2 + 3, width // 4 : width // 2 + 5] = True
    return mask


def make_job(size: tuple[int, int] = (128, 128), prompt: str = "a red star", **settings) -> Job:
    return Job(picture(*size), hole(*size), prompt, **settings)


# --- against the stock pipeline ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("sd15", (128, 128)),
        ("sd15", (150, 200)),
        ("sd15", (70, 90)),
        ("sd2", (128, 128)),
        ("sd15-4ch", (128, 128)),
        ("sd15-4ch", (150, 200)),
    ],
)
def test_prepare_and_decode_are_the_stock_pipelines(folders, kind: str, size) -> None:
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    pipe = StableDiffusionInpaintPipeline.from_pretrained(folders[kind])
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    inputs, contexts, latents = [], [], []
    forward = pipe.unet.forward

    def watch(x: torch.Tensor, t: torch.Tensor, **kwargs: Any) -> Any:
        inputs.append(x.clone())
        contexts.append(kwargs["encoder_hidden_states"].clone())
        return forward(x, t, **kwargs)

    def keep(_pipe: Any, _index: int, _t: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        latents.append(kwargs["latents"].clone())
        return kwargs

    pipe.unet.forward = watch
    job = make_job(size, preset="community", seed=7, negative_prompt="blue", **PLAIN)
    generator = torch.Generator("cpu").manual_seed(7)
    stock = pipe(
        "a red star",
        image=Image.fromarray(job.image),
        mask_image=Image.fromarray(job.mask),
        negative_prompt="blue",
        generator=generator,
        num_inference_steps=2,
        callback_on_step_end=keep,
    ).images[0]

    model = load(folders[kind], device="cpu")
    cond, state = model.prepare(job)
    assert torch.equal(inputs[0][:1, :4], state.latents)
    assert torch.equal(contexts[0], cond.context)
    assert torch.equal(generator.get_state(), state.rng)
    if model.kind == "inpaint":
        assert torch.equal(inputs[0][:1, 4:5], cond.latent_mask)
        assert torch.equal(inputs[0][:1, 5:], cond.masked_image_latents)
        assert cond.known_latents is cond.known_noise is None
    else:
        kept = (cond.latent_mask == 0).expand_as(latents[-1])
        assert torch.equal(latents[-1][kept], cond.known_latents[kept])
        assert torch.equal(cond.known_noise, state.latents)
    assert np.array_equal(np.asarray(stock), model.decode(latents[-1], cond))


# --- prepare -------------------------------------------------------------------------------------


def test_prepare_is_deterministic_and_leaves_no_trace(model: Model) -> None:
    job = make_job()
    torch.manual_seed(3)
    drawn = torch.get_rng_state()
    (one, start), (two, again) = model.prepare(job), model.prepare(job)
    assert torch.equal(torch.get_rng_state(), drawn)
    for name in ("context", "latent_mask", "masked_image_latents", "score_mask"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
        assert not getattr(one, name).requires_grad
    assert torch.equal(start.latents, again.latents)
    assert start.index == 0
    assert start.x0 is None
    assert not torch.equal(start.latents, model.prepare(job.replace(seed=2))[1].latents)


@pytest.mark.filterwarnings("ignore:The hole vanishes")
def test_shapes_words_and_indices(model: Model) -> None:
    cond, state = model.prepare(make_job((150, 230)))
    assert cond.size == (128, 128)
    assert cond.crop == (0, 0, 83, 128)
    assert cond.context.shape == (2, builders.LENGTH, 32)
    assert cond.latent_mask.shape == (1, 1, 16, 16)
    assert cond.masked_image_latents.shape == state.latents.shape == (1, 4, 16, 16)
    assert {level: tuple(m.shape) for level, m in cond.painta_masks.items()} == {
        16: (8, 8),
        32: (4, 4),
    }
    assert all(mask.dtype == torch.bool for mask in cond.painta_masks.values())
    assert cond.score_mask.shape == (4, 4)
    assert cond.score_mask.dtype == torch.float32
    assert cond.tokens[:4] == ("<sot>", "a", "red", "star")
    assert cond.tokens[-3:] == ("high", "quality", "<eot>")
    assert [word.text for word in cond.words] == ["a", "red", "star", "<eot>"]
    assert cond.indices == (1, 2, 3, len(cond.tokens) - 1)


@pytest.mark.parametrize(
    ("size", "long_side", "padded", "crop"),
    [
        ((128, 128), None, (128, 128), (0, 0, 128, 128)),
        ((70, 100), None, (128, 128), (0, 0, 70, 100)),  # never scaled up
        ((300, 200), None, (128, 128), (0, 0, 128, 85)),
        ((300, 200), 256, (256, 192), (0, 0, 256, 171)),
        ((100, 150), 256, (128, 192), (0, 0, 100, 150)),
    ],
)
@pytest.mark.filterwarnings("ignore:The hole vanishes")
def test_sizes(model: Model, size, long_side, padded, crop) -> None:
    cond, state = model.prepare(make_job(size, long_side=long_side, scaling="area"))
    assert (cond.size, cond.crop) == (padded, crop)
    assert state.latents.shape[2:] == (padded[0] // 8, padded[1] // 8)
    assert model.decode(state.latents, cond).shape == (*crop[2:], 3)
    assert model.decode(state.latents).shape == (*padded, 3)


def test_switches_reach_the_masks(model: Model) -> None:
    mask = np.zeros((128, 128), np.bool_)
    mask[15:80, 15:80] = True

    def ones(**settings: Any) -> tuple[int, int, int]:
        cond, _ = model.prepare(Job(picture(), mask, "a red star ", **settings))
        return (
            int(cond.latent_mask.sum()),
            int(cond.painta_masks[16].sum()),
            len(cond.score_mask.unique()),
        )

    official, paper, community = ones(), ones(preset="paper"), ones(preset="community")
    assert official[0] > paper[0]
    assert official[2] == paper[2] == 2 < community[2]


def test_prompt_additions(model: Model) -> None:
    def context(**settings: Any) -> torch.Tensor:
        return model.prepare(make_job(**settings))[0].context

    plain = context(prompt_additions="none")
    added = context()
    assert not torch.equal(plain[0], added[0])
    assert not torch.equal(plain[1], added[1])
    own = {"positive_suffix": "high quality", "negative_prompt": "blue"}
    assert torch.equal(added, context(**own))
    assert torch.equal(plain, context(positive_suffix="", negative_prompt=""))
    assert torch.equal(context(prompt_additions="none", negative_prompt="blue")[0], added[0])
    with pytest.warns(HDPainterWarning, match="'high quality' is left out"):
        assert torch.equal(plain, context(prompt_additions="none", positive_suffix="high quality"))


def test_vae_encoding_mean_and_sample(model: Model) -> None:
    mean, start = model.prepare(make_job())
    sample, again = model.prepare(make_job(vae_encoding="sample"))
    assert torch.equal(start.latents, again.latents)
    assert not torch.equal(start.rng, again.rng)
    assert not torch.equal(mean.masked_image_latents, sample.masked_image_latents)


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_the_vae_never_sees_the_hole(model: Model, preset) -> None:
    job = make_job(preset=preset)
    cond, _ = model.prepare(job)
    blank = masks.dilate(job.mask) if preset == "official" else job.mask
    pixels = model.stock_pipeline().image_processor.preprocess(Image.fromarray(job.image))
    with torch.no_grad():
        dist = model.pipe.vae.encode(pixels * torch.from_numpy(~blank)).latent_dist
    expected = dist.mode() * model.pipe.vae.config.scaling_factor
    assert torch.allclose(cond.masked_image_latents, expected, atol=1e-5)
    other = Job(np.where(blank[..., None], 0, job.image), job.mask, job.prompt, preset=preset)
    again, _ = model.prepare(other)
    assert torch.equal(cond.masked_image_latents, again.masked_image_latents)


def test_warnings_where_nothing_can_be_matched(model: Model) -> None:
    with pytest.warns(PromptWarning, match="has no word to match"):
        model.prepare(make_job(prompt=""))
    spot = np.zeros((128, 128), np.bool_)
    spot[40, 40] = True
    with pytest.warns(HDPainterWarning, match="vanishes at H/16 and H/32") as caught:
        model.prepare(Job(picture(), spot, "a red star"))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.prepare(Job(picture(), spot, "", **PLAIN))
        model.prepare(make_job())


def test_a_warning_names_the_users_line_from_any_depth(model: Model) -> None:
    """However many of our functions lie between: a prompt is read four calls below."""
    job = make_job(prompt="a ((star))")
    for prepared in (model.prepare, model.empty_conditioning, model.layout):
        with pytest.warns(PromptWarning, match="emphasis") as caught:
            prepared(job)
        assert [warning.filename for warning in caught] == [__file__]


def test_an_empty_conditioning_is_the_real_one_without_memory(model: Model) -> None:
    job = make_job(scheduler="euler_a", long_side=192)
    real, _ = model.prepare(job)
    empty = model.empty_conditioning(job)
    assert empty.context.is_meta
    assert empty.masked_image_latents.is_meta
    assert (empty.size, empty.crop, empty.indices) == (real.size, real.crop, real.indices)
    assert (empty.words, empty.tokens) == (real.words, real.tokens)
    for level, mask in real.painta_masks.items():
        assert torch.equal(empty.painta_masks[level], mask)
    for name in ("context", "latent_mask", "masked_image_latents", "score_mask"):
        assert getattr(empty, name).shape == getattr(real, name).shape
        assert getattr(empty, name).dtype == getattr(real, name).dtype


def test_half_precision_and_mixed_parts(folders) -> None:
    model = load(folders["sd15"], device="cpu", dtype="bfloat16")
    model.pipe.vae.to(torch.float32)
    model.pipe.text_encoder.to(torch.float32)
    cond, state = model.prepare(make_job())
    for tensor in (cond.context, cond.latent_mask, cond.masked_image_latents, state.latents):
        assert tensor.dtype == torch.bfloat16
    assert model.decode(state.latents, cond).shape == (128, 128, 3)
    assert model.pipe.vae.dtype == torch.float32


def test_an_offloaded_pipeline_stays_offloaded(folders) -> None:
    from accelerate import cpu_offload

    model = load(folders["sd15"], device="cpu")
    cond, start = model.prepare(make_job())
    picture_ = model.decode(start.latents, cond)
    for part in (model.pipe.text_encoder, model.pipe.unet, model.pipe.vae):
        cpu_offload(part, torch.device("cpu"))
    away = load(model.pipe)
    assert away.device.type == "cpu"
    again, same = away.prepare(make_job())
    assert torch.equal(cond.context, again.context)
    assert torch.equal(cond.masked_image_latents, again.masked_image_latents)
    assert torch.equal(start.latents, same.latents)
    assert np.array_equal(picture_, away.decode(same.latents, again))
    assert next(model.pipe.vae.parameters()).device.type == "meta"
    with pytest.raises(ModelError, match="offloaded"):
        load(model.pipe, device="cpu")


def test_a_ready_pipelines_scheduler_does_not_matter(folders) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionInpaintPipeline

    pipe = StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    _, start = load(pipe).prepare(make_job())
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    _, again = load(pipe).prepare(make_job())
    assert torch.equal(start.latents, again.latents)
    assert isinstance(pipe.scheduler, EulerDiscreteScheduler)


# --- decode --------------------------------------------------------------------------------------


def test_decode_takes_records_too(model: Model) -> None:
    cond, state = model.prepare(make_job())
    whole = model.decode(state.latents, cond)
    assert whole.dtype == np.uint8
    assert np.array_equal(whole, model.decode(state.latents[0].numpy(), cond))
    with pytest.raises(ModelError, match="not finite"):
        model.decode(state.latents * torch.nan, cond)


def test_tiles_where_memory_is_short(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cond, state = model.prepare(make_job((256, 256), long_side=256))
    whole, tiles = model.decode(state.latents, cond), model.decode(state.latents, cond, exact=False)
    assert whole.shape == tiles.shape == (256, 256, 3)
    assert not model.pipe.vae.use_tiling
    real = type(model.pipe.vae).decode

    def short(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.use_tiling:
            raise torch.OutOfMemoryError("short")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(model.pipe.vae), "decode", short)
    with pytest.warns(HDPainterWarning, match="decoded in tiles"):
        assert np.array_equal(tiles, model.decode(state.latents, cond))
    assert not model.pipe.vae.use_tiling


class Overflowing(torch.nn.Module):
    """A VAE whose halves overflow, as Stable Diffusion's second one does in float16."""

    config = SimpleNamespace(scaling_factor=1.0, block_out_channels=(8, 8, 8, 8))

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.bound = bound
        self.ran: list[torch.dtype] = []

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    def decode(self, latents: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        assert latents.dtype == self.dtype
        self.ran.append(self.dtype)
        grown = latents[:, :3] * self.weight * self.bound / self.bound
        return (grown.repeat_interleave(8, 2).repeat_interleave(8, 3),)


def test_a_vae_that_overflows_in_half_precision_runs_again_in_float32() -> None:
    from diffusers.image_processor import VaeImageProcessor

    network = Overflowing(1e5).to(torch.float16)
    parts = SimpleNamespace(
        vae=network, _execution_device=torch.device("cpu"), image_processor=VaeImageProcessor()
    )
    latents = torch.ones(1, 4, 2, 2, dtype=torch.float16)
    assert (vae.decode(parts, latents) == 255).all()
    assert network.ran == [torch.float16, torch.float32]
    assert network.dtype == torch.float16
    network.bound = 1e39
    with pytest.raises(ModelError, match="no finite numbers in float16: load the model with dtype"):
        vae.decode(parts, latents)


# --- preview -------------------------------------------------------------------------------------


class Linear(torch.nn.Module):
    """A VAE that is a fixed mixture of the mean colours of 8 x 8 pixels: all is known about it."""

    config = SimpleNamespace(scaling_factor=0.5)
    mixture = torch.tensor([[1.0, 1, 1], [1, -1, 0], [0, 1, -1], [0.5, 0, 0.2]])
    dtype = torch.float32

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        means = torch.nn.functional.avg_pool2d(pixels, 8)
        return SimpleNamespace(latents=torch.einsum("lc,nchw->nlhw", self.mixture, means) + 0.3)


def test_preview_reads_a_linear_vae_exactly() -> None:
    parts = SimpleNamespace(vae=Linear(), _execution_device=torch.device("cpu"))
    matrix = vae.fit_preview(parts)
    shown = torch.from_numpy(picture()).permute(2, 0, 1)[None] / 127.5 - 1
    latents = vae.encode(parts, shown.float(), "mean", torch.Generator())
    expected = picture().reshape(16, 8, 16, 8, 3).mean((1, 3))
    assert np.abs(vae.to_rgb(latents, matrix) - expected).max() <= 1


def test_preview_looks_like_the_picture() -> None:
    try:
        model = load("mini", device="cpu")
    except ModelError as error:
        pytest.skip(str(error))
    shown = torch.from_numpy(picture(256, 256)).permute(2, 0, 1)[None] / 127.5 - 1
    latents = vae.encode(model.stock_pipeline(), shown.float(), "mean", torch.Generator())
    small = model.decode(latents).reshape(32, 8, 32, 8, 3).mean((1, 3))
    seen = model.preview(latents)
    assert seen.shape == (32, 32, 3)
    for channel in range(3):
        assert np.corrcoef(small[..., channel].ravel(), seen[..., channel].ravel())[0, 1] > 0.8


def test_preview_is_fitted_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model.preview(torch.zeros(4, 16, 16))
    monkeypatch.setattr(vae, "fit_preview", None)
    assert first.shape == (16, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, model.preview(np.zeros((1, 4, 16, 16), np.float16)))


def test_a_card_may_bring_its_own_preview(folders, tmp_path: Path) -> None:
    model = load(folders["sd15"], device="cpu")
    from hdpainter_nb.models.defaults import ModelDefaults

    rows = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 0], [0.5, 0, 0]]
    own = Model.from_pipeline(model.pipe, defaults=ModelDefaults(preview=rows))
    latents = torch.zeros(4, 1, 1)
    latents[1] = 1
    assert own.preview(latents).tolist() == [[[128, 255, 0]]]


# --- how it shows itself -------------------------------------------------------------------------


def test_repr(model: Model) -> None:
    assert repr(model).startswith("Model('sd15', inpaint, 9 channels, epsilon, 0.")
    assert "float32 on cpu" in repr(model)
    shown = model._repr_html_()
    assert "<b>sd15</b>" in shown
    assert "128 px" in shown
    model.name, name = "<i>", model.name
    assert "<i>" not in model._repr_html_()
    model.name = name


def test_words_are_asked_for_as_the_prompt_has_them(model: Model, job: Job) -> None:
    """In every place where a word is named; CLIP itself reads small letters."""
    from hdpainter_nb import views
    from hdpainter_nb.capture.capture import Capture
    from hdpainter_nb.edits.builtin import ReplaceWord, ScaleWord
    from hdpainter_nb.sampling.sampler import Sampler

    plain = {"positive_suffix": "", "negative_prompt": ""}
    spoken = Job(job.image, job.mask, "A Red Star", steps=2, seed=1, **plain)
    sampler = Sampler(model, spoken, Capture.standard(tokens=["Star", "RED"]))
    record = sampler.step()
    assert "Star" in record.cross
    assert "Stars" not in record.cross
    assert np.array_equal(record.cross["Star"], record.cross["star"])
    assert np.array_equal(record.cross.map("RED", level=8), record.cross["red", 8])
    asked = sampler.attention(record)
    assert np.array_equal(asked.word("STAR"), asked.word("star"))
    views.heatmaps(record, words=["Star"])
    sampler.trace.screen("Star")
    sampler.restart()
    for edit in (ScaleWord("Star", 0.5), ReplaceWord("Red", by="Star")):
        sampler.branch(edit=edit).step()


def test_long_prompts_are_refused_before_anything_runs(model: Model, job: Job) -> None:
    from hdpainter_nb.sampling.sampler import Sampler

    long = "s" * 100_000
    for prompt, more in (
        (long, {}),
        ("star", {"positive_suffix": long}),
        ("star", {"negative_prompt": long}),
    ):
        with pytest.raises(SettingsError, match="has 100000 characters, and may have 10000"):
            Sampler(model, Job(job.image, job.mask, prompt, steps=1, **more))
