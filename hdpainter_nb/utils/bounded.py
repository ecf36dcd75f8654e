"""What others packed, unpacked within bounds: JSON, compressed bytes.

A few bytes of either may stand for gigabytes, or nest deeper than a stack goes; both are seen
before anything is made of them.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import numpy as np

__all__ = ["Allowance", "inflate", "parse_json"]

_DEPTH = 64
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes({*range(256)} - {*b"[]{}"})


class Allowance:
    """Bytes that several things may take together.

    Args:
        limit: how many.
        remedy: what to do where they do not suffice, as a clause.
    """

    def __init__(self, limit: int, remedy: str) -> None:
        self.limit, self.left, self.remedy = limit, limit, remedy

    def take(self, count: int, what: str) -> None:
        """Use up `count` of them.

        Raises:
            ValueError: there are not that many left.
        """
        if count > self.left:
            raise ValueError(f"{what} would take more than {self.limit} bytes; {self.remedy}")
        self.left -= count


def parse_json(text: bytes, marks: int) -> Any:
    """The values of JSON in ASCII, as Python writes it unless told otherwise.

    Args:
        text: from anywhere.
        marks: how many quotes, commas and opening brackets it may have. One costs up to 60 bytes
            of memory.

    Raises:
        ValueError: it is no such JSON, has more marks, or nests deeper than 64 levels.
    """
    count = sum(map(text.count, (b'"', b",", b"[", b"{")))
    if count > marks:
        raise ValueError(f"its JSON has {count} quotes, commas and brackets, more than {marks}")
    brackets = np.frombuffer(_STRING.sub(b"", text).translate(None, _NOT_BRACKETS), np.uint8)
    steps = np.where(np.isin(brackets, list(b"[{")), np.int8(1), np.int8(-1))
    if steps.cumsum(dtype=np.int32).max(initial=0) > _DEPTH:
        raise ValueError(f"its JSON is nested deeper than {_DEPTH} levels")
    try:
        return json.loads(text.decode("ascii"))
    except RecursionError as error:  # an odd quote may hide brackets, of what is no JSON then
        raise ValueError("its JSON is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"its JSON is damaged: {error}") from error


def inflate(data: bytes, size: int) -> bytes:
    """Bytes that zlib compressed, of which it is known beforehand how many they are.

    Raises:
        ValueError: they are more or fewer, or `data` is damaged.
    """
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"its compressed bytes are damaged: {error}") from error
    if len(inflated) != size or not stream.eof or stream.unused_data:
        raise ValueError(f"its compressed bytes are not the {size} that they are said to be")
    return inflated
