"""Time and memory of one step: the library, and the method as one writes it the first time.

Every row is the first step of a run, where PAIntA and RASG both act. The rows take turns within one
run of this script, so that whatever else the machine is doing hits all alike; what counts are the
ratios, of medians. On the CPU: the bundled miniature at 256 px, and Stable Diffusion 1.5's UNet
with random weights at a small size. On a GPU, where there is one: the latter at 512, 768 and 1024
px in half precision. The tables go to RESULTS.md.

    python benchmarks/bench_steps.py [--rounds 12] [--wide-side 256] [--wide-rounds 2] [--threads 2]
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import networks
import report
import straightforward
import torch

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.settings import Settings
from hdpainter_nb.utils.memory import LiveBytes

PLAIN = "plain"
METHODS = {
    PLAIN: {"painta": False, "rasg": False},
    "PAIntA": {"painta": True, "rasg": False},
    "RASG": {"painta": False, "rasg": True},
    "both": {"painta": True, "rasg": True},
}
WIDE_NEEDS = 9e9  # bytes of main memory: weights, their gradients, and what is kept


@dataclass(frozen=True)
class Row:
    """One way to make the step, and which straightforward one it is compared with."""

    name: str
    make: Callable[[], object]
    rival: str | None  # name of the straightforward row; None: it is one itself


def rows(model: Model, cond: Conditioning, state: State) -> list[Row]:
    """The library's ways to make the first step, and the straightforward ones."""

    def ours(settings: Settings, capture: Capture) -> Callable[[], object]:
        stepper = Sampler.from_cond(model, cond, state, settings, capture).stepper
        return lambda: stepper(state)

    def theirs(settings: Settings) -> Callable[[], object]:
        return lambda: straightforward.step(
            model.unet,
            cond,
            state.latents,
            999,
            model.betas,
            steps=settings.steps,
            guidance_scale=7.5,
            v_prediction=model.prediction_type == "v_prediction",
            painta=settings.painta,
            rasg=settings.rasg,
        )

    found = []
    for name, method in METHODS.items():
        settings = networks.settings(**method)
        found.append(Row(name, ours(settings, Capture.nothing()), f"straightforward, {name}"))
        found.append(Row(f"straightforward, {name}", theirs(settings), None))
    both = networks.settings(**METHODS["both"])
    for name, capture in (
        ("both, standard capture", Capture.standard()),
        ("both, everything captured", Capture.everything()),
    ):
        found.append(Row(name, ours(both, capture), "straightforward, both"))
    return found


# --- on the CPU -----------------------------------------------------------------------------------


def measure_cpu(model: Model, cond: Conditioning, state: State, rounds: int) -> str:
    """Median seconds in turns, and the peak of live tensors' bytes in a step apart."""
    chosen = rows(model, cond, state)
    times: dict[str, list[float]] = {row.name: [] for row in chosen}
    for turn in range(rounds + 1):
        for row in chosen:
            started = time.perf_counter()
            row.make()
            if turn:  # the first warms up
                times[row.name].append(time.perf_counter() - started)
    peaks = {}
    for row in chosen:
        gc.collect()
        with LiveBytes() as live:
            row.make()
        peaks[row.name] = live.peak
    return written(chosen, {n: statistics.median(t) for n, t in times.items()}, peaks)


def cpu(rounds: int, side: int, wide_rounds: int) -> None:
    """The two tables of a machine without a GPU."""
    parts = [
        report.circumstances(),
        "Peaks are bytes of tensors made in the step and alive at once, weights and inputs "
        "excluded (`hdpainter_nb.utils.memory.LiveBytes`).",
    ]
    model, cond, state = networks.miniature()
    parts += [
        f"The miniature, 256 px, float32, medians of {rounds} rounds:",
        measure_cpu(model, cond, state, rounds),
    ]
    if wide_rounds and (free := _free_memory()) is not None and free < WIDE_NEEDS:
        parts.append(f"SD 1.5's UNet was left out: {free / 1e9:.1f} GB free, it takes 9.")
    elif wide_rounds:
        model, cond, state = networks.sd15(side, torch.float32, "cpu")
        parts += [
            f"SD 1.5's UNet, random weights, {side} px, float32, medians of {wide_rounds} rounds:",
            measure_cpu(model, cond, state, wide_rounds),
        ]
    report.write_section("Steps on a CPU (`bench_steps.py`)", "\n\n".join(parts))


