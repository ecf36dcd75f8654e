"""A step's inputs made by hand, for tests that ask a UNet without a sampler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.models.schedulers import NoiseLevel, State
from hdpainter_nb.sampling.predict import StepInputs


def step_inputs(
    cond: Any, x: Tensor, timestep: float, settings: Any, plan: HookPlan, *, guided: bool = True
) -> StepInputs[Any, Any]:
    """What `predict` takes, at x (1, 4, h, w)."""
    return StepInputs(
        state=State(0, x, torch.empty(0)),
        level=NoiseLevel(timestep, torch.ones(())),
        x=x,
        conditioning=cond,
        settings=settings,
        plan=plan,
        guided=guided,
    )
