"""The file of a trace: a safetensors container whose header holds all that is no array, as json.

Nothing in it is executable, and it opens without torch and without the model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.edits.codec import pack_edits, unpack_edits
from hdpainter_nb.errors import SettingsError, TraceError
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings, Settings, UpscaleSettings, WatchSettings
from hdpainter_nb.trace.array_file import read_arrays, write_arrays
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys
from hdpainter_nb.trace.record import (
    ARRAY_FIELDS,
    MAP_FIELDS,
    PLAIN_FIELDS,
    QUERY_FIELDS,
    GradStats,
    Record,
)
from hdpainter_nb.trace.tree import Branch, Node, Pictures, Tree
from hdpainter_nb.utils.files import replacing

__all__ = [
    "FORMAT_VERSION",
    "pack_record",
    "pack_settings",
    "pack_tree",
    "pack_words",
    "read_tree",
    "unpack_record",
    "unpack_settings",
    "unpack_words",
    "write_tree",
]

FORMAT_VERSION = 1
_HEADER = "hdpainter_nb"
# What belongs to no step, by its name in the file and in a `Tree`.
_GIVEN = ("image", "mask", "low", "control")
# Settings of a kind without a name are those of inpainting.
_KINDS: Mapping[str, BaseSettings] = {"upscale": UpscaleSettings(), "watch": WatchSettings()}
_HISTOGRAMS = ("hist", "edges", "standard_hist", "standard_edges")


def write_tree(tree: Tree, path: Path) -> None:
    """Write everything to one file, one array at a time; an old one is replaced once that is done.

    Raises:
        OSError: it cannot be written.
    """
    arrays, header = pack_tree(tree)
    with replacing(path) as part:
        write_arrays(part, arrays, {_HEADER: json.dumps(header)})


def read_tree(path: Path, tree: Tree) -> None:
    """Fill an empty tree from a file; its store says how much may lie in main memory.

    Raises:
        TraceError: no such file, truncated, not a trace, or made by a newer version.
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
        _fill(tree, read_arrays(path, tree.store), header)
    except TraceError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, SettingsError) as error:
        raise TraceError(
            f"{path} cannot be read as a trace: it is truncated or of another kind ({error})."
        ) from error


def pack_tree(tree: Tree) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """All arrays of a tree by name, and the rest as json values."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in tree.nodes.values():
        prefix = f"node.{node.id}"
        arrays[f"{prefix}.after"] = node.latents
        arrays[f"{prefix}.rng"] = node.rng
        entry: dict[str, Any] = {"id": node.id, "parent": node.parent, "branch": node.branch}
        if node.record is not None:
            entry["record"] = pack_record(node.record, prefix, arrays)
        nodes.append(entry)
    for name in _GIVEN:
        value = getattr(tree, name)
        if value is not None:
            arrays[name] = value
    arrays |= {f"picture.{number}": picture for number, picture in tree.pictures.items()}
    header = {
        "version": FORMAT_VERSION,
        "model": tree.model,
        "crop": tree.crop,
        "words": pack_words(tree.words),
        "tokens": list(tree.tokens),
        "nodes": nodes,
        "tips": {str(k): v for k, v in tree.tips.items()},
        "branches": [_pack_branch(branch) for branch in tree.branches.values()],
    }
    return arrays, header


def pack_settings(settings: BaseSettings) -> dict[str, Any]:
    """The settings by name; ``kind`` says what they belong to, where it is not inpainting."""
    names = [name for name, kind in _KINDS.items() if type(settings) is type(kind)]
    return {**({"kind": names[0]} if names else {}), **settings.to_dict()}


def unpack_settings(values: Mapping[str, Any]) -> BaseSettings:
    """The reverse of `pack_settings`.

    Raises:
        KeyError, SettingsError: they are of a kind, or have a name or value, that is not known.
    """
    fields = dict(values)
    start = _KINDS[fields.pop("kind")] if "kind" in fields else Settings()
    return start.replace(**fields)


def pack_words(words: tuple[Word, ...]) -> list[Any]:
    """Words as lists of text and positions."""
    return [[word.text, list(word.tokens)] for word in words]


def pack_record(record: Record, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The plain values; arrays are put into `arrays` under names that begin with `prefix`."""
    entry = {name: getattr(record, name) for name in PLAIN_FIELDS}
    for name in ARRAY_FIELDS:
        value = getattr(record, name)
        if value is not None:
            arrays[f"{prefix}.{name}"] = value
    levels = {"cross": record.cross.maps, **{name: getattr(record, name) for name in MAP_FIELDS}}
    for name, maps in levels.items():
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
        for name in _HISTOGRAMS:
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
        histograms: dict[str, Any] = {n: arrays[f"{prefix}.grad.{n}"] for n in _HISTOGRAMS}
        grad = GradStats(**grad, **histograms)
    fields: dict[str, Any] = {
        **{name: entry[name] for name in PLAIN_FIELDS},
        **{name: arrays.get(f"{prefix}.{name}") for name in ARRAY_FIELDS},
        **{name: maps(name) for name in MAP_FIELDS},
    }
    return Record(
        **fields,
        cross=CrossMaps(
            maps=maps("cross"),
            words=unpack_words(entry["words"]),
            tokens=tuple(entry["tokens"]),
            positions=_ints(entry.get("positions")),
            heads=_ints(entry.get("heads")),
        ),
        **_unpack_details(entry, prefix, arrays),
        grad=grad,
        settings=unpack_settings(entry["settings"]),
        memory=_unpack_memory(entry.get("memory", {}), arrays),
    )


