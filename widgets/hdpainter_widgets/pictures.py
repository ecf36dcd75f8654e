"""Arrays as pictures, the way a cell takes them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpainter_nb import views

if TYPE_CHECKING:
    from hdpainter_nb.trace.record import Record
    from hdpainter_nb.trace.trace import Trace
    from hdpainter_nb.trace.tree import Node

__all__ = ["as_png", "blank", "encoded", "picture_of", "placeholder", "preview"]

_PREVIEW = 1024


def encoded(picture: Any, quality: int = 92) -> bytes:
    """An array or a `PIL.Image` as JPEG bytes; colours are not subsampled, so text stays sharp."""
    from PIL import Image as pil

    if not isinstance(picture, pil.Image):
        picture = pil.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def placeholder(image: Any, mask: Any) -> Any:
    """The picture as it is before the first step: the hole paled and outlined, (H, W, 3) uint8.

    Larger ones are scaled down to `_PREVIEW` pixels on the longer side: mixing colours takes many
    times the memory of the picture.
    """
    import cv2

    height, width = image.shape[:2]
    if max(height, width) > _PREVIEW:
        scale = _PREVIEW / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(np.asarray(mask, np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    veil = np.asarray(mask, np.float32) * 0.7
    paled = image * (1 - veil[..., None]) + 255 * veil[..., None]
    return views.overlay(paled.astype(np.uint8), np.zeros((2, 2)), 0.0, outline=mask)


def preview(record: Record, crop: tuple[int, int, int, int] | None = None) -> Any:
    """The x0 preview at the picture's size: (H, W, 3) uint8.

    Args:
        record: of a step.
        crop: top, left, height and width of the picture without padding; None keeps all.
    """
    import cv2

    small = record.x0_preview
    height, width = (record.settings.factor * n for n in small.shape[:2])
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    top, left, height, width = crop or (0, 0, height, width)
    return large[top : top + height, left : left + width]


def picture_of(trace: Trace, node: Node) -> Any:
    """The decoded picture of a step, or its preview at that size: (H, W, 3) uint8.

    Raises:
        ValueError: the node is a root, where no picture has been predicted yet.
    """
    if node.id in trace.pictures:
        return trace.pictures[node.id]
    if node.record is None:
        raise ValueError("A root has no picture.")
    return preview(node.record, trace.crop)


def blank(trace: Trace) -> Any:
    """A run before its first step: the masked original, (H, W, 3) uint8, grey without any."""
    if trace.image is None or trace.mask is None:
        return np.full((128, 128, 3), 232, np.uint8)
    return placeholder(trace.image, trace.mask)


def as_png(
    picture: Any, longest: int = 1024, colours: int | None = None, *, quick: bool = False
) -> bytes:
    """An array (H, W, 3), a `PIL.Image` or a plot as a small PNG.

    Args:
        picture: what to encode.
        longest: longer side in pixels; larger ones are scaled down. Plots stay as they are.
        colours: at most so many, for a smaller file; None keeps all.
        quick: do not look for the smallest encoding.
    """
    from PIL import Image

    if hasattr(picture, "savefig"):
        drawn: bytes = picture._repr_png_()
        return drawn
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image = image.convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    image = image if colours is None else image.quantize(colours)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=not quick)
    return buffer.getvalue()
