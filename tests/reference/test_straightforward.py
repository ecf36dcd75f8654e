"""The library against the plainest way to write the method, whole matrices and all."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import predict
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.settings import Settings
from support import builders

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SIDE, STEPS, SCALE = 128, 10, 5.0

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs a complete checkout")


def script(name: str) -> ModuleType:
    """A file of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plainly() -> ModuleType:
    return script("straightforward")


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model.from_unet(builders.make_unet().eval())


@pytest.fixture(scope="module")
def cond() -> Conditioning:
    torch.manual_seed(1)
    masks = {n: torch.zeros(SIDE // n, SIDE // n, dtype=torch.bool) for n in (16, 32)}
    masks[16][2:6, 1:6] = True
    masks[32][1:3, 1:3] = True
    latent_mask = torch.zeros(1, 1, SIDE // 8, SIDE // 8)
    latent_mask[..., 4:12, 3:12] = 1
    return Conditioning(
        context=torch.randn(2, 24, 32),
        latent_mask=latent_mask,
        masked_image_latents=torch.randn(1, 4, SIDE // 8, SIDE // 8),
        painta_masks=masks,
        score_mask=masks[32].float(),
        indices=(1, 2, 3, 4),
        size=(SIDE, SIDE),
        crop=(0, 0, SIDE, SIDE),
    )


def x_t() -> torch.Tensor:
    return torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(2))


METHODS = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("painta", "rasg"), METHODS)
@pytest.mark.parametrize("index", [0, STEPS - 1])  # inside PAIntA's window and outside
def test_the_library_says_the_same(
    plainly: ModuleType, model: Model, cond: Conditioning, painta: bool, rasg: bool, index: int
) -> None:
    settings = Settings(steps=STEPS, painta=painta, rasg=rasg, guidance_scale=SCALE)
    start = State(index, x_t(), torch.Generator().get_state())
    sampler = Sampler.from_cond(model, cond, start, settings, Capture.standard())
    t = sampler.timesteps[index]
    inputs = sampler.stepper.inputs(start)
    said = predict(model.unet, inputs)
    after, _ = sampler.stepper.finish(inputs, said)

    betas = model.betas
    by_hand = plainly.step(
        model.unet, cond, x_t(), t, betas,
        steps=STEPS, guidance_scale=SCALE, painta=painta, rasg=rasg,
    )  # fmt: skip

    torch.testing.assert_close(said.uncond, by_hand.eps_uncond, atol=1e-5, rtol=0)
    torch.testing.assert_close(said.cond, by_hand.eps_cond, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.latents, by_hand.x_prev, atol=1e-4, rtol=0)
    ours = {name: c for named in said.observations.c.values() for name, c in named.items()}
    assert len(ours) == len(by_hand.seen.c) == (6 if painta and index == 0 else 0)
    for name, c in by_hand.seen.c.items():
        torch.testing.assert_close(ours[name], c, atol=1e-5, rtol=0)
    if not rasg:
        assert said.grad is None
        assert by_hand.grad is None
        return
    torch.testing.assert_close(said.score, by_hand.score, atol=1e-5, rtol=1e-5)
    worst = (said.grad - by_hand.grad).abs().max() / by_hand.grad.abs().max()
    assert float(by_hand.grad.abs().max()) > 0
    assert worst < 1e-4


def test_it_keeps_everything(plainly: ModuleType, model: Model, cond: Conditioning) -> None:
    """The whole matrices, both halves, every head: what the comparison of memory is about."""
    _, _, _, seen = plainly.predict(model.unet, cond, x_t(), 999, painta=True, rasg=False)
    sides = sorted({a.shape[-1] for a in seen.self_attention.values()})
    assert sides == [4, 16, 64, 256]  # H/64 .. H/8
    for attention in seen.self_attention.values():
        assert attention.shape[0] == 2
        torch.testing.assert_close(attention.sum(-1), torch.ones_like(attention[..., 0]))


def test_it_leaves_the_unet_as_it_was(
    plainly: ModuleType, model: Model, cond: Conditioning
) -> None:
    before = dict(model.unet.attn_processors)
    plainly.predict(model.unet, cond, x_t(), 999, painta=True, rasg=True)
    after = model.unet.attn_processors
    assert all(after[name] is before[name] for name in before)
    assert not any(m._forward_pre_hooks for m in model.unet.modules())
    assert all(p.grad is None for p in model.unet.parameters())


# --- where the benchmarks write -------------------------------------------------------------------


def test_a_section_replaces_itself_and_leaves_the_others(tmp_path: Path) -> None:
    report, path = script("report"), tmp_path / "RESULTS.md"
    path.write_text(
        "# Measured\n\nBy hand.\n\n## One (`a.py`)\n\nold\n\n### part\n\n## Two\n\nkept\n"
    )
    report.write_section("One (`a.py`)", "new", path)
    first = path.read_text()
    assert first == "# Measured\n\nBy hand.\n\n## One (`a.py`)\n\nnew\n\n## Two\n\nkept\n"
    report.write_section("One (`a.py`)", "new", path)
    assert path.read_text() == first
    report.write_section("Three", "last", path)
    report.write_section("Three", "last", path)
    assert path.read_text() == first + "\n## Three\n\nlast\n"
    report.write_section("Two", "kept", path)
    assert path.read_text() == first + "\n## Three\n\nlast\n"


def test_tables_set_numbers_flush_right() -> None:
    report = script("report")
    lines = report.table(["what", "ms"], [["plain", "12.5"], ["both", ""]]).splitlines()
    assert lines[1] == "| --- | ---: |"
    assert lines[2] == "| plain | 12.5 |"
