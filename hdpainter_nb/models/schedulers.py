"""Ways from x_t to x_{t-1} behind one protocol, `Scheduler`.

A scheduler of diffusers changes as it steps: it counts, and a multistep one keeps earlier outputs
of the UNet. Here a `Scheduler` is pure: what it must remember travels in the `State`, so that a
step can be made again, or another way, from any point of a run.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hdpainter_nb.method import ddim
from hdpainter_nb.method.ddim import NoiseSchedule
from hdpainter_nb.settings import NOISY, BaseSettings, Grid, Settings

__all__ = [
    "DDIM",
    "SCHEDULERS",
    "DiffusersScheduler",
    "Guided",
    "Memory",
    "NoiseLevel",
    "Scheduler",
    "SchedulerSpec",
    "State",
    "Stepped",
    "draw",
    "from_arrays",
    "mix_noise",
    "scheduler_for",
    "to_arrays",
]

Memory = Mapping[str, Any]
"""What a scheduler remembers: tensors, numbers and None, or tuples of them, by name."""

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, eq=False)
class State:
    """A point of the trajectory: the latent x_t *before* step `index`, and the noise generator.

    Under Euler's schedulers the latent is x_0 + s eps, as they have it.
    """

    index: int
    latents: Tensor  # (1, 4, h, w)
    rng: Tensor  # state of the noise generator, uint8
    x0: Tensor | None = None  # (1, 4, h, w): x0 prediction of the step that led here
    memory: Memory | None = None  # what a multistep scheduler remembers of earlier steps


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """How noisy x_t is before a step."""

    timestep: float  # t, in training steps; fractional where a scheduler has it so
    alpha: Tensor  # () cumulative alpha_t


@dataclass(frozen=True, eq=False)
class Guided:
    """The guided prediction at x_t in the three forms that schedulers read, each (1, 4, h, w)."""

    output: Tensor  # in the UNet's own terms
    x0: Tensor
    eps: Tensor

    @classmethod
    def of(cls, output: Tensor, x: Tensor, level: NoiseLevel, kind: PredictionType) -> Self:
        """From the UNet's guided output at x (1, 4, h, w)."""
        return cls(output, *ddim.x0_and_eps(kind, output, x, level.alpha))

    @classmethod
    def from_eps(cls, eps: Tensor, x: Tensor, level: NoiseLevel, kind: PredictionType) -> Self:
        """From a noise prediction at x (1, 4, h, w)."""
        x0, _ = ddim.x0_and_eps("epsilon", eps, x, level.alpha)
        return cls(ddim.output_from(kind, x0, eps, level.alpha), x0, eps)


@dataclass(frozen=True, eq=False)
class Stepped:
    """What a scheduler's step gives."""

    latents: Tensor  # (1, 4, h, w): x_{t-1}
    rng: Tensor  # state of the noise generator afterwards, uint8
    sigma: float  # standard deviation of the noise, or of what stood in its place
    memory: Memory | None = None  # of a multistep scheduler

    def state(self, index: int, latents: Tensor, x0: Tensor) -> State:
        """The state before step `index`; its latents may have been blended since."""
        return State(index, latents, self.rng, x0, self.memory)


