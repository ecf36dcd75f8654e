"""Self-attention of one step, asked pixel by pixel.

A layer's queries and keys are kept instead of its matrix: 5 MB instead of 268 at 64 x 64 positions.
Any row of the matrix is one product away.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.painta import key_scale
from hdpainter_nb.taps import Plan, Seen

__all__ = ["SelfAttention"]


class SelfAttention:
    """Where pixels look: rows of the self-attention at H/16 and H/32 (conditional half).

    Made by `Sampler.attention`.

    Attributes:
        levels: the resolutions that can be asked for.
        c: level -> layer -> (hw,), where PAIntA acted.
    """

    def __init__(self, seen: Seen, plan: Plan) -> None:
        self._queries = seen.queries
        self._plan = plan
        self.c = seen.c if plan.painta else {}
        self.levels = tuple(sorted(seen.queries))

    def layers(self, level: int = 16) -> list[str]:
        """Names of the layers at a level, in the order in which they run."""
        return list(self._queries[self._known(level)])

    def row(
        self,
        x: float,
        y: float,
        *,
        level: int = 16,
        layer: str | None = None,
        head: int | None = None,
        painta: bool = True,
    ) -> NDArray[np.float32]:
        """The attention of the pixel at (x, y) of the picture to all others.

        Args:
            x, y: in pixels of the picture that was sampled, from its upper left corner.
            level, layer, head: which attention; means over layers and heads where None.
            painta: with PAIntA's rescaling, where it acted (eq. 5); without it otherwise.

        Returns:
            (H/level, W/level), summing to 1.

        Raises:
            SettingsError: the pixel lies outside, or there is no such level, layer or head.
        """
        height, width = self._shape(level)
        row, column = int(y // level), int(x // level)
        if not (0 <= row < height and 0 <= column < width):
            raise SettingsError(
                f"Pixel ({x:g}, {y:g}) lies outside the {width * level} x {height * level} picture."
            )
        region = np.zeros((height, width), bool)
        region[row, column] = True
        return self.region(region, level=level, layer=layer, head=head, painta=painta)

    def region(
        self,
        region: ArrayLike,
        *,
        level: int = 16,
        layer: str | None = None,
        head: int | None = None,
        painta: bool = True,
    ) -> NDArray[np.float32]:
        """The mean attention of all pixels of a region.

        Args:
            region: (H/level, W/level) bool, at least one True.

        Returns:
            (H/level, W/level), summing to 1.

        Raises:
            SettingsError: the region is empty or of another shape; as `row` otherwise.
        """
        shape = self._shape(level)
        chosen = np.asarray(region, bool)
        if chosen.shape != shape or not chosen.any():
            raise SettingsError(
                f"The region must be a bool array of shape {shape} with something in it, "
                f"not {chosen.shape} with {int(chosen.sum())} positions."
            )
        rows = torch.from_numpy(chosen.ravel()).nonzero()[:, 0]
        names = self.layers(level) if layer is None else [layer]
        maps = [self._mean_row(level, name, rows, head, painta) for name in names]
        mean: NDArray[np.float32] = torch.stack(maps).mean(0).cpu().numpy().reshape(shape)
        return mean

    def _mean_row(
        self, level: int, layer: str, rows: torch.Tensor, head: int | None, painta: bool
    ) -> torch.Tensor:
        if layer not in self._queries[level]:
            raise SettingsError(
                f"There is no layer {layer!r} at H/{level}; there are "
                f"{', '.join(self.layers(level))}."
            )
        q, k = self._queries[level][layer]  # (heads, hw, d)
        if head is not None:
            if not 0 <= head < len(q):
                raise SettingsError(f"There is no head {head}; there are {len(q)}.")
            q, k = q[head : head + 1], k[head : head + 1]
        rows = rows.to(q.device)
        logits = q[:, rows].float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5
        if painta and level in self.c:
            masked = self._plan.rows[level]
            scale = key_scale(self.c[level][layer], masked)  # (hw,)
            inside = torch.isin(rows, masked)[:, None]  # only masked rows are rescaled
            logits = torch.where(inside, logits * scale, logits)
        return logits.softmax(-1).mean((0, 1))  # (hw,)

    def _shape(self, level: int) -> tuple[int, int]:
        self._known(level)
        return self._plan.size[0] // level, self._plan.size[1] // level

    def _known(self, level: int) -> int:
        if level not in self._queries:
            raise SettingsError(f"There is no level {level}; there are {list(self.levels)}.")
        return level

    def __repr__(self) -> str:
        found = ", ".join(f"H/{level}: {len(self.layers(level))} layers" for level in self.levels)
        return f"SelfAttention({found})"
