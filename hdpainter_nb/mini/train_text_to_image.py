"""Train a text-to-image miniature: `python -m hdpainter_nb.mini.train_text_to_image --minutes 45`.

It has four input channels and begins with the inpainting miniature's weights, of which it shares
the autoencoder, the text encoder and the tokenizer. Blended latent diffusion's script begins with
noise alone a quarter into the schedule, so training has it from there on, too. The learning rate is
annealed over the wall-clock budget; run it again to go on from the averaged weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from hdpainter_nb.mini.training import networks, tokenizer
from hdpainter_nb.mini.training.data import Buffer, latents_of
from hdpainter_nb.mini.training.data_text import Pictures, encode_pictures
from hdpainter_nb.mini.training.learner import Learner, anneal, options
from hdpainter_nb.mini.training.noising import Noising, colour_cast, place_weighted
from hdpainter_nb.mini.training.parallel import Team, launch
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.training.supervise import pointing_loss, watch
from hdpainter_nb.mini.training.writing import put_unet


@dataclass(frozen=True)
class Plan:
    """What one run does. `minutes` are wall-clock; crop sizes are in pixels."""

    work: Path
    out: Path
    mini: Path
    minutes: float
    size: int = 128
    batch: int = 16
    rate: float = 5e-4
    last_rate: float = 1e-5
    fresh: float = 0.12  # new examples per example trained on
    warm_rows: int = 800
    pointing: float = 0.02
    scoring: float = 0.01
    first: float = 5.0  # how much more often than others the timesteps from 960 on are drawn
    blind: int = 700  # from this timestep on most examples are noise alone
    smooth: float = 0.3  # weight of the error averaged over 4 x 4 latents: of colour casts
    average: float = 0.998
    meet_every: int = 8
    export_every: float = 240.0  # seconds
    max_steps: int = 10**9
    device: str = "cpu"
    seed: int = 21_000


class TextTrainee(Learner):
    """The UNet, its moving average and optimiser; the frozen text encoder."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, torch.device(plan.device)
        self.vae, text = networks.load_frozen(plan.mini, self.device)
        unet = networks.new_unet(channels=4)
        self.unet = unet.to(self.device, memory_format=torch.channels_last).train()
        super().__init__({"unet": self.unet}, plan.rate, plan.average, plan.work / "text.pt")
        if not self.resumed:
            begun = UNet2DConditionModel.from_pretrained(plan.mini / "unet", use_safetensors=True)
            black = latents_of(self.vae, torch.zeros(1, 3, plan.size, plan.size)).mean((0, 2, 3))
            self.unet.load_state_dict(without_hole(begun.float().state_dict(), black.float()))
            self.remember()
        self.text = text
        self.kept = watch(self.unet)
        self.noising = Noising.of_miniature(self.device, plan.first, plan.blind)
        self.empty = torch.tensor(tokenizer.encode((), ())[0], device=self.device)

    def loss(self, rows: list[Tensor]) -> tuple[Tensor, ...]:
        """Mean square error of v, the same of its averages, the two pointing losses."""
        clean, ids, marks = (x.to(self.device) for x in rows)
        clean = clean.float()
        dropped = torch.rand(len(clean), device=self.device) < 0.1  # for guidance
        ids = torch.where(dropped[:, None], self.empty, ids)
        marks = marks & ~dropped[:, None, None, None]
        noisy, time = self.noising(clean)
        for scores in self.kept.values():
            scores.clear()
        with autocast(self.device):
            with torch.no_grad():
                context = self.text(ids).last_hidden_state
            guess = self.unet(noisy.contiguous(memory_format=torch.channels_last), time, context)
        miss = guess.sample.float() - self.noising.goal(clean, noisy, time)
        weight = torch.ones_like(miss[:, :1])
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
            put_unet(self.unet, self.plan.out)
        super().save()


def without_hole(weights: dict[str, Tensor], black: Tensor) -> dict[str, Tensor]:
    """An inpainting UNet's weights for four input channels, as if the hole were the whole picture.

    A mask of ones, and the latents `black` `(4,)` of an empty picture, are constants then: what
    the first convolution makes of them goes into its bias, exactly but for the picture's rim.
    """
    kernel = weights["conv_in.weight"]
    constant = torch.cat([black.new_ones(1), black]).to(kernel)
    bias = weights["conv_in.bias"] + (kernel[:, 4:].sum((2, 3)) * constant).sum(1)
    return weights | {"conv_in.weight": kernel[:, :4].clone(), "conv_in.bias": bias}


def train(team: Team, plan: Plan) -> None:
    """One process' share of the training."""
    torch.manual_seed(plan.seed)
    trainee = TextTrainee(plan)
    if team.leads:
        frozen = {"vae": trainee.vae, "text_encoder": trainee.text}
        networks.share_parts(plan.mini, plan.out, frozen)
        networks.write_index(plan.out, "StableDiffusionPipeline")
    seed = plan.seed + 100 * team.rank + 1000 * trainee.step
    torch.manual_seed(seed)
    source = Pictures(seed, plan.size)
    buffer = Buffer(source, trainee.vae, least=plan.warm_rows, to_rows=encode_pictures)

    def learn(rate: float, share: float) -> tuple[Tensor, ...]:
        return trainee.learn(buffer.batch(plan.batch, plan.fresh), rate)

    anneal(team, plan, trainee, learn, trainee.save)


def main() -> None:
    parser = options(__doc__, minutes=45, out=Path("data/mini_text"), rate=5e-4, warm_rows=800)
    parser.add_argument("--mini", type=Path, default=Path("data/mini"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    given = vars(parser.parse_args())
    processes = given.pop("processes")
    launch(train, given["work"], processes, Plan(**given))


if __name__ == "__main__":
    main()
