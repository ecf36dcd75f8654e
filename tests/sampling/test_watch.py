"""Watching other people's pipelines: the same picture, the pipeline as it was, a whole trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from hdpainter_nb import Capture, Job, Sampler, Trace
from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.edits.builtin import ScaleWord, SetC
from hdpainter_nb.errors import MaskError, ModelError, SettingsError
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.watch import watch
from hdpainter_nb.trace.web import run_message, step_message

pytestmark = pytest.mark.diffusers
RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 255, (128, 128, 3), dtype=np.uint8))
HOLE = np.zeros((128, 128), bool)
HOLE[32:96, 32:96] = True
MASK = Image.fromarray(HOLE.astype(np.uint8) * 255)


def make_controlnet(unet: Any) -> Any:
    channels = (8, 8, 8, 8)
    return diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)


def make_xl(parts: dict[str, Any]) -> Any:
    """SDXL in small: two text encoders side by side, no attention at H/8, two blocks at H/32."""
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=64,
        attention_head_dim=[2, 4, 4],
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
    )
    text = parts["text"]
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=text["vae"],
        text_encoder=text["text_encoder"],
        text_encoder_2=CLIPTextModelWithProjection(text["text_encoder"].config),
        tokenizer=text["tokenizer"],
        tokenizer_2=text["tokenizer"],
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler.from_config(text["scheduler"].config),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def parts(folders: dict[str, str]) -> dict[str, Any]:
    """The networks of a text-to-image model, and those of an inpainting one."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folders["sd15-4ch"])
    inpaint = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    return {"text": pipe.components, "inpaint": inpaint.components}


def make(parts: dict[str, Any], kind: str) -> tuple[Any, dict[str, Any]]:
    """A pipeline of a kind and what a call of it needs."""
    names = {
        "text": "StableDiffusionPipeline",
        "image": "StableDiffusionImg2ImgPipeline",
        "inpaint": "StableDiffusionInpaintPipeline",
        "control": "StableDiffusionControlNetPipeline",
    }
    found = dict(parts["inpaint" if kind == "inpaint" else "text"])
    found["scheduler"] = diffusers.DDIMScheduler.from_config(
        found["scheduler"].config, steps_offset=1, clip_sample=False
    )
    arguments: dict[str, Any] = {"height": 128, "width": 128, "num_inference_steps": 3}
    if kind == "image":
        arguments = {"image": PICTURE, "strength": 0.67, "num_inference_steps": 3}
    elif kind == "inpaint":
        arguments |= {"image": PICTURE, "mask_image": MASK}
    elif kind == "control":
        torch.manual_seed(0)
        found["controlnet"] = make_controlnet(found["unet"])
        arguments |= {"image": PICTURE}
    pipe = getattr(diffusers, names[kind])(**found)
    pipe.set_progress_bar_config(disable=True)
    return pipe, arguments


def paint(pipe: Any, arguments: dict[str, Any], prompt: Any = "a red star", **more: Any) -> Any:
    rng = torch.Generator().manual_seed(3)
    out = pipe(prompt, generator=rng, output_type="np", **{**arguments, **more})
    return (out.images * 255).round().astype(np.uint8)


def snapshot(pipe: Any) -> Any:
    unet = pipe.unet
    return (
        {name: id(p) for name, p in unet.attn_processors.items()},
        {n: (list(m._forward_hooks), list(m._forward_pre_hooks)) for n, m in unet.named_modules()},
        [sorted(vars(part)) for part in (pipe, pipe.unet, pipe.vae, pipe.scheduler)],
        [vars(part).get("forward") for part in (pipe.unet, pipe.vae)],
    )


@pytest.mark.parametrize("kind", ["text", "image", "inpaint", "control"])
def test_the_picture_is_the_same_and_everything_is_seen(parts: dict[str, Any], kind: str) -> None:
    pipe, arguments = make(parts, kind)
    plain, before = paint(pipe, arguments), snapshot(pipe)
    with watch(pipe, capture=Capture.everything()) as trace:
        watched = paint(pipe, arguments)
    np.testing.assert_array_equal(watched, plain)
    assert snapshot(pipe) == before
    assert len(trace) == (2 if kind == "image" else 3)
    assert [r.timestep for r in trace] == sorted((r.timestep for r in trace), reverse=True)
    record = trace[0]
    assert [w.text for w in record.cross.words] == ["a", "red", "star", "<eot>"]
    assert record.cross["star", 8].shape == (16, 16)
    layers = [x.name for x in attention_layers(pipe.unet) if x.level == 16]
    assert list(record.cross.layers(16)) == layers
    assert record.guided_norm > 0
    assert record.settings.method == type(pipe).__name__
    assert record.settings.guidance_scale == 7.5
    np.testing.assert_array_equal(trace.picture(), plain[0])
    assert (16 in record.similarity) == (kind == "inpaint")


