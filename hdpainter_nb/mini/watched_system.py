"""The miniature as a system of a table, whose attention is measured while it paints."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.systems import SamplerSystem
from hdpainter_nb.evaluation.triplet import FramedTriplet
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.utils.checked import checked

__all__ = ["WatchedSystem", "peak_inside"]

_LEVELS = (16, 32)


@checked
@dataclass(frozen=True, kw_only=True)
class WatchedSystem(SamplerSystem):
    """A `SamplerSystem` that also says how often the words' attention points at the hole.

    For each of the prompt's two words the cross-attention map is meant over steps, heads and
    layers of a level; its highest cell is in the hole or not.
    """

    @property
    def columns(self) -> dict[str, Column]:
        """Seconds, and the share of the two words whose map peaks in the hole, at two levels."""
        peaks = {f"peak_{n}": Column(f"peak H/{n} %", digits=1, scale=100) for n in _LEVELS}
        return {**super().columns, **peaks}

    def _capture(self) -> Capture:
        return Capture.standard().replace(c=False, similarity=False, levels=_LEVELS)

    def _numbers(self, triplet: FramedTriplet, sampler: Sampler) -> dict[str, float]:
        facts = triplet.triplet.facts
        words = [facts[name] for name in ("color", "shape") if name in facts]
        numbers = {}
        for level in _LEVELS:
            inside = [
                peak_inside(
                    np.mean([record.cross[word, level] for record in sampler.records], 0),
                    triplet.hole,
                )
                for word in words
            ]
            numbers[f"peak_{level}"] = float(np.mean(inside)) if inside else float("nan")
        return numbers


def peak_inside(heat: NDArray[np.floating], hole: NDArray[np.bool_]) -> bool:
    """Whether the highest cell of a map `(h, w)` lies in the hole (half of it or more)."""
    rows, columns = heat.shape
    cover = cv2.resize(hole.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    top = int(heat.argmax())
    return bool(cover.flat[top] >= min(0.5, float(cover.max())))
