"""Read pictures and masks of any kind: arrays, tensors, PIL images, files.

Whatever comes in, a picture leaves as (H, W, 3) uint8 in sRGB and a mask as (H, W) bool, True =
fill. Nothing is guessed: what has two readings is refused with a message that says how to decide.
Sizes are looked at before anything is decoded or allocated, and the work goes on in blocks, so that
no file of a few kilobytes takes gigabytes.
"""

from __future__ import annotations

import io
import math
import os
import re
import reprlib
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from hdpainter_nb.errors import HDPainterError, ImageError, MaskError
from hdpainter_nb.images.colours import ColourConversion
from hdpainter_nb.images.fit import counts
from hdpainter_nb.settings import SoftMask
from hdpainter_nb.utils.messages import because, warn_user

__all__ = ["FORMATS", "LARGEST", "SMALLEST", "read_image", "read_mask", "read_mask_levels"]

SMALLEST: Final = 64
"""The shortest usable side in pixels: two positions of the H/32 grid."""
LARGEST = 25_000_000
"""Pixels (height times width) of the largest picture or mask that is read.

Decoding takes up to 14 bytes a pixel (WebP 19: two thirds of the pixels are read), so this keeps it
below 400 MB. May be set to another number; Pillow's own `Image.MAX_IMAGE_PIXELS` stays a second
limit for files.
"""
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""The file formats that are opened. Others run foreign programs (EPS) or nobody means them here."""

_KINDS = "a path, a PIL image, a NumPy array (H, W), (H, W, 3) or (H, W, 4), or a torch tensor"
_LISTED = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_BLOCK = 2**20  # pixels that are worked on at a time
_METADATA = 2**26  # bytes of a file that are no pixels
_READS = 2**19  # of parts of a file; those of a picture of `LARGEST` pixels are fewer
_Array = NDArray[Any]
_Bytes = NDArray[np.uint8]
_Block = tuple[slice, slice]


@dataclass(frozen=True)
class _Kind:
    """What is read: its name in messages, its error, its shortest side in pixels."""

    name: str
    error: type[HDPainterError]
    smallest: int = 1


@dataclass(frozen=True)
class _Raw:
    """A picture with the numbers that it came with."""

    array: _Array  # (H, W) or (H, W, 1..4)
    span: tuple[float, float] | None = None  # black and white, where the dtype does not say it
    own: bool = False  # nobody else has the array
    ink: bool = False  # CMYK: zero is white paper
    note: str = ""  # what the user is told about its colours


def read_image(image: Any, *, smallest: int = SMALLEST) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) uint8 in sRGB, a copy of what was given.

    Args:
        image: NumPy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of bool, uint8, uint16 or
            float in 0..1; torch tensor (3, H, W) or (1, 3, H, W) in 0..1 or, if any value is
            negative, -1..1; PIL image of any mode (of mode F in 0..1 or 0..255); path, bytes or
            open binary file of one of `FORMATS`. The EXIF rotation is applied, alpha is laid over
            white, grey becomes RGB, colours with another profile than sRGB are converted to it.
        smallest: the shortest side that will do, in pixels.

    Raises:
        ImageError: not a picture, unreadable, NaN, out of range, below `smallest` on a side, of
            more than `LARGEST` pixels, or 16 bits wide with values of 8 bits only.

    Warns:
        HDPainterWarning: colours were converted to sRGB, or their profile could not be used.
    """
    kind = _Kind("The picture", ImageError, smallest)
    raw = _raw(image, kind)
    _refuse_two_ranges(raw.array)
    levels = _levels(raw, kind)
    if raw.note:
        warn_user(raw.note)
    if (raw.own or levels is not raw.array) and levels.ndim == 3 and levels.shape[-1] == 3:
        return np.ascontiguousarray(levels)
    height, width = levels.shape[:2]
    picture = np.empty((height, width, 3), np.uint8)
    for block in _blocks((height, width)):
        picture[block] = _over_white(levels[block])
    return picture


