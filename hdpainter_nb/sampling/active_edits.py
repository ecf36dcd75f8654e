"""The edits that act in a step."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdpainter_nb.attention.layers import attention_layers
from hdpainter_nb.capture.capture import SCORE_LEVEL
from hdpainter_nb.edits.edit import Edit, Run, Site, StepEdits
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images.fit import Frame
from hdpainter_nb.method.masks import FittedMask
from hdpainter_nb.models.conditioning import Conditioning, TextConditioning
from hdpainter_nb.settings import Settings

__all__ = ["applied", "check", "layers", "step_edits"]

Reader = Literal["painta", "rasg", "unet"]


def layers(unet: nn.Module, factor: int = 8) -> dict[str, dict[Any, int]]:
    """The UNet's attention layers by name, with their numbers of heads, for `Run`."""
    return {
        layer.name: {"cross": layer.block.attn2.heads, "self": layer.block.attn1.heads}
        for layer in attention_layers(unet, factor)
    }


def check(stepper: Any, since: int = 0, size: tuple[int, int] | None = None) -> None:
    """See that everything which the edits of a `Stepper` name exists.

    Args:
        stepper: any; only those that have `step_edits` can be edited.
        since: each must act in a step from this one on.
        size: (H, W) of the picture, where there is one.

    Raises:
        SettingsError: it does not; the message says what there is.
    """
    if not stepper.edits:
        return
    if not hasattr(stepper, "step_edits"):
        raise SettingsError("Edits act in a Sampler's steps, not in these: leave out edit=.")
    total = len(stepper.timesteps)
    run = Run(
        total=total,
        layers=stepper.editable,
        settings=stepper.settings,
        words=stepper.conditioning.words,
        tokens=stepper.conditioning.tokens,
        size=size,
    )
    for edit in stepper.edits:
        edit.check(run)
        if not any(edit.in_step(step, total) for step in range(since, total)):
            raise SettingsError(
                f"{edit} acts only in steps that are made already: go back() to them first."
            )


def step_edits(
    edits: tuple[Edit, ...], cond: TextConditioning, step: int, timestep: int, total: int
) -> StepEdits | None:
    """The edits that act in one step; None where none does."""
    acting = tuple(edit for edit in edits if edit.in_step(step, total))
    site = Site(step=step, timestep=timestep, words=cond.words, tokens=cond.tokens)
    return StepEdits(acting, site) if acting else None


def applied(cond: Conditioning, settings: Settings, edits: StepEdits | None) -> Conditioning:
    """The conditions with the masks of PAIntA, RASG and the UNet as the edits leave them.

    Raises:
        SettingsError: an edit's mask is of another shape.
    """
    if edits is None or not any("mask" in edit.points for edit in edits.edits):
        return cond
    edited_mask = partial(_edited_mask, cond=cond, settings=settings, edits=edits)
    return dataclasses.replace(
        cond,
        painta_masks={
            level: edited_mask(mask, level, "painta") > 0.5
            for level, mask in cond.painta_masks.items()
        },
        score_mask=edited_mask(cond.score_mask, SCORE_LEVEL, "rasg"),
        latent_mask=edited_mask(cond.latent_mask[0, 0], settings.factor, "unet")[None, None],
    )


def _edited_mask(
    mask: Tensor,
    level: int,
    reader: Reader,
    *,
    cond: Conditioning,
    settings: Settings,
    edits: StepEdits,
) -> Tensor:
    """One mask (h, w) as the edits leave it, as floats."""
    values = mask.float() if mask.dtype == torch.bool else mask
    at_reader = partial(_at_reader, level=level, reader=reader, cond=cond, settings=settings)
    where = {"level": level, "shape": tuple(mask.shape), "reader": reader, "fitted": at_reader}
    return edits.apply("mask", values, **where)


def _at_reader(
    mask: NDArray[np.bool_], *, level: int, reader: Reader, cond: Conditioning, settings: Settings
) -> Tensor:
    """A mask (H, W) of the picture, brought down by the run's own switches 7 to 9."""
    side = max(64, *cond.crop[2:])
    frame = Frame.of(mask.shape, how=settings.size, long_side=side)
    if (frame.size, frame.crop) != (cond.size, cond.crop):
        raise SettingsError(
            f"The edit's mask has the shape {mask.shape}, which fits a frame of {frame.size}, not "
            f"{cond.size}: give one of the picture's own size."
        )
    fitted = FittedMask.of(np.asarray(mask, np.bool_), frame)
    if reader == "painta":
        return fitted.for_painta(level, settings.painta_mask).float()
    if reader == "rasg":
        return fitted.for_score(settings.score_mask, level)
    return fitted.for_unet(settings.unet_mask, level)[0, 0]
