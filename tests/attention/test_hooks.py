"""Taps leave no trace, whatever happens while they are in."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from hdpainter_nb import Capture, Job, Sampler
from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.errors import ModelError, OutOfMemoryError, SamplingCancelled
from hdpainter_nb.models.model import Model
from support.hook_traces import break_at, snapshot

pytestmark = pytest.mark.diffusers


def test_after_a_step_the_pipeline_is_as_it_was(model: Model, job: Job) -> None:
    before = snapshot(model.unet)
    assert any(before["learning"].values())  # something to restore
    Sampler(model, job, Capture.everything()).run(2)
    assert snapshot(model.unet) == before


@pytest.mark.parametrize("call", [1, 2])  # in the conditional half, in the unconditional one
def test_after_an_exception_in_a_step(model: Model, job: Job, call: int) -> None:
    sampler = Sampler(model, job)
    undo = break_at(model.unet, call, lambda: torch.OutOfMemoryError("no memory left"))
    before = snapshot(model.unet)
    try:
        with pytest.raises(OutOfMemoryError, match="no memory left"):
            sampler.step()
        assert snapshot(model.unet) == before
    finally:
        undo()
    assert sampler.index == 0
    fresh = Sampler(model, job)
    assert (sampler.step().latents == fresh.step().latents).all()
    assert (sampler.step().x0_latents == fresh.step().x0_latents).all()


def test_after_a_cancel_in_a_step(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.step()
    before = snapshot(model.unet)
    handle = model.unet.mid_block.register_forward_hook(lambda *_: sampler.cancel())
    try:
        with pytest.raises(SamplingCancelled):
            sampler.step()
    finally:
        handle.remove()
    after = snapshot(model.unet)
    assert after == before
    assert sampler.index == 1
    sampler.run()
    assert sampler.done


def test_cancel_from_another_thread_stops_a_run(model: Model, job: Job) -> None:
    sampler = Sampler(model, job.replace(steps=200, rasg=False))
    begun = threading.Event()
    handle = model.unet.mid_block.register_forward_hook(
        lambda *_: begun.set() if sampler.index == 2 else None
    )

    def cancel() -> None:
        begun.wait(60)
        sampler.cancel()

    other = threading.Thread(target=cancel)
    other.start()
    try:
        with pytest.raises(SamplingCancelled):
            sampler.run()
    finally:
        handle.remove()
        other.join()
    assert 2 <= sampler.index < sampler.total
    assert len(sampler.records) == sampler.index


class Doubled(AttnProcessor2_0):
    """A processor of the user's own that changes the output."""

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return 2 * super().__call__(attn, hidden_states, *args, **kwargs)


class ModuleProcessor(nn.Module):
    """Processors that are modules are registered in the tree, and must come back there."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = AttnProcessor()

    def forward(self, attn: Any, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        return self.inner(attn, hidden_states, **kwargs)


def test_other_processors_are_called_as_they_stand(model: Model, job: Job) -> None:
    unet = model.unet
    originals = dict(unet.attn_processors)
    plain = job.replace(painta=False, rasg=False)
    try:
        unet.set_attn_processor({name: Doubled() for name in originals})
        before = snapshot(unet)
        watched = Sampler(model, plain, Capture.everything()).step()
        unwatched = Sampler(model, plain, Capture.nothing()).step()
        assert snapshot(unet) == before
        assert (watched.x0_latents == unwatched.x0_latents).all()

        unet.set_attn_processor({name: ModuleProcessor() for name in originals})
        before = snapshot(unet)
        foreign = Sampler(model, job)
        foreign.step()
        assert snapshot(unet) == before
    finally:
        unet.set_attn_processor(dict(originals))
    stock = Sampler(model, job)
    stock.step()
    torch.testing.assert_close(foreign.state.latents, stock.state.latents, atol=1e-4, rtol=0)
    assert not (watched.x0_latents == Sampler(model, plain).step().x0_latents).all()


def test_layers_run_in_the_order_in_which_they_are_listed(model: Model, job: Job) -> None:
    layers = attention_layers(model.unet)
    ran: list[str] = []
    handles = [
        layer.block.register_forward_pre_hook(lambda *_, name=layer.name: ran.append(name))
        for layer in layers
    ]
    try:
        Sampler(model, job.replace(rasg=False)).step()
    finally:
        for handle in handles:
            handle.remove()
    assert ran == [layer.name for layer in layers]


def test_levels_are_those_of_the_tokens_seen(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    height, width = sampler.cond.size
    for layer in attention_layers(model.unet):
        seen: list[int] = []
        handle = layer.block.attn1.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0].shape[1])
        )
        Sampler(model, job.replace(rasg=False, painta=False), Capture.nothing()).step()
        handle.remove()
        assert seen == [(height // layer.level) * (width // layer.level)]


def test_a_unet_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match="laid out as Stable Diffusion"):
        attention_layers(nn.Linear(2, 2))


def test_a_failed_installation_takes_back_what_it_did(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    before = snapshot(model.unet)
    layers = attention_layers(model.unet)
    original = layers[-1].block.attn2.set_processor
    layers[-1].block.attn2.set_processor = lambda *_: (_ for _ in ()).throw(RuntimeError("no"))
    try:
        with (
            pytest.raises(RuntimeError, match="no"),
            AttentionHooks(model.unet, sampler.stepper.plan(0)),
        ):
            pass
    finally:
        layers[-1].block.attn2.__dict__.pop("set_processor")
    assert original
    assert snapshot(model.unet) == before


def test_rasg_needs_a_level_to_read() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=9,
        block_out_channels=(8, 8),
        layers_per_block=1,
        cross_attention_dim=8,
        norm_num_groups=4,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    plan = HookPlan(
        size=(128, 128), indices=(1,), tokens=3, rows={}, capture=Capture(), gradient=True
    )
    with pytest.raises(ModelError, match="rasg=False"):
        AttentionHooks(unet, plan)
