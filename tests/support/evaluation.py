"""A small world for the evaluation: triplets and systems that need no network, also in workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.system import SECONDS, Painting
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet, digest


@dataclass(frozen=True)
class SmallSet:
    """Pictures of one colour each with a square hole; two sizes, two groups."""

    count: int = 12
    name: str = "small"
    side: int = 64
    labels: tuple[str, ...] = ("dark", "light")
    salt: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{n}_0" for n in range(self.count))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.labels[n % 2] for n in range(self.count))

    def size(self, id: str) -> tuple[int, int]:
        return (64, 64) if int(id.split("_", maxsplit=1)[0]) % 3 else (32, 64)

    def __getitem__(self, id: str) -> Triplet:
        number = int(id.split("_", maxsplit=1)[0])
        height, width = self.size(id)
        mask = np.zeros((height, width), np.uint8)
        mask[8:24, 16:40] = 255
        image = np.full((height, width, 3), 10 + 5 * number, np.uint8)
        return Triplet(id, image, mask, f"thing {number}", number % 2, self.labels[number % 2])

    def fingerprint(self) -> str:
        return digest("small", self.salt)


@dataclass(frozen=True)
class Painter:
    """Fills the hole with the seed's grey, and does as it is told where it should go wrong.

    Args:
        name: of the system.
        weights: stands for its weights.
        log: each triplet painted is written down in this file.
        dies_once: ids at which its process is killed, the first time.
        dies: ids at which its process is always killed.
        fails: ids at which it says that it cannot.
        slow: seconds for each triplet.
    """

    name: str = "painter"
    weights: str = "w"
    log: str = ""
    dies_once: tuple[str, ...] = ()
    dies: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    slow: float = 0.0
    at_once: int = 2
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"weights": self.weights, **self.more}

    @property
    def columns(self) -> Mapping[str, Column]:
        return {"seconds": SECONDS}

    def fingerprint(self) -> str:
        return digest(self.weights)

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        paintings = []
        for triplet in triplets:
            id = triplet.triplet.id
            time.sleep(self.slow)
            if self.log:
                with Path(self.log).open("a") as file:
                    file.write(f"{self.name} {seed} {id}\n")
            if id in self.dies_once:
                mark = Path(f"{self.log}.{id}.died")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            if id in self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            if id in self.fails:
                raise EvaluationError(f"there is nothing to paint {id} with.")
            picture = triplet.image.copy()
            picture[triplet.hole] = seed
            paintings.append(Painting(picture, {"seconds": 0.25}))
        return paintings


@dataclass
class Brightness:
    """The mean of the hole."""

    name: str = "brightness"
    scale: float = 1.0
    seen: list[str] = field(default_factory=list)

    @property
    def columns(self) -> Mapping[str, Column]:
        return {"brightness": Column("brightness"), "brightness_odd": Column("odd", binary=True)}

    @property
    def settings(self) -> Mapping[str, object]:
        return {"scale": self.scale}

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        self.seen += [p.triplet.triplet.id for p in paintings]
        return [
            {
                "brightness": self.scale * float(p.picture[p.triplet.hole].mean()),
                "brightness_odd": float("nan") if p.triplet.triplet.label is None else 1.0,
            }
            for p in paintings
        ]
