"""What a trace is made of: `Node`, a point of the tree; `Branch`, a line of steps; `Pictures`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.store import ArrayStore
from hdpainter_nb.edits.edit import Edit
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.maps import Pending
from hdpainter_nb.trace.record import Record, arrays_of

__all__ = ["Branch", "Node", "Pictures", "name_change"]


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

    __slots__ = ("_spool",)

    def __init__(
        self, spool: ArrayStore, pictures: Mapping[int, NDArray[np.uint8]] | None = None
    ) -> None:
        super().__init__(pictures or {})
        self._spool = spool

    def __setitem__(self, node: int, picture: NDArray[np.uint8]) -> None:
        super().__setitem__(node, self._spool.keep(np.ascontiguousarray(picture)))


def name_change(old: Branch, prompt: str, settings: BaseSettings, edits: tuple[Edit, ...]) -> str:
    """What is different, as a name: ``painta=False``, ``ScaleWord('star', 2.0)``."""
    changes = [f"{k}={new!r}" for k, (_, new) in old.settings.differences(settings).items()]
    if prompt != old.prompt:
        changes.insert(0, repr(prompt))
    if edits != old.edits:
        changes += map(str, edits) if edits else ["no edits"]
    return ", ".join(changes) or "again"