class Scheduler(Protocol):
    """A way from x_t to x_{t-1}. Pure: what it must remember travels in the `State`."""

    @property
    def timesteps(self) -> Sequence[float]:
        """T of every step, descending."""
        ...

    @property
    def start(self) -> Any:
        """Standard deviation of the starting noise."""
        ...

    def at(self, index: int) -> NoiseLevel:
        """How noisy x_t is before step `index`."""
        ...

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """The latent before step `index` as the UNet takes it: sqrt(a) x_0 + sqrt(1 - a) eps."""
        ...

    def step(self, state: State, guided: Guided, noise: Tensor | None) -> Stepped:
        """x_t to x_{t-1}.

        Args:
            noise: (1, 4, h, w) float32, RASG's (eq. 7); None draws ordinary noise, where there is
                any.
        """
        ...

    def noised(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents x0 with as much noise as x_t has before step `index`, (1, 4, h, w)."""
        ...


def scheduler_for(
    settings: BaseSettings, noise_schedule: NoiseSchedule, config: Mapping[str, Any]
) -> Scheduler:
    """The scheduler that the settings ask for, with the timesteps of the run.

    Args:
        noise_schedule: of the model.
        config: configuration of any scheduler of the model, read by those of diffusers.
    """
    if not isinstance(settings, Settings):
        return DDIM(noise_schedule, settings.steps, settings.grid)
    if settings.scheduler == "ddim":
        return DDIM(
            noise_schedule,
            settings.steps,
            settings.grid,
            kind=settings.sigma,
            eta=settings.ddim_eta,
            rasg_eta=settings.eta,
            skipped=settings.skipped_steps,
        )
    return DiffusersScheduler(
        settings.scheduler,
        config,
        settings.steps,
        rasg_eta=settings.eta,
        skipped=settings.skipped_steps,
    )


@dataclass(frozen=True, eq=False)
class DDIM:
    """The paper's sampler (eq. 3), of which eq. 4 is the case without noise.

    Args:
        noise_schedule: of the model.
        steps: as many as are asked for; the official grid may have one more.
        grid: switch 13.
        kind: how sigma_t reads alpha (switch 1).
        eta: share of ordinary noise; 0 draws none.
        rasg_eta: the same where the standardised gradient stands in the noise's place (switch 2).
        skipped: so many of the first steps are left out.
    """

    noise_schedule: NoiseSchedule
    steps: int
    grid: Grid
    kind: Literal["per_step", "cumulative"] = "cumulative"
    eta: float = 0.0
    rasg_eta: float = 0.0
    skipped: int = 0
    timesteps: tuple[int, ...] = field(init=False)
    start: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        grid = ddim.timesteps(self.steps, self.grid, len(self.noise_schedule))
        object.__setattr__(self, "timesteps", tuple(grid[self.skipped :]))

    def at(self, index: int) -> NoiseLevel:
        """How noisy x_t is before step `index`."""
        t = self.timesteps[index]
        return NoiseLevel(t, self.noise_schedule.alpha(t))

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """The latent itself: DDIM's is what the UNet takes."""
        return x

    def step(self, state: State, guided: Guided, noise: Tensor | None) -> Stepped:
        """x_{t-1} by eq. 3, with the gradient in the noise's place where there is one (eq. 7)."""
        t = self.timesteps[state.index]
        prev = ddim.previous(t, self.steps, len(self.noise_schedule))
        eta = self.eta if noise is None else self.rasg_eta
        sigma = ddim.sigma(self.kind, eta, self.noise_schedule, t, prev)
        rng = state.rng
        if noise is not None:
            noise = noise.to(state.latents.dtype)
        elif sigma > 0:
            noise, rng = draw(state.latents, rng)
        alpha_prev = self.noise_schedule.alpha(prev)
        if noise is None:
            x_prev = ddim.deterministic_step(guided.x0, guided.eps, alpha_prev)  # eq. 4
        else:
            x_prev = ddim.ddim_step(guided.x0, guided.eps, alpha_prev, sigma, noise)  # eq. 3
        return Stepped(x_prev, rng, float(sigma))

    def noised(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents x0 with as much noise as x_t has before step `index`, (1, 4, h, w)."""
        return ddim.add_noise(x0, noise, self.at(index).alpha)


_COUNTERS = (
    "_begin_index",
    "_step_index",
    "is_scale_input_called",
)  # follow from the step's number


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
        rasg_eta: share of the standardised gradient in the noise (eq. 7, switch 2).
        skipped: so many of the first steps are left out.

    Attributes:
        timesteps: t of every step, descending; fractional where the scheduler has it so.
        start: standard deviation of the starting noise.
        noisy: whether its steps add noise.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        steps: int,
        *,
        rasg_eta: float = 0.0,
        skipped: int = 0,
    ) -> None:
        import diffusers

        spec = SCHEDULERS[name]
        Scheduler: Any = getattr(diffusers, spec.scheduler)
        parameters = inspect.signature(Scheduler.__init__).parameters
        options = {key: value for key, value in _COMMON.items() if key in parameters}
        self._blank: Any = Scheduler.from_config(dict(config), **{**options, **spec.options})
        self._blank.set_timesteps(steps)
        self.name = name
        self.noisy = name in NOISY
        self.rasg_eta = rasg_eta
        # It goes on knowing all of its timesteps: sigmas and orders are counted among them.
        self._first = skipped
        self.timesteps: tuple[float, ...] = tuple(t.item() for t in self._blank.timesteps[skipped:])
        self.start: Any = self._blank.init_noise_sigma
        self._seeded = "generator" in inspect.signature(Scheduler.step).parameters

    def at(self, index: int) -> NoiseLevel:
        """How noisy x_t is before step `index`, as the UNet takes it."""
        return NoiseLevel(self.timesteps[index], self.alpha(index))

    def alpha(self, index: int) -> Tensor:
        """() cumulative alpha of x before step `index`; 1 after the last one."""
        sigmas = getattr(self._blank, "sigmas", None)
        if sigmas is not None:
            alpha: Tensor = 1 / (1 + sigmas[self._first + index] ** 2)
            return alpha
        if index >= len(self.timesteps):
            return torch.ones(())
        return torch.as_tensor(self._blank.alphas_cumprod[int(self.timesteps[index])])

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """The latent before step `index` as the UNet takes it: sqrt(a) x_0 + sqrt(1 - a) eps."""
        scaled: Tensor = self._at(index).scale_model_input(x, self._timestep(index))
        return scaled

    def step(self, state: State, guided: Guided, noise: Tensor | None) -> Stepped:
        """x_t to x_{t-1}; of the noise that a step adds, the gradient is `rasg_eta` (eq. 7).

        The gradient of S is that with respect to what the UNet takes. Where the scheduler's latent
        is larger by a factor, so much smaller is the gradient with respect to it; g / std(g) is the
        same.
        """
        x, rng = state.latents, torch.Generator("cpu")
        rng.set_state(state.rng)
        if noise is not None:
            drawn, after = draw(x, state.rng)
            rng.set_state(after)
            noise = mix_noise(noise.to(x.dtype), drawn, self.rasg_eta)
        x_prev, memory = self._stepped(
            guided.output, x, state.index, state.memory, rng=rng, noise=noise
        )
        return Stepped(x_prev, rng.get_state(), self.sigma(state.index), memory)

    def _stepped(
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
            output: (1, 4, h, w), the UNet's, in its own terms.
            x: (1, 4, h, w).
            memory: after the step before; None before the first.
            rng: draws the noise, if there is any, and `noise` is not given.
            noise: (1, 4, h, w) to stand in the place of the noise that would be drawn.
        """
        scheduler, t = self._at(index, memory), self._timestep(index)
        scheduler.scale_model_input(x, t)  # some schedulers want to be asked before each step
        more = {"generator": rng} if self._seeded else {}
        with _Drawn(noise):
            after: Tensor = scheduler.step(output, t, x, **more, return_dict=False)[0]
        return after, self._memory_of(scheduler)

    def sigma(self, index: int) -> float:
        """Standard deviation of the noise that step `index` adds, on the scale of `scaled`.

        A step is linear in x, in the UNet's output and in the noise. So from nothing but noise of
        1 it makes sigma itself.
        """
        if not self.noisy:
            return 0.0
        nothing = torch.zeros(1, 1, 1, 1)
        after, _ = self._stepped(nothing, nothing, index, noise=nothing + 1)
        if index + 1 < len(self.timesteps):
            after = self.scaled(after, index + 1)
        return float(after)

    def noised(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """Known latents x0 with as much noise as x_t has before step `index`, (1, 4, h, w)."""
        noised: Tensor = self._at(index).add_noise(x0, noise, self._timestep(index)[None])
        return noised

    def _timestep(self, index: int) -> Tensor:
        """() t of step `index`, as the scheduler has it."""
        t: Tensor = self._blank.timesteps[self._first + index]
        return t

    def _at(self, index: int, memory: Memory | None = None) -> Any:
        """A scheduler of its own that stands before step `index`."""
        scheduler = copy.copy(self._blank)
        attributes, blank = vars(scheduler), vars(self._blank)
        attributes.update(
            {name: list(value) for name, value in blank.items() if type(value) is list}
        )
        for name, value in (memory or {}).items():
            attributes[name] = list(value) if type(value) is tuple else value
        counters = {"_begin_index": self._first, "_step_index": self._first + index}
        attributes.update({name: n for name, n in counters.items() if name in attributes})
        return scheduler

    def _memory_of(self, scheduler: Any) -> Memory:
        """What a scheduler remembers that a blank one does not."""
        blank, nothing = vars(self._blank), object()
        learnt = {
            name: tuple(value) if type(value) is list else value
            for name, value in vars(scheduler).items()
            if name not in _COUNTERS and (blank.get(name, nothing) is not value)
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


def mix_noise(gradient: Tensor, noise: Tensor, eta: float) -> Tensor:
    """Noise of variance 1, eta of it the standardised gradient: eta g + sqrt(1 - eta^2) noise."""
    return eta * gradient + (1 - eta**2) ** 0.5 * noise


def draw(like: Tensor, rng: Tensor) -> tuple[Tensor, Tensor]:
    """Standard normal noise from a generator in state `rng`, and its state afterwards."""
    generator = torch.Generator("cpu")
    generator.set_state(rng)
    noise = torch.randn(like.shape, generator=generator)
    return noise.to(like), generator.get_state()


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

    def to_tensor(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(to_tensor, value))
        if isinstance(value, np.ndarray):
            tensor = torch.from_numpy(value.copy())
            return tensor.to(like) if tensor.is_floating_point() else tensor
        return value

    return MappingProxyType({name: to_tensor(value) for name, value in arrays.items()})
