"""Paint the hole with the mouse: the mask arrives in Python with every stroke."""

from __future__ import annotations

import re
from typing import Any

import anywidget
import numpy as np
import traitlets as t
from numpy.typing import NDArray

from hdpainter_nb.errors import ImageError, MaskError
from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_widgets import mask_codec
from hdpainter_widgets.messages import FiniteFloat, guarded, received, whole_number
from hdpainter_widgets.notebook import NotebookWidget, built
from hdpainter_widgets.pictures import as_png, encoded

__all__ = ["LARGEST_FILE", "MaskPainter"]

LARGEST_FILE = 100_000_000
"""Bytes of the largest file that is taken where a picture is dropped on the painter."""
_LARGEST = 4096
_STILL = 512  # pixels on the longer side of the picture for pages that run no widgets
_TOOLS = ("brush", "eraser", "rectangle", "ellipse", "lasso", "polygon", "fill")
_PRESETS = ("official", "paper", "community", "practical")
_Mask = NDArray[np.bool_]


def _received(value: Any, _widget: Any) -> bytes:
    """The browser's memoryview as the bytes that `traitlets.Bytes` wants.

    Raises:
        WireError: no bytes, or too many of them.
    """
    return received(value, mask_codec.LONGEST, mask_codec.WireError)


class _Array(t.Any):
    """Whatever the painter's own validation makes an array of; None is not let through."""

    allow_none = False


