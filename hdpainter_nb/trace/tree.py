"""The tree of steps that a run makes: nodes, the branches they lie on, decoded pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore, is_mapped
from hdpainter_nb.edits.edit import Edit
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.maps import Pending
from hdpainter_nb.trace.record import Record, arrays_of, stored
from hdpainter_nb.utils.checked import checked

__all__ = ["Branch", "Node", "Pictures", "Tree", "name_change"]


@dataclass(frozen=True, eq=False)
class Node:
    """A point of the tree: the latents after a step, and the record of that step."""

    id: int
    parent: int | None
    branch: int
    latents: NDArray[Any]  # (4, h, w) float32, after the step; the starting noise at the root
    rng: NDArray[np.uint8]  # state of the noise generator after the step
    record: Record | None  # None at a root
    nbytes: int = field(init=False)  # of all its arrays, also of those that are on their way

    def __post_init__(self) -> None:
        object.__setattr__(self, "nbytes", sum(array.nbytes for array in self.arrays()))

    def arrays(self) -> Iterator[NDArray[Any] | Pending]:
        """All its arrays; waits for none, so some may still be on their way to main memory."""
        yield self.latents
        yield self.rng
        if self.record is not None:
            yield from arrays_of(self.record)

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
    settings: BaseSettings
    parent: int | None  # branch
    start: int  # node it grows from
    edits: tuple[Edit, ...] = ()  # interventions


class Pictures(dict[int, NDArray[np.uint8]]):
    """Decoded pictures by node, (H, W, 3), within the budget of the trace."""

    __slots__ = ("_store",)

    def __init__(
        self, store: ArrayStore, pictures: Mapping[int, NDArray[np.uint8]] | None = None
    ) -> None:
        super().__init__(pictures or {})
        self._store = store

    def __setitem__(self, node: int, picture: NDArray[np.uint8]) -> None:
        super().__setitem__(node, self._store.add(np.ascontiguousarray(picture)))


class Tree:
    """Every step made for one picture, over all branches: what it holds and how it grows.

    ``len(tree)``, iteration and ``tree[i]`` speak of the first branch; ``tree.records(branch)`` of
    any.
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
        control: NDArray[np.uint8] | NDArray[np.float32] | None = None,
        mask_levels: NDArray[np.uint8] | None = None,
    ) -> None:
        self.image = image
        """(H, W, 3): the picture that was given."""
        self.mask = mask
        """(H, W): the mask that was given, True where filled."""
        self.mask_levels = mask_levels
        """(H, W): a soft mask as it was given, black to white; None of a hard one."""
        self.words = words
        self.tokens = tokens
        self.model = model
        """Name of the model that made it."""
        self.crop = crop
        """Top, left, height, width of the picture inside the padded one that maps cover."""
        self.low = low
        """(h, w, 3): the small picture that was made larger; None where the run does not."""
        self.control = control
        """(H, W, 3), uint8 for 0 .. 1 or float32: what a ControlNet followed; None without one."""
        self.nodes: dict[int, Node] = {}
        self.branches: dict[int, Branch] = {}
        self.tips: dict[int, int] = {}
        """Branch -> its newest node."""
        self.store = ArrayStore()
        """Keeps the arrays of the steps within the budget of `Capture`."""
        self.pictures: dict[int, NDArray[np.uint8]] = Pictures(self.store)
        """Node -> (H, W, 3): the x0 predictions that were decoded."""

    @property
    def factor(self) -> int:
        """Pixels of the picture per latent position: 8, or 4 where a picture was made larger.

        Of GLIDE's stages, which paint pixels: 4, then 1.
        """
        return next((b.settings.factor for b in self.branches.values()), 8)

    # --- growing ---------------------------------------------------------------------------------

    def root(self, latents: NDArray[Any], rng: NDArray[np.uint8]) -> Node:
        """A new starting point: the starting noise (4, h, w)."""
        return self.keep(
            Node(
                id=self._next_id(),
                parent=None,
                branch=-1,
                latents=self.store.add(latents),
                rng=self.store.add(rng),
                record=None,
            )
        )

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
        if not name:
            old = None if parent is None else self.branches[parent]
            name = "main" if old is None else name_change(old, prompt, settings, edits)
        branch = Branch(
            id=len(self.branches),
            name=name,
            prompt=prompt,
            settings=settings,
            parent=parent,
            start=start.id,
            edits=edits,
        )
        self.branches[branch.id] = branch
        self.tips[branch.id] = start.id
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
        node = self.keep(
            Node(
                id=self._next_id(),
                parent=parent.id,
                branch=branch.id,
                latents=self.store.add(latents),
                rng=self.store.add(rng),
                record=stored(record, self.store),
            )
        )
        self.tips[branch.id] = node.id
        return node

    def keep(self, node: Node) -> Node:
        """Take in a node that has its number."""
        self.nodes[node.id] = node
        return node

    def _next_id(self) -> int:
        return max(self.nodes, default=-1) + 1

    # --- reading ---------------------------------------------------------------------------------

    @checked
    def path(self, branch: int | str = 0) -> list[Node]:
        """The nodes from the root to the branch's newest step."""
        node: Node | None = self.nodes[self.tips[self._number(branch)]]
        upwards = []
        while node is not None:
            upwards.append(node)
            node = None if node.parent is None else self.nodes[node.parent]
        return upwards[::-1]

    @checked
    def records(self, branch: int | str = 0) -> list[Record]:
        """The records of a branch from its root, shared steps included."""
        return [node.record for node in self.path(branch) if node.record is not None]

    @checked
    def picture(self, branch: int | str = 0) -> NDArray[np.uint8] | None:
        """(H, W, 3): the newest decoded picture of a branch, or None if none was decoded."""
        for node in reversed(self.path(branch)):
            if node.id in self.pictures:
                return self.pictures[node.id]
        return None

    def __len__(self) -> int:
        return len(self.records()) if self.branches else 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records() if self.branches else [])

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    @checked
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        records = self.records() if self.branches else []
        if isinstance(index, int) and not -len(records) <= index < len(records):
            count = len(records)
            raise IndexError(f"There is no step {index}; there are {count}, counted from 0.")
        return records[index]

    def _number(self, branch: int | str) -> int:
        for number, one in self.branches.items():
            if branch in (number, one.name):
                return number
        names = ", ".join(f"{n} {b.name!r}" for n, b in self.branches.items()) or "none"
        raise KeyError(f"no branch {branch!r}; there are {names}")

    # --- what it weighs --------------------------------------------------------------------------

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
        for array in (self.image, self.mask, self.mask_levels, self.low, self.control):
            if array is not None:
                yield array


def name_change(old: Branch, prompt: str, settings: BaseSettings, edits: tuple[Edit, ...]) -> str:
    """What is different, as a name: ``painta=False``, ``ScaleWord('star', 2.0)``."""
    changes = [f"{k}={new!r}" for k, (_, new) in old.settings.differences(settings).items()]
    if prompt != old.prompt:
        changes.insert(0, repr(prompt))
    if edits != old.edits:
        changes += map(str, edits) if edits else ["no edits"]
    return ", ".join(changes) or "again"


def _on_disk(array: NDArray[Any] | Pending) -> bool:
    """Whether it lies in a file; what is on its way does not, yet."""
    if isinstance(array, np.ndarray):
        return is_mapped(array)
    return array.ready and is_mapped(array.wait())