def _free_memory() -> float | None:
    """Bytes of main memory that can be had; None where the system does not say."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None


# --- on a GPU -------------------------------------------------------------------------------------


def measure_gpu(model: Model, cond: Conditioning, state: State, rounds: int) -> str:
    """Median seconds by CUDA events in turns, and the peak of allocated bytes above the start's.

    A way that runs out of memory says so in its row, and the others go on.
    """
    chosen = rows(model, cond, state)
    times: dict[str, list[float]] = {row.name: [] for row in chosen}
    peaks: dict[str, float] = {row.name: 0.0 for row in chosen}
    short: set[str] = set()
    for turn in range(rounds + 1):
        for row in chosen:
            if row.name in short:
                continue
            try:
                seconds, peak = _timed(row.make)
            except torch.OutOfMemoryError:
                short.add(row.name)
            else:
                peaks[row.name] = max(peaks[row.name], peak)
                if turn:
                    times[row.name].append(seconds)
            if row.name in short:
                gc.collect()
                torch.cuda.empty_cache()
    medians = {n: statistics.median(t) if t else None for n, t in times.items()}
    return written(chosen, medians, peaks)


def _timed(make: Callable[[], object]) -> tuple[float, float]:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    made = make()
    end.record()
    torch.cuda.synchronize()
    del made
    return start.elapsed_time(end) / 1000, torch.cuda.max_memory_allocated() - before


def gpu(rounds: int) -> None:
    """SD 1.5's UNet in half precision, at three sizes."""
    parts = [
        report.circumstances("cuda"),
        f"SD 1.5's UNet, random weights. Times by CUDA events, medians of {rounds} rounds; peaks "
        "of allocated memory above what weights and inputs take.",
    ]
    for dtype in (torch.float16, torch.bfloat16):
        model, _, _ = networks.sd15(512, dtype, "cuda")
        for side in (512, 768, 1024):
            cond, state = networks.quarter(side, 768, dtype, "cuda")
            parts += [
                f"{side} px, {str(dtype).removeprefix('torch.')}:",
                measure_gpu(model, cond, state, rounds),
            ]
        del model
        gc.collect()
        torch.cuda.empty_cache()
    report.write_section("Steps on a GPU (`bench_steps.py`)", "\n\n".join(parts))


# --- the table ------------------------------------------------------------------------------------


def written(chosen: list[Row], seconds: dict[str, float | None], peaks: dict[str, float]) -> str:
    """The table: times and peaks, over the plain step and over the straightforward way."""

    def over(values: dict[str, float | None], name: str, other: str | None) -> str:
        a, b = values[name], values.get(other or "")
        return f"{a / b:.2f}" if a and b else ""

    lines = []
    for row in sorted(chosen, key=lambda row: row.rival is None):
        took = seconds[row.name]
        lines.append(
            [
                row.name,
                "out of memory" if took is None else f"{1000 * took:.1f}",
                over(seconds, row.name, PLAIN),
                over(seconds, row.name, row.rival),
                "" if took is None else f"{peaks[row.name] / 2**20:.1f}",
                over(dict(peaks), row.name, PLAIN),
                over(dict(peaks), row.name, row.rival),
            ]
        )
    return report.table(
        [
            "step",
            "ms",
            "× plain",
            "× straightforward",
            "peak MiB",
            "× plain peak",
            "× straightforward peak",
        ],
        lines,
    )


def main() -> None:
    """Measure what there is to measure on, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="of the miniature and on a GPU")
    parser.add_argument("--wide-side", type=int, default=256, help="pixels, SD 1.5's UNet on a CPU")
    parser.add_argument("--wide-rounds", type=int, default=2, help="of it; 0 leaves it out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-cpu", action="store_true", help="measure on the GPU alone")
    parser.add_argument("--no-gpu", action="store_true", help="leave a GPU alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not given.no_cpu:
        cpu(given.rounds, given.wide_side, given.wide_rounds)
    if torch.cuda.is_available() and not given.no_gpu:
        gpu(given.rounds)


if __name__ == "__main__":
    main()
