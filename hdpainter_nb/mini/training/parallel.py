"""Two (or more) single-threaded processes that now and then average their weights.

On a CPU this beats one process with several threads: nothing waits for small operations to be
split. It also keeps the budget: training is annealed over wall-clock time, not over steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

# The C library gives large blocks back to the system and asks for them anew in every step. Kept,
# they make a step up to 1.8 times as fast. It reads these when a process starts.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}


class Team:
    """One process' view of the others."""

    def __init__(self, rank: int, size: int, meeting: Path) -> None:
        self.rank, self.size = rank, size
        self.leads = rank == 0
        self._born = time.monotonic()
        if size > 1:
            dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=size)

    def elapsed(self) -> float:
        """Seconds since the start, the leader's clock, the same for all."""
        seconds = torch.tensor([time.monotonic() - self._born])
        if self.size > 1:
            dist.broadcast(seconds, 0)
        return float(seconds)

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over the processes."""
        if self.size == 1:
            return
        flat = torch.cat([t.detach().reshape(-1).float().cpu() for t in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        pieces = flat.split([t.numel() for t in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))

    def close(self) -> None:
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()


def launch(work: Callable[..., None], folder: Path, processes: int, *args: object) -> None:
    """Run `work(team, *args)` in `processes` processes of one thread each; wait for all."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / f".meet-{os.getpid()}"
    if processes == 1:
        work(Team(0, 1, meeting), *args)
        return
    try:
        several(_member, processes, work, processes, meeting, args)
    finally:
        meeting.unlink(missing_ok=True)


def several(work: Callable[..., None], processes: int, *args: object) -> None:
    """Run `work(rank, *args)` in so many new processes that keep their memory; wait for all."""
    for name, value in _MALLOC.items():
        os.environ.setdefault(name, value)
    spawn(work, args, nprocs=processes)


def _member(
    rank: int, work: Callable[..., None], size: int, meeting: Path, args: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    team = Team(rank, size, meeting)
    work(team, *args)
    team.close()
