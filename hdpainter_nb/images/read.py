"""Read pictures and masks of any kind: arrays, tensors, PIL images, files.

Whatever comes in, a picture leaves as (H, W, 3) uint8 and a mask as (H, W) bool, True = fill.
Nothing is guessed: what has two readings is refused with a message that says how to decide.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hdpainter_nb.errors import HDPainterError, ImageError, MaskError
from hdpainter_nb.utils.messages import warn_user

__all__ = ["SMALLEST", "read_image", "read_mask"]

SMALLEST = 64
"""The shortest usable side in pixels: two positions of the H/32 grid."""
_KINDS = "a path, a PIL image, a NumPy array (H, W), (H, W, 3) or (H, W, 4), or a torch tensor"
_Array = NDArray[Any]
_Bytes = NDArray[np.uint8]


def read_image(image: Any, *, smallest: int = SMALLEST) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) uint8, a copy of what was given.

    Args:
        image: NumPy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of bool, uint8, uint16 or
            float in 0..1; torch tensor (3, H, W) or (1, 3, H, W) in 0..1 or, if any value is
            negative, -1..1; PIL image of any mode; path or bytes of a file. The EXIF rotation is
            applied, alpha is laid over white, grey becomes RGB.
        smallest: the shortest side that will do, in pixels.

    Raises:
        ImageError: not a picture, unreadable, NaN, out of range, or below `smallest` on a side.
    """
    name = "The picture"
    array = _as_uint8(_channels(_raw(image, name, ImageError), name, ImageError), name, ImageError)
    height, width = array.shape[:2]
    if min(height, width) < smallest:
        scale = smallest / min(height, width)
        larger = (max(smallest, round(width * scale)), max(smallest, round(height * scale)))
        raise ImageError(
            f"The picture is {width}x{height} px; the smallest usable size is {smallest} px on "
            f"each side. Enlarge it, for instance with image.resize({larger}, Image.LANCZOS)."
        )
    colour, alpha = _split(array)
    if alpha is not None and bool((alpha < 255).any()):
        weight = alpha[..., None].astype(np.uint16)
        white = 255 * (255 - weight)
        colour = ((colour * weight + white + 127) // 255).astype(np.uint8)
    return np.array(np.broadcast_to(colour, (height, width, 3)), np.uint8)


def read_mask(mask: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask as (H, W) bool, True where to fill; values of half and more count as True.

    Args:
        mask: None for everything (no warning: it was asked for), or what `read_image` takes,
            white = fill. Integers up to 1 count as 0 and 1, floats above 1 as 0..255. Colour is
            read by its luminance, except that a drawing of one colour on a transparent ground
            is read by its alpha. Whether a mask is inverted cannot be known, so no guess is made.
        size: (H, W) of the picture in pixels.

    Raises:
        MaskError: unreadable, empty, or of another size and other proportions than the picture.

    Warns:
        HDPainterWarning: soft values were cut at half; another size but the same proportions
            (within a pixel) was resized by nearest; or everything is masked.
    """
    height, width = int(size[0]), int(size[1])
    if mask is None:
        return np.ones((height, width), np.bool_)
    name = "The mask"
    array = _mask_units(_channels(_raw(mask, name, MaskError), name, MaskError))
    values = _luminance(_as_uint8(array, name, MaskError))  # (h, w)
    filled = values >= 128
    if filled.shape != (height, width):
        filled = _resized(filled, height, width)
    if not filled.any():
        raise MaskError(
            "There is nothing to fill: the mask has no white pixel (its brightest value is "
            f"{int(values.max())} of 255, and 128 is needed). White fills, black keeps. If it "
            "holds labels or coloured strokes, pass `mask > 0` or `mask == label`."
        )
    if share := _softness(values, array):
        warn_user(
            f"The mask is soft: {share:.0%} of its values lie between black and white. They were "
            "cut at half, as HD-Painter's masks are hard; threshold it yourself to choose another "
            "level."
        )
    if filled.all():
        warn_user(
            "The mask covers the whole picture: nothing is known, so PAIntA has nothing to "
            "rescale. White fills, black keeps; pass mask=None if everything is meant."
        )
    return np.array(filled, np.bool_)


def _raw(source: Any, name: str, error: type[HDPainterError]) -> _Array:
    """Any kind of picture as an array of its own dtype, channels last."""
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(bytes(source))
    try:
        if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
            with Image.open(source) as opened:
                return _from_pil(opened)
        if isinstance(source, Image.Image):
            return _from_pil(source)
    except FileNotFoundError:
        raise error(
            f"{name} was not found: there is no file {os.fspath(source)!r} in {Path.cwd()}. "
            "Web addresses must be downloaded first."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as reason:
        what = repr(source) if isinstance(source, str | os.PathLike) else f"this {type(source)}"
        raise error(
            f"{name} cannot be read from {what}: {reason}. Convert it to PNG or JPEG first."
        ) from reason
    if hasattr(source, "detach"):
        return _from_tensor(source, name, error)
    if isinstance(source, np.ndarray):
        return source[0] if source.ndim == 4 and len(source) == 1 else source
    raise error(f"{name} is of type {type(source).__name__}; pass {_KINDS}.")


def _from_pil(image: Image.Image) -> _Array:
    """PIL image of any mode: (H, W) or (H, W, C), bool, uint8, uint16, int32 or float32."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":  # how older Pillow opens 16-bit greyscale
        wide = np.asarray(image)
        return wide.astype(np.uint16) if 255 < wide.max(initial=0) < 65536 else wide
    if "transparency" in image.info or image.mode in {"PA", "La", "RGBa"}:
        image = image.convert("LA" if image.mode in {"L", "La"} else "RGBA")
    elif image.mode not in {"1", "L", "LA", "RGB", "RGBA", "F"}:
        image = image.convert("RGB")
    return np.array(image)


def _from_tensor(tensor: Any, name: str, error: type[HDPainterError]) -> _Array:
    """(C, H, W) or (1, C, H, W), 0..1 or -1..1, as (H, W, C) in 0..1; integers as they are."""
    plain = tensor.detach().cpu()
    array: _Array = (plain.float() if plain.is_floating_point() else plain).numpy()
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and len(array) in {1, 3, 4}:
        array = np.moveaxis(array, 0, -1)
    if array.dtype.kind == "f" and array.size and -1.001 <= array.min() < 0:
        return (array + 1) / 2
    return array


def _channels(array: _Array, name: str, error: type[HDPainterError]) -> _Array:
    """Refuse every shape but (H, W) and (H, W, 1..4)."""
    if array.ndim == 2 or (array.ndim == 3 and 1 <= array.shape[-1] <= 4):
        if array.size:
            return array
        raise error(f"{name} is empty: its shape is {array.shape}.")
    hint = "one picture at a time" if array.ndim == 4 else "height, width, channels in this order"
    if array.ndim == 3 and array.shape[0] <= 4:
        hint = "channels come last: pass array.transpose(1, 2, 0)"
    raise error(f"{name} has the shape {array.shape} ({array.dtype}); {hint}. Pass {_KINDS}.")


def _as_uint8(array: _Array, name: str, error: type[HDPainterError]) -> _Bytes:
    """Bool, uint8, uint16, other integers in 0..255 or floats in 0..1 as uint8."""
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "iuf":
        raise error(f"{name} is an array of dtype {array.dtype}; pass uint8 or floats in 0..1.")
    if kind == "f" and not bool(np.isfinite(array).all()):
        raise error(
            f"{name} of shape {array.shape} ({array.dtype}) holds NaN or infinite values; "
            "replace them, for instance with np.nan_to_num(array)."
        )
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    low, high, top = float(array.min()), float(array.max()), 1 if kind == "f" else 255
    if low < -0.001 * top or high > 1.001 * top:
        raise error(
            f"{name} of shape {array.shape} ({array.dtype}) holds values from {low:.4g} to "
            f"{high:.4g}; {array.dtype} must stay in 0..{top}. Rescale it, or pass uint8."
        )
    if kind == "f":
        return (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
    return array.astype(np.uint8)


def _split(array: _Bytes) -> tuple[_Bytes, _Bytes | None]:
    """Colour (H, W, 1 or 3) and alpha (H, W), None if there is none."""
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[-1] in {1, 3}:
        return array, None
    return array[..., :-1], array[..., -1]


def _mask_units(array: _Array) -> _Array:
    """Integers up to 1 as bool; 8-bit numbers in wider types as themselves, out of 255."""
    high, low = array.max(), array.min()
    if array.dtype.kind in "iu" and low >= 0 and high <= 1:
        return array.astype(np.bool_)
    if array.dtype == np.uint16 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and low >= 0 and 1.001 < high <= 255:
        return array / 255
    return array


def _luminance(array: _Bytes) -> _Bytes:
    """(H, W) uint8: alpha where one colour is drawn on a transparent ground, else luminance."""
    colour, alpha = _split(array)
    if alpha is not None and int(np.ptp(alpha)) > 0:
        drawn = colour[alpha >= 128]
        if drawn.size == 0 or int(np.ptp(drawn, axis=0).max()) <= 2:
            return alpha
    if colour.shape[-1] == 1:
        grey = colour[..., 0]
    else:
        weights = np.array([299, 587, 114], np.uint32)
        grey = ((colour.astype(np.uint32) @ weights + 500) // 1000).astype(np.uint8)
    if alpha is None:
        return grey
    return ((grey.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _softness(values: _Bytes, array: _Array) -> float:
    """The share of values between black and white; 0 for hard masks, smooth edges or flat colour.

    Args:
        values: (h, w), the luminance.
        array: (h, w) or (h, w, channels), what it was taken from.
    """
    between = (values > 25) & (values < 230)
    if int(between.sum()) <= max(16, 0.25 * int((values > 25).sum())):
        return 0.0
    coloured = array.ndim == 3 and array.shape[-1] >= 3 and bool(np.ptp(array[..., :3], -1).any())
    if coloured and len(np.unique(values[between])) <= 3:
        return 0.0
    return float(between.mean())


def _resized(filled: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """The mask at the picture's size if the proportions agree within one pixel."""
    h, w = filled.shape
    sizes = f"The mask is {w}x{h} px and the picture {width}x{height} px"
    if abs(h * width - w * height) > max(h, w, height, width):
        raise MaskError(
            f"{sizes}, and their proportions differ. Crop it, or resize it with "
            f"mask.resize(({width}, {height}), Image.NEAREST)."
        )
    warn_user(f"{sizes}; the mask was resized to the picture's size by nearest neighbour.")
    picture = Image.fromarray(filled.astype(np.uint8))
    resized = picture.resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(np.bool_)
