"""ControlNet on a model that fills holes: the stock pipeline's numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from hdpainter_nb import Job, Sampler, Trace, load
from hdpainter_nb.errors import HDPainterWarning, ImageError, ModelError, SettingsError
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.batch import SamplerBatch
from support import builders_xl
from support.hook_traces import snapshot
from support.stock_runs import latents_of, run_stock

pytestmark = pytest.mark.diffusers

PLAIN: dict[str, Any] = {
    "preset": "community",
    "painta": False,
    "rasg": False,
    "steps": 4,
    "seed": 3,
    "positive_suffix": "",
    "negative_prompt": "blurry",
    "control_scale": 0.7,
}


@pytest.fixture(scope="module")
def network(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet for the small sd15; its output layers, made to start at zero, are random."""
    torch.manual_seed(5)
    like = UNet2DConditionModel.from_pretrained(folders["sd15-4ch"], subfolder="unet")
    made = ControlNetModel.from_unet(like, conditioning_channels=3)
    ends = [*made.controlnet_down_blocks, made.controlnet_mid_block]
    for end in [*ends, made.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(end.weight, std=0.2)
    path = tmp_path_factory.mktemp("control") / "net"
    made.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def led(folders: dict[str, str], network: Path) -> Model:
    return load(folders["sd15"], controlnet=network)


@pytest.fixture
def edges() -> np.ndarray:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[40:88:8] = 255
    return picture


def make(job: Job, edges: Any, **more: Any) -> Job:
    return Job(job.image, job.mask, job.prompt, control=edges, **{**PLAIN, **more})


@pytest.mark.parametrize("kind", ["sd15", "sd15-4ch"])
def test_bit_equal_to_the_stock_pipeline(
    kind: str, folders: dict[str, str], network: Path, job: Job, edges: np.ndarray
) -> None:
    job = make(job, edges)
    base = StableDiffusionInpaintPipeline.from_pretrained(folders[kind], safety_checker=None)
    pipe = StableDiffusionControlNetInpaintPipeline(
        **{name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "unet")},
        controlnet=ControlNetModel.from_pretrained(network),
        scheduler=DDIMScheduler.from_config(
            base.scheduler.config, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    latents, _ = run_stock(
        pipe,
        job,
        control_image=Image.fromarray(edges),
        strength=1.0,
        controlnet_conditioning_scale=0.7,
    )
    for model in (load(folders[kind], controlnet=network), load(pipe)):
        sampler = Sampler(model, job)
        sampler.run()
        for a, b in zip(latents_of(sampler), latents, strict=True):
            assert torch.equal(a, b), (a - b).abs().max()


def test_painta_and_rasg_act_and_nothing_stays(led: Model, job: Job, edges: np.ndarray) -> None:
    before = snapshot(led.unet), snapshot_learning(led)
    sampler = Sampler(led, make(job, edges, painta=True, rasg=True, eta=0.5))
    record = sampler.step()
    assert record.grad is not None
    assert record.grad.std > 0
    assert (snapshot(led.unet), snapshot_learning(led)) == before
    other = Sampler(led, make(job, 255 - edges))
    same = Sampler(led, make(job, edges))
    assert not np.allclose(other.step().x0_latents, same.step().x0_latents)


def snapshot_learning(model: Model) -> list[bool]:
    return [p.requires_grad for p in model.controlnet.parameters()]


def test_a_branch_may_turn_it_down(led: Model, job: Job, edges: np.ndarray) -> None:
    sampler = Sampler(led, make(job, edges))
    sampler.run(2)
    off = sampler.branch(control_scale=0.0)
    assert off.cond.control is not None
    assert off.cond.control.scale == 0.0
    assert not np.allclose(off.step().x0_latents, sampler.step().x0_latents)
    plain = Job(job.image, job.mask, job.prompt, **{**PLAIN, "control_scale": None})
    with pytest.warns(HDPainterWarning, match="ControlNet of 'sd15' is not used"):
        without = Sampler(led, plain)
    np.testing.assert_array_equal(
        without.step().x0_latents,
        Sampler(led, make(job, edges, control_scale=0.0)).step().x0_latents,
    )


def test_a_batch_is_led_too(led: Model, job: Job, edges: np.ndarray) -> None:
    job = make(job, edges, rasg=True)
    batch = SamplerBatch(led, job, [3, 4])
    for seed, record in zip(batch.seeds, batch.step(), strict=True):
        alone = Sampler(led, job.replace(seed=seed)).step()
        difference = np.abs(alone.x0_latents - record.x0_latents).max()
        assert difference <= 1e-4 * alone.x0_latents.std()


def test_what_a_job_says(job: Job, edges: np.ndarray) -> None:
    led = Job(job.image, job.mask, "a star", control=edges)
    assert led.settings.control_scale == 1.0
    assert led.replace(control_scale=0.5).control is led.control
    part = led.part((slice(0, 96), slice(32, 128)))
    assert part.control is not None
    np.testing.assert_array_equal(part.control, edges[:96, 32:])
    with pytest.raises(ImageError, match="control has 100x90 px, the image 128x128: make them"):
        Job(job.image, job.mask, "", control=edges[:90, :100])
    with pytest.raises(SettingsError, match="control_scale needs a control picture"):
        Job(job.image, job.mask, "", control_scale=1.0)


def test_what_cannot_be_led(
    model: Model,
    folders: dict[str, str],
    network: Path,
    job: Job,
    edges: np.ndarray,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"has no ControlNet: load one with load\(\.\.\., contr"):
        Sampler(model, make(job, edges))
    with pytest.raises(ModelError, match="was not made for 'sd2'"):
        load(folders["sd2"], controlnet=network)
    with pytest.raises(ModelError, match="none on SDXL"):
        load(builders_xl.make_xl_folder(tmp_path / "xl"), controlnet=network)
    with pytest.raises(ModelError, match="cannot be loaded: check its name or folder"):
        load(folders["sd15"], controlnet=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="takes a hub id, a folder or one ControlNetModel, not"):
        load(folders["sd15"], controlnet=3)


def test_a_saved_run_goes_on_with_its_control_picture(
    led: Model, job: Job, edges: np.ndarray, tmp_path: Path
) -> None:
    sampler = Sampler(led, make(job, edges))
    sampler.step()
    path = sampler.trace.save(tmp_path / "led.hdp")
    again = Sampler.from_trace(led, Trace.load(path))
    assert again.job is not None
    np.testing.assert_array_equal(again.job.control, edges)
    np.testing.assert_array_equal(again.step().x0_latents, sampler.step().x0_latents)
