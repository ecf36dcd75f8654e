"""A hundred runs in one kernel leave nothing behind."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hdpainter_nb import Capture, Job, Sampler
from hdpainter_nb.models.model import Model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUNS, SETTLED = 100, 40  # the first runs fill caches, of the allocator and of others

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs a complete checkout"),
]


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("bench_growth", BENCHMARKS / "bench_growth.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_growth", module)  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_memory_over_a_hundred_runs(growth: ModuleType, model: Model) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True

    def run(number: int) -> None:
        sampler = Sampler(
            model, Job(image, mask, "a red star", steps=2, seed=number), Capture.everything()
        )
        sampler.run()
        sampler.back(1).branch(rasg=False).run()

    found = growth.curve(run, RUNS)[SETTLED // growth.EVERY :]
    assert {a.tensors for a in found} == {found[0].tensors}
    assert {a.tensor_bytes for a in found} == {found[0].tensor_bytes}
    assert growth.slope([a.objects for a in found]) < 1
    resident = [a.resident for a in found if a.resident is not None]
    if resident:
        # One run's trace takes 1.8 MB, so a run that is kept shows; fragmentation of the
        # allocator's may come to a hundredth of that.
        assert growth.slope(resident) < 20 * 1024


def test_the_slope_is_that_of_a_line(growth: ModuleType) -> None:
    assert growth.slope([5, 7, 9, 11], 1) == pytest.approx(2)
    assert growth.slope([5, 15, 25], 5) == pytest.approx(2)
    assert growth.slope([4, 4, 4]) == 0


def test_what_is_kept_shows(growth: ModuleType) -> None:
    import torch

    kept = []
    found = growth.curve(lambda number: kept.append(torch.zeros(1000 + number)), 5, 1)
    assert growth.slope([a.tensors for a in found], 1) == pytest.approx(1)
    assert found[-1].tensor_bytes - found[0].tensor_bytes == 4 * (1001 + 1002 + 1003 + 1004)
