"""How a trace gets to the browser: in batches, at the page's pace, and again when it reloads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch, Node
from hdpainter_widgets.viewers.stream import Message, PacedSender, TraceStream, snapshot
from support.synthetic import make_record, scene

pytestmark = pytest.mark.colab
RNG = np.zeros(8, np.uint8)
LATENTS = np.zeros((4, 32, 32), np.float32)


def make_trace(steps: int = 0) -> Trace:
    trace = Trace(*scene(), model="none", crop=(0, 0, 256, 256))
    root = trace.root(LATENTS, RNG)
    trace.open_branch("a red star", Settings(steps=20), root, None)
    grow(trace, 0, steps)
    return trace


def grow(trace: Trace, branch: int, steps: int) -> None:
    for _ in range(steps):
        node = trace.nodes[trace.tips[branch]]
        trace.add(trace.branches[branch], node, LATENTS, RNG, make_record(node.index, 20))


def split(trace: Trace, node: int, parent: int = 0) -> int:
    settings = Settings(steps=20, painta=False)
    return trace.open_branch("a red star", settings, trace.nodes[node], parent).id


def all_of(reel: TraceStream) -> list[Message]:
    found = []
    while (message := reel.next()) is not None:
        found.append(message)
    return found


class Page:
    """What the browser knows after messages: as its own store keeps them."""

    def __init__(self) -> None:
        self.frames: dict[int, dict[str, Any]] = {}
        self.branches: dict[int, dict[str, Any]] = {}
        self.opened = 0

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if content["type"] == "film":
            self.frames, self.opened = {}, self.opened + 1
            self.branches = {b["id"]: b for b in content["opening"]["branches"]}
        elif content["type"] == "frames":
            self.branches = {b["id"]: b for b in content["branches"]}
            for frame in content["frames"]:
                for described in frame["maps"]:
                    shape = described["shape"]
                    assert len(buffers[described["buffer"]]) == np.prod(shape)
                self.frames[frame["node"]] = frame
        else:
            for found in content["pictures"]:
                self.frames[found["node"]]["picture"] = found["picture"]
                assert buffers[found["picture"]["buffer"]][:2] == b"\xff\xd8"
        for branch in self.branches:
            self.path(branch)

    def path(self, branch: int) -> list[int]:
        """The branch's steps; every one of them has arrived."""
        node, found = self.branches[branch]["tip"], []
        while node in self.frames:
            found.append(node)
            node = self.frames[node]["parent"]
        assert node == 0, "a step that has not arrived"
        return found[::-1]


# --- a reel --------------------------------------------------------------------------------------


def test_first_the_film_then_its_steps() -> None:
    reel = TraceStream(make_trace(3), 1)
    film, frames = (content for content, _ in all_of(reel))
    assert (film["type"], film["film"], film["opening"]["size"]) == ("film", 1, [256, 256])
    assert (frames["type"], frames["film"]) == ("frames", 1)
    assert [frame["node"] for frame in frames["frames"]] == [1, 2, 3]
    assert reel.next() is None


def test_what_was_sent_is_not_sent_again() -> None:
    trace = make_trace(2)
    reel, page = TraceStream(trace), Page()
    for message in all_of(reel):
        page.take(*message)
    grow(trace, 0, 2)
    ((content, _),) = all_of(reel)
    assert [frame["node"] for frame in content["frames"]] == [3, 4]
    page.take(content, all_buffers(trace, content))
    assert page.path(0) == [1, 2, 3, 4]


def all_buffers(trace: Trace, content: dict[str, Any]) -> list[bytes]:
    from hdpainter_nb.trace import web

    buffers: list[bytes] = []
    for frame in content["frames"]:
        web.step_message(trace.nodes[frame["node"]], buffers)
    return buffers


def test_batches_are_full_and_whole_at_every_moment() -> None:
    trace = make_trace(4)
    branch = split(trace, 2)
    grow(trace, branch, 3)
    grow(trace, 0, 2)
    size = sum(map(len, all_of(TraceStream(make_trace(1)))[1][1]))  # of one step
    page = Page()
    messages = all_of(TraceStream(trace, batch=2 * size))
    assert [len(content["frames"]) for content, _ in messages[1:]] == [2, 2, 2, 2, 1]
    for message in messages:
        page.take(*message)  # looks at every branch's path
    assert page.path(0) == [1, 2, 3, 4, 8, 9]
    assert page.path(branch) == [1, 2, 5, 6, 7]


def test_one_step_may_be_larger_than_a_batch() -> None:
    messages = all_of(TraceStream(make_trace(3), batch=1))
    assert [len(content["frames"]) for content, _ in messages[1:]] == [1, 1, 1]


