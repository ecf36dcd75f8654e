"""What a runner tells of its sampler: how far it is, what it does, what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from hdpainter_nb.errors import HDPainterError
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.runner.threads import call_safely

__all__ = ["Failure", "Listeners", "RunState", "SamplerLike", "Status", "trace_key"]


class SamplerLike(Protocol):
    """The part of `hdpainter_nb.Sampler` that a runner needs."""

    @property
    def model(self) -> Any:
        """What two samplers may share; its identity decides who takes turns."""

    @property
    def index(self) -> int:
        """Steps taken."""

    @property
    def total(self) -> int:
        """Steps of the whole run."""

    @property
    def done(self) -> bool:
        """Whether no step is left."""

    @property
    def records(self) -> Sequence[Any]:
        """The records of the steps taken."""

    @property
    def trace(self) -> Trace:
        """Every step taken, over all branches."""

    @property
    def node(self) -> Any:
        """Where it stands in the trace."""

    @property
    def branch_id(self) -> int:
        """The branch that its next step belongs to."""

    def step(self) -> Any:
        """Take one step and give its record."""

    def back(self, n: int = 1, /) -> Any:
        """Undo n steps."""

    def goto(self, place: Any, /) -> Any:
        """Go to a step that was made: a node of its path, or how many steps are made there."""

    def branch(self, **changes: Any) -> Any:
        """A sampler that goes on from here with other settings."""

    def restart(self) -> Any:
        """Go back before the first step."""

    def cancel(self) -> None:
        """Have the step under way raise `SamplingCancelled`; called from another thread."""


class Status(StrEnum):
    """What a runner is doing."""

    IDLE = "idle"  # not begun, or at the end
    RUNNING = "running"
    PAUSED = "paused"  # somewhere in between
    ERROR = "error"


@dataclass(frozen=True)
class Failure:
    """What went wrong, and what to do about it."""

    error: Exception
    remedy: str

    @property
    def message(self) -> str:
        """One text for people: what happened, then the remedy."""
        name = type(self.error).__name__
        text = str(self.error).strip()
        return f"{name}: {text}\n{self.remedy}" if text else f"{name}\n{self.remedy}"

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The failure with a remedy that fits it."""
        error = _explained(error)
        remedy = "The steps before are kept."
        if not isinstance(error, HDPainterError):  # these say themselves what to do
            remedy += " Step again, go back a step, or restart."
        return cls(error, remedy)


def _explained(error: Exception) -> Exception:
    """The error; the library's own where memory ran out in what the library does not watch."""
    if isinstance(error, HDPainterError):
        return error
    from hdpainter_nb.utils.memory import explain_out_of_memory

    try:
        with explain_out_of_memory(lambda: _LIGHTER):
            raise error
    except Exception as explained:
        return explained


_LIGHTER = (
    "Memory ran out: make the picture smaller (long_side=512), keep less (a smaller capture), or "
    "close other models; then step again."
)


def trace_key(trace: object) -> str:
    """What tells one trace from another that takes its place on a page."""
    return "" if trace is None else f"{id(trace):x}"


@dataclass(frozen=True)
class RunState:
    """What a runner is doing at one moment."""

    status: Status
    index: int
    """Steps taken."""
    total: int
    """Steps of the whole run."""
    seconds_per_step: float | None
    """Median of the last steps' wall-clock time; None before the first."""
    failure: Failure | None = None
    """What stopped the run, while the status is ``error``."""
    node: int = -1
    """Where the sampler stands in its trace."""
    branch: int = 0
    """The branch that its next step belongs to."""
    serial: int = 0
    """Counts what the runner has told; a lower one is older."""
    trace: str = ""
    """Names the trace that `node` and `branch` are of, as `trace_key` does."""

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.index >= self.total

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the run at the present pace; None before the first step."""
        if self.seconds_per_step is None:
            return None
        return self.seconds_per_step * (self.total - self.index)


class Listeners:
    """Functions by event; adding, removing and telling may happen on any threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, list[Callable[[Any], object]]] = {}

    def add(self, event: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Add a listener; gives a function that removes it."""
        with self._lock:
            self._all.setdefault(event, []).append(listener)

        def remove() -> None:
            with self._lock:
                if listener in self._all[event]:
                    self._all[event].remove(listener)

        return remove

    def notify(self, event: str, value: object) -> None:
        """Call the event's listeners, in the order in which they were added."""
        with self._lock:
            listeners = list(self._all.get(event, ()))
        for listener in listeners:
            call_safely(partial(listener, value))
