"""What a user wants painted."""

from __future__ import annotations

import numpy as np
import pytest

from hdpainter_nb import Job
from hdpainter_nb.errors import SettingsError


def test_a_job_is_checked_when_it_is_made() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    mask = np.zeros((64, 96), bool)
    mask[20:40, 30:60] = True
    job = Job(image, mask, "a star", preset="paper", steps=9)
    assert (job.settings.steps, job.settings.logit_shift) == (9, 0.0)
    assert "96x64 px" in repr(job)
    other = job.replace(prompt="a ring", seed=4)
    assert (other.prompt, other.settings.seed, job.prompt) == ("a ring", 4, "a star")
    assert other.image is job.image
    with pytest.raises(SettingsError, match="Did you mean"):
        Job(image, mask, "a star", step=9)
    with pytest.raises(SettingsError, match=r"prompt must be a string, not \['a star'\]"):
        Job(image, mask, ["a star"])  # type: ignore[arg-type]
