"""A sampler on a thread of its own, so that a notebook's buttons stay alive while it works.

The rule: one worker thread owns the model. Handlers of widgets only put commands in its queue, and
only the publisher's thread tells listeners, and thereby widgets, what came of it.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.state import SamplerLike
from hdpainter_widgets.runner.threads import Publisher, call_safely

__all__ = ["Runner", "SyncRunner", "runner_for", "wants_sync"]


class SyncRunner(BaseRunner):
    """Carries out every command in the caller's thread before it returns: for tests and scripts."""

    def __init__(self, sampler: SamplerLike) -> None:
        super().__init__(sampler)
        self._commands: deque[Callable[[], object]] = deque()
        self._draining = False

    def post(self, key: str, call: Callable[[], object]) -> None:
        """Call at once."""
        call_safely(call)

    def wait(self, timeout: float | None = None) -> bool:
        """Raise what stopped the run; there is nothing to wait for."""
        if self._failure is not None:
            raise self._failure.error
        return True

    def close(self) -> None:
        """Ignore further commands."""
        self._stop.set()
        self._closed = True

    def _enqueue(self, command: Callable[[], object]) -> bool:
        if self._closed:
            return False
        self._commands.append(command)
        if self._draining:  # a listener's command: carried out when the listener has returned
            return True
        self._draining = True
        try:
            while self._commands or self._left:
                self._carry_out(self._commands.popleft() if self._commands else self._advance)
        finally:
            self._draining = False
        return True


class Runner(BaseRunner):
    """Carries out commands on a daemon thread; listeners are called on another one.

    Two runners whose samplers share a model take turns, step by step. Close it when done, or use
    it in a ``with`` statement; what is still open ends with the interpreter.
    """

    _open: ClassVar[weakref.WeakSet[Runner]] = weakref.WeakSet()

    def __init__(self, sampler: SamplerLike) -> None:
        super().__init__(sampler)
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._pending = 0
        self._worked = threading.Condition()
        self._publisher = Publisher()
        self._thread = threading.Thread(target=self._work, name="hdpainter-worker", daemon=True)
        self._thread.start()
        Runner._open.add(self)

    def post(self, key: str, call: Callable[[], object]) -> None:
        """Have `call` made by the publisher; latest wins under each `key`."""
        self._publisher.post(key, call)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the worker and the publisher; see `BaseRunner.wait`."""
        if threading.current_thread() in (self._thread, self._publisher.thread):
            raise RuntimeError("wait() would wait for itself: it was called by a listener")
        end = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if end is None else max(0.0, end - time.monotonic())

        while not self._quiet():  # listeners may have asked for more
            with self._worked:
                if not self._worked.wait_for(self._quiet, left()):
                    return False
            if not self._publisher.flush(left()):
                return False
        if not self._publisher.flush(left()):
            return False
        if self._failure is not None:
            raise self._failure.error
        return True

    def close(self) -> None:
        """Give up the step under way and end both threads."""
        if not self._closed:
            self.cancel()
            self._closed = True
            self._queue.put(None)
        if threading.current_thread() not in (self._thread, self._publisher.thread):
            self._thread.join(30)
        self._publisher.close()
        Runner._open.discard(self)

    def _quiet(self) -> bool:
        return not self._thread.is_alive() or (self._pending == 0 and self._left == 0)

    def _enqueue(self, command: Callable[[], object]) -> bool:
        if self._closed:
            return False
        with self._worked:
            self._pending += 1
        self._queue.put(command)
        return True

    def _work(self) -> None:
        while True:
            command: Callable[[], object] | None = self._advance
            taken = False
            try:
                wait = self._due - time.monotonic()
                if self._left and wait > 0:
                    command = self._queue.get(timeout=wait)
                else:
                    command = self._queue.get(block=self._left == 0)
                taken = True
            except queue.Empty:
                pass  # nobody wants anything: go on stepping
            if command is None:
                break
            self._carry_out(command)
            with self._worked:
                self._pending -= taken
                self._worked.notify_all()
        with self._worked:
            self._worked.notify_all()


@atexit.register
def _close_all() -> None:
    """A daemon thread inside torch while the interpreter goes down can crash it."""
    for runner in list(Runner._open):
        runner.close()


def wants_sync() -> bool:
    """Whether the environment says ``HDPAINTER_SYNC=1``: no threads."""
    return os.environ.get("HDPAINTER_SYNC", "").strip().lower() in ("1", "true", "yes", "on")


def runner_for(sampler: SamplerLike) -> BaseRunner:
    """A `Runner`, or a `SyncRunner` where the environment says ``HDPAINTER_SYNC=1``."""
    return SyncRunner(sampler) if wants_sync() else Runner(sampler)
