"""Pictures of what the records hold: NumPy arrays in, pictures out.

Nothing here knows of diffusion or imports torch; OpenCV, pillow and matplotlib load on first use.

Arrays become arrays with `jet` and `overlay`; records become labelled pictures (`PIL.Image`) with
`heatmaps`, `c_map`, `similarity`, `object_mask`, `layer_maps`, `needles` and `filmstrip`, and plots
with `gradient_histogram`, `gradient_steps` and `curves`. Numbers become plots with `lines`,
`shares` and `effects`, and a `table`.
"""

from __future__ import annotations

from hdpainter_nb.views.bars import effects, shares
from hdpainter_nb.views.colour import COLORMAPS, jet, overlay, upsample
from hdpainter_nb.views.files import gif, save_png
from hdpainter_nb.views.gradients import gradient_histogram, gradient_steps
from hdpainter_nb.views.layers import layer_maps
from hdpainter_nb.views.layout import grid, side_by_side
from hdpainter_nb.views.maps import c_map, filmstrip, heatmaps, object_mask, similarity
from hdpainter_nb.views.needles import needles
from hdpainter_nb.views.plots import curves
from hdpainter_nb.views.series import lines
from hdpainter_nb.views.tables import Table, table

__all__ = [
    "COLORMAPS",
    "Table",
    "c_map",
    "curves",
    "effects",
    "filmstrip",
    "gif",
    "gradient_histogram",
    "gradient_steps",
    "grid",
    "heatmaps",
    "jet",
    "layer_maps",
    "lines",
    "needles",
    "object_mask",
    "overlay",
    "save_png",
    "shares",
    "side_by_side",
    "similarity",
    "table",
    "upsample",
]
