"""Counts are exact, so they are asserted: FLOPs and bytes on the meta device."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import Capture, Job, Sampler, UpscaleJob, load, load_upscaler
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.painting import mask_box, paint_cost, run_cost
from hdpainter_nb.sampling.cost import StepCost, step_cost
from hdpainter_nb.settings import Settings
from hdpainter_nb.upscale.model import UpscaleModel
from support import builders, builders_full


@functools.cache
def sd15(side: int, *, painta: bool, rasg: bool, standard: bool = True) -> StepCost:
    """What `sd15_step` costs; a count takes a second."""
    return step_cost(*sd15_step(side, painta=painta, rasg=rasg, standard=standard))


def sd15_step(
    side: int, *, painta: bool, rasg: bool, standard: bool
) -> tuple[Any, Conditioning, HookPlan, Settings]:
    """A step of the SD1.5 inpainting UNet in fp16, a quarter masked."""
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
    cond = Conditioning(
        context=torch.zeros(2, 77, 768),
        latent_mask=torch.zeros(1, 1, side // 8, side // 8),
        masked_image_latents=torch.zeros(1, 4, side // 8, side // 8),
        painta_masks=masks,
        score_mask=masks[32],
        indices=(1, 2, 3),
        size=(side, side),
    )
    plan = HookPlan(
        size=(side, side),
        indices=(1, 2, 3),
        tokens=8,
        rows={level: m.flatten().nonzero()[:, 0] for level, m in masks.items()},
        capture=Capture.standard() if standard else Capture.nothing(),
        painta=painta,
        gradient=rasg,
    )
    return unet, cond, plan, Settings()


# --- operations ----------------------------------------------------------------------------------


def test_flops_of_an_sd15_step_at_512() -> None:
    plain = sd15(512, painta=False, rasg=False, standard=False).flops
    assert plain / 1e12 == pytest.approx(1.607, abs=0.001)
    rasg = sd15(512, painta=False, rasg=True, standard=False).flops
    assert rasg / 1e12 == pytest.approx(2.05, abs=0.005)
    both = sd15(512, painta=True, rasg=True).flops
    assert both / plain < 1.30


def test_looking_costs_next_to_nothing() -> None:
    """The standard capture: the scores' products anew, and one row of self-similarity a layer."""
    quiet = sd15(512, painta=True, rasg=True, standard=False).flops
    watched = sd15(512, painta=True, rasg=True).flops
    assert 0 < watched - quiet < 4e9
    assert (watched - quiet) / quiet < 0.002


def test_looking_gives_a_gpu_few_kernels_more() -> None:
    """Small steps take as long as it takes to launch their kernels, however short those are."""
    quiet, watched = (sd15(512, painta=True, rasg=False, standard=s).kernels for s in (False, True))
    assert quiet < 1100
    assert quiet < watched < 1.09 * quiet
    quiet, watched = (sd15(512, painta=True, rasg=True, standard=s).kernels for s in (False, True))
    assert quiet < watched < 1.04 * quiet


def test_painta_costs_a_few_per_cent() -> None:
    plain = sd15(512, painta=False, rasg=False, standard=False).flops
    painta = sd15(512, painta=True, rasg=False, standard=False).flops
    assert 1 < painta / plain < 1.02


# --- bytes of a step -----------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "gib"), [(512, 0.75), (768, 1.2), (1024, 1.8)])
def test_memory_held_by_the_graph(side: int, gib: float) -> None:
    cost = sd15(side, painta=True, rasg=True)
    assert 0.1 < cost.graph_bytes / 2**30 < gib
    without = sd15(side, painta=True, rasg=False)
    assert without.graph_bytes == without.graph_weights == 0
    assert cost.graph_bytes < cost.peak_bytes < 1.5 * cost.graph_bytes
    assert 0 < without.peak_bytes < cost.peak_bytes


@pytest.mark.parametrize(("side", "gib"), [(512, 0.5), (768, 1.0), (1024, 1.7)])
def test_the_most_a_step_holds(side: int, gib: float) -> None:
    assert sd15(side, painta=True, rasg=True).peak_bytes / 2**30 < gib


# --- whole runs ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("unet_not_counted")
def test_an_estimate_is_what_happens(model: Model, job: Job) -> None:
    for capture in (Capture.standard(), Capture.nothing()):
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
    assert "peak on the device" in both._repr_html_()


def test_a_bare_unet_counts_its_steps(model: Model, job: Job) -> None:
    cond, state = model.prepare(job)
    bare = Model.from_unet(model.unet)
    said = Sampler.from_cond(bare, cond, state, job.settings.replace(rasg=False)).estimate()
    assert list(said.phases) == ["step"]
    assert 0 < said.weight_bytes < said.peak_bytes
    with pytest.raises(ModelError, match="bare UNet"):
        run_cost(bare, job)