def read_mask(
    mask: Any, size: tuple[int, int] | Literal["own"], *, soft_mask: SoftMask = "half"
) -> NDArray[np.bool_]:
    """A mask as (H, W) bool, True where to fill; see `read_mask_levels`."""
    return counts(read_mask_levels(mask, size, soft_mask=soft_mask), soft_mask)


def read_mask_levels(
    mask: Any, size: tuple[int, int] | Literal["own"], *, soft_mask: SoftMask = "half"
) -> NDArray[np.uint8]:
    """A mask as (H, W) uint8, black to white, a copy of what was given.

    Args:
        mask: None for everything (no warning: it was asked for), or what `read_image` takes,
            white = fill. Integers up to 1 count as 0 and 1, floats above 1 as 0..255. Colour is
            read by its luminance, except that a drawing of one colour on a transparent ground
            is read by its alpha. Whether a mask is inverted cannot be known, so no guess is made.
            A colour profile is not applied: a mask's values are no colours.
        size: (H, W) of the picture in pixels; ``own`` where there is no picture.
        soft_mask: which grey will count as hole: `Settings.soft_mask`.

    Raises:
        MaskError: unreadable, empty, of another size and other proportions than the picture, of
            more than `LARGEST` pixels; or it has two readings: a picture or a page with
            transparent parts, or CMYK without ink.

    Warns:
        HDPainterWarning: soft values count as hole, or do not; another size but the same
            proportions (within a pixel) was resized by nearest; or everything is masked.
    """
    own = isinstance(size, str) and size == "own"
    if mask is None and not own:
        return np.full(_size(size), 255, np.uint8)
    kind = _Kind("The mask", MaskError)
    raw = _raw(mask, kind)
    levels = _levels(replace(raw, span=raw.span or _mask_span(raw.array)), kind)
    values = _luminance(levels)  # (h, w)
    height, width = values.shape if own else _size(size)
    fitted = values if values.shape == (height, width) else _resized(values, height, width)
    filled = counts(fitted, soft_mask)
    if not filled.any():
        raise MaskError(
            "There is nothing to fill: the mask has no white pixel (its brightest value is "
            f"{int(values.max())} of 255, and {1 if soft_mask == 'any' else 128} is needed). "
            "White fills, black keeps. If it "
            "holds labels or coloured strokes, pass `mask > 0` or `mask == label`."
        )
    if raw.ink and filled.all():
        raise MaskError(
            "The mask is a CMYK picture with next to no ink, which has two readings: white paper "
            "everywhere, or zero everywhere. Pass mask=None to fill everything, or a mask in grey "
            "whose white fills."
        )
    if share := _softness(values, levels):
        warn_user(
            f"The mask is soft: {share:.0%} of its values lie between black and white. They were "
            "cut at half, as HD-Painter's masks are hard; threshold it yourself to choose another "
            "level."
            if soft_mask == "half"
            else f"The mask is soft: {share:.0%} of its values lie between black and white. Every "
            "value above 0 counts as hole, as in the official code; soft_mask='half' cuts at half."
        )
    elif soft_mask == "any" and (share := _faintness(values)):
        warn_user(
            f"{share:.0%} of the mask is nearly black without being 0, as JPEG leaves it, and "
            "counts as hole, as in the official code; soft_mask='half' cuts at half."
        )
    if filled.all():
        warn_user(
            "The mask covers the whole picture: nothing is known, so PAIntA has nothing to "
            "rescale. White fills, black keeps; pass mask=None if everything is meant."
        )
    return np.array(fitted)


# --- from any source to an array --------------------------------------------------------------


