"""Train an autoencoder: `python -m hdpainter_nb.mini.train_vae --minutes 16`.

Small crops first, larger ones for the last part; then the latents are whitened exactly, the
scaling factor is measured and the fp16 weights are exported. `--factor 4` trains that of the x4
upscaler, on the world at four times the resolution and on the sample photographs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.mini.training.autoencoder import (
    STABILITYS,
    analytic_start,
    factor_of,
    new_vae,
    psnr,
    scale_latents,
    whiten,
)
from hdpainter_nb.mini.training.feed import Feed, Ring
from hdpainter_nb.mini.training.parallel import Team, launch
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.world.backgrounds import photographs
from hdpainter_nb.mini.world.canvas import SIZE
from hdpainter_nb.mini.world.scene import Scene, make_scene
from hdpainter_nb.utils.files import replacing

Crops = NDArray[np.float16]


@dataclass(frozen=True)
class Plan:
    """What one run does. `minutes` are wall-clock; `large_from` is a share of them."""

    work: Path
    out: Path
    minutes: float
    factor: int = 8
    large_from: float = 0.5
    crops: tuple[int, int] = (64, 128)
    batches: tuple[int, int] = (4, 2)
    rate: float = 1.2e-3
    meet_every: int = 16
    max_steps: int = 10**9
    measured: int = 64  # scenes for whitening and for the figures
    device: str = "cpu"
    workers: int = 0  # processes that paint; 0: it is done between the steps
    seed: int = 100


def scale_of(factor: int) -> int:
    """The scale of the scenes that an autoencoder of this factor is for."""
    return {8: 1, 4: 4}[factor]


def crops(seed: int, size: int, scale: int = 1) -> Iterator[Crops]:
    """Crops of fresh scenes without end, for a `Feed`: `(n, size, size, 3)`, -1 to 1.

    Every second one is about an object. A fifth has grey holes, but at scale 4 there are none, as
    the upscaler's encoder sees none, and every sixth source is a photograph.
    """
    rng = np.random.default_rng(seed)
    while True:
        if scale > 1 and rng.random() < 1 / 6:
            pictures = list(photographs().values())
            picture = pictures[int(rng.integers(len(pictures)))]
            yield _cut(rng, Scene(picture, (), "photo"), size, scale)
        else:
            yield _cut(rng, make_scene(rng, scale=scale), size, scale)


def _cut(rng: np.random.Generator, view: Scene, size: int, scale: int) -> Crops:
    found = []
    room = np.array(view.image.shape[1::-1]) - size
    for index in range((12 if size < 100 else 5) * scale):
        corner = rng.uniform(0, room, 2)
        if index % 2 == 0 and view.objects:
            thing = view.objects[int(rng.integers(len(view.objects)))]
            middle = np.array([thing.x, thing.y]) * scale
            corner = middle - size / 2 + rng.uniform(-36, 36, 2) * scale
        x, y = np.clip(corner, 0, room).astype(int)
        crop = view.image[y : y + size, x : x + size].astype(np.float32) / 127.5 - 1
        if rng.random() < 0.5:
            crop = crop[:, ::-1].copy()
        if scale == 1 and rng.random() < 0.2:  # what the encoder sees of a masked picture
            top, left = rng.integers(0, size - 16, 2)
            down, across = rng.integers(10, 40, 2)
            crop[top : top + down, left : left + across] = 0
        found.append(crop)
    return np.stack(found).astype(np.float16)


class CropStock:
    """Crops in a ring. Each serves once on average, and more often where a GPU outruns the feed."""

    def __init__(self, feed: Feed[Crops], least: int, device: torch.device) -> None:
        self.feed, self.ring = feed, Ring(8 * least, device)
        self._owed = float(least)
        while len(self.ring) < least:
            self._take(wait=True)

    def _take(self, wait: bool) -> bool:
        found = self.feed.next(wait=wait)
        if found is None:
            return False
        self.ring.add([torch.from_numpy(found).permute(0, 3, 1, 2)])
        self._owed -= len(found)
        return True

    def batch(self, count: int) -> Tensor:
        """`(count, 3, size, size)`, -1 to 1."""
        self._owed = min(self._owed + count, len(self.ring))
        while self._owed >= 1 and self._take(wait=False):
            pass
        (pictures,) = self.ring.draw(count)
        return pictures.float()


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def loss_of(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The training loss and the mean squared error (for the log)."""
    posterior = vae.encode(pictures).latent_dist
    mean, logvar = posterior.mean, posterior.logvar
    output = vae.decode(mean + torch.randn_like(mean) * (0.5 * logvar).exp()).sample.float()
    error = output - pictures
    pairs = zip(_edges(output), _edges(pictures), strict=True)
    sharp = sum((a - b).abs().mean() for a, b in pairs)
    colour = F.avg_pool2d(error, factor_of(vae)).abs().mean()
    spread = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    squared = error.square().mean()
    total = error.abs().mean() + 2 * squared + colour + 0.5 * sharp + 1e-4 * spread
    return total, squared


