r"""Train SmartBrush's recipe: `python -m hdpainter_nb.mini.train_smartbrush --minutes 45`.

By default on the procedural world, from the bundled miniature, on a CPU. On a GPU the same command
begins with a real model and takes a folder of MSCOCO's layout or any instances file of its form:

  python -m hdpainter_nb.mini.train_smartbrush --start Lykon/dreamshaper-8-inpainting \
      --images coco/train2017 --instances coco/annotations/instances_train2017.json \
      --captions coco/annotations/captions_train2017.json --size 512 --batch 8 --accumulate 4 \
      --mixed-precision bf16 --checkpointing --steps 20000 --rate 1e-5 --workers 8 --out smartbrush

Run it again and it goes on from its checkpoint, step for step as if it had never ended.
`accelerate launch -m hdpainter_nb.mini.train_smartbrush ...` uses several GPUs.

The recipe is SmartBrush's (arXiv 2212.05034), whose authors published neither code nor weights:
an object's mask of varied precision, which the network is told; noise inside the mask alone; the
object's own mask as a further output (DICE loss, weight 0.01); captions of the object alone; one
example in five a whole picture with its caption.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from hdpainter_nb.errors import HDPainterError, SettingsError
from hdpainter_nb.evaluation.triplets.coco import CocoTriplets
from hdpainter_nb.mini.training import tokenizer
from hdpainter_nb.mini.training.data_coco import Captions, CocoObjects
from hdpainter_nb.mini.training.data_objects import ObjectSource, WorldObjects
from hdpainter_nb.mini.training.exact import Budget, ExactRun
from hdpainter_nb.mini.training.networks import share_parts
from hdpainter_nb.mini.training.noising import Noising, colour_cast, place_weighted
from hdpainter_nb.mini.training.object_masks import LEVELS
from hdpainter_nb.mini.training.object_rows import ObjectRows
from hdpainter_nb.mini.training.smartbrush import dice_loss, noised_inside, prepared_unet
from hdpainter_nb.mini.training.supervise import pointing_loss, watch
from hdpainter_nb.mini.training.writing import put_unet
from hdpainter_nb.models.loading import load


@dataclass(frozen=True)
class Plan:
    """What one run does. `size` is of a crop in pixels; `fresh` new examples per one drawn."""

    start: str
    out: Path
    work: Path
    images: Path | None = None
    instances: Path | None = None
    captions: Path | None = None
    descriptions: Path | None = None
    steps: int | None = None
    minutes: float = 45
    size: int = 128
    batch: int = 16
    accumulate: int = 1
    rate: float = 5e-4
    last_rate: float = 1e-5
    average: float = 0.998
    fresh: float = 0.125
    window: int = 1000  # examples that lie ready at once and are drawn from, where fresh < 1
    mask_weight: float = 0.01
    smooth: float = 0.3  # weight of the error averaged over 4 x 4 latents; the miniature's alone
    pointing: float = 0.02  # weights of its two pointing losses
    scoring: float = 0.01
    first: float = 5.0  # how much more often than others its timesteps from 960 on are drawn
    mixed_precision: str = "no"
    checkpointing: bool = False
    save_every: int = 500
    workers: int = 0
    seed: int = 31_000
    cpu: bool = False

    @property
    def world(self) -> bool:
        """Whether the procedural world is painted; else pictures with instances are read."""
        return self.instances is None and self.images is None


class SmartBrush:
    """The networks, the examples and the losses of one process."""

    def __init__(self, plan: Plan, accelerator: Accelerator) -> None:
        self.plan, self.device = plan, accelerator.device
        torch.manual_seed(plan.seed)
        pipe = load(plan.start, device="cpu", dtype="float32").pipe
        self.parts: dict[str, Any] = dict(pipe.components)
        unet = prepared_unet(self.parts["unet"], LEVELS).train()
        if plan.checkpointing:
            unet.enable_gradient_checkpointing()
        self.kept = watch(unet) if plan.world else {}
        self.run = ExactRun(
            accelerator,
            unet,
            plan.work / "smartbrush.pt",
            seed=plan.seed,
            decay=plan.average,
        )
        self.text = self.parts["text_encoder"].requires_grad_(False).eval().to(self.device)
        vae = self.parts["vae"].requires_grad_(False).eval().to(self.device)
        self.rows = ObjectRows(
            self._source(),
            vae.to(memory_format=torch.channels_last),
            batch=plan.batch,
            fresh=plan.fresh if plan.world else 1.0,
            window=plan.window,
            seed=plan.seed,
            share=(accelerator.process_index, accelerator.num_processes),
            workers=plan.workers,
        )
        self.rows.go_to(self.run.step * plan.accumulate)
        if plan.world:
            self.noising = Noising.of_miniature(self.device, plan.first)
        else:
            self.noising = Noising(self.parts["scheduler"], self.device)
        tokens = self.parts["tokenizer"]
        empty = tokens("", padding="max_length", max_length=tokens.model_max_length).input_ids
        self.empty = torch.tensor(empty, device=self.device)

    def _source(self) -> ObjectSource:
        plan = self.plan
        if plan.world:
            if len(self.parts["tokenizer"]) != len(tokenizer.vocabulary()[0]):
                raise SettingsError(
                    f"{plan.start!r} does not speak the procedural world's words: give pictures "
                    "with --images and --instances, or --start data/mini."
                )
            return WorldObjects(plan.seed, plan.size)
        if plan.images is None or plan.instances is None:
            raise SettingsError("Pictures need both --images and --instances.")
        triplets = CocoTriplets(
            plan.images.parent, None, images=plan.images, instances=plan.instances
        )
        captions = Captions.read(plan.captions, plan.descriptions)
        return CocoObjects(
            triplets, captions, self.parts["tokenizer"], size=plan.size, seed=plan.seed
        )

    def loss(self) -> tuple[Tensor, ...]:
        """What the next micro-batch is to descend, then its parts.

        The parts are the squared error inside the hole, the same of its averages, DICE of the
        object's mask, and the two pointing losses.
        """
        plan = self.plan
        row = {name: value.to(self.device) for name, value in next(self.rows).items()}
        clean, masked, hole = (row[name].float() for name in ("clean", "masked", "hole"))
        dropped = torch.rand(len(clean), device=self.device) < 0.1  # for guidance
        ids = torch.where(dropped[:, None], self.empty, row["ids"])
        noisy, time = self.noising(clean)
        noised = noised_inside(clean, noisy, hole)
        with torch.no_grad():
            context = self.text(ids)[0]
        for scores in self.kept.values():
            scores.clear()
        packed = torch.cat([noised, hole, masked], 1)
        packed = packed.contiguous(memory_format=torch.channels_last)
        with self.run.accelerator.autocast():
            output = self.run.network(
                packed, time, context.to(packed.dtype), class_labels=row["level"], return_dict=False
            )[0]
        output = output.float()
        miss = output[:, :4] - self.noising.goal(clean, noised, time)
        square = place_weighted(miss, hole)
        dice = dice_loss(output[:, 4:], row["shape"].float(), ~row["whole"])
        if not plan.world:
            return square + plan.mask_weight * dice, square, dice
        cast = colour_cast(miss, hole)
        marks = row["marks"] & ~dropped[:, None, None, None]
        pointing = pointing_loss(self.kept, marks)
        total = square + plan.smooth * cast + plan.mask_weight * dice
        total = total + plan.pointing * pointing[0] + plan.scoring * pointing[1]
        return total, square, cast, dice, *pointing

    def export(self) -> None:
        """Write the averaged UNet as fp16, in a folder that `load` takes."""
        if self.run.accelerator.is_main_process:
            with self.run.averaged() as unet:
                put_unet(unet, self.plan.out)


def train(plan: Plan) -> None:
    """The whole training, or what is left of it.

    Raises:
        SettingsError, ModelError, EvaluationError: what was given cannot be used.
    """
    accelerator = Accelerator(
        mixed_precision=plan.mixed_precision,
        gradient_accumulation_steps=plan.accumulate,
        cpu=plan.cpu,
    )
    brush = SmartBrush(plan, accelerator)
    if accelerator.is_main_process:
        share_parts(plan.start, plan.out, brush.parts)
    brush.run.run(
        Budget(plan.steps, plan.minutes, plan.rate, plan.last_rate),
        brush.loss,
        save=brush.export,
        save_every=plan.save_every,
        told=lambda line: accelerator.print(line, flush=True),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--start", default="data/mini", help="folder, hub id or name of a model")
    parser.add_argument("--out", type=Path, default=Path("data/mini_smartbrush"))
    parser.add_argument("--work", type=Path, default=Path("runs/smartbrush"))
    parser.add_argument("--images", type=Path, help="folder of pictures")
    parser.add_argument("--instances", type=Path, help="json of objects in MSCOCO's form")
    parser.add_argument("--captions", type=Path, help="json of whole pictures' captions, likewise")
    parser.add_argument(
        "--descriptions", type=Path, help="json of annotation id -> caption of that object"
    )
    parser.add_argument("--steps", type=int, help="in all; without, --minutes count")
    parser.add_argument("--minutes", type=float, default=45, help="in all, of every run")
    parser.add_argument("--size", type=int, default=128, help="of a crop, in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--accumulate", type=int, default=1, help="batches for each step")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--last-rate", type=float, default=1e-5)
    parser.add_argument("--average", type=float, default=0.998, help="of the weights, per step")
    parser.add_argument("--mask-weight", type=float, default=0.01, help="of the DICE loss")
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--mixed-precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--checkpointing", action="store_true", help="less memory, slower")
    parser.add_argument("--save-every", type=int, default=500, help="steps")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures")
    parser.add_argument("--seed", type=int, default=31_000)
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    plan = Plan(**vars(parser.parse_args()))
    try:
        train(plan)
    except HDPainterError as error:
        sys.exit(f"train_smartbrush: {error}")


if __name__ == "__main__":
    main()
