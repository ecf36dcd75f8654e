"""The whole in one app: `Studio`."""

from __future__ import annotations

import html
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from hdpainter_nb import views
from hdpainter_nb.edits.wording import edit_said
from hdpainter_nb.errors import HDPainterError, HDPainterWarning, SettingsError
from hdpainter_nb.job import Job
from hdpainter_nb.settings import Preset, Settings
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.wording import method_said, said
from hdpainter_widgets.composite import CompositeWidget
from hdpainter_widgets.notebook import as_parts, close_all
from hdpainter_widgets.pictures import as_png, placeholder, preview
from hdpainter_widgets.player.frames import Looks, beside, tiles
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.decoding import DecodeEachStep
from hdpainter_widgets.runner.restarting import (
    BaseRestartingRunner,
    PendingSampler,
    restarting_runner,
)
from hdpainter_widgets.runner.state import RunState, Status
from hdpainter_widgets.studio import files
from hdpainter_widgets.studio.files import Files
from hdpainter_widgets.studio.inputs import Inputs, changes
from hdpainter_widgets.studio.page import Page
from hdpainter_widgets.studio.results import Result, Viewers
from hdpainter_widgets.studio.shortcuts import Shortcuts
from hdpainter_widgets.studio.upscaling import UpscalePanel, UpscaleSource, original_of
from hdpainter_widgets.viewers.sources import telling, words_of

__all__ = ["Studio", "Which"]

Which = Literal["run", "x4"]
_KEYS = (("U", "upscale ×4", "upscale"), ("S", "save PNG", "save"))


