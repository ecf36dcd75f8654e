"""A trace on its way to the browser, no faster than the page takes it."""

from __future__ import annotations

import copy
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from hdpainter_nb.trace import web
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.runner.state import trace_key
from hdpainter_widgets.runner.threads import call_safely

__all__ = ["Message", "PacedSender", "TraceStream", "snapshot"]

Message = tuple[dict[str, Any], list[bytes]]
Later = Callable[[float, Callable[[], object]], Callable[[], object]]
_BATCH = 2_000_000  # bytes in one message; a single step may be larger
_MOST = 200  # steps in one message, where they are small


def snapshot(trace: Trace) -> Trace:
    """The trace as it is now, safe to read while another thread adds steps.

    Arrays and records are shared. Whoever adds does so in the order nodes, branches, tips; copying
    in the opposite order keeps every tip's branch and node. Copying a dict of ints is one
    uninterrupted operation, iterating over it is not.
    """
    shot = copy.copy(trace)
    shot.pictures = trace.pictures.copy()
    shot.tips = trace.tips.copy()
    branches = trace.branches.copy()
    shot.branches = {number: b for number, b in branches.items() if number in shot.tips}
    shot.nodes = trace.nodes.copy()
    return shot


class Source(Protocol):
    """What a `PacedSender` sends."""

    def rewind(self) -> None:
        """Begin anew: a page has been loaded that knows nothing."""

    def next(self) -> Message | None:
        """The next message, or None while there is nothing new."""


class TraceStream:
    """What a page has not been given of one trace, message by message.

    Args:
        trace: may grow meanwhile.
        number: its number in the widget, where there are two.
        maps: with attention maps and previews.
        pictures: with decoded pictures, also those that are decoded after their step was sent.
        batch: bytes after which a message is full.
    """

    def __init__(
        self,
        trace: Trace,
        number: int = 0,
        *,
        maps: bool = True,
        pictures: bool = True,
        batch: int = _BATCH,
    ) -> None:
        self.trace = trace
        self.number = number
        self._about = {"film": number, "key": trace_key(trace)}  # which trace a message is of
        self._with_maps = maps
        self._with_pictures = pictures
        self._batch = batch
        self.rewind()

    def rewind(self) -> None:
        """Begin anew."""
        self._opened = False
        self._sent: set[int] = set()  # nodes
        self._pictured: set[int] = set()  # nodes that were sent with their picture
        self._sent_branches: list[dict[str, Any]] = []  # as the page knows them

    def next(self) -> Message | None:
        """The opening, then new steps, then pictures decoded later, then changed branches."""
        shot = snapshot(self.trace)
        if not self._opened:
            return self._opening(shot)
        return self._frames(shot) or self._pictures(shot) or self._changed_branches(shot)

    def _opening(self, shot: Trace) -> Message:
        buffers: list[bytes] = []
        opening = web.run_message(shot, buffers)
        opening["branches"] = self._branches(shot)
        self._opened = True
        return {"type": "film", **self._about, "opening": opening}, buffers

    def _frames(self, shot: Trace) -> Message | None:
        new = sorted(
            node.id
            for node in shot.nodes.values()
            if node.record is not None and node.id not in self._sent
        )
        if not new:
            return None
        buffers: list[bytes] = []
        frames = []
        for number in new[:_MOST]:
            picture = shot.pictures.get(number) if self._with_pictures else None
            frames.append(
                web.step_message(shot.nodes[number], buffers, maps=self._with_maps, picture=picture)
            )
            self._sent.add(number)
            if picture is not None:
                self._pictured.add(number)
            if sum(map(len, buffers)) >= self._batch:
                break
        branches = self._branches(shot)
        content = {"type": "frames", **self._about, "branches": branches, "frames": frames}
        return content, buffers

    def _pictures(self, shot: Trace) -> Message | None:
        if not self._with_pictures:
            return None
        new = sorted((shot.pictures.keys() & self._sent) - self._pictured)
        if not new:
            return None
        buffers: list[bytes] = []
        pictures = []
        for number in new:
            still = web.encode_image(shot.pictures[number], buffers)
            pictures.append({"node": number, "picture": still})
            self._pictured.add(number)
            if sum(map(len, buffers)) >= self._batch:
                break
        return {"type": "pictures", **self._about, "pictures": pictures}, buffers

    def _changed_branches(self, shot: Trace) -> Message | None:
        before = self._sent_branches
        branches = self._branches(shot)
        if branches == before:
            return None
        return {"type": "frames", **self._about, "branches": branches, "frames": []}, []

    def _branches(self, shot: Trace) -> list[dict[str, Any]]:
        """The branches, each up to the newest step that the page has."""
        branches = web.branches(shot)
        for branch in branches:
            node = shot.nodes[branch["tip"]]
            while node.id not in self._sent and node.parent is not None:
                node = shot.nodes[node.parent]
            branch["tip"] = node.id
        self._sent_branches = branches
        return branches


