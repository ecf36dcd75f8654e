"""Latent diffusion's text-to-image model: it loads, reads prompts by BERT's pieces, and paints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import DDIMScheduler, LDMTextToImagePipeline

from hdpainter_nb import Capture, Job, Sampler, load
from hdpainter_nb.errors import ModelError, PromptWarning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.prompt import read_prompt
from support.builders_ldm import LENGTH, make_ldm_folder

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ldm_folder(tmp_path_factory.mktemp("ldm") / "ldm")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder, device="cpu")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "m"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def a_job(job: Job, **settings: Any) -> Job:
    chosen = {"preset": "bld_ldm", "steps": 4, "guidance_scale": 5.0, **settings}
    return Job(job.image, job.mask, "a painting, red stars", **chosen)


def test_it_is_a_model_of_the_side_that_it_was_made_for(model: Model) -> None:
    """Written by diffusers 0.0.4, whose sides Stable Diffusion's pipelines overwrite."""
    assert (model.name, model.kind, model.native_size) == ("ldm", "blended", 128)
    model.stock_pipeline()
    assert model.native_size == 128


def test_it_says_what_its_own_pipeline_says(model: Model, folder: Path, job: Job) -> None:
    """From the same noise, with the whole picture to fill: diffusers' own picture."""
    pipe = LDMTextToImagePipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, steps_offset=1)
    whole = Job(
        job.image, None, "a painting, red stars", preset="community",
        painta=False, rasg=False, ddim_eta=0.0, steps=4, guidance_scale=5.0,
    )  # fmt: skip
    sampler = Sampler(model, whole, Capture.nothing())
    noise = sampler.state.latents
    sampler.run()
    # It pads to 77 whatever its text encoder takes; the real one takes as many.
    encode = pipe.tokenizer
    pipe.tokenizer = lambda text, **how: encode(text, **{**how, "max_length": LENGTH})
    theirs = pipe(
        whole.prompt, height=128, width=128, num_inference_steps=4, guidance_scale=5.0,
        latents=noise.clone(), output_type="np",
    ).images[0]  # fmt: skip
    difference = np.abs(sampler.image().astype(float) - 255 * theirs)
    assert difference.max() <= 1


def test_words_are_found_in_its_pieces(model: Model) -> None:
    tokens = read_prompt(model.pipe.tokenizer, "A painting, red STARS on a cafe's")
    assert tokens.tokens[:8] == ("<sot>", "a", "paint", "ing", ",", "red", "star", "s")
    assert [(word.text, word.tokens) for word in tokens.words][:5] == [
        ("a", (1,)), ("painting", (2, 3)), (",", (4,)), ("red", (5,)), ("stars", (6, 7)),
    ]  # fmt: skip
    assert tokens.ids[0] == model.pipe.tokenizer.cls_token_id
    assert tokens.ids[-1] == model.pipe.tokenizer.sep_token_id
    assert tokens.indices == (*range(1, len(tokens.tokens) - 1), len(tokens.tokens) - 1)


@pytest.mark.filterwarnings("error")
def test_accents_and_capitals_are_its_tokenizer_s_affair(model: Model) -> None:
    tokens = read_prompt(model.pipe.tokenizer, "a Café's star")
    assert [word.text for word in tokens.words[:3]] == ["a", "cafe", "'s"]


def test_what_it_does_not_know_or_take_is_said(model: Model) -> None:
    with pytest.warns(PromptWarning, match="does not know 'cat'"):
        read_prompt(model.pipe.tokenizer, "a cat")
    with pytest.warns(PromptWarning, match=r"16 tokens and the text encoder takes 14"):
        tokens = read_prompt(model.pipe.tokenizer, " ".join(["red"] * 16))
    assert len(tokens.tokens) == LENGTH
    with pytest.warns(PromptWarning, match=r"'\[SEP\]' in the prompt is a control mark"):
        read_prompt(model.pipe.tokenizer, "a star [SEP] red")


def test_it_paints_and_is_watched(model: Model, job: Job) -> None:
    sampler = Sampler(model, a_job(job), Capture.standard())
    sampler.run()
    assert sampler.image().shape == (128, 128, 3)
    record = sampler.records[-1]
    assert record.cross["painting", 16].shape == (8, 8)
    assert record.cross["stars", 32].shape == (4, 4)
    assert [w.text for w in sampler.cond.words] == ["a", "painting", ",", "red", "stars", "<eot>"]
    ours = Sampler(model, a_job(job, painta=True, rasg=True, steps=2), Capture.nothing())
    ours.run()
    assert all(record.score is not None for record in ours.records)


def test_a_ready_pipeline_stays_as_it_is(folder: Path) -> None:
    pipe = LDMTextToImagePipeline.from_pretrained(folder)
    before = {**pipe.components}
    model = load(pipe)
    assert pipe.components == before
    assert pipe.tokenizer.model_max_length == 512
    assert pipe.unet.config.sample_size == 16
    assert model.pipe.unet is pipe.unet
    assert model.pipe.text_encoder is pipe.bert
    assert model.pipe.vae is pipe.vqvae


@pytest.mark.parametrize(
    ("file", "values", "sentence"),
    [
        ("model_index.json", {"bert": ["transformers", "BertModel"]}, "what works there: latent_d"),
        ("model_index.json", {"vqvae": ["diffusers", "VQModel"]}, "works there: diffusers.Autoenc"),
        ("bert/config.json", {"architectures": ["Evil"]}, "only LDMBert text encoders"),
        ("bert/config.json", {"encoder_layers": 10**5}, "encoder_layers in .* must be from 1 to"),
        ("bert/config.json", {"d_model": 0}, "d_model in .* must be from 1"),
        ("bert/config.json", {"encoder_layers": 3}, "layers.2.* is missing"),
        ("tokenizer/tokenizer_config.json", {"tokenizer_class": "Evil"}, "only CLIP text encoders"),
    ],
)
def test_a_folder_of_other_parts_is_refused(
    copy: Path, file: str, values: dict[str, Any], sentence: str
) -> None:
    change(copy / file, **values)
    with pytest.raises(ModelError, match=sentence):
        load(copy, device="cpu")


@pytest.mark.parametrize("part", ["bert", "vqvae", "unet"])
def test_weights_that_are_missing_are_named(copy: Path, part: str) -> None:
    for path in (copy / part).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ModelError, match=f"{part}/ of .* holds no weights"):
        load(copy, device="cpu")


def test_its_vocabulary_is_looked_for(copy: Path) -> None:
    (copy / "tokenizer" / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"tokenizer/ of .* holds no vocabulary .*vocab\.txt"):
        load(copy, device="cpu")
