"""Pictures of what the records hold: NumPy arrays in, pictures out.

Nothing here knows of diffusion or imports torch; OpenCV, pillow and matplotlib load on first use.

Arrays become arrays with `jet` and `overlay`; records become labelled pictures (`PIL.Image`) with
`heatmaps`, `c_map`, `similarity` and `filmstrip`, and plots with `gradient_histogram` and `curves`.
"""

from __future__ import annotations

from .colour import COLORMAPS, jet, overlay, upsample
from .files import gif, save_png
from .layout import grid, side_by_side
from .maps import c_map, filmstrip, heatmaps, similarity
from .plots import curves, gradient_histogram

__all__ = [
    "COLORMAPS",
    "c_map",
    "curves",
    "filmstrip",
    "gif",
    "gradient_histogram",
    "grid",
    "heatmaps",
    "jet",
    "overlay",
    "save_png",
    "side_by_side",
    "similarity",
    "upsample",
]
