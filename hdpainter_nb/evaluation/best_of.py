"""The best of several seeds, by how well CLIP finds that the hole fits the prompt.

Blended Latent Diffusion (Avrahami et al. 2023) ranks a batch so; any system can be given the same
help, which is worth several points of every score that rests on CLIP.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.system import Painting
from hdpainter_nb.evaluation.systems import SamplerSystem, resized
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet
from hdpainter_nb.sampling.batch import SamplerBatch
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["BestOfSeeds", "Ranked", "rank_batch", "ranked"]

_APART = 1_000_000  # from a seed to the next candidate's; no protocol has so many
_SEEDS = 2**63


def by_hole() -> ClipScore:
    """The CLIP score that Blended Latent Diffusion ranks by."""
    return ClipScore.named("bld")


@dataclass(frozen=True)
class Ranked:
    """One of several pictures of a hole.

    Attributes:
        index: its place among those that were given.
        score: of CLIP.
    """

    index: int
    score: float


@checked
def ranked(
    pictures: Sequence[NDArray[np.uint8]], triplet: FramedTriplet, metric: ClipScore | None = None
) -> list[Ranked]:
    """Several pictures of one triplet, the best first; of equals, the one that was given first.

    Args:
        pictures: (h, w, 3) each, brought to the triplet's size where they have another.
        triplet: of all of them.
        metric: None takes that of Blended Latent Diffusion: ViT-B/16 on the hole alone, all else
            black.

    Raises:
        EvaluationError: the checkpoint is missing or broken.
    """
    metric = metric or by_hole()
    size = triplet.image.shape[:2]
    scores = metric.score([PaintedTriplet(triplet, resized(one, size)) for one in pictures])
    rows = [Ranked(index, score[metric.name]) for index, score in enumerate(scores)]
    return sorted(rows, key=lambda one: -one.score)


@checked
def rank_batch(batch: SamplerBatch, metric: ClipScore | None = None) -> list[Ranked]:
    """The samples of a batch as they stand, the best by CLIP first.

    >>> batch = SamplerBatch(model, job, seeds=4)
    >>> batch.run()
    >>> best = batch[rank_batch(batch)[0].index]

    Args:
        batch: of one job under several seeds.
        metric: as for `ranked`.

    Raises:
        EvaluationError: the checkpoint is missing or broken; the batch has no job.
    """
    job = batch[0].job
    if job is None:
        raise EvaluationError("Without a job there is no hole to look at, nor a prompt for it.")
    soft = job.mask.astype(np.uint8) * np.uint8(255)
    triplet = FramedTriplet(Triplet("", job.image, soft, job.prompt), job.image, soft)
    return ranked(batch.images(), triplet, metric)


@checked
@dataclass(frozen=True, kw_only=True)
class BestOfSeeds(SamplerSystem):
    """A `SamplerSystem` that paints each hole several times and keeps what CLIP likes best.

    The first candidate is that of the protocol's seed, which every other system paints too. A score
    that rests on CLIP then favours it: say so beside a table.

    Args:
        count: candidates for each hole.
        metric: that ranks them; by default that of Blended Latent Diffusion.

    Raises:
        SettingsError: no candidate; else as `SamplerSystem`.
    """

    count: int = 4
    metric: ClipScore = field(default_factory=by_hole)

    def __post_init__(self) -> None:
        super().__post_init__()
        between("count", self.count, 1, 1000, integer=True)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its pictures besides weights and seed."""
        by = {"name": self.metric.name, **self.metric.settings}
        return {**super().settings, "best_of": self.count, "ranked_by": by}

    @property
    def columns(self) -> dict[str, Column]:
        """The seconds that all candidates took, and which one was kept, from 0."""
        return {**super().columns, "candidate": Column("candidate", better="", digits=1)}

    def seeds(self, seed: int) -> list[int]:
        """Those of the candidates for a seed of the protocol's."""
        return [(seed + number * _APART) % _SEEDS for number in range(self.count)]

    def sampler(self, triplet: FramedTriplet, seed: int, capture: Capture | None = None) -> Sampler:
        """A sampler of the candidate that is kept, for which all are painted once more."""
        (painting,) = self.paint([triplet], seed)
        kept = self.seeds(seed)[int(painting.numbers["candidate"])]
        return self._single().sampler(triplet, kept, capture)

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        """Fill the holes of some triplets of one size, each with the best of its candidates."""
        single = self._single()
        candidates = [single.paint(triplets, one) for one in self.seeds(seed)]
        paintings = []
        for triplet, *row in zip(triplets, *candidates, strict=True):
            kept = ranked([one.picture for one in row], triplet, self.metric)[0].index
            seconds = sum(one.numbers["seconds"] for one in row)
            numbers = {**row[kept].numbers, "seconds": seconds, "candidate": float(kept)}
            paintings.append(Painting(row[kept].picture, numbers))
        return paintings

    def _single(self) -> SamplerSystem:
        """The same system with one candidate alone."""
        names = [one.name for one in dataclasses.fields(SamplerSystem)]
        return SamplerSystem(**{name: getattr(self, name) for name in names})
