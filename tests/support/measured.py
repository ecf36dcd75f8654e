"""Rows of an evaluation that never was: three systems, of which each is better than the last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet, framed

COLUMNS = {
    "clip_score": Column("CLIP score"),
    "accuracy": Column("Accuracy", binary=True, scale=100, digits=1),
    "mse": Column("MSE", better="lower", digits=1),
    "seconds": Column("Seconds", better="", digits=1),
}
SYSTEMS = {"base": 0.0, "RASG": 0.4, "both": 1.2}


def records(
    n: int = 30, seeds: tuple[int, ...] = (1,), systems: Any = None
) -> list[dict[str, Any]]:
    """As `Rows.of` takes them."""
    rng = np.random.default_rng(7)
    rows = []
    for number in range(n):
        own = rng.normal()
        for seed in seeds:
            for system, gain in (systems or SYSTEMS).items():
                quality = own + gain + 0.5 * rng.normal()
                rows.append(
                    {
                        "system": system,
                        "seed": seed,
                        "id": f"{number:06d}_0",
                        "group": ("near", "far")[number % 2],
                        "clip_score": 25 + quality,
                        "accuracy": float(quality + rng.normal() > 0.5),
                        "mse": 40 - quality + rng.normal(),
                        "seconds": 3 + gain,
                    }
                )
    return rows


def measured(n: int = 30, seeds: tuple[int, ...] = (1,), systems: Any = None) -> Rows:
    return Rows.of(records(n, seeds, systems), COLUMNS)


def picture(system: str, seed: int, id: str) -> NDArray[np.uint8]:
    """What a system has painted: noise of its own."""
    rng = np.random.default_rng([seed, *map(ord, system + id)])
    return rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)


def triplet(id: str, prompt: str = "a red star") -> FramedTriplet:
    mask = np.zeros((64, 96), np.uint8)
    mask[20:44, 30:60] = 255
    return framed(Triplet(id, picture("", 0, id), mask, prompt), 96)
