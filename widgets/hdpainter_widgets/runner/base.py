"""The commands that a runner carries out, whichever thread does it: `BaseRunner`."""

from __future__ import annotations

import itertools
import math
import statistics
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from hdpainter_nb.errors import HDPainterError, SamplingCancelled
from hdpainter_nb.utils.turns import Turns
from hdpainter_widgets.runner.state import (
    Failure,
    Listeners,
    RunState,
    SamplerLike,
    Status,
    trace_key,
)
from hdpainter_widgets.runner.threads import turns_of

__all__ = ["BaseRunner"]

T = TypeVar("T")


class BaseRunner(ABC):
    """What both runners do; they differ in who does it, and when.

    Args:
        sampler: anything shaped like `hdpainter_nb.Sampler`.
    """

    def __init__(self, sampler: SamplerLike) -> None:
        self._sampler = sampler
        self._turns = turns_of(sampler.model)
        self._left = 0.0  # steps still to take; infinite while running to the end
        self._times: deque[float] = deque(maxlen=8)
        self._failure: Failure | None = None
        self._stop = threading.Event()  # set by cancel(), looked at in every step
        self._guard = threading.Lock()  # of _stepping and _newest
        self._stepping: SamplerLike | None = None
        self._newest: dict[str, Future[Any]] = {}
        self._closed = False
        self._listeners = Listeners()
        self.speed = 5.0
        """Steps a second at which `run` shows steps again that were made before. They would take no
        time at all, and nobody could watch them."""
        self._due = 0.0  # when the next of these may be shown, by the monotonic clock
        self.key = uuid.uuid4().hex
        """Names the runner among those of all kernels that a page has known."""
        self._told = itertools.count()
        self.after_step: Callable[[Any, Any], object] | None = None
        """Called as ``after_step(sampler, record)`` by the worker itself, in the step's own turn:
        for what needs the model after every step, such as decoding."""
        self._state = self._look()

    # --- what is there to see --------------------------------------------------------------------

    @property
    def sampler(self) -> SamplerLike:
        """The sampler at work; another one after `branch` or `use`."""
        return self._sampler

    @property
    def records(self) -> tuple[Any, ...]:
        """The records of the sampler's branch, oldest first."""
        return tuple(self._sampler.records)

    @property
    def state(self) -> RunState:
        """What the runner is doing: a value that does not change under your hands."""
        return self._state

    @property
    def turns(self) -> Turns:
        """In which the work on the sampler's model is done, one piece at a time."""
        return self._turns

    @property
    def closed(self) -> bool:
        """Whether `close` was called; commands are then ignored."""
        return self._closed

    def on_record(self, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Call `listener(record)` after steps, latest wins; gives a function that unsubscribes.

        A listener slower than the steps is told of the latest; `records` has them all.
        """
        return self._listeners.add("record", listener)

    def on_state(self, listener: Callable[[RunState], object]) -> Callable[[], None]:
        """Call `listener(state)` on changes, latest wins; gives a function that unsubscribes."""
        return self._listeners.add("state", listener)

    def on_error(self, listener: Callable[[Failure], object]) -> Callable[[], None]:
        """Call `listener(failure)` when something failed; gives a function that unsubscribes."""
        return self._listeners.add("error", listener)

    # --- commands: all return at once, from any thread -------------------------------------------

    def step(self, n: int = 1) -> None:
        """Take `n` steps, or as many as there are."""
        self._enqueue(partial(self._aim, float(n)))

    def run(self) -> None:
        """Take steps until the end, or until `pause`."""
        self._enqueue(partial(self._aim, float("inf")))

    def run_to(self, index: int) -> None:
        """Take or undo steps until `index` are taken, or as many as there are."""
        self._enqueue(partial(self._run_to, index))

    def pause(self) -> None:
        """Stop after the step under way."""
        self._enqueue(partial(self._aim, 0.0))

    def cancel(self) -> None:
        """Stop now: the step under way is given up, and so are those asked for before."""
        self._stop.set()
        with self._guard:  # the sampler is told only while it steps: later ones are not meant
            if self._stepping is not None:
                self._stepping.cancel()
        self._enqueue(self._cancelled)

    def back(self, n: int = 1) -> None:
        """Undo `n` steps, as far as there are any; a run pauses."""
        self.change(lambda s: s.back(min(n, s.index)) if s.index else s)

    def restart(self) -> None:
        """Go back before the first step."""
        self.change(lambda s: s.restart())

    def branch(self, **changes: Any) -> None:
        """Go on from here with other settings, on a branch of its own; `sampler` is then that."""
        self.change(lambda s: s.branch(**changes))

    def use(self, sampler: SamplerLike) -> None:
        """Go on with another sampler."""
        self.change(lambda _: sampler)

    def change(self, change: Callable[[Any], SamplerLike | None]) -> None:
        """Go on with the sampler that ``change(sampler)`` gives, called between steps."""
        self._enqueue(partial(self._changed, change))

    def do(
        self,
        work: Callable[[Any], T],
        then: Callable[[T], object] | None = None,
        key: str | None = None,
    ) -> Future[T]:
        """Have `work(sampler)` done between steps, by the thread that owns the model.

        Args:
            work: decodes a latent, say.
            then: called with the result by the publisher, as listeners are.
            key: a newer `do` with the same key replaces one that still waits.

        Returns:
            The result to come; cancelled if it was replaced. An exception also goes to `on_error`.
        """
        future: Future[T] = Future()
        if key is not None:
            with self._guard:
                self._newest[key] = future
        if not self._enqueue(partial(self._do, work, then, key, future)):
            future.cancel()
        return future

    def ask(self, work: Callable[[Any], T]) -> T:
        """Have `work(sampler)` done as `do` does, and wait for it.

        What the library raises in it, or the file system, is raised here and stops no run.
        """

        def tried(sampler: Any) -> Callable[[], T]:
            try:
                result = work(sampler)
            except (HDPainterError, OSError) as error:
                return partial(_raised, error)
            return lambda: result

        return self.do(tried).result()()

    @abstractmethod
    def post(self, key: str, call: Callable[[], object]) -> None:
        """Have `call` made where listeners are called; latest wins under each `key`."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all commands are carried out and listeners told.

        Returns:
            False when `timeout` seconds passed first.

        Raises:
            Exception: the one that stopped the run, if one did.
        """

    @abstractmethod
    def close(self) -> None:
        """Give up the step under way and end the threads. May be called twice."""

    def __enter__(self) -> BaseRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- carried out by the worker ---------------------------------------------------------------

    @abstractmethod
    def _enqueue(self, command: Callable[[], object]) -> bool: ...

    def _carry_out(self, command: Callable[[], object]) -> None:
        """Every command passes through here, and every step."""
        command()

    def _aim(self, steps: float) -> None:
        self._left = steps
        self._due = 0.0
        if steps:
            self._failure = None
        self._tell()

    def _run_to(self, index: int) -> None:
        missing = index - self._sampler.index  # known only between steps
        if missing < 0:
            self._changed(lambda sampler: sampler.back(-missing))
        else:
            self._aim(float(missing))

    def _cancelled(self) -> None:
        self._stop.clear()
        self._aim(0.0)

    def _advance(self) -> None:
        """One step, in turn with other runners on the same model."""
        sampler = self._sampler
        if sampler.done or self._stop.is_set():
            self._aim(0.0)
            return
        start = time.perf_counter()
        made_before = not getattr(sampler, "at_end", True)
        try:
            with self._turns.take(self._stop) as taken:
                if not taken:
                    return
                with self._guard:
                    self._stepping = sampler
                try:
                    record = sampler.step()
                    if self.after_step is not None:
                        self.after_step(sampler, record)
                finally:
                    with self._guard:
                        self._stepping = None
        except SamplingCancelled:
            self._aim(0.0)
            return
        except Exception as error:
            self._fail(error)
            return
        if not made_before:
            self._times.append(time.perf_counter() - start)
        elif math.isinf(self._left):
            self._due = time.monotonic() + 1 / self.speed
        self._left = 0.0 if self._sampler.done else self._left - 1
        self._announce("record", record)
        self._tell()

    def _changed(self, change: Callable[[Any], SamplerLike | None]) -> None:
        self._left = 0.0
        try:
            # Undoing and branching may replay a step, which takes the model.
            with self._turns.take():
                sampler = change(self._sampler) or self._sampler
        except Exception as error:
            self._fail(error)
            return
        if sampler is not self._sampler:
            self._sampler = sampler
            self._turns = turns_of(sampler.model)
        self._failure = None
        self._tell()

    def _do(
        self,
        work: Callable[[Any], T],
        then: Callable[[T], object] | None,
        key: str | None,
        future: Future[T],
    ) -> None:
        if key is not None:
            with self._guard:
                replaced = self._newest.get(key) is not future
                if not replaced:
                    del self._newest[key]  # what comes of it is the asker's to keep
            if replaced:
                future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self._turns.take():
                result = work(self._sampler)
        except Exception as error:
            future.set_exception(error)
            self._fail(error)
            return
        future.set_result(result)
        if then is not None:
            self.post(f"then {key or id(future)}", partial(then, result))

    def _fail(self, error: Exception) -> None:
        self._left = 0.0
        self._failure = Failure.of(error)
        self._announce("error", self._failure)
        self._tell()

    def _look(self) -> RunState:
        sampler, status = self._sampler, Status.IDLE
        if self._failure is not None:
            status = Status.ERROR
        elif self._left and not sampler.done:
            status = Status.RUNNING
        elif 0 < sampler.index < sampler.total:
            status = Status.PAUSED
        pace = statistics.median(self._times) if self._times else None
        return RunState(
            status,
            sampler.index,
            sampler.total,
            pace,
            self._failure,
            node=getattr(getattr(sampler, "node", None), "id", -1),
            branch=getattr(sampler, "branch_id", 0),
            serial=next(self._told),
            trace=trace_key(getattr(sampler, "trace", None)),
        )

    def _tell(self) -> None:
        self._state = self._look()
        self._announce("state", self._state)

    def _announce(self, event: str, value: object) -> None:
        self.post(event, partial(self._listeners.notify, event, value))


def _raised(error: Exception) -> Any:
    raise error
