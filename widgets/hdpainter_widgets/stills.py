"""Pictures of viewers for pages that run no widgets, such as GitHub's."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from hdpainter_nb.trace import Node, Trace

from .frames import placeholder

__all__ = ["as_png", "blank", "picture_of"]


def picture_of(trace: Trace, node: Node) -> Any:
    """The decoded picture of a step, or its preview at that size: (H, W, 3) uint8.

    Raises:
        ValueError: the node is a root, where no picture has been predicted yet.
    """
    import cv2

    if node.id in trace.pictures:
        return trace.pictures[node.id]
    if node.record is None:
        raise ValueError("A root has no picture.")
    small = node.record.x0_preview
    height, width = (trace.factor * n for n in small.shape[:2])
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    top, left, height, width = trace.crop or (0, 0, height, width)
    return large[top : top + height, left : left + width]


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