def test_xl_is_watched_too(parts: dict[str, Any]) -> None:
    pipe = make_xl(parts)
    arguments = {"height": 128, "width": 128, "num_inference_steps": 2}
    plain, before = paint(pipe, arguments), snapshot(pipe)
    with watch(pipe, capture=Capture.everything()) as trace:
        np.testing.assert_array_equal(paint(pipe, arguments), plain)
    assert snapshot(pipe) == before
    assert trace[1].cross.levels == (16, 32)
    assert trace[1].cross["star", 16].shape == (8, 8)
    assert len(trace[1].cross.layers(32)) == 2 * (1 + 1 + 2)  # two blocks in each attention


@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_what_is_seen_is_what_our_sampler_sees(
    model: Model, folders: dict[str, str], guidance: float
) -> None:
    """At the same latents and timesteps: the community preset is the stock pipeline to the bit."""
    job = Job(
        PICTURE,
        HOLE,
        "a red star",
        preset="community",
        painta=False,
        rasg=False,
        steps=3,
        seed=3,
        positive_suffix="",
        negative_prompt="blurry",
        guidance_scale=guidance,
    )
    sampler = Sampler(model, job, Capture.everything())
    sampler.run()
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, steps_offset=1, clip_sample=False
    )
    pipe.set_progress_bar_config(disable=True)
    with watch(pipe, capture=Capture.everything(), mask=HOLE, image=PICTURE) as trace:
        paint(
            pipe,
            {"image": PICTURE, "mask_image": MASK, "height": 128, "width": 128},
            num_inference_steps=3,
            guidance_scale=guidance,
            negative_prompt="blurry",
            eta=0.01,  # as the preset has it
        )
    assert len(trace) == 3
    for ours, theirs in zip(sampler.records, trace, strict=True):
        assert ours.timestep == theirs.timestep
        np.testing.assert_array_equal(ours.latents, theirs.latents)
        np.testing.assert_allclose(ours.x0_latents, theirs.x0_latents, atol=1e-4, rtol=1e-5)
        assert ours.alpha == pytest.approx(theirs.alpha)
        assert ours.guided_norm == pytest.approx(theirs.guided_norm)
        for level in (8, 16, 32):
            assert list(ours.cross.layers(level)) == list(theirs.cross.layers(level))
            for name, maps in ours.cross.layers(level).items():
                np.testing.assert_allclose(maps, theirs.cross.layers(level)[name], atol=1e-5)
        for level in (16, 32):
            np.testing.assert_allclose(ours.similarity[level], theirs.similarity[level], atol=1e-5)
        assert ours.scores is not None
        assert theirs.scores is not None
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
    np.testing.assert_array_equal(
        [n.latents for n in sampler.trace.path()], [n.latents for n in trace.path()]
    )


@pytest.mark.parametrize(
    "name", ["PNDMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"]
)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_x0_under_other_schedulers(parts: dict[str, Any], name: str, kind: str) -> None:
    """x_t, x0 and the scheduler's own noise prediction belong together; x_t is scaled as VP."""
    pipe, arguments = make(parts, "text")
    extra = {} if name == "HeunDiscreteScheduler" else {"prediction_type": kind}
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **extra)
    said: list[Any] = []
    original = pipe.scheduler.step

    def step(model_output: Any, timestep: Any, sample: Any, **more: Any) -> Any:
        out = original(model_output, timestep, sample, **more)
        said.append((model_output.clone(), getattr(out, "pred_original_sample", None)))
        return out

    pipe.scheduler.step = step
    with watch(pipe, capture=Capture.nothing()) as trace:
        paint(pipe, arguments)
    assert len(trace) == len(said) >= 3
    assert pipe.scheduler.step is step
    for record, (output, _) in zip(trace, said, strict=True):
        a, b = record.alpha**0.5, (1 - record.alpha) ** 0.5
        if pipe.scheduler.config.prediction_type == "epsilon":
            eps = output[0].numpy()
        else:
            eps = a * output[0].numpy() + b * record.latents
        np.testing.assert_allclose(
            a * record.x0_latents + b * eps, record.latents, atol=2e-4, rtol=1e-4
        )
        assert 0.5 < record.latents.std() < 40


