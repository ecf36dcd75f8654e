"""What a page sends, checked as it comes in."""

from __future__ import annotations

import functools
import logging
import math
import reprlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import traitlets as t

__all__ = ["FiniteFloat", "guarded", "received", "whole_number"]

W = TypeVar("W")
_log = logging.getLogger(__name__)


def received(value: Any, most: int, error: type[Exception] = ValueError) -> bytes:
    """What the page sent as bytes, once it is known to be bytes and not too many.

    Args:
        value: a buffer of a message; a page may send a number in its place, of which ``bytes``
            would make as many zeros.
        most: the largest length that will do.
        error: what is raised.

    Raises:
        error: something else, or longer.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise error(f"The page should have sent bytes, not {reprlib.repr(value)}.")
    count = memoryview(value).nbytes
    if count > most:
        raise error(f"The page sent {count} bytes; up to {most} will do.")
    return bytes(value)


class FiniteFloat(t.Float):  # type: ignore[type-arg]  # older traitlets take no arguments
    """A trait that holds a number, NumPy's ones included, but neither NaN nor infinity."""

    info_text = "a finite number"

    def validate(self, obj: Any, value: Any) -> Any:
        """The number as Python's float.

        Raises:
            traitlets.TraitError: it is none, not finite, or out of the trait's range.
        """
        if isinstance(value, np.number) and not isinstance(value, np.complexfloating):
            value = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            name, kind = self.name, type(obj).__name__
            raise t.TraitError(f"{name} of a {kind} must be a finite number, not {value}.")
        return super().validate(obj, value)


def guarded(
    heard: Callable[[W, dict[str, Any], list[Any]], None],
) -> Callable[[W, Any, Any, Any], None]:
    """A method for ``widget.on_msg`` that raises nothing, whatever the page sends.

    Only what is a json object gets to `heard`, and the list of its buffers. What cannot be read
    there, or cannot be done, is logged and passed over: a traceback would come up in whichever cell
    was run last.
    """

    @functools.wraps(heard)
    def hear(self: W, _widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        try:
            heard(self, content, list(buffers or ()))
        except Exception:
            _log.exception("A message from the page failed: %s", type(self).__name__)

    return hear


def whole_number(
    name: str, value: object, *, least: int | None = None, most: int | None = None
) -> int:
    """A number of a message from the page, once it is known to be one.

    Args:
        name: what the message calls it.
        value: as it came.
        least, most: smallest and largest that will do; None for any.

    Raises:
        ValueError: something else.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, not {str(value)[:40]!r}.")
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(f"{name} must lie in {least} .. {most}, not be {value}.")
    return value
