"""A trace in one file: a safetensors container with the rest as json in its header.

Nothing in it is executable, and it opens without torch and without the model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore
from hdpainter_nb.edits.codec import pack_edits, unpack_edits
from hdpainter_nb.errors import SettingsError, TraceError
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings, Settings, UpscaleSettings, WatchSettings
from hdpainter_nb.trace.array_file import read_arrays, write_arrays
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys
from hdpainter_nb.trace.record import _ARRAYS, _MAPS, _QUERIES, GradStats, Record
from hdpainter_nb.trace.tree import Branch, Node, Pictures
from hdpainter_nb.utils.files import replacing

if TYPE_CHECKING:
    from hdpainter_nb.trace.trace import Trace

__all__ = [
    "FORMAT_VERSION",
    "pack_record",
    "pack_settings",
    "pack_trace",
    "pack_words",
    "read_trace",
    "unpack_record",
    "unpack_settings",
    "unpack_words",
    "write_trace",
]

# Those without a name are Settings.
_KINDS: Mapping[str, BaseSettings] = {"upscale": UpscaleSettings(), "watch": WatchSettings()}
_PLAIN = ("index", "timestep", "score", "sigma", "alpha", "guided_norm", "seconds")


def pack_settings(settings: BaseSettings) -> dict[str, Any]:
    """The settings by name; ``kind`` says what they belong to, where it is not inpainting."""
    kinds = [name for name, kind in _KINDS.items() if type(settings) is type(kind)]
    return {**({"kind": kinds[0]} if kinds else {}), **settings.to_dict()}


def unpack_settings(values: Mapping[str, Any]) -> BaseSettings:
    """The reverse of `pack_settings`.

    Raises:
        KeyError, SettingsError: they are of a kind, or have a name or value, that is not known.
    """
    named = dict(values)
    start = _KINDS[named.pop("kind")] if "kind" in named else Settings()
    return start.replace(**named)


def pack_words(words: tuple[Word, ...]) -> list[Any]:
    """Words as lists of text and positions."""
    return [[word.text, list(word.tokens)] for word in words]


def pack_record(record: Record, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The plain values; arrays are put into `arrays` under names that begin with `prefix`."""
    entry = {name: getattr(record, name) for name in _PLAIN}
    for name in _ARRAYS:
        value = getattr(record, name)
        if value is not None:
            arrays[f"{prefix}.{name}"] = value
    for name, maps in [("cross", record.cross.maps), *((n, getattr(record, n)) for n in _MAPS)]:
        entry[name] = {str(level): list(named) for level, named in maps.layers.items()}
        for level, named in maps.layers.items():
            for layer, array in named.items():
                arrays[f"{prefix}.{name}.{level}.{layer}"] = array
    if record.memory:
        entry["memory"] = _pack_memory(record.memory, f"{prefix}.memory", arrays)
    _pack_details(record, prefix, arrays, entry)
    entry["words"] = pack_words(record.cross.words)
    entry["tokens"] = list(record.cross.tokens)
    if record.grad is not None:
        grad = {f.name: getattr(record.grad, f.name) for f in dataclasses.fields(GradStats)}
        for name in ("hist", "edges", "standard_hist", "standard_edges"):
            arrays[f"{prefix}.grad.{name}"] = grad.pop(name)
        entry["grad"] = grad
    entry["settings"] = pack_settings(record.settings)
    return entry


def unpack_words(words: list[Any]) -> tuple[Word, ...]:
    """The reverse of `pack_words`."""
    return tuple(Word(text, tuple(tokens)) for text, tokens in words)


