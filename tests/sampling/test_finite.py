"""Numbers that are not finite, anywhere in a run: one error says where, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from hdpainter_nb import (
    Sampler,
    SamplerBatch,
    UpscaleJob,
    Upscaler,
    load,
    load_upscaler,
    watch,
)
from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.models import vae
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling import predict
from support import builders

pytestmark = pytest.mark.diffusers

NAN, INF = float("nan"), float("inf")
WEIGHT = "down_blocks.0.resnets.0.conv1.weight"


@contextmanager
def damaged(module: torch.nn.Module, name: str = WEIGHT, value: float = NAN) -> Iterator[None]:
    """A module of which one number of a weight is not finite."""
    weight = module.get_parameter(name).data
    was = weight.clone()
    weight.view(-1)[3] = value
    try:
        yield
    finally:
        weight.copy_(was)


@pytest.fixture(scope="module")
def expected(model: Model) -> Callable[[Any], list[Any]]:
    """The latents of a run that nothing happens to."""
    known: dict[Any, list[Any]] = {}

    def run(job: Any) -> list[Any]:
        key = str(job.settings)
        if key not in known:
            sampler = Sampler(model, job)
            sampler.run()
            known[key] = [record.latents for record in sampler.records]
        return known[key]

    return run


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(
    "more",
    [{}, {"rasg": False}, {"rasg": False, "painta": False}, {"scheduler": "euler_a"}],
    ids=str,
)
def test_a_damaged_weight(
    model: Model, job: Any, expected: Any, more: dict[str, Any], value: float
) -> None:
    job = job.replace(steps=4, **more)
    sampler = Sampler(model, job)
    sampler.run(2)
    t = sampler.timesteps[2]
    with damaged(model.unet, value=value):
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                sampler.step()
            message = str(caught.value)
            assert f"prediction is not finite at step 3 of {sampler.total}, timestep {t}" in message
            assert WEIGHT in message
    assert sampler.index == len(sampler.records) == 2
    sampler.run()
    latents = [record.latents for record in sampler.records]
    np.testing.assert_array_equal(latents, expected(job))


def test_a_batch_names_the_seed_and_moves_no_sample(
    model: Model, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = SamplerBatch(model, job.replace(steps=3, rasg=False), seeds=[5, 7])
    batch.step()
    real = predict.call

    def second(*args: Any) -> Any:
        output = real(*args).clone()
        output[1::2] = NAN
        return output

    with monkeypatch.context() as patch:
        patch.setattr(predict, "call", second)
        with pytest.raises(ModelError, match="prediction is not finite at step 2") as caught:
            batch.step()
    assert caught.value.__notes__ == ["It is the sample of seed 7."]
    assert [len(sampler.records) for sampler in batch] == [1, 1]
    batch.run()
    assert batch.done


def test_latents_and_what_the_unet_is_told(model: Model, job: Any) -> None:
    cond, state = model.prepare(job)
    broken = State(0, state.latents.clone(), state.rng)
    broken.latents[0, 1, 2, 3] = NAN
    sampler = Sampler.from_cond(model, cond, broken, job.settings)
    with pytest.raises(ModelError, match="The latents are not finite at step 1"):
        sampler.step()
    for name in ("context", "masked_image_latents"):
        values = getattr(cond, name)
        was = values.clone()
        values[0, -1, -1] = INF
        sampler = Sampler.from_cond(model, cond, state, job.settings)
        what = "text embeddings" if name == "context" else name
        with pytest.raises(ModelError, match=rf"{what} (are|is) not finite at step 1"):
            sampler.step()
        values.copy_(was)


@pytest.mark.parametrize("guidance", ["rasg", "vanilla"])
def test_a_gradient(model: Model, job: Any, guidance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(model, job.replace(guidance=guidance))
    sampler.step()
    real = predict.gradients

    def broken(*args: Any) -> Any:
        scores, grad = real(*args)
        return scores, grad * NAN

    with monkeypatch.context() as patch:
        patch.setattr(predict, "gradients", broken)
        with pytest.raises(
            ModelError, match=r"gradient of S.* is not finite at step 2 .*rasg=False"
        ):
            sampler.step()
    assert sampler.step().index == 1


def test_half_precision_that_overflows_says_so(
    model: Model, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "call", lambda unet, given, t: given.stacked[:, :4] * INF)
    cond, state = model.prepare(job)
    half = State(0, state.latents.half(), state.rng)
    sampler = Sampler.from_cond(model, cond, half, job.settings.replace(rasg=False, painta=False))
    with pytest.raises(ModelError, match=r"overflows in float16, so load .*'bfloat16'"):
        sampler.step()


def test_text_encoder_and_vae(folders: dict[str, str], job: Any) -> None:
    model = load(folders["sd15"])
    text = model.pipe.text_encoder
    name = next(name for name, _ in text.named_parameters() if "final_layer_norm.weight" in name)
    with (
        damaged(text, name),
        pytest.raises(ModelError, match="embeddings of the prompt are not finite in float32"),
    ):
        Sampler(model, job)
    with (
        damaged(model.pipe.vae, "encoder.conv_in.weight"),
        pytest.raises(ModelError, match="VAE gives no finite numbers"),
    ):
        Sampler(model, job)
    sampler = Sampler(model, job)
    sampler.step()
    with (
        damaged(model.pipe.vae, "decoder.conv_in.weight"),
        pytest.raises(ModelError, match="VAE gives no finite numbers"),
    ):
        sampler.image()
    assert sampler.image().shape == (128, 128, 3)


def test_the_upscaler(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "m")
    model = load_upscaler(folder)
    rng = np.random.default_rng(0)
    large = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True
    upscaler = Upscaler(model, UpscaleJob(large[::4, ::4], large, mask, "a red star", steps=3))
    upscaler.step()
    with damaged(model.unet), pytest.raises(ModelError, match=rf"not finite at step 2 .*{WEIGHT}"):
        upscaler.step()
    assert len(upscaler.records) == 1
    upscaler.run()


@pytest.fixture
def watched(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(vae, "fit_preview", lambda *_: vae.NEUTRAL)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folders["sd15-4ch"])
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe: Any, **more: Any) -> Any:
    arguments = {"height": 128, "width": 128, "num_inference_steps": 3, "output_type": "np"}
    return pipe("a red star", **{**arguments, **more}).images


def test_a_watched_run_keeps_what_was_seen(watched: Any) -> None:
    def break_it(pipe: Any, index: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        if index == 1:
            values["latents"] = values["latents"] * NAN
        return values

    with watch(watched) as trace:
        with pytest.raises(ModelError, match="The latents are not finite at step 3 of 3"):
            paint(watched, callback_on_step_end=break_it)
        assert len(trace) == 2
        with damaged(watched.unet), pytest.raises(ModelError, match=rf"at step 1 of 3.*{WEIGHT}"):
            paint(watched)
        with (
            damaged(watched.vae, "decoder.conv_in.weight"),
            pytest.raises(ModelError, match="picture that the VAE made of step 3 is not finite"),
        ):
            paint(watched)
        assert len(trace.records(2)) == 3
        paint(watched)
    assert np.isfinite(trace.records(3)[-1].x0_latents).all()


# --- zero terminal SNR ---------------------------------------------------------------------------


def without_signal(folder: Path, kind: str) -> Path:
    """A model whose last cumulative alpha is 0, and which begins there."""
    folder = builders.make_folder(folder, kind)
    file = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    config |= {"_class_name": "DDIMScheduler", "clip_sample": False}
    config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    file.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    base = tmp_path_factory.mktemp("zero")
    return {kind: load(without_signal(base / kind, kind)) for kind in ("sd15", "sd2-v")}


OTHERS = (
    {"scheduler": "euler_a"},
    {"scheduler": "dpm++_2m_sde"},
    {"scheduler": "pndm", "rasg": False},
    {"grid": "leading"},
    {"grid": "leading", "guidance": "vanilla", "vanilla_scale": 1.0},
)


@pytest.mark.parametrize(
    ("kind", "settings", "way"),
    [
        ("sd15", {}, "the model predicts the noise.*grid='leading' or scheduler='euler_a'"),
        ("sd15", {"painta": False, "rasg": False}, "the model predicts the noise"),
        ("sd15", {"guidance": "vanilla"}, "the model predicts the noise"),
        ("sd15", {"scheduler": "ddpm"}, "use scheduler='euler_a'"),
        ("sd2-v", {"guidance": "vanilla"}, "changes the noise.*use guidance='rasg' or grid"),
        ("sd2-v", {"guidance": "vanilla", "scheduler": "ddpm"}, "use guidance='rasg'"),
    ],
)
def test_what_has_no_x0_is_refused_before_anything_runs(
    silent: dict[str, Any], job: Any, kind: str, settings: dict[str, Any], way: str
) -> None:
    with pytest.raises(SettingsError, match=rf"alpha is 0 at timestep 999.*{way}"):
        Sampler(silent[kind], job.replace(steps=4, **settings))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *(("sd15", more) for more in OTHERS),
        *(("sd2-v", more) for more in OTHERS),
        ("sd2-v", {}),
        ("sd2-v", {"sigma": "cumulative"}),
        ("sd2-v", {"scheduler": "ddpm"}),
    ],
    ids=str,
)
def test_the_rest_is_computed(
    silent: dict[str, Any], job: Any, kind: str, settings: dict[str, Any]
) -> None:
    sampler = Sampler(silent[kind], job.replace(steps=3, **settings))
    sampler.run()
    for record in sampler.records:
        assert np.isfinite(record.x0_latents).all()
        assert np.isfinite(record.latents).all()


def test_a_branch_after_the_first_step_may_do_more(silent: dict[str, Any], job: Any) -> None:
    sampler = Sampler(silent["sd2-v"], job.replace(steps=3, vanilla_scale=1.0))
    with pytest.raises(SettingsError, match="changes the noise"):
        sampler.branch(guidance="vanilla")
    assert len(sampler.trace.branches) == 1
    sampler.step()
    other = sampler.branch(guidance="vanilla")
    other.run()
    assert np.isfinite(other.records[-1].x0_latents).all()


def test_v_without_signal_is_minus_x0(silent: dict[str, Any], job: Any) -> None:
    sampler = Sampler(silent["sd2-v"], job.replace(steps=3, guidance_scale=1.0, rasg=False))
    outputs: list[Any] = []
    handle = sampler.model.unet.register_forward_hook(lambda *args: outputs.append(args[2][0]))
    try:
        record = sampler.step()
    finally:
        handle.remove()
    assert record.alpha == 0
    np.testing.assert_allclose(record.x0_latents, -outputs[0][-1].numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_watched_without_signal(watched: Any, kind: str) -> None:
    watched.scheduler = diffusers.DDIMScheduler.from_config(
        watched.scheduler.config,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type=kind,
    )
    if kind == "v_prediction":
        alone = paint(watched, generator=torch.Generator().manual_seed(0))
        with watch(watched) as trace:
            seen = paint(watched, generator=torch.Generator().manual_seed(0))
        np.testing.assert_array_equal(seen, alone)
        assert trace[0].alpha == 0
        assert all(np.isfinite(record.x0_latents).all() for record in trace)
        return
    with watch(watched) as trace:
        with pytest.raises(ModelError, match=r"alpha is 0 at timestep 999.*predicts the noise"):
            paint(watched)
        assert not trace.branches
        watched.scheduler = diffusers.EulerDiscreteScheduler.from_config(watched.scheduler.config)
        paint(watched)
    assert all(np.isfinite(record.x0_latents).all() for record in trace)
