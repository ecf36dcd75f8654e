"""The samplers of a trace's branches: those that a runner steps, others taken up from the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdpainter_nb.errors import SettingsError
from hdpainter_widgets.viewers.sources import branch_of

if TYPE_CHECKING:
    from hdpainter_nb.sampling.base import BaseSampler

__all__ = ["BranchSamplers"]


class BranchSamplers:
    """Which sampler steps which branch. Use it on the thread that owns the model."""

    def __init__(self) -> None:
        self._samplers: dict[int, BaseSampler] = {}

    def note(self, sampler: BaseSampler) -> None:
        """Remember a sampler as that of its branch; those of another trace are forgotten."""
        if any(other.trace is not sampler.trace for other in self._samplers.copy().values()):
            self._samplers = {}
        self._samplers[branch_of(sampler)] = sampler

    def sampler(self, sampler: BaseSampler, branch: int) -> BaseSampler:
        """The sampler of `branch`: the one noted last, or one taken up from the trace.

        Args:
            sampler: one of the same trace, at present.
            branch: its number.

        Raises:
            SettingsError: there is no such branch, or the trace holds no picture to prepare.
        """
        self.note(sampler)
        if branch not in sampler.trace.branches:
            numbers = ", ".join(map(str, sampler.trace.branches))
            raise SettingsError(f"There is no branch {branch}; there are {numbers}.")
        if branch not in self._samplers:
            self.note(type(sampler).from_trace(sampler.model, sampler.trace, branch))
        return self._samplers[branch]

    def stand(self, sampler: BaseSampler, branch: int, step: int) -> BaseSampler:
        """The sampler of `branch`, standing after its step number `step`, from 0; -1 is the start.

        No step is made: those on the way are in memory.

        Raises:
            SettingsError: there is no such branch or step.
        """
        stepper = self.sampler(sampler, branch)
        path = stepper.trace.path(branch)
        if not -1 <= step < len(path) - 1:
            raise SettingsError(
                f"Branch {branch} has {len(path) - 1} steps; there is no step {step + 1} to go to."
            )
        node = path[step + 1]
        if node not in stepper.path:  # a second sampler has gone on with the branch
            stepper = type(stepper).from_trace(stepper.model, stepper.trace, branch)
            self.note(stepper)
        return stepper.goto(node)

    def stand_at(self, sampler: BaseSampler, node: int, branch: int | None = None) -> BaseSampler:
        """As `stand`, at a node; on `branch` where that leads through it, else on the node's own.

        Raises:
            SettingsError: there is no such node or branch, or the node lies on no branch.
        """
        trace = sampler.trace
        if node not in trace.nodes:
            raise SettingsError(f"There is no step with the number {node} in this trace.")
        made_on = trace.nodes[node].branch  # -1 at a root
        for candidate in (branch, made_on, *trace.branches):
            if candidate is not None and candidate in trace.branches:
                path = [other.id for other in trace.path(candidate)]
                if node in path:
                    return self.stand(sampler, candidate, path.index(node) - 1)
        raise SettingsError(f"No branch leads through the step with the number {node}.")
