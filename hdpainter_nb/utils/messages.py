"""Keeps third parties from saying what does not concern a user, or what is said better here."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hdpainter_nb.errors import HDPainterWarning

__all__ = ["quiet_logging", "warn_user"]


def warn_user(message: str, category: type[Warning] = HDPainterWarning) -> None:
    """Warn at the line of the user's own code, however deep in this package we are."""
    package = str(Path(__file__).parents[1]) + os.sep
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def quiet_logging() -> Iterator[None]:
    """No log messages up to WARNING inside; those that were off already stay off.

    For moments only, since it holds for the whole process: importing diffusers' pipelines (which
    tell everybody without torchvision about image processors that nothing here uses) and encoding
    a prompt (whose truncation is reported in the prompt's own words).
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
