"""The record of one step: everything that was seen of it, in NumPy arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.maps import CrossMaps, Float, LevelMaps, Pending, QueryKeys
from hdpainter_nb.utils import html
from hdpainter_nb.utils.wording import method_said

__all__ = [
    "ARRAY_FIELDS",
    "MAP_FIELDS",
    "PLAIN_FIELDS",
    "QUERY_FIELDS",
    "GradStats",
    "Record",
    "arrays_of",
    "describe",
    "gradient_stats",
    "stored",
]

PLAIN_FIELDS = ("index", "timestep", "score", "sigma", "alpha", "guided_norm", "seconds")
"""The fields of a `Record` that are numbers."""
ARRAY_FIELDS = ("latents", "x0_latents", "x0_preview", "scores", "x0_unblended", "object_mask")
"""Those that are one array, or None."""
MAP_FIELDS = ("c", "similarity", "similarity_painta")
"""Those that are `LevelMaps` of (h, w)."""
QUERY_FIELDS = ("self_qk", "cross_qk")
"""Those that are `QueryKeys`."""


@dataclass(frozen=True, eq=False)
class GradStats:
    """g = grad_{x_t} S and its standardised form (eq. 7), as statistics (figs. 12 and 13)."""

    mean: float
    std: float
    skewness: float
    kurtosis: float  # excess: 0 for a normal distribution
    hist: NDArray[np.int64]  # (bins,) counts of g
    edges: Float  # (bins + 1,)
    standard_hist: NDArray[np.int64]  # (bins,) counts of the standardised g
    standard_edges: Float  # (bins + 1,) from -5 to 5, in standard deviations


@dataclass(frozen=True, eq=False)
class Record:
    """What was seen in one step, from x_t to x_{t-1}. NumPy arrays only."""

    index: int
    """Where the step stands in its run, from 0, as code counts; people read `number`."""
    timestep: int
    """t, in training steps: 999 is pure noise."""
    latents: Float
    """(4, h, w): x_t entering the step, as the UNet takes it."""
    x0_latents: Float
    """(4, h, w): the x0 prediction."""
    x0_preview: NDArray[np.uint8]
    """(h, w, 3): a linear RGB reading of `x0_latents`, of their size."""
    cross: CrossMaps
    """Cross-attention probabilities (conditional half)."""
    c: LevelMaps
    """c_j of each PAIntA layer, normalised to 0 .. 1, (h, w); empty where PAIntA did not act."""
    similarity: LevelMaps
    """Appendix B: self-similarity before softmax, mean over masked rows and heads, (h, w)."""
    similarity_painta: LevelMaps
    """The same after PAIntA's rescaling; empty where PAIntA did not act."""
    scores: Float | None
    """(tokens, H/32, W/32): Abar^k of eq. 9, scores before softmax, mean over layers and heads."""
    score: float | None
    """S(x_t), which guidance descends; None without guidance."""
    grad: GradStats | None
    """Statistics of g = grad S; None without guidance."""
    sigma: float
    """sigma_t of eq. 3, in units of the latent: how much noise, or gradient, the step adds."""
    alpha: float
    """Cumulative alpha_t."""
    guided_norm: float
    """Root mean square of the classifier-free guidance term eps_cond - eps_uncond."""
    seconds: float
    """Wall-clock time of the step."""
    settings: BaseSettings
    """The settings under which this step was made."""
    x0_unblended: Float | None = None
    """(4, h, w): the x0 prediction before eq. 10 blended the original in; None where it did not."""
    object_mask: Float | None = None
    """(h, w), 0 to 1: where the UNet takes the new object to be; None where it does not say."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What a multistep scheduler remembers after the step, to go on from a file."""
    score_maps: LevelMaps = field(default_factory=lambda: LevelMaps({}))
    """Scores before softmax of each layer, ([heads,] tokens, h, w); empty unless asked for."""
    self_qk: QueryKeys = field(default_factory=lambda: QueryKeys({}))
    """Queries and keys of self-attention, before PAIntA; empty unless asked for."""
    cross_qk: QueryKeys = field(default_factory=lambda: QueryKeys({}))
    """Queries and keys of cross-attention; empty unless asked for."""
    holes: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    """Level -> (h, w): what PAIntA took to be masked; empty unless `self_qk` is kept."""

    @property
    def number(self) -> int:
        """The step's number as people count: 1 for the first. All that is shown has this one."""
        return self.index + 1

    def __repr__(self) -> str:
        parts = [f"step {self.number}", f"t={self.timestep}", self.settings.method]
        if self.score is not None:
            parts.append(f"S={self.score:.4g}")
        return f"Record({', '.join(parts)}, {self.seconds * 1000:.0f} ms)"

    def _repr_html_(self) -> str:
        facts: dict[str, Any] = {
            "step, t": f"{self.number}, {self.timestep}",
            "method": method_said(self.settings.method),
            "words": ", ".join(word.text for word in self.cross.words),
            "attention at": ", ".join(f"H/{level}" for level in self.cross.levels),
            "sigma": self.sigma,
            "time": f"{self.seconds * 1000:.0f} ms",
        }
        if self.score is not None and self.grad is not None:
            facts |= {"S": self.score, "std of grad S": self.grad.std}
        return html.card(html.picture(self.x0_preview), html.table(facts))


