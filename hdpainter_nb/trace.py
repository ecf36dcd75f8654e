"""The memory of a run: a tree of steps, kept in NumPy arrays and saved as one file.

A file is a safetensors container: every array under a name, and the rest as json in its header.
Nothing in it is executable, and it opens without torch and without the model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import show
from hdpainter_nb.errors import SettingsError, TraceError
from hdpainter_nb.options import Options
from hdpainter_nb.packing import (
    pack_record,
    pack_settings,
    pack_words,
    unpack_record,
    unpack_settings,
    unpack_words,
)
from hdpainter_nb.types import Record, Word

__all__ = ["FORMAT_VERSION", "Branch", "Node", "Trace"]

FORMAT_VERSION = 1
_HEADER = "hdpainter_nb"


@dataclass(frozen=True, eq=False)
class Node:
    """A point of the tree: the latents after a step, and the record of that step."""

    id: int
    parent: int | None
    branch: int
    latents: NDArray[Any]  # (4, h, w) float32, after the step; the starting noise at the root
    rng: NDArray[np.uint8]  # state of the noise generator after the step
    record: Record | None  # None at a root

    @property
    def index(self) -> int:
        """Steps made up to here."""
        return 0 if self.record is None else self.record.index + 1


@dataclass(frozen=True)
class Branch:
    """A line of steps under one set of settings, and where it left its parent."""

    id: int
    name: str
    prompt: str
    settings: Options
    parent: int | None  # branch
    start: int  # node it grows from


class Trace:
    """Every step made for one picture, over all branches.

    ``len(trace)``, iteration and ``trace[i]`` speak of the first branch; ``trace.records(branch)``
    of any.
    """

    def __init__(
        self,
        image: NDArray[np.uint8] | None = None,
        mask: NDArray[np.bool_] | None = None,
        words: tuple[Word, ...] = (),
        tokens: tuple[str, ...] = (),
        model: str = "",
        crop: tuple[int, int, int, int] | None = None,
        low: NDArray[np.uint8] | None = None,
    ) -> None:
        self.image = image
        """(H, W, 3): the picture that was given."""
        self.mask = mask
        """(H, W): the mask that was given, True where filled."""
        self.words = words
        self.tokens = tokens
        self.model = model
        """Name of the model that made it."""
        self.crop = crop
        """Top, left, height, width of the picture inside the padded one that maps cover."""
        self.low = low
        """(h, w, 3): the small picture that was made larger; None where the run does not."""
        self.nodes: dict[int, Node] = {}
        self.branches: dict[int, Branch] = {}
        self.tips: dict[int, int] = {}
        """Branch -> its newest node."""
        self.pictures: dict[int, NDArray[np.uint8]] = {}
        """Node -> (H, W, 3): the x0 predictions that were decoded."""

    # --- growing -----------------------------------------------------------------------------

    def root(self, latents: NDArray[Any], rng: NDArray[np.uint8]) -> Node:
        """A new starting point: the starting noise (4, h, w)."""
        return self.keep(Node(self._next_id(), None, -1, latents, rng, None))

    def open_branch(
        self, prompt: str, settings: Options, start: Node, parent: int | None, name: str = ""
    ) -> Branch:
        """A new line of steps growing from `start`."""
        number = len(self.branches)
        if not name:
            old = None if parent is None else self.branches[parent]
            name = "main" if old is None else _name_change(old, prompt, settings)
        branch = Branch(number, name, prompt, settings, parent, start.id)
        self.branches[number] = branch
        self.tips[number] = start.id
        return branch

    def add(
        self,
        branch: Branch,
        parent: Node,
        latents: NDArray[Any],
        rng: NDArray[np.uint8],
        record: Record,
    ) -> Node:
        """Append a step to `branch`."""
        node = self.keep(Node(self._next_id(), parent.id, branch.id, latents, rng, record))
        self.tips[branch.id] = node.id
        return node

    def keep(self, node: Node) -> Node:
        """Take in a node that has its number."""
        self.nodes[node.id] = node
        return node

    def _next_id(self) -> int:
        return max(self.nodes, default=-1) + 1

    # --- reading -----------------------------------------------------------------------------

    def path(self, branch: int | str = 0) -> list[Node]:
        """The nodes from the root to the branch's newest step."""
        node: Node | None = self.nodes[self.tips[self._number(branch)]]
        found = []
        while node is not None:
            found.append(node)
            node = None if node.parent is None else self.nodes[node.parent]
        return found[::-1]

    def records(self, branch: int | str = 0) -> list[Record]:
        """The records of a branch from its root, shared steps included."""
        return [node.record for node in self.path(branch) if node.record is not None]

    def picture(self, branch: int | str = 0) -> NDArray[np.uint8] | None:
        """(H, W, 3): the newest decoded picture of a branch, or None if none was decoded."""
        for node in reversed(self.path(branch)):
            if node.id in self.pictures:
                return self.pictures[node.id]
        return None

    def _number(self, branch: int | str) -> int:
        for number, known in self.branches.items():
            if branch in (number, known.name):
                return number
        names = ", ".join(f"{n} {b.name!r}" for n, b in self.branches.items()) or "none"
        raise KeyError(f"no branch {branch!r}; there are {names}")

    @property
    def factor(self) -> int:
        """Pixels of the picture per latent position: 8, or 4 where a picture was made larger."""
        return next((b.settings.factor for b in self.branches.values()), 8)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays, _ = _pack(self)
        return sum(array.nbytes for array in arrays.values())

    def __len__(self) -> int:
        return len(self.records()) if self.branches else 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records() if self.branches else [])

    def __getitem__(self, index: int) -> Record:
        return self.records()[index]

    def __repr__(self) -> str:
        lengths = (f"{b.name}: {len(self.records(b.id))} steps" for b in self.branches.values())
        return f"Trace({', '.join(lengths) or 'empty'})"

    def _repr_html_(self) -> str:
        rows = [
            {
                "branch": b.name,
                "prompt": b.prompt,
                "method": b.settings.method,
                "steps": len(self.records(b.id)),
                "from step": self.nodes[b.start].index,
            }
            for b in self.branches.values()
        ]
        found = self.picture() if self.branches else None
        last = self.records()[-1:] if self.branches else []
        if found is None and last:
            found = last[0].x0_preview
        shown = [] if found is None else [show.picture(found)]
        return show.card(*shown, show.table(rows))

    # --- one file ----------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one file, by habit ``*.hdp``.

        An existing one is replaced at once, and only when the new one is complete.
        """
        from safetensors.numpy import save_file

        path = Path(path)
        arrays, meta = _pack(self)
        partial = path.with_name(path.name + ".part")
        packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(packed, partial, metadata={_HEADER: json.dumps(meta)})
        partial.replace(path)
        return path

    def to_html(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        other: Trace | None = None,
        maps: bool = True,
    ) -> Path:
        """Write one file of HTML to look through the run anywhere: no kernel, no network.

        An existing one is replaced at once, and only when the new one is complete.

        Args:
            path: by habit ``*.html``.
            title: of the page; None takes the prompt.
            other: a second trace to compare with.
            maps: with attention maps and previews; the file is much smaller without.

        Raises:
            OSError: the file cannot be written.
        """
        from hdpainter_nb.page import write_page

        traces = [self] if other is None else [self, other]
        return write_page(path, traces, title=title, maps=maps)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a file written by `save`.

        Raises:
            TraceError: no such file, truncated, not a trace, or made by a newer version.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise TraceError(f"There is no trace file at {path}.")
        try:
            with safe_open(path, framework="np") as file:
                meta = (file.metadata() or {}).get(_HEADER)
                if meta is None:
                    raise TraceError(f"{path} is a safetensors file, but not a trace of this tool.")
                header = json.loads(meta)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            version = header["version"]
            if version != FORMAT_VERSION:
                raise TraceError(
                    f"{path} has trace format {version}, this version reads {FORMAT_VERSION}: "
                    "update hdpainter-nb."
                )
            return _unpack(arrays, header)
        except TraceError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, SettingsError) as error:
            raise TraceError(
                f"{path} cannot be read as a trace: it is truncated or of another kind ({error})."
            ) from error


def _name_change(old: Branch, prompt: str, settings: Options) -> str:
    """What is different, as a name: ``painta=False``."""
    changes = [f"{k}={new!r}" for k, (_, new) in old.settings.differences(settings).items()]
    if prompt != old.prompt:
        changes.insert(0, repr(prompt))
    return ", ".join(changes) or "again"


def _pack(trace: Trace) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
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
    for name in ("image", "mask", "low"):
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
                **{f.name: getattr(b, f.name) for f in dataclasses.fields(b)},
                "settings": pack_settings(b.settings),
            }
            for b in trace.branches.values()
        ],
    }
    return arrays, header


def _unpack(arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> Trace:
    trace = Trace(
        arrays.get("image"),
        arrays.get("mask"),
        unpack_words(header["words"]),
        tuple(header["tokens"]),
        header["model"],
        tuple(header["crop"]) if header.get("crop") else None,
        arrays.get("low"),
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
        trace.branches[b["id"]] = Branch(**{**b, "settings": settings})
    trace.tips = {int(k): v for k, v in header["tips"].items()}
    known = {f"picture.{number}": number for number in trace.nodes}
    trace.pictures = {known[name]: array for name, array in arrays.items() if name in known}
    return trace
