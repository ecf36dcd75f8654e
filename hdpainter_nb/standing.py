"""Where a sampler stands in its trace: `Standing`, the part of a `Loop` that moves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.options import Options
from hdpainter_nb.selection import LayerShape
from hdpainter_nb.taps import layer_shapes
from hdpainter_nb.trace import Branch, Node, Trace
from hdpainter_nb.types import Record, State, Task

if TYPE_CHECKING:
    from hdpainter_nb.models import Model

__all__ = ["Standing"]

S = TypeVar("S", bound=Options)


class Standing(Generic[S]):
    """A place on a branch of a trace, and what there is to be read from it."""

    model: Model
    job: Task[S] | None
    prompt: str
    settings: S
    timesteps: list[int]
    trace: Trace
    _path: list[Node]  # nodes from the root; may reach beyond the current one after `back`
    _at: int  # where in it the sampler stands
    _states: dict[int, State]  # node -> state on the model's device
    _branch: Branch

    @property
    def index(self) -> int:
        """Steps made up to where the sampler stands."""
        return self._at

    @property
    def total(self) -> int:
        """Steps of the whole run. The official grid may have one more than was asked for."""
        return len(self.timesteps)

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """The attention layers of the model, to choose from in `Capture.where`."""
        return layer_shapes(self.model.unet, self.settings.factor)

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self._at >= self.total

    @property
    def records(self) -> list[Record]:
        """The records of this branch, from the first step to where the sampler stands."""
        return [node.record for node in self._path[1 : self._at + 1] if node.record is not None]

    @property
    def branch_name(self) -> str:
        """``main``, or what makes this branch different from the one it left."""
        return self._branch.name

    @property
    def branch_id(self) -> int:
        """The number of this branch in the trace."""
        return self._branch.id

    @property
    def node(self) -> Node:
        """Where the sampler stands in the trace."""
        return self._path[self._at]

    @property
    def state(self) -> State:
        """The state that the next step starts from."""
        return self._state(self._path[self._at])

    def _state(self, node: Node) -> State:
        if node.id not in self._states:  # from a file
            latents = torch.from_numpy(node.latents)[None].to(self.model.device, self.model.dtype)
            x0 = None
            if node.record is not None:
                x0 = torch.from_numpy(node.record.x0_latents)[None].to(latents)
            rng = torch.from_numpy(node.rng.copy())
            self._states[node.id] = State(node.index, latents, rng, x0)
        return self._states[node.id]

    def _chosen(self) -> torch.Tensor:
        """What there is to decode: the last x0 prediction or, at the end, what switch 14 says.

        Raises:
            SettingsError: no step is made yet.
        """
        state = self.state
        if state.x0 is None:
            raise SettingsError("No step is made yet: call step() or run() first.")
        return state.latents if self.done and self.settings.decode == "latent" else state.x0

    def _x0(self, record: Record) -> torch.Tensor:
        """(1, 4, h, w): a record's x0 prediction on the model's device."""
        return torch.from_numpy(record.x0_latents)[None].to(self.model.device, self.model.dtype)

    def __repr__(self) -> str:
        what = "" if self.job is None else f" {self.prompt!r},"
        return (
            f"{type(self).__name__}({self._branch.name!r},{what} {self.settings.method}, "
            f"step {self._at} of {self.total}, {self.model.name})"
        )
