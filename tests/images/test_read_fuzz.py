"""Pictures and masks of any bytes, arrays and objects: read, or refused in one sentence.

Each input has a limit of memory and time. `FUZZ` in the environment multiplies how many are tried
(1: some ten seconds), `FUZZ_SEED` tries others.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

INPUTS = 2500
MEGABYTES = 400  # that one input may take beside what the process had
SECONDS = 5.0  # with room for a machine that many share
SIZE = (70, 90)
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "La", "CMYK", "YCbCr", "LAB", "HSV"]
MODES += ["I", "F", "I;16", "RGBX"]
DTYPES = ["?", "u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", ">f8", "g", "F"]
DTYPES += ["U3", "S2", "O", "M8[s]", "m8[D]", "V4", "u1,f4"]
Rng = np.random.Generator


class TooSlow(BaseException):
    """An input took longer than it may."""


# --- inputs ----------------------------------------------------------------------------------


def some_image(rng: Rng) -> Image.Image:
    """A PIL image of any mode, with any metadata."""
    mode = str(rng.choice(MODES))
    side = (int(rng.integers(1, 200)), int(rng.integers(1, 200))) if rng.random() < 0.3 else SIZE
    image = Image.new(mode, side[::-1])
    if rng.random() < 0.8:
        count = len(image.tobytes())
        levels = int(rng.choice([2, 256]))
        data = (rng.integers(0, levels, count) * (255 // (levels - 1))).astype(np.uint8)
        image.frombytes(data.tobytes())
    for name, values in {
        "transparency": [0, 300, -1, b"", b"\0\xff" * 200, (1, 2, 3), "x", None, 1.5],
        "icc_profile": [b"", b"acsp" * 40, b"\0" * 200, "text", 5],
        "exif": [b"", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0", b"x", 4],
    }.items():
        if rng.random() < 0.15:
            image.info[name] = values[int(rng.integers(len(values)))]
    return image


def some_file(rng: Rng) -> bytes:
    """A file of any format; other bytes where Pillow cannot write the image."""
    for _ in range(5):
        file = io.BytesIO()
        try:
            some_image(rng).save(file, str(rng.choice(FORMATS)))
        except Exception:  # the image's mode or its odd metadata: Pillow's business
            continue
        return file.getvalue()
    return rng.bytes(200)


def damaged(whole: bytes, rng: Rng) -> bytes:
    """A file with bytes changed, cut, doubled or removed; mostly near its beginning."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 6))):
        end = len(data) if rng.random() < 0.5 else min(len(data), 120)
        at = int(rng.integers(max(1, end)))
        match int(rng.integers(6)):
            case 0:
                data[at : at + 1] = rng.bytes(1)
            case 1:
                data[at : at + 4] = bytes([[0, 255, 127, 128][int(rng.integers(4))]] * 4)
            case 2:
                data[at : at + 2] = int(rng.choice([1, 64, 4999, 16383, 65535])).to_bytes(2)
            case 3:
                del data[at + int(rng.integers(50)) :]
            case 4:
                data[at:at] = data[at : at + int(rng.integers(200))]
            case _:
                del data[at : at + int(rng.integers(20))]
    return bytes(data)


def mutated(rng: Rng) -> Any:
    return damaged(some_file(rng), rng)


def png_of_any_size(rng: Rng) -> bytes:
    """The right checksum for a header that lies."""
    whole = bytearray(some_file(rng))
    if whole[:4] == b"\x89PNG":
        for at in (16, 20):
            if rng.random() < 0.7:
                side = int(rng.choice([0, 1, 90, 4000, 2**16, 2**31 - 1]))
                whole[at : at + 4] = side.to_bytes(4)
        whole[24:26] = bytes([int(rng.choice([1, 8, 16])), int(rng.choice([0, 2, 3, 4, 6]))])
        whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4)
    return bytes(whole)


