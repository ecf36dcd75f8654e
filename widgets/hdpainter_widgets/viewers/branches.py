"""The samplers of a trace's branches: whichever pass by, and new ones where a trace was loaded."""

from __future__ import annotations

from typing import Any

from hdpainter_nb.errors import SettingsError
from hdpainter_widgets.viewers.sources import branch_of

__all__ = ["BranchSamplers"]


class BranchSamplers:
    """Who steps which branch. Use it on the thread that owns the model."""

    def __init__(self) -> None:
        self._samplers: dict[int, Any] = {}

    def note(self, sampler: Any) -> None:
        """Remember a sampler; those of another trace are forgotten."""
        if any(known.trace is not sampler.trace for known in self._samplers.copy().values()):
            self._samplers = {}
        self._samplers[branch_of(sampler)] = sampler

    def sampler(self, sampler: Any, branch: int) -> Any:
        """The sampler of `branch`; where none has passed by, one is prepared.

        Args:
            sampler: one of the same trace, at present.

        Raises:
            SettingsError: there is no such branch, or the trace holds no picture to prepare.
        """
        self.note(sampler)
        if branch not in sampler.trace.branches:
            known = ", ".join(map(str, sampler.trace.branches))
            raise SettingsError(f"There is no branch {branch}; there are {known}.")
        if branch not in self._samplers:
            self.note(type(sampler).from_trace(sampler.model, sampler.trace, branch))
        return self._samplers[branch]

    def stand(self, sampler: Any, branch: int, step: int) -> Any:
        """The sampler of `branch`, standing after its step number `step`, from 0; -1 is the start.

        No step is made: those on the way are in memory.

        Raises:
            SettingsError: there is no such branch or step.
        """
        found = self.sampler(sampler, branch)
        path = [node.id for node in found.trace.path(branch)]
        if not -1 <= step < len(path) - 1:
            raise SettingsError(
                f"Branch {branch} has {len(path) - 1} steps; there is no step {step} to go to."
            )
        wanted = path[: step + 2]
        if [node.id for node in found._path[: step + 2]] != wanted:  # another one stepped on
            found = type(found).from_trace(found.model, found.trace, branch)
            self.note(found)
        found.back(max(0, found.index - step - 1))
        while found.index < step + 1:
            found.step()
        return found

    def stand_at(self, sampler: Any, node: int, branch: int | None = None) -> Any:
        """As `stand`, at a node; on `branch` where that leads through it, else on the node's own.

        Raises:
            SettingsError: there is no such node or branch, or the node lies on no branch.
        """
        trace = sampler.trace
        if node not in trace.nodes:
            raise SettingsError(f"There is no step with the number {node} in this trace.")
        own = trace.nodes[node].branch  # -1 at a root
        candidates = [branch, own, *trace.branches]
        for candidate in candidates:
            if candidate in trace.branches:
                path = [found.id for found in trace.path(candidate)]
                if node in path:
                    return self.stand(sampler, candidate, path.index(node) - 1)
        raise SettingsError(f"No branch leads through the step with the number {node}.")
