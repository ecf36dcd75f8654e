"""Interventions: what may be changed in a step, to see what depends on it."""

from __future__ import annotations

from hdpainter_nb.edits.builtin import Custom, MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
from hdpainter_nb.edits.edit import Edit, Run, Site

__all__ = [
    "Custom",
    "Edit",
    "MoveMask",
    "ReplaceWord",
    "Run",
    "ScaleHead",
    "ScaleWord",
    "SetC",
    "Site",
]
