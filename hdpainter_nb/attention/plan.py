"""Attention taps: with `processors`, the only files that touch diffusers' `Attention`.

`Taps` puts itself into a UNet for one step and takes itself out again in a ``finally``: afterwards
every processor is the very object it was, and no hook is left. While inside, it

- makes the self-attention of H/16 and H/32 introverted where PAIntA asks for it (eq. 5),
- keeps the cross-attention scores before softmax at H/32 with their graph, for RASG (eq. 9),
- reduces what `Capture` wants to see, and drops the rest.

The conditional half always comes last in a batch of two, or alone, and before the unconditional
half when they run apart, because both halves use the conditional half's c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import Shelf
from hdpainter_nb.edits.edit import StepEdits

__all__ = ["Plan"]

Half = Literal["both", "cond", "uncond"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
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
    shelf: Shelf | None = None  # where what is kept goes; None: it stays on the device
    row: int = -1  # the row of the batch that is watched
    edits: StepEdits | None = None  # interventions
    cancelled: Callable[[], bool] = lambda: False
