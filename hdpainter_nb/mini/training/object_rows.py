"""Batches of encoded examples, each decided by its number: what `ExactRun` can go back to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from hdpainter_nb.mini.training.data import latents_of
from hdpainter_nb.mini.training.data_objects import (
    ObjectExample,
    ObjectSource,
    Row,
    in_order,
    to_row,
)

__all__ = ["ObjectRows"]


class ObjectRows(Iterator[Row]):
    """Endless batches; several may share an example, as long as it is among the newest.

    Args:
        source: of groups of examples.
        vae: what encodes them, frozen.
        batch: examples in each.
        fresh: new examples per example drawn; 1 draws each once, in order.
        window: how many of the newest are drawn from, where `fresh` is below 1.
        seed: of the draws.
        share: number of this process, and how many there are; each has groups of its own.
        workers: processes that make examples ahead.
    """

    def __init__(
        self,
        source: ObjectSource,
        vae: AutoencoderKL,
        *,
        batch: int,
        fresh: float = 1.0,
        window: int = 1000,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        self.source, self.vae, self.batch, self.fresh = source, vae, batch, fresh
        self.seed, self.share, self.workers = seed, share, workers
        self.window = batch if fresh >= 1 else max(window, batch)
        self.go_to(0)

    def go_to(self, number: int) -> None:
        """Make batch `number` the next one."""
        self.number = number
        self._rows: deque[Row] = deque(maxlen=self.window)
        end = self._due(number) if self.fresh >= 1 else self._due(number) - self.window
        self._made = max(0, end)
        self._skip = 0  # rows of the next group that come before
        self._groups: Iterator[list[ObjectExample]] | None = None

    def _due(self, number: int) -> int:
        """How many examples were made before batch `number` is drawn."""
        if self.fresh >= 1:
            return number * self.batch
        return self.window + int(number * self.batch * self.fresh)

    def __next__(self) -> Row:
        self.number += 1
        wanted = self._due(self.number) if self.fresh >= 1 else self._due(self.number - 1)
        while self._made < wanted:
            self._make()
        rows = list(self._rows)
        if self.fresh < 1:
            rng = np.random.default_rng([self.seed, *self.share, self.number])
            rows = [rows[i] for i in rng.integers(len(rows), size=self.batch)]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _make(self) -> None:
        """Take in the next group."""
        if self._groups is None:
            size = len(self.source.group(self.share[0]))
            first, self._skip = divmod(self._made, size)
            rank, processes = self.share
            self._groups = in_order(
                self.source, rank + first * processes, step=processes, workers=self.workers
            )
        # encoded together, even where the first ones are left out: a batch of another size rounds
        # otherwise
        rows = encoded(self.vae, next(self._groups))[self._skip :]
        self._skip = 0
        self._rows.extend(rows)
        self._made += len(rows)


@torch.no_grad()
def encoded(vae: AutoencoderKL, examples: list[ObjectExample]) -> list[Row]:
    """Rows of examples: latents of the picture, and of the picture with its hole grey."""
    whole = torch.from_numpy(np.stack([e.image for e in examples])).permute(0, 3, 1, 2)
    whole = (whole.float() / 127.5 - 1).to(vae.dtype)
    hole = torch.from_numpy(np.stack([e.hole for e in examples]))[:, None]
    clean, masked = latents_of(vae, torch.cat([whole, whole * ~hole])).chunk(2)
    together: list[tuple[ObjectExample, Tensor, Tensor]] = list(
        zip(examples, clean, masked, strict=True)
    )
    return [to_row(*one) for one in together]
