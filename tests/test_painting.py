"""`paint` and the ablation: whole pictures in, whole pictures out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpainter_nb import Job, UpscaleJob, load_upscaler, paint, upscale_ablation
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images.compositing import BAND, grown
from hdpainter_nb.models.model import Model
from hdpainter_nb.painting import mask_box, paint_cost
from hdpainter_nb.upscale.ablation import upscale_variants, zoom_boxes
from hdpainter_nb.upscale.model import UpscaleModel
from support import builders


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> UpscaleModel:
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")
    return load_upscaler(folder, device="cpu")


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(60, 200, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    return np.kron(small, np.ones((16, 16, 1), np.uint8))[:height, :width]


PLAIN = {"painta": False, "rasg": False, "steps": 2}


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("bicubic", [False, True])
def test_painting_keeps_what_is_beyond_the_band(
    model: Model, upscaler: UpscaleModel, crop: bool, bicubic: bool
) -> None:
    image, mask = picture(301, 403), np.zeros((301, 403), bool)
    mask[250:301, 10:60] = True
    result = paint(
        image,
        mask,
        "a red star",
        model=model,
        upscaler=None if bicubic else upscaler,
        crop=crop,
        upscale={"steps": 2, "poisson": not crop},
        **PLAIN,
    )
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    beyond = ~grown(mask)
    np.testing.assert_array_equal(result[beyond], image[beyond])
    assert np.abs(result[mask].astype(int) - image[mask]).mean() > 1


def test_a_picture_of_the_models_size_needs_no_upscaler(model: Model, job: Job) -> None:
    result = paint(job.image, job.mask, "a red star", model=model, **PLAIN)
    np.testing.assert_array_equal(result[~grown(job.mask)], job.image[~grown(job.mask)])


def test_a_picture_that_loses_a_row_by_cutting_needs_no_upscaler(
    model: Model, upscaler: UpscaleModel, unet_not_counted: None
) -> None:
    mask = np.zeros((93, 128), bool)
    mask[20:60, 20:60] = True
    given = {"model": model, "upscaler": upscaler}
    job = Job(picture(93, 128), mask, "a red star")
    assert model.layout(job).mask.crop[2:] == (92, 128)
    assert paint_cost(job.image, mask, "a red star", **given).upscale is None
    result = paint(job.image, mask, "a red star", **given, **PLAIN)
    np.testing.assert_array_equal(result[~grown(mask)], job.image[~grown(mask)])
    large = paint_cost(picture(186, 256), np.kron(mask, np.ones((2, 2))) > 0, "a star", **given)
    assert large.upscale is not None


def test_unknown_names_and_numbers_are_refused(
    model: Model, upscaler: UpscaleModel, job: Job
) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'steps'"):
        paint(job.image, job.mask, "", model=model, step=2)
    with pytest.raises(SettingsError, match="context must be a number from 1"):
        paint(job.image, job.mask, "", model=model, context=0.5)
    with pytest.raises(SettingsError, match="Did you mean 'blend'"):
        paint(
            picture(300, 300), None, "", model=model, upscaler=upscaler, upscale={"blnd": 1},
            **PLAIN,
        )  # fmt: skip


@settings(deadline=None)
@given(
    height=st.integers(64, 900),
    width=st.integers(64, 900),
    places=st.tuples(*[st.floats(0, 0.999)] * 4),
    context=st.floats(1, 5),
)
def test_the_box_holds_the_hole_and_its_band(
    height: int, width: int, places: tuple[float, ...], context: float
) -> None:
    rows = sorted(int(p * height) for p in places[:2])
    columns = sorted(int(p * width) for p in places[2:])
    mask = np.zeros((height, width), bool)
    mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    top, left, h, w = mask_box(mask, context, 128)
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert top <= max(0, rows[0] - BAND)
    assert left <= max(0, columns[0] - BAND)
    assert top + h >= min(height, rows[1] + 1 + BAND)
    assert left + w >= min(width, columns[1] + 1 + BAND)
    assert min(h, w) >= 64


def test_the_ablation_shows_every_variant(upscaler: UpscaleModel, tmp_path: Path) -> None:
    mask = np.zeros((256, 256), bool)
    mask[80:150, 90:170] = True
    job = UpscaleJob(picture(64, 64), picture(256, 256), mask, "a red star", steps=2)
    variants = upscale_variants(upscaler, job)
    assert len({array.tobytes() for array in variants.values()}) == len(variants) == 5
    for name, array in variants.items():
        assert array.shape == (256, 256, 3)
        kept = np.array_equal(array[~grown(mask)], job.image[~grown(mask)])
        assert kept == ("without Poisson" not in name)
    sheet = upscale_ablation(upscaler, job, tile=96)
    assert sheet.width > 6 * 96
    assert sheet.height > 3 * 96
    for top, left, height, width in zoom_boxes(mask):
        assert mask[top : top + height, left : left + width].any()
