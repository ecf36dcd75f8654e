"""Decoding each step's picture at once, where that holds no run up: `DecodeEachStep`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.state import Status

__all__ = ["DecodeEachStep"]

_MOST = 256_000_000  # bytes of pictures that are decoded in pauses; previews are a 64th of them
_log = logging.getLogger(__name__)


def _into_trace(sampler: Any, _record: Any, picture: Any) -> None:
    sampler.trace.pictures[sampler.node.id] = picture


class DecodeEachStep:
    """Decodes a step's picture where that takes less than half of what a step takes.

    Serves as a runner's `after_step`; everything here happens on its worker. A run that has begun
    with pictures goes on with them unless they take longer than the steps, and one that shows
    previews does so until it pauses: a display now sharp and now blurred is worse than both.

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
        self._each: bool | None = None  # whether this run is shown in pictures; None: not known yet
        self.cost = 0.0

    def __call__(self, sampler: Any, record: Any) -> None:
        """Decode the step just taken, if that is cheap and it has no picture from before."""
        if sampler.node.id not in sampler.trace.pictures and self.cheap():
            self.decode(sampler, record)

    def cheap(self) -> bool:
        """Whether the next picture is thought to take little enough of a step's time."""
        limit = {None: 0.5, True: 1.0, False: 0.0}[self._each]
        self._each = self.cost <= limit * (self._runner.state.seconds_per_step or 0.0)
        return self._each

    def decode(self, sampler: Any, record: Any) -> None:
        """Decode it, whatever that takes."""
        start = time.perf_counter()
        self._keep(sampler, record, sampler.decoded(record))
        self.cost = time.perf_counter() - start

    # --- in pauses -------------------------------------------------------------------------------

    def fill(self, told: Callable[[], object]) -> None:
        """Have the steps of the branch that have no picture decoded while nothing else is to do.

        The newest come first, one by one, so that whatever is asked for meanwhile waits for one
        picture at most.

        Args:
            told: called on the publisher's thread after each of them.
        """

        def again(more: bool) -> None:
            if more:
                told()
                self.fill(told)

        self._runner.do(self._decode_missing, again, key="fill")

    def _decode_missing(self, sampler: Any) -> bool:
        """Decode one picture that is missing; says whether there was one."""
        self._each = None
        if not sampler.records or self._runner.state.status is Status.RUNNING:
            return False
        trace = sampler.trace
        if sum(picture.nbytes for picture in trace.pictures.copy().values()) > _MOST:
            return False
        for node in reversed(trace.path(sampler.branch_id)):
            if node.record is not None and node.id not in trace.pictures:
                try:
                    trace.pictures[node.id] = sampler.decoded(node.record)
                except Exception:  # nobody has asked for it, so it must not stop anything
                    _log.debug("A picture cannot be decoded in a pause", exc_info=True)
                    return False
                return True
        return False
