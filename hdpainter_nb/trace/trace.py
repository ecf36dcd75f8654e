"""The memory of a run: a tree of steps, kept in NumPy arrays and saved as one file.

A file is a safetensors container: every array under a name, and the rest as json in its header.
Nothing in it is executable, and it opens without torch and without the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore, is_mapped
from hdpainter_nb.edits.edit import Edit
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.attention import Attention
from hdpainter_nb.trace.file import read_trace, write_trace
from hdpainter_nb.trace.maps import Pending
from hdpainter_nb.trace.record import Record, describe, spooled
from hdpainter_nb.trace.tree import Branch, Node, Pictures, name_change
from hdpainter_nb.utils import html
from hdpainter_nb.utils.nbytes import byte_count, readable_bytes

if TYPE_CHECKING:
    from hdpainter_nb.trace.ranking import WordRanking

__all__ = ["Trace"]


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
        control: NDArray[np.uint8] | None = None,
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
        self.control = control
        """(H, W, 3): what a ControlNet followed; None without one."""
        self.nodes: dict[int, Node] = {}
        self.branches: dict[int, Branch] = {}
        self.tips: dict[int, int] = {}
        """Branch -> its newest node."""
        self.spool = ArrayStore()
        """Keeps the arrays of the steps within the budget of `Capture`."""
        self.pictures: dict[int, NDArray[np.uint8]] = Pictures(self.spool)
        """Node -> (H, W, 3): the x0 predictions that were decoded."""

    # --- growing -----------------------------------------------------------------------------

    def root(self, latents: NDArray[Any], rng: NDArray[np.uint8]) -> Node:
        """A new starting point: the starting noise (4, h, w)."""
        kept = self.spool.keep(latents), self.spool.keep(rng)
        return self.keep(Node(self._next_id(), None, -1, *kept, None))

    def open_branch(
        self,
        prompt: str,
        settings: BaseSettings,
        start: Node,
        parent: int | None,
        name: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> Branch:
        """A new line of steps growing from `start`."""
        number = len(self.branches)
        if not name:
            old = None if parent is None else self.branches[parent]
            name = "main" if old is None else name_change(old, prompt, settings, edits)
        branch = Branch(number, name, prompt, settings, parent, start.id, edits)
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
        """Append a step to `branch`; what no longer fits the budget goes to disk."""
        kept = self.spool.keep(latents), self.spool.keep(rng)
        record = spooled(record, self.spool)
        node = self.keep(Node(self._next_id(), parent.id, branch.id, *kept, record))
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

    def ask(self, step: int = -1, branch: int | str = 0) -> Attention:
        """Attention of a step, from the queries and keys that were kept: see `Attention`.

        >>> trace.ask(step=3).row(100, 80, level=16, head=2)
        >>> trace.ask(step=3).word("star", layer="up_blocks.1")
        >>> trace.ask(step=3).words("a blue ring", model=model)["ring"]

        Args:
            step: its number, from 0; negative numbers count from the newest.
            branch: of this trace.

        Raises:
            SettingsError: no such step, or no queries and keys were kept of it.
        """
        records = self.records(branch)
        if not -len(records) <= step < len(records):
            raise SettingsError(f"There is no step {step}; there are {len(records)}.")
        return Attention.of(records[step])

    def screen(self, word: str | int, branch: int | str = 0) -> WordRanking:
        """Score every map of a word that was kept, to find the layers and heads that carry it.

        >>> trace.screen("star").per("layer", "head").top(5)

        Args:
            word: a word of the prompt, or a token's position.
            branch: whose steps, from the root.

        Raises:
            KeyError: no such word or branch.
            SettingsError: no maps were kept.
        """
        from hdpainter_nb.trace.ranking import screen

        return screen(self, word, branch)

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
        """Bytes of all arrays, in memory and on disk; waits for none that is on its way."""
        nodes = tuple(self.nodes.values())  # a run may add some meanwhile
        return sum(node.nbytes for node in nodes) + sum(array.nbytes for array in self._given())

    @property
    def nbytes_on_disk(self) -> int:
        """Bytes of the arrays that lie in a file and are read when they are looked at.

        An array that is still on its way to main memory may end there too.
        """
        steps = (array for node in tuple(self.nodes.values()) for array in node.arrays())
        return sum(array.nbytes for array in (*self._given(), *steps) if _on_disk(array))

    def _given(self) -> Iterator[NDArray[Any]]:
        """The arrays that belong to no step, and the decoded pictures."""
        yield from tuple(self.pictures.values())
        for array in (self.image, self.mask, self.low, self.control):
            if array is not None:
                yield array

    def __len__(self) -> int:
        return len(self.records()) if self.branches else 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records() if self.branches else [])

    def __getitem__(self, index: int) -> Record:
        return self.records()[index]

    def __repr__(self) -> str:
        lengths = [f"{b.name}: {len(self.records(b.id))} steps" for b in self.branches.values()]
        return f"Trace({'; '.join([', '.join(lengths), *self._kept()]) if lengths else 'empty'})"

    def _kept(self) -> tuple[str, str]:
        """What was kept, and where."""
        nodes = tuple(self.nodes.values())
        records = [node.record for node in nodes if node.record is not None]
        disk = self.nbytes_on_disk
        held = f"{readable_bytes(self.nbytes - disk)} in memory"
        return describe(records), f"{held}, {readable_bytes(disk)} on disk" if disk else held

    def _repr_html_(self) -> str:
        edited = any(b.edits for b in self.branches.values())
        rows = [
            {
                "branch": b.name,
                "prompt": b.prompt,
                "method": b.settings.method,
                **({"edits": ", ".join(map(str, b.edits))} if edited else {}),
                "steps": len(self.records(b.id)),
                "from step": self.nodes[b.start].index,
            }
            for b in self.branches.values()
        ]
        found = self.picture() if self.branches else None
        last = self.records()[-1:] if self.branches else []
        if found is None and last:
            found = last[0].x0_preview
        shown = [] if found is None else [html.picture(found)]
        kept = html.table(dict(zip(("kept", "held"), self._kept(), strict=True))) if rows else ""
        return html.card(*shown, html.table(rows) + kept)

    # --- one file ----------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one file, by habit ``*.hdp``, one array at a time.

        An existing one is replaced at once, and only when the new one is complete.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        write_trace(self, path)
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
        from hdpainter_nb.trace.html import write_page

        traces = [self] if other is None else [self, other]
        return write_page(path, traces, title=title, maps=maps)

    @classmethod
    def load(cls, path: str | Path, *, budget: int | str | None = "1 GB") -> Self:
        """Read a file written by `save`.

        Args:
            path: of the file.
            budget: what may lie in main memory. The rest stays in the file and is read when it is
                looked at: leave the file where it is. None: no limit.

        Raises:
            TraceError: no such file, truncated, not a trace, or made by a newer version.
        """
        return read_trace(Path(path), ArrayStore(byte_count(budget)), cls)


def _on_disk(array: NDArray[Any] | Pending) -> bool:
    """Whether it lies in a file; what is on its way does not, yet."""
    if isinstance(array, np.ndarray):
        return is_mapped(array)
    return array.has_landed and is_mapped(array.land())
