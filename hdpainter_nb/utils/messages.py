"""What a user gets to read: our warnings at their own line, no chatter of other libraries."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from hdpainter_nb.errors import HDPainterWarning

__all__ = ["because", "quiet_logging", "warn_user"]


class quiet_logging(AbstractContextManager["quiet_logging"]):  # noqa: N801  # used as a function
    """Context manager: no log messages up to WARNING inside; those that were off stay off.

    For moments only, since it holds for the whole process: importing diffusers' pipelines (which
    tell everybody without torchvision about image processors that nothing here uses) and encoding
    a prompt (whose truncation is reported in the prompt's own words). Several threads may be inside
    at once; the last one out puts back what was there before the first.
    """

    _lock: ClassVar[threading.RLock] = threading.RLock()
    _inside: ClassVar[set[int]] = set()
    _before: ClassVar[int | None] = None

    def __enter__(self) -> quiet_logging:
        self._apply(inside=True)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._apply(inside=False)
        finally:  # again, where an interrupt came in; more than once does no harm
            self._apply(inside=False)

    def _apply(self, *, inside: bool) -> None:
        kind = type(self)
        with kind._lock:
            (kind._inside.add if inside else kind._inside.discard)(id(self))
            if kind._inside and kind._before is None:
                kind._before = logging.root.manager.disable
                logging.disable(max(kind._before, logging.WARNING))
            elif not kind._inside and kind._before is not None:
                logging.disable(kind._before)
                kind._before = None

    def __del__(self) -> None:
        if id(self) in self._inside:  # an interrupt between entering and leaving
            self._apply(inside=False)


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
