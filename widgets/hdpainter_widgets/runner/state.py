"""What a runner works on and what it reports: samplers, states, failures, listeners."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from hdpainter_nb.errors import HDPainterError
from hdpainter_widgets.runner.threads import call_safely

__all__ = ["Failure", "Listeners", "RunState", "SamplerLike", "Status", "let_go", "out_of_memory"]


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

    def step(self) -> Any:
        """Take one step and give its record."""

    def back(self, n: int = 1, /) -> Any:
        """Undo n steps."""

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
        said = str(self.error).strip()
        return f"{name}: {said}\n{self.remedy}" if said else f"{name}\n{self.remedy}"

    @classmethod
    def of(cls, error: Exception, sampler: Any = None) -> Failure:
        """The failure with a remedy that fits it.

        Args:
            error: what was raised.
            sampler: what it was raised by; with it the remedy for want of memory has numbers.
        """
        kept = "The steps before are kept."
        if isinstance(error, HDPainterError):  # these say themselves what to do
            return cls(error, kept)
        if out_of_memory(error):
            return cls(error, f"{kept} {_lighter(error, sampler)}")
        return cls(error, f"{kept} Step again, go back a step, or restart.")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in the computer or on its accelerator."""
    named = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return named or "out of memory" in str(error).lower()


def let_go(error: BaseException) -> None:
    """Empty the frames that the error has come through.

    They hold every tensor of the step that failed; as long as the error is kept to be shown, so
    would they be, and the next attempt would find as little memory.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


_SIDES = (64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096)


def _lighter(error: Exception, sampler: Any) -> str:
    """What to lower when memory has run out, and by how much."""
    settings = getattr(sampler, "settings", None)
    side = max(getattr(getattr(sampler, "cond", None), "size", (0, 0)))
    smaller = [n for n in _SIDES if n <= 0.75 * side]
    if settings is None or not smaller:
        return (
            "Memory ran out: make the picture smaller (long_side=512), keep less "
            "(a smaller capture), or close other models; then step again."
        )
    less = smaller[-1]
    says = (
        f"Memory ran out at {side} px: a new run with long_side={less} needs about "
        f"{(less / side) ** 2:.0%} of the memory for what the layers hold, which grows with the "
        "picture's area."
    )
    if getattr(settings, "rasg", False):
        says += (
            " Or go on from here with rasg=False: without its gradient nothing of a step is held "
            "until its end."
        )
    if isinstance(error, MemoryError):
        says += " Or keep less of each step: capture=Capture.nothing()."
    return says + " Other models in this kernel take their share too."


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

    def warn_user(self, event: str, value: object) -> None:
        """Call the event's listeners, in the order in which they were added."""
        with self._lock:
            listeners = list(self._all.get(event, ()))
        for listener in listeners:
            call_safely(partial(listener, value))
