"""Widgets that show a sampler at work; they know records and pictures, and nothing of diffusion.

`Studio` is all of it in one cell. Of its parts each also stands alone: `MaskPainter` paints the
hole, `Timeline` steps, plays and branches, `HeatmapViewer` shows what every pixel attends to,
`GradientHistogram` the gradient, `Compare` two branches or traces, `Lens` several pictures at one
place, down to their pixels. `Player` and `SceneChooser` do
with stock widgets. `Runner` keeps the work off the notebook's own thread. Each is imported when
first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdpainter_nb.utils.lazy import lazy_names

if TYPE_CHECKING:
    from hdpainter_widgets.lens import Lens
    from hdpainter_widgets.painter import MaskPainter
    from hdpainter_widgets.player.player import Player
    from hdpainter_widgets.runner.runner import Runner, SyncRunner, runner_for
    from hdpainter_widgets.samples import open_sample
    from hdpainter_widgets.scene_chooser import SceneChooser
    from hdpainter_widgets.studio.studio import Studio
    from hdpainter_widgets.viewers.compare import Compare
    from hdpainter_widgets.viewers.heatmap import HeatmapViewer
    from hdpainter_widgets.viewers.histogram import GradientHistogram
    from hdpainter_widgets.viewers.timeline import Timeline

_HOMES = {
    "Compare": "viewers.compare",
    "GradientHistogram": "viewers.histogram",
    "HeatmapViewer": "viewers.heatmap",
    "Lens": "lens",
    "MaskPainter": "painter",
    "Player": "player.player",
    "Runner": "runner.runner",
    "SceneChooser": "scene_chooser",
    "Studio": "studio.studio",
    "SyncRunner": "runner.runner",
    "Timeline": "viewers.timeline",
    "open_sample": "samples",
    "runner_for": "runner.runner",
}

__all__ = [
    "Compare",
    "GradientHistogram",
    "HeatmapViewer",
    "Lens",
    "MaskPainter",
    "Player",
    "Runner",
    "SceneChooser",
    "Studio",
    "SyncRunner",
    "Timeline",
    "open_sample",
    "runner_for",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
