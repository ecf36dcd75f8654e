"""A trace in one file: a safetensors container with the rest as json in its header.

Nothing in it is executable, and it opens without torch and without the model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from hdpainter_nb.edit_packing import pack_edits, unpack_edits
from hdpainter_nb.errors import SettingsError, TraceError
from hdpainter_nb.files import replacing
from hdpainter_nb.nodes import Branch, Node, Pictures
from hdpainter_nb.packing import (
    pack_record,
    pack_settings,
    pack_words,
    unpack_record,
    unpack_settings,
    unpack_words,
)
from hdpainter_nb.safefile import read_arrays, write_arrays
from hdpainter_nb.spool import Spool

if TYPE_CHECKING:
    from hdpainter_nb.trace import Trace

__all__ = ["FORMAT_VERSION", "pack_trace", "read_trace", "write_trace"]

T = TypeVar("T", bound="Trace")

FORMAT_VERSION = 1
_HEADER = "hdpainter_nb"


def write_trace(trace: Trace, path: Path) -> None:
    """See `Trace.save`."""
    arrays, header = pack_trace(trace)
    with replacing(path) as part:
        write_arrays(part, arrays, {_HEADER: json.dumps(header)})


def read_trace(path: Path, spool: Spool, make: Callable[..., T]) -> T:
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
