"""What a run will cost, before anything of it is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.evaluation.best_of import BestOfSeeds
from hdpainter_nb.evaluation.painting import Shard, framed_triplet
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.system import System
from hdpainter_nb.evaluation.systems import SamplerSystem
from hdpainter_nb.evaluation.triplet import TripletSet
from hdpainter_nb.painting import run_cost
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.nbytes import readable_bytes

__all__ = ["RunCost", "SystemCost", "cost_of"]


@dataclass(frozen=True)
class SystemCost:
    """What one system's share of a run costs.

    Attributes:
        system: its name.
        pictures: left to paint.
        flops: of all of them, by the count of one; 0 where nothing is computed.
        peak_bytes: what the device must have free for one at a time.
    """

    system: str
    pictures: int
    flops: int
    peak_bytes: int

    def __str__(self) -> str:
        if not self.flops:
            return f"{self.system}: {self.pictures} pictures"
        return (
            f"{self.system}: {self.pictures} pictures, {_readable(self.flops)}, peak "
            f"{readable_bytes(self.peak_bytes)}"
        )


@dataclass(frozen=True)
class RunCost:
    """What is left of a run costs.

    Attributes:
        systems: each one's share.
    """

    systems: tuple[SystemCost, ...]

    @property
    def flops(self) -> int:
        """Of all systems."""
        return sum(system.flops for system in self.systems)

    @property
    def pictures(self) -> int:
        """Of all systems."""
        return sum(system.pictures for system in self.systems)

    def __str__(self) -> str:
        lines = [*map(str, self.systems)]
        return "\n".join([*lines, f"in all {self.pictures} pictures, {_readable(self.flops)}"])


@checked
def cost_of(
    run: Run,
    systems: Sequence[System],
    triplets: TripletSet,
    shard: Shard = Shard(),  # noqa: B008  # frozen
) -> RunCost:
    """Count what is left of a run; nothing is painted.

    Operations and memory are counted for each system's first triplet on the meta device, and
    taken for all: triplets of one working size differ by some percent.

    Args:
        run, systems, triplets, shard: as for `paint_all`.

    Raises:
        EvaluationError, ModelError: a triplet or a model cannot be read.
    """
    seeds = run.protocol.seeds
    costs = []
    for system in systems:
        due = [run.due(system.name, seed, shard.share(triplets.ids)) for seed in seeds]
        left = sum(map(len, due))
        first = next((id for ids in due for id in ids), None)
        flops = peak = 0
        if isinstance(system, SamplerSystem) and first is not None:
            job = system.job(framed_triplet(triplets, first, run.protocol), seeds[0])
            one = run_cost(system.loaded, job, Capture.nothing(), exact=False)
            times = system.count if isinstance(system, BestOfSeeds) else 1
            flops, peak = one.flops * left * times, one.peak_bytes
        costs.append(SystemCost(system.name, left, flops, peak))
    return RunCost(tuple(costs))


def _readable(flops: int) -> str:
    """Of a large model in PFLOP, of a small one in TFLOP."""
    return f"{flops / 1e15:.3g} PFLOP" if flops >= 1e14 else f"{flops / 1e12:.3g} TFLOP"
