"""What a user gets to read: our warnings at their own line, no chatter of other libraries."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from hdpainter_nb.errors import HDPainterWarning

__all__ = ["because", "quiet_logging", "warn_user"]


class _Level(int):
    """A logging level that can be told from the same number set by anybody else."""


_QUIET = _Level(logging.WARNING)


class quiet_logging(AbstractContextManager["quiet_logging"]):  # noqa: N801  # used as a function
    """Context manager: no log messages up to WARNING inside; those that were off stay off.

    For moments only, since it holds for the whole process: importing diffusers' pipelines (which
    tell everybody without torchvision about image processors that nothing here uses) and encoding
    a prompt (whose truncation is reported in the prompt's own words). Several threads may be inside
    at once; the last one out puts back what was there before. There is no lock, which an interrupt
    could leave shut: at worst a message is let through while one thread leaves and another enters.
    """

    _inside: ClassVar[set[int]] = set()
    _before: ClassVar[int] = logging.NOTSET

    def __enter__(self) -> quiet_logging:
        kind, level = type(self), logging.root.manager.disable
        kind._inside.add(id(self))
        if level is not _QUIET and level < _QUIET:
            kind._before = level
            logging.disable(_QUIET)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        finally:  # again, where an interrupt came in; more than once does no harm
            self._leave()

    def _leave(self) -> None:
        kind = type(self)
        kind._inside.discard(id(self))
        if not kind._inside and logging.root.manager.disable is _QUIET:
            logging.disable(kind._before)

    def __del__(self) -> None:
        if id(self) in self._inside:  # an interrupt between entering and leaving
            self._leave()


def because(reason: BaseException) -> str:
    """What an error says, in one line without a full stop; its name if it says nothing."""
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    line = " ".join(text.split()).rstrip(".")[:300]
    return line or type(reason).__name__


def warn_user(message: str, category: type[Warning] = HDPainterWarning) -> None:
    """Warn at the line of the user's own code, however deep in this package we are."""
    package = str(Path(__file__).parents[1]) + os.sep
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