def test_pictures_travel_with_their_step_or_later() -> None:
    trace = make_trace(2)
    trace.pictures[1] = np.zeros((256, 256, 3), np.uint8)
    reel, page = TraceStream(trace), Page()
    for message in all_of(reel):
        page.take(*message)
    assert [page.frames[n]["picture"] is not None for n in (1, 2)] == [True, False]
    trace.pictures[2] = np.full((256, 256, 3), 9, np.uint8)
    trace.pictures[77] = trace.pictures[2]  # of a step that the page does not have
    (message,) = all_of(reel)
    assert message[0]["type"] == "pictures"
    page.take(*message)
    assert page.frames[2]["picture"]["size"] == [256, 256]
    assert all_of(reel) == []


def test_a_branch_without_steps_is_told_of() -> None:
    trace = make_trace(2)
    reel, page = TraceStream(trace), Page()
    for message in all_of(reel):
        page.take(*message)
    branch = split(trace, 1)
    (message,) = all_of(reel)
    assert message[0]["frames"] == []
    page.take(*message)
    assert page.path(branch) == [1]


def test_numbers_alone_are_small() -> None:
    trace = make_trace(3)
    trace.pictures[1] = np.zeros((256, 256, 3), np.uint8)
    _, (content, buffers) = all_of(TraceStream(trace, maps=False, pictures=False))
    assert buffers == []
    assert [frame["score"] for frame in content["frames"]] == [
        trace[i].score for i in range(len(trace))
    ]


def test_a_snapshot_holds_together_whenever_it_is_taken() -> None:
    """A worker adds a step or a branch between any two of the snapshot's reads."""

    class Watched(dict[int, Any]):
        def copy(self) -> Watched:
            found = Watched(self)
            act()
            return found

    trace = make_trace(2)
    trace.nodes, trace.tips = Watched(trace.nodes), Watched(trace.tips)
    trace.branches, trace.pictures = Watched(trace.branches), Watched(trace.pictures)
    busy = False

    def act() -> None:
        nonlocal busy
        if not busy:
            busy = True
            grow(trace, 0, 1)
            grow(trace, split(trace, 1), 1)
            busy = False

    for _ in range(3):
        shot = snapshot(trace)
        assert shot.tips.keys() == shot.branches.keys()
        for branch in shot.branches:
            assert shot.path(branch)[0].id == 0
    assert len(trace.branches) > 6


def test_a_reel_reads_while_another_thread_adds() -> None:
    trace = make_trace(1)
    record = trace[0]
    done = threading.Event()

    def work() -> None:
        for number in range(2, 3000):
            node = Node(
                id=number,
                parent=number - 1,
                branch=0,
                latents=LATENTS,
                rng=RNG,
                record=record,
            )
            trace.keep(node)
            trace.tips[0] = number
            if number % 100 == 0:
                trace.branches[number] = Branch(
                    id=number, name="x", prompt="", settings=Settings(), parent=0, start=number
                )
                trace.tips[number] = number
        done.set()

    reel, page = TraceStream(trace, maps=False), Page()
    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        for message in all_of(reel):
            page.take(*message)
    worker.join()
    for message in all_of(reel):
        page.take(*message)
    assert page.path(0) == list(range(1, 3000))


# --- a sender ------------------------------------------------------------------------------------


class Alarms:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.set: list[tuple[float, Callable[[], object]]] = []

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        entry = (self.now + seconds, call)
        self.set.append(entry)
        return lambda: self.set.remove(entry) if entry in self.set else None

    def go(self, seconds: float) -> None:
        self.now += seconds
        for entry in [e for e in self.set if e[0] <= self.now + 1e-9]:
            self.set.remove(entry)
            entry[1]()


class Numbers:
    """A source of messages that counts."""

    def __init__(self, total: int = 0) -> None:
        self.total, self.given = total, 0

    def rewind(self) -> None:
        self.given = 0

    def next(self) -> Message | None:
        if self.given == self.total:
            return None
        self.given += 1
        return {"number": self.given}, [b""]


class Bench:
    def __init__(self, total: int) -> None:
        self.sent: list[dict[str, Any]] = []
        self.numbers, self.alarms = Numbers(total), Alarms()
        self.sender = PacedSender(
            lambda content, _: self.sent.append(content), [self.numbers], later=self.alarms.later
        )

    @property
    def seen(self) -> list[int]:
        return [content["number"] for content in self.sent]

    def ack(self, number: int = -1) -> None:
        self.sender.got(self.sent[number]["serial"])


def test_nothing_is_sent_before_a_page_asks() -> None:
    bench = Bench(3)
    bench.sender.push()
    assert (bench.sent, bench.numbers.given, bench.sender.asked) == ([], 0, False)
    bench.sender.start()
    assert (bench.seen, bench.sender.asked) == ([1, 2], True)