# --- real cards ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def x4(tmp_path_factory: pytest.TempPathFactory) -> UpscaleModel:
    return load_upscaler(builders_full.make_x4(tmp_path_factory.mktemp("x4")))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(builders_full.make_sd15(tmp_path_factory.mktemp("sd15")))


def square(side: int) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return np.zeros((side, side, 3), np.uint8), mask


def millions(model: Model) -> dict[str, int]:
    return {
        name: round(sum(p.numel() for p in part.parameters()) / 1e6)
        for name, part in model.pipe.components.items()
        if isinstance(part, torch.nn.Module)
    }


@pytest.mark.diffusers
def test_the_networks_are_of_the_published_sizes(x4: UpscaleModel, full: Model) -> None:
    assert millions(x4) == {"unet": 473, "vae": 55, "text_encoder": 340}
    assert millions(full) == {"unet": 860, "vae": 84, "text_encoder": 123}


@pytest.mark.diffusers
def test_2048_px_fit_a_card_of_12_gb(x4: UpscaleModel) -> None:
    """The whole run in float16, all weights on the card, and the VAE's decoder in float32."""
    image, mask = square(2048)
    job = UpscaleJob(image[::4, ::4], image, mask, "a red star")
    tiles = run_cost(x4, job, exact=False)
    assert tiles.weight_bytes / 1e9 == pytest.approx(1.74, abs=0.01)
    assert tiles.tile == 256
    assert tiles.phases["step"] < 6.5e9
    assert tiles.phases["prepare"] < 7.5e9
    assert tiles.phases["decode"] < 2.5e9
    assert tiles.peak_bytes <= 12e9
    whole = run_cost(x4, job)
    assert whole.tile is None
    assert whole.peak_bytes > 12e9, "so that there is something to choose"


@pytest.mark.diffusers
def test_tiles_are_as_large_as_a_card_allows(
    x4: UpscaleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 24, 12 and 5 GB, of which the weights have taken their part."""
    from hdpainter_nb.models import vae_memory

    network, size = x4.pipe.vae, (2048, 2048)
    for card, encoding, decoding in ((24e9, None, None), (12e9, None, 1024), (5e9, 1024, 512)):
        free = card - 1.74e9
        monkeypatch.setattr(vae_memory, "free_bytes", lambda _, free=free: free)
        first = vae_memory.choose(network, "encode", size, x4.device)[0]
        last = vae_memory.choose(network, "decode", size, x4.device, float32=True)[0]
        assert (first, last) == (encoding, decoding)
        assert vae_memory.peak(network, "encode", size, first) < free
        assert vae_memory.peak(network, "decode", size, last, float32=True) < free
    image, mask = square(2048)
    said = run_cost(x4, UpscaleJob(image[::4, ::4], image, mask, "star"), Capture.nothing())
    assert said.tile == 512


@pytest.mark.diffusers
def test_the_cost_of_the_whole_job(full: Model, x4: UpscaleModel) -> None:
    image, mask = square(2048)
    said = paint_cost(image, mask, "a red star", model=full, upscaler=x4, exact=False)
    assert list(said.stages) == ["paint", "upscale"]
    assert said.weight_bytes == said.paint.weight_bytes + said.upscale.weight_bytes
    assert said.peak_bytes == said.upscale.peak_bytes + said.paint.weight_bytes
    assert said.peak_bytes <= 12e9
    assert said.flops == said.paint.flops + said.upscale.flops
    assert said.paint.peak_bytes < 3e9
    assert "upscale decode" in str(said)
    assert "peak of both" in said._repr_html_()
    alone = paint_cost(image, mask, "a red star", model=full)
    assert list(alone.stages) == ["paint"]
    assert alone.peak_bytes == said.paint.peak_bytes


def test_the_cost_of_a_part(model: Model, tmp_path: Path) -> None:
    upscaler = load_upscaler(builders.make_upscaler_folder(tmp_path / "x"), device="cpu")
    image, mask = np.zeros((700, 900, 3), np.uint8), np.zeros((700, 900), bool)
    mask[100:160, 700:760] = True
    options = {"model": model, "upscaler": upscaler, "steps": 2, "upscale": {"steps": 2}}
    part = paint_cost(image, mask, "", crop=True, painta=False, rasg=False, **options)
    top, left, height, width = mask_box(mask, 2.0, model.native_size)
    job = Job(image, mask, "", steps=2, painta=False, rasg=False)
    box = job.part((slice(top, top + height), slice(left, left + width)))
    assert part.paint == run_cost(model, box, Capture.nothing())
    with pytest.raises(SettingsError, match="context must be a number from 1"):
        paint_cost(image, mask, "", context=0.5, **options)
