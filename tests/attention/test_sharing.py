"""Several users of one UNet, in one thread or in several: each gets what it would get alone."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image

from hdpainter_nb import Capture, Job, Sampler, load, watch
from hdpainter_nb.models.model import Model
from support.builders_ip_adapter import load_adapter
from support.hook_traces import snapshot

pytestmark = pytest.mark.diffusers

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (128, 128, 3), dtype=np.uint8)
HOLE = np.zeros((128, 128), bool)
HOLE[32:96, 32:96] = True
STEPS = 5  # of the pipelines' scheduler, when it is asked for 4


def pipeline(model: Model) -> Any:
    """Another pipeline on the parts of a model; what diffusers cannot share is its own."""
    own = ("scheduler", "tokenizer")
    parts = {**model.pipe.components, **{n: copy.deepcopy(getattr(model.pipe, n)) for n in own}}
    pipe = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe: Any, prompt: str, **more: Any) -> Any:
    arguments: dict[str, Any] = {
        "image": Image.fromarray(PICTURE),
        "mask_image": Image.fromarray(HOLE.astype(np.uint8) * 255),
        "height": 128,
        "width": 128,
        "num_inference_steps": 4,
        "output_type": "np",
        "generator": torch.Generator().manual_seed(0),
    }
    return pipe(prompt, **{**arguments, **more}).images


def together(*acts: Callable[[], Any]) -> list[Any]:
    """What each gives when all begin at once, each in a thread of its own."""
    results: list[Any] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = acts[number]()
        except BaseException as error:  # shown by the comparison
            results[number] = error

    threads = [
        threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(acts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


@pytest.fixture
def shared(folders: dict[str, str]) -> tuple[Model, Any, Any]:
    """A model, and two pipelines on its parts."""
    model = load(folders["sd15"])
    return model, pipeline(model), pipeline(model)


def sampled(model: Model, **settings: Any) -> Any:
    sampler = Sampler(model, Job(PICTURE, HOLE, "a red star", steps=4, seed=1, **settings))
    sampler.run()
    return sampler.records[-1].latents


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_pipeline_beside_a_watched_one(shared: tuple[Model, Any, Any], pictures: int) -> None:
    _, a, b = shared
    alone_a, alone_b = paint(a, "a red star"), paint(b, "a blue", num_images_per_prompt=pictures)
    with watch(a) as expected:
        paint(a, "a red star")
    before = snapshot(a.unet)
    for _ in range(2):
        with watch(a) as trace:
            got_a, got_b = together(
                lambda: paint(a, "a red star"),
                lambda: paint(b, "a blue", num_images_per_prompt=pictures),
            )
        np.testing.assert_array_equal(got_a, alone_a)
        np.testing.assert_array_equal(got_b, alone_b)
        assert len(trace) == len(expected) == STEPS
        for one, other in zip(trace, expected, strict=True):
            np.testing.assert_array_equal(one.latents, other.latents)
            np.testing.assert_array_equal(one.cross["star"], other.cross["star"])
        assert snapshot(a.unet) == before


def test_another_pipeline_inside_the_watch_of_one(shared: tuple[Model, Any, Any]) -> None:
    _, a, b = shared
    alone = paint(b, "a blue", num_images_per_prompt=3)
    x, t, context = torch.randn(3, 9, 16, 16), 10, torch.randn(3, 24, 32)
    bare = a.unet(x, t, context).sample
    with watch(a) as trace:
        paint(a, "a red star")
        picture = trace.picture().copy()
        np.testing.assert_array_equal(paint(b, "a blue", num_images_per_prompt=3), alone)
        assert torch.equal(a.unet(x, t, context).sample, bare)
    assert [len(trace.records(number)) for number in trace.branches] == [STEPS]
    np.testing.assert_array_equal(trace.picture(), picture)


def test_a_watched_pipeline_called_in_two_threads(shared: tuple[Model, Any, Any]) -> None:
    _, a, _ = shared
    prompts = ("a red star", "a blue circle")
    alone = [paint(a, prompt) for prompt in prompts]
    with watch(a) as trace:
        # One after the other: a pipeline's own scheduler counts, so its calls cannot overlap.
        results = [together(lambda p=p: paint(a, p))[0] for p in prompts]
    for result, expected in zip(results, alone, strict=True):
        np.testing.assert_array_equal(result, expected)
    assert [len(trace.records(number)) for number in trace.branches] == [STEPS, STEPS]


@pytest.mark.parametrize("settings", [{}, {"painta": False, "rasg": False}])
def test_a_sampler_beside_plain_and_watched_pipelines(
    shared: tuple[Model, Any, Any], settings: dict[str, Any]
) -> None:
    model, a, b = shared
    expected, alone_a, alone_b = sampled(model, **settings), paint(a, "a red"), paint(b, "a blue")
    before = snapshot(model.unet)
    for _ in range(2):
        with watch(a) as trace:
            results = together(
                lambda: sampled(model, **settings),
                lambda: paint(a, "a red"),
                lambda: paint(b, "a blue"),
                lambda: sampled(model, **settings),
            )
        for result, alone in zip(results, (expected, alone_a, alone_b, expected), strict=True):
            np.testing.assert_array_equal(result, alone)
        assert len(trace) == STEPS
        assert snapshot(model.unet) == before


def test_one_sampler_stepped_by_several_threads(model: Model) -> None:
    sampler = Sampler(model, Job(PICTURE, HOLE, "a red star", steps=8, rasg=False))
    results = together(*(lambda: [sampler.step().index for _ in range(2)] for _ in range(4)))
    assert sorted(index for indices in results for index in indices) == list(range(8))
    assert [record.index for record in sampler.records] == list(range(8))


class Scaled(AttnProcessor2_0):
    """A processor of the user's own with an argument of its own."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        strength: float = 1.0,
    ) -> torch.Tensor:
        plain = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask)
        return strength * plain


def test_a_processor_keeps_its_own_arguments_while_watched(shared: tuple[Model, Any, Any]) -> None:
    _, a, _ = shared
    a.unet.set_attn_processor(Scaled())
    arguments = {"strength": 0.5}
    alone = paint(a, "a red star", cross_attention_kwargs=arguments)
    assert not np.array_equal(alone, paint(a, "a red star"))
    with watch(a, capture=Capture.everything()):
        np.testing.assert_array_equal(
            paint(a, "a red star", cross_attention_kwargs=arguments), alone
        )


@pytest.mark.parametrize("first", ["adapter", "load"])
def test_an_adapter_confined_to_a_region_is_the_same_while_watched(
    folders: dict[str, str], first: str
) -> None:
    a = StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])
    a.set_progress_bar_config(disable=True)
    if first == "load":
        sampled(load(a), rasg=False)
    load_adapter(a)
    region = torch.zeros(1, 1, 128, 128)
    region[..., :64] = 1
    shown: dict[str, Any] = {"ip_adapter_image": Image.fromarray(PICTURE)}
    confined = shown | {"cross_attention_kwargs": {"ip_adapter_masks": [region]}}
    everywhere, alone = paint(a, "a red star", **shown), paint(a, "a red star", **confined)
    assert not np.array_equal(alone, everywhere)
    for capture in (Capture.nothing(), Capture.everything()):
        with watch(a, capture=capture) as trace:
            np.testing.assert_array_equal(paint(a, "a red star", **confined), alone)
            np.testing.assert_array_equal(paint(a, "a red star", **shown), everywhere)
        assert len(trace) == STEPS
