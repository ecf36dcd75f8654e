"""GLIDE's noise schedules, their respacing, and its ancestral step with a learned variance.

The schedules are those of Nichol & Dhariwal 2021 (squared cosine) and Ho et al. 2020 (linear). A
run takes some of the 1000 timesteps; betas are made anew for those, so that the cumulative alphas
stay as they were. A step draws from q(x_{t-1} | x_t, x_0), with a variance that the network places
between beta-tilde and beta, on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.models.schedulers import Guided, NoiseLevel, State, Stepped, draw
from hdpainter_nb.utils.check import between

__all__ = [
    "FAST27",
    "TRAINED",
    "AncestralScheduler",
    "fast27",
    "linear",
    "respaced",
    "squared_cosine",
]

Float64 = NDArray[np.float64]
TRAINED = 1000
"""Timesteps that the networks were trained on."""
FAST27 = (10, 10, 3, 2, 2)
"""Steps from each fifth of the timesteps, the least noisy first, of the respacing ``fast27``."""


def squared_cosine(steps: int = TRAINED, largest: float = 0.999) -> Float64:
    """(steps,) betas of which the cumulative alpha at time u is cos^2((u + 0.008) / 1.008 pi / 2).

    Args:
        steps: T; u = t / T.
        largest: no beta is above.
    """
    u = np.arange(steps + 1) / steps
    alpha = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    betas: Float64 = np.minimum(1 - alpha[1:] / alpha[:-1], largest)
    return betas


def linear(steps: int = TRAINED) -> Float64:
    """(steps,) betas from 0.0001 to 0.02 for 1000 steps, as many times more as they are fewer."""
    scale = 1000 / steps
    return np.linspace(scale * 0.0001, scale * 0.02, steps)


def respaced(sections: Iterable[int], steps: int = TRAINED) -> list[int]:
    """The timesteps of a run, ascending: so many of each of several equal parts of all.

    Those of a part lie evenly, its first and last among them.

    Args:
        sections: how many steps each part gives, the least noisy first.
        steps: T.

    Raises:
        SettingsError: a part has not that many.
    """
    counts = [*sections]
    if not counts or not 0 < len(counts) <= steps:
        raise SettingsError(f"{counts} cannot share {steps} timesteps.")
    chosen: list[int] = []
    start = 0
    for number, count in enumerate(counts):
        size = steps // len(counts) + (number < steps % len(counts))
        between("steps", count, 1, size, integer=True)
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        place = 0.0
        for _ in range(count):  # added up, as roundings decide which neighbour is taken
            chosen.append(start + round(place))
            place += stride
        start += size
    return chosen


def fast27(steps: int = TRAINED) -> list[int]:
    """The 27 timesteps of the upsampler, ascending; the noisiest is two before the last."""
    return [*respaced(FAST27, steps)[:-1], steps - 3]


@dataclass(frozen=True, eq=False)
class AncestralScheduler:
    """x_{t-1} ~ q(x_{t-1} | x_t, x_0) with the network's variance; the last step adds no noise.

    Args:
        betas: (T,) of all timesteps.
        chosen: those of the run, ascending.
    """

    betas: Float64
    chosen: tuple[int, ...]
    timesteps: tuple[int, ...] = field(init=False)
    start: float = field(init=False, default=1.0)
    alphas: Float64 = field(init=False)
    """(steps,) cumulative, of the run's timesteps, ascending."""

    def __post_init__(self) -> None:
        cumulative = np.cumprod(1 - self.betas)
        object.__setattr__(self, "timesteps", tuple(reversed(self.chosen)))
        object.__setattr__(self, "alphas", cumulative[[*self.chosen]])

    def _levels(self, index: int) -> tuple[float, float, float]:
        """Cumulative alpha before and after step `index`, and the beta between."""
        place = len(self.alphas) - 1 - index
        alpha = float(self.alphas[place])
        after = float(self.alphas[place - 1]) if place else 1.0
        return alpha, after, 1 - alpha / after

    def at(self, index: int) -> NoiseLevel:
        """How noisy x_t is before step `index`."""
        alpha = torch.tensor(self._levels(index)[0], dtype=torch.float64)
        return NoiseLevel(self.timesteps[index], alpha)

    def scaled(self, x: Tensor, index: int) -> Tensor:
        """The sample itself."""
        return x

    def x0(self, x: Tensor, eps: Tensor, index: int) -> Tensor:
        """x_0 of a noise prediction at x, both (1, 3, h, w), before step `index`."""
        alpha = self._levels(index)[0]
        return (1 / alpha) ** 0.5 * x - (1 / alpha - 1) ** 0.5 * eps

    def mean(self, x0: Tensor, x: Tensor, index: int) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0), (1, 3, h, w)."""
        alpha, after, beta = self._levels(index)
        of_x0 = beta * after**0.5 / (1 - alpha)
        of_x = (1 - after) * (1 - beta) ** 0.5 / (1 - alpha)
        return of_x0 * x0 + of_x * x

    def log_variance(self, place: Tensor, index: int) -> Tensor:
        """(1, 3, h, w): between log beta-tilde (where `place` is -1) and log beta (where it is 1).

        Not of the last step, which adds no noise: its beta-tilde is 0.
        """
        alpha, after, beta = self._levels(index)
        low = math.log(beta * (1 - after) / (1 - alpha))
        share = (place + 1) / 2
        return share * math.log(beta) + (1 - share) * low

    def step(self, state: State, guided: Guided, noise: Tensor | None) -> Stepped:
        """x_t to x_{t-1}.

        Args:
            guided: its output has 6 channels: the noise, and where the variance lies.
            noise: (1, 3, h, w); None draws it.
        """
        mean = self.mean(guided.x0, state.latents, state.index)
        if state.index == len(self.timesteps) - 1:
            return Stepped(mean, state.rng, 0.0)
        rng = state.rng
        if noise is None:
            noise, rng = draw(state.latents, rng)
        deviation = torch.exp(0.5 * self.log_variance(guided.output[:, 3:], state.index))
        return Stepped(mean + deviation * noise, rng, float(deviation.mean()))

    def noised(self, x0: Tensor, noise: Tensor, index: int) -> Tensor:
        """A picture x0 with as much noise as x_t has before step `index`, (1, 3, h, w)."""
        alpha = self._levels(index)[0]
        return alpha**0.5 * x0 + (1 - alpha) ** 0.5 * noise