def _alive(method: Callable[[], Callable[[int], object] | None], alarm: int) -> None:
    """Call a method that is held weakly, if its object is still there."""
    if (bound := method()) is not None:
        bound(alarm)


def _later(seconds: float, call: Callable[[], object]) -> Callable[[], object]:
    """Have `call` made on another thread; gives a function that prevents it."""
    timer = threading.Timer(seconds, partial(call_safely, call))
    timer.daemon = True
    timer.start()
    return timer.cancel


class PacedSender:
    """Sends what is new while at most `most` messages are unanswered; safe from any thread.

    Nothing is sent before a page has asked: a widget that nobody looks at costs nothing. A page
    that does not answer gets its next message after `patience` seconds all the same.

    Args:
        send: takes a json value and buffers.
        streams: what to send, in this order.
        most: messages on their way at once.
        patience: in seconds.
        later: as ``threading.Timer``: has a call made, gives a function that prevents it.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any], list[bytes]], object],
        streams: Sequence[Source] = (),
        *,
        most: int = 2,
        patience: float = 0.3,
        later: Later = _later,
    ) -> None:
        self._send = send
        self._streams = tuple(streams)
        self._most, self._patience, self._later = most, patience, later
        self._lock = threading.RLock()
        self._flying: deque[int] = deque()  # serials of unanswered messages, oldest first
        self._serial = 0
        self._prevent: Callable[[], object] | None = None  # the alarm, where one is set
        self._alarm = 0
        self._asked = False
        self._closed = False

    @property
    def asked(self) -> bool:
        """Whether any page has asked for the traces."""
        return self._asked

    def start(self) -> None:
        """A page asks for everything from the start."""
        with self._lock:
            self._asked = True
            self._flying.clear()
            self._rest()
            for stream in self._streams:
                stream.rewind()
            self._pump()

    def show(self, streams: Sequence[Source]) -> None:
        """Send these from now on."""
        with self._lock:
            self._streams = tuple(streams)
            self._pump()

    def push(self) -> None:
        """Send what is new, as far as the page keeps up."""
        with self._lock:
            self._pump()

    def got(self, serial: int) -> None:
        """A page has taken in a message."""
        with self._lock:
            if serial in self._flying:
                self._flying.remove(serial)
                self._rest()
                self._pump()

    def close(self) -> None:
        """Send no more. May be called twice."""
        with self._lock:
            self._closed = True
            self._rest()

    def _pump(self) -> None:
        if self._closed or not self._asked:
            return
        while len(self._flying) < self._most:
            message = next(
                (m for stream in self._streams if (m := stream.next()) is not None), None
            )
            if message is None:
                return
            content, buffers = message
            self._serial += 1
            self._flying.append(self._serial)
            self._send({**content, "serial": self._serial}, buffers)
        if self._prevent is None:
            self._alarm += 1
            # A thread that waits must not keep a sender, and its widget, that are done with.
            overdue = weakref.WeakMethod(self._overdue)
            self._prevent = self._later(self._patience, partial(_alive, overdue, self._alarm))

    def _overdue(self, alarm: int) -> None:
        with self._lock:
            if alarm != self._alarm or self._prevent is None:  # it went off while being prevented
                return
            self._prevent = None
            if self._flying:
                self._flying.popleft()
            self._pump()

    def _rest(self) -> None:
        if self._prevent is not None:
            self._prevent()
            self._prevent = None
