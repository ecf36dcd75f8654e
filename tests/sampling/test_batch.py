"""Several seeds in one UNet call: what each alone would give, and nothing left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdpainter_nb import Capture, Job, Sampler
from hdpainter_nb.errors import SamplingCancelled, SamplingFinished, SettingsError
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.batch import SamplerBatch
from support.hook_traces import break_at, snapshot

pytestmark = [
    pytest.mark.diffusers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # theirs
]

SEEDS = [3, 4, 11]
METHODS: dict[str, dict[str, Any]] = {
    "baseline": {"painta": False, "rasg": False},
    "painta": {"painta": True, "rasg": False},
    "rasg": {"painta": False, "rasg": True},
    "both": {"painta": True, "rasg": True},
}


def alone(model: Model, job: Job, seed: int, steps: int | None = None) -> Sampler:
    sampler = Sampler(model, job.replace(seed=seed), Capture.everything())
    sampler.run(steps)
    return sampler


def assert_alike(one: Sampler, other: Sampler, tolerance: float) -> None:
    """Latents, maps, c and scores of two runs; the first two within a share of their spread."""
    assert len(one.records) == len(other.records) > 0
    for a, b in zip(one.records, other.records, strict=True):
        for name in ("latents", "x0_latents", "scores"):
            x, y = getattr(a, name), getattr(b, name)
            assert np.abs(x - y).max() <= tolerance * y.std(), name
        for name in ("c", "similarity", "similarity_painta"):
            mine, theirs = getattr(a, name), getattr(b, name)
            assert list(mine) == list(theirs)
            for level in mine:
                np.testing.assert_allclose(mine[level], theirs[level], atol=tolerance)
        for level in a.cross.levels:
            np.testing.assert_allclose(a.cross["star", level], b.cross["star", level], atol=2e-3)
        assert (a.score is None) == (b.score is None)
        if a.score is not None:
            assert a.score == pytest.approx(b.score, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_each_sample_is_what_it_would_be_alone(method: str, model: Model, job: Job) -> None:
    """Batched kernels may round otherwise, and 4 steps let such a difference grow."""
    job = job.replace(steps=4, **METHODS[method])
    batch = SamplerBatch(model, job, SEEDS, Capture.everything())
    batch.run()
    for seed, sampler in zip(SEEDS, batch, strict=True):
        assert sampler.settings.seed == seed
        assert_alike(sampler, alone(model, job, seed), 1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("sd15-4ch", {"rasg": True}),
        ("sd2-v", {"rasg": True, "scheduler": "euler_a", "eta": 0.3}),
        ("sd15", {"rasg": False, "scheduler": "dpm++_2m", "guidance_scale": 1.0}),
    ],
)
def test_other_models_and_schedulers(
    kind: str, settings: dict[str, Any], folders: dict[str, str], job: Job
) -> None:
    model, job = load(folders[kind]), job.replace(steps=3, **settings)
    batch = SamplerBatch(model, job, SEEDS[:2], Capture.everything())
    batch.run()
    for seed, sampler in zip(SEEDS, batch, strict=False):
        assert_alike(sampler, alone(model, job, seed), 1e-4)


@pytest.mark.parametrize(("method", "calls"), [("painta", 1), ("both", 2)])
def test_the_unet_is_called_once_a_step_or_twice_with_rasg(
    method: str, calls: int, model: Model, job: Job
) -> None:
    rows: list[int] = []
    forward = model.unet.forward

    def note(x: Tensor, *args: Any, **more: Any) -> Any:
        rows.append(len(x))
        return forward(x, *args, **more)

    model.unet.forward = note
    try:
        batch = SamplerBatch(model, job.replace(**METHODS[method]), 3)
        batch.run(2)
        assert rows == [6 // calls] * 2 * calls
        rows.clear()
        SamplerBatch.of(batch.samplers, at_once=2).step()
        assert sorted(rows) == sorted([4 // calls, 2 // calls] * calls)
    finally:
        model.unet.forward = forward


def test_smaller_groups_give_the_same(model: Model, job: Job) -> None:
    whole, parts = (SamplerBatch(model, job, 3, at_once=n) for n in (None, 2))
    for a, b in zip(whole.run(2), parts.run(2), strict=True):
        assert np.abs(a.x0_latents - b.x0_latents).max() <= 1e-4 * b.x0_latents.std()


def test_the_pipeline_is_as_it_was(model: Model, job: Job) -> None:
    before = snapshot(model.unet)
    batch = SamplerBatch(model, job, 2, Capture.everything())
    batch.step()
    assert snapshot(model.unet) == before
    for call in (1, 2):
        mend = break_at(model.unet, call, lambda: ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            batch.step()
        mend()
        assert snapshot(model.unet) == before
        assert batch.index == 1
    mend = break_at(model.unet, 1, lambda: batch.cancel() or SamplingCancelled("stop"))
    with pytest.raises(SamplingCancelled):
        batch.run()
    mend()
    assert snapshot(model.unet) == before
    batch.run()
    assert batch.done
    with pytest.raises(SamplingFinished, match=r"back\(\) or restart\(\)"):
        batch.step()


def test_going_back_and_on_alone(model: Model, job: Job) -> None:
    batch = SamplerBatch(model, job.replace(steps=4), 2)
    batch.run(3)
    third = [sampler.records[2] for sampler in batch]
    assert batch.back(2).index == 1
    assert [batch.step(), batch.step()][1] == third
    one = batch[0]
    one.step()
    with pytest.raises(SettingsError, match="stand at different steps"):
        batch.step()
    batch[1].run()
    assert batch.done
    other = batch.restart().branch(painta=False)
    other.run(1)
    assert not len(other[0].records[0].c)
    assert [s.trace for s in other] == [s.trace for s in batch]


def test_some_replay_while_others_step(model: Model, job: Job) -> None:
    batch = SamplerBatch(model, job.replace(steps=4), 2)
    batch.run(2)
    ahead = batch[0].step()
    batch[0].back()
    first, second = batch.step()
    assert first is ahead
    assert second is batch[1].records[-1]
    assert [len(sampler.trace.nodes) for sampler in batch] == [4, 4]


def test_a_run_that_fails_closes_its_bar(
    model: Model, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr("tqdm.auto.tqdm.close", lambda _: closed.append(True))
    batch = SamplerBatch(model, job, 2)
    mend = break_at(model.unet, 1, lambda: ValueError("broken"))
    with pytest.raises(ValueError, match="broken") as raised:
        batch.run(2, progress=True)
    mend()
    assert closed
    assert raised.tb is not None  # it holds the frame with the bar: nobody else has closed it


def test_a_sheet_shows_every_picture(model: Model, job: Job) -> None:
    batch = SamplerBatch(model, job, [7, 5])
    assert "seed" in batch._repr_html_()
    batch.step()
    assert batch.seeds == [7, 5]
    sheet = batch.sheet(columns=2, tile=128)
    assert sheet.width >= 2 * 128
    pictures = batch.images()
    assert not np.array_equal(*pictures)
    left = np.asarray(sheet.convert("RGB"))
    assert any(
        np.array_equal(left[y : y + 128, x : x + 128], pictures[0])
        for y in range(sheet.height - 127)
        for x in range(20)
    )
    shown = batch._repr_html_()
    assert shown.count("<img") == 1
    assert all(f"<td>{seed}</td>" in shown for seed in (7, 5))
    assert repr(batch).startswith("SamplerBatch(2 samples, 'a red star', painta+rasg, step 1 of 7")


def test_what_makes_no_batch(model: Model, folders: dict[str, str], job: Job) -> None:
    with pytest.raises(SettingsError, match="at least one seed"):
        SamplerBatch(model, job, 0)
    with pytest.raises(SettingsError, match="not all different"):
        SamplerBatch(model, job, [1, 1])
    with pytest.raises(SettingsError, match="at_once must be"):
        SamplerBatch(model, job, 2, at_once=0)
    one, other = Sampler(model, job), Sampler(model, job.replace(eta=0.2, seed=9))
    with pytest.raises(SettingsError, match="differ in eta; only the seed may"):
        SamplerBatch.of([one, other])
    elsewhere = Sampler(load(folders["sd2"]), job.replace(seed=9))
    with pytest.raises(SettingsError, match="one model and one size"):
        SamplerBatch.of([one, elsewhere])
    torch.manual_seed(0)
    words = SamplerBatch.of([one, Sampler(model, job.replace(prompt="a blue circle"))])
    red, blue = words.step()
    assert "star" in red.cross
    assert "circle" in blue.cross
