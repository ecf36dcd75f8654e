"""Memory over many runs in one kernel: it must not grow.

A run of a few tiny steps, with both methods and everything captured, a branch and a stepping back,
again and again; after each, what is alive is counted. `tests/test_growth.py` asserts that it stays.

    python benchmarks/bench_growth.py [--runs 100]
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report
import torch

EVERY = 5  # runs between two counts, which take longer than a tiny run


@dataclass(frozen=True)
class Alive:
    """What is alive after a run."""

    tensors: int
    tensor_bytes: int
    objects: int
    resident: int | None  # bytes of main memory; None where the system does not say


def alive() -> Alive:
    """Count, after garbage was collected."""
    gc.collect()
    everything = gc.get_objects()
    # not isinstance: that would ask proxies in other packages what they stand for
    tensors = [o for o in everything if issubclass(type(o), torch.Tensor)]
    held = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return Alive(len(tensors), sum(held.values()), len(everything), _resident())


def _resident() -> int | None:
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    return int(status.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def curve(run: Callable[[int], object], runs: int, every: int = EVERY) -> list[Alive]:
    """What is alive after every `every`-th of `runs` runs; `run` is given the run's number."""
    found = []
    for number in range(runs):
        run(number)
        if (number + 1) % every == 0:
            found.append(alive())
    return found


def slope(values: list[int], every: int = EVERY) -> float:
    """Least-squares growth per run of what was counted after every `every`-th."""
    count = len(values)
    middle, mean = (count - 1) / 2, sum(values) / count
    above = sum((i - middle) * (v - mean) for i, v in enumerate(values))
    return above / max(sum((i - middle) ** 2 for i in range(count)), 1e-9) / every


def main() -> None:
    """Measure on the miniature, and write it down."""
    from hdpainter_nb import Capture, Job, Sampler, load, mini

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    model, task = load("mini"), mini.triple(0)
    image, mask = task.image[:128, :128], np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True

    def run(number: int) -> None:
        job = Job(image, mask, task.prompt, steps=3, seed=number)
        sampler = Sampler(model, job, Capture.everything())
        sampler.run()
        sampler.back(1).branch(rasg=False).run()

    found = curve(run, given.runs)
    settled = found[len(found) // 5 :]
    lines = [
        [
            (i + 1) * EVERY,
            a.tensors,
            f"{a.tensor_bytes / 2**20:.1f}",
            a.objects,
            "" if a.resident is None else f"{a.resident / 2**20:.1f}",
        ]
        for i, a in enumerate(found)
    ]
    grown = [a.resident for a in settled if a.resident is not None]
    said = f"{slope(grown) / 1024:.1f} kB of main memory" if grown else "unknown main memory"
    report.write_section(
        "Memory over many runs (`bench_growth.py`)",
        f"{report.circumstances()} The miniature, 128 px, both methods, everything captured, 3 "
        f"steps and a branch. Growth per run, the first fifth left out: "
        f"{slope([a.tensors for a in settled]):.2f} tensors, {said}.\n\n"
        + report.table(["run", "tensors", "their MiB", "objects", "resident MiB"], lines),
    )


if __name__ == "__main__":
    main()
