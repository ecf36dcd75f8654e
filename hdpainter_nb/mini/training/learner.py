"""What the training of any denoiser shares: command line, optimiser, average, annealing."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from hdpainter_nb.mini.training.parallel import Team
from hdpainter_nb.utils.files import replacing


def options(
    doc: str | None, *, minutes: float, out: Path, rate: float, warm_rows: int
) -> ArgumentParser:
    """The command line of a training, as far as all of them have it, with these defaults."""
    parser = ArgumentParser(description=doc)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--work", type=Path, default=Path("runs/mini"))
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-steps", type=int, default=10**9)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--last-rate", type=float, default=1e-5)
    parser.add_argument("--warm-rows", type=int, default=warm_rows)
    return parser


class Learner:
    """Networks by name, their moving average and their optimiser; goes on from a checkpoint.

    Attributes:
        step, seen: optimiser steps, and examples of all processes, in all runs so far.
        resumed: whether there was a checkpoint.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], rate: float, average: float, checkpoint: Path
    ) -> None:
        self.networks, self.average, self.checkpoint = dict(networks), average, checkpoint
        owned = (p for network in networks.values() for p in network.parameters())
        self.parameters = [p for p in owned if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, rate, (0.9, 0.99), weight_decay=1e-3, fused=True
        )
        self.step, self.seen = 0, 0
        self.resumed = checkpoint.exists()
        if self.resumed:
            state = torch.load(
                checkpoint, map_location=self.parameters[0].device, weights_only=True
            )
            for name, network in self.networks.items():
                network.load_state_dict(state[name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seen = int(state["step"]), int(state["seen"])
        self.remember()

    def remember(self) -> None:
        """Begin the moving average at the present weights."""
        self.ema = [p.detach().clone() for p in self.parameters]

    def update(self, loss: Tensor, rate: float) -> None:
        """One optimiser step."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.average, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_mul_(self.ema, keep)
            torch._foreach_add_(self.ema, [p.detach() for p in self.parameters], alpha=1 - keep)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the networks hold their averaged weights."""
        raw = [p.detach().clone() for p in self.parameters]
        self._put(self.ema)
        try:
            yield
        finally:
            self._put(raw)

    def save(self) -> None:
        """Write the averaged weights and the optimiser's state, which a new run goes on from."""
        with self.averaged():
            state: dict[str, object] = {n: x.state_dict() for n, x in self.networks.items()}
            state |= {"optimizer": self.optimizer.state_dict()}
            state |= {"step": self.step, "seen": self.seen}
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.checkpoint) as part:
                torch.save(state, part)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


def chances(alphas: Tensor, most: float = 5.0, least: float = 0.12) -> Tensor:
    """How often to draw each timestep: less often where little noise is left (SNR above `most`).

    With v-prediction this is the weighting of Hang et al. (arXiv 2303.09556) put into the draw; at
    high noise, where v asks for the picture itself, nothing is taken away. `alphas` `(T,)`:
    cumulative.
    """
    ratio = alphas / (1 - alphas)
    return (ratio.clamp_max(most) / ratio).clamp_min(least)


class Plan(Protocol):
    """What `anneal` needs to know of a run."""

    @property
    def minutes(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def last_rate(self) -> float: ...
    @property
    def batch(self) -> int: ...
    @property
    def meet_every(self) -> int: ...
    @property
    def export_every(self) -> float: ...
    @property
    def max_steps(self) -> int: ...


def anneal(
    team: Team,
    plan: Plan,
    learner: Learner,
    learn: Callable[[float, float], tuple[Tensor, ...]],
    save: Callable[[], None],
) -> None:
    """Train until the plan's minutes are over; the rate falls along a cosine of wall-clock time.

    `learn(rate, share)` makes one step and returns its losses; `share` of the time is over.
    """
    first, share, told = learner.step, 0.0, 0.0
    losses: list[tuple[Tensor, ...]] = []
    start = team.elapsed()
    while True:
        done = learner.step - first
        finished = done >= plan.max_steps
        if finished or done % plan.meet_every == 0:
            if done:
                team.average(learner.parameters)
            now = team.elapsed()
            share = (now - start) / max(60 * plan.minutes - start, 1)
            if share >= 1 or finished:
                break
            if team.leads and now - told > plan.export_every:
                told = now
                if done:
                    save()
        warm = min(1.0, (done + 1) / 60)
        rate = plan.rate * warm * (0.5 + 0.5 * math.cos(math.pi * share)) + plan.last_rate
        losses.append(learn(rate, share))
        learner.seen += plan.batch * team.size
        if team.leads and (done + 1) % 50 == 0:
            columns = (torch.stack(x) for x in zip(*losses, strict=True))
            means = " ".join(f"{column.mean():.4f}" for column in columns)
            left = plan.minutes * (1 - share)
            print(f"{time.strftime('%H:%M:%S')} step {learner.step} seen {learner.seen} losses "
                  f"{means} rate {rate:.1e} left {left:.1f} min", flush=True)  # fmt: skip
            losses.clear()
    if team.leads:
        save()
