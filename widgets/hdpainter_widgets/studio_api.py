"""What a cell may ask of a studio, and have it do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import ipywidgets as w

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.trace import Trace
from hdpainter_nb.types import Job

from . import saving
from .commands import BaseRunner
from .enlarging import Enlarging
from .inputs import Inputs
from .outputs import Files
from .runs import Renewing, ask

__all__ = ["Api", "Which"]

Which = Literal["run", "x4"]


class Api(w.VBox):
    """The commands of `Studio`, which says what its parts are. All of them only fill queues."""

    inputs: Inputs
    runner: Renewing
    enlarging: Enlarging
    files: Files
    _runs: list[Trace]  # oldest first

    @property
    def painter(self) -> Any:
        """The `MaskPainter`: `painter.image` and `painter.mask` may be assigned."""
        return self.inputs.painter

    @property
    def sampler(self) -> Any:
        """The sampler at work; another one after a branch or a new run. See `wait`."""
        return self.runner.sampler

    @property
    def trace(self) -> Trace:
        """Every step of the run on display, over all its branches."""
        found: Trace = self.runner.sampler.trace  # type: ignore[attr-defined]
        return found

    @property
    def runs(self) -> tuple[Trace, ...]:
        """The traces of all runs that made a step, oldest first."""
        return tuple(trace for trace in self._runs if len(trace.nodes) > 1)

    def job(self) -> Job:
        """The picture, mask, prompt and settings as the controls have them.

        Raises:
            HDPainterError: they make no possible job; the message says why.
        """
        if self.inputs.job is None:
            assert self.inputs.problem is not None
            raise self.inputs.problem
        return self.inputs.job

    def step(self, n: int = 1) -> None:
        """Take `n` steps, of a new run if the inputs have changed."""
        self.runner.step(n)

    def play(self) -> None:
        """Take steps until the end or `pause`, of a new run if the inputs have changed."""
        self.runner.run()

    def pause(self) -> None:
        """Stop after the step under way."""
        self.runner.pause()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was asked for is done and shown; raises what stopped a run."""
        for runner in (self.runner, self.enlarging.runner):
            if runner is not None and not runner.wait(timeout):
                return False
        return True

    def upscale(self, *, prompt: str | None = None, **settings: Any) -> None:
        """Make the picture as it stands four times as large; a run under way pauses. See `wait`.

        The original is the picture as it was given, at its own size. What is given here shows in
        the controls, and holds from then on.

        Args:
            prompt: of the large picture; empty is the run's own.
            settings: any field of `hdpainter_nb.settings.UpscaleSettings`, by name.

        Raises:
            SettingsError: unknown or impossible setting.
        """
        self.enlarging.options.write(prompt, settings)
        self._upscale()

    @property
    def upscaler(self) -> Any:
        """The `hdpainter_nb.Upscaler` at work: its trace, its steps. None before the first use."""
        return self.enlarging.upscaler

    def image(self, *, paste: bool | str = "poisson", of: Which = "run") -> Any:
        """The picture as it stands, decoded: (H, W, 3) uint8. Waits for the worker.

        Args:
            paste: put the original's known pixels back around the hole; see `Sampler.image`.
            of: ``run``, or ``x4`` for what `upscale` has made of it.

        Raises:
            SettingsError: no step is made yet.
        """
        if of == "x4":
            return ask(self._worker("x4"), lambda upscaler: upscaler.image(paste=bool(paste)))
        return ask(self.runner, lambda sampler: sampler.image(paste=paste))

    def save(self, path: str | Path, *, of: Which | None = None) -> Path:
        """Write the picture (``.png``), the trace (``.hdp``) or a page (``.html``), and wait.

        Args:
            path: where to.
            of: ``run``, or ``x4`` for what `upscale` has made of it; None is the latter once that
                is finished for the picture as it stands, or what is chosen on the page.

        Raises:
            ValueError: another suffix.
            SettingsError: no step is made yet.
            OSError: the file cannot be written.
        """
        checked = saving.check(path)
        runner = self._worker(self.files.which.value if of is None else of)
        return ask(runner, lambda sampler: saving.write(sampler, checked))

    def _worker(self, which: str) -> BaseRunner:
        if which == "run":
            return self.runner
        if which != "x4":
            raise SettingsError(f"of={which!r} is not one of 'run', 'x4'.")
        if self.enlarging.runner is None:
            raise SettingsError("Nothing is made larger yet: call upscale() first.")
        return self.enlarging.runner

    def _upscale(self) -> None:
        raise NotImplementedError
