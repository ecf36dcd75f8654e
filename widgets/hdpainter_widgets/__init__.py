"""Widgets that show a sampler at work; they know records and pictures, and nothing of diffusion.

`Studio` is all of it in one cell. Of its parts each also stands alone: `MaskPainter` paints the
hole, `Timeline` steps, plays and branches, `HeatmapViewer` shows what every pixel attends to,
`GradientHistogram` the gradient, `Compare` two branches or traces, `Lens` several pictures at one
place, down to their pixels. `Player` and `SceneChooser` do
with stock widgets. `Runner` keeps the work off the notebook's own thread. Each is imported when
first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choosers import SceneChooser
    from .compare import Compare
    from .heatmap import HeatmapViewer
    from .histogram import GradientHistogram
    from .lens import Lens
    from .opening import open_sample
    from .painter import MaskPainter
    from .player import Player
    from .runner import Runner, SyncRunner, runner_for
    from .studio import Studio
    from .timeline import Timeline

_HOMES = {
    "Compare": "compare",
    "GradientHistogram": "histogram",
    "HeatmapViewer": "heatmap",
    "Lens": "lens",
    "MaskPainter": "painter",
    "Player": "player",
    "Runner": "runner",
    "SceneChooser": "choosers",
    "Studio": "studio",
    "SyncRunner": "runner",
    "Timeline": "timeline",
    "open_sample": "opening",
    "runner_for": "runner",
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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
