"""Edits as json values, for the file of a trace."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hdpainter_nb.edits.builtin import (
    MoveMask,
    ReplaceWord,
    ScaleHead,
    ScaleWord,
    SetC,
    UnloadableEdit,
)
from hdpainter_nb.edits.edit import Edit

__all__ = ["pack_edits", "unpack_edits"]

_BUILT_IN: Mapping[str, type[Edit]] = {
    kind.__name__: kind for kind in (ScaleWord, ReplaceWord, ScaleHead, SetC, MoveMask)
}


def pack_edits(edits: Iterable[Edit]) -> list[Any]:
    """Edits as json values; of those with code of your own, only the words that name them."""
    packed = []
    for edit in edits:
        entry: dict[str, Any] = {"text": str(edit)}
        try:
            if type(edit) is _BUILT_IN.get(type(edit).__name__):
                values = {name: _packed(v) for name, v in edit.arguments().items()}
                entry |= {"name": type(edit).__name__, "arguments": values}
        except TypeError:  # a function among them
            pass
        packed.append(entry)
    return packed


def unpack_edits(entries: Iterable[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """The reverse of `pack_edits`; what cannot come back becomes `UnloadableEdit`.

    Raises:
        KeyError, TypeError, ValueError: they are damaged.
    """
    edits: list[Edit] = []
    for entry in entries:
        if entry.get("name") in _BUILT_IN:
            values = {name: _unpacked(v) for name, v in entry["arguments"].items()}
            edits.append(_BUILT_IN[entry["name"]](**values))
        else:
            edits.append(UnloadableEdit(str(entry["text"])))
    return tuple(edits)


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, np.ndarray):
        data = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 9)).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, range | list | tuple | set | frozenset):
        return [int(step) for step in value]
    raise TypeError(f"{value!r} cannot be kept in a file")


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "slice" in value:
        return slice(*value["slice"])
    data = zlib.decompress(base64.b64decode(value["array"]))
    return np.frombuffer(data, value["dtype"]).reshape(value["shape"])