class MaskPainter(NotebookWidget, anywidget.AnyWidget):
    """A picture to paint a mask on, and the mask as an array.

    >>> painter = MaskPainter("photo.jpg")
    >>> painter                                          # shows itself; paint on it
    >>> job = Job(painter.image, painter.mask, "a red star")
    >>> painter.mask = painter.mask | other              # what Python sets shows at once
    >>> painter.observe(lambda change: print(change.new.mean()), "mask")

    `mask` is (H, W) bool, True where to fill, at the picture's own size. It is read-only: assign
    a whole one. Observers hear of every stroke, undo and assignment. A mask dropped on it as a file
    replaces the mask, any other picture the picture.

    Args:
        image: what `hdpainter_nb.Job` takes as a picture: array, tensor, PIL image, path or bytes;
            4096 px on a side at most.
        mask: (H, W) bool to begin with, or a path or PIL image of a mask; None is an empty one.
        preset: whose way of scaling masks is shown "as the model sees it": ``official``,
            ``paper``, ``community`` or ``practical``.
        long_side: the model's size in pixels, to show its grids on the picture as it is scaled;
            None takes the picture's own size.
        tool: tool at first: brush, eraser, rectangle, ellipse, lasso, polygon or fill.
        brush_size: diameter in pixels of the picture; None fits it to the picture.
        color: of the mask on display, like ``#ff2d87``.
        opacity: of the mask on display, 0 to 1.

    Raises:
        ImageError: the picture cannot be read or is too large.
        MaskError: the mask is not bool or not of the picture's size; the message names both.
        TypeError: an unknown keyword argument.
        traitlets.TraitError: an unknown preset or tool, or a value out of range.
    """

    _esm = built("painter.js")
    _css = built("painter.css")

    _picture = t.Bytes(b"").tag(sync=True, echo_update=False)
    _size = t.List(t.Int(), default_value=[0, 0]).tag(sync=True)
    _mask = t.Bytes(b"").tag(sync=True, echo_update=False, from_json=_received)
    _revision = t.Int(0).tag(sync=True, echo_update=False)

    preset = t.Enum(_PRESETS, "official").tag(sync=True)
    tool = t.Enum(_TOOLS, "brush").tag(sync=True)
    brush_size = t.Int(40, min=1, max=512).tag(sync=True)
    color = t.Unicode("#ff2d87").tag(sync=True)
    opacity = FiniteFloat(0.5, min=0.0, max=1.0).tag(sync=True)

    image = _Array(help="(H, W, 3) uint8: the picture; assigning another empties the mask")
    mask = _Array(help="(H, W) bool, read-only: True where to fill")
    long_side = t.Int(None, allow_none=True, min=64, max=8192)

    def __init__(
        self,
        image: Any,
        mask: Any = None,
        *,
        preset: str = "official",
        long_side: int | None = None,
        tool: str = "brush",
        brush_size: int | None = None,
        color: str = "#ff2d87",
        opacity: float = 0.5,
    ) -> None:
        picture = _read(image)
        size = picture.shape[:2]
        start = _checked(mask, size)
        self._ready = False  # the first values below agree with each other as they are
        self._array = start  # the mask that `_mask` holds the bytes of
        self._asked: tuple[int, str] | None = None
        super().__init__(
            _picture=_encoded(picture),
            _size=list(size),
            _mask=mask_codec.pack_mask(start),
            _revision=1,
            image=picture,
            mask=start,
            preset=preset,
            long_side=long_side,
            tool=tool,
            brush_size=max(8, max(size) // 14) if brush_size is None else brush_size,
            color=color,
            opacity=opacity,
        )
        self._ready = True
        self.on_msg(self._heard)

    def clear(self) -> None:
        """Empty the mask."""
        self.mask = None

    # --- what Python sets ------------------------------------------------------------------------

    @t.validate("color")
    def _valid_color(self, proposal: Any) -> str:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", proposal["value"]):
            raise t.TraitError(f"color={proposal['value']!r} is not like '#ff2d87'.")
        return str(proposal["value"]).lower()

    @t.validate("image")
    def _valid_image(self, proposal: Any) -> NDArray[np.uint8]:
        return _read(proposal["value"]) if self._ready else proposal["value"]

    @t.validate("mask")
    def _valid_mask(self, proposal: Any) -> _Mask:
        if not self._ready:
            return proposal["value"]
        return _checked(proposal["value"], self.image.shape[:2])

    @t.observe("image")
    def _image_set(self, change: Any) -> None:
        if not self._ready:
            return
        size = change["new"].shape[:2]
        mask = self.mask if self.mask.shape == size else _checked(None, size)
        with self.hold_sync():
            self._picture = _encoded(change["new"])
            self._size = list(size)
            self._publish(mask)
            if mask is not self.mask:
                self.mask = mask

    @t.observe("mask")
    def _mask_set(self, change: Any) -> None:
        if self._ready and change["new"] is not self._array:
            self._publish(change["new"])

    def _publish(self, mask: _Mask) -> None:
        """Send a mask of Python's to the browser."""
        self._array = mask
        with self.hold_sync():
            self._mask = mask_codec.pack_mask(mask)
            self._revision += 1

    # --- what the browser sends ------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what the browser changed; a stroke counts even if the mask stays equal."""
        try:
            super().set_state(sync_data)
            if "_mask" in sync_data:
                self._array = mask_codec.unpack_mask(self._mask, self.image.shape[:2])
        except mask_codec.WireError:
            self._publish(self.mask)  # the browser shows again what counts
            raise
        if "_mask" in sync_data:
            self.mask = self._array
        self._answer()

    @guarded
    def _heard(self, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("type")
        if kind == "grids":
            preset = content.get("preset")
            revision = whole_number("revision", content.get("revision", 0))
            self._asked = (revision, preset if preset in _PRESETS else self.preset)
            self._answer()
        elif kind == "picture" and buffers:
            try:
                self.image = received(buffers[0], LARGEST_FILE)
            except ImageError as error:
                self.send({"type": "note", "text": str(error)})

    def _answer(self) -> None:
        """Send the grids that were asked for, once the mask that they were asked for is here."""
        if self._asked is None or self._asked[0] > self._revision:
            return
        preset, self._asked = self._asked[1], None
        crop, grids = _grids(self.mask, preset, self.long_side)
        described = [
            {"name": name, "level": level, "shape": list(values.shape)}
            for name, level, values in grids
        ]
        self.send(
            {"type": "grids", "preset": preset, "crop": list(crop), "grids": described},
            [values.tobytes() for _, _, values in grids],
        )

    # --- for pages that run no widgets -----------------------------------------------------------

    def _still(self) -> bytes:
        """The picture with the mask over it, as a small PNG."""
        from PIL import Image

        small, veil = (Image.fromarray(array) for array in (self.image, self.mask))
        small.thumbnail((_STILL, _STILL), Image.Resampling.LANCZOS)
        veil = veil.convert("L").resize(small.size, Image.Resampling.BOX)
        small.paste(self.color, mask=veil.point(lambda level: round(self.opacity * level)))
        return as_png(small, colours=256)


def _read(image: Any) -> NDArray[np.uint8]:
    """The picture, read-only and not too large."""
    picture = read_image(image)
    height, width = picture.shape[:2]
    if max(height, width) > _LARGEST:
        raise ImageError(
            f"The picture is {width}x{height} px; the painter takes up to {_LARGEST} px on a side. "
            "Scale it down first, for instance with PIL's image.thumbnail((2048, 2048))."
        )
    picture.flags.writeable = False
    return picture


def _checked(mask: Any, size: tuple[int, int]) -> _Mask:
    """The mask, read-only and of the picture's size.

    Raises:
        MaskError: an array of another dtype or shape, or what `read_mask` refuses.
    """
    if mask is None:
        checked = np.zeros(size, np.bool_)
    elif isinstance(mask, np.ndarray):
        if mask.dtype != np.bool_ or mask.shape != tuple(size):
            hint = " Pass mask > 127." if mask.dtype == np.uint8 and mask.shape == size else ""
            raise MaskError(
                f"The mask is an array of shape {mask.shape} and dtype {mask.dtype}; the picture "
                f"asks for shape {tuple(size)} and dtype bool, True where to fill.{hint}"
            )
        checked = mask.copy() if mask.flags.writeable else mask
    else:
        checked = read_mask(mask, size)
    checked.flags.writeable = False
    return checked


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    """The picture for the browser: exact where that is cheap."""
    if picture.shape[0] * picture.shape[1] <= 512 * 512:
        return as_png(picture, longest=_LARGEST, quick=True)
    return encoded(picture)


def _grids(
    mask: _Mask, preset: str, long_side: int | None
) -> tuple[tuple[int, int, int, int], list[tuple[str, int, NDArray[np.uint8]]]]:
    """The mask as the model sees it: the crop, and (name, pixels per cell, values) of each grid.

    The crop is where the picture lies in the fitted one: top, left, height, width.
    """
    from hdpainter_nb.images.fit import Frame
    from hdpainter_nb.method.masks import FittedMask
    from hdpainter_nb.settings import Settings

    settings = Settings.preset(preset)  # type: ignore[arg-type]
    side = long_side or -(-max(mask.shape) // 64) * 64
    scaling = settings.scaling if long_side else None  # the picture's own size is not scaled
    frame = Frame.of(mask.shape, how=settings.size, long_side=side, scaling=scaling)
    fitted = FittedMask.of(mask, frame, settings.soft_mask)
    tensors = (
        ("UNet, H/8", 8, fitted.for_unet(settings.unet_mask)[0, 0]),
        ("PAIntA, H/16", 16, fitted.for_painta(16, settings.painta_mask)),
        ("PAIntA, H/32", 32, fitted.for_painta(32, settings.painta_mask)),
        ("RASG's score, H/32", 32, fitted.for_score(settings.score_mask)),
    )
    grids = []
    for name, level, tensor in tensors:
        values = np.clip(tensor.float().numpy(), 0, 1)
        grids.append((name, level, np.round(255 * values).astype(np.uint8)))
    return fitted.crop, grids
