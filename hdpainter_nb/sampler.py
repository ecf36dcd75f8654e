"""The loop of HD-Painter, one step at a time: `Sampler`.

A step reads a frozen `State` and gives the next one and a `Record`; nothing else changes. So
stepping back is reading an older state, branching is stepping one with other settings, and two
samplers on one model may alternate without noticing each other.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.attention import SelfAttention
from hdpainter_nb.capture import Capture, Estimate
from hdpainter_nb.errors import SamplingCancelled, SamplingFinished, SettingsError
from hdpainter_nb.predict import predict
from hdpainter_nb.settings import Settings
from hdpainter_nb.step import Stepper, to_array
from hdpainter_nb.trace import Branch, Node, Trace
from hdpainter_nb.types import Cond, Job, Record, State

if TYPE_CHECKING:
    from hdpainter_nb.models import Model

__all__ = ["Sampler"]

# What `Model.prepare` reads; a branch that changes one of these is prepared anew.
_PREPARED = {
    "negative_prompt",
    "painta_mask",
    "positive_suffix",
    "prompt_additions",
    "score_mask",
    "unet_mask",
    "vae_encoding",
}
# What decides the trajectory's shape; a branch may change it only before the first step.
_FIXED = {"grid", "long_side", "seed", "size", "steps"}

_turns: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()


class Sampler:
    """Steps a job from noise to picture, and remembers every step.

    >>> sampler = Sampler(model, job)
    >>> record = sampler.step()
    >>> for record in sampler: ...
    >>> other = sampler.back(5).branch(painta=False)

    Args:
        model: from `hdpainter_nb.load`.
        job: what to paint.
        capture: what to keep of each step; `Capture.standard` by default.

    A step may run in any thread; samplers on one UNet take turns, step by step.
    """

    def __init__(self, model: Model, job: Job, capture: Capture | None = None) -> None:
        cond, state = model.prepare(job)
        trace = Trace(job.image, job.mask, cond.words, cond.tokens, model.name, cond.crop)
        self._begin(model, job, job.prompt, job.settings, cond, capture, trace)
        root = trace.root(to_array(state.latents[0]), state.rng.numpy())
        self._open([root], {root.id: state}, parent=None)

    @classmethod
    def from_cond(
        cls,
        model: Model,
        cond: Cond,
        state: State,
        settings: Settings,
        capture: Capture | None = None,
    ) -> Sampler:
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
    ) -> Sampler:
        """Take up a branch of a saved trace at its last step, to go on, go back or branch.

        Raises:
            SettingsError: the trace holds no picture, or was made for another latent size.
        """
        if trace.image is None or trace.mask is None:
            raise SettingsError("This trace holds no picture and mask to go on from.")
        known = trace.branches[trace._number(branch)]
        job = Job(trace.image, trace.mask, known.prompt).replace(**known.settings.to_dict())
        cond, fresh = model.prepare(job)
        path = trace.path(known.id)
        if fresh.latents.shape[1:] != path[0].latents.shape:
            raise SettingsError(
                f"This trace has latents {path[0].latents.shape}, the model {model.name!r} makes "
                f"{tuple(fresh.latents.shape[1:])}: load the model it was made with "
                f"({trace.model!r})."
            )
        sampler = cls.__new__(cls)
        sampler._begin(model, job, job.prompt, job.settings, cond, capture, trace)
        sampler._branch, sampler._path, sampler._at = known, path, len(path) - 1
        sampler._states = {}
        return sampler

    def _begin(
        self,
        model: Model,
        job: Job | None,
        prompt: str,
        settings: Settings,
        cond: Cond,
        capture: Capture | None,
        trace: Trace,
    ) -> None:
        self.model = model
        self.job = job
        self.prompt = prompt
        self.settings = settings
        self.cond = cond
        self.capture = capture or Capture.standard()
        self.stepper = Stepper(model, cond, settings, self.capture)
        self.timesteps = self.stepper.timesteps
        self.trace = trace
        self._cancel = threading.Event()
        self._turn = _turns.setdefault(model.unet, threading.RLock())

    def _open(self, path: list[Node], states: dict[int, State], parent: int | None) -> None:
        self._path = path  # nodes from the root; may reach beyond the current one after `back`
        self._at = len(path) - 1
        self._states = states  # node -> state on the model's device
        self._branch: Branch = self.trace.open_branch(self.prompt, self.settings, path[-1], parent)

    # --- where it stands -------------------------------------------------------------------------

    @property
    def index(self) -> int:
        """Steps made up to where the sampler stands."""
        return self._at

    @property
    def total(self) -> int:
        """Steps of the whole run. The official grid may have one more than was asked for."""
        return len(self.timesteps)

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

    # --- moving ----------------------------------------------------------------------------------

    def step(self) -> Record:
        """Make one step. After `back`, steps already made are read from memory.

        Raises:
            SamplingFinished: no step is left.
            SamplingCancelled: `cancel` was called while the step ran; nothing has moved.
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
        with self._turn:
            state, record = self.stepper.advance(self.state, self._cancel.is_set)
        node = self.trace.add(
            self._branch, self.node, to_array(state.latents[0]), state.rng.numpy(), record
        )
        self._states[node.id] = state
        self._path.append(node)
        self._at += 1
        return record

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

    def back(self, steps: int = 1) -> Sampler:
        """Stand `steps` steps earlier. What was made stays, and `step` walks it again at once.

        Raises:
            SettingsError: there are not that many steps to go back.
        """
        if not 0 <= steps <= self._at:
            raise SettingsError(f"Cannot go back {steps} steps from step {self._at}.")
        self._at -= steps
        return self

    def restart(self) -> Sampler:
        """Stand before the first step."""
        return self.back(self._at)

    def cancel(self) -> None:
        """Ask the step or run under way, in any thread, to stop at the next attention layer."""
        self._cancel.set()

    def branch(self, *, prompt: str | None = None, **settings: Any) -> Sampler:
        """A new sampler from where this one stands, with another prompt or other settings.

        It shares the trace; this sampler stays as it is.

        Raises:
            SettingsError: unknown setting, or one that cannot change in the middle of a run.
        """
        changed = self.settings.differences(self.settings.replace(**settings))
        stuck = _FIXED & set(changed)
        if stuck and self._at:
            raise SettingsError(
                f"{', '.join(sorted(stuck))} can change only before the first step: "
                "restart() and branch there."
            )
        new = Sampler.__new__(Sampler)
        words = self.prompt if prompt is None else prompt
        chosen = self.settings.replace(**settings)
        job, cond, state = self.job, self.cond, self.state
        if prompt is not None or set(changed) & (_PREPARED | _FIXED):
            if job is None:
                raise SettingsError("Without a job only settings of the step itself can change.")
            job = job.replace(prompt=prompt, **settings)
            cond, fresh = self.model.prepare(job)
            state = state if self._at else fresh
        elif job is not None:
            job = job.replace(**settings)
        new._begin(self.model, job, words, chosen, cond, self.capture, self.trace)
        path = self._path[: self._at + 1]
        if state is not self.state:
            path = [self.trace.root(to_array(state.latents[0]), state.rng.numpy())]
        states = {**self._states, path[-1].id: state}
        new._open(path, states, parent=self._branch.id)
        return new

    # --- looking ---------------------------------------------------------------------------------

    def image(self, *, paste: bool = False) -> NDArray[np.uint8]:
        """The picture as it stands, decoded: (H, W, 3).

        The last x0 prediction or the last latent, as switch 14 says; before the end always the x0
        prediction, because the latent is still noise.

        Args:
            paste: put the original's known pixels back, over a soft edge of a few pixels.

        Raises:
            SettingsError: no step is made yet.
        """
        state = self.state
        if state.x0 is None:
            raise SettingsError("No step is made yet: call step() or run() first.")
        chosen = state.latents if self.done and self.settings.decode == "latent" else state.x0
        with self._turn:
            picture = self.model.decode(chosen, self.cond)
        if self.settings.decode == "x0" or not self.done:
            self.trace.pictures[self.node.id] = picture
        return self._paste(picture) if paste else picture

    def decoded(self, record: Record, *, paste: bool = False) -> NDArray[np.uint8]:
        """The x0 prediction of any kept record through the VAE: (H, W, 3).

        Args:
            paste: as in `image`.
        """
        x0 = torch.from_numpy(record.x0_latents)[None].to(self.model.device, self.model.dtype)
        with self._turn:
            picture = self.model.decode(x0, self.cond)
        return self._paste(picture) if paste else picture

    def _paste(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        if self.job is None:
            raise SettingsError("Without a job there is no picture to paste into.")
        height, width = picture.shape[:2]
        original = cv2.resize(self.job.image, (width, height), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(self.job.mask.astype(np.float32), (width, height))
        soft = np.maximum(mask > 0.5, cv2.GaussianBlur(mask, (0, 0), 2.0))[..., None]
        mixed: NDArray[np.uint8] = np.round(picture * soft + original * (1 - soft)).astype(np.uint8)
        return mixed

    def attention(self, record: Record | None = None) -> SelfAttention:
        """Self-attention of a step, to ask for any pixel's row: see `SelfAttention`.

        The step's UNet call is made once more with its queries and keys kept, so nothing needs to
        be stored for it beforehand.

        Args:
            record: a kept record; the newest by default.
        """
        if record is None:
            if not self.records:
                raise SettingsError("No step is made yet: call step() or run() first.")
            record = self.records[-1]
        plan = dataclasses.replace(
            Stepper(self.model, self.cond, record.settings, Capture.nothing()).plan(record.index),
            scores=False,
            queries=True,
        )
        x = torch.from_numpy(record.latents)[None].to(self.model.device, self.model.dtype)
        with self._turn:
            seen = predict(
                self.model.unet, self.cond, x, record.timestep, record.settings, plan, guided=False
            ).seen
        return SelfAttention(seen, plan)

    def estimate(self) -> Estimate:
        """Bytes and FLOPs of the whole run, counted on the meta device before it starts."""
        from hdpainter_nb.estimate import estimate

        return estimate(self)

    def __repr__(self) -> str:
        what = "" if self.job is None else f" {self.prompt!r},"
        return (
            f"Sampler({self._branch.name!r},{what} {self.settings.method}, "
            f"step {self._at} of {self.total}, {self.model.name})"
        )


def _bar(total: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="step", disable=not progress)
