"""Soft masks and Poisson's equation: against recorded numbers, and where OpenCV has limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from hdpainter_nb.errors import ImageError, MaskError
from hdpainter_nb.images.compositing import BAND, FEATHER, grown, paste, poisson
from hdpainter_nb.method.blending import soft_mask

GOLDEN = Path(__file__).parents[1] / "golden" / "sr_256.safetensors"


def picture(height: int, width: int, tint: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [60 + x % 97, 70 + y % 89, 80 + (x + y) % 61]
    return np.clip(np.stack(waves, -1) + tint, 0, 255).astype(np.uint8)


def test_soft_mask_is_the_official_one() -> None:
    d = load_file(GOLDEN)
    ours = soft_mask(d["mask"][..., 0] > 0, (64, 64))
    np.testing.assert_allclose(ours, d["lr_mask_blurred"][0, 0], atol=1e-6)


def test_poisson_over_the_box_is_the_official_one() -> None:
    d = load_file(GOLDEN)
    ours = poisson(d["orig"], d["decoded"], d["mask"][..., 0] > 0, bounds="box")
    apart = np.abs(ours.astype(int) - d["blended"])
    assert (apart > 0).mean() <= 1e-3
    assert apart.max() <= 1


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_beyond_the_band_nothing_changes(
    height: int, width: int, corners: tuple[float, float, float, float]
) -> None:
    top, bottom = sorted(round(height * c) for c in corners[:2])
    left, right = sorted(round(width * c) for c in corners[2:])
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    original = picture(height, width)
    result = poisson(original, picture(height, width, 30), mask)
    assert result.shape == original.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[~grown(mask)], original[~grown(mask)])
    soft = soft_mask(mask, (max(1, height // 4), max(1, width // 4)))
    assert 0 <= soft.min() <= soft.max() <= 1


def test_a_tint_is_taken_out_and_gradients_stay() -> None:
    """A filling that is only lighter gives the original again; one with a mark keeps the mark."""
    original = picture(200, 220)
    mask = np.zeros((200, 220), bool)
    mask[70:130, 80:140] = True
    same = poisson(original, np.clip(original + 25, 0, 255).astype(np.uint8), mask)
    assert np.abs(same.astype(int) - original).max() <= 2
    marked = original.copy()
    marked[95:105, 105:115] += 60
    kept = poisson(original, marked, mask).astype(int) - original
    assert kept[97:103, 107:113].min() > 50
    assert np.abs(kept[70:85, 80:95]).max() < 10


def test_the_membrane_takes_out_what_the_box_leaves() -> None:
    """Over the box known pixels move; in the hole alone the edge has no step in it."""
    original = picture(160, 160)
    fill = np.roll(255 - original, 7, 1)
    mask = np.zeros((160, 160), bool)
    mask[60:100, 60:70] = mask[90:100, 60:100] = True  # an L, so that its box holds known pixels
    outside = ~grown(mask)
    box, hole = (poisson(original, fill, mask, bounds=b) for b in ("box", "hole"))
    assert np.abs(box.astype(int) - original)[outside].max() > 10
    assert np.array_equal(hole[outside], original[outside])
    rim = grown(mask) & ~grown(np.pad(mask, 1)[2:, 2:])  # the first row inside
    step = np.abs(hole.astype(int) - original)[rim]
    assert np.median(step) <= 6


def test_empty_and_full_masks() -> None:
    original, fill = picture(70, 90), picture(70, 90, 40)
    nothing = np.zeros((70, 90), bool)
    np.testing.assert_array_equal(poisson(original, fill, nothing), original)
    assert np.abs(poisson(original, fill, ~nothing).astype(int) - fill).max() <= 1
    assert soft_mask(nothing, (16, 16)).max() == 0
    assert soft_mask(~nothing, (16, 16)).min() == pytest.approx(1)


def test_the_band_is_24_pixels() -> None:
    mask = np.zeros((101, 101), bool)
    mask[50, 50] = True
    rows = np.flatnonzero(grown(mask).any(1))
    assert 50 - rows[0] <= BAND
    assert rows[-1] - 50 <= BAND


def test_pasting_leaves_what_is_far_alone() -> None:
    original, fill = picture(80, 80), picture(80, 80, 90)
    mask = np.zeros((80, 80), np.float32)
    mask[30:50, 30:50] = 1
    mixed = paste(original, fill, mask)
    np.testing.assert_array_equal(mixed[30:50, 30:50], fill[30:50, 30:50])
    far = 30 - FEATHER
    np.testing.assert_array_equal(mixed[:far], original[:far])
    np.testing.assert_array_equal(mixed[:, :far], original[:, :far])


def test_pasting_turns_a_step_at_the_rim_into_a_slope() -> None:
    original, fill = np.zeros((80, 80, 3), np.uint8), np.full((80, 80, 3), 180, np.uint8)
    mask = np.zeros((80, 80), np.float32)
    mask[30:50, 30:50] = 1
    profile = paste(original, fill, mask)[40, :, 0].astype(int)
    assert np.abs(np.diff(profile)).max() < 1.7 * 180 / FEATHER  # the steepest of a smooth ramp
    assert (np.diff(profile[:40]) >= 0).all()


@pytest.mark.parametrize("full", [False, True])
def test_pasting_into_nothing_and_everything(full: bool) -> None:
    original, fill = picture(20, 30), picture(20, 30, 90)
    mixed = paste(original, fill, np.full((20, 30), full, np.float32))
    np.testing.assert_array_equal(mixed, fill if full else original)


def test_sizes_must_agree() -> None:
    with pytest.raises(ImageError, match=r"\(8, 8, 3\).*\(9, 8, 3\)"):
        poisson(picture(8, 8), picture(9, 8), np.ones((8, 8), bool))
    with pytest.raises(MaskError, match=r"\(4, 8\)"):
        poisson(picture(8, 8), picture(8, 8), np.ones((4, 8), bool))
    with pytest.raises(ImageError, match="uint8, not"):
        poisson(picture(8, 8).astype(float), picture(8, 8), np.ones((8, 8), bool))
