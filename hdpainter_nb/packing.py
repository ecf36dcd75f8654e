"""A `Record` as named arrays and plain json values, and back again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.maps import Lands
from hdpainter_nb.options import Options
from hdpainter_nb.settings import Settings, UpscaleSettings
from hdpainter_nb.spool import Spool
from hdpainter_nb.types import CrossMaps, GradStats, LevelMaps, QueryKeys, Record, Word
from hdpainter_nb.watch_settings import WatchSettings

__all__ = [
    "arrays_of",
    "describe",
    "pack_record",
    "pack_settings",
    "pack_words",
    "spooled",
    "unpack_record",
    "unpack_settings",
    "unpack_words",
]

_MAPS = ("c", "similarity", "similarity_painta")
_ARRAYS = ("latents", "x0_latents", "x0_preview", "scores", "x0_unblended")
# Those without a name are Settings.
_KINDS: Mapping[str, Options] = {"upscale": UpscaleSettings(), "watch": WatchSettings()}
_QUERIES = ("self_qk", "cross_qk")
_PLAIN = ("index", "timestep", "score", "sigma", "alpha", "guided_norm", "seconds")


def pack_settings(settings: Options) -> dict[str, Any]:
    """The settings by name; ``kind`` says what they belong to, where it is not inpainting."""
    kinds = [name for name, kind in _KINDS.items() if type(settings) is type(kind)]
    return {**({"kind": kinds[0]} if kinds else {}), **settings.to_dict()}


def unpack_settings(values: Mapping[str, Any]) -> Options:
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


def spooled(record: Record, spool: Spool) -> Record:
    """The record with all its arrays within the budget; its maps, q and k are already."""

    def keep(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return spool.keep(np.ascontiguousarray(value))
        if isinstance(value, Mapping):
            return {name: keep(part) for name, part in value.items()}
        return tuple(map(keep, value)) if isinstance(value, tuple) else value

    names = (*_ARRAYS, "holes", "memory")
    changes = {name: keep(getattr(record, name)) for name in names}
    if record.grad is not None:
        changes["grad"] = GradStats(**keep(vars(record.grad)))
    return dataclasses.replace(record, **changes)


def arrays_of(record: Record) -> Iterator[NDArray[Any] | Lands]:
    """The arrays that `pack_record` would pack; waits for none, so some may be on their way."""

    def inside(value: Any) -> Iterator[NDArray[Any] | Lands]:
        if isinstance(value, CrossMaps):
            value = value.maps
        if isinstance(value, LevelMaps | QueryKeys):
            value = value.waiting
        if isinstance(value, GradStats):
            value = vars(value)
        if isinstance(value, Mapping | tuple):
            for part in value.values() if isinstance(value, Mapping) else value:
                yield from inside(part)
        elif isinstance(value, np.ndarray) or hasattr(value, "land"):
            yield value

    return inside(vars(record))


def describe(records: Sequence[Record]) -> str:
    """What was kept of a run, in words."""
    cross: dict[str, set[int]] = {}
    rest: dict[str, None] = {}  # an ordered set
    for record in records:
        for level, named in record.cross.maps.waiting.items():
            detail = "mean" if "mean" in named else "per layer"
            detail = "per head" if any(a.ndim == 4 for a in named.values()) else detail
            cross.setdefault(f"cross-attention {detail}", set()).add(level)
        maps = {"c": record.c, "similarity": record.similarity, "scores": record.scores}
        rest |= {name: None for name, kept in maps.items() if kept is not None and len(kept)}
        for kind, name in zip(_QUERIES, ("self", "cross"), strict=True):
            if count := len(getattr(record, kind)):
                rest[f"q and k of {count} {name}-attention layers"] = None
    parts = [
        f"{what} at {', '.join(f'H/{level}' for level in sorted(levels))}"
        for what, levels in cross.items()
    ]
    return "; ".join([*parts, ", ".join(rest)] if rest else parts) or "latents and previews"


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
