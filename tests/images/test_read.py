"""Pictures and masks of every kind, and the sentence that each bad one is answered with."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hdpainter_nb.errors import HDPainterWarning, ImageError, MaskError
from hdpainter_nb.images import read
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
        (b"not a picture", "cannot be read from this <class 'bytes'>"),
    ],
)
def test_what_is_no_picture(array, sentence):
    with pytest.raises(ImageError, match=re.escape(sentence)):
        read_image(array)


def test_broken_files(colour, tmp_path):
    whole = png(colour).getvalue()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.txt").write_text("text")
    for path in (tmp_path / "a.png", tmp_path / "b.txt"):
        with pytest.raises(ImageError, match=r"cannot be read from .*Convert it to PNG or JPEG"):
            read_image(path)


# --- colour profiles -------------------------------------------------------------------------

# Red, green and blue of each space in XYZ at D50, as its profile has them, and its exponent.
D50 = {
    "sRGB": (
        [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.7141]]
    ),
    "Display P3": (
        [[0.51512, 0.2412, -0.00105], [0.29198, 0.69225, 0.04189], [0.1571, 0.06657, 0.78407]]
    ),
    "Adobe RGB": (
        [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]
    ),
}
GAMMA = 563 / 256


def srgb_curve(values: np.ndarray) -> np.ndarray:
    """sRGB values as light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def curve(values: np.ndarray) -> bytes:
    return struct.pack(">4sII", b"curv", 0, len(values)) + values.astype(">u2").tobytes()


def icc(space: bytes, name: str, tags: dict[bytes, bytes], *, pcs: bytes = b"XYZ ") -> bytes:
    """A colour profile of version 2."""
    told = name.encode()
    described = struct.pack(">4sII", b"desc", 0, len(told) + 1) + told + bytes(1 + 78)
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.82491)
    tags = {b"desc": described, b"wtpt": white, b"cprt": b"text" + bytes(4) + b"none\0"} | tags
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(data)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, pcs)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    return (head + fixed(0.9642, 1, 0.82491)).ljust(128, b"\0") + table + data


def rgb_profile(name: str) -> bytes:
    ramp = np.linspace(0, 1, 1024)
    light = ramp**GAMMA if name == "Adobe RGB" else srgb_curve(ramp)
    tone = curve((light * 65535).round())
    columns = [b"XYZ " + bytes(4) + fixed(*column) for column in D50[name]]
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True))
    return icc(b"RGB ", name, tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone))


def grey_profile(exponent: float) -> bytes:
    light = np.linspace(0, 1, 1024) ** exponent
    return icc(b"GRAY", f"Grey {exponent}", {b"kTRC": curve((light * 65535).round())})


def cmyk_profile() -> bytes:
    """Ink as Lab: lightness falls with black alone; the other inks change nothing."""
    header = struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    straight = bytes(range(256))
    corners = [bytes([0 if ink & 1 else 255, 128, 128]) for ink in range(16)]
    return icc(
        b"CMYK",
        "Black alone",
        {b"A2B0": header + straight * 4 + b"".join(corners) + straight * 3},
        pcs=b"Lab ",
    )


def in_srgb(colour: np.ndarray, name: str) -> np.ndarray:
    """Colours of another space in sRGB, by the formulas."""
    share = colour / 255
    light = share**GAMMA if name == "Adobe RGB" else srgb_curve(share)
    linear = light @ np.array(D50[name]) @ np.linalg.inv(np.array(D50["sRGB"]))
    linear = np.clip(linear, 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * coded


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "PIL", "RGBA", "P"])
def test_other_colour_spaces_become_srgb(colour, name, kind):
    profile, image = rgb_profile(name), Image.fromarray(colour)
    if kind == "P":
        image = image.quantize(200)
        colour = np.asarray(image.convert("RGB"))
    elif kind == "RGBA":
        image.putalpha(255)
    if kind == "PIL":
        image.info["icc_profile"] = profile
        given = image
    else:
        real = kind if kind in {"PNG", "TIFF", "WEBP"} else "PNG"
        given = saved(
            image, real, icc_profile=profile, **({"lossless": True} if real == "WEBP" else {})
        )
    with pytest.warns(HDPainterWarning, match=rf"from its profile \({name}\) to sRGB") as told:
        read = read_image(given)
    assert len(told) == 1
    expected = in_srgb(colour, name)
    assert np.abs(expected - colour).max() > 20
    assert np.abs(read - expected).max() <= 2.5


