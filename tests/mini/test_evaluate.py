"""The evaluation: it counts rightly, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdpainter_nb.mini import Triple, evaluate
from hdpainter_nb.mini.evaluate import Run

MINI = str(Path(__file__).resolve().parents[2] / "data" / "mini")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []

    def paint(_: Any, tasks: Sequence[Triple], __: Run, seeds: Sequence[int]) -> list[Any]:
        painted.extend(seeds)
        found = []
        for task, seed in zip(tasks, seeds, strict=True):
            heat = (task.mask if seed % 2 else ~task.mask).astype(np.float32)
            maps = {f"{w} {n}": heat for w in (task.color, task.shape) for n in (16, 32)}
            picture = task.truth if seed % 2 else task.image
            found.append((picture, {"seconds": 1.0, **maps}))
        return found

    monkeypatch.setattr(evaluate, "paint", paint)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # the process is the tests' own
    report = evaluate.evaluate(MINI, evaluate.plan(2, 3, {}, []), tmp_path, processes=1)
    assert painted == [1000, 1001]
    assert report["standard"]["success"]["mean"] == 50  # the second holds the truth
    assert report["standard"]["nothing"]["mean"] == 50
    assert report["standard"]["peak_16"]["mean"] == 50

    more = evaluate.evaluate(MINI, evaluate.plan(4, 3, {}, ["both"]), tmp_path, processes=1)
    assert painted[2:] == [1002, 1003, 1000, 1001, 1002, 1003]  # the new tasks; the new run, whole
    assert more["standard"]["n"] == more["provocation both"]["n"] == 4

    evaluate.evaluate(MINI, evaluate.plan(4, 5, {}, []), tmp_path, processes=1)
    assert painted[8:] == [1000, 1001, 1002, 1003]  # other settings begin anew
