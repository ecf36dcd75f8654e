"""The oracle as a metric: does the hole hold the colour and the shape that were asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.triplet import digest
from hdpainter_nb.images.compositing import paste
from hdpainter_nb.mini import oracle
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import data_path

__all__ = ["OracleMetric"]


@checked
@dataclass(frozen=True)
class OracleMetric:
    """What the miniature's own judge sees in each hole, known pixels put back.

    Args:
        weights: of the oracle; None takes the bundled ones.
    """

    weights: str | None = None

    name = "oracle"

    @property
    def columns(self) -> Mapping[str, Column]:
        """Whether colour, shape, both are right; whether there is nothing."""
        return {
            "oracle": Column("accuracy %", binary=True, digits=1, scale=100),
            "oracle_color": Column("colour %", binary=True, digits=1, scale=100),
            "oracle_shape": Column("shape %", binary=True, digits=1, scale=100),
            "oracle_nothing": Column("empty %", "lower", binary=True, digits=1, scale=100),
        }

    @property
    def settings(self) -> Mapping[str, object]:
        """Which oracle it is."""
        return {"weights": digest(self._path.read_bytes())}

    @property
    def _path(self) -> Path:
        return Path(self.weights) if self.weights else data_path("mini", "oracle.safetensors")

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The numbers of each picture.

        Raises:
            EvaluationError: a triplet is not of the miniature's world.
        """
        tasks = [painted.triplet for painted in paintings]
        for task in tasks:
            if not {"color", "shape"} <= set(task.triplet.facts):
                raise EvaluationError(
                    f"The oracle knows the miniature's world alone, and triplet {task.triplet.id} "
                    "is not of it: use another metric."
                )
        pictures = [
            paste(task.image, painted.picture, task.hole.astype(np.float32))
            for task, painted in zip(tasks, paintings, strict=True)
        ]
        judged = _oracle(str(self._path)).judge(pictures, [task.hole for task in tasks])
        return [
            {
                "oracle": float((color, shape) == (facts["color"], facts["shape"])),
                "oracle_color": float(color == facts["color"]),
                "oracle_shape": float(shape == facts["shape"]),
                "oracle_nothing": float(oracle.NOTHING in (color, shape)),
            }
            for (color, shape), facts in zip(judged, (t.triplet.facts for t in tasks), strict=True)
        ]


@lru_cache(maxsize=2)
def _oracle(path: str) -> oracle.Oracle:
    return oracle.load(Path(path))
