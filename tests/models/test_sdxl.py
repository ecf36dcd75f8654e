"""SDXL: two text encoders, further conditions, attention at H/16 and H/32 alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline

from hdpainter_nb import Capture, Job, Sampler, load
from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.families import INPAINTING, INPAINTING_XL, family_of_file
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.prompt import embed
from support import builders_xl
from support.hook_traces import snapshot
from support.stock_runs import run_stock

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs
]

PLAIN: dict[str, Any] = {
    "preset": "community",
    "painta": False,
    "rasg": False,
    "steps": 4,
    "seed": 3,
    "positive_suffix": "",
}


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders with random weights, by channels."""
    base = tmp_path_factory.mktemp("xl")
    return {n: builders_xl.make_xl_folder(base / str(n), channels=n) for n in (9, 4)}


@pytest.fixture(scope="module")
def large(xl: dict[int, Path]) -> Model:
    return load(xl[9])


def stock(folder: Path, job: Job, scheduler: Any, negative: str | None) -> list[torch.Tensor]:
    """Every latent that the stock pipeline passes through."""
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(folder)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, clip_sample=False)
    return run_stock(pipe, job, strength=1.0, negative_prompt=negative)[0]


@pytest.mark.parametrize(
    ("channels", "scheduler", "negative"),
    [(9, "ddim", "blurry"), (9, "euler", None), (4, "ddim", None)],
)
def test_bit_equal_to_the_stock_pipeline(
    channels: int, scheduler: str, negative: str | None, xl: dict[int, Path], job: Job
) -> None:
    """With no negative prompt SDXL's unconditional half is zeros."""
    additions = {"prompt_additions": "none"} if negative is None else {}
    settings = {**PLAIN, "scheduler": scheduler, "negative_prompt": negative, **additions}
    job = Job(job.image, job.mask, job.prompt, **settings)
    sampler = Sampler(load(xl[channels]), job, Capture.everything())
    sampler.run()
    ours = [torch.from_numpy(node.latents)[None] for node in sampler.trace.path()[1:]]
    kind = DDIMScheduler if scheduler == "ddim" else EulerDiscreteScheduler
    theirs = stock(xl[channels], job, kind, negative)
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b), (a - b).abs().max()
    assert bool((sampler.cond.context[0] == 0).all()) == (negative is None)


def test_the_picture_is_the_stock_pipelines(xl: dict[int, Path], large: Model, job: Job) -> None:
    job = Job(job.image, job.mask, job.prompt, negative_prompt="blurry", **PLAIN)
    sampler = Sampler(large, job)
    sampler.run()
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(xl[9])
    latents = torch.from_numpy(sampler.trace.path()[-1].latents)[None]
    with torch.no_grad():
        image = pipe.vae.decode(latents / 0.13025, return_dict=False)[0]
    theirs = pipe.image_processor.postprocess(image, output_type="pil")[0]
    np.testing.assert_array_equal(sampler.image(), np.asarray(theirs))


@pytest.mark.parametrize("method", [{}, {"rasg": False}, {"painta": False}])
@pytest.mark.parametrize("scheduler", ["ddim", "euler_a"])
def test_painta_and_rasg_act(
    method: dict[str, Any], scheduler: str, large: Model, job: Job
) -> None:
    job = job.replace(steps=3, scheduler=scheduler, eta=0.5, sigma="cumulative", **method)
    before = snapshot(large.unet)
    sampler = Sampler(large, job)
    record = sampler.step()
    assert snapshot(large.unet) == before
    assert record.cross.levels == (16, 32)
    assert sorted(record.c) == ([16, 32] if job.settings.painta else [])
    assert (record.grad is not None) == job.settings.rasg
    assert record.grad is None or record.grad.std > 0
    off = Sampler(large, job.replace(painta=False, rasg=False))
    last, plain = sampler.run(), off.run()
    assert np.isfinite(last.x0_latents).all()
    assert not np.allclose(last.x0_latents, plain.x0_latents)