def test_alpha_stays_when_colours_are_converted(colour):
    rgba = np.dstack([colour, np.full((H, W), 51, np.uint8)])
    with pytest.warns(HDPainterWarning, match="to sRGB"):
        read = read_image(saved(Image.fromarray(rgba), "PNG", icc_profile=rgb_profile("Adobe RGB")))
    expected = 0.2 * in_srgb(colour, "Adobe RGB") + 0.8 * 255
    assert np.abs(read - expected).max() <= 1.5


def test_srgb_stays_to_the_bit(colour):
    image = Image.fromarray(colour)
    np.testing.assert_array_equal(
        read_image(saved(image, "PNG", icc_profile=rgb_profile("sRGB"))), colour
    )


@pytest.mark.parametrize("deep", [False, True])
def test_grey_profiles(colour, deep):
    grey = colour[..., 0]
    image = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
    with pytest.warns(HDPainterWarning, match=r"from its profile \(Grey 1.8\)"):
        read = read_image(saved(image, "PNG", icc_profile=grey_profile(1.8)))
    linear = (grey / 255) ** 1.8
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(read - 255 * coded[..., None]).max() <= 2


def test_grey_with_a_profile_for_rgb(colour):
    grey = Image.fromarray(colour[..., 0])
    with pytest.warns(HDPainterWarning, match="to sRGB"):
        read = read_image(saved(grey, "PNG", icc_profile=rgb_profile("Adobe RGB")))
    expected = in_srgb(np.repeat(colour[..., :1], 3, -1), "Adobe RGB")
    assert np.abs(read - expected).max() <= 2


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_through_its_profile(kind):
    inks = np.zeros((H, W, 4), np.uint8)
    inks[..., 0] = 200  # cyan, which this profile does not show
    inks[..., 3] = 128
    given = saved(Image.fromarray(inks, "CMYK"), kind, icc_profile=cmyk_profile())
    with pytest.warns(HDPainterWarning, match=r"from its profile \(Black alone\) to sRGB"):
        read = read_image(given)
    assert np.abs(read.astype(int) - 118).max() <= 5  # L* = 50


def test_lab(colour):
    lab = np.zeros((H, W, 3), np.uint8)
    lab[..., 0] = 255
    assert (read_image(Image.fromarray(lab, "LAB")) >= 253).all()


@pytest.mark.parametrize(
    ("profile", "told"),
    [(b"nonsense", "colour profile cannot be used"), (cmyk_profile(), "is for CMYK; it was not")],
)
def test_profiles_that_do_not_fit(colour, profile, told):
    with pytest.warns(HDPainterWarning, match=told) as caught:
        read = read_image(saved(Image.fromarray(colour), "PNG", icc_profile=profile))
    assert len(caught) == 1
    np.testing.assert_array_equal(read, colour)


def test_a_masks_profile_is_not_applied(hole):
    image = Image.fromarray(hole.astype(np.uint8) * 140)
    with pytest.warns(HDPainterWarning, match="soft"):
        read = read_mask(saved(image, "PNG", icc_profile=grey_profile(3.0)), (H, W))
    np.testing.assert_array_equal(read, hole)


# --- two readings, odd kinds -----------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [lambda a: a, Image.fromarray, png, torch.from_numpy],
    ids=["array", "Pillow", "PNG", "tensor"],
)
@pytest.mark.parametrize("high", [1, 200, 255])
def test_16_bits_with_8_bit_values(colour, convert, high):
    wide = np.minimum(colour[..., 0], high).astype(np.uint16)
    with pytest.raises(ImageError, match=r"two readings.*astype\(np.uint8\).*array / 65535"):
        read_image(convert(wide))
    assert (read_image(convert(wide * 0)) == 0).all()
    wide[0, 0] = 256
    assert read_image(convert(wide)).max() <= 1


def test_float_images_of_pillow(colour):
    grey = Image.fromarray(colour[..., 0])
    np.testing.assert_array_equal(read_image(grey.convert("F")), read_image(grey))
    tiff = saved(Image.fromarray(colour[..., 0].astype(np.float32) / 255), "TIFF")
    np.testing.assert_array_equal(read_image(tiff), read_image(grey))
    with pytest.raises(ImageError, match="holds values from 300"):
        read_image(Image.new("F", (W, H), 300.0))


