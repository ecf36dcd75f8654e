"""A run that goes on after any end as if there had been none, on one device or several.

All that a step draws at random is decided by its number, so weights, their average and the
optimiser are the whole state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.utils.files import replacing

__all__ = ["Budget", "ExactRun"]


@dataclass(frozen=True)
class Budget:
    """How long to train: so many optimiser steps or, without, so many minutes of all runs."""

    steps: int | None
    minutes: float
    rate: float
    last_rate: float
    warm: int = 60  # steps

    def share(self, step: int, seconds: float) -> float:
        """How much of it is over, 0 to 1."""
        over = step / self.steps if self.steps else seconds / max(60 * self.minutes, 1e-6)
        return min(over, 1.0)

    def rate_at(self, step: int, share: float) -> float:
        """The learning rate: a short rise, then half a cosine."""
        rise = min(1.0, (step + 1) / self.warm)
        return self.rate * rise * (0.5 + 0.5 * math.cos(math.pi * share)) + self.last_rate


class ExactRun:
    """A network in training under `accelerate`: its optimiser, moving average and checkpoint.

    Args:
        accelerator: devices, mixed precision, accumulation of gradients.
        network: in float32, which mixed precision needs.
        checkpoint: file; where it is, the run goes on from it.
        seed: of every random number, with the step's.
        decay: of the moving average, per step.

    Raises:
        SettingsError: the checkpoint is damaged or another network's.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        checkpoint: Path,
        *,
        seed: int,
        decay: float,
    ) -> None:
        self.accelerator, self.checkpoint, self.seed = accelerator, checkpoint, seed
        optimizer = torch.optim.AdamW(network.parameters(), 1e-4, (0.9, 0.99), weight_decay=1e-3)
        self.step, self.seconds = 0, 0.0
        state = self._read(network, optimizer)
        self.average = EMAModel(network.parameters(), decay=decay)
        if state is not None:
            self.average.load_state_dict(state["average"])
        self.average.to(accelerator.device)
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        if state is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])

    def _read(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(
                self.checkpoint, map_location="cpu", weights_only=True
            )
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except Exception as error:  # torch raises what it likes on a damaged or foreign file
            raise SettingsError(
                f"The checkpoint {str(self.checkpoint)!r} is damaged or another network's; remove "
                f"it to begin anew. ({type(error).__name__})"
            ) from error
        return state

    @property
    def bare(self) -> Any:
        """The network without what `accelerate` wraps around it."""
        return self.accelerator.unwrap_model(self.network)

    def learn(self, loss: Callable[[], tuple[Tensor, ...]], rate: float) -> tuple[Tensor, ...]:
        """One optimiser step over as many micro-batches as gradients are accumulated.

        Args:
            loss: of the next micro-batch: what is descended, and its parts.
            rate: of this step.

        Returns:
            The parts, means over the micro-batches.
        """
        accelerator, seen = self.accelerator, []
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for micro in range(accelerator.gradient_accumulation_steps):
            self._reseed(micro)
            with accelerator.accumulate(self.network):
                total, *parts = loss()
                accelerator.backward(total)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
            seen.append([part.detach() for part in parts])
        self.step += 1
        self.average.step(self.bare.parameters())
        return tuple(torch.stack(part).mean() for part in zip(*seen, strict=True))

    def _reseed(self, micro: int) -> None:
        """Noise and timesteps of a micro-batch, the same however the run came to it."""
        place = (self.step * 4096 + micro) * 4096 + self.accelerator.process_index
        torch.manual_seed((self.seed * 1_000_003 + place) % 2**63)

    @contextmanager
    def averaged(self) -> Iterator[Any]:
        """Inside, the network, given without its wraps, holds its averaged weights."""
        bare = self.bare
        self.average.store(bare.parameters())
        self.average.copy_to(bare.parameters())
        try:
            yield bare
        finally:
            self.average.restore(bare.parameters())

    def save(self) -> None:
        """Write the checkpoint; a killed process leaves the one before."""
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "network": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.checkpoint) as part:
            torch.save(state, part)

    def run(
        self,
        budget: Budget,
        loss: Callable[[], tuple[Tensor, ...]],
        *,
        save: Callable[[], None],
        save_every: int,
        told: Callable[[str], None],
        tell_every: int = 50,
    ) -> None:
        """Train until the budget is spent; the checkpoint and `save` every so many steps.

        Args:
            budget: steps or minutes, those of earlier runs included.
            loss: see `learn`.
            save: what else is to be written, such as an export.
            save_every: steps.
            told: gets a line of progress, with the time that is left.
            tell_every: steps.
        """
        began, before = time.monotonic(), self.seconds
        first, losses = self.step, []
        while (share := budget.share(self.step, self.seconds)) < 1:
            rate = budget.rate_at(self.step, share)
            losses.append(self.learn(loss, rate))
            self.seconds = before + time.monotonic() - began
            if self.step % tell_every == 0:
                means = [float(torch.stack(part).mean()) for part in zip(*losses, strict=True)]
                losses.clear()
                told(self._line(budget, means, rate, (self.seconds - before, self.step - first)))
            if self.step % save_every == 0:
                self.save()
                save()
        self.save()
        save()

    def _line(
        self, budget: Budget, losses: list[float], rate: float, pace: tuple[float, int]
    ) -> str:
        """A line of progress; `pace` is seconds and steps of this run."""
        left = 60 * budget.minutes - self.seconds
        if budget.steps:
            left = (budget.steps - self.step) * pace[0] / max(pace[1], 1)
        means = " ".join(f"{value:.4f}" for value in losses)
        clock = time.strftime("%H:%M:%S")
        return f"{clock} step {self.step} losses {means} rate {rate:.1e} left {left / 60:.1f} min"