def test_levels_are_those_of_the_place(large: Model) -> None:
    layers = attention_layers(large.unet)
    assert {layer.level for layer in layers} == {16, 32}
    # two blocks down once and up twice at H/16, three at H/32 likewise, and three in the middle
    assert [sum(x.level == level for x in layers) for level in (16, 32)] == [6, 12]


def test_words_and_conditions(large: Model, job: Job) -> None:
    cond, state = large.prepare(job)
    assert large.family is INPAINTING_XL
    assert [word.text for word in cond.words] == ["a", "red", "star", "<eot>"]
    assert cond.context.shape == (2, builders_xl.LENGTH, sum(builders_xl.WIDTHS))
    assert cond.added["text_embeds"].shape == (2, builders_xl.PROJECTED)
    assert cond.added["time_ids"].tolist() == [[128, 128, 0, 0, 128, 128]] * 2
    assert state.latents.shape == (1, 4, 16, 16)
    text = large.read_text(job.prompt, job.settings)
    context, _ = embed(large.stock_pipeline(), text, large.device, large.dtype)
    assert torch.equal(context, cond.context)
    assert text.tokens.indices == cond.indices
    assert large.native_size == 128


def test_a_vae_in_half_precision_decodes_in_float32(large: Model, folders: Any) -> None:
    """As the stock pipeline of SDXL has it; Stable Diffusion 1.5 tries half precision first."""
    assert large.upcasts(torch.float16)
    assert not large.upcasts(torch.float32)
    assert not load(folders["sd15"]).upcasts(torch.float16)


def test_a_ready_pipeline_is_taken_as_it_is(xl: dict[int, Path], job: Job) -> None:
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(xl[9])
    parts = dict(pipe.components)
    record = Sampler(load(pipe), job.replace(steps=2)).step()
    assert np.isfinite(record.x0_latents).all()
    assert all(pipe.components[name] is part for name, part in parts.items())


# --- what is refused -----------------------------------------------------------------------------


def test_the_refiner_is_refused(xl: dict[int, Path], tmp_path: Path) -> None:
    index = json.loads((xl[9] / "model_index.json").read_text())
    index |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    index["_class_name"] = "StableDiffusionXLImg2ImgPipeline"
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"is SDXL's refiner.*cannot fill a hole: use load\('sdxl"):
        load(tmp_path)
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(xl[9])
    pipe.register_modules(text_encoder=None, tokenizer=None)
    with pytest.raises(ModelError, match="This pipeline is SDXL's refiner"):
        load(pipe)


def test_other_conditions_are_refused(xl: dict[int, Path]) -> None:
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(xl[9])
    pipe.unet.register_to_config(class_embed_type="timestep")
    with pytest.raises(ModelError, match=r"wants further conditions.*SDXL"):
        load(pipe)


def test_a_single_file_is_known_by_its_second_text_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from hdpainter_nb.models import loading

    monkeypatch.setattr(loading, "_layout", lambda *_: {})  # which is asked of the hub
    names = {True: "conditioner.embedders.1.model.ln.weight", False: "cond_stage_model.ln.weight"}
    asked: list[str] = []
    for family in (INPAINTING, INPAINTING_XL):

        def opened(cls: Any, *_: Any, **__: Any) -> None:
            asked.append(cls.__name__)
            raise OSError("enough")

        import diffusers

        kind = getattr(diffusers, family.pipeline)
        monkeypatch.setattr(kind, "from_single_file", classmethod(opened))
    for large, name in names.items():
        path = tmp_path / f"{large}.safetensors"
        save_file({name: torch.zeros(1)}, path)
        assert (family_of_file(INPAINTING, str(path)) is INPAINTING_XL) == large
        with pytest.raises(ModelError, match="enough"):
            load(path)
    assert asked == [INPAINTING_XL.pipeline, INPAINTING.pipeline]
