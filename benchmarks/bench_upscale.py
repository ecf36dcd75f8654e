"""Time and memory of making a picture four times as large, beside what `estimate` had said.

On the CPU: the bundled miniature from 256 to 1024 px, a whole run. On a GPU, where there is one:
Stability's x4 upscaler with random weights in float16, to 1024 and 2048 px; a few steps, then the
decoding and Poisson's equation. The last row allows it no more than 12 GB.

    python benchmarks/bench_upscale.py [--steps 20] [--gpu-steps 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import networks
import numpy as np
import report
import torch

from hdpainter_nb import UpscaleJob, Upscaler, load_upscaler
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.mini.world.large import large_task
from hdpainter_nb.upscale.model import UpscaleModel
from hdpainter_nb.utils.memory import LiveBytes

SMALL_CARD = 12e9  # bytes


def cpu(steps: int) -> None:
    """The miniature's whole run: seconds of its three parts, and the peak of live tensors."""
    task = large_task(0)
    job = UpscaleJob(task.low, task.image, task.mask, task.prompt, steps=steps)
    model = load_upscaler("mini", device="cpu")
    marks = [time.perf_counter()]
    with LiveBytes() as live:
        upscaler = Upscaler(model, job)
        marks.append(time.perf_counter())
        upscaler.run()
        marks.append(time.perf_counter())
        upscaler.image()
        marks.append(time.perf_counter())
    parts = np.diff(marks)
    said = upscaler.estimate().phases
    text = [
        report.circumstances(),
        f"The miniature from 256 to 1024 px, float32, {steps} steps with standard capture: "
        f"{parts[0]:.1f} s to prepare, {parts[1]:.1f} s of steps, {parts[2]:.1f} s to decode and "
        f"blend, {parts.sum():.1f} s in all. Peak of live tensors {live.peak / 1e9:.2f} GB "
        f"({max(said.values()) / 1e9:.2f} said by `estimate`).",
    ]
    report.write_section("Four times as large on a CPU (`bench_upscale.py`)", "\n\n".join(text))


def square(side: int, steps: int) -> UpscaleJob:
    """A random picture of `side` pixels whose middle is to be filled."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return UpscaleJob(image[::4, ::4], image, mask, "a red star", steps=steps)


def row(model: UpscaleModel, side: int, steps: int, exact: bool) -> list[str]:
    """One run: seconds, and each phase's peak of allocated memory, weights included."""
    job = square(side, 50)
    said = Upscaler(model, job, Capture.nothing()).estimate(exact=exact)

    def phase(make: Any) -> tuple[float, float]:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        started = time.perf_counter()
        make()
        torch.cuda.synchronize()
        return time.perf_counter() - started, torch.cuda.max_memory_allocated()

    made: list[Upscaler] = []
    prepare = phase(lambda: made.append(Upscaler(model, job, Capture.nothing())))
    upscaler = made[0]
    stepped = [phase(upscaler.step) for _ in range(steps)]
    decode = phase(lambda: upscaler.image(exact=exact))
    peaks = {"prepare": prepare[1], "step": max(p for _, p in stepped), "decode": decode[1]}
    shown = [
        f"{peaks[n] / 1e9:.2f} ({(said.phases[n] + said.weight_bytes) / 1e9:.2f})" for n in peaks
    ]
    return [
        f"{side} px",
        f"{prepare[0]:.2f}",
        f"{statistics.median(t for t, _ in stepped[1:]):.3f}",
        f"{decode[0]:.2f}",
        *shown,
    ]


def gpu(steps: int) -> None:
    """Stability's size, with and without a limit to the card's memory."""
    model = load_upscaler(networks.x4(torch.float16, "cuda"))
    rows = [row(model, side, steps, exact=True) for side in (1024, 2048)]
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(SMALL_CARD / total)
    last = row(model, 2048, steps, exact=False)
    rows.append([f"{last[0]}, in 12 GB, tiles", *last[1:]])
    columns = ["to", "prepare, s", "a step, s", "decode, blend, s"]
    columns += [f"peak, {name}, GB (said)" for name in ("prepare", "step", "decode")]
    text = [
        report.circumstances("cuda"),
        f"Stability's x4 upscaler, random weights, float16, medians of {steps - 1} steps, nothing "
        "captured. Peaks of allocated memory with the weights; in brackets what `estimate` said.",
        report.table(columns, rows),
    ]
    report.write_section("Four times as large on a GPU (`bench_upscale.py`)", "\n\n".join(text))


def main() -> None:
    """Measure what there is to measure on, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="of the miniature")
    parser.add_argument("--gpu-steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-cpu", action="store_true", help="measure on the GPU alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not given.no_cpu:
        cpu(given.steps)
    if torch.cuda.is_available():
        gpu(given.gpu_steps)


if __name__ == "__main__":
    main()
