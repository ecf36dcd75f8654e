"""Pictures and masks at a size that the model takes, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError, SettingsError
from hdpainter_nb.images.fit import Frame


@pytest.fixture
def hole() -> np.ndarray:
    mask = np.zeros((128, 192), bool)
    mask[31:70, 50:129] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(
    st.integers(64, 400),
    st.integers(64, 400),
    st.sampled_from([64, 128, 200, 512]),
    st.integers(0, 2**32 - 1),
)
def test_padding_and_cropping(height, width, long_side, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), bool)
    mask[rng.integers(height), rng.integers(width) :] = True
    frame = Frame.of(mask.shape, how="pad", long_side=long_side)
    picture, fitted = frame.fit_image(image), frame.fit_mask(mask)
    H, W = frame.size
    top, left, h, w = frame.crop
    assert picture.shape == (H, W, 3)
    assert picture.dtype == np.uint8
    assert fitted.shape == (H, W)
    assert fitted.dtype == np.bool_
    assert H % 64 == W % 64 == 0
    assert (top, left) == (0, 0)
    assert 0 <= H - h < 64
    assert 0 <= W - w < 64
    assert max(h, w) == min(long_side, max(height, width))
    assert frame.original_size == (height, width)
    assert frame.scaled_size == (h, w)
    assert not fitted[h:].any()
    assert not fitted[:, w:].any()
    assert not picture[h:].any()
    assert not picture[:, w:].any()
    assert fitted.any()  # no hole, however thin, is lost by scaling down
    back = frame.unfit(picture)
    assert back.shape == (h, w, 3)
    if (h, w) == (height, width):
        np.testing.assert_array_equal(back, image)
        np.testing.assert_array_equal(frame.unfit(fitted), mask)


@settings(max_examples=40, deadline=None)
@given(st.integers(64, 400), st.integers(64, 400), st.sampled_from([64, 130, 256]))
def test_squashing_and_back(height, width, long_side):
    image = np.full((height, width, 3), 77, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[: height // 2] = True
    frame = Frame.of(mask.shape, how="squash", long_side=long_side)
    picture, fitted = frame.fit_image(image), frame.fit_mask(mask)
    side = long_side // 64 * 64
    assert picture.shape == (side, side, 3)
    assert frame.crop == (0, 0, side, side)
    assert fitted.mean() == pytest.approx(0.5, abs=0.03)
    scale = min(1, long_side / max(height, width))
    assert frame.scaled_size == (round(height * scale), round(width * scale))
    back = frame.unfit(picture)
    assert back.shape == (*frame.scaled_size, 3)
    assert back.dtype == np.uint8
    assert (back == 77).all()
    assert frame.unfit(fitted).dtype == np.bool_
    assert frame.unfit(fitted.astype(np.float32)).shape == frame.scaled_size


@pytest.mark.diffusers
def test_squashing_is_what_the_image_processor_does(hole):
    from diffusers.image_processor import VaeImageProcessor

    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (*hole.shape, 3), np.uint8)
    frame = Frame.of(hole.shape, how="squash", long_side=256)
    theirs = VaeImageProcessor().preprocess(Image.fromarray(image), height=256, width=256)
    ours = torch.from_numpy(frame.fit_image(image)).permute(2, 0, 1)[None] / 127.5 - 1
    assert torch.allclose(ours, theirs, atol=1e-6)
    grey = VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    theirs = grey.preprocess(Image.fromarray(hole).convert("L"), height=256, width=256)
    np.testing.assert_array_equal(frame.fit_mask(hole), theirs[0, 0].numpy() > 0)
    soft = rng.integers(0, 256, hole.shape, np.uint8)  # cut at half after scaling
    theirs = grey.preprocess(Image.fromarray(soft), height=256, width=256)
    np.testing.assert_array_equal(frame.fit_mask(soft), theirs[0, 0].numpy() > 0)


def test_not_a_multiple_of_64():
    frame = Frame.of((741, 1152), how="pad", long_side=1152)
    assert frame.size == (768, 1152)
    assert frame.fit_mask(np.ones((741, 1152), bool)).sum() == 741 * 1152
    picture = frame.fit_image(np.full((741, 1152, 3), 9, np.uint8))
    assert (frame.unfit(picture) == 9).all()


def test_4000_pixels_are_scaled_down():
    mask = np.zeros((3000, 4000), bool)
    mask[:, 1240] = True  # a hair
    frame = Frame.of(mask.shape, how="pad", long_side=512)
    picture = frame.fit_image(np.full((3000, 4000, 3), 200, np.uint8))
    assert frame.crop == (0, 0, 384, 512)
    assert picture.shape == (384, 512, 3)
    assert (picture == 200).all()
    assert frame.fit_mask(mask).any(0).sum() == 1
    assert frame.fit_mask(mask).any(1).all()


def test_nothing_changes_at_a_size_that_fits(hole):
    image = np.random.default_rng(1).integers(0, 256, (*hole.shape, 3), np.uint8)
    frame = Frame.of(hole.shape, how="pad", long_side=512)
    np.testing.assert_array_equal(frame.fit_image(image), image)
    np.testing.assert_array_equal(frame.fit_mask(hole), hole)


def test_sizes_that_do_not_belong_together(hole):
    frame = Frame.of((64, 64), how="pad", long_side=512)
    with pytest.raises(MaskError, match=r"has the shape \(128, 192\), the picture \(64, 64"):
        frame.fit_mask(hole)
    with pytest.raises(ImageError, match=r"is \(128, 192\), its frame for \(64, 64\)"):
        frame.fit_image(np.zeros((128, 192, 3), np.uint8))
    with pytest.raises(ImageError, match=r"has the shape \(3, 4\); a height and width of \(64"):
        frame.unfit(np.zeros((3, 4)))


@pytest.mark.parametrize("scaling", ["bicubic", "lanczos", "area"])
@pytest.mark.parametrize("how", ["pad", "squash"])
def test_every_way_of_scaling_fits_every_frame(how, scaling, hole):
    """Up and down, in one direction or both; values keep to those there are."""
    rng = np.random.default_rng(3)
    for size in ((70, 90), (128, 192), (400, 100)):
        mask = np.zeros(size, np.uint8)
        mask[20:50, 10:60] = 255
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        frame = Frame.of(size, how=how, scaling=scaling, long_side=192)
        picture, fitted = frame.fit_image(image), frame.fit_mask(mask)
        values = frame.fit_values(np.where(mask[..., None] > 0, -1, image / 255).astype(np.float32))
        assert picture.shape[:2] == fitted.shape == values.shape[:2] == frame.size
        assert fitted.any()
        assert not fitted.all()
        assert set(np.unique(values)) <= {-1, *np.unique((image / 255).astype(np.float32)), 0}
        if how == "pad" and scaling != "area":
            assert max(frame.crop[2:]) == 192
    with pytest.raises(ImageError, match="its frame for"):
        frame.fit_values(np.zeros((3, 4, 3), np.float32))
    with pytest.raises(SettingsError, match="soft_mask='most' is not one of 'any', 'half'"):
        frame.fit_mask(np.zeros((400, 100), np.uint8), "most")


@pytest.mark.parametrize(
    ("how", "long_side", "sentence"),
    [
        ("crop", 64, "size='crop' is not one of 'pad', 'squash'"),
        ("pad", 32, "long_side=32 is below 64; sizes are multiples of it"),
    ],
)
def test_impossible_frames(how, long_side, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Frame.of((128, 192), how=how, long_side=long_side)
