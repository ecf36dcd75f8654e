"""Masks on their way down, held against the official code's own masks."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.images.fit import Frame
from hdpainter_nb.method import masks
from hdpainter_nb.settings import Settings

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "masks.npz")
CASES = ("base_256", "painta_256", "rasg_256", "both_256", "both_512")


@pytest.fixture(params=CASES)
def golden(request):
    return {
        key: GOLDEN[f"{request.param}.{key}"]
        for key in ("mask", "latent_mask", "mask_h8", "mask_h16", "mask_h32")
    }


@pytest.fixture
def hole() -> np.ndarray:
    mask = np.zeros((128, 192), bool)
    mask[31:70, 50:129] = True
    return mask


def blob(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, left = rng.integers(0, height - 1), rng.integers(0, width - 1)
    mask[top : rng.integers(top + 1, height + 1), left : rng.integers(left + 1, width + 1)] = True
    return mask


# --- the official numbers --------------------------------------------------------------------


def test_official_unet_mask(golden):
    ours = masks.to_unet(golden["mask"].astype(bool), "dilate_any")
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(ours.numpy(), golden["latent_mask"])


@pytest.mark.parametrize("level", [8, 16, 32])
def test_official_painta_mask(golden, level):
    ours = masks.to_painta(golden["mask"].astype(bool), level, "dilate_bicubic")
    assert ours.dtype == torch.bool
    np.testing.assert_array_equal(ours.numpy(), golden[f"mask_h{level}"])


def test_official_score_mask(golden):
    ours = masks.to_score(golden["mask"].astype(bool), "bicubic_binary")
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(ours.numpy(), golden["mask_h32"])


@pytest.mark.parametrize("name", ["base_256", "both_512"])
def test_the_golden_masks_tell_the_ways_apart(name):
    """Neither a square, nor no dilation, nor another interpolation gives the official numbers."""
    mask, official = GOLDEN[f"{name}.mask"].astype(bool), GOLDEN[f"{name}.latent_mask"][0, 0] > 0
    square = F.max_pool2d(torch.from_numpy(mask.astype(np.float32))[None], 3, 1, 1)[0].numpy() > 0

    def resized(m):
        picture = Image.fromarray(m.astype(np.uint8) * 255)
        return np.asarray(picture.resize(official.shape[::-1], Image.Resampling.BICUBIC)) > 0

    assert (resized(square) != official).any()
    assert (resized(mask) != official).any()
    assert (masks.to_unet(mask, "nearest")[0, 0].numpy() != official).any()
    np.testing.assert_array_equal(resized(masks.dilate(mask, 1)), official)


# --- dilation --------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", [0, 1, 2, 5])
def test_a_point_dilates_to_a_diamond(pixels):
    mask = np.zeros((11, 11), bool)
    mask[5, 5] = True
    y, x = np.mgrid[-5:6, -5:6]
    np.testing.assert_array_equal(masks.dilate(mask, pixels), abs(y) + abs(x) <= pixels)
    assert mask.sum() == 1


def test_dilation_stops_at_the_border():
    mask = np.zeros((4, 6), bool)
    mask[0, 0] = True
    assert masks.dilate(mask, 1).sum() == 3
    assert masks.dilate(mask, 99).all()


@pytest.mark.parametrize("how", ["dilate_any", "nearest"])
def test_blanked_pixels(hole, how):
    ours = masks.to_pixels(hole, how)
    np.testing.assert_array_equal(ours, masks.dilate(hole, 1) if how == "dilate_any" else hole)
    assert ours is not hole


# --- the other ways --------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(64, 260), st.integers(64, 260), st.integers(0, 2**32 - 1))
def test_nearest_is_what_the_stock_pipeline_does(height, width, seed):
    mask = blob(height, width, seed)
    full = torch.from_numpy(mask)[None, None].float()
    stock = F.interpolate(full, size=(height // 8, width // 8))
    assert torch.equal(masks.to_unet(mask, "nearest"), stock)
    for level in (8, 16, 32):
        stock = F.interpolate(full, size=(height // level, width // level))[0, 0]
        assert torch.equal(masks.to_painta(mask, level, "nearest"), stock > 0)
        assert torch.equal(masks.to_score(mask, "nearest", level), stock)


@pytest.mark.diffusers
def test_nearest_equals_prepare_mask_latents(hole):
    from types import SimpleNamespace

    from diffusers import StableDiffusionInpaintPipeline

    height, width = hole.shape
    stand_in = SimpleNamespace(
        vae_scale_factor=8,
        vae=SimpleNamespace(config=SimpleNamespace(latent_channels=4)),
    )
    theirs, _ = StableDiffusionInpaintPipeline.prepare_mask_latents(
        stand_in,
        torch.from_numpy(hole)[None, None].float(),
        torch.zeros(1, 4, height // 8, width // 8),
        1,
        height,
        width,
        torch.float32,
        torch.device("cpu"),
        None,
        False,
    )
    assert torch.equal(masks.to_unet(hole, "nearest"), theirs)


@pytest.mark.parametrize("level", [16, 32])
def test_community_bicubic(hole, level):
    full = torch.from_numpy(hole)[None, None].float()
    soft = F.interpolate(full, (128 // level, 192 // level), mode="bicubic")[0, 0]
    assert torch.equal(masks.to_score(hole, "bicubic", level), soft)
    assert torch.equal(masks.to_painta(hole, level, "bicubic"), soft > 0.5)


def test_community_score_mask_is_soft():
    mask = np.zeros((64, 64), bool)
    mask[:, :16] = True  # the edge runs between the samples around the first position's centre
    soft = masks.to_score(mask, "bicubic")
    assert soft.shape == (2, 2)
    assert soft[0, 0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_stay_so(value):
    mask = np.full((128, 64), value)
    for how in ("dilate_any", "nearest"):
        assert (masks.to_unet(mask, how) == value).all()
    for how in ("dilate_bicubic", "nearest", "bicubic"):
        assert (masks.to_painta(mask, 16, how) == value).all()
    for how in ("bicubic_binary", "nearest", "bicubic"):
        assert torch.allclose(masks.to_score(mask, how), torch.tensor(float(value)), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_shapes_and_kinds(rows, columns, seed):
    mask = blob(64 * rows, 64 * columns, seed)
    for how in ("dilate_any", "nearest"):
        ours = masks.to_unet(mask, how)
        assert ours.shape == (1, 1, 8 * rows, 8 * columns)
        assert set(ours.unique().tolist()) <= {0.0, 1.0}
    for level in (8, 16, 32):
        for how in ("dilate_bicubic", "nearest", "bicubic"):
            ours = masks.to_painta(mask, level, how)
            assert ours.dtype == torch.bool
            assert ours.shape == (64 * rows // level, 64 * columns // level)
    for how in ("bicubic_binary", "nearest", "bicubic"):
        assert masks.to_score(mask, how).shape == (2 * rows, 2 * columns)
    # "any" covers whatever "more than half" covers
    assert (
        masks.to_unet(mask, "dilate_any")[0, 0].bool() >= masks.to_painta(mask, 8, "dilate_bicubic")
    ).all()


def test_dilation_does_not_leak_into_padding():
    """The official code dilates first and pads afterwards."""
    picture = np.zeros((100, 128), bool)
    picture[92:, 32:96] = True  # touches the lower border, and so the padding
    padded = np.zeros((128, 128), bool)
    padded[:100] = picture
    first = np.zeros((128, 128), bool)
    first[:100] = masks.dilate(picture, 1)
    crop = (0, 0, 100, 128)

    def official(m, size):
        picture = Image.fromarray(m.astype(np.uint8) * 255)
        return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))

    np.testing.assert_array_equal(masks.to_pixels(padded, "dilate_any", crop=crop), first)
    ours = masks.to_unet(padded, "dilate_any", crop=crop)[0, 0].numpy()
    np.testing.assert_array_equal(ours, official(first, (16, 16)) > 0)
    ours = masks.to_painta(padded, 32, "dilate_bicubic", crop=crop).numpy()
    np.testing.assert_array_equal(ours, official(first, (4, 4)) / 255 > 0.5)
    assert masks.to_pixels(padded, "dilate_any")[100, 40]  # without the crop it would leak


@pytest.mark.parametrize(
    ("reader", "arguments", "sentence"),
    [
        (masks.to_unet, ("bicubic",), "unet_mask='bicubic' is not one of 'dilate_any'"),
        (masks.to_pixels, ("x",), "unet_mask='x' is not one of"),
        (masks.to_painta, (16, "any"), "painta_mask='any' is not one of"),
        (masks.to_score, ("soft",), "score_mask='soft' is not one of 'bicubic_binary'"),
    ],
)
def test_unknown_ways(hole, reader, arguments, sentence):
    with pytest.raises(SettingsError, match=sentence):
        inspect.unwrap(reader)(hole, *arguments)  # without the tests' own check of types


# --- holes that vanish -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("painta", "score"),
    [("dilate_bicubic", "bicubic_binary"), ("nearest", "nearest"), ("bicubic", "bicubic")],
)
def test_a_small_hole_vanishes_level_by_level(painta, score):
    mask = np.zeros((256, 256), bool)
    mask[98:104, 98:104] = True
    levels = {level: masks.to_painta(mask, level, painta) for level in (16, 32)}
    assert masks.vanished(levels) == [16, 32]
    target = masks.to_score(mask, score)
    assert masks.vanished({32: target}) == [32]
    assert torch.isfinite(target).all()


def test_vanished_names_levels_in_order():
    there, gone = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    assert masks.vanished({}) == []
    assert masks.vanished({32: gone, 8: there, 16: gone}) == [16, 32]
    assert masks.vanished({32: torch.ones(2, 2)}) == []


# --- one mask for every reader -----------------------------------------------------------------


@pytest.mark.parametrize("preset", ["official", "paper", "community"])
def test_a_fitted_mask_is_fitted_once_and_read_by_all(hole, preset):
    chosen = Settings.preset(preset)
    frame = Frame.of(hole.shape, how=chosen.size, long_side=130)
    fitted = masks.FittedMask.of(hole, frame)
    pixels, crop = frame.fit_mask(hole), frame.crop
    np.testing.assert_array_equal(fitted.pixels, pixels)
    assert (fitted.crop, fitted.size) == (crop, frame.size)
    blank = masks.to_pixels(pixels, chosen.unet_mask, crop=crop)
    np.testing.assert_array_equal(fitted.for_pixels(chosen.unet_mask), blank)
    unet = masks.to_unet(pixels, chosen.unet_mask, 4, crop=crop)
    assert torch.equal(fitted.for_unet(chosen.unet_mask, 4), unet)
    painta = masks.to_painta(pixels, 16, chosen.painta_mask, crop=crop)
    assert torch.equal(fitted.for_painta(16, chosen.painta_mask), painta)
    score = masks.to_score(pixels, chosen.score_mask, crop=crop)
    assert torch.equal(fitted.for_score(chosen.score_mask), score)


# --- cells -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_cells_that_are_covered_by_more_than_half(height, width, cells, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    size = (cells, max(1, cells - 3))
    area = F.interpolate(torch.from_numpy(mask).float()[None, None], size, mode="area")[0, 0]
    np.testing.assert_array_equal(masks.covered(mask, size), area.numpy() > 0.5)


def test_a_cell_that_is_half_covered_is_not_masked():
    mask = np.zeros((4, 8), bool)
    mask[:, :2] = True
    assert not masks.covered(mask, (1, 2)).any()
    mask[0, 2] = True
    assert masks.covered(mask, (1, 2)).tolist() == [[True, False]]


def test_importing_masks_needs_no_torch():
    code = "import sys, hdpainter_nb.method.masks; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
