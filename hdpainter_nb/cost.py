"""What a run will cost, as the user reads it: `Estimate`, and `PaintEstimate` of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdpainter_nb import show

__all__ = ["Estimate", "PaintEstimate", "readable_bytes"]


def readable_bytes(count: float) -> str:
    """A byte count for people: 1.5 MB, 72 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, counted before it starts.

    Peaks are the bytes of tensors. What CUDA itself takes (about half a GB) and what its
    allocator wastes (some per cent) come on top.
    """

    steps: int
    capture_bytes: int
    """Kept by the end of the run: maps, latents and previews of every step."""
    graph_bytes: int
    """Held at once by the gradient graph on the model's device; 0 without guidance."""
    flops: int
    """Floating-point operations of the whole run's UNet calls and gradients."""
    plain_flops: int
    """The same for plain guided sampling with nothing watched."""
    weight_bytes: int = 0
    """Weights that stay on the model's device all the time; 0 where they are offloaded."""
    phases: Mapping[str, int] = field(default_factory=dict)
    """``prepare``, ``step``, ``decode`` -> the most that is held at once on the model's device,
    weights included. A bare UNet has only ``step``."""
    tile: int | None = None
    """Side in pixels of the tiles that the VAE is assumed to decode in; None: in one piece."""
    dtype: str = ""
    """The precision counted for: ``float16``."""
    budget: int | None = None
    """What of `capture_bytes` may lie in main memory; the rest goes to disk. None: all of it."""

    @property
    def ratio(self) -> float:
        """`flops` over `plain_flops`."""
        return self.flops / self.plain_flops

    @property
    def peak_bytes(self) -> int:
        """The largest of `phases`: what the device must have free before the model is loaded."""
        return max(self.phases.values(), default=0)

    def __str__(self) -> str:
        text = (
            f"{self.steps} steps: {self.flops / 1e12:.3g} TFLOP "
            f"({self.ratio:.2f} x plain sampling), "
            f"{self._captured()}, "
            f"{readable_bytes(self.graph_bytes)} held by the gradient graph"
        )
        if not self.phases:
            return text
        each = ", ".join(f"{name} {readable_bytes(n)}" for name, n in self.phases.items())
        return (
            f"{text}; peak {readable_bytes(self.peak_bytes)} in {self.dtype} "
            f"(weights {readable_bytes(self.weight_bytes)}; {each}{self._tiles()})"
        )

    def _captured(self) -> str:
        whole = f"{readable_bytes(self.capture_bytes)} captured"
        if self.budget is None or self.capture_bytes <= self.budget:
            return f"{whole} in main memory"
        return f"{whole}, all but {readable_bytes(self.budget)} of it on disk"

    def _tiles(self) -> str:
        return "" if self.tile is None else f" in tiles of {self.tile} px"

    def _repr_html_(self) -> str:
        return show.table(self._facts())

    def _facts(self) -> dict[str, Any]:
        peaks = {f"peak of {name}": readable_bytes(n) for name, n in self.phases.items()}
        if self.tile is not None and "peak of decode" in peaks:
            peaks["peak of decode"] += self._tiles()
        return {
            "peak on the device": f"{readable_bytes(self.peak_bytes)} in {self.dtype}",
            "weights": readable_bytes(self.weight_bytes),
            **peaks,
            "gradient graph": readable_bytes(self.graph_bytes),
            "captured": self._captured(),
            "operations": f"{self.flops / 1e12:.3g} TFLOP in {self.steps} steps, "
            f"{self.ratio:.2f} x plain sampling",
        }


@dataclass(frozen=True)
class PaintEstimate:
    """What `paint` will cost: filling the hole, then making the result larger."""

    paint: Estimate
    upscale: Estimate | None
    """None where no network makes it larger."""

    @property
    def stages(self) -> dict[str, Estimate]:
        """``paint``, and ``upscale`` where there is one."""
        both = {"paint": self.paint, "upscale": self.upscale}
        return {name: stage for name, stage in both.items() if stage is not None}

    @property
    def weight_bytes(self) -> int:
        """Of both models, which lie on the device together."""
        return sum(stage.weight_bytes for stage in self.stages.values())

    @property
    def phases(self) -> dict[str, int]:
        """``paint step`` and so on -> the most held at once, both models' weights included."""
        return {
            f"{name} {phase}": held + self.weight_bytes - stage.weight_bytes
            for name, stage in self.stages.items()
            for phase, held in stage.phases.items()
        }

    @property
    def peak_bytes(self) -> int:
        """The largest of `phases`."""
        return max(self.phases.values(), default=0)

    @property
    def flops(self) -> int:
        """Of both stages."""
        return sum(stage.flops for stage in self.stages.values())

    def __str__(self) -> str:
        each = ", ".join(f"{name} {readable_bytes(n)}" for name, n in self.phases.items())
        return (
            f"{self.flops / 1e12:.3g} TFLOP; peak {readable_bytes(self.peak_bytes)} "
            f"(weights {readable_bytes(self.weight_bytes)}; {each})"
        )

    def _repr_html_(self) -> str:
        cards = [show.table({"": name, **s._facts()}) for name, s in self.stages.items()]
        both = {
            "peak of both": readable_bytes(self.peak_bytes),
            "weights of both": readable_bytes(self.weight_bytes),
            "operations": f"{self.flops / 1e12:.3g} TFLOP",
        }
        return show.card(show.table(both), *cards)