def gradient_stats(g: NDArray[Any], standard: NDArray[Any], bins: int = 61) -> GradStats:
    """Moments and histograms of the gradient before and after standardisation (figs. 12, 13).

    Args:
        g, standard: the gradient and `standardised` of it, of any one shape.
        bins: odd, so that one bin is centred on zero.
    """
    raw = np.asarray(g, np.float64).ravel()
    unit = np.asarray(standard, np.float64).ravel()
    mean, std = float(raw.mean()), float(raw.std())
    z = (raw - mean) / std if std > 0 else raw * 0
    reach = max(float(np.abs(raw).max()), 1e-30)
    hist, edges = np.histogram(raw, bins, (-reach, reach))
    unit_hist, unit_edges = np.histogram(unit.clip(-5, 5), bins, (-5, 5))
    return GradStats(
        mean=mean,
        std=std,
        skewness=float((z**3).mean()),
        kurtosis=float((z**4).mean() - 3) if std > 0 else 0.0,
        hist=hist.astype(np.int64),
        edges=edges,
        standard_hist=unit_hist.astype(np.int64),
        standard_edges=unit_edges,
    )


def stored(record: Record, store: ArrayStore) -> Record:
    """The record with all its arrays within the budget; its maps, q and k are already."""

    def added(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return store.add(np.ascontiguousarray(value))
        if isinstance(value, Mapping):
            return {name: added(part) for name, part in value.items()}
        return tuple(map(added, value)) if isinstance(value, tuple) else value

    names = (*ARRAY_FIELDS, "holes", "memory")
    changes = {name: added(getattr(record, name)) for name in names}
    if record.grad is not None:
        changes["grad"] = GradStats(**added(vars(record.grad)))
    return dataclasses.replace(record, **changes)


def arrays_of(record: Record) -> Iterator[NDArray[Any] | Pending]:
    """Every array of a record; waits for none, so some may be on their way."""

    def inside(value: Any) -> Iterator[NDArray[Any] | Pending]:
        if isinstance(value, CrossMaps):
            value = value.maps
        if isinstance(value, LevelMaps | QueryKeys):
            value = value.waiting
        if isinstance(value, GradStats):
            value = vars(value)
        if isinstance(value, Mapping | tuple):
            for part in value.values() if isinstance(value, Mapping) else value:
                yield from inside(part)
        elif isinstance(value, np.ndarray) or hasattr(value, "wait"):
            yield value

    return inside(vars(record))


def describe(records: Sequence[Record]) -> str:
    """What was kept of a run, in words."""
    cross: dict[str, set[int]] = {}
    rest: dict[str, None] = {}  # an ordered set
    for record in records:
        for level, named in record.cross.maps.waiting.items():
            detail = "mean" if "mean" in named else "per layer"
            detail = "per head" if any(a.ndim == 4 for a in named.values()) else detail
            cross.setdefault(f"cross-attention {detail}", set()).add(level)
        maps = {"c": record.c, "similarity": record.similarity, "scores": record.scores}
        rest |= {name: None for name, held in maps.items() if held is not None and len(held)}
        for kind, name in zip(QUERY_FIELDS, ("self", "cross"), strict=True):
            if count := len(getattr(record, kind)):
                rest[f"q and k of {count} {name}-attention layers"] = None
    parts = [
        f"{what} at {', '.join(f'H/{level}' for level in sorted(levels))}"
        for what, levels in cross.items()
    ]
    return "; ".join([*parts, ", ".join(rest)] if rest else parts) or "latents and previews"
