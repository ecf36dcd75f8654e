"""What to keep of a step: `Capture`, and how many bytes that will be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.types import LEVELS

__all__ = ["Capture", "Estimate", "readable_bytes"]

Detail = Literal["mean", "layers", "heads"]


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What a `Sampler` keeps of each step. Everything is reduced inside the attention layer.

    Padding tokens are dropped: maps are kept from start-of-text to end-of-text.
    """

    cross: Detail | None = "mean"
    """Cross-attention maps: mean over heads and layers, per layer, or per layer and head."""
    levels: tuple[int, ...] = LEVELS
    """Resolutions of the cross-attention maps, counted from the image: 8, 16, 32."""
    c: bool = True
    """c_j of every PAIntA layer."""
    similarity: bool = True
    """Appendix B's mask-mean self-similarity at H/16 and H/32, before and after PAIntA."""
    scores: bool = True
    """Cross-attention scores before softmax at H/32, what RASG reads (eq. 9)."""

    def __post_init__(self) -> None:
        if self.cross not in (None, "mean", "layers", "heads"):
            raise SettingsError(
                f"cross={self.cross!r} is not one of None, 'mean', 'layers', 'heads'."
            )
        wrong = set(self.levels) - {*LEVELS, 64}
        if wrong:
            raise SettingsError(f"levels {sorted(wrong)} are not among 8, 16, 32, 64.")

    @classmethod
    def standard(cls) -> Capture:
        """Every word's mean map at H/8, H/16 and H/32, c per layer, similarity and scores.

        About 0.2 MB a step for a prompt of five words at 512 px.
        """
        return cls()

    @classmethod
    def everything(cls) -> Capture:
        """As `standard`, but cross-attention per layer and per head."""
        return cls(cross="heads", levels=(*LEVELS, 64))

    @classmethod
    def nothing(cls) -> Capture:
        """Only latents, previews and the gradient's statistics."""
        return cls(cross=None, c=False, similarity=False, scores=False)

    def replace(self, **changes: object) -> Capture:
        """A copy with `changes`."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def bytes_per_step(
        self,
        layers: dict[int, tuple[int, int]],
        tokens: int,
        size: tuple[int, int],
        *,
        painta: bool,
    ) -> int:
        """Bytes kept of one step, apart from the latents.

        Args:
            layers: level -> (cross-attention layers, heads per layer), as the UNet has them.
            tokens: tokens from SOT to EOT.
            size: (H, W) of the padded picture.
            painta: whether PAIntA acts in the step.
        """
        total = 0
        for level, (count, heads) in layers.items():
            area = (size[0] // level) * (size[1] // level)
            if self.cross and level in self.levels:
                maps = {"mean": 1, "layers": count, "heads": count * heads}[self.cross]
                total += 2 * maps * tokens * area  # float16
            if level in (16, 32):
                total += 4 * count * area * (painta and self.c)
                total += 4 * count * area * (1 + painta) * self.similarity
            if level == 32:
                total += 4 * tokens * area * self.scores
        return total


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, counted before it starts."""

    steps: int
    capture_bytes: int
    """Kept in main memory by the end of the run: maps, latents and previews of every step."""
    graph_bytes: int
    """Held at once by the gradient graph on the model's device; 0 without guidance."""
    flops: int
    """Floating-point operations of the whole run's UNet calls and gradients."""
    plain_flops: int
    """The same for plain guided sampling with nothing watched."""

    @property
    def ratio(self) -> float:
        """`flops` over `plain_flops`."""
        return self.flops / self.plain_flops

    def __str__(self) -> str:
        return (
            f"{self.steps} steps: {self.flops / 1e12:.3g} TFLOP "
            f"({self.ratio:.2f} x plain sampling), "
            f"{readable_bytes(self.capture_bytes)} captured in main memory, "
            f"{readable_bytes(self.graph_bytes)} held by the gradient graph"
        )


def readable_bytes(count: float) -> str:
    """A byte count for people: 1.5 MB, 72 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
