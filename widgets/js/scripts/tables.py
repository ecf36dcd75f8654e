"""Writes src/color/tables.js: the colour maps as OpenCV and matplotlib have them."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

OUT = Path(__file__).resolve().parent.parent / "src" / "color" / "tables.js"
OPENCV = {
    "jet": cv2.COLORMAP_JET,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
}
HEAD = """// Colour maps of 256 colours, red, green and blue: base64. Made by scripts/tables.py.

/** @type {Record<string, string>} */
export const TABLES = {
"""


def tables() -> dict[str, NDArray[np.uint8]]:
    """(256, 3) RGB by name; ``coolwarm`` diverges and is matplotlib's."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    found = {
        name: np.asarray(cv2.applyColorMap(ramp, number)[:, 0, ::-1], np.uint8)
        for name, number in OPENCV.items()
    }
    colours = np.asarray(matplotlib.colormaps["coolwarm"](np.arange(256)))
    found["coolwarm"] = np.rint(colours[:, :3] * 255).astype(np.uint8)
    return found


def source() -> str:
    """The whole module."""
    lines = []
    for name, table in tables().items():
        gap = " " if len(name) < 4 else "\n    "  # as Biome breaks lines
        lines.append(f'  {name}:{gap}"{base64.b64encode(table.tobytes()).decode()}",\n')
    return HEAD + "".join(lines) + "};\n"


if __name__ == "__main__":
    OUT.write_text(source())
