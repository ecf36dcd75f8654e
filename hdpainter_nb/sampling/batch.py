"""The same job under several seeds, in one UNet call per step: `SamplerBatch`."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import views
from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import HDPainterError, SamplingCancelled, SamplingFinished, SettingsError
from hdpainter_nb.job import Job
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.sampling.predict import predict_all
from hdpainter_nb.sampling.sampler import Paste, Sampler
from hdpainter_nb.trace.record import Record
from hdpainter_nb.utils import html
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.turns import Turns

if TYPE_CHECKING:
    from PIL.Image import Image

    from hdpainter_nb.models.model import Model

__all__ = ["SamplerBatch"]


@checked
class SamplerBatch:
    """Steps one job under several seeds at once; every sample is a `Sampler` with its own trace.

    >>> batch = SamplerBatch(model, job, seeds=4)
    >>> batch.run()
    >>> batch.sheet()
    >>> other = batch[2].back(5).branch(painta=False)  # each goes on alone as well

    A step calls the UNet once for all samples (twice with RASG: the conditional half, then the
    other), and PAIntA's c and the gradient of S are each sample's own. The memory that a call needs
    grows with the number of samples; `at_once` bounds it. Each result is that of the same seed run
    alone but for the last bits, in which a batched kernel may round otherwise.

    Args:
        model: from `hdpainter_nb.load`.
        job: what to paint; its own seed counts only for where a number of seeds starts.
        seeds: a row of them, or how many, counted up from the job's.
        capture: what to keep of each step of each sample; `Capture.standard` by default.
        at_once: at most so many samples in one UNet call; None: all.

    Raises:
        SettingsError: no seed, an impossible one, or the same one twice.
    """

    def __init__(
        self,
        model: Model,
        job: Job,
        seeds: int | Iterable[int] = 4,
        capture: Capture | None = None,
        *,
        at_once: int | None = None,
    ) -> None:
        first = job.settings.seed
        chosen = range(first, first + seeds) if isinstance(seeds, int) else list(seeds)
        if not chosen:
            raise SettingsError("A batch needs at least one seed.")
        if len(set(chosen)) < len(chosen):
            raise SettingsError(f"The seeds {list(chosen)} are not all different.")
        samplers = [Sampler(model, job.replace(seed=seed), capture) for seed in chosen]
        self._begin(samplers, at_once)

    @classmethod
    def of(cls, samplers: Sequence[Sampler], *, at_once: int | None = None) -> Self:
        """A batch of samplers that exist: on one model, alike in all settings but the seed.

        Raises:
            SettingsError: they differ in more, or stand at different steps.
        """
        batch = cls.__new__(cls)
        batch._begin(list(samplers), at_once)
        return batch

    def _begin(self, samplers: list[Sampler], at_once: int | None) -> None:
        if not samplers:
            raise SettingsError("A batch needs at least one sampler.")
        if at_once is not None and at_once < 1:
            raise SettingsError(f"at_once must be a number from 1, not {at_once!r}.")
        head = samplers[0]
        for other in samplers[1:]:
            differing = {*head.settings.differences(other.settings)} - {"seed"}
            if differing:
                raise SettingsError(
                    f"The samplers of a batch differ in {', '.join(sorted(differing))}; only the "
                    "seed may differ."
                )
            if other.model is not head.model or other.cond.size != head.cond.size:
                raise SettingsError("The samplers of a batch need one model and one size.")
            if other.edits != head.edits or other.capture != head.capture:
                raise SettingsError("The samplers of a batch need the same edits and captures.")
        self.samplers = samplers
        """One for each seed, in their order."""
        self.at_once = at_once or len(samplers)
        self._cancel = threading.Event()
        self._turns = Turns.of(head.model.unet)
        self._level()

    # --- where it stands -------------------------------------------------------------------------

    @property
    def seeds(self) -> list[int]:
        """The seed of each sample."""
        return [sampler.settings.seed for sampler in self.samplers]

    @property
    def index(self) -> int:
        """Steps made.

        Raises:
            SettingsError: the samples stand at different steps.
        """
        return self._level()

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.samplers[0].total

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.index >= self.total

    def __len__(self) -> int:
        """How many samples."""
        return len(self.samplers)

    def __getitem__(self, number: int) -> Sampler:
        return self.samplers[number]

    def __iter__(self) -> Iterator[Sampler]:
        return iter(self.samplers)

    def _level(self) -> int:
        indices = [sampler.index for sampler in self.samplers]
        if len(set(indices)) > 1:
            raise SettingsError(
                f"The samples stand at different steps ({', '.join(map(str, indices))}): use "
                "back() or step() on them, or restart() on the batch."
            )
        return indices[0]

    # --- moving ----------------------------------------------------------------------------------

    def step(self) -> list[Record]:
        """Make one step of every sample. Steps already made are read from memory.

        Raises:
            SamplingFinished: no step is left.
            SamplingCancelled: `cancel` was called while the step ran; nothing has moved.
            ModelError: something is not finite in one of them; nothing has moved.
        """
        self._cancel.clear()
        return self._step()

    def _step(self) -> list[Record]:
        if self.done:
            raise SamplingFinished(f"All {self.total} steps are made. Use back() or restart().")
        waiting = [sampler for sampler in self.samplers if sampler.at_end]
        replaying = [sampler for sampler in self.samplers if not sampler.at_end]
        starts = range(0, len(waiting), self.at_once)
        groups = [waiting[start : start + self.at_once] for start in starts]
        head = self.samplers[0]
        explained = out_of_memory_explained(head.model, "a step", head.settings, head.cond.size)
        with self._turns.take(), explained:
            steps = [step for group in groups for step in self._advance(group)]
        # Nothing moves before every group is through.
        for sampler, (state, record) in zip(waiting, steps, strict=True):
            sampler.append(state, record)
        for sampler in replaying:
            sampler.step()
        return [sampler.records[-1] for sampler in self.samplers]

    def _advance(self, group: Sequence[Sampler]) -> list[tuple[State, Record]]:
        """The next state and the record of each sample, from one prediction for all."""
        started = time.perf_counter()
        inputs = [s.stepper.inputs(s.state, self._cancel.is_set) for s in group]
        predictions = predict_all(group[0].model.unet, inputs)
        share = (time.perf_counter() - started) / len(group)
        steps = []
        for sampler, given, prediction in zip(group, inputs, predictions, strict=True):
            started = time.perf_counter() - share
            try:
                step = sampler.stepper.finish(
                    dataclasses.replace(given, started=started), prediction
                )
            except HDPainterError as error:
                error.add_note(f"It is the sample of seed {sampler.settings.seed}.")
                raise
            steps.append(step)
        return steps

    def run(self, steps: int | None = None, *, progress: bool = False) -> list[Record]:
        """Make `steps` steps, or all that are left, and return every sample's last record.

        Raises:
            SamplingCancelled: `cancel` was called; the steps made before stay.
            SamplingFinished: there was no step to make.
        """
        from tqdm.auto import tqdm

        left = self.total - self.index
        count = left if steps is None else min(steps, left)
        self._cancel.clear()
        with tqdm(total=count, unit="step", disable=not progress) as bar:
            for _ in range(count):
                if self._cancel.is_set():
                    raise SamplingCancelled(f"Cancelled after step {self.index} of {self.total}.")
                self._step()
                bar.update()
        last = [sampler.records[-1] for sampler in self.samplers if sampler.records]
        if not last:
            raise SamplingFinished("No step was asked for, and none is made yet.")
        return last

    def cancel(self) -> None:
        """Ask the step or run under way, in any thread, to stop at the next attention layer."""
        self._cancel.set()

    def back(self, steps: int = 1) -> Self:
        """Go `steps` steps back, with every sample.

        Raises:
            SettingsError: there are not that many steps to go back.
        """
        for sampler in self.samplers:
            sampler.back(steps)
        return self

    def restart(self) -> Self:
        """Go back before the first step, with every sample."""
        for sampler in self.samplers:
            sampler.restart()
        return self

    def branch(self, **changes: Any) -> Self:
        """A batch of branches of all samples; `changes` are those of `Sampler.branch`.

        Raises:
            SettingsError: as `Sampler.branch` does.
        """
        branches = [sampler.branch(**changes) for sampler in self.samplers]
        return self.of(branches, at_once=self.at_once)

    # --- looking ---------------------------------------------------------------------------------

    def images(self, *, paste: Paste = False) -> list[NDArray[np.uint8]]:
        """Every sample's picture as it stands, decoded: (H, W, 3) each; see `Sampler.image`."""
        return [sampler.image(paste=paste) for sampler in self.samplers]

    def sheet(
        self, *, paste: Paste = False, columns: int | None = None, tile: int | None = None
    ) -> Image:
        """A contact sheet of all pictures, each under its seed.

        Args:
            paste: as for `Sampler.image`.
            columns, tile: as for `hdpainter_nb.views.grid`.
        """
        labels = [f"seed {seed}" for seed in self.seeds]
        return views.grid(self.images(paste=paste), labels, columns, tile=tile)

    def __repr__(self) -> str:
        indices = {sampler.index for sampler in self.samplers}
        head = self.samplers[0]
        return (
            f"SamplerBatch({len(self)} samples, {head.prompt!r}, {head.settings.method}, step "
            f"{'/'.join(map(str, sorted(indices)))} of {self.total}, {head.model.name})"
        )

    def _repr_html_(self) -> str:
        """The linear previews, which cost nothing, each under its seed."""
        rows, previews = [], []
        for sampler in self.samplers:
            row = {"seed": sampler.settings.seed, "step": f"{sampler.index} of {sampler.total}"}
            if sampler.records:
                record = sampler.records[-1]
                previews.append(record.x0_preview)
                if record.score:
                    row["S"] = record.score
            rows.append(row)
        pictures = [html.picture(np.hstack(previews))] if previews else []
        return html.card(*pictures, html.table(rows))
