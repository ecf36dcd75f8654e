"""What watching costs: seconds per step and bytes, by what is captured.

The captures take turns step by step within one run, so that whatever else the machine is doing hits
all alike; what counts are the ratios to the step that keeps nothing. On the CPU: the bundled
miniature, and Stable Diffusion 1.5's UNet with random weights, with the standard capture alone. On
a GPU, where there is one: the latter with every capture. The tables go to RESULTS.md.

    python benchmarks/bench_capture.py [--rounds 8] [--wide-side 512] [--wide-rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable

import networks
import report
import torch

from hdpainter_nb import Capture, Sampler
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.utils.nbytes import readable_bytes

WHAT = "Steps with PAIntA, within its window. Medians; the ratios are of steps side by side."
NOTHING, STANDARD = "nothing", "standard"
CAPTURES: dict[str, Callable[[], Capture]] = {
    NOTHING: Capture.nothing,
    STANDARD: Capture.standard,
    "standard, q and k of H/16": lambda: Capture.standard(queries="self", levels=(16,)),
    "standard, all q and k": lambda: Capture.standard(queries=True),
    "everything": Capture.everything,
    "everything, on disk": lambda: Capture.everything(budget=0),
}


def measure(
    model: Model, cond: Conditioning, state: State, rounds: int, names: Iterable[str] = CAPTURES
) -> str:
    """The table: median seconds per step of PAIntA, ratios step by step, and what was kept."""
    chosen = networks.settings(painta=True, rasg=False).replace(steps=2 * rounds + 4)
    samplers = {
        name: Sampler.from_cond(model, cond, state, chosen, CAPTURES[name]()) for name in names
    }
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for turn in range(rounds + 1):
        for name, sampler in samplers.items():
            started = time.perf_counter()
            sampler.step()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                times[name].append(time.perf_counter() - started)
    lines = []
    for name, seconds in times.items():
        trace = samplers[name].trace
        ratio = statistics.median(a / b for a, b in zip(seconds, times[NOTHING], strict=True))
        kept, on_disk = (
            readable_bytes(size / (rounds + 1)) for size in (trace.nbytes, trace.nbytes_on_disk)
        )
        lines.append([name, f"{statistics.median(seconds):.3f}", f"{ratio:.3f}", kept, on_disk])
    return report.table(["capture", "s / step", "× nothing", "kept a step", "of it on disk"], lines)


def main() -> None:
    """Measure what there is to measure on, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of the miniature and on a GPU")
    parser.add_argument("--wide-side", type=int, default=512, help="pixels, SD 1.5's UNet on a CPU")
    parser.add_argument("--wide-rounds", type=int, default=3, help="of it; 0 leaves it out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-cpu", action="store_true", help="measure on the GPU alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if not given.no_cpu:
        cpu(given.rounds, given.wide_side, given.wide_rounds)
    if torch.cuda.is_available():
        gpu(given.rounds)


def cpu(rounds: int, side: int, wide_rounds: int) -> None:
    """The two tables of a machine without a GPU."""
    parts = [
        report.circumstances(),
        WHAT,
        f"The miniature, 256 px, float32, {rounds} steps each:",
        measure(*networks.miniature(), rounds),
    ]
    if wide_rounds:
        wide = networks.sd15(side, torch.float32, "cpu")
        parts += [
            f"SD 1.5's UNet, random weights, {side} px, float32, {wide_rounds} steps each:",
            measure(*wide, wide_rounds, (NOTHING, STANDARD)),
        ]
    report.write_section("What watching costs (`bench_capture.py`)", "\n\n".join(parts))


def gpu(rounds: int) -> None:
    """SD 1.5's UNet at two sizes, where what is kept has to leave the card."""
    parts = [report.circumstances("cuda"), WHAT]
    for side in (512, 1024):
        parts += [
            f"SD 1.5's UNet, random weights, {side} px, float16, {rounds} steps each:",
            measure(*networks.sd15(side, torch.float16, "cuda"), rounds),
        ]
    report.write_section("What watching costs on a GPU (`bench_capture.py`)", "\n\n".join(parts))


if __name__ == "__main__":
    main()
