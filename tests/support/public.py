"""The public functions, classes and methods of the library, as a test walks them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["public_classes", "public_functions"]

FACES = (
    "hdpainter_nb",
    "hdpainter_nb.edits",
    "hdpainter_nb.evaluation",
    "hdpainter_nb.mini",
    "hdpainter_nb.views",
)


def public_names() -> dict[str, Any]:
    """What the packages hand on, by its full name; classes bring their bases."""
    found = {}
    for face in FACES:
        module = importlib.import_module(face)
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, ModuleType) or not callable(thing):
                continue
            bases = thing.__mro__ if isinstance(thing, type) else (thing,)
            ours = (base for base in bases if base.__module__.startswith("hdpainter_nb"))
            found.update({f"{base.__module__}.{base.__qualname__}": base for base in ours})
    return dict(sorted(found.items()))


def public_classes() -> dict[str, type]:
    """By full name."""
    return {name: thing for name, thing in public_names().items() if isinstance(thing, type)}


def public_functions() -> Iterator[tuple[str, Any]]:
    """Functions, constructors and methods, by full name."""
    for name, thing in public_names().items():
        if not isinstance(thing, type):
            yield name, thing
            continue
        for part, member in vars(thing).items():
            inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(inner, FunctionType) and (part[0] != "_" or part == "__init__"):
                yield f"{name}.{part}", inner