def test_euler_s_own_x0_is_ours(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(
        pipe.scheduler.config, use_karras_sigmas=True
    )
    theirs: list[Any] = []
    original = pipe.scheduler.step

    def step(*args: Any, **more: Any) -> Any:
        out = original(*args, **{**more, "return_dict": True})
        theirs.append(out.pred_original_sample)
        return out.to_tuple()

    pipe.scheduler.step = step
    with watch(pipe, capture=Capture.nothing()) as trace:
        paint(pipe, arguments)
    for record, x0 in zip(trace, theirs, strict=True):
        np.testing.assert_allclose(record.x0_latents, x0[0], rtol=1e-4, atol=1e-3)


def test_two_pictures_of_two_prompts(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    prompts, more = ["a red star", "a blue star"], {"num_images_per_prompt": 2}
    traces = {}
    for sample in (-1, 1):
        with watch(pipe, sample=sample) as traces[sample]:
            pictures = paint(pipe, arguments, prompts, **more)
        np.testing.assert_array_equal(traces[sample].picture(), pictures[sample])
        with pytest.raises(KeyError, match="not a word"):
            traces[sample][0].cross["red" if sample == -1 else "blue"]
    assert traces[-1].branches[0].prompt == "a blue star"
    assert np.abs(traces[-1][0].cross["a"] - traces[1][0].cross["a"]).max() > 0
    with pytest.raises(SettingsError, match="no sample 4; the call makes 4"), watch(pipe, sample=4):
        paint(pipe, arguments, prompts, **more)


def test_several_calls_are_several_branches(parts: dict[str, Any], tmp_path: Path) -> None:
    pipe, arguments = make(parts, "text")
    with watch(pipe) as trace:
        paint(pipe, arguments, "a red star")
        pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
        paint(pipe, arguments, "a blue star", num_inference_steps=2)
    assert [(b.name, b.prompt) for b in trace.branches.values()] == [
        ("main", "a red star"),
        ("call 2", "a blue star"),
    ]
    assert [len(trace.records(b)) for b in trace.branches] == [3, 2]
    assert trace.branches[1].settings.to_dict()["solver"] == "EulerDiscreteScheduler"
    assert "step" not in vars(pipe.scheduler)

    loaded = Trace.load(trace.save(tmp_path / "run.hdp"))
    assert loaded.branches == trace.branches
    np.testing.assert_array_equal(loaded[1].cross["star"], trace[1].cross["star"])
    page = trace.to_html(tmp_path / "run.html")
    assert "a red star" in page.read_text()
    buffers: list[bytes] = []
    assert run_message(trace, buffers)["frame"] == [128, 128]
    assert step_message(trace.path()[1], buffers)["maps"]
    with pytest.raises(SettingsError, match="no picture and mask"):
        Sampler.from_trace(load(pipe), loaded)


def test_an_error_in_the_call_leaves_nothing_behind(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    paint(pipe, arguments)
    before, hooks = snapshot(pipe), []

    def fail(*_: Any) -> None:
        if len(hooks) == 1:
            raise ZeroDivisionError
        hooks.append(1)

    handle = pipe.unet.mid_block.register_forward_hook(fail)
    try:
        with watch(pipe) as trace:
            with pytest.raises(ZeroDivisionError):
                paint(pipe, arguments)
            assert {type(p).__name__ for p in pipe.unet.attn_processors.values()} == {
                "AttnProcessor2_0"
            }
    finally:
        handle.remove()
    assert snapshot(pipe) == before
    assert len(trace) == 1  # what was seen until then
    with pytest.raises(ZeroDivisionError), watch(pipe):
        raise ZeroDivisionError
    assert snapshot(pipe) == before


def test_watching_twice_is_refused(parts: dict[str, Any]) -> None:
    pipe, _ = make(parts, "text")
    other = diffusers.StableDiffusionImg2ImgPipeline(**pipe.components)
    with watch(pipe):
        for again in (pipe, other):
            with pytest.raises(SettingsError, match="watched already"), watch(again):
                pass
    with watch(other):
        pass


def test_embeddings_in_the_place_of_a_prompt(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    embeds, negative = pipe.encode_prompt("a red star", "cpu", 1, True)
    given = {"prompt_embeds": embeds, "negative_prompt_embeds": negative}
    with watch(pipe) as trace:
        paint(pipe, arguments, None, **given)
    with watch(pipe, prompt="a red star") as named:
        paint(pipe, arguments, None, **given)
    assert trace[0].cross.words == ()
    np.testing.assert_array_equal(trace[0].cross[3], named[0].cross[3])
    star = next(word for word in named.words if word.text == "star").tokens
    wanted = np.mean([trace[0].cross[token] for token in star], axis=0)
    np.testing.assert_allclose(named[0].cross["star"], wanted, atol=1e-6)


def test_sizes_that_do_not_divide(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    with watch(pipe) as trace:
        paint(pipe, arguments, height=120, width=144)
    assert trace[0].cross.levels == (8,)
    assert trace[0].cross["star", 8].shape == (15, 18)


def test_edits_act_in_any_pipeline(parts: dict[str, Any]) -> None:
    pipe, arguments = make(parts, "text")
    plain = paint(pipe, arguments)
    with watch(pipe, edit=ScaleWord("star", 9.0, steps=slice(1, None))) as trace:
        edited = paint(pipe, arguments)
    assert np.abs(edited.astype(int) - plain).max() > 0
    assert str(trace.branches[0].edits[0]) == "ScaleWord('star', 9.0, steps=1:)"
    with watch(pipe) as same:
        paint(pipe, arguments)
    np.testing.assert_array_equal(trace[0].x0_latents, same[0].x0_latents)
    assert trace[1].cross["star"].mean() > 5 * same[1].cross["star"].mean()
    with pytest.raises(SettingsError, match="only a Sampler has"), watch(pipe, edit=SetC(0)):
        pass
    with (
        pytest.raises(SettingsError, match="not a word of this prompt"),
        watch(pipe, edit=ScaleWord("moon", 2)),
    ):
        paint(pipe, arguments)


def test_what_cannot_be_watched_says_so(parts: dict[str, Any], model: Model) -> None:
    with pytest.raises(ModelError, match="has no unet"), watch(object()):
        pass
    pipe, arguments = make(parts, "text")
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.raises(ModelError, match="no alphas_cumprod"), watch(pipe):
        pass
    pipe, arguments = make(parts, "text")
    handle = pipe.unet.register_forward_pre_hook(
        lambda _, args, kwargs: (
            (torch.cat([args[0], args[0][:1]]), *args[1:]),
            {
                **kwargs,
                "encoder_hidden_states": torch.cat([kwargs["encoder_hidden_states"]] * 2)[:3],
            },
        ),
        with_kwargs=True,
    )
    try:
        with pytest.raises(ModelError, match="on 3 rows for 1 pictures"), watch(pipe):
            paint(pipe, arguments)
    finally:
        handle.remove()
    with pytest.raises(SettingsError, match=r"no layer|No layer|layers"):  # noqa: SIM117
        with watch(pipe, capture=Capture.where(layers="up_blocks.9")):
            paint(pipe, arguments)


def test_our_sampler_may_step_the_same_model_meanwhile(
    folders: dict[str, str], parts: dict[str, Any]
) -> None:
    pipe, arguments = make(parts, "inpaint")
    job = Job(PICTURE, HOLE, "a red star", steps=2, seed=3, positive_suffix="")
    alone = Sampler(load(pipe), job).step()
    with watch(pipe) as trace:
        paint(pipe, arguments)
        beside = Sampler(load(pipe), job).step()
    np.testing.assert_array_equal(alone.x0_latents, beside.x0_latents)
    assert len(trace) == 3


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("kind", ["path", "pil", "array", "list"])
def test_a_mask_of_any_kind(
    folders: dict[str, str], tmp_path: Path, picture: bool, kind: str
) -> None:
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    path = tmp_path / "m.png"
    Image.fromarray(HOLE).save(path)
    mask = {"path": str(path), "pil": Image.open(path), "array": HOLE, "list": HOLE.tolist()}[kind]
    if kind == "list":
        with pytest.raises(MaskError, match="of type list"), watch(pipe, mask=mask):
            pass
        return
    with watch(pipe, image=PICTURE if picture else None, mask=mask) as trace:
        np.testing.assert_array_equal(trace.mask, HOLE)


@pytest.mark.parametrize(
    "mask",
    ["missing.png", 5, np.full((128, 128), "x"), np.full((128, 128), None), np.zeros(3)],
    ids=["path", "number", "text", "objects", "row"],
)
def test_a_mask_that_is_none_is_refused_before_the_pipeline_is_touched(
    folders: dict[str, str], mask: Any
) -> None:
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    with pytest.raises(MaskError, match=r"\.$"), watch(pipe, mask=mask):
        pass
    with watch(pipe):  # it is not being watched any more
        pass
