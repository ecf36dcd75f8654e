"""safetensors files in pieces, so that their arrays need not fit in memory.

The format: eight bytes with the header's length, the header as json (each array's type, shape and
place, and ``__metadata__``), then the arrays one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore, write_all

__all__ = ["read_arrays", "write_arrays"]

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
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            write_all(file, arrays[name])


def read_arrays(path: Path, store: ArrayStore) -> dict[str, NDArray[Any]]:
    """The arrays of a file: in memory as far as the budget goes, the rest mapped where they lie.

    A mapped array can be changed in memory, never in the file.

    Args:
        path: a file that safetensors has opened before, so that it is known to be whole.
        store: counts the bytes.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    data: Any = None
    arrays: dict[str, NDArray[Any]] = {}
    with path.open("rb") as file:
        for name, about in header.items():
            start, end = (8 + length + place for place in about["data_offsets"])
            dtype = np.dtype(_NAMES[about["dtype"]])
            if store.fits(end - start):
                file.seek(start)
                flat = np.empty(end - start, np.uint8)
                file.readinto(flat)  # type: ignore[arg-type]
                array: NDArray[Any] = flat.view(dtype).reshape(about["shape"])
                arrays[name] = store.add(array)
            else:
                data = np.memmap(path, np.uint8, mode="c") if data is None else data
                arrays[name] = data[start:end].view(dtype).reshape(about["shape"])
    return arrays
