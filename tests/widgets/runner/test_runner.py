"""The runners, on a sampler that does nothing but wait: order, cancelling, failing, ending."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hdpainter_nb.errors import OutOfMemoryError, SamplingCancelled, SettingsError
from hdpainter_nb.utils.turns import Turns
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.runner import Runner, SyncRunner, runner_for
from hdpainter_widgets.runner.threads import Publisher, turns_of

pytestmark = pytest.mark.colab
LONG = 10.0  # seconds; no test waits this long unless it fails


class Sampler:
    """Steps that take `pace` seconds, can be held at a gate, and fail where told to."""

    def __init__(self, total: int = 5, pace: float = 0.0, model: Any = None) -> None:
        self.model = model if model is not None else object()
        self.total, self.pace = total, pace
        self.records: list[Any] = []
        self.fails: dict[int, Exception] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.stop = threading.Event()
        self.threads: set[threading.Thread] = set()
        self.log: list[str] = []

    @property
    def index(self) -> int:
        return len(self.records)

    @property
    def done(self) -> bool:
        return self.index >= self.total

    def step(self) -> Any:
        self.threads.add(threading.current_thread())
        self.stop.clear()
        self.entered.set()
        until = time.monotonic() + self.pace
        while not self.gate.is_set() or time.monotonic() < until:
            if self.stop.wait(0.002):
                raise SamplingCancelled("cancelled")
        if self.index in self.fails:
            raise self.fails.pop(self.index)
        record = SimpleNamespace(index=self.index)
        self.records = [*self.records, record]
        self.log.append(f"step {record.index}")
        return record

    def back(self, n: int = 1) -> Sampler:
        self.records = self.records[: self.index - n]
        self.log.append("back")
        return self

    def restart(self) -> Sampler:
        self.records = []
        self.log.append("restart")
        return self

    def branch(self, **changes: Any) -> Sampler:
        if "nonsense" in changes:
            raise SettingsError("There is no setting 'nonsense'.")
        other = Sampler(self.total, self.pace, self.model)
        other.records = list(self.records)
        return other

    def cancel(self) -> None:
        self.stop.set()


@pytest.fixture(params=[Runner, SyncRunner])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., BaseRunner]]:
    made: list[BaseRunner] = []

    def build(sampler: Sampler) -> BaseRunner:
        made.append(request.param(sampler))
        return made[-1]

    yield build
    for runner in made:
        runner.close()


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    left = [t for t in threading.enumerate() if t.name.startswith("hdpainter")]
    assert not left, left


def finish(runner: BaseRunner) -> None:
    assert runner.wait(LONG)


# --- what both runners do ------------------------------------------------------------------------


def test_commands_are_carried_out_in_order(make: Callable[..., BaseRunner]) -> None:
    sampler = Sampler()
    runner = make(sampler)
    runner.step(3)
    finish(runner)
    runner.back()
    runner.restart()
    runner.step()
    finish(runner)
    assert sampler.log == ["step 0", "step 1", "step 2", "back", "restart", "step 0"]


def test_run_goes_to_the_end_and_reports(make: Callable[..., BaseRunner]) -> None:
    runner = make(Sampler(4))
    assert runner.state.status == "idle"
    assert runner.state.seconds_per_step is None
    assert runner.state.seconds_left is None
    states, seen = [], []
    runner.on_state(states.append)
    runner.on_record(seen.append)
    runner.run()
    finish(runner)
    assert runner.state.status == "idle"
    assert runner.state.done
    assert runner.state.seconds_left == 0
    assert (runner.state.index, runner.state.total) == (4, 4)
    assert seen[-1] is runner.records[-1]
    assert [s.index for s in states] == sorted(s.index for s in states)
    assert states[-1] == runner.state
    runner.run()
    finish(runner)
    assert runner.state.index == 4, "running on at the end does nothing"


def test_pausing_from_a_listener(make: Callable[..., BaseRunner]) -> None:
    runner = make(Sampler(200, pace=0.005))
    runner.on_record(lambda record: runner.pause() if record.index >= 2 else None)
    runner.run()
    finish(runner)
    assert 3 <= runner.state.index < 200
    assert runner.state.status == "paused"


def test_a_failing_step_keeps_the_earlier_ones(make: Callable[..., BaseRunner]) -> None:
    sampler = Sampler()
    sampler.fails[2] = RuntimeError("CUDA out of memory")
    runner = make(sampler)
    failures = []
    runner.on_error(failures.append)
    runner.run()
    with pytest.raises(OutOfMemoryError, match="Memory ran out"):
        runner.wait(LONG)
    assert runner.state.status == "error"
    assert len(runner.records) == 2
    assert runner.state.failure is failures[0]
    assert "long_side" in failures[0].message
    assert "steps before are kept" in failures[0].remedy
    runner.run()
    finish(runner)
    assert runner.state.done
    assert runner.state.failure is None


def test_impossible_changes_fail_and_are_forgiven(make: Callable[..., BaseRunner]) -> None:
    runner = make(Sampler())
    runner.branch(nonsense=1)
    with pytest.raises(SettingsError):
        runner.wait(LONG)
    assert runner.state.failure is not None
    assert "SettingsError: There is no setting" in runner.state.failure.message
    runner.back(3)
    finish(runner)
    assert runner.state.status == "idle"


def test_branch_and_use_change_the_sampler(make: Callable[..., BaseRunner]) -> None:
    first, other = Sampler(5), Sampler(2)
    runner = make(first)
    runner.step(3)
    finish(runner)
    runner.branch(painta=False)
    runner.run()
    finish(runner)
    assert runner.sampler is not first
    assert (first.index, runner.sampler.index) == (3, 5)
    runner.use(other)
    runner.step()
    finish(runner)
    assert runner.sampler is other
    assert other.index == 1


def test_do_works_between_steps(make: Callable[..., BaseRunner]) -> None:
    sampler = Sampler()
    runner = make(sampler)
    told: list[int] = []
    runner.step(2)
    finish(runner)
    future = runner.do(lambda s: s.index * 10, then=told.append)
    finish(runner)
    assert future.result(LONG) == 20
    assert told == [20]
    broken = runner.do(lambda s: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.wait(LONG)
    assert isinstance(broken.exception(LONG), ZeroDivisionError)


def test_a_broken_listener_does_not_silence_the_next(
    make: Callable[..., BaseRunner], caplog: pytest.LogCaptureFixture
) -> None:
    runner = make(Sampler())
    seen: list[Any] = []
    runner.on_record(lambda record: 1 / 0)
    remove = runner.on_record(seen.append)
    runner.step()
    finish(runner)
    remove()
    remove()
    runner.step()
    finish(runner)
    assert [r.index for r in seen] == [0]
    assert runner.state.status == "paused"
    assert "A listener failed" in caplog.text


def test_a_closed_runner_ignores_commands(make: Callable[..., BaseRunner]) -> None:
    sampler = Sampler()
    with make(sampler) as runner:
        runner.step()
        finish(runner)
    runner.run()
    assert runner.do(lambda s: 1).cancelled()
    runner.close()
    assert runner.closed
    assert sampler.index == 1
    assert runner.wait(LONG)


# --- what needs threads --------------------------------------------------------------------------


def test_commands_return_at_once_and_one_thread_steps() -> None:
    sampler = Sampler(3)
    sampler.gate.clear()
    with Runner(sampler) as runner:
        start = time.perf_counter()
        runner.run()
        runner.do(lambda s: None)
        assert time.perf_counter() - start < 1
        assert sampler.entered.wait(LONG)
        assert runner.state.status == "running"
        assert not runner.wait(0.02)
        sampler.gate.set()
        finish(runner)
    (thread,) = sampler.threads
    assert thread is not threading.current_thread()


def test_cancel_gives_up_the_step_under_way() -> None:
    sampler = Sampler()
    with Runner(sampler) as runner:
        runner.step(2)
        finish(runner)
        sampler.gate.clear()
        sampler.entered.clear()
        runner.run()
        assert sampler.entered.wait(LONG)
        runner.step()  # asked for before the cancel, so given up with it
        runner.cancel()
        finish(runner)
        assert runner.state.status == "paused"
        assert runner.state.failure is None
        assert sampler.index == 2
        sampler.gate.set()
        runner.step()
        finish(runner)
        assert sampler.index == 3, "a cancel does not outlive its step"


def test_cancel_between_steps_is_not_kept_for_the_next() -> None:
    with Runner(Sampler()) as runner:
        runner.cancel()
        runner.cancel()
        runner.step()
        finish(runner)
        assert runner.state.index == 1


def test_pause_waits_for_the_step_under_way() -> None:
    sampler = Sampler()
    sampler.gate.clear()
    with Runner(sampler) as runner:
        runner.run()
        assert sampler.entered.wait(LONG)
        runner.pause()
        sampler.gate.set()
        finish(runner)
        assert sampler.index == 1


def test_a_slow_listener_gets_the_latest() -> None:
    sampler = Sampler(60)
    hold, seen = threading.Event(), []

    def listener(record: Any) -> None:
        seen.append(record.index)
        hold.wait(LONG)

    with Runner(sampler) as runner:
        runner.on_record(listener)
        runner.run()
        while not sampler.done:
            time.sleep(0.001)
        hold.set()
        finish(runner)
    assert len(seen) <= 3
    assert seen[-1] == 59


class Remembered(Sampler):
    """Every step of it was made before."""

    at_end = False


def test_a_run_watched_again_takes_its_time_and_leaves_the_pace_as_it_was() -> None:
    shown: list[float] = []
    with Runner(Remembered(total=4)) as runner:
        runner.on_record(lambda _record: shown.append(time.monotonic()))
        runner.speed = 25.0
        runner.run()
        assert runner.wait(LONG)
        assert len(shown) == 4
        assert all(b - a > 0.5 / runner.speed for a, b in itertools.pairwise(shown))
        assert runner.state.seconds_per_step is None
        runner.speed = 0.01
        runner.restart()
        runner.run()
        until(lambda: runner.state.index == 1)
        runner.pause()  # while the next step is waited for
        assert runner.wait(LONG)
        start = time.monotonic()
        runner.step(2)  # is not watched, and waits for nothing
        assert runner.wait(LONG)
        assert (runner.state.index, time.monotonic() - start < LONG) == (3, True)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_an_asked_for_result_replaces_the_one_before() -> None:
    sampler = Sampler()
    sampler.gate.clear()
    told: list[int] = []
    with Runner(sampler) as runner:
        runner.step()
        assert sampler.entered.wait(LONG)
        futures = [runner.do(lambda s, i=i: i, told.append, key="decode") for i in range(5)]
        sampler.gate.set()
        finish(runner)
        assert [f.cancelled() for f in futures] == [True] * 4 + [False]
        assert told == [4]


def test_two_runners_on_one_model_take_turns() -> None:
    order: list[str] = []
    model = object()

    class Noted(Sampler):
        name = ""

        def step(self) -> Any:
            order.append(self.name)
            return super().step()

    samplers = [Noted(12, 0.01, model), Noted(12, 0.01, model)]
    for sampler, name in zip(samplers, "ab", strict=True):
        sampler.name = name
    with Runner(samplers[0]) as a, Runner(samplers[1]) as b:
        a.run()
        b.run()
        finish(a)
        finish(b)
    middle = "".join(order)[4:-4]
    assert "aaa" not in middle
    assert "bbb" not in middle
    assert len(order) == 24


def test_waiting_for_a_turn_can_be_cancelled() -> None:
    model = object()
    busy, sampler = Sampler(model=model), Sampler(model=model)
    busy.gate.clear()
    with Runner(busy) as a, Runner(sampler) as b:
        a.step()
        assert busy.entered.wait(LONG)
        b.run()
        time.sleep(0.02)
        b.cancel()
        finish(b)
        assert sampler.index == 0
        busy.gate.set()
        finish(a)


def test_close_gives_up_the_step_and_joins() -> None:
    sampler = Sampler()
    sampler.gate.clear()
    runner = Runner(sampler)
    runner.run()
    assert sampler.entered.wait(LONG)
    start = time.perf_counter()
    runner.close()
    assert time.perf_counter() - start < 2
    assert sampler.index == 0


def test_a_listener_may_close_but_not_wait() -> None:
    runner = Runner(Sampler())
    raised: list[Exception] = []

    def listener(record: Any) -> None:
        try:
            runner.wait()
        except RuntimeError as error:
            raised.append(error)
        runner.close()

    runner.on_record(listener)
    runner.run()
    deadline = time.monotonic() + LONG
    while not raised and time.monotonic() < deadline:
        time.sleep(0.002)
    runner.close()
    assert "wait for itself" in str(raised[0])


def test_runners_and_samplers_take_the_same_turns() -> None:
    unet = object()
    one, two = SimpleNamespace(unet=unet), SimpleNamespace(unet=unet)
    turns = Turns.of(unet)
    assert turns_of(one) is turns
    assert turns_of(two) is turns
    assert turns_of(object()) is not turns


def test_publisher_makes_waiting_calls_before_it_closes() -> None:
    publisher = Publisher("hdpainter-test")
    hold, seen = threading.Event(), []
    publisher.post("hold", lambda: hold.wait(LONG))
    for i in range(5):
        publisher.post("a", lambda i=i: seen.append(i))
    assert not publisher.flush(0.01)
    hold.set()
    publisher.close()
    publisher.post("a", lambda: seen.append("late"))
    assert seen == [4]


@pytest.mark.parametrize(
    ("value", "kind"), [("1", SyncRunner), ("true", SyncRunner), ("0", Runner), (None, Runner)]
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, value: str | None, kind: type
) -> None:
    if value is None:
        monkeypatch.delenv("HDPAINTER_SYNC", raising=False)
    else:
        monkeypatch.setenv("HDPAINTER_SYNC", value)
    with runner_for(Sampler()) as runner:
        assert type(runner) is kind
