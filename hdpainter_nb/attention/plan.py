"""What the attention hooks of one step are to do: `HookPlan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import HostTransfer
from hdpainter_nb.edits.edit import StepEdits
from hdpainter_nb.select import Word
from hdpainter_nb.settings import PaintaScaling

__all__ = ["Half", "HookPlan"]

Half = Literal["both", "cond", "uncond"]
"""Which rows a UNet call has: the unconditional ones before the conditional ones, or one kind."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HookPlan:
    """What the attention hooks of one step are to do."""

    size: tuple[int, int]  # (H, W) of the padded picture in pixels
    indices: Sequence[int]  # ind(tau)
    tokens: int  # SOT .. EOT, what is kept of the text axis
    rows: dict[int, Tensor]  # level -> (n,) indices of masked positions
    capture: Capture
    words: tuple[Word, ...] = ()  # of the prompt, for the record
    token_texts: tuple[str, ...] = ()  # readable, SOT .. EOT, for the record
    painta: bool = False
    residual: bool = True  # switch 11
    smooth: bool = True  # switch 10
    scaling: PaintaScaling = "multiply"  # how c enters PAIntA
    gradient: bool = False  # keep the graph of Abar (eq. 8), of which a gradient is made
    factor: int = 8  # pixels per latent position
    positions: Sequence[int] | None = None  # the tokens that are kept; None: all of `tokens`
    transfer: HostTransfer | None = None  # where what is kept goes; None: it stays on the device
    row: int = -1  # the row of the batch that is watched
    edits: StepEdits | None = None  # interventions
    cancelled: Callable[[], bool] = lambda: False

    def shape(self, level: int) -> tuple[int, int]:
        """(h, w) of an attention resolution."""
        return self.size[0] // level, self.size[1] // level