def some_array(rng: Rng) -> np.ndarray:
    shapes = [SIZE, (*SIZE, 1), (*SIZE, 2), (*SIZE, 3), (*SIZE, 4), (*SIZE, 5), (1, *SIZE, 3)]
    shapes += [(3, *SIZE), (0, 5), (5,), (), (2, 2, 2, 2), (1, 1), (*SIZE, 0), (1, 1, 1, *SIZE)]
    shape = shapes[int(rng.integers(len(shapes)))]
    dtype = np.dtype(str(rng.choice(DTYPES)))
    values: Any = rng.choice([0.0, 1.0, 0.5, 2.0, 254.0, 255.0, 256.0, 65535.0], shape)
    if rng.random() < 0.3:
        values = rng.random(shape)
    if rng.random() < 0.2:
        values = values * float(rng.choice([-1, 1e30, 1e300, np.nan, np.inf, -np.inf]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dtype.kind in "VM":
            array = np.zeros(shape, dtype)
        elif dtype.kind == "m":
            array = np.ones(shape, dtype)
        else:
            array = np.asarray(values).astype(dtype)
    match int(rng.integers(8)):
        case 0 if array.ndim:
            return array[::-1]
        case 1:
            return np.asfortranarray(array)
        case 2:
            return np.ma.masked_array(array)
        case 3 if array.size:
            return np.broadcast_to(array.flat[0], (int(rng.choice([100, 10**6])), 90, 3))
        case 4:
            array.flags.writeable = False
    return array


def some_tensor(rng: Rng) -> Any:
    import torch

    dtypes = ["bool", "uint8", "int8", "int16", "uint16", "int64", "float16", "bfloat16", "float32"]
    dtypes += ["float64", "complex64", "float8_e4m3fn", "uint64"]
    dtype = getattr(torch, str(rng.choice(dtypes)))
    shapes = [SIZE, (1, *SIZE), (3, *SIZE), (1, 3, *SIZE), (4, *SIZE), (2, 3, *SIZE), (0, 2), ()]
    values = torch.from_numpy(np.asarray(rng.random(shapes[int(rng.integers(len(shapes)))])))
    plain = (values * float(rng.choice([1, 2, -1, 255]))).to(dtype)
    odd: list[Callable[[], Any]] = [
        lambda: plain,
        lambda: plain,
        lambda: plain.to("meta"),
        plain.to_sparse,
        lambda: torch.quantize_per_tensor(values.float(), 0.1, 0, torch.quint8),
        lambda: torch.nested.nested_tensor([values.float(), values.float()]),
        lambda: values.float().requires_grad_(),
        lambda: torch.complex(values.float(), values.float()).conj().imag,
        lambda: values[..., None].expand(*values.shape, 10**6),
        lambda: torch.nn.Parameter(values.float()),
    ]
    try:
        return odd[int(rng.integers(len(odd)))]()
    except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
        return plain  # torch has no such tensor of this dtype


class Odd:
    """What looks like a file or a path and is neither."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)

    def read(self, *_: Any) -> Any:
        raise RuntimeError("no\nreading")


class OddPath(os.PathLike[str]):
    def __fspath__(self) -> Any:
        return 5


def some_object(rng: Rng) -> Any:
    image = some_image(rng)
    file = io.BytesIO(some_file(rng))
    lazy: Any = file
    try:
        lazy = Image.open(file)
        if rng.random() < 0.5:
            lazy.close()
    except Exception:  # one of the files that are none
        lazy = None
    closed = image.copy()
    closed.close()
    things = [None, 0, 1.5, True, [], {}, (), "", "a" * 10_000, "\0", "\ud800", "/", "/dev/zero"]
    things += ["/proc/self/mem", b"", bytearray(b"x"), memoryview(np.zeros((4, 4))[::2]), Odd()]
    things += [OddPath(), Path("~/none.png"), io.StringIO("text"), Odd, np.float32(1), np.str_("x")]
    things += [lazy, closed, Image.new("L", (0, 9)), np, Image, lambda: None, 10**40, float("nan")]
    things += [Odd(read=lambda *_: "text"), Odd(read=lambda *_: b"x" * 9 * 2**20), range(5)]
    return things[int(rng.integers(len(things)))]


def bomb(rng: Rng) -> Any:
    """Small files of many pixels, below and above the limit."""
    side = int(rng.choice([4000, 4999, 5001, 9400]))
    picture = Image.new(str(rng.choice(["1", "L", "RGB", "RGBA"])), (side, side))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


KINDS: list[tuple[float, Callable[[Rng], Any]]] = [
    (0.30, mutated),
    (0.10, png_of_any_size),
    (0.05, some_file),
    (0.20, some_array),
    (0.10, some_tensor),
    (0.15, some_image),
    (0.098, some_object),
    (0.002, bomb),
]


# --- trying them -----------------------------------------------------------------------------


def is_a_sentence(text: str) -> bool:
    fine = text.endswith(".") and "\n" not in text and 20 < len(text) < 1000
    return fine and "MemoryError" not in text


def peak_megabytes() -> float:
    """The largest memory of this process since it was last forgotten."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def try_inputs(seed: int, count: int) -> dict[str, Any]:
    """Read `count` inputs as pictures or masks; what came of them."""
    from hdpainter_nb.errors import ImageError, MaskError
    from hdpainter_nb.images.read import read_image, read_mask

    def late(*_: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    wrong, most, slowest = [], 0.0, 0.0
    shares = np.array([share for share, _ in KINDS])
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = KINDS[int(rng.choice(len(KINDS), p=shares / shares.sum()))][1]
        source = kind(rng)
        as_mask = bool(rng.random() < 0.5)
        forget_peak()
        before, start = peak_megabytes(), time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            read: Any = read_mask(source, SIZE) if as_mask else read_image(source)
            signal.setitimer(signal.ITIMER_REAL, 0)
            fine = read.flags.c_contiguous and read.dtype == (bool if as_mask else np.uint8)
            fine &= read.shape == SIZE if as_mask else read.shape[2:] == (3,)
            outcomes["read" if fine else "misread"] += 1
            problem = None if fine else f"{read.shape} {read.dtype}"
        except (ImageError, MaskError) as refusal:
            right = isinstance(refusal, MaskError) == as_mask and is_a_sentence(str(refusal))
            outcomes["refused"] += 1
            problem = None if right else f"{type(refusal).__name__}: {refusal}"
        except (Exception, TooSlow):
            outcomes["raw"] += 1
            problem = traceback.format_exc()[-600:]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took, used = time.perf_counter() - start, peak_megabytes() - before
        if problem is None and (took > SECONDS or used > MEGABYTES):
            problem = f"took {took:.1f} s and {used:.0f} MB"
        if problem is not None:
            wrong.append(f"{kind.__name__}, seed {seed}, number {number}: {problem}")
        most, slowest = max(most, used), max(slowest, took)
    return {"outcomes": outcomes, "wrong": wrong, "megabytes": most, "seconds": slowest}


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux counts it"
)
def test_every_input_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """In a process of its own, which a decoder may crash."""
    count = int(INPUTS * float(os.environ.get("FUZZ", "1")))
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, __file__, str(seed), str(count), str(tmp_path / "outcomes.json")],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60 + count * 0.1,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads((tmp_path / "outcomes.json").read_text())
    print(report["outcomes"], f"{report['megabytes']:.0f} MB, {report['seconds']:.1f} s at most")
    assert not report["wrong"], "\n".join(report["wrong"][:10])
    assert min(report["outcomes"]["read"], report["outcomes"]["refused"]) > count / 10


if __name__ == "__main__":
    outcome = try_inputs(int(sys.argv[1]), int(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(outcome))
