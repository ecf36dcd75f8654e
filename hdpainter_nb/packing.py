"""A `Record` as named arrays and plain json values, and back again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hdpainter_nb.options import Options
from hdpainter_nb.settings import Settings, UpscaleSettings
from hdpainter_nb.types import CrossMaps, GradStats, LevelMaps, Record, Word

__all__ = [
    "pack_record",
    "pack_settings",
    "pack_words",
    "unpack_record",
    "unpack_settings",
    "unpack_words",
]

_MAPS = ("c", "similarity", "similarity_painta")
_ARRAYS = ("latents", "x0_latents", "x0_preview", "scores", "x0_unblended")
_KINDS: Mapping[str, Options] = {"upscale": UpscaleSettings()}  # those without a name: Settings
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
        cross=CrossMaps(maps("cross"), words, tuple(entry["tokens"])),
        grad=grad,
        settings=unpack_settings(entry["settings"]),
    )