def _raw(source: Any, kind: _Kind) -> _Raw:
    """Any kind of picture with its own numbers, channels last, its shape and size checked."""
    if isinstance(source, Image.Image):
        return _from_pil(source, kind, "this PIL image")
    if isinstance(source, str | os.PathLike):
        shown = _shown(source)
        with _regular_file(source, kind, shown) as file:
            return _from_file(file, kind, shown)
    if isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        shown = f"this {type(source)}"
        return _from_file(_bounded(source, kind, shown), kind, shown)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return _from_tensor(source, kind)
    if isinstance(source, np.ma.MaskedArray):
        raise kind.error(
            f"{kind.name} is a masked array, whose hidden values are unknown; fill them first, "
            "with array.filled(0)."
        )
    if isinstance(source, np.ndarray):
        array = np.asarray(source[0] if source.ndim == 4 and len(source) == 1 else source)
        _refuse_shape(array.shape, str(array.dtype), kind)
        _refuse_dtype(array.dtype, kind)
        return _Raw(array)
    raise kind.error(f"{kind.name} is of type {type(source).__name__}; pass {_KINDS}.")


def _regular_file(path: str | os.PathLike[str], kind: _Kind, shown: str) -> IO[bytes]:
    """Open a path for reading once it is known to be a file, and of a sensible length."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of a str that may be no path at all
        _refuse_odd_file(status.st_mode, kind, shown)
        _refuse_long_file(status.st_size, kind, shown)
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    except FileNotFoundError:
        raise kind.error(
            f"{kind.name} was not found: there is no file {shown} in {Path.cwd()}. "
            "Web addresses must be downloaded first."
        ) from None
    except HDPainterError:
        raise
    except (OSError, ValueError, TypeError) as reason:
        raise kind.error(
            f"{kind.name} cannot be opened at {shown}: {because(reason)}. Pass the path of a "
            "file that can be read."
        ) from reason


def _bounded(file: Any, kind: _Kind, shown: str) -> IO[bytes]:
    """Bytes or an open file, sure to end: in memory or on disk as it is, any other as a copy."""
    try:
        if isinstance(file, bytes | bytearray | memoryview):
            _refuse_long_file(memoryview(file).nbytes, kind, shown)
            return io.BytesIO(file.tobytes() if isinstance(file, memoryview) else file)
        if isinstance(file, io.BytesIO):
            _refuse_long_file(file.getbuffer().nbytes, kind, shown)
            return file
        if isinstance(file, io.IOBase) and (number := _descriptor(file)) is not None:
            status = os.fstat(number)
            if not stat.S_ISSOCK(status.st_mode):
                _refuse_odd_file(status.st_mode, kind, shown)
            if isinstance(file, io.BufferedReader | io.BufferedRandom | io.FileIO):
                _refuse_long_file(status.st_size, kind, shown)
                return file
        if callable(getattr(file, "seekable", None)) and file.seekable():
            file.seek(0)
        copy, limit = io.BytesIO(), _longest_file()
        while copy.tell() <= limit and (data := file.read(_BLOCK)):
            if not isinstance(data, bytes | bytearray | memoryview):
                raise kind.error(
                    f"{kind.name} cannot be read from {shown}, which gives "
                    f"{type(data).__name__} instead of bytes; open the file with mode 'rb'."
                )
            copy.write(data)
        _refuse_long_file(copy.tell(), kind, shown)
        return copy
    except HDPainterError:
        raise
    except Exception as reason:
        raise kind.error(
            f"{kind.name} cannot be read from {shown}: {because(reason)}. Pass an open file of "
            "mode 'rb', or a path."
        ) from reason


class _Patient:
    """An open file that gives up after half a million reads: headers without end take no hours."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _READS

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            OSError: it was read too often.
        """
        self._left -= 1
        if self._left < 0:
            raise OSError(f"it has more than {_READS} parts")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _descriptor(file: io.IOBase) -> int | None:
    """The number by which the system knows an open file; None without one."""
    try:
        return file.fileno()
    except OSError:
        return None


def _from_file(file: IO[bytes], kind: _Kind, shown: str) -> _Raw:
    """The picture in an open file of one of `FORMATS`; only its header is read before its size."""
    try:
        with Image.open(cast("IO[bytes]", _Patient(file)), formats=_formats()) as opened:
            return _from_pil(opened, kind, shown)
    except HDPainterError:
        raise
    except UnidentifiedImageError:
        raise kind.error(
            f"{kind.name} cannot be read from {shown}: it is no {_LISTED} file. Convert it to PNG "
            "or JPEG first."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as reason:
        pixels = re.search(r"\((\d+) pixels\)", str(reason))
        _refuse_pixels(int(pixels[1]) if pixels else 0, "", kind)
    except Exception as reason:  # a decoder may raise anything over a damaged file
        _refuse_decoding(reason, kind, shown)


def _from_pil(image: Image.Image, kind: _Kind, shown: str) -> _Raw:
    """PIL image of any mode: (H, W) or (H, W, C), bool, uint8, uint16, int32 or float32."""
    foreign = image.format not in {None, "MPO", *FORMATS}
    if foreign and isinstance(image, ImageFile.ImageFile) and image.tile:
        raise kind.error(
            f"{kind.name} is an unread {image.format} file, and only {_LISTED} are read here. "
            "Call image.load() first if you trust it."
        )
    width, height = image.size
    _refuse_shape((height, width), image.mode, kind)
    loaded = False
    try:
        _refuse_costly(image, kind)
        image.load()
        loaded = True
        is_data = kind.error is MaskError and image.mode != "LAB"
        colours, note = (None, "") if is_data else ColourConversion.of(image)
        array = _turned(_pixels(image, colours), _orientation(image))
    except HDPainterError:
        raise
    except Exception as reason:  # a decoder may raise anything over a damaged file
        if "closed" in str(reason) or (not loaded and getattr(image, "fp", image) is None):
            raise kind.error(
                f"{kind.name} is a PIL image that was closed before it was read; open it again, "
                "or pass image.copy() made while its file was open."
            ) from reason
        _refuse_decoding(reason, kind, shown)
    wide = array.dtype == np.int32 and array.min() >= 0 and array.max() < 65536
    if wide and (image.format == "PNG" or array.max() > 255):  # as older Pillow opens 16 bit
        array = array.astype(np.uint16)
    eight_bit = array.dtype.kind == "f" and bool(1.001 < array.max() <= 255)  # image.convert("F")
    return _Raw(array, (0, 255) if eight_bit else None, True, image.mode == "CMYK", note)


def _from_tensor(tensor: Any, kind: _Kind) -> _Raw:
    """(C, H, W) or (1, C, H, W), 0..1 or -1..1, as (H, W, C); integers as they are."""
    odd = {
        "nested tensor": (tensor.is_nested, "pass one of its pictures, tensor[0]"),
        "sparse tensor": (str(tensor.layout) != "torch.strided", "pass tensor.to_dense()"),
        "quantised tensor": (tensor.is_quantized, "pass tensor.dequantize()"),
        "tensor on the meta device": (tensor.is_meta, "it has no values; make it on the CPU"),
    }
    for what, (is_odd, remedy) in odd.items():
        if is_odd:
            raise kind.error(f"{kind.name} is a {what}; {remedy}.")
    try:
        plain = tensor.detach()
        if plain.ndim == 4 and len(plain) == 1:
            plain = plain[0]
        if plain.ndim == 3 and len(plain) in {1, 3, 4}:
            plain = plain.movedim(0, -1)
        dtype = str(plain.dtype).removeprefix("torch.")
        _refuse_shape(tuple(plain.shape), dtype, kind)
        if plain.is_floating_point() and dtype not in {"float16", "float32", "float64"}:
            plain = plain.float()  # what NumPy lacks
        array: _Array = plain.cpu().resolve_neg().numpy()
    except HDPainterError:
        raise
    except Exception as reason:  # tensors of other libraries, of transformations, of odd types
        raise kind.error(
            f"{kind.name} is a tensor that cannot be read: {because(reason)}. Pass it as a NumPy "
            "array or a plain tensor in the CPU's memory."
        ) from reason
    _refuse_dtype(array.dtype, kind)
    signed = array.dtype.kind == "f" and bool(-1.001 <= array.min() < 0)
    return _Raw(array, (-1, 1) if signed else None)


# --- what is refused, and how -----------------------------------------------------------------


def _size(size: Any) -> tuple[int, int]:
    """(H, W) of the picture that a mask is read for, as two ints."""
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError, OverflowError):
        height = width = 0
    if min(height, width) < 1:
        raise MaskError(f"size must be (height, width) in pixels, not {reprlib.repr(size)}.")
    _refuse_shape((height, width), "bool", _Kind("The mask", MaskError))
    return height, width


def _refuse_shape(shape: tuple[int, ...], dtype: str, kind: _Kind) -> None:
    """Refuse every shape but (H, W) and (H, W, 1..4), and pictures too small or too large."""
    if not (len(shape) == 2 or (len(shape) == 3 and 1 <= shape[-1] <= 4)):
        hint = "height, width, channels in this order"
        if len(shape) == 4:
            hint = "one picture at a time"
        elif len(shape) == 3 and shape[0] <= 4:
            hint = "channels come last: pass array.transpose(1, 2, 0)"
        raise kind.error(f"{kind.name} has the shape {shape} ({dtype}); {hint}. Pass {_KINDS}.")
    if math.prod(shape) == 0:
        raise kind.error(f"{kind.name} is empty: its shape is {shape}. Pass {_KINDS}.")
    height, width = shape[:2]
    if height * width > LARGEST:
        _refuse_pixels(height * width, f"{width}x{height} px, ", kind)
    if min(height, width) < kind.smallest:
        scale = kind.smallest / min(height, width)
        larger = tuple(max(kind.smallest, round(side * scale)) for side in (width, height))
        raise kind.error(
            f"{kind.name} is {width}x{height} px; the smallest usable size is {kind.smallest} px "
            f"on each side. Enlarge it, for instance with image.resize({larger}, Image.LANCZOS)."
        )


def _refuse_pixels(pixels: int, size: str, kind: _Kind) -> NoReturn:
    """Say that there are too many pixels, and what to do."""
    side = math.isqrt(LARGEST)
    raise kind.error(
        f"{kind.name} has {size}{pixels / 1e6:.0f} megapixels, and at most {LARGEST / 1e6:g} are "
        f"read, so that no file fills the memory. Shrink it, for instance with "
        f"image.thumbnail(({side}, {side})), or raise hdpainter_nb.images.read.LARGEST."
    )


def _refuse_costly(image: Image.Image, kind: _Kind) -> None:
    """Refuse unread files whose decoding takes more than their size says."""
    if not isinstance(image, ImageFile.ImageFile):
        return
    width, height = image.size
    if image.format == "WEBP" and image.fp is not None and 3 * width * height > 2 * LARGEST:
        raise kind.error(  # takes 19 bytes a pixel, where others take up to 14
            f"{kind.name} is a WEBP file of {width}x{height} px, and at most "
            f"{LARGEST / 1.5e6:.1f} megapixels of that format are read. Shrink it, or convert it "
            "to PNG or JPEG first."
        )
    tags = getattr(image, "tag_v2", {})  # of a TIFF, whose tiles are decoded whole
    tile = math.prod(int(tags.get(tag, 1)) for tag in (322, 323))
    if tile > LARGEST:
        _refuse_pixels(tile, "tiles of ", kind)


def _refuse_odd_file(mode: int, kind: _Kind, shown: str) -> None:
    """Refuse what is no regular file: opening or reading it may never end."""
    if stat.S_ISREG(mode):
        return
    names = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    what = names.get(stat.S_IFMT(mode), "something else")
    raise kind.error(
        f"{kind.name} cannot be read from {shown}: it is {what}, not a file. Pass the path of a "
        f"{_LISTED} file, or its bytes."
    )


def _longest_file() -> int:
    """Bytes of the longest file: 16 bits of RGBA uncompressed, and what goes with them."""
    return 8 * LARGEST + _METADATA


def _refuse_long_file(length: int, kind: _Kind, shown: str) -> None:
    """Refuse files longer than a picture of `LARGEST` pixels can be, and empty ones."""
    if length == 0:
        raise kind.error(
            f"{kind.name} cannot be read from {shown}: it is empty. Save it again as PNG or JPEG."
        )
    if length > _longest_file():
        raise kind.error(
            f"{kind.name} cannot be read from {shown}: it is longer than the "
            f"{_longest_file() / 1e6:.0f} MB that a picture of {LARGEST / 1e6:g} megapixels takes. "
            "Shrink it and save it as PNG or JPEG first."
        )


def _refuse_decoding(reason: Exception, kind: _Kind, shown: str) -> NoReturn:
    """Say that Pillow could not read a picture, in one sentence, and what to do."""
    raise kind.error(
        f"{kind.name} cannot be read from {shown}: {because(reason)}. Convert it to PNG or JPEG "
        "first."
    ) from reason


def _refuse_dtype(dtype: np.dtype[Any], kind: _Kind) -> None:
    """Refuse strings, objects, dates, records and complex numbers."""
    if dtype.kind not in "biuf":
        text = reprlib.repr(str(dtype)).strip("'")
        raise kind.error(f"{kind.name} is an array of dtype {text}; pass uint8 or floats in 0..1.")


def _refuse_two_ranges(array: _Array) -> None:
    """Refuse 16-bit pictures with numbers of 8 bits: nearly black, or meant otherwise."""
    if array.dtype == np.uint16 and 0 < (high := int(array.max())) <= 255:
        raise ImageError(
            f"The picture of shape {array.shape} is 16 bits wide but holds no value above {high}, "
            "which has two readings. Pass array.astype(np.uint8) if 255 is white, or "
            "array / 65535 if it is meant to be nearly black."
        )


def _shown(path: Any) -> str:
    """A path as a message shows it, not longer than a line or two."""
    try:
        text = repr(os.fspath(path))
    except Exception:  # a PathLike of somebody's own
        text = f"this {type(path)}"
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


# --- PIL images -------------------------------------------------------------------------------


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow knows: AVIF came with 11.3."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _pixels(image: Image.Image, colours: ColourConversion | None) -> _Array:
    """The pixels of a loaded image: (H, W) or (H, W, C), bool, uint8, uint16, int32, float32."""
    width, height = image.size
    deep = image.mode.startswith("I;16")
    if deep and int(image.getextrema()[1]) <= 255:  # type: ignore[arg-type] # one band
        colours = None  # two readings, refused later
    array: _Array | None = None
    for rows, columns in _blocks((height, width)):
        block = image.crop((columns.start, rows.start, columns.stop, rows.stop))
        if deep and colours is not None:
            block = Image.fromarray(_scaled(np.asarray(block).astype(np.uint16), (0, 65535)))
        elif colours is None or block.mode != colours.mode or "transparency" in image.info:
            block = _normal(block)
        part = np.asarray(block if colours is None else colours.apply(block))
        if array is None:
            array = np.empty((height, width, *part.shape[2:]), part.dtype.newbyteorder("="))
        array[rows, columns] = part
    assert array is not None  # no picture without pixels comes here
    return array


def _normal(image: Image.Image) -> Image.Image:
    """An image in one of the modes 1, L, LA, RGB, RGBA, I;16, I and F."""
    if image.mode.startswith("I") or image.mode == "F":
        return image
    if "transparency" in image.info or image.mode in {"PA", "La", "RGBa"}:
        return image.convert("LA" if image.mode in {"L", "La"} else "RGBA")
    return image if image.mode in {"1", "L", "LA", "RGB", "RGBA"} else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """How the picture is to be turned, 1..8 as EXIF counts; 1 if it does not say."""
    try:
        turn = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF is no reason to refuse a picture
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _turned(array: _Array, orientation: int) -> _Array:
    """The picture upright, a view."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        array = array[::-1]
    return array[:, ::-1] if orientation in {2, 3, 6, 7} else array


