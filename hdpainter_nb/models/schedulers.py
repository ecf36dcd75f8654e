"""Ways from x_t to x_{t-1}: schedulers of diffusers as pure functions.

A scheduler of diffusers changes as it steps: it counts, and a multistep one keeps earlier outputs
of the UNet. A `DiffusersScheduler` steps a copy and hands back what the copy remembers as a frozen
`Memory`, so that a step can be made again, or another way, from any point of a run.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hdpainter_nb.settings import NOISY

__all__ = [
    "SCHEDULERS",
    "DiffusersScheduler",
    "Memory",
    "SchedulerSpec",
    "State",
    "from_arrays",
    "mix_noise",
    "to_arrays",
]


@dataclass(frozen=True, eq=False)
class State:
    """A point of the trajectory: the latent x_t *before* step `index`, and the noise generator.

    Under Euler's schedulers the latent is x_0 + s eps, as they have it.
    """

    index: int
    latents: torch.Tensor  # (1, 4, h, w)
    rng: torch.Tensor  # state of the noise generator, uint8
    x0: torch.Tensor | None = None  # (1, 4, h, w): x0 prediction of the step that led here
    memory: Mapping[str, Any] | None = None  # what a multistep scheduler remembers of earlier steps


Memory = Mapping[str, Any]
"""What a scheduler remembers: tensors, numbers and None, or tuples of them, by name."""
_PLACE = ("_begin_index", "_step_index", "is_scale_input_called")  # follow from the step's number


@dataclass(frozen=True, kw_only=True)
class SchedulerSpec:
    """A scheduler of diffusers and what it is told beyond the model's noise schedule."""

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)


