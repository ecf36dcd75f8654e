"""Pictures and masks of every kind, and the sentence that each bad one is answered with."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hdpainter_nb.errors import HDPainterWarning, ImageError, MaskError
from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_nb.job import Job

H, W = 70, 90


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)


@pytest.fixture
def hole() -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[20:50, 30:70] = True
    return mask


@pytest.fixture(autouse=True)
def _no_silent_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", HDPainterWarning)
        yield


def png(array: np.ndarray, **options) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **options)
    file.seek(0)
    return file


# --- pictures --------------------------------------------------------------------------------


def test_uint8_is_copied(colour):
    read = read_image(colour)
    np.testing.assert_array_equal(read, colour)
    read[:] = 0
    assert colour.any()


@pytest.mark.parametrize("shape", [(H, W), (H, W, 1)])
def test_greyscale_becomes_rgb(colour, shape):
    grey = colour[..., 0].reshape(shape)
    read = read_image(grey)
    assert read.shape == (H, W, 3)
    assert read.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(read[..., channel], colour[..., 0])


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(np.float32) / 255,
        lambda a: a.astype(np.float64) / 255,
        lambda a: a.astype(np.uint16) * 257,
        lambda a: a.astype(np.int64),
        lambda a: a[None],
        Image.fromarray,
        png,
        lambda a: png(a).getvalue(),
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda a: torch.from_numpy(a).permute(2, 0, 1)[None] / 255,
        lambda a: torch.from_numpy(a).permute(2, 0, 1) / 127.5 - 1,
        lambda a: (torch.from_numpy(a).permute(2, 0, 1) / 127.5 - 1)[None].requires_grad_(),
    ],
)
def test_the_same_picture_however_it_comes(colour, convert):
    np.testing.assert_array_equal(read_image(convert(colour)), colour)


def test_half_precision_tensors(colour):
    for dtype in (torch.float16, torch.bfloat16):
        tensor = torch.from_numpy(colour).permute(2, 0, 1).to(dtype) / 255
        assert np.abs(read_image(tensor).astype(int) - colour).max() <= 1


def test_bool_picture(hole):
    assert set(np.unique(read_image(hole))) == {0, 255}


def test_paths(colour, tmp_path, monkeypatch):
    Image.fromarray(colour).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colour)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), colour)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=re.escape(f"there is no file 'b.png' in {tmp_path}")):
        read_image("b.png")


def test_alpha_is_laid_over_white(colour):
    alpha = np.full((H, W, 1), 255, np.uint8)
    alpha[:10] = 0
    alpha[10:20] = 51  # a fifth
    rgba = np.concatenate([colour, alpha], -1)
    expected = colour.astype(float)
    expected[:10] = 255
    expected[10:20] = colour[10:20] * 0.2 + 255 * 0.8
    for given_as in (rgba, Image.fromarray(rgba)):
        np.testing.assert_array_equal(read_image(given_as), np.floor(expected + 0.5))


def test_grey_with_alpha(colour):
    la = np.dstack([colour[..., 0], np.zeros((H, W), np.uint8)])
    assert (read_image(Image.fromarray(la)) == 255).all()
    assert (read_image(la) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "RGBa", "CMYK", "HSV"])
def test_every_pil_mode(colour, mode):
    image = Image.fromarray(colour)
    if mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode == "RGBa":
        image = image.convert("RGBA").convert("RGBa")
    else:
        image = image.convert(mode)
    opaque = image.convert("RGBA") if mode == "RGBa" else image
    expected = np.asarray(opaque.convert("RGB"))
    read = read_image(image)
    assert read.shape == (H, W, 3)
    assert np.abs(read.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_greyscale(colour, mode):
    wide = colour[..., 0].astype(np.uint16) * 257
    array = {"I;16": wide, "I": wide.astype(np.int32), "F": (wide / 65535).astype(np.float32)}[mode]
    image = Image.fromarray(array)
    assert image.mode == mode
    np.testing.assert_array_equal(read_image(image)[..., 0], colour[..., 0])


def test_a_16_bit_png(colour):
    wide = colour[..., 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(png(wide))[..., 1], colour[..., 0])


def test_transparent_palette(colour):
    image = Image.fromarray(np.zeros((H, W), np.uint8), "L").convert("P")
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    file.seek(0)
    assert (read_image(file) == 255).all()


def test_exif_rotation_is_applied(tmp_path):
    upright = np.zeros((H, W, 3), np.uint8)
    upright[:20] = 255  # a bright top
    stored = Image.fromarray(np.rot90(upright, 1).copy())  # what a turned camera stores
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    stored.save(tmp_path / "a.png", exif=exif)
    assert Image.open(tmp_path / "a.png").size == (H, W)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)
    np.testing.assert_array_equal(read_image(Image.open(tmp_path / "a.png")), upright)


def test_4000_pixels():
    assert read_image(np.zeros((3000, 4000, 3), np.uint8)).shape == (3000, 4000, 3)


@pytest.mark.parametrize("shape", [(48, 64, 3), (63, 200), (1, 1, 3)])
def test_tiny(shape):
    height, width = shape[:2]
    sentence = f"is {width}x{height} px; the smallest usable size is 64 px on each side. Enlarge it"
    with pytest.raises(ImageError, match=re.escape(sentence)) as caught:
        read_image(np.zeros(shape, np.uint8))
    w, h = map(int, re.search(r"resize\(\((\d+), (\d+)\)", str(caught.value)).groups())
    assert min(w, h) == 64
    assert read_image(np.zeros((h, w, 3), np.uint8)).shape == (h, w, 3)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((0, 80, 3), np.uint8), "The picture is empty: its shape is (0, 80, 3)."),
        (np.zeros((3, 80, 80), np.uint8), "channels come last: pass array.transpose(1, 2, 0)"),
        (np.zeros((80, 80, 5), np.uint8), "has the shape (80, 80, 5) (uint8)"),
        (np.zeros((2, 80, 80, 3), np.uint8), "has the shape (2, 80, 80, 3) (uint8); one picture"),
        (np.zeros(80), "has the shape (80,) (float64)"),
        (np.full((80, 80), np.nan), "of shape (80, 80) (float64) holds NaN or infinite values"),
        (np.full((80, 80), np.inf, np.float32), "(float32) holds NaN or infinite values"),
        (np.full((80, 80), -1.0), "holds values from -1 to -1; float64 must stay in 0..1"),
        (np.full((80, 80), 255.0), "holds values from 255 to 255; float64 must stay in 0..1"),
        (np.full((80, 80), 256), "holds values from 256 to 256; int64 must stay in 0..255"),
        (np.zeros((80, 80), complex), "dtype complex128; pass uint8 or floats in 0..1"),
        (np.full((80, 80), "x"), "pass uint8 or floats in 0..1"),
        (None, "is of type NoneType; pass a path, a PIL image"),
        ([[0]], "is of type list; pass a path, a PIL image, a NumPy array"),
        (torch.full((3, 80, 80), 3.0), "holds values from 3 to 3"),
        (torch.full((3, 80, 80), -2.0), "holds values from -2 to -2"),
        (b"not a picture", "cannot be read from this <class '_io.BytesIO'>"),
    ],
)
def test_what_is_no_picture(array, sentence):
    with pytest.raises(ImageError, match=re.escape(sentence)):
        read_image(array)


def test_broken_files(colour, tmp_path):
    whole = png(colour).getvalue()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.txt").write_text("text")
    for path in (tmp_path / "a.png", tmp_path / "b.txt", tmp_path):
        with pytest.raises(ImageError, match=r"cannot be read from .*Convert it to PNG or JPEG"):
            read_image(path)


# --- masks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m,
        lambda m: m[..., None],
        lambda m: m.astype(np.uint8),
        lambda m: m.astype(np.uint8) * 255,
        lambda m: m.astype(np.int64),
        lambda m: m.astype(np.int32) * 255,
        lambda m: m.astype(np.float32),
        lambda m: m.astype(np.float64) * 255,
        lambda m: m.astype(np.uint16),
        lambda m: m.astype(np.uint16) * 255,
        lambda m: m.astype(np.uint16) * 65535,
        lambda m: np.dstack([m.astype(np.uint8) * 255] * 3),
        lambda m: np.dstack([m.astype(np.uint8) * 255] * 3 + [np.full(m.shape, 255, np.uint8)]),
        torch.from_numpy,
        lambda m: torch.from_numpy(m)[None, None].float(),
        Image.fromarray,
        lambda m: Image.fromarray(m).convert("L"),
        lambda m: Image.fromarray(m).convert("P"),
        lambda m: Image.fromarray(m.astype(np.uint16) * 65535),
        lambda m: png(m.astype(np.uint8) * 255),
    ],
)
def test_the_same_mask_however_it_comes(hole, convert):
    read = read_mask(convert(hole), (H, W))
    assert read.dtype == np.bool_
    np.testing.assert_array_equal(read, hole)


def test_mask_from_a_path(hole, tmp_path):
    Image.fromarray(hole).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", (H, W)), hole)
    with pytest.raises(MaskError, match="The mask was not found: there is no file"):
        read_mask(tmp_path / "n.png", (H, W))


def test_the_mask_is_a_copy(hole):
    read_mask(hole, (H, W))[:] = False
    assert hole.any()


def test_a_palette_of_two_colours(hole):
    image = Image.fromarray(hole.astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 255, 255, 0])  # yellow strokes: luminance 226
    np.testing.assert_array_equal(read_mask(image, (H, W)), hole)


@pytest.mark.parametrize("paint", [0, 255, 90])
@pytest.mark.parametrize("ground", ["same", "black"])
def test_drawn_on_a_transparent_ground(hole, paint, ground):
    """As drawing programs save it, whatever the colour of the pen."""
    rgb = np.full((H, W, 3), paint, np.uint8)
    if ground == "black":
        rgb[~hole] = 0
    rgba = np.dstack([rgb, hole.astype(np.uint8) * 255])
    np.testing.assert_array_equal(read_mask(rgba, (H, W)), hole)
    np.testing.assert_array_equal(read_mask(Image.fromarray(rgba), (H, W)), hole)


def test_varied_colour_and_alpha_multiply(hole):
    rgba = np.zeros((H, W, 4), np.uint8)
    rgba[hole] = 255
    rgba[:10, :, 3] = 255  # opaque black
    rgba[60:, :, :3] = 255  # transparent white
    np.testing.assert_array_equal(read_mask(rgba, (H, W)), hole)


def test_rgb_by_luminance(hole):
    rgb = np.zeros((H, W, 3), np.uint8)
    rgb[hole] = (0, 255, 0)
    np.testing.assert_array_equal(read_mask(rgb, (H, W)), hole)


def test_half_counts_as_filled():
    values = np.zeros((H, W))
    values[0, 0], values[0, 1] = 0.5, 0.49
    read = read_mask(values, (H, W))
    assert read[0, 0]
    assert not read[0, 1]


def test_soft_masks_warn():
    ramp = np.linspace(0, 1, W)[None].repeat(H, 0)
    for soft in (ramp, ramp * 255, (ramp * 255).astype(np.uint8)):
        with pytest.warns(HDPainterWarning, match=r"The mask is soft: \d+% of its values lie betw"):
            read = read_mask(soft, (H, W))
        np.testing.assert_array_equal(read, ramp >= 0.5)


def test_a_trimap_is_soft_and_flat_colour_is_not(hole):
    trimap = hole * 255
    trimap[50:60] = 128
    with pytest.warns(HDPainterWarning, match="The mask is soft"):
        read_mask(trimap, (H, W))
    read_mask(hole[..., None] * np.array([250, 240, 10]), (H, W))


def test_smooth_edges_do_not_warn():
    y, x = np.mgrid[:H, :W]
    disc = np.clip(25.5 - np.hypot(y - 35, x - 45), 0, 1)
    assert read_mask(disc, (H, W)).sum() == pytest.approx(np.pi * 25**2, rel=0.02)


def test_none_is_everything_and_says_nothing():
    assert read_mask(None, (H, W)).all()


def test_full_mask_warns():
    with pytest.warns(HDPainterWarning, match="covers the whole picture: nothing is known"):
        assert read_mask(np.ones((H, W), bool), (H, W)).all()


@pytest.mark.parametrize(
    ("mask", "brightest"),
    [
        (np.zeros((H, W), bool), 0),
        (np.zeros((H, W), np.uint8), 0),
        (np.full((H, W), 3, np.uint8), 3),  # labels
        (Image.new("RGB", (W, H), (255, 0, 0)), 76),  # red strokes
        (np.zeros((H, W, 4), np.uint8), 0),
    ],
)
def test_nothing_to_fill(mask, brightest):
    sentence = f"nothing to fill: the mask has no white pixel (its brightest value is {brightest}"
    with pytest.raises(MaskError, match=re.escape(sentence)):
        read_mask(mask, (H, W))


def test_another_size_of_other_proportions(hole):
    sentence = "The mask is 90x70 px and the picture 128x64 px, and their proportions differ."
    with pytest.raises(MaskError, match=re.escape(sentence)) as caught:
        read_mask(hole, (64, 128))
    assert "mask.resize((128, 64), Image.NEAREST)" in str(caught.value)


@pytest.mark.parametrize("size", [(140, 180), (35, 45), (683, 878), (71, 91)])
def test_another_size_of_the_same_proportions(hole, size):
    with pytest.warns(HDPainterWarning, match=r"90x70 px .* resized to the picture's size by n"):
        read = read_mask(hole, size)
    assert read.shape == size
    assert read.mean() == pytest.approx(hole.mean(), rel=0.12)


def test_twice_the_size_by_nearest(hole):
    with pytest.warns(HDPainterWarning):
        read = read_mask(hole, (2 * H, 2 * W))
    np.testing.assert_array_equal(read, hole.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.full((H, W), np.nan), "The mask of shape (70, 90) (float64) holds NaN"),
        (np.full((H, W), -1.0), "The mask of shape (70, 90) (float64) holds values from -1 to -1"),
        (np.full((H, W), -1), "holds values from -1 to -1; int64 must stay in 0..255"),
        (np.zeros((0, 5)), "The mask is empty: its shape is (0, 5)"),
        (np.zeros((H, W, 7)), "The mask has the shape (70, 90, 7)"),
        ("https://example.org/a.png", "Web addresses must be downloaded first"),
        (3, "The mask is of type int"),
    ],
)
def test_what_is_no_mask(mask, sentence):
    with pytest.raises(MaskError, match=re.escape(sentence)):
        read_mask(mask, (H, W))


@settings(max_examples=40, deadline=None)
@given(st.integers(64, 300), st.integers(64, 300), st.floats(0.2, 3), st.integers(0, 2**32 - 1))
def test_a_scaled_mask_is_always_taken(height, width, scale, seed):
    """Whoever scales the picture and rounds its sides may keep the mask as it was."""
    size = max(32, round(height * scale)), max(32, round(width * scale))
    if abs(size[0] - height * scale) > 1 or abs(size[1] - width * scale) > 1:
        return
    mask = np.zeros((height, width), bool)
    rng = np.random.default_rng(seed)
    mask[rng.integers(0, height // 2) :, : rng.integers(width // 2, width)] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HDPainterWarning)
        assert read_mask(mask, size).shape == size


# --- a job -----------------------------------------------------------------------------------


def test_a_job_reads_both_and_warns_at_the_users_line(colour):
    with pytest.warns(HDPainterWarning, match="covers the whole picture") as caught:
        job = Job(colour, np.ones((H, W), bool), "a red star")
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert job.image.shape == (H, W, 3)
    with pytest.raises(MaskError, match="proportions differ"):
        Job(colour, np.ones((H, H), bool), "a red star")


def test_errors_are_value_errors():
    with pytest.raises(ValueError, match="is of type NoneType"):
        read_image(None)
