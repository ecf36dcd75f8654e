"""What runners need of threads: turns on a shared model, a publisher that drops stale news."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hdpainter_nb.utils.turns import Turns

__all__ = ["Publisher", "call_safely", "turns_of"]

_log = logging.getLogger(__name__)


def turns_of(model: object) -> Turns:
    """The turns of a model's UNet, the same that a sampler's own steps take."""
    return Turns.of(getattr(model, "unet", model))


class Publisher:
    """One daemon thread that makes calls; a newer call under the same key replaces a waiting one.

    So a slow listener skips what is out of date, but never misses what came last.
    """

    def __init__(self, name: str = "hdpainter-publisher") -> None:
        self._waiting: dict[str, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._calling = False
        self.thread = threading.Thread(target=self._publish, name=name, daemon=True)
        self.thread.start()

    def post(self, key: str, call: Callable[[], object]) -> None:
        """Have `call` made soon, unless another one is posted under `key` before that."""
        with self._changed:
            if not self._closed:
                self._waiting[key] = call  # a key that waits already keeps its place
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to call; False when `timeout` seconds passed first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._calling, timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Make the calls that wait, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout)

    def _publish(self) -> None:
        while True:
            with self._changed:
                self._calling = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                call = self._waiting.pop(next(iter(self._waiting)))
                self._calling = True
            call_safely(call)
            del call  # it may hold a widget that is closed while this waits


def call_safely(call: Callable[[], object]) -> None:
    """Call; log what goes wrong, so that one listener's mistake does not silence the others."""
    try:
        call()
    except Exception:
        _log.exception("A listener failed")
