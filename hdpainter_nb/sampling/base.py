"""Making steps one at a time, and remembering them: `BaseSampler`, the base of every sampler.

A step reads a frozen `State` and gives the next one and a `Record`; nothing else changes. So
stepping back is reading an older state, branching is stepping one with other settings, and two
samplers on one model may alternate without noticing each other.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch

from hdpainter_nb.attention.layers import layer_infos
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.edits.codec import read_edits
from hdpainter_nb.edits.edit import Edit
from hdpainter_nb.errors import SamplingCancelled, SamplingFinished, SettingsError
from hdpainter_nb.job import BaseJob
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.active_edits import check
from hdpainter_nb.sampling.step import BaseStepper
from hdpainter_nb.select import LayerInfo
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch, Node

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["BaseSampler", "Standing"]

S = TypeVar("S", bound=BaseSettings)


class Standing(Generic[S]):
    """A place on a branch of a trace, and what there is to be read from it."""

    model: Model
    job: BaseJob[S] | None
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
    def layers(self) -> tuple[LayerInfo, ...]:
        """The attention layers of the model, to choose from in `Capture.where`."""
        return layer_infos(self.model.unet, self.settings.factor)

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


C = TypeVar("C", bound=TextConditioning)
_turns: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()


class BaseSampler(Standing[S], Generic[C, S]):
    """Steps a job, keeps every step in a tree, and goes back and branches in it.

    What a step does is the business of a `BaseStepper`; what a job is, that of a `BaseJob`.

    Args:
        model: what steps.
        job: what to paint.
        capture: what to keep of each step; `Capture.standard` by default.
    """

    def __init__(self, model: Model, job: BaseJob[S], capture: Capture | None = None) -> None:
        cond, state = self._prepare(model, job)
        trace = self._trace(model, job, cond)
        self._begin(model, job, job.prompt, job.settings, cond, capture, trace)
        root = self.trace.root(to_array(state.latents[0]), state.rng.numpy())
        self._open([root], {root.id: state}, parent=None)

    @classmethod
    def from_cond(
        cls,
        model: Model,
        cond: C,
        state: State,
        settings: S,
        capture: Capture | None = None,
    ) -> Self:
        """A sampler on conditions made elsewhere, without image, text or VAE."""
        sampler = cls.__new__(cls)
        trace = Trace(words=cond.words, tokens=cond.tokens, model=model.name)
        sampler._begin(model, None, "", settings, cond, capture, trace)
        root = trace.root(to_array(state.latents[0]), state.rng.numpy())
        sampler._open([root], {root.id: state}, parent=None)
        return sampler

    @classmethod
    def from_trace(
        cls, model: Model, trace: Trace, branch: int | str = 0, capture: Capture | None = None
    ) -> Self:
        """Take up a branch of a saved trace at its last step, to go on, go back or branch.

        Raises:
            SettingsError: the trace holds no picture, or another kind of run, or was made for
                another latent size.
        """
        known = trace.branches[trace._number(branch)]
        job = cls._task(trace, known)
        cond, fresh = cls._prepare(model, job)
        path = trace.path(known.id)
        if fresh.latents.shape[1:] != path[0].latents.shape:
            raise SettingsError(
                f"This trace has latents {path[0].latents.shape}, the model {model.name!r} makes "
                f"{tuple(fresh.latents.shape[1:])}: load the model it was made with "
                f"({trace.model!r})."
            )
        sampler = cls.__new__(cls)
        sampler._begin(model, job, job.prompt, job.settings, cond, capture, trace, known.edits)
        sampler._branch, sampler._path, sampler._at = known, path, len(path) - 1
        sampler._states = {}
        return sampler

    def _begin(
        self,
        model: Model,
        job: BaseJob[S] | None,
        prompt: str,
        settings: S,
        cond: C,
        capture: Capture | None,
        trace: Trace,
        edits: tuple[Edit, ...] = (),
    ) -> None:
        self.model = model
        self.job = job
        self.prompt = prompt
        self.settings = settings
        self.cond = cond
        self.capture = capture or Capture.standard()
        self.edits = edits
        self.trace = trace
        shelf = self.capture.shelf(trace.spool)
        stepper = self._stepper(model, cond, settings, self.capture)
        self.stepper = dataclasses.replace(stepper, edits=edits, shelf=shelf)
        self.timesteps = self.stepper.timesteps
        self.capture.check(self.layers, cond.words, self.stepper.tokens, len(self.timesteps))
        self._cancel = threading.Event()
        self._turn = _turns.setdefault(model.unet, threading.RLock())

    def _open(self, path: list[Node], states: dict[int, State], parent: int | None) -> None:
        self._path = path
        self._at = len(path) - 1
        self._states = states
        self._branch = self.trace.open_branch(
            self.prompt, self.settings, path[-1], parent, edits=self.edits
        )

    # --- what each kind of sampler says ----------------------------------------------------------

    @staticmethod
    def _prepare(model: Any, job: Any) -> tuple[C, State]:
        """What the UNet is told of a job, and where its first step starts."""
        raise NotImplementedError

    @staticmethod
    def _stepper(model: Any, cond: C, settings: S, capture: Capture) -> BaseStepper[C, S]:
        """What makes the steps."""
        raise NotImplementedError

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> BaseJob[S]:
        """The job that a branch of a saved trace was made from.

        Raises:
            SettingsError: the trace does not hold it.
        """
        raise NotImplementedError

    @staticmethod
    def _trace(model: Model, job: BaseJob[S], cond: C) -> Trace:
        """An empty trace for a job."""
        return Trace(job.image, job.mask, cond.words, cond.tokens, model.name, cond.crop)

    # --- moving ----------------------------------------------------------------------------------

    def step(self) -> Record:
        """Make one step. After `back`, steps already made are read from memory.

        Raises:
            SamplingFinished: no step is left.
            SamplingCancelled: `cancel` was called while the step ran; nothing has moved.
            OutOfMemoryError: the memory does not suffice; nothing has moved.
        """
        self._cancel.clear()
        return self._step()

    def _step(self) -> Record:
        if self.done:
            raise SamplingFinished(
                f"All {self.total} steps are made. Use back(), branch() or restart()."
            )
        if self._at + 1 < len(self._path):
            self._at += 1
            record = self._path[self._at].record
            assert record is not None
            return record
        size = self.cond.size
        with self._turn, out_of_memory_explained(self.model, "a step", self.settings, size):
            state, record = self.stepper.advance(self.state, self._cancel.is_set)
        return self._keep(state, record)

    def _keep(self, state: State, record: Record) -> Record:
        """Stand after a step that was just made, and remember it."""
        node = self.trace.add(
            self._branch, self.node, to_array(state.latents[0]), state.rng.numpy(), record
        )
        first = self._path[0].id  # the states between are read from the trace when asked for
        self._states = {n: s for n, s in self._states.items() if n == first} | {node.id: state}
        self._path.append(node)
        self._at += 1
        assert node.record is not None
        return node.record

    def run(self, steps: int | None = None, *, progress: bool = False) -> Record:
        """Make `steps` steps, or all that are left, and return the last record.

        Raises:
            SamplingCancelled: `cancel` was called; the steps made before stay.
        """
        left = self.total - self._at
        count = left if steps is None else min(steps, left)
        self._cancel.clear()
        bar = _bar(count, progress)
        record = self.records[-1] if self.records else None
        for _ in range(count):
            if self._cancel.is_set():
                raise SamplingCancelled(f"Cancelled after step {self._at} of {self.total}.")
            record = self._step()
            bar.update()
        bar.close()
        if record is None:
            raise SamplingFinished("No step was asked for, and none is made yet.")
        return record

    def __iter__(self) -> Iterator[Record]:
        while not self.done:
            yield self.step()

    def __len__(self) -> int:
        """Steps left."""
        return self.total - self._at

    def __bool__(self) -> bool:
        return True

    def back(self, steps: int = 1) -> Self:
        """Stand `steps` steps earlier. What was made stays, and `step` walks it again at once.

        Raises:
            SettingsError: there are not that many steps to go back.
        """
        if not 0 <= steps <= self._at:
            raise SettingsError(f"Cannot go back {steps} steps from step {self._at}.")
        self._at -= steps
        return self

    def restart(self) -> Self:
        """Stand before the first step."""
        return self.back(self._at)

    def cancel(self) -> None:
        """Ask the step or run under way, in any thread, to stop at the next attention layer."""
        self._cancel.set()

    def branch(
        self,
        *,
        prompt: str | None = None,
        edit: Edit | Iterable[Edit] | None = None,
        **settings: Any,
    ) -> Self:
        """A new sampler from where this one stands, with another prompt, settings or edits.

        It shares the trace; this sampler stays as it is.

        Args:
            prompt: another prompt.
            edit: one intervention or several, in their order, in place of this branch's (see
                `hdpainter_nb.edits.builtin`); None keeps those, ``()`` drops them.
            settings: by name.

        Raises:
            SettingsError: unknown setting, or one that cannot change in the middle of a run; an
                edit of something that the run does not have, or of no step that is left.
        """
        changed = self.settings.differences(self.settings.replace(**settings))
        stuck = self.settings.fixed & set(changed)
        if stuck and self._at:
            raise SettingsError(
                f"{', '.join(sorted(stuck))} can change only before the first step: "
                "restart() and branch there."
            )
        new = type(self).__new__(type(self))
        words = self.prompt if prompt is None else prompt
        chosen = self.settings.replace(**settings)
        job, cond, state = self.job, self.cond, self.state
        if prompt is not None or set(changed) & (self.settings.prepared | self.settings.fixed):
            if job is None:
                raise SettingsError("Without a job only settings of the step itself can change.")
            job = job.replace(prompt=prompt, **settings)
            cond, fresh = self._prepare(self.model, job)
            state = state if self._at else fresh
        elif job is not None:
            job = job.replace(**settings)
        edits = self.edits if edit is None else read_edits(edit)
        capture = self.capture.for_words(cond.words, cond.tokens)
        new._begin(self.model, job, words, chosen, cond, capture, self.trace, edits)
        check(new.stepper, since=0 if edit is None else self._at)
        path = self._path[: self._at + 1]
        if state is not self.state:
            path = [self.trace.root(to_array(state.latents[0]), state.rng.numpy())]
        states = {**self._states, path[-1].id: state}
        new._open(path, states, parent=self._branch.id)
        return new


def _bar(total: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="step", disable=not progress)
