"""Small models and jobs that many tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from support import builders

# Only inside the functions: old versions of jaxtyping instrument the library after this file.
if TYPE_CHECKING:
    from hdpainter_nb.job import Job
    from hdpainter_nb.models.model import Model

# The models in tests are so small that a second thread only costs.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hub-layout folders with random weights, by kind."""
    base = tmp_path_factory.mktemp("models")
    return {
        kind: str(builders.make_folder(base / kind, kind))
        for kind in ("sd15", "sd2", "sd2-v", "sd15-4ch")
    }


@pytest.fixture(scope="session")
def model(folders: dict[str, str]) -> Model:
    from hdpainter_nb.models.loading import load

    return load(folders["sd15"])


@pytest.fixture
def unet_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates count no UNet, which takes seconds: for tests of all else that they say."""
    from hdpainter_nb.sampling import cost

    nothing = cost.StepCost(flops=1, peak_bytes=1, graph_bytes=1, graph_weights=1, kernels=1)
    monkeypatch.setattr(cost, "step_cost", lambda *_, **__: nothing)


@pytest.fixture
def job() -> Job:
    """128 px, a hole in the middle; grids down to H/32 still hold some of it."""
    from hdpainter_nb.job import Job

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[32:96, 32:96] = True
    return Job(image, mask, "a red star", steps=6, seed=3, positive_suffix="", negative_prompt="")
