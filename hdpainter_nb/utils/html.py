"""Small HTML by which objects show themselves in a notebook.

Pictures are embedded, text is escaped, and colours come from the page, so that light and dark both
work.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["card", "picture", "table", "with_mask"]


def picture(array: NDArray[np.uint8], *, width: int = 160) -> str:
    """An <img> of (H, W, 3), embedded as PNG and shown `width` pixels wide."""
    from PIL import Image

    image = Image.fromarray(array)
    if image.width > 2 * width:
        image = image.resize((2 * width, max(1, round(2 * width * image.height / image.width))))
    buffer = io.BytesIO()
    image.save(buffer, "png")
    code = base64.b64encode(buffer.getvalue()).decode()
    pixelated = "image-rendering:pixelated;" if image.width < width else ""
    return f'<img style="{pixelated}width:{width}px" src="data:image/png;base64,{code}">'


def with_mask(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with the hole tinted red."""
    tint = np.array([230, 60, 60])
    tinted: NDArray[np.uint8] = np.where(mask[..., None], image // 2 + tint // 2, image)
    return tinted.astype(np.uint8)


def table(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> str:
    """Facts as a table: name and value, or one line per mapping under common headings."""
    if isinstance(rows, Mapping):
        lines = [f"<tr><th>{_safe(k)}</th><td>{_safe(v)}</td></tr>" for k, v in rows.items()]
        return f'<table style="text-align:left">{"".join(lines)}</table>'
    head = "".join(f"<th>{_safe(name)}</th>" for name in (rows[0] if rows else ()))
    body = "".join(
        f"<tr>{''.join(f'<td>{_safe(value)}</td>' for value in row.values())}</tr>" for row in rows
    )
    return f'<table style="text-align:left"><tr>{head}</tr>{body}</table>'


def card(*parts: str) -> str:
    """Parts side by side."""
    return f'<div style="display:flex;gap:12px;align-items:flex-start">{"".join(parts)}</div>'


def _safe(value: Any) -> str:
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))
