"""Noised latents, and what a denoiser is to say about them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdpainter_nb.mini.training import networks
from hdpainter_nb.mini.training.learner import chances

__all__ = ["Noising", "colour_cast", "place_weighted"]

_FIRST = 960  # the timesteps from here on are drawn more often
_ALONE = 0.6  # this share of the miniature's blind examples is noise alone


class Noising:
    """Draws timesteps and noise for batches of latents.

    Args:
        scheduler: of diffusers; its noise schedule, and whether v or epsilon is predicted.
        device: of the latents.
    """

    def __init__(self, scheduler: Any, device: torch.device) -> None:
        cumulative = scheduler.alphas_cumprod.to(device)
        self.signal, self.noise = cumulative.sqrt(), (1 - cumulative).sqrt()
        self.chances = torch.ones_like(cumulative)
        self.alone, self.blind = 0.0, len(cumulative)
        self.predicts = str(scheduler.config.prediction_type)

    @classmethod
    def of_miniature(cls, device: torch.device, first: float, blind: int = _FIRST) -> Noising:
        """As the miniature needs it: timesteps by `chances`, and its first ones mostly blind.

        Sampling begins with nothing but noise, whereas even the schedule's last timestep lets 7 %
        of the picture through: enough for a network to look for its objects there, and to leave
        the hole empty when noise shows none (Lin et al., arXiv 2305.08891). So most examples of
        the first timesteps of sampling are noise alone.

        Args:
            device: of the latents.
            first: how much more often than others the timesteps from 960 on are drawn.
            blind: from this timestep on.
        """
        noising = cls(networks.new_scheduler(), device)
        noising.chances = chances(noising.signal.square())
        noising.chances[_FIRST:] *= first
        noising.alone, noising.blind = _ALONE, blind
        return noising

    def __call__(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Noised latents `(b, 4, h, w)` of clean ones, and their timesteps `(b,)`."""
        time = torch.multinomial(self.chances, len(clean), replacement=True)
        noise = torch.randn_like(clean)
        noisy = self._of(self.signal, time) * clean + self._of(self.noise, time) * noise
        chosen = torch.rand(len(clean), device=clean.device) < self.alone
        blind = (time >= self.blind) & chosen
        return torch.where(blind.view(-1, 1, 1, 1), noise, noisy), time

    def goal(self, clean: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """What the network is to predict at x_t = `noisy`, epsilon or v, whatever x_t contains.

        The velocity is sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans and Ho, arXiv 2202.00512).
        With nearly pure noise that asks for the picture itself, in the known region too, where
        predicting eps lets a colour cast pass unnoticed.
        """
        signal, noise = self._of(self.signal, time), self._of(self.noise, time)
        if self.predicts == "epsilon":
            return (noisy - signal * clean) / noise
        return (signal * noisy - clean) / noise

    @staticmethod
    def _of(values: Tensor, time: Tensor) -> Tensor:
        return values[time].view(-1, 1, 1, 1)


def place_weighted(miss: Tensor, weight: Tensor) -> Tensor:
    """Mean square, weighted by place `(b, 1, h, w)`, of errors `(b, 4, h, w)`."""
    total = (miss.square().mean(1, keepdim=True) * weight).sum((1, 2, 3))
    return (total / weight.sum((1, 2, 3))).mean()


def colour_cast(miss: Tensor, weight: Tensor) -> Tensor:
    """The same of the errors averaged over 4 x 4 latents."""
    return place_weighted(F.avg_pool2d(miss, 4), F.avg_pool2d(weight, 4))
