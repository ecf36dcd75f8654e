"""Training examples as they are needed: made on the spot, or ahead of time by other processes.

Painting a picture of the world takes a third of a second, which a CPU's training hardly notices
and a GPU would wait for. So there `--workers 15` paint while it trains.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, multiprocessing

T = TypeVar("T")


class Feed(Generic[T]):
    """An endless supply of what `make(seed)` yields.

    Args:
        make: at the top of a module, or a partial of that, so that another process can run it.
        seed: of the first worker; every other one counts on from it.
        workers: processes; 0 makes everything on the spot.
        ahead: how many things may lie ready at once.
    """

    def __init__(
        self, make: Callable[[int], Iterator[T]], seed: int, workers: int = 0, ahead: int = 64
    ) -> None:
        self._here = None if workers else make(seed)
        context = multiprocessing.get_context("spawn")
        self._ready: Any = context.Queue(ahead) if workers else None
        self._workers = [
            context.Process(target=_fill, args=(make, seed + k, self._ready), daemon=True)
            for k in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def next(self, *, wait: bool = True) -> T | None:
        """The next thing; without `wait`, None where a worker's is not ready yet.

        Raises:
            RuntimeError: all workers have ended, so that there will be none.
        """
        if self._here is not None:
            return next(self._here)
        while True:
            try:
                thing: T = self._ready.get(timeout=5) if wait else self._ready.get_nowait()
            except queue.Empty:
                if not any(worker.is_alive() for worker in self._workers):
                    raise RuntimeError(
                        "The processes that make training examples have ended; what they wrote "
                        "above says why."
                    ) from None
                if not wait:
                    return None
            else:
                return thing

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
            worker.join()


def _fill(make: Callable[[int], Iterator[object]], seed: int, ready: Any) -> None:
    """One worker: arrays are sent by value, as tensors would each take a file descriptor."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for thing in make(seed):
        ready.put(thing)


class Ring:
    """The newest `capacity` examples, in columns of tensors on a device; each serves many times."""

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.capacity, self.device = capacity, torch.device(device)
        self.columns: list[Tensor] = []
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, columns: Iterable[Tensor]) -> None:
        """Put examples `(n, ...)`, column by column, in the place of the oldest."""
        given = [column.to(self.device) for column in columns]
        if not self.columns:
            self.columns = [c.new_empty((self.capacity, *c.shape[1:])) for c in given]
        count = len(given[0])
        places = (self.added + torch.arange(count, device=self.device)) % self.capacity
        for column, new in zip(self.columns, given, strict=True):
            column[places] = new
        self.added += count

    def draw(self, count: int) -> list[Tensor]:
        """`count` examples by chance, column by column."""
        picked = torch.randint(len(self), (count,), device=self.device)
        return [column[picked] for column in self.columns]
