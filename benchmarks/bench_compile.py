"""What it costs to do without `torch.compile`: the miniature's UNet with and without it.

Hooks are Python code that comes and goes with every step, which a compiled UNet does not expect: it
looks at them again in each step and, where they are new objects, compiles again. This script says
how fast the UNet is eagerly and compiled, with and without hooks in place, and how often it was
compiled. On a CPU the compiler needs a C++ compiler; where there is none, the section says so.

    python benchmarks/bench_compile.py [--rounds 10] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable

import networks
import report
import torch

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import call
from hdpainter_nb.sampling.sampler import Sampler

ALONE = "the UNet alone"
HEADING = "Without torch.compile (`bench_compile.py`)"
HOOKED = 3  # rounds of a compiled step with hooks, each of which may compile again


def timed(make: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of the first call, and the median of those after it."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        make()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[0], statistics.median(seconds[1:])


def compilations() -> int:
    """Graphs that were compiled since the last reset."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def ways(model: Model, cond: Conditioning, state: State) -> dict[str, Callable[[], object]]:
    """The bare UNet on both halves, and whole steps with hooks in it."""

    def bare() -> object:
        with torch.no_grad():
            return call(model.unet, cond.unet_inputs(state.latents, slice(0, 2)), 999)

    found: dict[str, Callable[[], object]] = {ALONE: bare}
    for name, method in (
        ("a step with PAIntA", {"painta": True, "rasg": False}),
        ("a step with both", {"painta": True, "rasg": True}),
    ):
        settings = networks.settings(**method)
        stepper = Sampler.from_cond(model, cond, state, settings, Capture.standard()).stepper
        found[name] = lambda stepper=stepper: stepper(state)
    return found


def measure(rounds: int) -> str:
    """The table."""
    model, cond, state = networks.miniature()
    eager = {name: timed(make, rounds)[1] for name, make in ways(model, cond, state).items()}
    lines = []
    unet = model.unet
    for name, make in ways(model, cond, state).items():
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        unet.forward = torch.compile(unet.forward, dynamic=False)  # one size throughout
        try:
            first, later = timed(make, rounds if name == ALONE else min(rounds, HOOKED))
            graphs = str(compilations())
            row = [f"{first:.1f}", f"{1000 * later:.1f}", f"{later / eager[name]:.2f}", graphs]
        except Exception as error:  # the table is to say so, whatever it is
            said = str(error).strip().splitlines() or [""]
            row = [f"{type(error).__name__}: {said[0][:80]}", "", "", ""]
        finally:
            del unet.forward  # the class's own shows again
        lines.append([name, f"{1000 * eager[name]:.1f}", *row])
    return report.table(
        ["", "eager, ms", "compiled, first call, s", "later, ms", "× eager", "graphs compiled"],
        lines,
    )


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)
    parts = [report.circumstances()]
    if compiler is None:
        parts.append(
            "Not measured: on a CPU, torch.compile needs a C++ compiler, and none is here."
        )
    else:
        parts += [
            f"The miniature, 256 px, float32, medians of {given.rounds} rounds; inductor with "
            f"{compiler}. Hooks are new objects in every step, so a compiled step looks at them "
            f"anew; of those, medians of {HOOKED} rounds after the first.",
            measure(given.rounds),
        ]
    report.write_section(HEADING, "\n\n".join(parts))


if __name__ == "__main__":
    main()
