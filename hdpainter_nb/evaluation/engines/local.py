"""Processes of this machine, one for each GPU: the engine that needs nothing."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.engines.engine import Outcome, Task, Worker
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["LocalEngine"]


@checked
@dataclass(frozen=True)
class LocalEngine:
    """Worker processes on this machine.

    A process that dies, however, is replaced, and its task done again; the run goes on.

    Args:
        processes: how many; None: one for each GPU, and on a machine without one none beside this
            one, so that nothing is loaded twice.
        tries: how often a task is begun before it counts as failed.

    Raises:
        SettingsError: a number is none from 1.
    """

    processes: int | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        if self.processes is not None:
            between("processes", self.processes, 1, 1024, integer=True)
        between("tries", self.tries, 1, 100, integer=True)

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for the report."""
        return {"engine": "local", "processes": self.processes or "one for each GPU"}

    def run(self, worker: Worker, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes as they come in.

        Raises:
            EvaluationError: one process after the other dies before it does anything.
        """
        gpus = _gpus()
        count = min(self.processes or max(len(gpus), 1), max(len(tasks), 1))
        if count == 1 and self.processes is None:
            for task in tasks:
                yield worker.do(task)
            return
        devices = [gpus[n % len(gpus)] if gpus else None for n in range(count)]
        pool = _Pool(worker, devices)
        try:
            yield from pool.outcomes(deque((task, 1) for task in tasks), self.tries)
        finally:
            pool.close()


@dataclass
class _Seat:
    """One process' place, and the process that has it now."""

    device: str | None
    process: BaseProcess
    pipe: Connection
    task: tuple[Task, int] | None = None  # with the number of the try
    fruitless: int = 0  # processes in a row that died before they answered anything


class _Pool:
    """Processes that are handed a task each time they have done one."""

    def __init__(self, worker: Worker, devices: Sequence[str | None]) -> None:
        self._worker = worker
        # Not forked: CUDA and threads do not live through that.
        self._context = multiprocessing.get_context("spawn")
        # Processes without a GPU share the cores; more threads than those wait for each other.
        self._threads = max(1, (os.cpu_count() or 1) // len(devices))
        self._seats = [_Seat(device, *self._start(device)) for device in devices]

    def _start(self, device: str | None) -> tuple[BaseProcess, Connection]:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._worker, device, self._threads), daemon=True
        )
        process.start()
        theirs.close()
        return process, mine

    def outcomes(self, waiting: deque[tuple[Task, int]], tries: int) -> Iterator[Outcome]:
        """Hand out all tasks, and again those whose process dies."""
        while waiting or any(seat.task for seat in self._seats):
            for seat in self._seats:
                if seat.task is None and waiting:
                    seat.task = waiting.popleft()
                    with suppress(BrokenPipeError, ConnectionResetError):  # seen below
                        seat.pipe.send(seat.task[0])
            busy = {seat.pipe: seat for seat in self._seats if seat.task}
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                seat = busy[pipe]
                assert seat.task is not None
                task, number = seat.task
                seat.task = None
                try:
                    outcome = pipe.recv()
                    seat.fruitless = 0
                except (EOFError, ConnectionResetError, OSError):
                    code = self._replace(seat)
                    if number < tries:
                        waiting.append((task, number + 1))
                        continue
                    outcome = Outcome(task, f"its process died {tries} times (exit code {code})")
                yield outcome

    def _replace(self, seat: _Seat) -> int | None:
        """Another process on a seat whose one is dead; gives the exit code."""
        seat.pipe.close()
        seat.process.join()
        code = seat.process.exitcode
        seat.fruitless += 1
        if seat.fruitless > 5:
            raise EvaluationError(
                f"Six worker processes in a row died before they had done anything (exit code "
                f"{code}; -9 is mostly a lack of memory): try fewer processes, or one."
            )
        seat.process, seat.pipe = self._start(seat.device)
        return code

    def close(self) -> None:
        """End all processes: those without a task by themselves, so that they tidy up."""
        for seat in self._seats:
            seat.pipe.close()  # which an idle process takes for the end
            if seat.task is not None:
                seat.process.terminate()
        for seat in self._seats:
            seat.process.join(10)
            if seat.process.is_alive():
                seat.process.kill()
                seat.process.join()


def _work(pipe: Connection, worker: Worker, device: str | None, threads: int) -> None:
    """What a process does: tasks, until nobody hands it one."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before torch looks
    else:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        if "torch" in sys.modules:  # the worker brought it along, and it has looked already
            torch = sys.modules["torch"]
            torch.set_num_threads(min(threads, torch.get_num_threads()))
    while True:
        try:
            task = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        outcome = worker.do(task)
        with suppress(BrokenPipeError):  # whoever asked is gone, and nobody hands out more
            pipe.send(outcome)


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(n) for n in range(torch.cuda.device_count())]
