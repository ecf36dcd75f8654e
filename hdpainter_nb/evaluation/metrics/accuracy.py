"""Class accuracy: does a detector see in the hole what was asked for?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.detectors import Detector
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["ClassAccuracy"]


@checked
@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """1 where the class asked for is among what is detected in the hole's box, else 0.

    The official evaluation: the box is cut out, everything counts whose score is above 0.3, and it
    does not matter what else is there. A triplet without a class has no number.

    Attributes:
        detector: whose classes are those of the triplets, in the same order.
        threshold: scores must be greater; what its detector leaves out does not count anyway.
        name: of the metric and its column; another one for a second detector.

    Raises:
        SettingsError: the threshold is not from 0 to 1.
    """

    detector: Detector = field(default_factory=RTMDet)
    threshold: float = 0.3
    name: str = "accuracy"

    def __post_init__(self) -> None:
        between("threshold", self.threshold, 0, 1)

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        return {self.name: Column("Accuracy", binary=True, digits=1, scale=100.0)}

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {**self.detector.settings, "threshold": self.threshold}

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """1 or 0 for each picture, NaN for those without a class.

        Raises:
            EvaluationError: the detector's weights are missing or of another network.
        """
        asked = [painting for painting in paintings if painting.triplet.triplet.label is not None]
        found = iter(self.detector.detect([p.crop for p in asked]) if asked else [])
        rows = []
        for painting in paintings:
            label = painting.triplet.triplet.label
            value = math.nan
            if label is not None:
                sure = {kind for kind, score in next(found) if score > self.threshold}
                value = float(label in sure)
            rows.append({self.name: value})
        return rows
