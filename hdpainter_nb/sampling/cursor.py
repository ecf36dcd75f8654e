"""A place on a branch of a trace: `Cursor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.tree import Branch, Node

if TYPE_CHECKING:
    from hdpainter_nb.trace.trace import Trace

__all__ = ["Cursor"]


class Cursor:
    """A place on a branch of a trace: the path of the branch, and how far along it one is.

    Attributes:
        trace: what the nodes belong to.
        branch: whose path it is.
        path: nodes from the root; after `back` it reaches beyond the place.
        index: steps made up to the place; it is at ``path[index]``.
    """

    def __init__(self, trace: Trace, branch: Branch, path: Iterable[Node]) -> None:
        self.trace = trace
        self.branch = branch
        self.path = list(path)
        self.index = len(self.path) - 1

    @classmethod
    def at_end_of(cls, trace: Trace, branch: int | str) -> Self:
        """After the newest step of a branch, given its number or name.

        Raises:
            KeyError: there is no such branch.
        """
        path = trace.path(branch)
        branches = trace.branches.values()
        return cls(trace, next(b for b in branches if branch in (b.id, b.name)), path)

    @property
    def node(self) -> Node:
        """The node it is at."""
        return self.path[self.index]

    @property
    def root(self) -> Node:
        """The node before the first step."""
        return self.path[0]

    @property
    def past(self) -> list[Node]:
        """The nodes from the root to here."""
        return self.path[: self.index + 1]

    @property
    def records(self) -> list[Record]:
        """The records of the steps from the root to here."""
        return [node.record for node in self.past if node.record is not None]

    @property
    def at_end(self) -> bool:
        """Whether the path ends here: the next step is yet to be made."""
        return self.index == len(self.path) - 1

    def back(self, steps: int = 1) -> None:
        """Go `steps` steps back; the path stays.

        Raises:
            SettingsError: there are not that many steps to go back.
        """
        if not 0 <= steps <= self.index:
            raise SettingsError(f"Cannot go back {steps} steps from step {self.index}.")
        self.index -= steps

    def goto(self, place: Node | int) -> None:
        """Go to a node of the path, or to where so many steps are made.

        Raises:
            SettingsError: the path does not lead there.
        """
        if isinstance(place, Node):
            if place not in self.path:
                raise SettingsError(
                    f"Branch {self.branch.name!r} does not lead through node {place.id}."
                )
            place = self.path.index(place)
        if not 0 <= place < len(self.path):
            raise SettingsError(
                f"Cannot go to step {place}: branch {self.branch.name!r} has "
                f"{len(self.path) - 1} steps."
            )
        self.index = place

    def append(self, node: Node) -> None:
        """Add a step that was just made to the end of the path, and go on to it.

        Raises:
            SettingsError: the path does not end here.
        """
        if node.parent != self.node.id or not self.at_end:
            raise SettingsError(f"Node {node.id} does not follow step {self.index}.")
        self.path.append(node)
        self.index += 1
