"""Blended Latent Diffusion in its three forms, against the plainest way to write each, in float64.

The loops below are written from what the authors' scripts do (omriav/blended-latent-diffusion),
with the library's masks, schedules and samplers left aside: Pillow resizes, betas are worked out
anew, and noise comes from one generator in the order in which the scripts draw it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hdpainter_nb import Capture, Job, Sampler, load
from hdpainter_nb.models.model import Model
from support import builders_ldm, builders_xl

pytestmark = pytest.mark.diffusers

STEPS, SIDE = 8, 128
SCALES = {"bld": 7.5, "bld_sdxl": 5.0, "bld_ldm": 5.0}


@pytest.fixture(scope="module")
def models(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """For each form a model of the kind that it was written for."""
    base = tmp_path_factory.mktemp("bld")
    return {
        "bld": load(folders["sd15-4ch"], device="cpu"),
        "bld_sdxl": load(builders_xl.make_xl_folder(base / "xl", channels=4), device="cpu"),
        "bld_ldm": load(builders_ldm.make_ldm_folder(base / "ldm"), device="cpu"),
    }


def a_job(preset: Any, **settings: Any) -> Job:
    """Neither square nor of the model's size, with a thin line and faint grey in the mask."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    image = np.asarray(small.resize((201, 157), Image.Resampling.BICUBIC))
    mask = np.zeros((157, 201), np.uint8)
    mask[40:110, 60:130] = 255
    mask[10:150, 160:164] = 200
    mask[10:30, 10:30] = 100
    chosen = {"steps": STEPS, "seed": 5, "guidance_scale": SCALES[preset], **settings}
    return Job(image, mask, "a red star", preset=preset, **chosen)


# --- the plainest way ----------------------------------------------------------------------------


