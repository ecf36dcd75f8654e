"""The ablation from runs and pictures that are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Capture, UpscaleJob, Upscaler, load_upscaler, upscale_ablation
from hdpainter_nb.upscale.ablation import upscale_variants
from hdpainter_nb.upscale.model import UpscaleModel
from hdpainter_nb.upscale.step import UpscaleStep
from support import builders

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> UpscaleModel:
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")
    return load_upscaler(folder, device="cpu")


@pytest.fixture
def job() -> UpscaleJob:
    rng = np.random.default_rng(1)
    low, image = (rng.integers(0, 255, (n, n, 3), dtype=np.uint8) for n in (64, 256))
    mask = np.zeros((256, 256), bool)
    mask[80:150, 90:170] = True
    return UpscaleJob(low, image, mask, "a red star", steps=2)


def test_a_run_that_is_there_spares_one(
    model: UpscaleModel, job: UpscaleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    step = UpscaleStep.__call__

    def counted(self: Any, *args: Any) -> Any:
        steps.append(self.settings)
        return step(self, *args)

    monkeypatch.setattr(UpscaleStep, "__call__", counted)
    afresh = upscale_variants(model, job)
    assert len(steps) == 3 * 2, "three runs serve five pictures"
    ours = Upscaler(model, job, Capture.nothing())
    ours.run()
    steps.clear()
    again = upscale_variants(model, job, ours=ours)
    assert [settings.method for settings in steps] == ["x4+poisson"] * 2 + ["x4+blend+poisson"] * 2
    assert ours.done
    assert again.keys() == afresh.keys()
    for name, picture in afresh.items():
        np.testing.assert_array_equal(again[name], picture)


def test_pictures_that_are_there_are_only_laid_out(model: UpscaleModel, job: UpscaleJob) -> None:
    variants = {"one": job.image, "another": job.image[::-1].copy()}
    sheet = upscale_ablation(model, job, variants=variants, boxes=[(0, 0, 32, 32)], tile=96)
    assert 3 * 96 < sheet.width < 4 * 96, "the original and two more"
    assert 2 * 96 < sheet.height < 3 * 96
