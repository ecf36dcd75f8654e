"""Actors of a Ray cluster: the engine past one machine."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.engines.engine import Outcome, Task, Worker
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["RayEngine"]


@checked
@dataclass(frozen=True)
class RayEngine:
    """One Ray actor for each GPU of a cluster; an actor that dies is started again elsewhere.

    The run's folder must be the same path on every machine (a shared file system), and so must
    what the triplets are read from. The library must be installed there.

    Args:
        address: of a cluster (``auto``, ``ray://host:10001``); None starts one on this machine for
            the time of the run.
        actors: how many; None: one for each GPU that the cluster has, or one.
        gpus: of each actor; None: one where the cluster has any, else none.
        tries: how often a task is begun before it counts as failed.

    Raises:
        SettingsError: a number is none from 1.
    """

    address: str | None = None
    actors: int | None = None
    gpus: float | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        between("tries", self.tries, 1, 100, integer=True)
        if self.actors is not None:
            between("actors", self.actors, 1, 4096, integer=True)
        if self.gpus is not None:
            between("gpus", self.gpus, 0, 64)

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""
        return {"engine": "ray", "address": self.address or "this machine"}

    def run(self, worker: Worker, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes as they come in.

        Raises:
            EvaluationError: Ray is not installed, or the cluster cannot be reached.
        """
        ray = _ray()
        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            yield from self._outcomes(ray, worker, deque(tasks))
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if self.address is None:
            # A cluster of this process alone: without a token in the home folder, without a page,
            # and its processes find what this one finds.
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            paths = os.pathsep.join(path for path in sys.path if path)
            options |= {
                "include_dashboard": False,
                "num_cpus": max(os.cpu_count() or 1, self.actors or 1),
                "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
            }
        else:
            options["address"] = self.address
        # Ray waits half a minute for its own processes, which a busy machine may need longer for.
        attempts = 1 if self.address else 3
        for left in reversed(range(attempts)):
            try:
                ray.init(**options)
                return
            except Exception as error:  # ConnectionError, ValueError, RuntimeError by its version
                ray.shutdown()
                if left:
                    continue
                line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                where = f"at {self.address!r} " if self.address else ""
                raise EvaluationError(f"A Ray cluster {where}cannot be reached: {line}") from error

    def _outcomes(self, ray: Any, worker: Worker, waiting: deque[Task]) -> Iterator[Outcome]:
        available = int(ray.cluster_resources().get("GPU", 0))
        gpus = self.gpus if self.gpus is not None else float(available > 0)
        count = min(self.actors or max(int(available / gpus) if gpus else 1, 1), len(waiting))
        Actor = ray.remote(num_gpus=gpus, num_cpus=1, max_restarts=-1)(_Actor)
        # Ray tries nothing again by itself, and a task is done again at no risk: what it made
        # before its actor died is there.
        options = {"max_task_retries": self.tries - 1}
        actors = [Actor.options(**options).remote(worker) for _ in range(count)]
        running: dict[Any, tuple[Task, Any]] = {}
        idle = deque(actors)
        try:
            while waiting or running:
                while waiting and idle:
                    actor, task = idle.popleft(), waiting.popleft()
                    running[actor.do.remote(task)] = (task, actor)
                (reference,), _ = ray.wait(list(running), num_returns=1)
                task, actor = running.pop(reference)
                idle.append(actor)
                yield self._outcome(ray, reference, task)
        finally:
            for actor in actors:
                ray.kill(actor)

    def _outcome(self, ray: Any, reference: Any, task: Task) -> Outcome:
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Outcome(task, f"its actor died {self.tries} times ({line})")
        return outcome


class _Actor:
    """Holds a worker, and with it a model, from task to task."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def do(self, task: Task) -> Outcome:
        """Do a task."""
        return self._worker.do(task)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise EvaluationError(
            "The engine 'ray' needs Ray: pip install 'hdpainter-nb[ray]'."
        ) from error
    return ray
