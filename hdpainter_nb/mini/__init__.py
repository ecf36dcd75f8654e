"""The bundled miniature's world: scenes, captions and test sets, with numpy alone (no torch)."""

from __future__ import annotations

from hdpainter_nb.mini.world.backgrounds import BACKGROUNDS
from hdpainter_nb.mini.world.scene import COLORS, SHAPES, Scene, Thing, reduced, scene
from hdpainter_nb.mini.world.sets import Triple, provocation_set, standard_set, triple

__all__ = [
    "BACKGROUNDS",
    "COLORS",
    "SHAPES",
    "Scene",
    "Thing",
    "Triple",
    "provocation_set",
    "reduced",
    "scene",
    "standard_set",
    "triple",
]
