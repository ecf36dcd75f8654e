"""The fair lock: first come, first served; re-entrant; released whatever happens."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hdpainter_nb.utils.turns import Turns

LONG = 20.0  # seconds; only a deadlock takes so long


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def free(turns: Turns) -> bool:
    """Whether another thread gets the turn."""
    taken = threading.Event()

    def take() -> None:
        with turns.take():
            taken.set()

    join(in_thread(take))
    return taken.is_set()


def test_first_come_first_served() -> None:
    turns, order = Turns(object()), []

    def work(name: int) -> None:
        with turns.take():
            order.append(name)

    threads = []
    with turns.take():
        for name in range(5):
            threads.append(in_thread(lambda name=name: work(name)))
            until(lambda name=name: len(turns._line) == name + 2)
        assert order == []
    join(*threads)
    assert order == [0, 1, 2, 3, 4]


def test_a_loop_lets_the_other_one_in() -> None:
    turns, order = Turns(object()), []
    begin = threading.Barrier(2)

    def loop(name: str) -> None:
        begin.wait(LONG)
        for _ in range(12):
            with turns.take():
                order.append(name)
                time.sleep(0.005)

    join(*[in_thread(lambda name=name: loop(name)) for name in "ab"])
    middle = "".join(order)[4:-4]
    assert "aaa" not in middle
    assert "bbb" not in middle


def test_only_one_at_a_time() -> None:
    turns, inside, most = Turns(object()), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.take():
                inside += 1
                most = max(most, inside)
                inside -= 1

    join(*[in_thread(work) for _ in range(4)])
    assert (inside, most) == (0, 1)


def test_who_has_the_turn_may_take_it_again() -> None:
    turns = Turns(object())
    waiting = threading.Event()
    order: list[str] = []

    def other() -> None:
        waiting.set()
        with turns.take():
            order.append("other")

    with turns.take() as outer:
        thread = in_thread(other)
        assert waiting.wait(LONG)
        until(lambda: len(turns._line) == 2)
        with turns.take() as inner, turns.take(threading.Event()) as innermost:
            order.append("inside")
        time.sleep(0.02)
        assert order == ["inside"]  # leaving the inner one does not pass the turn on
        assert outer
        assert inner
        assert innermost
    join(thread)
    assert order == ["inside", "other"]


def test_an_exception_passes_the_turn_on() -> None:
    turns = Turns(object())
    with pytest.raises(ValueError, match="broken"), turns.take(), turns.take():
        raise ValueError("broken")
    assert free(turns)


def test_an_interrupt_while_waiting_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, entered, leave = Turns(object()), threading.Event(), threading.Event()

    def hold() -> None:
        with turns.take():
            entered.set()
            assert leave.wait(LONG)

    def interrupted(timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    thread = in_thread(hold)
    assert entered.wait(LONG)
    with monkeypatch.context() as patch:
        patch.setattr(turns._moved, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), turns.take():
            pytest.fail("this is not our turn")
    assert len(turns._line) == 1
    leave.set()
    join(thread)
    assert free(turns)


def test_waiting_can_be_stopped() -> None:
    turns, stop = Turns(object()), threading.Event()
    given: list[bool] = []

    def wait() -> None:
        with turns.take(stop) as taken:
            given.append(taken)

    with turns.take():
        thread = in_thread(wait)
        until(lambda: len(turns._line) == 2)
        stop.set()
        join(thread)
        assert given == [False]
        assert len(turns._line) == 1
    with turns.take(stop) as taken:  # set already
        assert not taken
        assert free(turns)


def test_objects_are_told_apart_by_identity_and_let_go() -> None:
    @dataclass  # equal ones are equal, and have no hash
    class Shared:
        number: int

    one, two = Shared(1), Shared(1)
    assert one == two
    assert Turns.of(one) is not Turns.of(two)
    turns = Turns.of(one)
    assert Turns.of(one) is turns
    gone = weakref.ref(one)
    del one
    assert gone() is not None  # held as long as somebody may wait for it
    del turns
    gc.collect()
    assert gone() is None