@pytest.mark.parametrize("kind", ["closed", "loaded, closed", "its file closed", "copied"])
@pytest.mark.parametrize("reader", [read_image, lambda image: read_mask(image, (H, W))])
def test_closed_pil_images(colour, reader, kind):
    file = png(colour)
    image = Image.open(file)
    if kind == "loaded, closed":
        image.load()
    if kind == "copied":
        image = image.convert("RGB")
    (file if kind == "its file closed" else image).close()
    with pytest.raises((ImageError, MaskError), match="closed before it was read; open it again"):
        reader(image)


@pytest.mark.filterwarnings("ignore:.*(nested|quantize|[Ss]parse).*")
@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: torch.zeros(3, H, W, device="meta"), "on the meta device; it has no values"),
        (lambda: torch.zeros(H, W).to_sparse(), "sparse tensor; pass tensor.to_dense()"),
        (lambda: torch.zeros(H, W).to_sparse_csr(), "sparse tensor; pass tensor.to_dense()"),
        (
            lambda: torch.quantize_per_tensor(torch.zeros(3, H, W), 0.1, 0, torch.quint8),
            "quantised tensor; pass tensor.dequantize()",
        ),
        (
            lambda: torch.nested.nested_tensor([torch.zeros(H, W), torch.zeros(H, 3)]),
            "nested tensor; pass one of its pictures, tensor[0]",
        ),
        (lambda: torch.zeros(3, H, W, dtype=torch.complex64), "dtype complex64"),
        (lambda: torch.zeros(1).expand(3, 10**5, 10**5), "10000 megapixels"),
    ],
)
def test_odd_tensors(make, remedy):
    with pytest.raises(ImageError, match=re.escape(remedy)):
        read_image(make())
    with pytest.raises(MaskError, match=re.escape(remedy)):
        read_mask(make(), (H, W))


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((H, W), "white"), "dtype <U5; pass uint8"),
        (np.full((H, W), None), "dtype object; pass uint8"),
        (np.zeros((H, W), "S3"), "dtype |S3; pass uint8"),
        (np.zeros((H, W), "M8[s]"), "dtype datetime64[s]; pass uint8"),
        (np.zeros((H, W), [("a", "u1"), ("b", "f4")]), "pass uint8"),
        (np.zeros((H, W), complex), "dtype complex128; pass uint8"),
        (np.ma.masked_less(np.zeros((H, W)), 1), "is a masked array"),
    ],
)
def test_arrays_of_no_numbers(array, sentence):
    for reader in (read_image, lambda given: read_mask(given, (H, W))):
        with pytest.raises((ImageError, MaskError), match=re.escape(sentence)):
            reader(array)


# --- files that are none, and sizes ----------------------------------------------------------


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path, what in [
            (tmp_path / "pipe.png", "it is a pipe, not a file"),
            (tmp_path / "link.png", "it is a pipe, not a file"),
            ("/dev/zero", "it is a device, not a file"),
            (tmp_path, "it is a folder, not a file"),
            (tmp_path / "s", "it is a socket, not a file"),
            (tmp_path / "empty.png", "it is empty"),
            ("a\0b.png", "cannot be opened"),
            ("x" * 5000, "cannot be opened"),
            (tmp_path / "empty.png" / "a.png", "cannot be opened"),
        ]:
            with pytest.raises(ImageError, match=what):
                read_image(path)
            with pytest.raises(MaskError, match=what):
                read_mask(path, (H, W))


class Endless(io.RawIOBase):
    def readable(self):
        return True

    def readinto(self, buffer):
        return len(buffer)


