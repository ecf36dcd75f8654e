"""Reads golden cases and puts them in front of the sampler."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.method import masks
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import Prediction, predict
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.record import Record

FOLDERS = [
    Path(__file__).parents[1] / "golden",
    *map(Path, os.environ.get("HDPAINTER_GOLDEN", "").split(":")),
]


def case_files() -> list[Path]:
    """The settings of every inpainting case in the known folders."""
    files = [
        file
        for folder in FOLDERS
        if folder.is_dir() and str(folder) != "."
        for file in sorted(folder.glob("*.json"))
        if "method" in json.loads(file.read_text())
    ]
    assert files, "no golden cases found"
    return files


@functools.cache
def golden_model(folder: Path) -> Model:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").float().eval()
    return Model.from_unet(unet)


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded run; equal to itself alone, so that it can be a key."""

    name: str
    settings: Settings
    timesteps: list[int]
    tensors: dict[str, Tensor]
    cond: Conditioning
    model: Model

    def state(self, index: int) -> State:
        """The recorded x_t entering step `index`."""
        rng = torch.Generator().get_state()
        return State(index, self.tensors["zt"][index].clone(), rng)


@functools.cache
def read_case(file: Path) -> Case:
    facts = json.loads(file.read_text())
    d = load_file(file.with_suffix(".safetensors"))
    settings = Settings(
        steps=facts["steps"],
        eta=facts["eta"] or 0.1,
        guidance_scale=facts["guidance_scale"],
        painta="painta" in facts["method"],
        rasg="rasg" in facts["method"],
    )
    # Masks are made by our own code from the user's mask, so they are under test as well.
    mask = d["mask"].numpy() > 0
    size = (facts["height"], facts["width"])
    cond = Conditioning(
        context=d["context"],
        latent_mask=masks.to_unet(mask, settings.unet_mask),
        masked_image_latents=d["masked_image_latents"],
        painta_masks={n: masks.to_painta(mask, n, settings.painta_mask) for n in (16, 32)},
        score_mask=masks.to_score(mask, settings.score_mask),
        indices=tuple(facts["token_idx"]),
        size=size,
        crop=(0, 0, *size),
    )
    return Case(facts["name"], settings, facts["timesteps"], d, cond, golden_model(file.parent))


def sampler_at(case: Case, state: State) -> Sampler:
    """A sampler of the case, standing before a step."""
    return Sampler.from_cond(case.model, case.cond, state, case.settings, Capture.standard())


@dataclass(frozen=True, eq=False)
class Step:
    """One step, with what it is made of."""

    painta: bool  # whether PAIntA was on
    prediction: Prediction
    after: State
    record: Record


@functools.cache
def step_from_recorded(case: Case, index: int) -> Step:
    """The step from the recorded x_t; the network runs once for all who ask."""
    state = case.state(index)
    step = sampler_at(case, state).stepper
    inputs = step.inputs(state)
    prediction = predict(case.model.unet, inputs)
    after, record = step.finish(inputs, prediction)
    return Step(inputs.plan.painta, prediction, after, record)
