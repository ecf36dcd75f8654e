"""A lens on the same place of several pictures: `Lens`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import anywidget
import numpy as np
import traitlets as t
from numpy.typing import NDArray

from hdpainter_nb import views
from hdpainter_nb.errors import ImageError, MaskError
from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_nb.views.words import one_line
from hdpainter_widgets.messages import FiniteFloat, guarded
from hdpainter_widgets.notebook import NotebookWidget, built
from hdpainter_widgets.pictures import as_png

__all__ = ["Lens"]

_MOST = 12  # pictures
_LARGEST = 4096  # pixels on a side
_EXACT = 2048 * 1536  # pixels: larger pictures travel as JPEG
_STILL = 240  # pixels: a tile of the picture for pages that run no widgets
Picture = NDArray[np.uint8]
Named = Mapping[str, Any] | Iterable[tuple[str, Any]]


class Lens(NotebookWidget, anywidget.AnyWidget):
    """The same part of several pictures beside each other, from all of it down to single pixels.

    >>> lens = Lens({"bicubic": bicubic, "ours": ours}, mask=mask)
    >>> lens                                 # shows itself; drag, turn the wheel, press ?
    >>> lens.look(x=600, y=420, zoom=4)      # from Python
    >>> lens.show({"ours": ours, "hard mask": hard})

    Moving and zooming happen in the browser. ``zoom``, ``x`` and ``y`` are traits, so two lenses
    can be linked: ``jslink((a, "zoom"), (b, "zoom"))``. Pictures of up to 3 megapixels arrive there
    exactly, larger ones as JPEG.

    Args:
        pictures: by label, or (label, picture) pairs: 1 to 12 of one size, each an array
            (H, W, 3), a PIL image or a path.
        mask: (H, W), True or white in the hole, or None: its outline can be shown.
        zoom: pixels of the screen to one of the picture, up to 40; 0 shows all of it.
        x, y: what is in the middle, in pixels; None: the mask's middle, or the pictures'.
        mode: ``side`` by side, or ``one`` at a time.

    Raises:
        ImageError: none, too many or too large pictures, or sizes that differ.
        MaskError: the mask is of another size.
        TypeError: an unknown keyword argument.
        traitlets.TraitError: a value is out of range, or no finite number.
    """

    _esm = built("lens.js")
    _css = built("lens.css")

    _titles = t.List(t.Unicode()).tag(sync=True, echo_update=False)
    _size = t.List(t.Int()).tag(sync=True, echo_update=False)
    _masked = t.Bool(False).tag(sync=True, echo_update=False)
    _revision = t.Int(0).tag(sync=True, echo_update=False)

    zoom = FiniteFloat(0.0, min=0.0, max=40.0).tag(sync=True, echo_update=False)
    x = FiniteFloat(0.0).tag(sync=True, echo_update=False)
    y = FiniteFloat(0.0).tag(sync=True, echo_update=False)
    mode = t.Enum(("side", "one"), "side").tag(sync=True)
    chosen = t.Int(0, min=0, help="number of the picture shown one at a time").tag(sync=True)
    hidden = t.List(t.Int(), help="numbers of those not shown side by side").tag(sync=True)
    outline = t.Bool(False, help="whether the mask's outline is shown").tag(sync=True)

    def __init__(
        self,
        pictures: Named,
        *,
        mask: Any = None,
        zoom: float = 0.0,
        x: float | None = None,
        y: float | None = None,
        mode: str = "side",
        outline: bool = False,
    ) -> None:
        self._pictures, self._mask = _read(pictures, mask)
        self._coded: dict[int, tuple[str, bytes]] = {}
        middle = _middle(self._mask)
        super().__init__(
            zoom=zoom,
            x=middle[0] if x is None else x,
            y=middle[1] if y is None else y,
            mode=mode,
            outline=outline,
            **self._described(),
        )
        self.on_msg(self._heard)

    @property
    def pictures(self) -> dict[str, Picture]:
        """What is shown: label -> (H, W, 3) uint8."""
        return dict(self._pictures)

    def show(self, pictures: Named, *, mask: Any = None) -> None:
        """Show other pictures, at the same place where they are of the same size.

        Raises:
            ImageError, MaskError: as the constructor does.
        """
        named, hole = _read(pictures, mask)
        same = hole.shape == self._mask.shape
        self._pictures, self._mask, self._coded = named, hole, {}
        with self.hold_sync():
            if not same:
                self.look(*_middle(hole), zoom=0)
            self.hidden = [number for number in self.hidden if number < len(named)]
            self.chosen = min(self.chosen, len(named) - 1)
            for name, value in {**self._described(), "_revision": self._revision + 1}.items():
                setattr(self, name, value)

    def look(
        self, x: float | None = None, y: float | None = None, zoom: float | None = None
    ) -> None:
        """Move to a place, in pixels of the pictures; what is None stays.

        Raises:
            traitlets.TraitError: a number is not finite, or out of range.
        """
        with self.hold_sync():
            for name, value in (("x", x), ("y", y), ("zoom", zoom)):
                if value is not None:
                    setattr(self, name, value)

    def _described(self) -> dict[str, Any]:
        return {
            "_titles": [one_line(label) for label in self._pictures],
            "_size": list(self._mask.shape),
            "_masked": bool(self._mask.any()),
        }

    # --- to the browser --------------------------------------------------------------------------

    @guarded
    def _heard(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        """A page asks for the pictures, all of them: it may have been loaded just now."""
        if content.get("type") != "want":
            return
        revision, pictures, coded = self._revision, list(self._pictures.values()), self._coded
        about = {"revision": revision}
        if self._masked:
            data = _png(self._mask.astype(np.uint8) * np.uint8(255))
            self.send({"type": "mask", "mime": "image/png", **about}, [data])
        for index, picture in enumerate(pictures):
            if index not in coded:
                coded[index] = _encoded(picture)
            mime, data = coded[index]
            self.send({"type": "picture", "index": index, "mime": mime, **about}, [data])

    # --- for pages that run no widgets -----------------------------------------------------------

    def _still(self) -> bytes:
        return as_png(self.still())

    def still(self, tile: int = _STILL) -> Any:
        """What is on display as a `PIL.Image`: labelled tiles, `tile` pixels on the longer side."""
        shown = [i for i in range(len(self._pictures)) if i not in self.hidden]
        if self.mode == "one" or not shown:
            shown = [min(self.chosen, len(self._pictures) - 1)]
        named = [list(self._pictures.items())[i] for i in shown]
        parts = [self._part(picture, tile) for _, picture in named]
        columns = min(4, len(parts)) if len(parts) != 6 else 3
        return views.grid(parts, [one_line(label) for label, _ in named], columns, tile=tile)

    def _part(self, picture: Picture, tile: int) -> Any:
        from PIL import Image

        if not self.zoom:
            return picture
        height, width = picture.shape[:2]
        side = max(1, round(tile / self.zoom))
        across, down = min(side, width), min(side, height)
        left = min(max(0, round(self.x - across / 2)), width - across)
        top = min(max(0, round(self.y - down / 2)), height - down)
        part = Image.fromarray(picture[top : top + down, left : left + across])
        how = Image.Resampling.NEAREST if self.zoom >= 2 else Image.Resampling.LANCZOS
        scale = tile / max(across, down)
        return part.resize((max(1, round(across * scale)), max(1, round(down * scale))), how)


def _read(pictures: Named, mask: Any) -> tuple[dict[str, Picture], NDArray[np.bool_]]:
    """The pictures by label, and the mask; an empty one for None."""
    pairs = list(pictures.items() if isinstance(pictures, Mapping) else pictures)
    if not 1 <= len(pairs) <= _MOST:
        raise ImageError(f"A lens shows 1 to {_MOST} pictures, not {len(pairs)}.")
    named: dict[str, Picture] = {}
    for label, given in pairs:
        if str(label) in named:
            raise ImageError(f"Two pictures have the label {str(label)!r}: name one otherwise.")
        named[str(label)] = read_image(given, smallest=1)
    first, *others = named.items()
    height, width = first[1].shape[:2]
    for label, picture in others:
        if picture.shape != first[1].shape:
            raise ImageError(
                f"{label!r} is {picture.shape[1]}x{picture.shape[0]} px and {first[0]!r} is "
                f"{width}x{height} px: a lens needs pictures of one size."
            )
    if max(height, width) > _LARGEST:
        raise ImageError(
            f"The pictures are {width}x{height} px; a lens takes up to {_LARGEST} px on a side."
        )
    if mask is None:
        return named, np.zeros((height, width), np.bool_)
    array = np.asarray(mask) if isinstance(mask, np.ndarray) else None
    if array is not None and array.shape[:2] != (height, width):
        raise MaskError(f"The mask is {array.shape}, the pictures {(height, width)}.")
    if array is not None and not array.any():
        return named, np.zeros((height, width), np.bool_)
    return named, read_mask(mask, (height, width))


def _middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The place (x, y) of the hole's middle, or the picture's."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return mask.shape[1] / 2, mask.shape[0] / 2
    return (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2


def _encoded(picture: Picture) -> tuple[str, bytes]:
    """A picture as its media type and bytes: exact where that stays small."""
    from PIL import Image

    if picture.shape[0] * picture.shape[1] <= _EXACT:
        return "image/png", _png(picture)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
    return "image/jpeg", buffer.getvalue()


def _png(array: NDArray[np.uint8]) -> bytes:
    """Quickly, rather than as small as can be: it goes to the page beside."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()
