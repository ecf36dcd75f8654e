"""The whole of it as one app: a picture, a mask and a prompt; the run, seen from all sides."""

from __future__ import annotations

import html
import warnings
from functools import partial
from typing import Any

import ipywidgets as w

from hdpainter_nb.errors import HDPainterError, HDPainterWarning
from hdpainter_nb.settings import Preset, Settings
from hdpainter_nb.trace import Trace
from hdpainter_nb.types import Job

from . import saving
from .cells import replace_earlier
from .commands import BaseRunner
from .enlarging import Enlarging
from .frames import illustrated
from .inputs import Inputs, changes
from .originals import Original, original_of
from .outputs import Files, Result, Viewers
from .runs import Decoding, Draft, Renewing, renewing_runner
from .shortcuts import Shortcuts
from .states import RunState, Status
from .studio_api import Api
from .studio_looks import Page, as_widget, snapshot

__all__ = ["Studio"]

_KEYS = (("U", "upscale ×4", "upscale"), ("S", "save PNG", "save"))
_MAKES_BUNDLES = hasattr(w.VBox, "_repr_mimebundle_")  # ipywidgets 7 does not


class Studio(Api):
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
        preset, steps, seed: as `hdpainter_nb.Job` takes them.
        capture: what to keep of each step; None is `Capture.standard`.
        upscaler: name, path or pipeline for `hdpainter_nb.load_upscaler`, or what that gives; None
            is ``mini`` beside the miniature and ``x4`` otherwise. Loaded at first use.
        runner: from `hdpainter_widgets.runs.renewing_runner`; None makes one, which `close` ends.
        settings: any further field of `hdpainter_nb.Settings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used.
        SettingsError: unknown or impossible setting.
        TypeError: a runner that cannot begin runs.

    Only the runner's worker touches the model; controls put commands in its queue.
    """

    _ipython_display_ = None  # ipywidgets 7 would not ask for the mimebundle

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
        if runner is not None and not isinstance(runner, Renewing):
            kind = type(runner).__name__
            raise TypeError(f"A studio needs a runner made by runs.renewing_runner, not {kind}.")
        self._model, self._capture = model, capture
        self._origin: Job | None = None  # what the run on display began with
        self._runs: list[Trace] = []  # of this studio, oldest first
        self._told_begun = False
        self._ready = False
        self._resulted: tuple[Any, int] | None = None  # trace and node that the result shows
        self.inputs = Inputs(model, image, mask, prompt, chosen, preset, self._inputs_changed)
        draft = Draft(model, self.painter.image, self.painter.mask, steps)
        self.runner = renewing_runner(draft) if runner is None else runner
        self._own_runner = runner is None
        self._decoding = Decoding(self.runner)
        self.runner.renew, self.runner.after_step = self._renew, self._decoding
        self.enlarging = Enlarging(self.runner, model, upscaler, self._offer_large)
        self.shortcuts = Shortcuts(_KEYS, self._pressed)
        self.viewers = Viewers(self.runner)
        self.result = Result()
        self.files = Files(self._save)
        self.page = Page(
            self.inputs, self.viewers, self.result, self.enlarging, self.files, self.shortcuts
        )
        super().__init__(children=self.page.children)
        self.add_class("hdp-studio")
        self.page.renew.on_click(lambda _button: self.play())
        self.page.undo.on_click(lambda _button: self._undo())
        for button in (self.result.enlarge, self.enlarging.options.start):
            button.on_click(lambda _button: self._upscale())
        self._unsubscribe = [self.runner.on_state(self._on_state)]
        self._ready = True
        self._inputs_changed()
        replace_earlier(self)
        if self.inputs.job is not None:
            self.runner.prepare()

    # --- its end, and what it looks like ---------------------------------------------------------

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
        page = self.__dict__.get("page")
        for widget in page.all if page is not None else ():
            widget.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and its picture for pages that run no widgets, such as GitHub's."""
        made = super()._repr_mimebundle_(**kwargs) if _MAKES_BUNDLES else as_widget(self)
        return illustrated(made, "image/png", snapshot(self))

    def __repr__(self) -> str:
        return f"Studio({self.runner.sampler!r})"

    # --- from the page: only commands ------------------------------------------------------------

    def _inputs_changed(self) -> None:
        if not self._ready:
            return
        job, problem = self.inputs.job, self.inputs.problem
        named = self._origin if self.runs else job  # files hold the run, not what is to come
        if named is not None:
            self.files.suggest(named.prompt)
        changed = [] if job is None or self._origin is None else changes(self._origin, job)
        said = None if problem is None else str(problem)
        self._told_begun = bool(self.runs)
        self.page.tell_inputs(changed, said, self.inputs.remarks, begun=self._told_begun)

    def _undo(self) -> None:
        if self._origin is not None:
            self.inputs.show(self._origin)

    def _save(self, stem: str, suffix: str) -> None:
        which = self.files.which.value
        path = saving.free_path(stem if which == "run" else f"{stem}-x4", suffix)
        self.files.tell(f"Saving {html.escape(path.name)} …")
        self._worker(which).do(partial(saving.offer, path=path), self.files.tell)

    def _upscale(self) -> None:
        self.page.turn_to("Upscale")
        self.enlarging.open(self.painter.image, self.painter.mask)
        self.runner.pause()
        self.runner.do(_original, self.enlarging.begin, key="original")

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
        from hdpainter_nb import Sampler

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", HDPainterWarning)
            sampler = Sampler(self._model, job, self._capture)
        self._origin, self._decoding.cost = job, 0.0
        self._runs = [*self.runs, sampler.trace]
        remarks = [str(one.message) for one in told]
        self.runner.post("begun", partial(self._on_begun, remarks))
        return sampler

    # --- from the runner: on the publisher's thread ----------------------------------------------

    def _on_begun(self, remarks: list[str]) -> None:
        self.page.remark(remarks)
        self.viewers.offer([trace for trace in self.runs if trace is not self._runs[-1]])
        self._inputs_changed()

    def _on_state(self, state: RunState) -> None:
        failure = state.failure
        known = failure is not None and failure.error is self.inputs.problem
        self.page.tell_failure("" if failure is None or known else failure.message)
        if self._told_begun != bool(self.runs):
            self._inputs_changed()
        sampler = self.sampler
        self._offer_large()
        if state.status in (Status.RUNNING, Status.ERROR):
            return
        if not sampler.records:
            self.result.clear()
        elif self._resulted != (sampler.trace, sampler.node.id):
            self.runner.do(self._finish, self._on_result, key="result")

    def _offer_large(self) -> None:
        """Have the controls for the large picture agree with what there is. Asks no worker."""
        sampler = self.sampler
        there, of = bool(sampler.records), (sampler.trace, sampler.node.id)
        if self.result.enlarge.disabled == there:
            self.result.enlarge.disabled = not there
        self.enlarging.offer(there, of)
        self.files.offer_large(self.enlarging.current(of))

    def _finish(self, sampler: Any) -> Any:
        """On the worker: the picture as it stands."""
        if not sampler.records:
            return None
        image = sampler.image(paste="poisson")
        return image, sampler.job, sampler.index, sampler.total, (sampler.trace, sampler.node.id)

    def _on_result(self, found: Any) -> None:
        if found is None:
            return
        image, job, index, total, self._resulted = found
        name = f"“{job.prompt}”, {job.settings.method}, seed {job.settings.seed}"
        when = "finished" if index == total else f"after {index} of {total} steps"
        self.result.show(job.image, image, f"{name}: {when}")
        self.viewers.refresh()


def _original(sampler: Any) -> Original | str:
    """On the worker: what is to be made larger, or why there is nothing; that stops no run."""
    try:
        return original_of(sampler)
    except HDPainterError as error:
        return str(error)
