"""Keeps third parties from saying what does not concern a user, or what is said better here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_chatter"]


@contextmanager
def no_chatter() -> Iterator[None]:
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