def test_two_are_on_their_way_at_most() -> None:
    bench = Bench(6)
    bench.sender.start()
    assert bench.seen == [1, 2]
    bench.sender.push()
    assert bench.seen == [1, 2]
    bench.ack(0)
    assert bench.seen == [1, 2, 3]
    bench.ack(0)  # twice: another view of the same page
    assert bench.seen == [1, 2, 3]
    bench.sender.got(999)
    assert bench.seen == [1, 2, 3]
    bench.ack(1)
    bench.ack(2)
    assert bench.seen == [1, 2, 3, 4, 5]
    assert len({content["serial"] for content in bench.sent}) == 5


def test_without_answers_one_goes_every_300_ms() -> None:
    bench = Bench(5)
    bench.sender.start()
    bench.alarms.go(0.29)
    assert bench.seen == [1, 2]
    bench.alarms.go(0.01)
    assert bench.seen == [1, 2, 3]
    for expected in (4, 5, 5, 5):
        bench.alarms.go(0.3)
        assert bench.seen[-1] == expected
    assert bench.seen == [1, 2, 3, 4, 5]
    assert bench.alarms.set == []  # nothing left to send: nobody wakes up any more
    bench.numbers.total = 6
    bench.sender.push()
    assert bench.seen[-1] == 6


def test_an_answer_puts_the_alarm_off() -> None:
    bench = Bench(9)
    bench.sender.start()
    bench.alarms.go(0.2)
    bench.ack(0)
    assert bench.seen == [1, 2, 3]
    bench.alarms.go(0.2)  # 0.4 s after the first, 0.2 s after the third
    assert bench.seen == [1, 2, 3]
    assert len(bench.alarms.set) == 1
    bench.alarms.go(0.1)
    assert bench.seen == [1, 2, 3, 4]


def test_an_alarm_that_went_off_while_it_was_prevented_does_nothing() -> None:
    bench = Bench(9)
    bench.sender.start()
    ((_, late),) = bench.alarms.set
    bench.ack(0)
    late()
    assert bench.seen == [1, 2, 3]
    assert len(bench.alarms.set) == 1


def test_a_page_that_reloads_gets_everything_again() -> None:
    bench = Bench(3)
    bench.sender.start()
    bench.ack(0)
    bench.ack(1)
    old = [content["serial"] for content in bench.sent]
    bench.sender.start()
    assert bench.seen == [1, 2, 3, 1, 2]
    for serial in old:  # answers to what was sent before the reload
        bench.sender.got(serial)
    assert bench.seen == [1, 2, 3, 1, 2]
    bench.ack()
    assert bench.seen == [1, 2, 3, 1, 2, 3]


def test_a_closed_sender_is_silent() -> None:
    bench = Bench(5)
    bench.sender.start()
    ((_, late),) = bench.alarms.set
    bench.sender.close()
    bench.sender.close()
    assert bench.alarms.set == []
    late()
    bench.ack(0)
    bench.sender.push()
    bench.sender.start()
    assert bench.seen == [1, 2]


def test_two_films_take_their_turns_and_may_be_replaced() -> None:
    sent: list[int] = []
    first, second = Numbers(2), Numbers(1)
    sender = PacedSender(lambda content, _: sent.append(content["serial"]), [first, second])
    sender.start()
    sender.got(1)
    assert (first.given, second.given) == (2, 1)
    sender.got(2)
    sender.got(3)
    other = Numbers(1)
    sender.show([other, second])
    assert (other.given, len(sent)) == (1, 4)
    sender.close()


def test_a_failed_message_does_not_jam_the_line() -> None:
    class Broken(Numbers):
        def next(self) -> Message | None:
            self.given += 1
            if self.given == 1:
                raise ValueError("a bad step")
            return super().next()

    sent: list[Any] = []
    sender = PacedSender(lambda content, _: sent.append(content), [Broken(9)])
    with pytest.raises(ValueError, match="bad"):
        sender.start()
    sender.push()
    assert len(sent) == 2
    sender.close()


def test_the_real_alarm_rings_by_itself() -> None:
    sent: list[int] = []
    rung = threading.Event()

    def send(content: dict[str, Any], _: Any) -> None:
        sent.append(content["number"])
        if len(sent) == 4:
            rung.set()

    sender = PacedSender(send, [Numbers(4)], patience=0.01)
    sender.start()
    assert sent == [1, 2]
    assert rung.wait(10)
    assert sent == [1, 2, 3, 4]
    sender.close()


def test_many_threads_send_each_message_once_and_in_order() -> None:
    sent: list[int] = []
    sender = PacedSender(
        lambda content, _: sent.append(content["number"]), [Numbers(400)], patience=60
    )
    sender.start()
    threads = [
        threading.Thread(target=lambda: [sender.got(n) or sender.push() for n in range(401)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for serial in range(401):
        sender.got(serial)
    assert sent == list(range(1, 401))
    sender.close()
