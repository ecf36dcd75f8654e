"""What the attention hooks of one step are to do: `HookPlan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import HostTransfer
from hdpainter_nb.edits.edit import StepEdits

__all__ = ["HookPlan"]

Half = Literal["both", "cond", "uncond"]


@dataclass(frozen=True, eq=False, kw_only=True)
class HookPlan:
    """What the taps of one step are to do."""

    size: tuple[int, int]  # (H, W) of the padded picture in pixels
    indices: Sequence[int]  # ind(tau)
    tokens: int  # SOT .. EOT, what is kept of the text axis
    rows: dict[int, Tensor]  # level -> (n,) indices of masked positions
    capture: Capture
    painta: bool = False
    residual: bool = True  # switch 11
    smooth: bool = True  # switch 10
    scores: bool = False  # keep the graph of Abar for a gradient
    factor: int = 8  # pixels per latent position
    positions: Sequence[int] | None = None  # the tokens that are kept; None: all of `tokens`
    shelf: HostTransfer | None = None  # where what is kept goes; None: it stays on the device
    row: int = -1  # the row of the batch that is watched
    edits: StepEdits | None = None  # interventions
    cancelled: Callable[[], bool] = lambda: False
