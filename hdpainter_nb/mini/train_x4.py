"""Train the miniature x4 upscaler: `python -m hdpainter_nb.mini.train_x4 --minutes 40`.

Needs its autoencoder (`train_vae --factor 4`) in the output folder, and the inpainting miniature,
whose text encoder it takes over. Small pieces first, larger ones for the last part. The learning
rate is annealed over the wall-clock budget; run it again to go on from the averaged weights.

On a GPU: `--device cuda --processes 1 --workers 15 --sides 128 128 --batches 32 32 --compile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from hdpainter_nb.mini.training import networks, networks_x4, tokenizer
from hdpainter_nb.mini.training.autoencoder import importance
from hdpainter_nb.mini.training.data_x4 import SCALE, ViewStock, views
from hdpainter_nb.mini.training.feed import Feed
from hdpainter_nb.mini.training.learner import Learner, anneal, chances, options
from hdpainter_nb.mini.training.parallel import Team, launch
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.training.supervise import Plain
from hdpainter_nb.mini.training.writing import put_unet


@dataclass(frozen=True)
class Plan:
    """What one run does. `minutes` are wall-clock; sides are in latent positions."""

    work: Path
    out: Path
    mini: Path
    minutes: float
    sides: tuple[int, int] = (32, 64)
    batches: tuple[int, int] = (8, 2)
    large_from: float = 0.75  # share of the time
    rate: float = 8e-4
    last_rate: float = 1e-5
    fresh: float = 0.05  # new rows per piece trained on
    warm_rows: int = 160
    average: float = 0.998
    meet_every: int = 8
    export_every: float = 240.0  # seconds
    max_steps: int = 10**9
    device: str = "cpu"
    compile: bool = False  # the UNet, for every side anew
    workers: int = 0  # processes that paint; 0: it is done between the steps
    seed: int = 4000
    start: Path | None = None  # folder of exported weights to begin with, without a checkpoint

    @property
    def batch(self) -> int:
        """Pieces per step at first."""
        return self.batches[0]


class UpscaleTrainee(Learner):
    """The UNet, its moving average and optimiser; the frozen text encoder; the schedule."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, torch.device(plan.device)
        unet = networks_x4.new_unet()
        self.unet = unet.to(self.device, memory_format=torch.channels_last).train()
        self.unet.set_attn_processor(Plain())
        checkpoint = plan.work / "upscaler.pt"
        super().__init__({"unet": self.unet}, plan.rate, plan.average, checkpoint)
        if plan.start is not None and not self.resumed:
            begun = UNet2DConditionModel.from_pretrained(plan.start / "unet", use_safetensors=True)
            self.unet.load_state_dict(begun.float().state_dict())
            self.remember()
        text = CLIPTextModel.from_pretrained(
            plan.mini / "text_encoder", use_safetensors=True
        ).float()
        self.text = text.eval().requires_grad_(False).to(self.device)
        self.run: Any = torch.compile(self.unet, dynamic=False) if plan.compile else self.unet
        cumulative = networks_x4.new_scheduler().alphas_cumprod.to(self.device)
        self.signal, self.noise = cumulative.sqrt(), (1 - cumulative).sqrt()
        self.chances = chances(cumulative)
        self.weights = torch.ones(4, device=self.device)  # of the latents' channels
        self.empty = torch.tensor(tokenizer.encode((), ())[0], device=self.device)

    def levels(self, count: int) -> Tensor:
        """Noise levels of the small pictures: mostly about 20, some up to 100, few above."""
        near = (20 + 12 * torch.randn(count)).abs()
        wide, all_ = 100 * torch.rand(count), networks_x4.MAX_LEVEL * torch.rand(count)
        pick = torch.rand(count)
        chosen = torch.where(pick < 0.7, near, torch.where(pick < 0.95, wide, all_))
        return chosen.long().clamp_max(networks_x4.MAX_LEVEL).to(self.device)

    def mixed(self, clean: Tensor, noise: Tensor, at: Tensor) -> Tensor:
        """x_t of each example at its own timestep; both schedules are the same."""
        view = (-1, 1, 1, 1)
        return self.signal[at].view(view) * clean + self.noise[at].view(view) * noise

    def loss(self, clean: Tensor, low: Tensor, ids: Tensor) -> Tensor:
        """Mean squared error of v = sqrt(abar) eps - sqrt(1 - abar) x0, weighted by channel."""
        clean, low, ids = (x.to(self.device) for x in (clean, low, ids))
        dropped = torch.rand(len(clean), device=self.device) < 0.1  # for guidance
        ids = torch.where(dropped[:, None], self.empty, ids)
        time = torch.multinomial(self.chances, len(clean), replacement=True)
        noise = torch.randn_like(clean)
        level = self.levels(len(clean))
        low = self.mixed(low, torch.randn_like(low), level)
        packed = torch.cat([self.mixed(clean, noise, time), low], 1)
        packed = packed.contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            context = self.text(ids).last_hidden_state
            guess = self.run(packed, time, context, class_labels=level).sample
        view = (-1, 1, 1, 1)
        goal = self.signal[time].view(view) * noise - self.noise[time].view(view) * clean
        return ((guess.float() - goal).square().mean((0, 2, 3)) * self.weights).mean()

    def save(self) -> None:
        """Export the averaged weights as fp16 and write the checkpoint."""
        with self.averaged():
            put_unet(self.unet, self.plan.out)
        super().save()


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    trainee = UpscaleTrainee(plan)
    if team.leads:
        networks_x4.write_folder(plan.out, plan.mini)
    own = networks.load_vae(plan.out, trainee.device)
    seed = plan.seed + 100 * team.rank + 1000 * trainee.step
    torch.manual_seed(seed)
    paint = partial(views, mini=plan.mini, side=SCALE * max(plan.sides))
    feed = Feed(paint, seed, plan.workers)
    stock = ViewStock(feed, own, plan.warm_rows)
    trainee.weights = importance(own, stock.batch(8, plan.sides[0], 0.0)[0])

    def learn(rate: float, share: float) -> tuple[Tensor, ...]:
        late = int(share > plan.large_from)
        side, count = plan.sides[late], plan.batches[late]
        loss = trainee.loss(*stock.batch(count, side, plan.fresh * (side / plan.sides[0]) ** 2))
        trainee.update(loss, rate)
        return (loss.detach(),)

    anneal(team, plan, trainee, learn, trainee.save)
    feed.close()


def main() -> None:
    parser = options(__doc__, minutes=40, out=Path("data/mini_x4"), rate=8e-4, warm_rows=160)
    parser.add_argument("--mini", type=Path, default=Path("data/mini"))
    parser.add_argument("--compile", action="store_true", help="pays after some minutes on a GPU")
    parser.add_argument("--workers", type=int, default=0, help="processes that paint, for a GPU")
    parser.add_argument("--sides", type=int, nargs=2, default=(32, 64), help="latent positions")
    parser.add_argument("--batches", type=int, nargs=2, default=(8, 2))
    parser.add_argument("--average", type=float, default=0.998, help="of the weights, per step")
    parser.add_argument("--large-from", type=float, default=0.75)
    parser.add_argument("--start", type=Path, help="begin with the weights exported in this folder")
    given = vars(parser.parse_args())
    processes = given.pop("processes")
    for name in ("sides", "batches"):
        given[name] = tuple(given[name])
    launch(train, given["work"], processes, Plan(**given))


if __name__ == "__main__":
    main()
