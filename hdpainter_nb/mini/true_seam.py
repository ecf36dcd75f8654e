"""How visible the hole's edge is, beside the edge in the picture as it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.preservation import rim_energy
from hdpainter_nb.images.compositing import paste, poisson
from hdpainter_nb.utils.checked import checked

__all__ = ["TrueSeam"]


@checked
@dataclass(frozen=True)
class TrueSeam:
    """Squared steps across the hole's rim: pasted, blended by gradients, and in the true picture.

    Only the miniature's world knows the last, to which the others are compared.
    """

    name = "true_seam"

    @property
    def columns(self) -> Mapping[str, Column]:
        """Sums over the rim; lower is better, but not below the true picture's."""
        return {
            "true_seam_pasted": Column("rim, pasted", "lower", digits=0),
            "true_seam_blended": Column("rim, blended", "lower", digits=0),
            "true_seam": Column("rim, true", "", digits=0),
        }

    @property
    def settings(self) -> Mapping[str, object]:
        """Nothing can be chosen."""
        return {}

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The numbers of each picture.

        Raises:
            EvaluationError: a triplet's true picture is not known.
        """
        rows = []
        for painted in paintings:
            given, hole = painted.triplet, painted.triplet.hole
            truth = given.triplet.facts.get("truth")
            if truth is None or truth.shape != painted.picture.shape:
                raise EvaluationError(
                    f"The true picture of triplet {given.triplet.id} is not known at this size."
                )
            pasted = paste(given.image, painted.picture, hole.astype(np.float32))
            blended = poisson(given.image, painted.picture, hole)
            rows.append(
                {
                    "true_seam_pasted": rim_energy(pasted, hole),
                    "true_seam_blended": rim_energy(blended, hole),
                    "true_seam": rim_energy(truth, hole),
                }
            )
        return rows
