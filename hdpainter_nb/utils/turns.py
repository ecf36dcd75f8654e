"""A fair lock on something that several threads share, such as a UNet: `Turns`."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

__all__ = ["Turns"]


class Turns:
    """First come, first served: who works on one shared object, one piece of work at a time.

    The thread that has the turn may take it again inside, as with `threading.RLock`. That lock is
    not fair, however: a thread that steps in a loop takes it again before the next one wakes up,
    and a second run would stand still until the first has ended.

    >>> turns = Turns.of(model.unet)
    >>> with turns.take():
    ...     output = model.unet(...)
    """

    _by_id: ClassVar[weakref.WeakValueDictionary[int, Turns]] = weakref.WeakValueDictionary()
    _by_id_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, shared: object) -> None:
        self.shared = shared  # held, so that its id is not given to another object meanwhile
        self._line: deque[object] = deque()  # a ticket for each; the first has the turn
        self._moved = threading.Condition()
        self._holder: int | None = None  # the thread that has the turn
        self._depth = 0  # how many times it has taken it

    @classmethod
    def of(cls, shared: object) -> Turns:
        """The turns of this very object; the same ones for as long as anybody holds them."""
        with cls._by_id_lock:
            turns = cls._by_id.get(id(shared))
            if turns is None:
                turns = cls._by_id[id(shared)] = cls(shared)
            return turns

    @contextmanager
    def take(self, stop: threading.Event | None = None) -> Iterator[bool]:
        """Wait in line, then have the turn for the time of the ``with``.

        Args:
            stop: ends the waiting when it is set. The ``with`` then gets False, without the turn.
        """
        taken = self._acquire(stop)
        try:
            yield taken
        finally:
            if taken:
                self._release()

    def _acquire(self, stop: threading.Event | None) -> bool:
        thread, ticket = threading.get_ident(), object()
        with self._moved:
            if stop is not None and stop.is_set():
                return False
            if self._holder != thread:
                self._line.append(ticket)
                try:
                    while self._line[0] is not ticket:
                        # Whoever sets `stop` does not know this line, so look now and then.
                        self._moved.wait(None if stop is None else 0.05)
                        if stop is not None and stop.is_set():
                            self._leave(ticket)
                            return False
                except BaseException:  # an interrupt while waiting
                    self._leave(ticket)
                    raise
                self._holder = thread
            self._depth += 1
            return True

    def _release(self) -> None:
        with self._moved:
            self._depth -= 1
            if self._depth == 0:
                self._holder = None
                self._leave(self._line[0])

    def _leave(self, ticket: object) -> None:
        """Out of the line; the next one may come. To be called with the condition held."""
        self._line.remove(ticket)
        self._moved.notify_all()
