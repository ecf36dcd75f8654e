"""Train the denoiser and the text encoder: `python -m hdpainter_nb.mini.train --minutes 75`.

Needs the autoencoder of `train_vae` in the output folder. The learning rate is annealed over the
wall-clock budget; run it again to go on from the averaged weights with a new budget, or on another
machine with `--start data/mini`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from hdpainter_nb.mini.training import networks, tokenizer
from hdpainter_nb.mini.training.data import Buffer, Examples
from hdpainter_nb.mini.training.learner import Learner, anneal, chances
from hdpainter_nb.mini.training.parallel import Team, launch
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.training.supervise import pointing_loss, watch
from hdpainter_nb.mini.training.writing import put

_BLIND = 960  # from this timestep on,
_ALONE = 0.6  # this share of the examples is noise alone


@dataclass(frozen=True)
class Plan:
    """What one run does. `minutes` are wall-clock; crop sizes are in pixels."""

    work: Path
    out: Path
    minutes: float
    size: int = 128
    batch: int = 16
    rate: float = 8e-4
    last_rate: float = 1e-5
    neglect: float = 0.75
    nearby: float | None = None  # the same for holes beside an object; None: as `neglect`
    tidy: float = 0.56  # share of examples with a tidy hole, which hold what their caption says
    fresh: float = 0.12  # new examples per example trained on
    warm_rows: int = 800
    pointing: float = 0.02
    scoring: float = 0.01
    outside: float = 0.12  # weight of the loss where nothing is masked
    first: float = 5.0  # how much more often than others the timesteps from 960 on are drawn
    smooth: float = 0.3  # weight of the error averaged over 4 x 4 latents: of colour casts
    average: float = 0.998
    meet_every: int = 8
    export_every: float = 240.0  # seconds
    max_steps: int = 10**9
    device: str = "cpu"
    seed: int = 9000
    start: Path | None = None  # folder of exported weights to begin with, without a checkpoint


class InpaintTrainee(Learner):
    """The two networks, their moving average and their optimiser."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, torch.device(plan.device)
        unet, text = networks.new_unet(), networks.new_text_encoder()
        text.set_attn_implementation("eager")  # faster than the fused kernel at this size
        self.unet = unet.to(self.device, memory_format=torch.channels_last).train()
        self.text = text.to(self.device).train()
        parts = {"unet": self.unet, "text": self.text}
        super().__init__(parts, plan.rate, plan.average, plan.work / "denoiser.pt")
        if plan.start is not None and not self.resumed:
            begun = UNet2DConditionModel.from_pretrained(plan.start / "unet", use_safetensors=True)
            self.unet.load_state_dict(begun.float().state_dict())
            told = CLIPTextModel.from_pretrained(plan.start / "text_encoder", use_safetensors=True)
            self.text.load_state_dict(told.float().state_dict())
            self.remember()
        self.kept = watch(self.unet)
        cumulative = networks.new_scheduler().alphas_cumprod.to(self.device)
        self.signal, self.noise = cumulative.sqrt(), (1 - cumulative).sqrt()
        self.chances = chances(cumulative)
        self.chances[_BLIND:] *= plan.first
        self.empty = torch.tensor(tokenizer.encode((), ())[0])

    def loss(self, rows: list[Tensor]) -> tuple[Tensor, ...]:
        """Weighted error of v, the same of its averages, the two pointing losses.

        The network predicts v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans and Ho,
        arXiv 2202.00512). With nearly pure noise that asks for the picture itself, in the known
        region too, where predicting eps lets a colour cast pass unnoticed.

        Sampling begins with nothing but noise, whereas even the schedule's last timestep lets 7 %
        of the picture through: enough for a network to look for its objects there, and to leave
        the hole empty when noise shows none (Lin et al., arXiv 2305.08891). So most examples of
        the first timesteps of sampling are noise alone.
        """
        clean, masked, hole, ids, marks = (x.to(self.device) for x in rows)
        clean, masked, hole = clean.float(), masked.float(), hole.float()
        dropped = torch.rand(len(clean), device=self.device) < 0.1  # for guidance
        ids = torch.where(dropped[:, None], self.empty.to(self.device), ids)
        marks = marks & ~dropped[:, None, None, None]
        time_ = torch.multinomial(self.chances, len(clean), replacement=True)
        noise = torch.randn_like(clean)
        scale = lambda values: values[time_].view(-1, 1, 1, 1)  # noqa: E731
        noisy = scale(self.signal) * clean + scale(self.noise) * noise
        blind = (time_ >= _BLIND) & (torch.rand(len(clean), device=self.device) < _ALONE)
        noisy = torch.where(blind.view(-1, 1, 1, 1), noise, noisy)
        for scores in self.kept.values():
            scores.clear()
        with autocast(self.device):
            context = self.text(ids).last_hidden_state
            packed = torch.cat([noisy, hole, masked], 1)
            guess = self.unet(packed.contiguous(memory_format=torch.channels_last), time_, context)
        weight = hole + self.plan.outside * (1 - hole)
        target = (scale(self.signal) * noisy - clean) / scale(self.noise)  # v, whatever x_t holds
        miss = guess.sample.float() - target
        broad = self._weigh(F.avg_pool2d(miss, 4), F.avg_pool2d(weight, 4))
        return self._weigh(miss, weight), broad, *pointing_loss(self.kept, marks)

    @staticmethod
    def _weigh(miss: Tensor, weight: Tensor) -> Tensor:
        """Mean square, weighted by place, of errors `(b, 4, h, w)`."""
        total = (miss.square().mean(1, keepdim=True) * weight).sum((1, 2, 3))
        return (total / weight.sum((1, 2, 3))).mean()

    def learn(self, rows: list[Tensor], rate: float) -> tuple[Tensor, ...]:
        """One optimiser step; returns the four losses."""
        parts = self.loss(rows)
        weights = (1.0, self.plan.smooth, self.plan.pointing, self.plan.scoring)
        total = torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum()
        self.update(total, rate)
        return tuple(part.detach() for part in parts)

    def save(self) -> None:
        """Export the averaged weights as fp16 and write the checkpoint that a new run resumes."""
        with self.averaged():
            export(self.unet, self.text, self.plan.out)
        super().save()