def _scenes(count: int, seed: int, scale: int = 1) -> Tensor:
    """Held-out pictures, `(count, 3, 256, 256)`; at a larger scale, their middles."""
    rng = np.random.default_rng(seed)
    edge = (SIZE * scale - SIZE) // 2
    middle = slice(edge, edge + SIZE)
    images = np.stack([make_scene(rng, scale=scale).image[middle, middle] for _ in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def finish(vae: AutoencoderKL, out: Path, count: int) -> float:
    """Whiten, measure the scaling factor, export fp16 to `out`; returns the mean PSNR in dB."""
    vae, scale = vae.cpu().eval(), scale_of(factor_of(vae))
    encode = lambda xs: torch.cat([vae.encode(x[None]).latent_dist.mean for x in xs])  # noqa: E731
    whiten(vae, encode(_scenes(count, 5, scale)))
    held_out = _scenes(count, 7, scale)
    latents = encode(held_out)
    scaling = 1 / float(latents.std())
    if scale > 1:
        gain = scaling / STABILITYS
        scale_latents(vae, gain)
        latents, scaling = latents * gain, STABILITYS
    vae.register_to_config(scaling_factor=scaling)
    output = torch.cat([vae.decode(z[None]).sample for z in latents])
    quality = float(psnr(output, held_out).mean())
    spread = (latents * scaling).std((0, 2, 3))
    deviations = ", ".join(f"{s:.2f}" for s in spread)
    print(f"scaling factor {scaling:.5f}, scaled deviations {deviations}, PSNR {quality:.2f} dB")
    vae.half().save_pretrained(out)
    for file in out.iterdir():
        file.chmod(0o644)
    vae.float()
    return quality


def _save(path: Path, vae: AutoencoderKL, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        torch.save(state, part)


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    device = torch.device(plan.device)
    vae, scale = new_vae(plan.factor), scale_of(plan.factor)
    analytic_start(vae, _scenes(8, 3, scale)[..., 64:192, 64:192])
    vae = vae.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), plan.rate, (0.9, 0.98), weight_decay=1e-4)
    checkpoint, step = plan.work / ("vae.pt" if scale == 1 else "vae_x4.pt"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        step = int(state["step"])
    torch.manual_seed(plan.seed + 1 + team.rank + 10 * step)
    seed = plan.seed + team.rank + 10 * step
    stock, phase = None, -1
    parameters, first, share, told = list(vae.parameters()), step, 0.0, time.monotonic()
    while True:
        finished = step - first >= plan.max_steps
        if finished or (step - first) % plan.meet_every == 0:
            if step > first:
                team.average(parameters)
            share = team.elapsed() / (60 * plan.minutes)
            if share >= 1 or finished:
                break
            if team.leads and time.monotonic() - told > 120:
                told = time.monotonic()
                _save(checkpoint, vae, optimizer, step)
        warm = min(1.0, (step - first + 1) / 60)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * warm * (0.5 + 0.5 * math.cos(math.pi * share)) + 5e-6
        late = int(share > plan.large_from)
        if stock is None or phase != late:
            if stock is not None:
                stock.feed.close()
            paint = partial(crops, size=plan.crops[late], scale=scale)
            feed = Feed(paint, seed + 1000 * late, plan.workers)
            stock, phase = CropStock(feed, 8 * plan.batches[late] * scale, device), late
        pictures = stock.batch(plan.batches[late])
        with autocast(device):
            loss, squared = loss_of(vae, pictures)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if team.leads and (step - first) % 100 == 0:
            left = plan.minutes * (1 - share)
            print(f"{step} loss {loss:.4f} mse {squared:.5f} left {left:.1f} min", flush=True)
    if stock is not None:
        stock.feed.close()
    if team.leads:
        _save(checkpoint, vae, optimizer, step)
        finish(vae, plan.out, plan.measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=16)
    parser.add_argument("--work", type=Path, default=Path("runs/mini"), help="for checkpoints")
    parser.add_argument("--out", type=Path, help="data/mini/vae or data/mini_x4/vae, if not given")
    parser.add_argument("--factor", type=int, default=8, choices=[4, 8])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that paint, for a GPU")
    parser.add_argument("--batches", type=int, nargs=2, default=(4, 2))
    parser.add_argument("--max-steps", type=int, default=10**9)
    given = parser.parse_args()
    out = given.out or Path("data", {8: "mini", 4: "mini_x4"}[given.factor], "vae")
    plan = Plan(given.work, out, given.minutes, given.factor,
                batches=tuple(given.batches), device=given.device, workers=given.workers,
                max_steps=given.max_steps)  # fmt: skip
    launch(train, given.work, given.processes, plan)


if __name__ == "__main__":
    main()