@dataclass
class Plain:
    """A job's picture, mask, model and noise, in float64 and without the library."""

    model: Model
    job: Job
    sample: bool  # of the VAE's posterior, or its mean
    filter: Image.Resampling
    scale: float

    def __post_init__(self) -> None:
        self.rng = torch.Generator().manual_seed(5)
        self.unet = copy.deepcopy(self.model.unet).double()
        cond, _ = self.model.prepare(self.job)  # of which the text is taken, no more
        self.context = cond.context.double()
        self.added = {name: value.double() for name, value in cond.added.items()}
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        if self.sample:  # the small LDM has another schedule
            betas = torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2
        self.alphas = torch.cumprod(1 - betas, 0)
        self.x0 = self._encoded()
        self.mask = self._mask()

    def noise(self) -> Tensor:
        return torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=self.rng).double()

    @torch.no_grad()
    def epsilon(self, x: Tensor, t: int) -> Tensor:
        both = self.unet(
            torch.cat([x, x]), t, self.context, added_cond_kwargs=self.added or None
        ).sample
        return both[:1] + self.scale * (both[1:] - both[:1])

    @torch.no_grad()
    def _encoded(self) -> Tensor:
        vae = copy.deepcopy(self.model.pipe.vae).double()
        square = Image.fromarray(self.job.image).resize((SIDE, SIDE), self.filter)
        pixels = torch.from_numpy(np.asarray(square, np.float64) / 127.5 - 1)
        posterior = vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist
        latents = posterior.mean + posterior.std * self.noise() if self.sample else posterior.mean
        return latents * vae.config.scaling_factor

    def _mask(self) -> Tensor:
        small = Image.fromarray(self.job.mask_levels).resize((16, 16), Image.Resampling.NEAREST)
        return torch.from_numpy((np.asarray(small) / 255 >= 0.5).astype(np.float64))[None, None]

    def noised(self, t: int) -> Tensor:
        a = self.alphas[t]
        return a**0.5 * self.x0 + (1 - a) ** 0.5 * self.noise()

    def ddim(self, x: Tensor, t: int) -> Tensor:
        e, a = self.epsilon(x, t), self.alphas[t]
        before = self.alphas[max(t - 1000 // STEPS, 0)]
        return before**0.5 * (x - (1 - a) ** 0.5 * e) / a**0.5 + (1 - before) ** 0.5 * e


def stable_diffusion_2(plain: Plain) -> Iterator[Tensor]:
    grid = [i * (1000 // STEPS) for i in reversed(range(STEPS))]
    x = plain.noise()
    for t in grid[int(STEPS * 0.25) :]:
        x = plain.ddim(x, t)
        x = x * plain.mask + plain.noised(t) * (1 - plain.mask)
        yield x


def stable_diffusion_xl(plain: Plain) -> Iterator[Tensor]:
    grid = [i * (1000 // STEPS) + 1 for i in reversed(range(STEPS))]
    sigmas = [float(((1 - plain.alphas[t]) / plain.alphas[t]) ** 0.5) for t in grid] + [0.0]
    first = int(STEPS * 0.25)
    x = plain.x0 + sigmas[first] * plain.noise()
    for i in range(first, STEPS):
        s = sigmas[i]
        x = x + (sigmas[i + 1] - s) * plain.epsilon(x / (s**2 + 1) ** 0.5, grid[i])
        x = x * plain.mask + (plain.x0 + s * plain.noise()) * (1 - plain.mask)
        yield x


def latent_diffusion(plain: Plain) -> Iterator[Tensor]:
    grid = [i * (1000 // STEPS) + 1 for i in reversed(range(STEPS))]
    count = plain.job.settings.grown_masks
    masks = [*(grown_by_hand(plain.mask, n) for n in range(count, 0, -1)), plain.mask]
    x = plain.noised(grid[0])
    for i, t in enumerate(grid):
        mask = masks[i // (STEPS // len(masks) + 1)]
        x = plain.ddim(plain.noised(t) * (1 - mask) + mask * x, t)
        yield x


def grown_by_hand(mask: Tensor, cells: int) -> Tensor:
    """A square around each position that is set."""
    hole: NDArray[Any] = mask[0, 0].numpy() > 0
    whole = np.zeros_like(hole)
    for row, column in np.argwhere(hole):
        whole[
            max(row - cells, 0) : row + cells + 1, max(column - cells, 0) : column + cells + 1
        ] = True
    return torch.from_numpy(whole.astype(np.float64))[None, None]


FORMS: dict[str, tuple[Callable[[Plain], Iterator[Tensor]], bool, Image.Resampling]] = {
    "bld": (stable_diffusion_2, False, Image.Resampling.BILINEAR),
    "bld_sdxl": (stable_diffusion_xl, False, Image.Resampling.BILINEAR),
    "bld_ldm": (latent_diffusion, True, Image.Resampling.LANCZOS),
}


def reference(model: Model, job: Job, form: str) -> tuple[Plain, list[Tensor]]:
    loop, sample, filter = FORMS[form]
    plain = Plain(model, job, sample, filter, SCALES[form])
    return plain, list(loop(plain))


@pytest.mark.parametrize(
    ("form", "grown"), [("bld", 0), ("bld_sdxl", 0), ("bld_ldm", 0), ("bld_ldm", 2)]
)
def test_every_latent_is_that_of_the_plainest_way(
    models: dict[str, Model], form: str, grown: int
) -> None:
    job = a_job(form, grown_masks=grown)
    plain, theirs = reference(models[form], job, form)
    sampler = Sampler(models[form], job, Capture.nothing())
    assert torch.equal(sampler.cond.latent_mask.double(), plain.mask)
    assert sampler.cond.known_latents is not None
    torch.testing.assert_close(sampler.cond.known_latents.double(), plain.x0, atol=1e-5, rtol=0)
    sampler.run()
    ours = [torch.from_numpy(node.latents)[None].double() for node in sampler.path[1:]]
    assert len(ours) == len(theirs) == (STEPS if form == "bld_ldm" else STEPS - 2)
    largest = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    # In float32; LDM's own schedule begins where x0 is what is left of 1/30 of x_t.
    assert largest < 2e-6 * max(float(x.abs().max()) for x in theirs), largest


@pytest.mark.parametrize("form", FORMS)
def test_the_picture_is_decoded_from_the_last_latent(
    models: dict[str, Model], form: str, tmp_path: Path
) -> None:
    job, model = a_job(form), models[form]
    sampler = Sampler(model, job, Capture.nothing())
    sampler.run()
    with torch.no_grad():
        vae = model.pipe.vae
        decoded = vae.decode(sampler.state.latents / vae.config.scaling_factor).sample
    levels = (decoded[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy() * 255
    whole = levels.astype(np.uint8) if form == "bld_ldm" else levels.round().astype(np.uint8)
    assert np.abs(sampler.image().astype(int) - whole).max() <= 1
    assert sampler.image().shape == (SIDE, SIDE, 3)
