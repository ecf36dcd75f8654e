"""Decoding each step's picture at once, where that holds no run up: `DecodeEachStep`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hdpainter_widgets.runner.base import BaseRunner

__all__ = ["DecodeEachStep"]


def _into_trace(sampler: Any, _record: Any, picture: Any) -> None:
    sampler.trace.pictures[sampler.node.id] = picture


class DecodeEachStep:
    """Decodes a step's picture where that takes less than half of what a step takes.

    Serves as a runner's `after_step`; everything here happens on its worker.

    Args:
        runner: whose pace counts.
        keep: called as ``keep(sampler, record, picture)``; puts it into the trace by default, at
            the node where the sampler stands.

    Attributes:
        cost: what the last picture took, in seconds; 0 has the next one tried.
    """

    def __init__(
        self, runner: BaseRunner, keep: Callable[[Any, Any, Any], object] = _into_trace
    ) -> None:
        self._runner = runner
        self._keep = keep
        self.cost = 0.0

    def __call__(self, sampler: Any, record: Any) -> None:
        """Decode the step just taken, if that is cheap."""
        if self.cheap:
            self.decode(sampler, record)

    @property
    def cheap(self) -> bool:
        """Whether the next picture is thought to take less than half of a step's time."""
        return self.cost <= 0.5 * (self._runner.state.seconds_per_step or 0.0)

    def decode(self, sampler: Any, record: Any) -> None:
        """Decode it, whatever that takes."""
        start = time.perf_counter()
        self._keep(sampler, record, sampler.decoded(record))
        self.cost = time.perf_counter() - start
