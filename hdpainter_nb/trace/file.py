"""The file of a trace: a safetensors container whose header holds all that is no array, as json.

Nothing in it is executable, and it opens without torch and without the model: see
`hdpainter_nb.trace.reading`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.edits.codec import pack_edits
from hdpainter_nb.select import Word
from hdpainter_nb.settings import (
    BaseSettings,
    GlideSettings,
    GlideUpsampleSettings,
    UpscaleSettings,
    WatchSettings,
)
from hdpainter_nb.trace.array_file import write_arrays
from hdpainter_nb.trace.maps import QueryKeys
from hdpainter_nb.trace.record import (
    ARRAY_FIELDS,
    MAP_FIELDS,
    PLAIN_FIELDS,
    QUERY_FIELDS,
    GradStats,
    Record,
)
from hdpainter_nb.trace.tree import Branch, Tree
from hdpainter_nb.utils.files import replacing

__all__ = [
    "FORMAT_VERSION",
    "GIVEN",
    "HEADER",
    "HISTOGRAMS",
    "SETTINGS_KINDS",
    "pack_record",
    "pack_settings",
    "pack_tree",
    "pack_words",
    "write_tree",
]

FORMAT_VERSION = 1
HEADER = "hdpainter_nb"
"""Under which name of the container's metadata the json lies."""
GIVEN = ("image", "mask", "mask_levels", "low", "control")
"""The arrays that belong to no step, by their names in the file and in a `Tree`."""
SETTINGS_KINDS: Mapping[str, type[BaseSettings]] = {
    "glide": GlideSettings,
    "glide_upsample": GlideUpsampleSettings,
    "upscale": UpscaleSettings,
    "watch": WatchSettings,
}
"""Settings by the name of their kind; those without a name are those of inpainting."""
HISTOGRAMS = ("hist", "edges", "standard_hist", "standard_edges")
"""The arrays of `GradStats`."""


def write_tree(tree: Tree, path: Path) -> None:
    """Write everything to one file, one array at a time; an old one is replaced once that is done.

    Raises:
        OSError: it cannot be written.
    """
    arrays, header = pack_tree(tree)
    with replacing(path) as part:
        write_arrays(part, arrays, {HEADER: json.dumps(header)})


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
    for name in GIVEN:
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
    names = [name for name, kind in SETTINGS_KINDS.items() if type(settings) is kind]
    return {**({"kind": names[0]} if names else {}), **settings.to_dict()}


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
        for name in HISTOGRAMS:
            arrays[f"{prefix}.grad.{name}"] = grad.pop(name)
        entry["grad"] = grad
    entry["settings"] = pack_settings(record.settings)
    return entry


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
    if cross.keys is not None:
        entry["text_length"] = cross.keys
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
