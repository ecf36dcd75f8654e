"""Seconds per step of the four methods on the bundled miniature, standard capture on.

The methods take turns within one run, so that whatever else the machine is doing hits all alike;
what counts are the ratios to the plain step. Writes a table to standard output.

    python benchmarks/bench_steps.py [--rounds 12] [--threads 2]
"""

from __future__ import annotations

import argparse
import platform
import statistics
from datetime import UTC, datetime

import torch

from hdpainter_nb import Capture, Job, Sampler, load, mini

METHODS = {
    "baseline, nothing captured": ({"painta": False, "rasg": False}, Capture.nothing()),
    "baseline": ({"painta": False, "rasg": False}, Capture.standard()),
    "PAIntA": ({"painta": True, "rasg": False}, Capture.standard()),
    "RASG": ({"painta": False, "rasg": True}, Capture.standard()),
    "both": ({"painta": True, "rasg": True}, Capture.standard()),
}


def main() -> None:
    """Time the methods' steps in turn and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    model, task = load("mini"), mini.triple(0)
    # 2 x rounds steps: PAIntA acts in the first half, and only that half is timed.
    steps = 2 * given.rounds + 2
    samplers = {
        name: Sampler(
            model, Job(task.image, task.mask, task.prompt, steps=steps, **method), capture
        )
        for name, (method, capture) in METHODS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for round_ in range(given.rounds + 1):
        for name, sampler in samplers.items():
            seconds = sampler.step().seconds
            if round_:  # the first warms up
                times[name].append(seconds)

    plain = statistics.median(times["baseline, nothing captured"])
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {given.threads} threads, "
        f"torch {torch.__version__}, 256 px, {given.rounds} steps each"
    )
    print("| method | s / step (median) | x the plain step |\n|---|---|---|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.3f} | {median / plain:.2f} |")


if __name__ == "__main__":
    main()