def _fill(tree: Tree, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> None:
    """The reverse of `pack_tree`, into an empty tree."""
    for name in _GIVEN:
        setattr(tree, name, arrays.get(name))
    tree.words, tree.tokens = unpack_words(header["words"]), tuple(header["tokens"])
    tree.model = header["model"]
    tree.crop = tuple(header["crop"]) if header.get("crop") else None
    for entry in header["nodes"]:
        prefix = f"node.{entry['id']}"
        record = entry.get("record")
        tree.keep(
            Node(
                id=entry["id"],
                parent=entry["parent"],
                branch=entry["branch"],
                latents=arrays[f"{prefix}.after"],
                rng=arrays[f"{prefix}.rng"],
                record=None if record is None else unpack_record(record, prefix, arrays),
            )
        )
    for entry in header["branches"]:
        settings = unpack_settings(entry["settings"])
        edits = unpack_edits(entry.get("edits", ()))
        tree.branches[entry["id"]] = Branch(**{**entry, "settings": settings, "edits": edits})
    tree.tips = {int(branch): node for branch, node in header["tips"].items()}
    numbers = {f"picture.{number}": number for number in tree.nodes}
    pictures = {numbers[name]: array for name, array in arrays.items() if name in numbers}
    tree.pictures = Pictures(tree.store, pictures)


def _pack_branch(branch: Branch) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(branch) if f.name != "edits"]
    return {
        **{name: getattr(branch, name) for name in names},
        "settings": pack_settings(branch.settings),
        **({"edits": pack_edits(branch.edits)} if branch.edits else {}),
    }


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
    for kind in QUERY_FIELDS:
        queries: QueryKeys = getattr(record, kind)
        if queries:
            entry[kind] = queries.levels
            for layer, pair in queries.items():
                arrays |= {f"{prefix}.{kind}.{layer}.{n}": x for n, x in zip("qk", pair)}  # noqa: B905
    if record.holes:
        entry["holes"] = sorted(record.holes)
        arrays |= {f"{prefix}.holes.{level}": hole for level, hole in record.holes.items()}


def _unpack_details(
    entry: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """The reverse of `_pack_details`."""
    details: dict[str, Any] = {}
    scores = {
        int(level): {layer: arrays[f"{prefix}.score_maps.{level}.{layer}"] for layer in layers}
        for level, layers in entry.get("score_maps", {}).items()
    }
    details["score_maps"] = LevelMaps(scores)
    for kind in QUERY_FIELDS:
        queries: dict[int, dict[str, Any]] = {}
        for layer, level in entry.get(kind, {}).items():
            pair = tuple(arrays[f"{prefix}.{kind}.{layer}.{name}"] for name in "qk")
            queries.setdefault(level, {})[layer] = pair
        details[kind] = QueryKeys(queries, heads=_ints(entry.get("heads")))
    details["holes"] = {n: arrays[f"{prefix}.holes.{n}"] for n in entry.get("holes", ())}
    return details


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

    def unpacked(value: Any) -> Any:
        if isinstance(value, Mapping):
            return arrays[value["array"]]
        return tuple(map(unpacked, value)) if isinstance(value, list) else value

    return {name: unpacked(value) for name, value in entry.items()}
