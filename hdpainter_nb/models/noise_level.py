"""How noisy the UNet's input is under a scheduler of diffusers that counts for itself.

Schedulers keep the latents in one of two ways. Some work on x_0 + s eps and scale that down by
sqrt(1 + s^2) for the UNet; the factor they scale by is sqrt(alpha), whatever s they use just then,
that of a midpoint included. The others keep the latents as the UNet takes them; their level is told
by a sigma for every step, or by the timestep alone.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor

from hdpainter_nb.errors import ModelError

__all__ = ["alpha_before_step", "check_scheduler"]

_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_STEP = ("model_output", "timestep", "sample")
_INVERSE = "DDIMInverseScheduler"  # its latents are those of the timestep before the one it tells
_OTHERS = "Use another scheduler, such as DDIMScheduler or EulerDiscreteScheduler."


def check_scheduler(scheduler: Any) -> None:
    """See that `alpha_before_step` can tell how noisy the UNet's input is.

    Raises:
        ModelError: it cannot; the message says why.
    """
    name = type(scheduler).__name__
    if getattr(scheduler, "alphas_cumprod", None) is None:
        raise ModelError(f"{name} has no alphas_cumprod, so x0 cannot be told. {_OTHERS}")
    config = scheduler.config
    predicts = config.get("prediction_type", "epsilon")
    if predicts not in _PREDICTIONS or config.get("use_flow_sigmas"):
        what = "a flow" if config.get("use_flow_sigmas") else repr(predicts)
        raise ModelError(
            f"{name} is set up for a model that predicts {what}; x0 can be told where it is "
            "'epsilon', 'v_prediction' or 'sample'."
        )
    taken, needed = _arguments(type(scheduler).step)
    if taken[:3] != _STEP[: len(taken)] or not needed <= {*_STEP}:
        further = sorted(needed - {*_STEP})
        raise ModelError(
            f"The step of {name} takes {', '.join([*taken[:3], *further])}, where a pipeline of "
            f"Stable Diffusion gives {', '.join(_STEP)}. {_OTHERS}"
        )
    if any(kind.__name__ == _INVERSE for kind in type(scheduler).__mro__):
        raise ModelError(
            f"{name} tells the UNet a later timestep than its latents are of, so x0 cannot be "
            "told. Use DPMSolverMultistepInverseScheduler to turn a picture into noise."
        )


def alpha_before_step(scheduler: Any, timestep: Any, device: torch.device | None = None) -> Tensor:
    """() float64, the cumulative alpha of what the UNet was given for the step to come.

    Args:
        scheduler: as it stands before its `step`; it is left so.
        timestep: that `step` is given.
        device: where the latents are.
    """
    twin = copy.copy(scheduler)  # asking makes some of them count
    device = torch.device("cpu") if device is None else device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    one = torch.ones(1, dtype=dtype, device=device)
    scale = float(twin.scale_model_input(one, timestep))
    if scale != 1:
        return torch.tensor(scale, dtype=torch.float64) ** 2
    sigmas: Any = getattr(twin, "sigmas", None)
    if isinstance(sigmas, Tensor) and hasattr(twin, "step_index"):
        if twin.step_index is None:
            twin._init_step_index(timestep)
        return 1 / (1 + sigmas[twin.step_index].double().cpu() ** 2)
    alpha: Tensor = scheduler.alphas_cumprod[round(float(timestep))]
    return alpha.double().cpu()


def _arguments(method: Any) -> tuple[tuple[str, ...], set[str]]:
    """The names of what a method takes by place, and of what it must be given; itself apart."""
    parameters = [*inspect.signature(method).parameters.values()][1:]
    plain = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return tuple(p.name for p in plain), {p.name for p in plain if p.default is p.empty}
