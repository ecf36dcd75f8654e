"""Two small tools for threads: turns on a shared model, and a publisher that drops stale news."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

__all__ = ["Publisher", "Turns"]

_log = logging.getLogger(__name__)


class Turns:
    """First come, first served: who works on one model, one step at a time.

    A plain lock is not fair: a thread that steps in a loop takes it again before the other one
    wakes up, and the second run would stand still until the first has ended.
    """

    _all: ClassVar[weakref.WeakValueDictionary[int, Turns]] = weakref.WeakValueDictionary()
    _all_lock = threading.Lock()

    def __init__(self, model: object) -> None:
        self.model = model  # held, so that its id is not given to another object meanwhile
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    @classmethod
    def of(cls, model: object) -> Turns:
        """The turns of this very object; the same ones for as long as anybody holds them."""
        with cls._all_lock:
            turns = cls._all.get(id(model))
            if turns is None:
                turns = cls._all[id(model)] = cls(model)
            return turns

    @contextmanager
    def take(self, stop: threading.Event) -> Iterator[bool]:
        """Wait in line, then hold the model; gives False, at once, when `stop` is set meanwhile."""
        me = object()
        with self._moved:
            self._line.append(me)
            # Whoever sets `stop` does not know this line, so look now and then.
            while self._line[0] is not me and not stop.is_set():
                self._moved.wait(0.05)
        try:
            yield not stop.is_set()
        finally:
            with self._moved:
                self._line.remove(me)
                self._moved.notify_all()


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


def call_safely(call: Callable[[], object]) -> None:
    """Call; log what goes wrong, so that one listener's mistake does not silence the others."""
    try:
        call()
    except Exception:
        _log.exception("A listener failed")