# --- numbers ----------------------------------------------------------------------------------


def _blocks(shape: tuple[int, ...]) -> Iterator[_Block]:
    """Rows and columns of parts that are small enough to make copies of."""
    height, width = shape[:2]
    columns = min(width, _BLOCK)
    rows = max(1, _BLOCK // columns)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield (
                slice(top, min(top + rows, height)),
                slice(left, min(left + columns, width)),
            )


def _levels(raw: _Raw, kind: _Kind) -> _Bytes:
    """The picture as uint8: bool, uint16, integers in 0..255 or floats in 0..1, or in its span."""
    array = raw.array
    if array.dtype == np.uint8 and raw.span is None:
        return array
    whites = {"b": 1, "f": 1}
    own = (0, 65535 if array.dtype == np.uint16 else whites.get(array.dtype.kind, 255))
    black, white = raw.span or own
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    what = f"{kind.name} of shape {array.shape} ({array.dtype})"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise kind.error(
            f"{what} holds NaN or infinite values; replace them, for instance with "
            "np.nan_to_num(array)."
        )
    if low < black - 0.001 * white or high > 1.001 * white:
        raise kind.error(
            f"{what} holds values from {low:.4g} to {high:.4g}; {array.dtype} must stay in "
            f"{black:g}..{white:g}. Rescale it, or pass uint8."
        )
    levels = np.empty(array.shape, np.uint8)
    for block in _blocks(array.shape):
        levels[block] = _scaled(array[block], (black, white))
    return levels