_KARRAS = {"use_karras_sigmas": True}
_DPM: dict[str, Any] = {"solver_order": 2, "algorithm_type": "dpmsolver++"}
_SDE: dict[str, Any] = {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"}
SCHEDULERS: Mapping[str, SchedulerSpec] = MappingProxyType(
    {
        "ddpm": SchedulerSpec(scheduler="DDPMScheduler"),
        "pndm": SchedulerSpec(scheduler="PNDMScheduler", options={"skip_prk_steps": True}),
        "euler": SchedulerSpec(scheduler="EulerDiscreteScheduler"),
        "euler_karras": SchedulerSpec(scheduler="EulerDiscreteScheduler", options=_KARRAS),
        "euler_a": SchedulerSpec(scheduler="EulerAncestralDiscreteScheduler"),
        "dpm++_2m": SchedulerSpec(scheduler="DPMSolverMultistepScheduler", options=_DPM),
        "dpm++_2m_karras": SchedulerSpec(
            scheduler="DPMSolverMultistepScheduler", options=_DPM | _KARRAS
        ),
        "dpm++_2m_sde": SchedulerSpec(scheduler="DPMSolverMultistepScheduler", options=_SDE),
        "dpm++_2m_sde_karras": SchedulerSpec(
            scheduler="DPMSolverMultistepScheduler", options=_SDE | _KARRAS
        ),
        "unipc": SchedulerSpec(scheduler="UniPCMultistepScheduler"),
    }
)
"""The names of `Settings.scheduler`, ``ddim`` apart."""
_COMMON: dict[str, Any] = {  # what a model's own scheduler may say of itself and not of the model
    "clip_sample": False,
    "steps_offset": 1,
    "thresholding": False,
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}


class DiffusersScheduler:
    """One of `SCHEDULERS` on a model's noise schedule, with the timesteps of a run.

    Some schedulers work on x_0 + s eps instead of sqrt(alpha) x_0 + sqrt(1 - alpha) eps. Here ``x``
    is always the latent as the scheduler has it, and `scaled` gives it as the UNet takes it.

    Args:
        name: one of `SCHEDULERS`.
        config: configuration of any scheduler of the model.
        steps: as many as are asked for; `timesteps` says how many there are.

    Attributes:
        timesteps: t of every step, descending; fractional where the scheduler has it so.
        start: standard deviation of the starting noise.
        noisy: whether its steps add noise.
    """

    def __init__(self, name: str, config: Mapping[str, Any], steps: int) -> None:
        import diffusers

        kind = SCHEDULERS[name]
        Scheduler: Any = getattr(diffusers, kind.scheduler)
        known = inspect.signature(Scheduler.__init__).parameters
        options = {key: value for key, value in _COMMON.items() if key in known}
        self._blank: Any = Scheduler.from_config(dict(config), **{**options, **kind.options})
        self._blank.set_timesteps(steps)
        self.name = name
        self.noisy = name in NOISY
        self.timesteps: tuple[float, ...] = tuple(t.item() for t in self._blank.timesteps)
        self.start: Any = self._blank.init_noise_sigma
        self._seeded = "generator" in inspect.signature(Scheduler.step).parameters

    def alpha(self, index: int) -> Tensor:
        """() cumulative alpha of x before step `index`; 1 after the last one."""
        sigmas = getattr(self._blank, "sigmas", None)
        if sigmas is not None:
            alpha: Tensor = 1 / (1 + sigmas[index] ** 2)
            return alpha
        if index >= len(self.timesteps):
            return torch.ones(())
        return torch.as_tensor(self._blank.alphas_cumprod[int(self.timesteps[index])])

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """The latent before step `index` as the UNet takes it: sqrt(a) x_0 + sqrt(1 - a) eps."""
        scaled: Tensor = self._at(index).scale_model_input(x, self._blank.timesteps[index])
        return scaled

    def step(
        self,
        output: Tensor,
        x: Tensor,
        index: int,
        memory: Memory | None = None,
        *,
        rng: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Memory]:
        """The latent after step `index`, and what the scheduler then remembers.

        Args:
            output: (1, 4, h, w), what the UNet said, in its own terms.
            x: (1, 4, h, w).
            memory: after the step before; None before the first.
            rng: draws the noise, if there is any, and `noise` is not given.
            noise: (1, 4, h, w) to stand in the place of the noise that would be drawn.
        """
        scheduler, t = self._at(index, memory), self._blank.timesteps[index]
        scheduler.scale_model_input(x, t)  # some schedulers want to be asked before each step
        more = {"generator": rng} if self._seeded else {}
        with _Drawn(noise):
            after: Tensor = scheduler.step(output, t, x, **more, return_dict=False)[0]
        return after, self._learnt(scheduler)

    def sigma(self, index: int) -> float:
        """Standard deviation of the noise that step `index` adds, on the scale of `scaled`.

        A step is linear in x, in the UNet's output and in the noise. So from nothing but noise of
        1 it makes sigma itself.
        """
        if not self.noisy:
            return 0.0
        nothing = torch.zeros(1, 1, 1, 1)
        after, _ = self.step(nothing, nothing, index, noise=nothing + 1)
        if index + 1 < len(self.timesteps):
            after = self.scaled(after, index + 1)
        return float(after)

    def known(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents with as much noise as x has before step `index`."""
        t = self._blank.timesteps[index : index + 1]
        known: Tensor = self._at(index).add_noise(x0, noise, t)
        return known

    def _at(self, index: int, memory: Memory | None = None) -> Any:
        """A scheduler of its own that stands before step `index`."""
        scheduler = copy.copy(self._blank)
        own = vars(scheduler)
        own.update((name, list(v)) for name, v in vars(self._blank).items() if type(v) is list)
        own.update((n, list(v) if type(v) is tuple else v) for n, v in (memory or {}).items())
        for name, value in (("_begin_index", 0), ("_step_index", index)):
            if name in own:
                own[name] = value
        return scheduler

    def _learnt(self, scheduler: Any) -> Memory:
        """What a scheduler remembers that a blank one does not."""
        blank, nothing = vars(self._blank), object()
        learnt = {
            name: tuple(value) if type(value) is list else value
            for name, value in vars(scheduler).items()
            if name not in _PLACE and (blank.get(name, nothing) is not value)
        }
        return MappingProxyType(learnt)


class _Drawn(TorchFunctionMode):
    """Inside, what `torch.randn` draws is the given noise; nothing changes where it is None."""

    def __init__(self, noise: Tensor | None) -> None:
        super().__init__()
        self.noise = noise

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.randn and self.noise is not None:
            return self.noise.to(kwargs.get("dtype"))
        return func(*args, **kwargs)


def mix_noise(push: Tensor, noise: Tensor, eta: float) -> Tensor:
    """Noise of variance 1 still, eta of it `push`: eta push + sqrt(1 - eta^2) noise."""
    return eta * push + (1 - eta**2) ** 0.5 * noise


def to_arrays(memory: Memory | None) -> dict[str, Any]:
    """A memory with NumPy arrays in the place of tensors, to be kept in a record."""

    def keep(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(keep, value))
        if isinstance(value, Tensor):
            value = value.detach().to("cpu", copy=True)
            return (value.float() if value.is_floating_point() else value).numpy()
        return value

    return {name: keep(value) for name, value in (memory or {}).items()}


def from_arrays(arrays: Mapping[str, Any], like: Tensor) -> Memory:
    """The reverse of `to_arrays`; numbers with a point get the device and dtype of `like`."""

    def wake(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(wake, value))
        if isinstance(value, np.ndarray):
            tensor = torch.from_numpy(value.copy())
            return tensor.to(like) if tensor.is_floating_point() else tensor
        return value

    return MappingProxyType({name: wake(value) for name, value in arrays.items()})