def export(unet: UNet2DConditionModel, text: CLIPTextModel, out: Path) -> None:
    """Write both networks as fp16 safetensors into a pipeline folder, other parts included."""
    networks.write_index(out)
    for network, name, file in (
        (unet, "unet", "diffusion_pytorch_model.safetensors"),
        (text, "text_encoder", "model.safetensors"),
    ):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        if name == "unet":
            network.save_config(folder)
        else:
            network.config.save_pretrained(folder)
        tensors = network.state_dict()
        if name == "text_encoder":
            # older releases of transformers expect this prefix, newer ones accept it
            lead = "text_model."
            tensors = {lead + k.removeprefix(lead): v for k, v in tensors.items()}
        put(tensors, folder / file)


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    trainee = InpaintTrainee(plan)
    vae = (
        AutoencoderKL.from_pretrained(plan.out / "vae", use_safetensors=True)
        .eval()
        .requires_grad_(False)
        .float()
    )
    vae = vae.to(trainee.device, memory_format=torch.channels_last)
    seed = plan.seed + 100 * team.rank + 1000 * trainee.step
    torch.manual_seed(seed)
    source = Examples(seed, plan.size, plan.neglect, plan.tidy, plan.nearby)
    buffer = Buffer(source, vae)
    while len(buffer.rows) < plan.warm_rows:
        buffer.add()

    def learn(rate: float, share: float) -> tuple[Tensor, ...]:
        return trainee.learn(buffer.batch(plan.batch, plan.fresh), rate)

    anneal(team, plan, trainee, learn, trainee.save)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--work", type=Path, default=Path("runs/mini"))
    parser.add_argument("--out", type=Path, default=Path("data/mini"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--last-rate", type=float, default=1e-5)
    parser.add_argument("--neglect", type=float, default=0.75)
    parser.add_argument("--nearby", type=float)
    parser.add_argument("--tidy", type=float, default=0.56)
    parser.add_argument("--outside", type=float, default=0.12)
    parser.add_argument("--smooth", type=float, default=0.3)
    parser.add_argument("--start", type=Path, help="begin with the weights exported in this folder")
    parser.add_argument("--warm-rows", type=int, default=800)
    given = vars(parser.parse_args())
    processes = given.pop("processes")
    launch(train, given["work"], processes, Plan(**given))


if __name__ == "__main__":
    main()
