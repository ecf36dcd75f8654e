"""DDIM (eq. 3, 4), with room for a gradient in the noise's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hdpainter_nb.settings import Grid

__all__ = [
    "NoiseSchedule",
    "add_noise",
    "ddim_step",
    "deterministic_step",
    "explain_grid",
    "output_from",
    "previous",
    "sigma",
    "timesteps",
    "x0_and_eps",
]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much noise there is at each training step: T is 1000 for Stable Diffusion."""

    betas: Tensor  # (T,)
    alphas_cumprod: Tensor  # (T,) products of 1 - beta
    final_alpha: Tensor  # () what the last step leads to: alpha_0, or 1

    def __len__(self) -> int:
        """T."""
        return len(self.alphas_cumprod)

    def alpha(self, timestep: int) -> Tensor:
        """() cumulative alpha; `final_alpha` beyond the last timestep, where it is negative.

        The official code lets index -1 wrap around there, which makes sigma NaN; nothing depends
        on it.
        """
        return self.alphas_cumprod[timestep] if timestep >= 0 else self.final_alpha


def timesteps(steps: int, grid: Grid, train_steps: int = 1000) -> list[int]:
    """The descending timesteps of a run (switch 13).

    ``official``: 999, 999 - dt, ... down to the last positive one, dt = 1000 // steps; where dt
    does not divide 1000 this may be more than `steps` (31 for 30). ``leading``: exactly `steps` of
    them, ending at 1; ``leading_0``: the same ending at 0, diffusers' without an offset.
    """
    dt = train_steps // steps
    if grid == "official":
        return list(range(train_steps - 1, 0, -dt))
    offset = 0 if grid == "leading_0" else 1
    return [min(i * dt + offset, train_steps - 1) for i in reversed(range(steps))]


def explain_grid(steps: int, grid: Literal["official", "leading"], train_steps: int = 1000) -> str:
    """Why a run makes more steps than were asked for, in a sentence; empty where it does not.

    >>> explain_grid(30, "official")
    '30 steps asked for make 31: the official grid of timesteps goes down from 999 by ...'

    Args:
        steps, grid, train_steps: as for `timesteps`.
    """
    made = len(timesteps(steps, grid, train_steps))
    if made == steps:
        return ""
    stride = train_steps // steps
    return (
        f"{steps} steps asked for make {made}: the official grid of timesteps goes down from "
        f"{train_steps - 1} by {train_steps} // {steps} = {stride} while it is above 0. "
        f"The setting grid=leading makes {steps}."
    )


def previous(timestep: int, steps: int, train_steps: int = 1000) -> int:
    """The timestep that a step from `timestep` leads to; negative for the last one."""
    return timestep - train_steps // steps


def sigma(
    kind: Literal["per_step", "cumulative"],
    eta: float,
    schedule: NoiseSchedule,
    timestep: int,
    prev: int,
) -> Tensor:
    """sigma_t = eta * sqrt((1 - a') / (1 - a) * (1 - a / a')), a' being the previous alpha (eq. 3).

    ``cumulative`` reads a as the product of 1 - beta_i up to t, as the paper and DDIM do.
    ``per_step`` reads it as 1 - beta_t alone, as the official code does (switch 1).

    Args:
        timestep, prev: t, and the timestep that the step leads to, negative at the last one.

    Returns:
        () tensor; 0 for ``per_step`` at the last step, where no previous beta exists.
    """
    if kind == "per_step":
        if prev < 0:
            return torch.zeros_like(schedule.betas[0])
        a, a_prev = 1 - schedule.betas[timestep], 1 - schedule.betas[prev]
    else:
        a, a_prev = schedule.alpha(timestep), schedule.alpha(prev)
    variance = (1 - a_prev) / (1 - a) * (1 - a / a_prev)
    return eta * variance.clamp_min(0) ** 0.5


def x0_and_eps(
    kind: Literal["epsilon", "v_prediction"], output: Tensor, x: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """The UNet's output as (x0, eps), both (1, 4, h, w).

    ``v_prediction`` is v = sqrt(a) eps - sqrt(1 - a) x0 (Salimans & Ho 2022).

    Args:
        output: (1, 4, h, w). x: x_t, (1, 4, h, w).
        alpha: () cumulative alpha_t.
    """
    beta = 1 - alpha
    if kind == "v_prediction":
        return alpha**0.5 * x - beta**0.5 * output, alpha**0.5 * output + beta**0.5 * x
    return (x - beta**0.5 * output) / alpha**0.5, output


def output_from(
    kind: Literal["epsilon", "v_prediction"], x0: Tensor, eps: Tensor, alpha: Tensor
) -> Tensor:
    """The reverse of `x0_and_eps`: the UNet's output that means x0 and eps, (1, 4, h, w)."""
    return eps if kind == "epsilon" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0


def ddim_step(
    x0: Tensor, eps: Tensor, alpha_prev: Tensor, sigma_t: Tensor, noise: Tensor | None
) -> Tensor:
    """x_{t-1} = sqrt(a') x0 + sqrt(1 - a' - sigma^2) eps + sigma * noise (eq. 3).

    `noise` is standard normal in DDIM, and minus the standardised gradient of S in RASG (eq. 7).
    """
    direction = (1 - alpha_prev - sigma_t**2).clamp_min(0) ** 0.5 * eps
    x_prev = alpha_prev**0.5 * x0 + direction
    return x_prev if noise is None else x_prev + sigma_t * noise


def deterministic_step(x0: Tensor, eps: Tensor, alpha_prev: Tensor) -> Tensor:
    """x_{t-1} = sqrt(a') x0 + sqrt(1 - a') eps (eq. 4): eq. 3 with sigma 0."""
    return alpha_prev**0.5 * x0 + (1 - alpha_prev) ** 0.5 * eps


def add_noise(x0: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """x_t = sqrt(a) x0 + sqrt(1 - a) noise: the forward process (Ho et al. 2020, DDPM)."""
    alpha = alpha.to(device=x0.device, dtype=x0.dtype)
    return alpha**0.5 * x0 + (1 - alpha) ** 0.5 * noise
