"""A runner that begins a new run by itself when another picture, mask or prompt is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

from hdpainter_nb.errors import HDPainterError, SettingsError
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.runner import Runner, SyncRunner, wants_sync
from hdpainter_widgets.runner.state import SamplerLike
from hdpainter_widgets.runner.threads import turns_of

__all__ = [
    "DecodeEachStep",
    "Draft",
    "Guest",
    "Renewing",
    "RenewingRunner",
    "RenewingSyncRunner",
    "ask",
    "guest_runner",
    "renewing_runner",
]

T = TypeVar("T")


class Draft:
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
        self.trace = Trace(image, mask, model=str(getattr(model, "name", "")))
        self.records: tuple[Any, ...] = ()

    def step(self) -> Any:
        """Refuse."""
        raise SettingsError("No run has begun yet: press ▶ to begin one.")

    def back(self, n: int = 1, /) -> Draft:
        """Stay."""
        return self

    def restart(self) -> Draft:
        """Stay."""
        return self

    def branch(self, **changes: Any) -> Draft:
        """Refuse."""
        raise SettingsError("No run has begun yet: change the settings and press ▶.")

    def cancel(self) -> None:
        """Do nothing: no step is under way."""

    def __repr__(self) -> str:
        return f"Draft(not begun, {self.total} steps)"


class Renewing(BaseRunner):
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


class RenewingRunner(Renewing, Runner):
    """With threads."""


class RenewingSyncRunner(Renewing, SyncRunner):
    """In the caller's thread."""


class Guest(Renewing):
    """Works in the turns of another runner, though its model is another one.

    Two models that work at once share the memory and the processors; in turns, each step has all.

    Args:
        sampler: what to work on.
        host: whose turns are waited for, step by step.
    """

    def __init__(self, sampler: SamplerLike, host: BaseRunner) -> None:
        self._host = host
        super().__init__(sampler)

    def _enqueue(self, command: Callable[[], object]) -> bool:
        hosted = partial(self._hosted, command)
        return super()._enqueue(hosted)  # type: ignore[safe-super]  # a runner is beside it

    def _advance(self) -> None:
        self._hosted(super()._advance)

    def _hosted(self, work: Callable[[], object]) -> None:
        with self._host._turns.take():
            work()


class GuestRunner(Guest, RenewingRunner):
    """With threads."""


class GuestSyncRunner(Guest, RenewingSyncRunner):
    """In the caller's thread."""


class DecodeEachStep:
    """Decodes each step's picture at once, where that takes less than half of what a step takes.

    Serves as a runner's `after_step`.

    Attributes:
        cost: what the last one took, in seconds; 0 has the next one tried.
    """

    def __init__(self, runner: BaseRunner) -> None:
        self._runner = runner
        self.cost = 0.0

    def __call__(self, sampler: Any, record: Any) -> None:
        """Called by the worker after a step."""
        pace = self._runner.state.seconds_per_step or 0.0
        if self.cost <= 0.5 * pace:
            start = time.perf_counter()
            sampler.trace.pictures[sampler.node.id] = sampler.decoded(record)
            self.cost = time.perf_counter() - start


def ask(runner: BaseRunner, work: Callable[[Any], T]) -> T:
    """Have the worker do ``work(sampler)`` and wait for it.

    What the work raises is raised here, and does not stop the run.
    """

    def tried(sampler: Any) -> Callable[[], T]:
        try:
            found = work(sampler)
        except (HDPainterError, OSError) as error:
            refused = error

            def fail() -> T:
                raise refused

            return fail
        return lambda: found

    return runner.do(tried).result()()


def renewing_runner(sampler: SamplerLike) -> Renewing:
    """As `runner_for`: with threads unless the environment says ``HDPAINTER_SYNC=1``."""
    return RenewingSyncRunner(sampler) if wants_sync() else RenewingRunner(sampler)


def guest_runner(sampler: SamplerLike, host: BaseRunner) -> Guest:
    """A `Guest` of `host`: with threads where that has some."""
    return (GuestSyncRunner if isinstance(host, SyncRunner) else GuestRunner)(sampler, host)