def _scaled(array: _Array, span: tuple[float, float]) -> _Bytes:
    """Numbers between black and white as 0..255, rounded."""
    black, white = span
    if array.dtype.kind == "f":
        share = (array + 1) / 2 if black == -1 else array / 255 if white == 255 else array
        return (np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)
    if white == 65535:
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    levels = array.astype(np.uint8)
    return levels * np.uint8(255) if white == 1 else levels


def _mask_span(array: _Array) -> tuple[float, float] | None:
    """Integers up to 1 are 0 and 1; 8-bit numbers in wider types are out of 255."""
    with np.errstate(invalid="ignore"):
        low, high = array.min(), array.max()
    if array.dtype.kind in "iu" and low >= 0 and high <= 1:
        return 0, 1
    if (array.dtype == np.uint16 and high <= 255) or (
        array.dtype.kind == "f" and low >= 0 and 1.001 < high <= 255
    ):
        return 0, 255
    return None


def _split(array: _Bytes) -> tuple[_Bytes, _Bytes | None]:
    """Colour (H, W, 1 or 3) and alpha (H, W), None if there is none."""
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[-1] in {1, 3}:
        return array, None
    return array[..., :-1], array[..., -1]


def _over_white(block: _Bytes) -> _Bytes:
    """Colours (h, w, 1 or 3), alpha laid over white; 1 for grey."""
    colour, alpha = _split(block)
    if alpha is None:
        return colour
    weight = alpha[..., None].astype(np.uint16)
    white = 255 * (255 - weight)
    return ((colour * weight + white + 127) // 255).astype(np.uint8)


# --- masks ------------------------------------------------------------------------------------


def _luminance(array: _Bytes) -> _Bytes:
    """(H, W) uint8: alpha where one colour is drawn on a transparent ground, else luminance."""
    colour, alpha = _split(array)
    grey = np.empty(array.shape[:2], np.uint8)
    for block in _blocks(grey.shape):
        grey[block] = _grey(colour[block])
    if alpha is None:
        return grey
    opaque = alpha >= 128
    drawn = bool(alpha.min() < alpha.max()) and _one_colour(colour, opaque)
    values = alpha
    if not drawn:
        values = np.empty_like(grey)
        for block in _blocks(grey.shape):
            product = grey[block].astype(np.uint16) * alpha[block]
            values[block] = (product + 127) // 255
    if opaque.any() and not opaque.all():
        _refuse_erased(values, grey, opaque, drawn)
    return values


def _grey(colour: _Bytes) -> _Bytes:
    """(h, w) luminance of (h, w, 1 or 3)."""
    if colour.shape[-1] == 1:
        return colour[..., 0]
    red, green, blue = np.moveaxis(colour, -1, 0).astype(np.uint32)
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def _one_colour(colour: _Bytes, opaque: NDArray[np.bool_]) -> bool:
    """Whether what is opaque has one colour, within two levels; also if nothing is opaque."""
    where = opaque[..., None]
    high = colour.max((0, 1), where=where, initial=0).astype(int)
    low = colour.min((0, 1), where=where, initial=255)
    return bool((high - low).max() <= 2)


def _refuse_erased(values: _Bytes, grey: _Bytes, opaque: NDArray[np.bool_], drawn: bool) -> None:
    """Refuse transparent masks whose hole may be what was erased or what is left.

    A photograph with transparent parts (neither one colour nor black and white), or a page: where
    more than a quarter of the border would be filled, a hole was probably erased out of it.
    """
    between = _between(grey) & opaque
    bright = (grey > 25) & opaque
    photograph = not drawn and int(between.sum()) > max(16, 0.25 * int(bright.sum()))
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if photograph or float((border >= 128).mean()) > 0.25:
        what = "a photograph" if photograph else "a page"
        raise MaskError(
            f"The mask looks like {what} with transparent parts, which has two readings. With "
            "alpha = np.asarray(image.convert('RGBA'))[..., 3], pass alpha < 128 to fill what was "
            "erased, or alpha >= 128 to fill what is left."
        )


def _between(values: _Bytes) -> NDArray[np.bool_]:
    """Where values are neither black nor white."""
    return (values > 25) & (values < 230)


def _softness(values: _Bytes, array: _Bytes) -> float:
    """The share of values between black and white; 0 for hard masks, smooth edges or flat colour.

    Args:
        values: (h, w), the luminance.
        array: (h, w) or (h, w, channels), what it was taken from.
    """
    between = _between(values)
    if int(between.sum()) <= max(16, 0.25 * int((values > 25).sum())):
        return 0.0
    parts = _blocks(values.shape)
    coloured = array.ndim == 3 and array.shape[-1] >= 3 and bool(np.ptp(array[..., :3], -1).any())
    if coloured:
        counts = sum(np.bincount(values[block][between[block]], minlength=256) for block in parts)
        if np.count_nonzero(counts) <= 3:
            return 0.0
    return float(between.mean())


def _faintness(values: _Bytes) -> float:
    """The share of values that are nearly black, if they are many and of many kinds."""
    low = (values > 0) & (values <= 25)
    if int(low.sum()) <= max(16, 0.25 * int((values > 25).sum())):
        return 0.0
    return float(low.mean()) if np.unique(values[low]).size > 1 else 0.0


def _resized(values: _Bytes, height: int, width: int) -> _Bytes:
    """The mask at the picture's size if the proportions agree within one pixel."""
    h, w = values.shape
    sizes = f"The mask is {w}x{h} px and the picture {width}x{height} px"
    if abs(h * width - w * height) > max(h, w, height, width):
        raise MaskError(
            f"{sizes}, and their proportions differ. Crop it, or resize it with "
            f"mask.resize(({width}, {height}), Image.NEAREST)."
        )
    warn_user(f"{sizes}; the mask was resized to the picture's size by nearest neighbour.")
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))
