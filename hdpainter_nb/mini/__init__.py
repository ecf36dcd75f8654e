"""The bundled miniature's world: scenes, captions and test sets, with numpy alone (no torch)."""

from __future__ import annotations

from .backgrounds import BACKGROUNDS
from .sets import Triple, provocation_set, standard_set, triple
from .world import COLORS, SHAPES, Scene, Thing, reduced, scene

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
