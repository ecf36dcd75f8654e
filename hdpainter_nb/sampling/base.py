"""A run that is made step by step: `BaseSampler`, the base of every sampler.

A step reads a frozen `State` and gives the next one and a `Record`; nothing else changes. So
stepping back is reading an older state, branching is stepping one with other settings, and two
samplers on one model may alternate without noticing each other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.edits.edit import Edit, read_edits
from hdpainter_nb.errors import SamplingCancelled, SamplingFinished, SettingsError
from hdpainter_nb.job import BaseJob
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.schedulers import State, from_arrays
from hdpainter_nb.sampling import active_edits
from hdpainter_nb.sampling.cursor import Cursor
from hdpainter_nb.sampling.step import BaseStep
from hdpainter_nb.select import LayerInfo
from hdpainter_nb.settings import BaseSettings
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch, Node
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.turns import Turns

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["BaseSampler"]


@checked
class BaseSampler:
    """Steps a job, keeps every step in a tree, and goes back and branches in it.

    What a step does is the business of a `BaseStep`; what a job is, that of a `BaseJob`.

    Args:
        model: what steps.
        job: what to paint.
        capture: what to keep of each step; `Capture.standard` by default.
    """

    model: Model
    job: BaseJob[Any] | None
    prompt: str
    settings: BaseSettings
    cond: TextConditioning
    capture: Capture
    edits: tuple[Edit, ...]
    trace: Trace
    stepper: BaseStep[Any, Any]
    timesteps: list[int]

    def __init__(self, model: Model, job: BaseJob[Any], capture: Capture | None = None) -> None:
        cond, state = self._prepare(model, job)
        trace = self._trace(model, job, cond)
        stepper = self._stepper(trace, model, cond, job.settings, capture)
        stepper.check_start(state.index)
        root = _root(trace, state)
        branch = trace.open_branch(job.prompt, job.settings, start=root, parent=None)
        self._begin(stepper, Cursor(trace, branch, [root]), job=job, states={root.id: state})

    @classmethod
    def from_cond(
        cls,
        model: Model,
        cond: TextConditioning,
        state: State,
        settings: BaseSettings,
        capture: Capture | None = None,
    ) -> Self:
        """A sampler on conditions made elsewhere, without image, text or VAE."""
        trace = Trace(words=cond.words, tokens=cond.tokens, model=model.name)
        stepper = cls._stepper(trace, model, cond, settings, capture)
        stepper.check_start(state.index)
        root = _root(trace, state)
        branch = trace.open_branch("", settings, start=root, parent=None)
        return cls._of(stepper, Cursor(trace, branch, [root]), job=None, states={root.id: state})

    @classmethod
    def from_trace(
        cls, model: Model, trace: Trace, branch: int | str = 0, capture: Capture | None = None
    ) -> Self:
        """Take up a branch of a saved trace at its last step, to go on, go back or branch.

        Raises:
            KeyError: there is no such branch.
            SettingsError: the trace holds no picture, or another kind of run, or was made for
                another latent size.
        """
        cursor = Cursor.at_end_of(trace, branch)
        job = cls._task(trace, cursor.branch)
        cond, fresh = cls._prepare(model, job)
        size, fresh_size = cursor.root.latents.shape, tuple(fresh.latents.shape[1:])
        if fresh_size != size:
            raise SettingsError(
                f"This trace has latents {size}, the model {model.name!r} makes {fresh_size}: load "
                f"the model it was made with ({trace.model!r})."
            )
        edits = cursor.branch.edits
        stepper = cls._stepper(trace, model, cond, job.settings, capture, edits=edits)
        stepper.check_start(cursor.index)
        return cls._of(stepper, cursor, job=job, states={})

    @classmethod
    def _of(
        cls,
        stepper: BaseStep[Any, Any],
        cursor: Cursor,
        *,
        job: BaseJob[Any] | None,
        states: Mapping[int, State],
    ) -> Self:
        """A sampler whose parts exist; see `_begin`."""
        sampler = cls.__new__(cls)
        sampler._begin(stepper, cursor, job=job, states=states)
        return sampler

    def _begin(
        self,
        stepper: BaseStep[Any, Any],
        cursor: Cursor,
        *,
        job: BaseJob[Any] | None,
        states: Mapping[int, State],
    ) -> None:
        """Put the parts in their places.

        Args:
            stepper: what makes the steps, as `_stepper` gives it.
            cursor: where to go on from.
            job: what is painted; None where the conditions were made elsewhere.
            states: by node, those that need not be read from the trace.
        """
        self.model, self.cond = stepper.model, stepper.conditioning
        self.settings, self.capture, self.edits = stepper.settings, stepper.capture, stepper.edits
        self.job, self.prompt, self.trace = job, cursor.branch.prompt, cursor.trace
        self.stepper, self.timesteps = stepper, stepper.timesteps
        self._cursor = cursor
        self._states = dict(states)  # node -> state on the model's device
        self._cancel = threading.Event()
        self._turns = Turns.of(stepper.model.unet)

    # --- what each kind of sampler says ----------------------------------------------------------

    _step_type: ClassVar[type[BaseStep[Any, Any]]]
    """What makes the steps."""

    @staticmethod
    def _prepare(model: Any, job: Any) -> tuple[Any, State]:
        """What the UNet is told of a job, and where its first step starts."""
        raise NotImplementedError

    @staticmethod
    def _task(trace: Trace, branch: Branch) -> BaseJob[Any]:
        """The job that a branch of a saved trace was made from.

        Raises:
            SettingsError: the trace does not hold it.
        """
        raise NotImplementedError

    @staticmethod
    def _trace(model: Model, job: Any, cond: TextConditioning) -> Trace:
        """An empty trace for a job."""
        return Trace(
            image=job.image,
            mask=job.mask,
            mask_levels=job.soft_mask_levels,
            words=cond.words,
            tokens=cond.tokens,
            model=model.name,
            crop=cond.crop,
        )

    @classmethod
    def _stepper(
        cls,
        trace: Trace,
        model: Model,
        cond: TextConditioning,
        settings: BaseSettings,
        capture: Capture | None,
        *,
        edits: tuple[Edit, ...] = (),
    ) -> BaseStep[Any, Any]:
        """What makes the steps of a branch; from here on the trace keeps to the capture's budget.

        Raises:
            SettingsError: the capture names what the run does not have.
        """
        capture = capture or Capture.standard()
        transfer = capture.transfer(trace.store)
        stepper = cls._step_type.of(model, cond, settings, capture, edits=edits, transfer=transfer)
        capture.check(model.layers, cond.words, stepper.tokens, len(stepper.timesteps))
        return stepper

    # --- where it is -----------------------------------------------------------------------------

    @property
    def index(self) -> int:
        """Steps made up to where the sampler stands."""
        return self._cursor.index

    @property
    def total(self) -> int:
        """Steps of the whole run. The official grid may have one more than was asked for."""
        return len(self.timesteps)

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The attention layers of the model, to choose from in `Capture.where`."""
        return self.model.layers

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.index >= self.total

    @property
    def records(self) -> list[Record]:
        """The records of this branch, from the first step to where the sampler stands."""
        return self._cursor.records

    @property
    def branch_name(self) -> str:
        """``main``, or what makes this branch different from the one it left."""
        return self._cursor.branch.name

    @property
    def branch_id(self) -> int:
        """The number of this branch in the trace."""
        return self._cursor.branch.id

    @property
    def path(self) -> tuple[Node, ...]:
        """The nodes of its branch from the root; after `back`, those beyond where it stands too."""
        return tuple(self._cursor.path)

    @property
    def node(self) -> Node:
        """Where the sampler stands in the trace."""
        return self._cursor.node

    @property
    def at_end(self) -> bool:
        """Whether the next step is yet to be made; after `back`, it is read from memory."""
        return self._cursor.at_end

    @property
    def state(self) -> State:
        """The state that the next step starts from."""
        return self._state(self.node)

    def _state(self, node: Node) -> State:
        if node.id not in self._states:  # from a file
            latents = torch.from_numpy(node.latents)[None].to(self.model.device, self.model.dtype)
            x0 = None if node.record is None else self._x0(node.record)
            rng = torch.from_numpy(node.rng.copy())
            memory = None
            if node.record is not None and node.record.memory:
                memory = from_arrays(node.record.memory, latents)
            self._states[node.id] = State(node.index, latents, rng, x0, memory)
        return self._states[node.id]

    def _x0(self, record: Record) -> torch.Tensor:
        """(1, 4, h, w): a record's x0 prediction on the model's device."""
        return torch.from_numpy(record.x0_latents)[None].to(self.model.device, self.model.dtype)

    def _chosen(self) -> torch.Tensor:
        """What there is to decode: the last x0 prediction or, at the end, what switch 14 says.

        Raises:
            SettingsError: no step is made yet.
        """
        state = self.state
        if state.x0 is None:
            raise SettingsError("No step is made yet: call step() or run() first.")
        return state.latents if self.done and self.settings.decode == "latent" else state.x0

    # --- moving ----------------------------------------------------------------------------------

    def step(self) -> Record:
        """Make one step. After `back`, steps already made are read from memory.

        Raises:
            SamplingFinished: no step is left.
            SamplingCancelled: `cancel` was called while the step ran; nothing has moved.
            OutOfMemoryError: the memory does not suffice; nothing has moved.
            ModelError: something of the step is not finite (the message says what, and where it
                comes from); nothing has moved.
        """
        self._cancel.clear()
        return self._step()

    def _step(self) -> Record:
        with self._turns.take():  # the whole of it: several threads may step one sampler
            return self._step_in_turn()

    def _step_in_turn(self) -> Record:
        if self.done:
            raise SamplingFinished(
                f"All {self.total} steps are made. Use back(), branch() or restart()."
            )
        if self.at_end:
            return self.append(*self._advance())
        self._cursor.goto(self.index + 1)
        return self.records[-1]

    def _advance(self) -> tuple[State, Record]:
        """Make the next step."""
        with out_of_memory_explained(self.model, "a step", self.settings, self.cond.size):
            return self.stepper(self.state, self._cancel.is_set)

    def append(self, state: State, record: Record) -> Record:
        """Append a step that was just made, such as a batch's, and move on to it.

        Args:
            state: after the step.
            record: of the step.

        Returns:
            The record as the trace keeps it.

        Raises:
            SettingsError: it is not the step that follows, or that one was made already.
        """
        if not self.at_end or state.index != self.index + 1:
            raise SettingsError(f"Step {state.index} cannot follow step {self.index} here.")
        cursor, latents = self._cursor, to_array(state.latents[0])
        node = self.trace.add(cursor.branch, cursor.node, latents, state.rng.numpy(), record)
        cursor.append(node)
        # The states between are read from the trace when asked for.
        root = {n: s for n, s in self._states.items() if n == cursor.root.id}
        self._states = {**root, node.id: state}
        return self.records[-1]

    def run(self, steps: int | None = None, *, progress: bool = False) -> Record:
        """Make `steps` steps, or all that are left, and return the last record.

        Raises:
            SamplingCancelled: `cancel` was called; the steps made before stay.
            SamplingFinished: there was no step to make, and none is made yet.
        """
        from tqdm.auto import tqdm

        count = len(self) if steps is None else min(steps, len(self))
        self._cancel.clear()
        with tqdm(total=count, unit="step", disable=not progress) as bar:
            for _ in range(count):
                if self._cancel.is_set():
                    raise SamplingCancelled(f"Cancelled after step {self.index} of {self.total}.")
                self._step()
                bar.update()
        records = self.records
        if not records:
            raise SamplingFinished("No step was asked for, and none is made yet.")
        return records[-1]

    def __iter__(self) -> Iterator[Record]:
        while not self.done:
            yield self.step()

    def __len__(self) -> int:
        """Steps left."""
        return self.total - self.index

    def __bool__(self) -> bool:
        return True

    def back(self, steps: int = 1) -> Self:
        """Go `steps` steps back. What was made stays, and `step` reads it again at once.

        Raises:
            SettingsError: there are not that many steps to go back.
        """
        self._cursor.back(steps)
        return self

    def goto(self, place: Node | int) -> Self:
        """Go to a step that was made, without making any.

        >>> sampler.goto(3)  # after three steps
        >>> sampler.goto(sampler.trace.path()[3])  # the same on the main branch

        Args:
            place: a node of `path`, or how many steps are made there.

        Raises:
            SettingsError: the sampler's path does not lead there.
        """
        self._cursor.goto(place)
        return self

    def restart(self) -> Self:
        """Go back before the first step."""
        return self.goto(0)

    def cancel(self) -> None:
        """Ask the step or run under way, in any thread, to stop at the next attention layer."""
        self._cancel.set()

    @checked(leaves=["edit"])
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
        chosen = self.settings.replace(**settings)
        changed = set(self.settings.differences(chosen))
        if self.index and changed & self.settings.fixed:
            raise SettingsError(
                f"{', '.join(sorted(changed & self.settings.fixed))} can change only before the "
                "first step: restart() and branch there."
            )
        job = None if self.job is None else self.job.replace(prompt=prompt, **settings)
        cond, fresh = self.cond, None  # another state to start from, where there is one
        if prompt is not None or changed & (self.settings.prepared | self.settings.fixed):
            if job is None:
                raise SettingsError("Without a job only settings of the step itself can change.")
            cond, state = self._prepare(self.model, job)
            fresh = None if self.index else state
        edits = self.edits if edit is None else read_edits(edit)
        capture = self.capture.for_words(cond.words, cond.tokens)
        stepper = self._stepper(self.trace, self.model, cond, chosen, capture, edits=edits)
        size = None if job is None else (job.mask.shape[0], job.mask.shape[1])
        active_edits.check(stepper, since=0 if edit is None else self.index, size=size)
        stepper.check_start(self.index)

        path, state = self._cursor.past, self.state
        if fresh is not None:
            path, state = [_root(self.trace, fresh)], fresh
        branch = self.trace.open_branch(
            self.prompt if prompt is None else prompt,
            chosen,
            start=path[-1],
            parent=self.branch_id,
            edits=edits,
        )
        states = {**self._states, path[-1].id: state}
        return self._of(stepper, Cursor(self.trace, branch, path), job=job, states=states)

    def __repr__(self) -> str:
        prompt = "" if self.job is None else f" {self.prompt!r},"
        return (
            f"{type(self).__name__}({self.branch_name!r},{prompt} {self.settings.method}, "
            f"step {self.index} of {self.total}, {self.model.name})"
        )


def _root(trace: Trace, state: State) -> Node:
    """A new starting point in a trace."""
    return trace.root(to_array(state.latents[0]), state.rng.numpy())
