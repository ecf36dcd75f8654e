"""Train the denoiser and the text encoder: `python -m hdpainter_nb.mini.train --minutes 75`.

Needs the autoencoder of `train_vae` in the output folder. The learning rate is annealed over the
wall-clock budget; run it again to go on from the averaged weights with a new budget, or on another
machine with `--start data/mini`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from hdpainter_nb.mini.training import networks, tokenizer
from hdpainter_nb.mini.training.data import Buffer, Examples
from hdpainter_nb.mini.training.learner import Learner, anneal, options
from hdpainter_nb.mini.training.noising import Noising, colour_cast, place_weighted
from hdpainter_nb.mini.training.parallel import Team, launch
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.training.supervise import pointing_loss, watch
from hdpainter_nb.mini.training.writing import put, put_unet


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
        self.noising = Noising.of_miniature(self.device, plan.first)
        self.empty = torch.tensor(tokenizer.encode((), ())[0])

    def loss(self, rows: list[Tensor]) -> tuple[Tensor, ...]:
        """Weighted error of v, the same of its averages, the two pointing losses."""
        clean, masked, hole, ids, marks = (x.to(self.device) for x in rows)
        clean, masked, hole = clean.float(), masked.float(), hole.float()
        dropped = torch.rand(len(clean), device=self.device) < 0.1  # for guidance
        ids = torch.where(dropped[:, None], self.empty.to(self.device), ids)
        marks = marks & ~dropped[:, None, None, None]
        noisy, time = self.noising(clean)
        for scores in self.kept.values():
            scores.clear()
        with autocast(self.device):
            context = self.text(ids).last_hidden_state
            packed = torch.cat([noisy, hole, masked], 1)
            guess = self.unet(packed.contiguous(memory_format=torch.channels_last), time, context)
        weight = hole + self.plan.outside * (1 - hole)
        miss = guess.sample.float() - self.noising.goal(clean, noisy, time)
        pointing = pointing_loss(self.kept, marks)
        return place_weighted(miss, weight), colour_cast(miss, weight), *pointing

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
    put_unet(unet, out)
    folder = out / "text_encoder"
    folder.mkdir(parents=True, exist_ok=True)
    text.config.save_pretrained(folder)
    # older releases of transformers expect this prefix, newer ones accept it
    lead = "text_model."
    tensors = {lead + k.removeprefix(lead): v for k, v in text.state_dict().items()}
    put(tensors, folder / "model.safetensors")


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    trainee = InpaintTrainee(plan)
    vae = networks.load_vae(plan.out, trainee.device)
    seed = plan.seed + 100 * team.rank + 1000 * trainee.step
    torch.manual_seed(seed)
    source = Examples(seed, plan.size, plan.neglect, plan.tidy, plan.nearby)
    buffer = Buffer(source, vae, least=plan.warm_rows)

    def learn(rate: float, share: float) -> tuple[Tensor, ...]:
        return trainee.learn(buffer.batch(plan.batch, plan.fresh), rate)

    anneal(team, plan, trainee, learn, trainee.save)


def main() -> None:
    parser = options(__doc__, minutes=45, out=Path("data/mini"), rate=8e-4, warm_rows=800)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--neglect", type=float, default=0.75)
    parser.add_argument("--nearby", type=float)
    parser.add_argument("--tidy", type=float, default=0.56)
    parser.add_argument("--outside", type=float, default=0.12)
    parser.add_argument("--smooth", type=float, default=0.3)
    parser.add_argument("--start", type=Path, help="begin with the weights exported in this folder")
    given = vars(parser.parse_args())
    processes = given.pop("processes")
    launch(train, given["work"], processes, Plan(**given))


if __name__ == "__main__":
    main()
