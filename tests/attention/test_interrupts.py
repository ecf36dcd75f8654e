"""An interrupt at any line leaves the UNet as it was, and the next run its numbers."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb import Capture, Job, Sampler
from hdpainter_nb.attention import hooks
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling import predict
from hdpainter_nb.utils import messages
from support.hook_traces import snapshot

pytestmark = pytest.mark.diffusers

FILES = {hooks.__file__, predict.__file__, messages.__file__}


def places_in(act: Callable[[], Any]) -> list[tuple[tuple[str, int], int]]:
    """The lines of the code under test that `act` runs, for its first visit and its second."""
    lines: Counter[tuple[str, int]] = Counter()
    _traced(act, lambda file, line: lines.update([(file, line)]))
    return [(line, visit) for line, count in lines.items() for visit in range(1, min(count, 2) + 1)]


def interrupted_at(act: Callable[[], Any], place: tuple[str, int], visit: int) -> bool:
    """Run `act` with an interrupt at a line, the so-manieth time that it is reached.

    False where it ends in a finalizer, in which Python swallows every exception.
    """
    left = [visit]

    def strike(file: str, line: int) -> None:
        if (file, line) == place:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    try:
        _traced(act, strike)
    except KeyboardInterrupt:
        return True
    return False


def _traced(act: Callable[[], Any], seen: Callable[[str, int], Any]) -> None:
    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen(frame.f_code.co_filename, frame.f_lineno)
        return local

    def entering(frame: FrameType, event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename in FILES else None

    before = sys.gettrace()
    sys.settrace(entering)
    try:
        act()
    finally:
        sys.settrace(before)


def small_job(**settings: Any) -> Job:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[16:48, 16:48] = True
    return Job(picture, hole, "a red star", steps=2, **settings)


@pytest.mark.parametrize("settings", [{}, {"rasg": False}], ids=["with a gradient", "without"])
def test_an_interrupt_at_any_line_of_a_step(model: Model, settings: dict[str, Any]) -> None:
    job = small_job(**settings)
    sampler = Sampler(model, job)
    expected = Sampler(model, job).step().x0_latents
    before = snapshot(model.unet)
    places = places_in(Sampler(model, job).step)
    assert len(places) > 100
    for place, visit in places:
        where = f"{place[0].rsplit('/', 1)[-1]}:{place[1]}, visit {visit}"
        assert interrupted_at(sampler.step, place, visit), where
        assert sampler.index == 0, where
        assert snapshot(model.unet) == before, where
        assert torch.is_grad_enabled(), where
    np.testing.assert_array_equal(Sampler(model, job).step().x0_latents, expected)


def test_an_interrupt_while_logging_is_quiet(model: Model) -> None:
    job = small_job()
    places = places_in(lambda: Sampler(model, job))
    struck = 0
    for place, visit in places:
        struck += interrupted_at(lambda: Sampler(model, job), place, visit)
        assert logging.root.manager.disable == logging.NOTSET, (place, visit)
    assert struck > 10


def test_what_was_left_behind_is_taken_out_by_any_later_step(model: Model) -> None:
    """Also from layers that the later step does not hook."""
    job = small_job()
    plain = small_job(painta=False, rasg=False)
    before = snapshot(model.unet)
    expected = Sampler(model, plain, Capture.nothing()).step().x0_latents
    left = hooks.AttentionHooks(model.unet, Sampler(model, job).stepper.plan(0))
    left.inject()
    assert snapshot(model.unet) != before
    record = Sampler(model, plain, Capture.nothing()).step()
    np.testing.assert_array_equal(record.x0_latents, expected)
    assert snapshot(model.unet) == before


def test_logging_comes_back_after_many_threads() -> None:
    start = threading.Barrier(8)

    def quiet() -> None:
        start.wait()
        for _ in range(300):
            with messages.quiet_logging():
                pass

    threads = [threading.Thread(target=quiet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert logging.root.manager.disable == logging.NOTSET
    logging.disable(logging.ERROR)
    try:
        with messages.quiet_logging():
            assert logging.root.manager.disable == logging.ERROR
        assert logging.root.manager.disable == logging.ERROR
    finally:
        logging.disable(logging.NOTSET)