def unpack_record(
    entry: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> Record:
    """The reverse of `pack_record`.

    Raises:
        KeyError: something is missing.
    """

    def maps(name: str) -> LevelMaps:
        return LevelMaps(
            {
                int(level): {layer: arrays[f"{prefix}.{name}.{level}.{layer}"] for layer in layers}
                for level, layers in entry[name].items()
            }
        )

    grad = entry.get("grad")
    if grad is not None:
        names = ("hist", "edges", "standard_hist", "standard_edges")
        histograms: dict[str, Any] = {name: arrays[f"{prefix}.grad.{name}"] for name in names}
        grad = GradStats(**grad, **histograms)
    words = unpack_words(entry["words"])
    fields: dict[str, Any] = {
        **{name: entry[name] for name in _PLAIN},
        **{name: arrays.get(f"{prefix}.{name}") for name in _ARRAYS},
        **{name: maps(name) for name in _MAPS},
    }
    return Record(
        **fields,
        cross=CrossMaps(
            maps("cross"),
            words,
            tuple(entry["tokens"]),
            _ints(entry.get("positions")),
            _ints(entry.get("heads")),
        ),
        **_unpack_details(entry, prefix, arrays),
        grad=grad,
        settings=unpack_settings(entry["settings"]),
        memory=_unpack_memory(entry.get("memory", {}), arrays),
    )


def _pack_details(
    record: Record, prefix: str, arrays: dict[str, NDArray[Any]], entry: dict[str, Any]
) -> None:
    """What a record has only where it was asked for; older files lack all of it."""
    cross = record.cross
    if len(cross.positions) != len(cross.tokens):
        entry["positions"] = list(cross.positions)
    if cross.heads is not None:
        entry["heads"] = list(cross.heads)
    if record.score_maps:
        entry["score_maps"] = {str(n): list(x) for n, x in record.score_maps.layers.items()}
        for level, named in record.score_maps.layers.items():
            arrays |= {f"{prefix}.score_maps.{level}.{name}": a for name, a in named.items()}
    for kind in _QUERIES:
        kept: QueryKeys = getattr(record, kind)
        if kept:
            entry[kind] = kept.levels
            for layer, pair in kept.items():
                arrays |= {f"{prefix}.{kind}.{layer}.{n}": x for n, x in zip("qk", pair)}  # noqa: B905
    if record.holes:
        entry["holes"] = sorted(record.holes)
        arrays |= {f"{prefix}.holes.{level}": hole for level, hole in record.holes.items()}


def _unpack_details(
    entry: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """The reverse of `_pack_details`."""
    found: dict[str, Any] = {}
    scores = {
        int(level): {layer: arrays[f"{prefix}.score_maps.{level}.{layer}"] for layer in layers}
        for level, layers in entry.get("score_maps", {}).items()
    }
    found["score_maps"] = LevelMaps(scores)
    for kind in _QUERIES:
        kept: dict[int, dict[str, Any]] = {}
        for layer, level in entry.get(kind, {}).items():
            pair = tuple(arrays[f"{prefix}.{kind}.{layer}.{name}"] for name in "qk")
            kept.setdefault(level, {})[layer] = pair
        found[kind] = QueryKeys(kept, _ints(entry.get("heads")))
    found["holes"] = {n: arrays[f"{prefix}.holes.{n}"] for n in entry.get("holes", ())}
    return found


def _ints(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _pack_memory(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """A scheduler's memory as plain values; arrays are put into `arrays` and named instead."""
    if isinstance(value, Mapping):
        return {key: _pack_memory(part, f"{name}.{key}", arrays) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_pack_memory(part, f"{name}.{i}", arrays) for i, part in enumerate(value)]
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    return value


def _unpack_memory(entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The reverse of `_pack_memory`."""

    def wake(value: Any) -> Any:
        if isinstance(value, Mapping):
            return arrays[value["array"]]
        return tuple(map(wake, value)) if isinstance(value, list) else value

    return {name: wake(value) for name, value in entry.items()}


T = TypeVar("T", bound="Trace")
FORMAT_VERSION = 1
_HEADER = "hdpainter_nb"


def write_trace(trace: Trace, path: Path) -> None:
    """See `Trace.save`."""
    arrays, header = pack_trace(trace)
    with replacing(path) as part:
        write_arrays(part, arrays, {_HEADER: json.dumps(header)})


def read_trace(path: Path, spool: ArrayStore, make: Callable[..., T]) -> T:
    """See `Trace.load`.

    Args:
        spool: says how much of it may lie in main memory.
        make: the class.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise TraceError(f"There is no trace file at {path}.")
    try:
        with safe_open(path, framework="np") as file:  # sees that it is whole
            meta = (file.metadata() or {}).get(_HEADER)
        if meta is None:
            raise TraceError(f"{path} is a safetensors file, but not a trace of this tool.")
        header = json.loads(meta)
        version = header["version"]
        if version != FORMAT_VERSION:
            raise TraceError(
                f"{path} has trace format {version}, this version reads {FORMAT_VERSION}: "
                "update hdpainter-nb."
            )
        trace = _unpack(read_arrays(path, spool), header, make)
        trace.spool, trace.pictures = spool, Pictures(spool, trace.pictures)
        return trace
    except TraceError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise TraceError(
            f"{path} cannot be read as a trace: it is truncated or of another kind ({error})."
        ) from error


def pack_trace(trace: Trace) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """All arrays of a trace by name, and the rest as json values."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in trace.nodes.values():
        prefix = f"node.{node.id}"
        arrays[f"{prefix}.after"] = node.latents
        arrays[f"{prefix}.rng"] = node.rng
        entry: dict[str, Any] = {"id": node.id, "parent": node.parent, "branch": node.branch}
        if node.record is not None:
            entry["record"] = pack_record(node.record, prefix, arrays)
        nodes.append(entry)
    for name in ("image", "mask", "low", "control"):
        value = getattr(trace, name)
        if value is not None:
            arrays[name] = value
    arrays |= {f"picture.{number}": picture for number, picture in trace.pictures.items()}
    header = {
        "version": FORMAT_VERSION,
        "model": trace.model,
        "crop": trace.crop,
        "words": pack_words(trace.words),
        "tokens": list(trace.tokens),
        "nodes": nodes,
        "tips": {str(k): v for k, v in trace.tips.items()},
        "branches": [
            {
                **{f.name: getattr(b, f.name) for f in dataclasses.fields(b) if f.name != "edits"},
                "settings": pack_settings(b.settings),
                **({"edits": pack_edits(b.edits)} if b.edits else {}),
            }
            for b in trace.branches.values()
        ],
    }
    return arrays, header


def _unpack(
    arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any], make: Callable[..., T]
) -> T:
    trace = make(
        arrays.get("image"),
        arrays.get("mask"),
        unpack_words(header["words"]),
        tuple(header["tokens"]),
        header["model"],
        tuple(header["crop"]) if header.get("crop") else None,
        arrays.get("low"),
        arrays.get("control"),
    )
    for entry in header["nodes"]:
        prefix = f"node.{entry['id']}"
        record = entry.get("record")
        trace.keep(
            Node(
                entry["id"],
                entry["parent"],
                entry["branch"],
                arrays[f"{prefix}.after"],
                arrays[f"{prefix}.rng"],
                None if record is None else unpack_record(record, prefix, arrays),
            )
        )
    for b in header["branches"]:
        settings = unpack_settings(b["settings"])
        edits = unpack_edits(b.get("edits", ()))
        trace.branches[b["id"]] = Branch(**{**b, "settings": settings, "edits": edits})
    trace.tips = {int(k): v for k, v in header["tips"].items()}
    known = {f"picture.{number}": number for number in trace.nodes}
    trace.pictures = {known[name]: array for name, array in arrays.items() if name in known}
    return trace
