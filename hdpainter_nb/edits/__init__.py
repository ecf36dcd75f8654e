"""Interventions: what may be changed in a step, to see what depends on it."""

from __future__ import annotations

from .builtin import Custom, MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
from .edit import Edit, Run, Site

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
