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
)
from PIL import Image

from hdpainter_nb import Job, Sampler, Trace, load
from hdpainter_nb.errors import HDPainterWarning, ImageError, ModelError, SettingsError
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.batch import SamplerBatch
from support import builders, builders_xl
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
    """A ControlNet for the small sd15."""
    folder = tmp_path_factory.mktemp("control") / "net"
    return builders.make_controlnet(folder, folders["sd15-4ch"])


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


def stock_pipe(folder: str, network: Path) -> Any:
    base = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    return StableDiffusionControlNetInpaintPipeline(
        **{name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "unet")},
        controlnet=ControlNetModel.from_pretrained(network),
        scheduler=DDIMScheduler.from_config(
            base.scheduler.config, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def marked(job: Job) -> torch.Tensor:
    """(1, 3, H, W): the picture in 0 .. 1 with -1 in the hole, as the network's card makes it."""
    image = np.array(job.image).astype(np.float32) / 255.0
    image[job.mask] = -1.0
    return torch.from_numpy(np.expand_dims(image, 0).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("what", ["levels", "hole"])
@pytest.mark.parametrize("kind", ["sd15", "sd15-4ch"])
def test_bit_equal_to_the_stock_pipeline(
    kind: str, what: str, folders: dict[str, str], network: Path, job: Job, edges: np.ndarray
) -> None:
    theirs: Any = Image.fromarray(edges) if what == "levels" else marked(job)
    job = make(job, edges if what == "levels" else "inpaint")
    pipe = stock_pipe(folders[kind], network)
    latents, _ = run_stock(
        pipe, job, control_image=theirs, strength=1.0, controlnet_conditioning_scale=0.7
    )
    for model in (load(folders[kind], controlnet=network), load(pipe)):
        sampler = Sampler(model, job)
        sampler.run()
        for a, b in zip(latents_of(sampler), latents, strict=True):
            assert torch.equal(a, b), (a - b).abs().max()


def test_floats_are_taken_as_they_are(led: Model, job: Job) -> None:
    """From any of their forms; a tensor's numbers are not rescaled for being negative."""
    wanted = marked(job)
    array = wanted[0].permute(1, 2, 0).numpy()
    forms = [wanted, wanted[0], array, array.astype(np.float64), wanted.double()]
    for form in forms:
        given = make(job, form)
        assert given.control is not None
        assert given.control.dtype == np.float32
        np.testing.assert_array_equal(given.control, array)
        assert torch.equal(led.layout(given).control.image, wanted)
    other = wanted.clone()
    other[0, :, 0, 0] = torch.tensor([0.25, -0.5, 1.0])  # not of the hole
    assert torch.equal(led.layout(make(job, other)).control.image, other)
    grey = make(job, array[..., 0])
    np.testing.assert_array_equal(grey.control, np.repeat(array[..., :1], 3, -1))
    bytes_ = make(job, torch.from_numpy(job.image).permute(2, 0, 1))
    assert bytes_.control is not None
    assert bytes_.control.dtype == np.uint8
    np.testing.assert_array_equal(bytes_.control, job.image)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x * 255, r"must lie within -1 \.\. 1; this one holds values from -255 to 2"),
        (lambda x: x - 0.5, r"holds values from -1.5 to"),
        (lambda x: x * np.nan, r"holds values from nan to nan"),
        (lambda x: x + np.inf, r"holds values from inf to inf"),
        (lambda x: x[..., :2], r"is \(H, W, 3\) or, as a tensor, \(3, H, W\), not \(128, 128, 2"),
        (lambda x: x[:100], "control has 128x100 px, the image 128x128"),
    ],
)
def test_floats_that_are_refused(job: Job, change: Any, sentence: str) -> None:
    array = marked(job)[0].permute(1, 2, 0).numpy()
    with pytest.raises(ImageError, match=sentence):
        make(job, change(array))


@pytest.mark.parametrize("scaling", ["bicubic", "area", "lanczos"])
def test_a_marked_hole_stays_marked_when_it_is_scaled(led: Model, scaling: str) -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (150, 200, 3), np.uint8)
    mask = np.zeros((150, 200), bool)
    mask[30:101, 41:120] = True
    job = Job(image, mask, "a star", scaling=scaling, size="pad", control="inpaint")
    layout = led.layout(job)
    assert layout.control is not None
    hole, made = torch.from_numpy(layout.mask.pixels), layout.control.image[0]
    assert (made[:, hole] == -1).all()
    assert (made[:, ~hole] >= 0).all()
    shown = torch.from_numpy(layout.picture).permute(2, 0, 1) / 255
    assert torch.equal(made[:, ~hole], shown[:, ~hole])
    # Floats of one's own are those of the nearest pixels: no -1 is mixed with the picture.
    control = job.control.copy()
    control[0, 0] = 0.125
    _, _, height, width = layout.mask.crop
    own = led.layout(
        Job(image, mask, "a star", scaling=scaling, size="pad", control=control)
    ).control.image[0, :, :height, :width]
    assert set(own.unique().tolist()) <= set(np.unique(control).tolist())
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(control).permute(2, 0, 1)[None], (height, width), mode="nearest"
    )[0]
    assert torch.equal(own, theirs)


def test_the_hole_is_followed_where_it_changes(job: Job) -> None:
    soft = job.mask * np.uint8(100)
    soft[40:50, 40:50] = 255
    with pytest.warns(HDPainterWarning, match="The mask is soft"):
        led = Job(job.image, soft, "a star", control="inpaint")
    half = led.replace(soft_mask="half")
    for one in (led, half):
        assert one.follows_its_hole
        np.testing.assert_array_equal((one.control == -1).all(-1), one.mask)
    window = (slice(0, 96), slice(32, 128))
    assert half.part(window).follows_its_hole


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


@pytest.mark.parametrize("what", ["levels", "hole", "floats"])
def test_a_saved_run_goes_on_with_its_control_picture(
    led: Model, job: Job, edges: np.ndarray, tmp_path: Path, what: str
) -> None:
    given = {"levels": edges, "hole": "inpaint", "floats": edges / np.float32(-255)}[what]
    sampler = Sampler(led, make(job, given))
    sampler.step()
    path = sampler.trace.save(tmp_path / "led.hdp")
    again = Sampler.from_trace(led, Trace.load(path))
    assert again.job is not None
    assert sampler.job is not None
    np.testing.assert_array_equal(again.job.control, sampler.job.control)
    np.testing.assert_array_equal(again.step().x0_latents, sampler.step().x0_latents)
