"""Edits as json values, for the file of a trace."""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.edits.builtin import (
    MoveMask,
    ReplaceWord,
    ScaleHead,
    ScaleWord,
    SetC,
    UnloadableEdit,
)
from hdpainter_nb.edits.edit import Attention, Edit, Half
from hdpainter_nb.utils.bounded import Allowance, inflate
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.fields import FieldError, Fields, whole_of

__all__ = ["ARRAY_LIMIT", "array_allowance", "pack_edits", "unpack_edits"]

ARRAY_LIMIT = 2**27
"""Bytes that the arrays of all edits of a file may take together, 128 MiB: they are compressed, so
a small file may hold much more. May be set to another number."""

_BUILT_IN: Mapping[str, type[Edit]] = {
    kind.__name__: kind for kind in (ScaleWord, ReplaceWord, ScaleHead, SetC, MoveMask)
}
_LAST = 2**31  # of steps, heads and tokens, more than there ever are


def array_allowance() -> Allowance:
    """What the arrays of a file's edits may take, for `unpack_edits`."""
    return Allowance(ARRAY_LIMIT, "raise hdpainter_nb.edits.codec.ARRAY_LIMIT if you trust it")


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


def unpack_edits(
    entries: Iterable[Mapping[str, Any]], allowance: Allowance | None = None
) -> tuple[Edit, ...]:
    """The reverse of `pack_edits`; what cannot come back becomes `UnloadableEdit`.

    Args:
        entries: from anywhere.
        allowance: what the arrays of these and other edits may take together.

    Raises:
        ValueError: they are damaged, or their arrays are larger than allowed.
    """
    room = array_allowance() if allowance is None else allowance
    return tuple(_unpacked_edit(Fields(entry, "an edit"), room) for entry in entries)


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, slice):
        return {"slice": [None if n is None else int(n) for n in _ends(value)]}
    if isinstance(value, np.ndarray):
        data = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 9)).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, range | list | tuple | set | frozenset):
        return [int(step) for step in value]
    raise TypeError(f"{value!r} cannot be kept in a file")


def _ends(value: slice) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step


def _unpacked_edit(entry: Fields, room: Allowance) -> Edit:
    name = entry.values.get("name")
    kind = _BUILT_IN.get(name) if isinstance(name, str) else None
    if kind is None:
        return UnloadableEdit(entry.text("text"))
    given = entry.part("arguments")
    names = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    arguments = Fields(given.values, f"the edit {name}")
    for unknown in given.values.keys() - names.keys():
        raise FieldError(f"{arguments.where} takes no {shown(unknown)}")
    for needed, field in names.items():
        if field.default is dataclasses.MISSING:
            arguments.raw(needed)
    values = {n: _READERS[n](arguments, n, room) for n in names if n in given.values}
    return kind(**values)


# --- arguments, by name ---------------------------------------------------------------------------


def _word(fields: Fields, name: str, _: Allowance) -> str | int:
    """A word, or a token's position."""
    is_text = isinstance(fields.raw(name), str)
    return fields.text(name) if is_text else fields.whole(name, 0, _LAST)


def _word_or_map(fields: Fields, name: str, room: Allowance) -> Any:
    is_map = isinstance(fields.raw(name), Mapping)
    return _array(fields, name, room) if is_map else _word(fields, name, room)


def _number_or_map(fields: Fields, name: str, room: Allowance) -> Any:
    is_map = isinstance(fields.raw(name), Mapping)
    return _array(fields, name, room) if is_map else _factor(fields, name, room)


def _factor(fields: Fields, name: str, _: Allowance) -> int | float:
    fields.number(name, finite=True)
    value: int | float = fields.raw(name)
    return value


def _layer(fields: Fields, name: str, _: Allowance) -> str:
    return fields.text(name)


def _head(fields: Fields, name: str, _: Allowance) -> int | None:
    return fields.optional_whole(name, 0, _LAST)


def _switch(fields: Fields, name: str, _: Allowance) -> bool:
    value = fields.raw(name)
    if not isinstance(value, bool):
        raise FieldError(f"{fields.name_of(name)} must be true or false, not {shown(value)}")
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[Fields, str, Allowance], str]:
    def read(fields: Fields, name: str, _: Allowance) -> str:
        value = fields.raw(name)
        if not isinstance(value, str) or value not in choices:
            listed = ", ".join(map(repr, choices))
            raise FieldError(f"{fields.name_of(name)} must be one of {listed}, not {shown(value)}")
        return value

    return read


def _steps(fields: Fields, name: str, _: Allowance) -> Any:
    """None, a number, a list of numbers or a slice."""
    value = fields.raw(name)
    if isinstance(value, list):
        return list(fields.wholes(name, -_LAST, _LAST))
    if not isinstance(value, Mapping):
        return fields.optional_whole(name, -_LAST, _LAST)
    where, ends = fields.name_of(name), fields.part(name).items("slice")
    if len(ends) != 3 or ends[2] == 0:
        raise FieldError(f"{where} must be a slice of three, its step not 0, not {shown(ends)}")
    return slice(
        *(None if end is None else whole_of(end, lambda: where, -_LAST, _LAST) for end in ends)
    )


def _array(fields: Fields, name: str, room: Allowance) -> NDArray[Any]:
    """A map of float32, or a mask of bool, inflated to no more than it says."""
    where, about = fields.name_of(name), fields.part(name)
    wanted = np.dtype(np.bool_ if name == "to" else np.float32)
    if about.raw("dtype") not in (wanted.str, wanted.newbyteorder().str):
        raise FieldError(f"{where} must be of {wanted}, not {shown(about.raw('dtype'))}")
    shape = about.wholes("shape", 1, _LAST)
    if len(shape) != 2:
        raise FieldError(f"{where} must have two axes, not the shape {shown(list(shape))}")
    size = math.prod(shape) * wanted.itemsize
    room.take(size, where)
    code = about.raw("array")
    if not isinstance(code, str):
        raise FieldError(f"{where} must be base64, not {shown(code)}")
    data = inflate(base64.b64decode(code, validate=True), size)
    array = np.frombuffer(data, np.uint8 if name == "to" else about.raw("dtype")).reshape(shape)
    return array != 0 if name == "to" else array


_READERS: Mapping[str, Callable[[Fields, str, Allowance], Any]] = {
    "word": _word,
    "by": _word_or_map,
    "factor": _factor,
    "value": _number_or_map,
    "renormalise": _switch,
    "unet": _switch,
    "layer": _layer,
    "head": _head,
    "attention": _one_of(get_args(Attention)),
    "half": _one_of(get_args(Half)),
    "steps": _steps,
    "to": _array,
}