class Studio(CompositeWidget):
    """Paint a mask, say what should appear, watch every step, change your mind, save the run.

    >>> studio = Studio(load("mini"), "photo.jpg", prompt="a red star")
    >>> studio                       # shows itself
    >>> studio.play(); studio.wait()
    >>> studio.sampler, studio.trace, studio.image()
    >>> studio.save("star.html")
    >>> studio.upscale(); studio.wait()          # four times as large, the original's detail kept
    >>> studio.save("star.png")

    A run belongs to the picture, mask, prompt and settings that it began with. When these change it
    stays on display, and ▶ begins a new one; earlier runs can be compared with it.

    Args:
        model: from `hdpainter_nb.load`.
        image: as `hdpainter_nb.Job` takes it; None is a bundled picture with a hole.
        mask: (H, W) bool, or what `hdpainter_nb.Job` takes; None is to be painted.
        prompt: what to paint. May be empty.
        preset, steps, seed: as `hdpainter_nb.Job` takes them. 20 steps are fewer than any preset
            makes, to be quick with the miniature.
        capture: what to keep of each step; None is `Capture.standard`.
        upscaler: name, path or pipeline for `hdpainter_nb.load_upscaler`, or what that gives; None
            is ``mini`` beside the miniature and ``x4`` otherwise. Loaded at first use.
        runner: from `hdpainter_widgets.runner.restarting.restarting_runner`; None makes one, which
            `close` ends.
        settings: any further field of `hdpainter_nb.Settings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used.
        SettingsError: unknown or impossible setting.
        TypeError: a runner that cannot begin runs.

    Only the runner's worker touches the model; controls put commands in its queue.
    """

    runner: BaseRestartingRunner

    def __init__(
        self,
        model: Any,
        image: Any = None,
        mask: Any = None,
        prompt: str = "a red star",
        *,
        preset: Preset = "official",
        steps: int = 20,
        seed: int = 1,
        capture: Any = None,
        upscaler: Any = None,
        runner: BaseRunner | None = None,
        **settings: Any,
    ) -> None:
        chosen = Settings.preset(preset, steps=steps, seed=seed, **settings)
        if runner is not None and not isinstance(runner, BaseRestartingRunner):
            kind = type(runner).__name__
            raise TypeError(f"A studio needs a runner made by restarting_runner, not {kind}.")
        self._model, self._capture = model, capture
        self._origin: Job | None = None  # what the run on display began with
        self._runs: list[Trace] = []  # of this studio, oldest first
        self._told = (False, "")  # whether the page says that a run has begun, and of its branch
        self._ready = False
        self._resulted: tuple[Any, int] | None = None  # trace and node that the result shows
        with as_parts():
            self.inputs = Inputs(model, image, mask, prompt, chosen, preset, self._inputs_changed)
            pending = PendingSampler(model, self.painter.image, self.painter.mask, steps)
            self.runner = restarting_runner(pending) if runner is None else runner
            self._own_runner = runner is None
            self.decoding = DecodeEachStep(self.runner)
            self.runner.renew, self.runner.after_step = self._renew, self.decoding
            self.enlarging = UpscalePanel(self.runner, model, upscaler, self._offer_large)
            self.shortcuts = Shortcuts(_KEYS, self._pressed)
            self.viewers = Viewers(self.runner)
            self.result = Result()
            self.files = Files(self._save)
            self.page = self._laid_out()
        super().__init__(children=self.page.children)
        self.add_class("hdp-studio")
        self._wire()
        self._ready = True
        self._inputs_changed()
        if self.inputs.job is not None:
            self.runner.prepare()

    def _laid_out(self) -> Page:
        tabs = {
            "Watch": self.viewers.heatmaps,
            "Gradient": self.viewers.histogram,
            "Compare": self.viewers.comparison,
            "Result": self.result.panel,
            "Upscale": self.enlarging.panel,
            "Settings": self.inputs.form.panel,
        }
        return Page(
            inputs=self.inputs.bar,
            timeline=self.viewers.timeline,
            painter=self.painter,
            tabs=tabs,
            foot=(self.files.panel, self.shortcuts),
        )

    def _wire(self) -> None:
        self.inputs.busy = self.page.tell_busy
        self.page.renew.on_click(lambda _button: self.play())
        self.page.undo.on_click(lambda _button: self._undo())
        for button in (self.result.enlarge, self.enlarging.options.start):
            button.on_click(lambda _button: self._upscale())
        self._unsubscribe = [self.runner.on_state(self._on_state)]

    # --- what is there to see --------------------------------------------------------------------

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
        return self.runner.sampler.trace

    @property
    def runs(self) -> tuple[Trace, ...]:
        """The traces of all runs that made a step, oldest first."""
        return tuple(trace for trace in self._runs if len(trace.nodes) > 1)

    @property
    def upscaler(self) -> Any:
        """The `hdpainter_nb.Upscaler` at work: its trace, its steps. None before the first use."""
        return self.enlarging.upscaler

    def __repr__(self) -> str:
        return f"Studio({self.runner.sampler!r})"

    def _still(self) -> bytes:
        """The picture with its hole, and the newest step with its maps."""
        inputs, sampler = self.inputs, self.sampler
        if not sampler.records:
            picture = placeholder(inputs.painter.image, inputs.painter.mask)
            title = inputs.prompt.value
            return as_png(
                views.grid([picture], ["before the first step"], title=title), colours=256
            )
        job, record = sampler.job, sampler.records[-1]
        words = telling(words_of(sampler))
        looks = Looks(words=tuple(words), mask=job.mask, crop=sampler.cond.crop)
        shown = sampler.trace.pictures.get(sampler.node.id)
        shown = preview(record, looks.crop) if shown is None else shown
        label = f"after {sampler.index} of {sampler.total} steps"
        hole = placeholder(job.image, job.mask)
        left = views.grid([hole, shown], ["the hole", label], tile=240, title=job.prompt)
        maps = tiles(record, shown, looks)
        sheets = [left, *([] if maps is None else [maps])]
        if self.enlarging.picture is not None:
            sheets.append(self.enlarging.lens.still())
        return as_png(beside(*sheets), colours=256)

    # --- what a cell may call: all of it only fills queues ---------------------------------------

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

    def image(
        self, *, paste: bool | str = "poisson", of: Which = "run", size: str = "model"
    ) -> Any:
        """The picture as it stands, decoded: (H, W, 3) uint8. Waits for the worker.

        Args:
            paste: put the original's known pixels back around the hole; see `Sampler.image`.
            of: ``run``, or ``x4`` for what `upscale` has made of it.
            size: of the run's picture; see `Sampler.image`.

        Raises:
            SettingsError: no step is made yet.
        """
        if of == "x4":
            return self._worker("x4").ask(lambda upscaler: upscaler.image(paste=bool(paste)))
        return self.runner.ask(lambda sampler: sampler.image(paste=paste, size=size))

    def save(self, path: str | Path, *, of: Which | None = None, size: str = "original") -> Path:
        """Write the picture (``.png``), the trace (``.hdp``) or a page (``.html``), and wait.

        Args:
            path: where to.
            of: ``run``, or ``x4`` for what `upscale` has made of it; None is the latter once that
                is finished for the picture as it stands, or what is chosen on the page.

            size: of a picture of the run: ``original``, that of the picture as it was given, into
                which it is pasted, or ``model``, the one that the model worked at.

        Raises:
            ValueError: another suffix.
            SettingsError: no step is made yet.
            OSError: the file cannot be written.
        """
        checked = files.check(path)
        runner = self._worker(self.files.which.value if of is None else of)
        return runner.ask(lambda sampler: files.write(sampler, checked, size))

    def close(self) -> None:
        """Take the studio off the page and end its threads."""
        for unsubscribe in self.__dict__.pop("_unsubscribe", ()):
            unsubscribe()
        enlarging = self.__dict__.get("enlarging")
        if enlarging is not None:
            enlarging.close()
        runner = self.__dict__.get("runner")
        if runner is not None:
            runner.renew = runner.after_step = None
            if self._own_runner:
                runner.close()
        for name in ("inputs", "viewers", "enlarging"):
            if name in self.__dict__:
                close_all(self.__dict__[name].all)
        super().close()

    def _worker(self, which: str) -> BaseRunner:
        one_of("of", which, get_args(Which))
        if which == "run":
            return self.runner
        if self.enlarging.runner is None:
            raise SettingsError("Nothing is made larger yet: call upscale() first.")
        return self.enlarging.runner

    # --- from the page: only commands ------------------------------------------------------------

    def _inputs_changed(self) -> None:
        if not self._ready:
            return
        job, problem = self.inputs.job, self.inputs.problem
        named = self._origin if self.runs else job  # files hold the run, not what is to come
        if named is not None:
            self.files.suggest(named.prompt)
        if job is not None:
            height, width = job.mask.shape
            self.files.tell_sizes((height, width), self.inputs.worked_size(job))
        changed = [] if job is None or self._origin is None else changes(self._origin, job)
        wrong = None if problem is None else str(problem)
        self._told = begun, branch = self._on_display()
        remarks, unpainted = self.inputs.remarks, self.inputs.unpainted
        self.page.tell_inputs(
            changed, wrong, remarks, begun=begun, branch=branch, unpainted=unpainted
        )
        self.viewers.timeline.renews = bool(changed)

    def _on_display(self) -> tuple[bool, str]:
        """Whether a run is on display, and what its branch does otherwise than it began."""
        branch = self.trace.branches.get(getattr(self.sampler, "branch_id", -1))
        if not self.runs or branch is None or self._origin is None:
            return bool(self.runs), ""
        apart = self._origin.settings.differences(branch.settings)
        words = [said(name, value) for name, (_, value) in apart.items()]
        words += [f"“{branch.prompt}”"] if branch.prompt != self._origin.prompt else []
        return True, ", ".join([*words, *map(edit_said, branch.edits)])

    def _undo(self) -> None:
        if self._origin is not None:
            self.inputs.show(self._origin)

    def _save(self, stem: str, suffix: str) -> None:
        which = self.files.which.value
        path = files.free_path(stem if which == "run" else f"{stem}-x4", suffix)
        self.files.say(f"Saving {html.escape(path.name)} …")
        self._worker(which).do(
            partial(files.offer, path=path, size=self.files.size.value), self.files.say
        )

    def _upscale(self) -> None:
        self.page.turn_to("Upscale")
        self.enlarging.open(self.painter.image, self.painter.mask)
        self.runner.pause()
        self.runner.do(_source, self.enlarging.begin, key="original")

    def _pressed(self, name: str) -> None:
        """A key was pressed somewhere in the studio."""
        if name == "upscale" and not self.result.enlarge.disabled:
            self._upscale()
        elif name == "save":
            self._save(self.files.stem, ".png")

    # --- on the worker ---------------------------------------------------------------------------

    def _renew(self, _sampler: Any) -> Any:
        """A sampler for the job that is wanted, unless it is the one at work already."""
        job = self.job()
        if self._origin is not None and not changes(self._origin, job):
            return None
        # On a large model this takes seconds, in which nothing else would be seen.
        self.runner.post("inputs", partial(self.page.tell_busy, "Preparing the run …"))
        try:
            return self._begun(job)
        finally:
            self.runner.post("inputs", self._inputs_changed)

    def _begun(self, job: Job) -> Any:
        from hdpainter_nb import Sampler

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HDPainterWarning)
            sampler = Sampler(self._model, job, self._capture)
        self._origin, self.decoding.cost = job, 0.0
        self._runs = [*self.runs, sampler.trace]
        remarks = [str(one.message) for one in caught]
        self.runner.post("begun", partial(self._on_begun, remarks))
        return sampler

    # --- from the runner: on the publisher's thread ----------------------------------------------

    def _on_begun(self, remarks: list[str]) -> None:
        self.page.remark(remarks)
        self.viewers.offer([trace for trace in self.runs if trace is not self._runs[-1]])

    def _on_state(self, state: RunState) -> None:
        failure = state.failure
        shown = failure is not None and failure.error is self.inputs.problem  # with the inputs
        self.page.tell_failure("" if failure is None or shown else failure.message)
        if self._told != self._on_display():
            self._inputs_changed()
        sampler = self.sampler
        self._offer_large()
        if state.status in (Status.RUNNING, Status.ERROR):
            return
        if not sampler.records:
            self._resulted = None
            self.result.clear()
        elif self._resulted != (sampler.trace, sampler.node.id):
            self.runner.do(self._finish, self._on_result, key="result")
            if self.viewers.heatmaps.on_page:
                self.decoding.fill(self.viewers.refresh)

    def _offer_large(self) -> None:
        """Have the controls for the large picture agree with what there is. Asks no worker."""
        sampler = self.sampler
        painted, of = bool(sampler.records), (sampler.trace, sampler.node.id)
        if self.result.enlarge.disabled == painted:
            self.result.enlarge.disabled = not painted
        self.enlarging.offer(painted, of)
        self.files.offer_large(self.enlarging.current(of))

    def _finish(self, sampler: Any) -> Any:
        """On the worker: the picture as it stands."""
        if not sampler.records:
            return None
        image = sampler.image(paste="poisson")
        return image, sampler.job, sampler.index, sampler.total, (sampler.trace, sampler.node.id)

    def _on_result(self, result: Any) -> None:
        if result is None:
            return
        image, job, index, total, self._resulted = result
        name = f"“{job.prompt}”, {method_said(job.settings.method)}, seed {job.settings.seed}"
        when = "finished" if index == total else f"after {index} of {total} steps"
        self.result.show(job.image, image, f"{name}: {when}")
        self.viewers.refresh()


def _source(sampler: Any) -> UpscaleSource | str:
    """On the worker: what is to be made larger, or why there is nothing; that stops no run."""
    try:
        return original_of(sampler)
    except HDPainterError as error:
        return str(error)
