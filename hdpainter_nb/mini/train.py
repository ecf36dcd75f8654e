"""Train the denoiser and the text encoder: `python -m hdpainter_nb.mini.train --minutes 75`.

Needs the autoencoder of `train_vae` in the output folder. The learning rate is annealed over the
wall-clock budget; run it again to go on from the averaged weights with a new budget, or on another
machine with `--start data/mini`.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from . import nets, tokenizer
from .data import Buffer, Examples
from .parallel import Team, launch
from .supervise import pointing_loss, watch


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
    tidy: float = 0.56  # share of examples with a tidy hole, which hold what their caption says
    fresh: float = 0.12  # new examples per example trained on
    warm_rows: int = 800
    pointing: float = 0.02
    scoring: float = 0.01
    outside: float = 0.12  # weight of the loss where nothing is masked
    smooth: float = 0.3  # weight of the error averaged over 4 x 4 latents: of colour casts
    average: float = 0.998
    meet_every: int = 8
    export_every: float = 240.0  # seconds
    max_steps: int = 10**9
    device: str = "cpu"
    seed: int = 9000
    start: Path | None = None  # folder of exported weights to begin with, without a checkpoint


class Trainee:
    """The two networks, their moving average and their optimiser."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, torch.device(plan.device)
        unet, text = nets.new_unet(), nets.new_text_encoder()
        text.set_attn_implementation("eager")  # faster than the fused kernel at this size
        self.unet = unet.to(self.device, memory_format=torch.channels_last).train()
        self.text = text.to(self.device).train()
        self.parameters = [*self.unet.parameters(), *self.text.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, plan.rate, (0.9, 0.99), weight_decay=1e-3, fused=True
        )
        self.step, self.seen = 0, 0
        checkpoint = plan.work / "denoiser.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location=self.device)
            self.unet.load_state_dict(state["unet"])
            self.text.load_state_dict(state["text"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seen = int(state["step"]), int(state["seen"])
        elif plan.start is not None:
            begun = UNet2DConditionModel.from_pretrained(plan.start / "unet")
            self.unet.load_state_dict(begun.float().state_dict())
            told = CLIPTextModel.from_pretrained(plan.start / "text_encoder")
            self.text.load_state_dict(told.float().state_dict())
        self.ema = [p.detach().clone() for p in self.parameters]
        self.kept = watch(self.unet)
        cumulative = nets.new_scheduler().alphas_cumprod.to(self.device)
        self.signal, self.noise = cumulative.sqrt(), (1 - cumulative).sqrt()
        # fewer examples where little noise is left to tell from the picture (SNR above 5)
        ratio = cumulative / (1 - cumulative)
        self.chances = (ratio.clamp_max(5) / ratio).clamp_min(0.12)
        ids, _ = tokenizer.vocabulary()
        empty = [ids[tokenizer.BOS]] + [ids[tokenizer.EOS]] * (tokenizer.MAX_LENGTH - 1)
        self.empty = torch.tensor(empty)

    def loss(self, rows: list[Tensor]) -> tuple[Tensor, ...]:
        """Weighted error of v, the same of its averages, the two pointing losses.

        The network predicts v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans and Ho,
        arXiv 2202.00512). With nearly pure noise that asks for the picture itself, in the known
        region too, where predicting eps lets a colour cast pass unnoticed.
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
        for scores in self.kept.values():
            scores.clear()
        with torch.autocast(self.device.type, torch.bfloat16):
            context = self.text(ids).last_hidden_state
            packed = torch.cat([noisy, hole, masked], 1)
            guess = self.unet(packed.contiguous(memory_format=torch.channels_last), time_, context)
        weight = hole + self.plan.outside * (1 - hole)
        miss = guess.sample.float() - (scale(self.signal) * noise - scale(self.noise) * clean)
        broad = self._weigh(F.avg_pool2d(miss, 4), F.avg_pool2d(weight, 4))
        return self._weigh(miss, weight), broad, *pointing_loss(self.kept, marks)

    @staticmethod
    def _weigh(miss: Tensor, weight: Tensor) -> Tensor:
        """Mean square, weighted by place, of errors `(b, 4, h, w)`."""
        total = (miss.square().mean(1, keepdim=True) * weight).sum((1, 2, 3))
        return (total / weight.sum((1, 2, 3))).mean()

    def learn(self, rows: list[Tensor], rate: float) -> tuple[float, ...]:
        """One optimiser step; returns the four losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        parts = self.loss(rows)
        weights = (1.0, self.plan.smooth, self.plan.pointing, self.plan.scoring)
        self.optimizer.zero_grad()
        torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.plan.average, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_mul_(self.ema, keep)
            torch._foreach_add_(self.ema, [p.detach() for p in self.parameters], alpha=1 - keep)
        return tuple(part.item() for part in parts)

    def save(self) -> None:
        """Export the averaged weights as fp16 and write the checkpoint that a new run resumes."""
        raw = [p.detach().clone() for p in self.parameters]
        self._put(self.ema)
        export(self.unet, self.text, self.plan.out)
        state = {
            "unet": self.unet.state_dict(),
            "text": self.text.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seen": self.seen,
        }
        self.plan.work.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.plan.work / "denoiser.part")
        (self.plan.work / "denoiser.part").replace(self.plan.work / "denoiser.pt")
        self._put(raw)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


def export(unet: UNet2DConditionModel, text: CLIPTextModel, out: Path) -> None:
    """Write both networks as fp16 safetensors into a pipeline folder, other parts included."""
    nets.write_index(out)
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
        tensors = {k: v.detach().half().cpu().contiguous() for k, v in network.state_dict().items()}
        if name == "text_encoder":
            # older releases of transformers expect this prefix, newer ones accept it
            lead = "text_model."
            tensors = {lead + k.removeprefix(lead): v for k, v in tensors.items()}
        part = folder / (file + ".part")
        save_file(tensors, part, metadata={"format": "pt"})
        part.chmod(0o644)
        part.replace(folder / file)


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    trainee = Trainee(plan)
    vae = AutoencoderKL.from_pretrained(plan.out / "vae").eval().requires_grad_(False).float()
    vae = vae.to(trainee.device, memory_format=torch.channels_last)
    first, share, told, losses = trainee.step, 0.0, 0.0, []
    seed = plan.seed + 100 * team.rank + 1000 * first
    torch.manual_seed(seed)
    buffer = Buffer(Examples(seed, plan.size, plan.neglect, plan.tidy), vae)
    while len(buffer.rows) < plan.warm_rows:
        buffer.add()
    start = team.elapsed()
    while True:
        done = trainee.step - first
        finished = done >= plan.max_steps
        if finished or done % plan.meet_every == 0:
            if done:
                team.average(trainee.parameters)
            now = team.elapsed()
            share = (now - start) / max(60 * plan.minutes - start, 1)
            if share >= 1 or finished:
                break
            if team.leads and now - told > plan.export_every:
                told = now
                if done:
                    trainee.save()
        warm = min(1.0, (done + 1) / 60)
        rate = plan.rate * warm * (0.5 + 0.5 * math.cos(math.pi * share)) + plan.last_rate
        losses.append(trainee.learn(buffer.batch(plan.batch, plan.fresh), rate))
        trainee.seen += plan.batch * team.size
        if team.leads and (done + 1) % 50 == 0:
            means = " ".join(f"{sum(x) / len(losses):.4f}" for x in zip(*losses, strict=True))
            spent = time.strftime("%H:%M:%S")
            left = plan.minutes * (1 - share)
            print(f"{spent} step {trainee.step} seen {trainee.seen} losses {means} "
                  f"rate {rate:.1e} left {left:.1f} min", flush=True)  # fmt: skip
            losses.clear()
    if team.leads:
        trainee.save()


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
