"""Both training scripts run, save, resume and export; the losses are finite and the maps learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from hdpainter_nb import load
from hdpainter_nb.mini import train, train_text_to_image, train_vae
from hdpainter_nb.mini.training.autoencoder import analytic_start, new_vae, psnr, whiten
from hdpainter_nb.mini.training.data import Examples, footprints, latents_of
from hdpainter_nb.mini.training.data_text import Pictures
from hdpainter_nb.mini.training.parallel import Team
from hdpainter_nb.mini.training.supervise import coarser
from hdpainter_nb.mini.training.tokenizer import encode
from hdpainter_nb.utils.files import data_path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mini")


def _alone(folder: Path) -> Team:
    return Team(0, 1, folder / "unused")


def test_autoencoder_trains_and_resumes(folder: Path) -> None:
    plan = train_vae.Plan(
        folder / "work", folder / "out" / "vae", minutes=5, max_steps=2, large_from=0.0,
        crops=(32, 32), batches=(1, 1), measured=4,
    )  # fmt: skip
    for expected in (2, 4):
        train_vae.train(_alone(folder), plan)
        assert torch.load(folder / "work" / "vae.pt", weights_only=True)["step"] == expected
    config = json.loads((folder / "out" / "vae" / "config.json").read_text())
    assert config["scaling_factor"] == pytest.approx(1, abs=0.4)


def test_denoiser_trains_and_resumes(folder: Path) -> None:
    out = folder / "out"
    if not (out / "vae").exists():
        new_vae().half().save_pretrained(out / "vae")
    plan = train.Plan(folder / "work", out, minutes=5, max_steps=2, batch=2, warm_rows=4, size=64)
    for expected in (2, 4):
        train.train(_alone(folder), plan)
        state = torch.load(folder / "work" / "denoiser.pt", weights_only=True)
        assert (state["step"], state["seen"]) == (expected, 2 * expected)
    for part in ("unet", "text_encoder", "vae", "tokenizer", "scheduler"):
        assert any((out / part).iterdir())
    index = json.loads((out / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInpaintPipeline"


def test_denoiser_starts_from_exported_weights(folder: Path) -> None:
    shipped = data_path("mini")
    trainee = train.InpaintTrainee(train.Plan(folder / "none", folder / "none", 1, start=shipped))
    stored = load_file(shipped / "unet" / "diffusion_pytorch_model.safetensors")
    for name, tensor in trainee.unet.state_dict().items():
        torch.testing.assert_close(tensor, stored[name].float(), rtol=0, atol=0)


def test_text_to_image_starts_as_the_inpainting_one_with_a_hole_everywhere(folder: Path) -> None:
    """Away from the rim, where the constant channels end, four channels give what nine gave."""
    plan = train_text_to_image.Plan(
        folder / "text", folder / "out_text", data_path("mini"), minutes=1, size=64
    )
    trainee = train_text_to_image.TextTrainee(plan)
    stored = load_file(data_path("mini") / "unet" / "diffusion_pytorch_model.safetensors")
    black = latents_of(trainee.vae, torch.zeros(1, 3, 64, 64)).float()
    torch.manual_seed(0)
    noisy = torch.randn(1, 4, 8, 8)
    stacked = torch.cat(
        [noisy, torch.ones(1, 1, 8, 8), black.mean((2, 3), keepdim=True).expand(1, 4, 8, 8)], 1
    )
    kernel, bias = (stored[f"conv_in.{name}"].float() for name in ("weight", "bias"))
    expected = torch.nn.functional.conv2d(stacked, kernel, bias, padding=1)
    given = trainee.unet.conv_in(noisy)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(given[inner], expected[inner], rtol=1e-4, atol=1e-4)


def test_text_to_image_trains_and_resumes(folder: Path) -> None:
    plan = train_text_to_image.Plan(
        folder / "text", folder / "out_text", data_path("mini"), minutes=5, max_steps=1, batch=2,
        warm_rows=4, size=64,
    )  # fmt: skip
    for expected in (1, 2):
        train_text_to_image.train(_alone(folder), plan)
        assert torch.load(folder / "text" / "text.pt", weights_only=True)["step"] == expected
    pipe = StableDiffusionPipeline.from_pretrained(
        folder / "out_text", safety_checker=None, requires_safety_checker=False
    )
    assert pipe.unet.config.in_channels == 4
    model = load(str(folder / "out_text"), device="cpu")
    assert model.kind == "blended"


def test_pictures_are_captioned_by_what_they_hold() -> None:
    source = Pictures(3, 128)
    examples = [example for _ in range(40) for example in source.several()]
    words = {word for example in examples for word in example.caption.words}
    assert {"red", "star", "sky", "brick"} <= words
    for example in examples:
        assert example.hole.all()
        assert ((example.discs[:, :2] >= 0) & (example.discs[:, :2] < 128)).all()
        assert len({*example.caption.owners} - {-1}) == len(example.discs)


def test_loss_asks_for_v(folder: Path) -> None:
    trainee = train.InpaintTrainee(train.Plan(folder / "none", folder / "none", minutes=1))
    clean = torch.randn(3, 4, 8, 8)
    rows = [clean, clean, torch.ones(3, 1, 8, 8), torch.zeros(3, 24, dtype=torch.long)]
    rows.append(torch.zeros(3, 24, 4, 4, dtype=torch.bool))
    wrong = 0.0

    def knowing(packed: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> SimpleNamespace:
        """A denoiser that has seen the picture."""
        a, s = (x[time].view(-1, 1, 1, 1) for x in (trainee.noising.signal, trainee.noising.noise))
        eps = (packed[:, :4] - a * clean) / s
        for kept in trainee.kept.values():
            kept.append(torch.zeros(3, 1, 16 if kept is trainee.kept[16] else 4, 24))
        return SimpleNamespace(sample=a * eps - s * clean + wrong)

    trainee.unet = knowing
    assert trainee.loss(rows)[0] < 1e-6
    wrong = 0.5
    assert trainee.loss(rows)[0] == pytest.approx(0.25, rel=1e-3)
    assert trainee.loss(rows)[1] == pytest.approx(0.25, rel=1e-3)


def test_one_batch_can_be_learnt(folder: Path) -> None:
    torch.manual_seed(0)
    plan = train.Plan(folder / "none", folder / "none", minutes=1)
    trainee = train.InpaintTrainee(replace(plan, pointing=0.5))
    rows = [torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.ones(4, 1, 8, 8)]
    marks = torch.zeros(4, 24, 4, 4, dtype=torch.bool)
    marks[:, 2, 1:3, 1:3] = True
    rows += [torch.randint(0, 600, (4, 24)), marks]
    first = [trainee.learn(rows, 2e-3) for _ in range(4)]
    last = [trainee.learn(rows, 2e-3) for _ in range(14)][-4:]
    assert np.isfinite([*first, *last]).all()
    assert np.mean([x[2] for x in last]) < np.mean([x[2] for x in first])


def test_whitening_changes_no_reconstruction() -> None:
    torch.manual_seed(0)
    vae, pictures = new_vae().eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    analytic_start(vae, pictures)
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
        before = vae.decode(latents).sample
        whiten(vae, latents)
        white = vae.encode(pictures).latent_dist.mean
        after = vae.decode(white).sample
    assert torch.allclose(before, after, atol=2e-4)
    spread = torch.cov(white.transpose(0, 1).flatten(1))
    assert torch.allclose(spread, torch.eye(4), atol=0.02)


def test_analytic_start_keeps_colours() -> None:
    torch.manual_seed(1)
    vae = new_vae().eval()
    flat = (torch.rand(6, 3, 1, 1) * 1.4 - 0.7).expand(-1, -1, 64, 64)
    analytic_start(vae, flat)
    with torch.no_grad():
        output = vae.decode(vae.encode(flat).latent_dist.mean).sample
    assert psnr(output, flat).mean() > 18


def test_examples_point_at_their_objects() -> None:
    source, told = Examples(3, 128, 0.5), 0
    for _ in range(25):
        for example in source.several():
            assert example.image.shape == (128, 128, 3)
            assert example.hole.shape == (128, 128)
            _, owners, end = encode(example.caption.words, example.caption.owners)
            marks = footprints(example, end, owners)
            assert marks.shape == (len(owners), 8, 8)
            assert all(o < len(example.discs) for o in owners)
            if not example.honest:
                assert not marks[end].any()
            told += bool(marks.any())
    assert told > 15


def test_coarse_footprints_are_never_empty() -> None:
    marks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    marks[0, 0, 1, 1] = True
    small = coarser(marks)
    assert small.shape == (1, 2, 2, 2)
    assert small[0, 0].sum() == 1
    assert not small[0, 1].any()
