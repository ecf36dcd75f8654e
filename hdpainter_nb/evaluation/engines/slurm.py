"""Jobs of a Slurm cluster, handed in through submitit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.engines.engine import Outcome, Task, Worker
from hdpainter_nb.utils.check import between, one_of
from hdpainter_nb.utils.checked import checked

__all__ = ["SlurmEngine"]


@checked
@dataclass(frozen=True)
class SlurmEngine:
    """An array of Slurm jobs, each of which does its part of the tasks.

    A job that is preempted or runs out of time is queued again by Slurm and goes on with what it
    has not made. The run's folder must lie on a file system that all nodes share.

    Args:
        log_folder: where submitit keeps its files and the jobs' output.
        jobs: how many.
        cluster: ``slurm``, or ``local`` for processes of this machine (for trying it out).
        parameters: of submitit's executor: ``timeout_min``, ``slurm_partition``,
            ``gpus_per_node`` (1 by default) ...
        tries: how often a job that failed is handed in.
        poll: seconds between two looks at the jobs.

    Raises:
        SettingsError: a number out of its range, or another cluster.
    """

    log_folder: str
    jobs: int = 4
    cluster: str = "slurm"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 3
    poll: float = 5.0

    def __post_init__(self) -> None:
        between("jobs", self.jobs, 1, 10_000, integer=True)
        between("tries", self.tries, 1, 100, integer=True)
        between("poll", self.poll, 0.01, 3600)
        one_of("cluster", self.cluster, ("slurm", "local"))

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""
        return {"engine": "slurm", "jobs": self.jobs, **self.parameters}

    def run(self, worker: Worker, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes, those of a job when it ends.

        Raises:
            EvaluationError: submitit is not installed, or there is no Slurm.
        """
        executor = self._executor()
        parts = [list(tasks[n :: self.jobs]) for n in range(self.jobs)]
        waiting = [(_Chunk(), worker, part, 1) for part in parts if part]
        running: list[tuple[Any, Worker, list[Task], int]] = []
        try:
            while waiting or running:
                for chunk, given, part, number in waiting:
                    running.append((executor.submit(chunk, given, part), given, part, number))
                waiting = []
                ended = [entry for entry in running if entry[0].done()]
                running = [entry for entry in running if entry not in ended]
                for job, given, part, number in ended:
                    error = job.exception()
                    if error is None:
                        yield from job.result()
                    elif number < self.tries:
                        waiting.append((_Chunk(), given, part, number + 1))
                    else:
                        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                        for task in part:
                            yield Outcome(task, f"its job failed {number} times ({line})")
                if running and not ended:
                    time.sleep(self.poll)
        finally:
            for job, *_ in running:
                job.cancel()

    def _executor(self) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise EvaluationError(
                "The engine 'slurm' needs submitit: pip install 'hdpainter-nb[slurm]'."
            ) from error
        Path(self.log_folder).mkdir(parents=True, exist_ok=True)
        try:
            executor = submitit.AutoExecutor(self.log_folder, cluster=self.cluster)
            defaults = {"gpus_per_node": 1} if self.cluster == "slurm" else {}
            executor.update_parameters(**{**defaults, **self.parameters})
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise EvaluationError(f"Slurm cannot be used: {error}.") from error
        return executor


class _Chunk:
    """What a job does. Queued again it does the same: what is there already costs no time."""

    def __call__(self, worker: Worker, tasks: Sequence[Task]) -> list[Outcome]:
        return [worker.do(task) for task in tasks]

    def checkpoint(self, worker: Worker, tasks: Sequence[Task]) -> Any:
        """What submitit hands in where the job is preempted."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, worker, tasks)
