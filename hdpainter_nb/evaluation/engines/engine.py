"""What every engine is behind: pieces of work in, their outcomes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Engine", "Outcome", "Task", "Worker"]


@dataclass(frozen=True)
class Task:
    """Some triplets of one size for one system under one seed: what is painted at once."""

    system: str
    seed: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        task: what was asked for.
        error: why it failed, in a sentence; empty where it did not.
        fatal: whether the next task would fail for the same reason, as on a full disk.
        seconds: it took.
    """

    task: Task
    error: str = ""
    fatal: bool = False
    seconds: float = 0.0


class Worker(Protocol):
    """Does tasks in a process of its own; what it makes goes into files, so that it may die.

    It is pickled to get there.
    """

    def do(self, task: Task) -> Outcome:
        """Do a task, or say why it failed. Doing one again that was done changes nothing."""


class Engine(Protocol):
    """Has tasks done."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""

    def run(self, worker: Worker, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes as they come in, each task once.

        A task whose worker dies is given to another one; after some tries it counts as failed.
        When the iterator is closed early nothing of the engine is left running.
        """
