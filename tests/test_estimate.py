"""Counts are exact, so they are asserted: FLOPs and bytes on the meta device."""

from __future__ import annotations

import functools

import pytest
import torch

from hdpainter_nb import Capture, Job, Sampler
from hdpainter_nb.estimate import step_cost
from hdpainter_nb.models import Model
from hdpainter_nb.taps import Plan
from hdpainter_nb.types import Cond, Settings


@functools.cache
def sd15(side: int, *, painta: bool, rasg: bool, standard: bool = True) -> tuple[int, int]:
    """FLOPs and graph bytes of a step of the SD1.5 inpainting UNet in fp16, a quarter masked."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, cross_attention_dim=768, attention_head_dim=8
        ).half()
    masks = {}
    for level in (16, 32):
        n = side // level
        masks[level] = torch.zeros(n, n)
        masks[level][n // 4 : -n // 4, n // 4 : -n // 4] = 1
    cond = Cond(
        context=torch.zeros(2, 77, 768),
        latent_mask=torch.zeros(1, 1, side // 8, side // 8),
        masked_image_latents=torch.zeros(1, 4, side // 8, side // 8),
        painta_masks=masks,
        score_mask=masks[32],
        indices=(1, 2, 3),
        size=(side, side),
    )
    plan = Plan(
        size=(side, side),
        indices=(1, 2, 3),
        tokens=8,
        rows={level: m.flatten().nonzero()[:, 0] for level, m in masks.items()},
        capture=Capture.standard() if standard else Capture.nothing(),
        painta=painta,
        scores=rasg,
    )
    return step_cost(unet, cond, plan, Settings())


def test_flops_of_an_sd15_step_at_512() -> None:
    plain, _ = sd15(512, painta=False, rasg=False, standard=False)
    assert plain / 1e12 == pytest.approx(1.607, abs=0.001)
    rasg, _ = sd15(512, painta=False, rasg=True, standard=False)
    assert rasg / 1e12 < 2.06
    both, _ = sd15(512, painta=True, rasg=True)
    assert both / plain < 1.30


@pytest.mark.parametrize(("side", "gib"), [(512, 0.75), (768, 1.2), (1024, 1.8)])
def test_memory_held_by_the_graph(side: int, gib: float) -> None:
    _, graph = sd15(side, painta=True, rasg=True)
    assert 0.1 < graph / 2**30 < gib
    _, none = sd15(side, painta=True, rasg=False)
    assert none == 0


def test_an_estimate_is_what_happens(model: Model, job: Job) -> None:
    for capture in (Capture.standard(), Capture.everything(), Capture.nothing()):
        sampler = Sampler(model, job, capture)
        said = sampler.estimate()
        sampler.run()
        records = [node.record for node in sampler.trace.path()[1:]]
        kept = 0
        for node, record in zip(sampler.trace.path()[1:], records, strict=True):
            assert record is not None
            kept += node.latents.nbytes + record.latents.nbytes + record.x0_latents.nbytes
            kept += record.x0_preview.nbytes
            kept += 0 if record.scores is None else record.scores.nbytes
            for maps in (record.cross.maps, record.c, record.similarity, record.similarity_painta):
                kept += sum(a.nbytes for named in maps.layers.values() for a in named.values())
        assert said.capture_bytes == pytest.approx(kept, rel=0.1)


def test_an_estimate_counts_real_work(model: Model, job: Job) -> None:
    """The meta device's count is that of the weights in use."""
    from torch.utils.flop_counter import FlopCounterMode

    plain = Sampler(model, job.replace(painta=False, rasg=False), Capture.nothing())
    with (
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        plain.step()
    said = plain.estimate()
    assert said.flops == said.plain_flops
    # preview and masks aside, which are no part of the UNet
    assert counter.get_total_flops() == pytest.approx(said.flops / plain.total, rel=0.02)
    both = Sampler(model, job).estimate()
    assert 1 < both.ratio < 2
    assert both.graph_bytes > 0 == said.graph_bytes
    assert "TFLOP" in str(both)
