"""Runners that begin a new run by themselves when another picture, mask or prompt is wanted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.runner import Runner, SyncRunner, wants_sync
from hdpainter_widgets.runner.state import SamplerLike
from hdpainter_widgets.runner.threads import turns_of

__all__ = [
    "BaseRestartingRunner",
    "BaseSharedTurnRunner",
    "PendingSampler",
    "RestartingRunner",
    "RestartingSyncRunner",
    "SharedTurnRunner",
    "SharedTurnSyncRunner",
    "restarting_runner",
    "shared_turn_runner",
]


class PendingSampler:
    """Stands where a sampler will: nothing is encoded yet, and no step can be taken.

    Args:
        model: what the run will be made with; its identity decides who takes turns.
        image, mask: (H, W, 3) uint8 and (H, W) bool, for those who show the trace.
        steps: how many there will be.
    """

    job = settings = None
    index = 0
    done = False
    # Where a sampler stands in its trace; viewers find no such node and no such branch there.
    node = SimpleNamespace(id=-1)
    branch_id = 0

    def __init__(self, model: Any, image: Any, mask: Any, steps: int) -> None:
        self.model = model
        self.total = steps
        self.trace = Trace(image=image, mask=mask, model=str(getattr(model, "name", "")))
        self.records: tuple[Any, ...] = ()

    def step(self) -> Any:
        """Raises: no run has begun."""
        raise SettingsError("No run has begun yet: press ▶ to begin one.")

    def back(self, n: int = 1, /) -> PendingSampler:
        """Does nothing; for the sampler's interface."""
        return self

    def goto(self, place: Any, /) -> PendingSampler:
        """Does nothing; for the sampler's interface."""
        return self

    def restart(self) -> PendingSampler:
        """Does nothing; for the sampler's interface."""
        return self

    def branch(self, **changes: Any) -> PendingSampler:
        """Raises: no run has begun."""
        raise SettingsError("No run has begun yet: change the settings and press ▶.")

    def cancel(self) -> None:
        """Does nothing: no step is under way."""

    def __repr__(self) -> str:
        return f"PendingSampler(not begun, {self.total} steps)"


class BaseRestartingRunner(BaseRunner):
    """Asks before it steps whether another sampler is wanted, and goes on with that one."""

    renew: Callable[[SamplerLike], SamplerLike | None] | None = None
    """Called by the worker as ``renew(sampler)``, in the model's turn, whenever steps are asked
    for; gives the sampler to go on with, or None for the same. What it raises stops the run."""

    def prepare(self) -> None:
        """Ask for another sampler now, without taking a step."""
        self._enqueue(self._prepared)

    def _prepared(self) -> None:
        if self._renewed():
            self._failure = None
            self._tell()

    def _aim(self, steps: float) -> None:
        if not steps or self._renewed():
            super()._aim(steps)

    def _renewed(self) -> bool:
        """Whether there is a sampler to go on with."""
        if self.renew is None:
            return True
        try:
            with self._turns.take():
                fresh = self.renew(self._sampler)
        except Exception as error:
            self._fail(error)
            return False
        if fresh is not None:
            self._left = 0.0
            self._sampler = fresh
            self._turns = turns_of(fresh.model)
            self._times.clear()
        return True


class RestartingRunner(BaseRestartingRunner, Runner):
    """With threads."""


class RestartingSyncRunner(BaseRestartingRunner, SyncRunner):
    """In the caller's thread."""


class BaseSharedTurnRunner(BaseRestartingRunner):
    """Works in the turns of another runner, though its model is another one.

    Two models that work at once share the memory and the processors; in turns, each step has all.

    Args:
        sampler: what to work on.
        host: whose turns are waited for, step by step.
    """

    def __init__(self, sampler: SamplerLike, host: BaseRunner) -> None:
        self.host = host
        super().__init__(sampler)

    def _carry_out(self, command: Callable[[], object]) -> None:
        with self.host.turns.take():
            super()._carry_out(command)


class SharedTurnRunner(BaseSharedTurnRunner, RestartingRunner):
    """With threads."""


class SharedTurnSyncRunner(BaseSharedTurnRunner, RestartingSyncRunner):
    """In the caller's thread."""


def restarting_runner(sampler: SamplerLike) -> BaseRestartingRunner:
    """As `runner_for`: with threads unless the environment says ``HDPAINTER_SYNC=1``."""
    return RestartingSyncRunner(sampler) if wants_sync() else RestartingRunner(sampler)


def shared_turn_runner(sampler: SamplerLike, host: BaseRunner) -> BaseSharedTurnRunner:
    """In the turns of `host`: with threads where that has some."""
    kind = SharedTurnSyncRunner if isinstance(host, SyncRunner) else SharedTurnRunner
    return kind(sampler, host)