def test_open_files(colour, tmp_path, monkeypatch):
    monkeypatch.setattr(read, "_METADATA", 2**20)
    monkeypatch.setattr(read, "LARGEST", 100_000)
    whole = png(colour).getvalue()
    (tmp_path / "a.png").write_bytes(whole)
    (tmp_path / "a.png.gz").write_bytes(gzip.compress(whole))
    with (tmp_path / "a.png").open("rb") as file, gzip.open(tmp_path / "a.png.gz") as packed:
        for given in (file, packed, bytearray(whole), memoryview(whole)):
            np.testing.assert_array_equal(read_image(given), colour)
    ends, start = os.pipe()
    with (
        os.fdopen(ends, "rb") as pipe,
        os.fdopen(start, "wb"),
        Path("/dev/zero").open("rb") as zeros,
        (tmp_path / "a.png").open(errors="ignore") as text,
    ):
        for given, what in [
            (pipe, "it is a pipe"),
            (zeros, "it is a device"),
            (Endless(), "longer than the 2 MB"),
            (io.BytesIO(), "it is empty"),
            (text, "str instead of bytes; open the file with mode 'rb'"),
            (io.BytesIO, "Pass an open file of mode 'rb'"),
        ]:
            with pytest.raises(ImageError, match=what):
                read_image(given)
    with pytest.raises(ImageError, match="closed file"):
        read_image(file)
    spread = memoryview(np.repeat(np.frombuffer(whole, np.uint8), 2))[::2]
    np.testing.assert_array_equal(read_image(spread), colour)
    spread.release()
    with pytest.raises(ImageError, match="released memoryview"):
        read_image(spread)


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "PCX", "ICO", "PDF", "SGI", "JPEG2000"])
def test_other_formats_are_not_opened(colour, kind, tmp_path):
    whole = saved(Image.fromarray(colour), kind)
    with pytest.raises(ImageError, match="it is no PNG, JPEG, WEBP, GIF, BMP, TIFF or AVIF file"):
        read_image(whole)
    if kind == "EPS":
        with pytest.raises(ImageError, match=r"an unread EPS file.*Call image.load\(\) first"):
            read_image(Image.open(io.BytesIO(whole)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_formats_that_are_opened(colour, kind):
    smooth = np.asarray(Image.fromarray(colour[:7, :9]).resize((W, H), Image.Resampling.BICUBIC))
    if kind not in read._formats():
        pytest.skip(f"this Pillow has no {kind}")
    read_back = read_image(saved(Image.fromarray(smooth), kind))
    assert np.abs(read_back.astype(int) - smooth).mean() < 12


def header_png(width: int, height: int, depth: int = 8, colour_type: int = 2) -> bytes:
    """A PNG that says its size, and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9)))


def tiled_tiff(tile: int) -> bytes:
    """64 px in one tile of another size."""
    data = zlib.compress(bytes(2**16))
    entries = [(256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile)]
    entries += [(323, tile), (324, 0), (325, len(data))]
    start = 8 + 2 + 12 * len(entries) + 4
    table = b"".join(
        struct.pack("<HHII", tag, 4, 1, start if tag == 324 else value) for tag, value in entries
    )
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + data


@pytest.mark.parametrize(
    ("given", "megapixels"),
    [
        (header_png(13_400, 13_400), "has 180 megapixels"),  # where Pillow raises by itself
        (header_png(10_000, 9_000, colour_type=6), "10000x9000 px, 90"),
        (header_png(6000, 5000, 16, 0), "6000x5000 px, 30"),
        (header_png(2**31 - 1, 2**31 - 1), "megapixels"),
        (
            b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + bytes(99),
            "megapixels|is no PNG",
        ),
        (tiled_tiff(2**16), "tiles of 4295"),
        (Image.new("1", (6000, 5000)), "6000x5000 px, 30"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000, 3)), "30000x30000 px, 900"),
        (np.broadcast_to(np.float64(0), (30_000, 30_000)), "30000x30000 px, 900"),
        (np.broadcast_to(np.uint16(7), (6000, 5000, 4)), "6000 px, 30"),
    ],
)
def test_too_many_pixels(given, megapixels):
    for reader, error in ((read_image, ImageError), (lambda m: read_mask(m, (H, W)), MaskError)):
        tracemalloc.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with pytest.raises(error, match=megapixels) as caught:
                    reader(given)
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()
        if "is no PNG" not in str(caught.value):
            assert "image.thumbnail((5000, 5000))" in str(caught.value)


def test_the_limit_is_a_setting(colour, monkeypatch):
    monkeypatch.setattr(read, "LARGEST", H * W - 1)
    for kind in (colour, Image.fromarray(colour), png(colour), torch.from_numpy(colour)):
        with pytest.raises(ImageError, match=r"90x70 px.*raise hdpainter_nb.images.read.LARGEST"):
            read_image(kind)
    with pytest.raises(MaskError, match="megapixels"):
        read_mask(None, (H, W))
    monkeypatch.setattr(read, "LARGEST", H * W)
    assert read_image(png(colour)).shape == (H, W, 3)
    with pytest.raises(ImageError, match="is a WEBP file of 90x70 px"):
        read_image(saved(Image.fromarray(colour), "WEBP"))


@pytest.mark.parametrize("size", [(10**6, 10**6), (0, 5), (-1, 5), "ab", None, (1,), (1, 2, 3)])
def test_sizes_of_masks(size):
    with pytest.raises(MaskError, match=r"megapixels|must be"):
        read_mask(None, size)


def test_headers_without_end():
    with pytest.raises(ImageError, match="it has more than 524288 parts"):
        read_image(b"\xff\xd8\xff" + bytes(2**20))


def test_work_in_blocks_changes_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    rgba = rng.integers(0, 256, (H, W, 4), np.uint8)
    kinds = [rgba, rgba[..., :3] / 255, rgba[..., 0].astype(np.uint16) * 257, Image.fromarray(rgba)]
    whole = [read_image(kind) for kind in kinds]
    monkeypatch.setattr(read, "_BLOCK", 37)
    for kind, expected in zip(kinds, whole, strict=True):
        np.testing.assert_array_equal(read_image(kind), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(colour, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(colour)
    stored.info["exif"] = exif.tobytes()
    for kind in ("PNG", "TIFF"):
        given = saved(stored, kind, exif=exif)
        expected = {
            1: colour,
            2: colour[:, ::-1],
            3: colour[::-1, ::-1],
            4: colour[::-1],
            5: colour.swapaxes(0, 1),
            6: np.rot90(colour, -1),
            7: np.rot90(colour, 2).swapaxes(0, 1),
            8: np.rot90(colour, 1),
        }[orientation]
        np.testing.assert_array_equal(read_image(given), expected)


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


@pytest.mark.parametrize("what", ["erased", "cleared", "cut out", "page", "two pens"])
@pytest.mark.parametrize("convert", [lambda a: a, Image.fromarray, png])
def test_transparent_pictures_have_two_readings(colour, hole, what, convert):
    alpha = np.where(hole, 0, 255).astype(np.uint8)
    rgb = colour.copy()
    if what == "cleared":
        rgb[hole] = 0
    elif what == "cut out":
        alpha = 255 - alpha
    elif what == "page":
        rgb[:] = 255
    elif what == "two pens":
        rgb[:], rgb[:35] = (255, 0, 0), (0, 0, 255)
        alpha = 255 - alpha
    with pytest.raises(
        MaskError, match=r"two readings.*alpha < 128 to fill.*alpha >= 128"
    ) as caught:
        read_mask(convert(np.dstack([rgb, alpha])), (H, W))
    looks = "a page" if what == "page" else "a photograph"
    assert f"looks like {looks} with transparent parts" in str(caught.value)


def test_a_grey_page_with_an_erased_hole(hole):
    la = np.dstack([np.full((H, W), 255, np.uint8), np.where(hole, 0, 255).astype(np.uint8)])
    with pytest.raises(MaskError, match="looks like a page"):
        read_mask(Image.fromarray(la), (H, W))
    la[..., 1] = 255 - la[..., 1]
    np.testing.assert_array_equal(read_mask(Image.fromarray(la), (H, W)), hole)


@pytest.mark.parametrize("clear", [0, 254])
def test_black_and_white_with_some_clear_pixels(hole, clear):
    alpha = np.full((H, W), 255, np.uint8)
    alpha[0] = clear
    rgba = np.dstack([hole.astype(np.uint8) * 255] * 3 + [alpha])
    np.testing.assert_array_equal(read_mask(rgba, (H, W)), hole)


def test_cmyk_without_ink_has_two_readings(hole):
    with pytest.raises(MaskError, match="next to no ink, which has two readings: white paper"):
        read_mask(Image.new("CMYK", (W, H)), (H, W))
    white = Image.fromarray(np.dstack([hole.astype(np.uint8) * 255] * 3)).convert("CMYK")
    np.testing.assert_array_equal(read_mask(white, (H, W)), hole)


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
