"""safetensors files in pieces, so that their arrays need not fit in memory.

The format: eight bytes with the header's length, the header as json (each array's type, shape and
place, and ``__metadata__``), then the arrays one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore, write_all
from hdpainter_nb.utils.bounded import parse_json
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.fields import FieldError, Fields
from hdpainter_nb.utils.messages import warn_user

__all__ = ["ARRAY_LIMIT", "HEADER_LIMIT", "ArrayFile", "Place", "write_arrays"]

HEADER_LIMIT = 2**25
"""Bytes of the longest header that is read, 32 MiB: more than 100,000 arrays. Its values take some
ten times as much memory. May be set to another number."""
ARRAY_LIMIT = 2**28
"""Bytes of the largest array that is read, 256 MiB. May be set to another number."""

_SEGMENT = 2**30  # bytes of a file that are mapped at a time: systems refuse more than they have

_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
_NAMES = {theirs: ours for ours, theirs in _TYPES.items()}


@dataclass(frozen=True)
class Place:
    """What an array is, and which bytes of the file it takes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write a file, one array at a time.

    Raises:
        OSError: it cannot be written.
    """
    # Wide types first, so that every array is aligned to its own width.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name in names:
        array = arrays[name]
        header[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        warn_user(
            f"This trace needs a header of {len(text)} bytes: its file can be read once "
            f"{__name__}.HEADER_LIMIT is raised to that."
        )
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            write_all(file, arrays[name])


class ArrayFile:
    """The arrays of a file by name: what they are as soon as it is opened, their values on demand.

    Attributes:
        metadata: the strings that came with the arrays.
        places: of each array, in the order of the file.

    Args:
        path: of a file from anywhere.

    Raises:
        ValueError: it is no such file, is not whole, or has too long a header or array; a clause.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise ValueError("it is truncated within its header, or of another kind")
            if length > HEADER_LIMIT:
                raise ValueError(
                    f"its header has {length} bytes, more than {HEADER_LIMIT} "
                    f"(raise {__name__}.HEADER_LIMIT if you trust it)"
                )
            header = parse_json(file.read(length), HEADER_LIMIT // 8)
        values = dict(Fields(header, "the header").values)
        metadata = Fields(values.pop("__metadata__", {}), "the metadata")
        for name in metadata.values:
            if not isinstance(metadata.raw(name), str):
                raise FieldError(f"{metadata.name_of(name)} must be a string")
        self.metadata: dict[str, str] = dict(metadata.values)
        places = [_place(name, about, 8 + length) for name, about in values.items()]
        places.sort(key=lambda place: (place.start, place.stop))
        self.places = {place.name: place for place in places}
        end = 8 + length
        for place in places:
            if place.start != end:
                raise ValueError(f"{shown(place.name)} does not begin where the array before ends")
            end = place.stop
        if end != size:
            what = "truncated: it" if size < end else "no such file: it"
            raise ValueError(f"it is {what} has {size} bytes, its arrays end at {end}")

    def read(self, names: Collection[str], store: ArrayStore) -> dict[str, NDArray[Any]]:
        """Arrays: in memory as far as the budget goes, the rest mapped where they lie.

        A mapped array can be changed in memory, never in the file.

        Args:
            names: of those that are wanted.
            store: counts the bytes.

        Raises:
            ValueError: a bool array has values other than 0 and 1.
            OSError: the file cannot be read, or is shorter than before.
        """
        arrays: dict[str, NDArray[Any]] = {}
        segment, begin, end = np.empty(0, np.uint8), 0, 0
        with self.path.open("rb") as file:
            for place in self.places.values():
                if place.name not in names:
                    continue
                count = place.stop - place.start
                if store.fits(count):
                    flat = np.empty(count, np.uint8)
                    file.seek(place.start)
                    if file.readinto(flat) != count:  # type: ignore[arg-type]
                        raise OSError(f"{self.path} has become shorter")
                    array: NDArray[Any] = flat.view(place.dtype).reshape(place.shape)
                    arrays[place.name] = store.add(array)
                else:
                    if place.stop > end:
                        begin = place.start
                        end = begin + max(count, min(_SEGMENT, self._end - begin))
                        segment = np.memmap(file, np.uint8, "c", begin, (end - begin,))
                    flat = segment[place.start - begin : place.stop - begin]
                    arrays[place.name] = flat.view(place.dtype).reshape(place.shape)
                if place.dtype == np.bool_ and flat.max(initial=0) > 1:
                    raise ValueError(f"{place.name!r} has values that are neither true nor false")
        return arrays

    @property
    def _end(self) -> int:
        return max((place.stop for place in self.places.values()), default=0)


def _place(name: str, about: Any, start: int) -> Place:
    """Where and what an array is.

    Raises:
        ValueError: it cannot be; a clause.
    """
    fields = Fields(about, f"the array {shown(name)}")
    code = fields.raw("dtype")
    if not isinstance(code, str) or code not in _NAMES:
        raise FieldError(f"{fields.where} is of a type that is not known, {shown(code)}")
    dtype = np.dtype(_NAMES[code])
    shape = fields.wholes("shape", 0, 2**62)
    places = fields.wholes("data_offsets", 0, 2**62)
    count = math.prod(shape) * dtype.itemsize
    if len(shape) > 8 or len(places) != 2 or places[1] - places[0] != count:
        raise FieldError(
            f"{fields.where} of shape {shown(list(shape))} cannot be bytes {shown(list(places))}"
        )
    if count > ARRAY_LIMIT:
        raise FieldError(
            f"{fields.where} has {count} bytes, more than {ARRAY_LIMIT} "
            f"(raise {__name__}.ARRAY_LIMIT if you trust it)"
        )
    return Place(name, dtype, shape, start + places[0], start + places[1])
