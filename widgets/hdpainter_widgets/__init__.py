"""Widgets that show a sampler at work; they know records and pictures, and nothing of diffusion.

`Player` plays a sampler, `SceneChooser` chooses a picture and a hole with sliders, `MaskPainter`
with a brush; `Runner` keeps the work off the notebook's own thread. Each is imported when first
asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choosers import SceneChooser
    from .painter import MaskPainter
    from .player import Player
    from .runner import Runner, SyncRunner, runner_for

_HOMES = {
    "MaskPainter": "painter",
    "Player": "player",
    "Runner": "runner",
    "SceneChooser": "choosers",
    "SyncRunner": "runner",
    "runner_for": "runner",
}

__all__ = ["MaskPainter", "Player", "Runner", "SceneChooser", "SyncRunner", "runner_for"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
