"""Making the studio's picture four times as large: `UpscalePanel`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets as w
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import HDPainterWarning, SettingsError
from hdpainter_nb.images import compositing, resize
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.upscale import geometry
from hdpainter_nb.utils.wording import said
from hdpainter_widgets.lens import Lens
from hdpainter_widgets.notebook import as_parts
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.decoding import DecodeEachStep
from hdpainter_widgets.runner.restarting import (
    BaseSharedTurnRunner,
    PendingSampler,
    shared_turn_runner,
)
from hdpainter_widgets.runner.state import RunState, Status
from hdpainter_widgets.studio.upscaling_form import UpscaleForm
from hdpainter_widgets.viewers.heatmap import HeatmapViewer
from hdpainter_widgets.viewers.timeline import Timeline

__all__ = ["UpscalePanel", "UpscaleSource", "original_of"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class UpscaleSource:
    """What is made larger, and what it is compared with."""

    low: Picture  # (h, w, 3): the filled picture, small
    image: Picture  # (H, W, 3): the original
    mask: NDArray[np.bool_]  # (H, W)
    prompt: str
    of: tuple[Any, int]  # trace and node that the small picture is from
    detailed: bool  # whether the original has more pixels than the small picture

    @property
    def about(self) -> str:
        """The sizes, and what becomes of the surroundings, as a sentence."""
        small, large = (f"{p.shape[1]} × {p.shape[0]}" for p in (self.low, self.image))
        if self.detailed:
            return f"{small} → {large} pixels; around the hole the original's detail stays."
        return (
            f"{small} → {large} pixels. The given picture has no more detail than that, so all "
            "of it is made larger, not only the hole."
        )

    def bicubic(self) -> Picture:
        """The small picture enlarged without a model, (H, W, 3), blended in all the same."""
        large = resize.resize(self.low, self.mask.shape)
        return compositing.poisson(self.image, large, self.mask) if self.detailed else large


def original_of(sampler: Any) -> UpscaleSource:
    """What of a sampler's picture, as it stands, is made larger. Call it on the model's thread.

    The original is the picture as it was given, at its own size. Where that is no larger than what
    the model worked at, there is no detail to keep, and all of the picture is filled.

    Raises:
        SettingsError: no step is made yet.
    """
    if not sampler.records:
        raise SettingsError("There is no picture to make larger yet: press ▶ first.")
    job = sampler.job
    low = sampler.image()
    detailed = max(job.image.shape) > max(low.shape)
    image, mask = job.image, job.mask
    if not detailed:
        low = sampler.image(paste="poisson")
        height, width = low.shape[:2]
        image = resize.resize(job.image, (geometry.FACTOR * height, geometry.FACTOR * width))
        mask = np.ones(image.shape[:2], np.bool_)
    of = (sampler.trace, sampler.node.id)
    return UpscaleSource(low, image, mask, job.prompt, of, detailed)


_LATE = {"poisson", "poisson_bounds", "decode"}  # settings that no step depends on
_KEPT = 4  # results that the lens shows beside the original and the bicubic one
_FIRST, _SECOND = "original", "bicubic"


class UpscalePanel:
    """The studio's upscaler: loaded when it is first used, on a worker of its own.

    That worker takes turns with the studio's, step by step.

    Args:
        host: the studio's runner.
        model: the studio's model, which decides what upscaler None stands for.
        upscaler: name, path or pipeline for `hdpainter_nb.load_upscaler`, what that gives, or None:
            ``mini`` beside the miniature, ``x4`` otherwise.
        on_change: called on the publisher's thread when a result has come or is out of date.

    Attributes:
        panel: all of it.
        options: the controls; what their button does is the studio's business.
        given, beside: the upscaler as it was given, and the name of the studio's model.
        runner, timeline, heatmaps, lens: None before the first use.
        picture: (H, W, 3), the newest result; None before the first.
    """

    def __init__(
        self, host: BaseRunner, model: Any, upscaler: Any, on_change: Callable[[], object]
    ) -> None:
        self._host, self._on_change = host, on_change
        self.given, self.beside = upscaler, str(getattr(model, "name", ""))
        self._model: Any = None
        self._source: UpscaleSource | None = None
        # What the run on display began with.
        self._begun: tuple[UpscaleSource, str, UpscaleSettings] | None = None
        self._results: dict[str, Picture] = {}
        self._resulted: tuple[Any, ...] | None = None
        self.runner: BaseSharedTurnRunner | None = None
        self.timeline: Any = None
        self.heatmaps: Any = None
        self.lens: Any = None
        self.picture: Picture | None = None
        self._stale = False
        self._remarks = ""  # of the library, on the job
        self._unsubscribe: Callable[[], None] | None = None
        self._links: list[Any] = []
        self.options = UpscaleForm(self._tell_renews)
        self.views = w.Tab(layout=w.Layout(min_width="0", margin="6px 0 0 0"))
        self.panel = w.VBox(list(self.options.rows))
        self.options.say("Fills in the detail that the picture has at four times its size.")

    # --- what may be asked and done --------------------------------------------------------------

    @property
    def upscaler(self) -> Any:
        """The `Upscaler` at work, or None."""
        sampler = self.runner.sampler if self.runner is not None else None
        return None if isinstance(sampler, PendingSampler) else sampler

    def open(self, image: Picture, mask: NDArray[np.bool_]) -> None:
        """Make the runner and the viewers, unless they are there."""
        if self.runner is not None:
            return
        steps = self.options.form.fields["steps"].value
        pending = PendingSampler(object(), image, mask, steps)
        runner = shared_turn_runner(pending, self._host)
        self._decoding = DecodeEachStep(runner)
        self.runner, runner.renew, runner.after_step = runner, self._renew, self._decoding
        with as_parts():
            self.timeline = Timeline(runner)
            self.heatmaps = HeatmapViewer(pending, runner=runner)
            self.lens = Lens({_FIRST: image}, mask=mask)
        self._links = [
            w.jslink((self.timeline, name), (self.heatmaps, name)) for name in ("step", "branch")
        ]
        self.views.children = (self.lens, self.heatmaps, self.options.form.panel)
        for number, title in enumerate(("Lens", "Step by step", "All settings")):
            self.views.set_title(number, title)
        self.panel.children = (*self.options.rows, self.timeline, self.views)
        self._unsubscribe = runner.on_state(self._on_state)

    def begin(self, source: UpscaleSource | str) -> None:
        """Make a picture larger, or say why there is none. On the host's publisher thread."""
        if isinstance(source, str):
            self.options.say(source, wrong=True)
            return
        assert self.runner is not None
        if self._source is None or self._source.of != source.of:
            self._source, self._results, self.picture = source, {}, None
            self._on_change()
        upscaler = self.upscaler
        ready = upscaler is not None and upscaler.done and self._resulted is not None
        try:
            same = self._begun == self._wanted(self._source)
        except SettingsError:
            same = False  # the runner will say so
        self.views.selected_index = 0 if ready and same else 1
        self.options.say(self._source.about)
        self.runner.run()

    def offer(self, painted: bool, of: tuple[Any, int]) -> None:
        """Say whether there is a picture to make larger, and which."""
        if self.options.start.disabled == painted:
            self.options.start.disabled = not painted
        source = self._source
        stale = source is not None and self.picture is not None and source.of != of
        if source is not None and stale != self._stale:
            changed = "The picture has changed since: Upscale ×4 takes the new one."
            self.options.say(changed if stale else source.about)
        self._stale = stale

    def current(self, of: tuple[Any, int]) -> bool:
        """Whether there is a finished result of this very picture."""
        upscaler, source = self.upscaler, self._source
        if upscaler is None or source is None or source.of != of:
            return False
        return bool(upscaler.done and self._resulted == _place(upscaler))

    @property
    def all(self) -> tuple[Any, ...]:
        """Everything that can be seen, and what links it, to be closed."""
        return (self.panel, self.views, *self.options.form.all, *self._links)

    def close(self) -> None:
        """End the threads."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self.runner is not None:
            self.runner.renew = self.runner.after_step = None
            self.runner.close()

    def _tell_renews(self) -> None:
        """Have the timeline know whether playing begins anew, as the options have changed."""
        if self.timeline is None or self._source is None or self._begun is None:
            return
        try:
            self.timeline.renews = self._begun != self._wanted(self._source)
        except SettingsError:
            self.timeline.renews = False

    # --- on the worker ---------------------------------------------------------------------------

    def _renew(self, sampler: Any) -> Any:
        """An upscaler for the picture that is wanted, or a branch where only settings differ."""
        source = self._source
        if source is None:
            raise SettingsError("There is no picture to make larger yet: press Upscale ×4.")
        wanted = self._wanted(source)
        if self._begun == wanted:
            return None
        _, prompt, settings = wanted
        old, self._begun = self._begun, wanted
        try:
            if old is not None and old[0] is source:
                return _branched(sampler, prompt, settings)
            return self._fresh(source, prompt, settings)
        except Exception:
            self._begun = old
            raise

    def _wanted(self, source: UpscaleSource) -> tuple[UpscaleSource, str, UpscaleSettings]:
        prompt, settings = self.options.read()
        return source, prompt or source.prompt, settings

    def _fresh(self, source: UpscaleSource, prompt: str, settings: UpscaleSettings) -> Any:
        from hdpainter_nb import UpscaleJob, Upscaler

        model = self._loaded(source.about)
        mask = source.mask if source.detailed else None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HDPainterWarning)
            job = UpscaleJob(source.low, source.image, mask, prompt, **settings.to_dict())
            upscaler = Upscaler(model, job)
        self._remarks = "".join(f" {one.message}" for one in caught)
        pictures = {_FIRST: source.image, _SECOND: source.bicubic()}
        assert self.runner is not None
        self._decoding.cost = 0.0
        self.runner.post("lens", partial(self._show, source, pictures))
        self.runner.post("note", partial(self.options.say, source.about + self._remarks))
        return upscaler

    def _loaded(self, about: str) -> Any:
        """The model, loaded at first use: that may take minutes, and none of the page's time."""
        if self._model is None:
            from hdpainter_nb import load_upscaler
            from hdpainter_nb.upscale.model import UpscaleModel

            given = self.given
            if given is None:
                given = "mini" if self.beside == "mini" else "x4"
            assert self.runner is not None
            if isinstance(given, str):
                says = f"{about} Loading the upscaler {given!r} …"
                self.runner.post("note", partial(self.options.say, says))
            self._model = given if isinstance(given, UpscaleModel) else load_upscaler(given)
        return self._model

    def _finish(self, upscaler: Any) -> Any:
        """The picture as it stands."""
        if isinstance(upscaler, PendingSampler) or not upscaler.records or self._begun is None:
            return None
        picture = upscaler.image(paste=True)
        return self._begun[0], picture, _label(upscaler), _place(upscaler)

    # --- on the publisher's thread ---------------------------------------------------------------

    def _show(self, source: UpscaleSource, pictures: dict[str, Picture]) -> None:
        mask = source.mask if source.detailed else None
        if source is self._source:
            self.lens.show(pictures, mask=mask)

    def _on_state(self, state: RunState) -> None:
        self._tell_renews()
        upscaler = self.upscaler
        if upscaler is None or state.status in (Status.RUNNING, Status.ERROR):
            if state.failure is not None:
                self.options.say("")  # the timeline says it
            return
        if upscaler.records and self._resulted != _place(upscaler):
            assert self.runner is not None
            self.runner.do(self._finish, self._on_result, key="result")

    def _on_result(self, result: Any) -> None:
        if result is None:
            return
        source: UpscaleSource
        source, picture, label, self._resulted = result
        if source is not self._source:
            return
        self.picture = picture
        self._results = {
            **{name: old for name, old in self._results.items() if ", step " not in name},
            label: picture,
        }
        newest = list(self._results.items())[-_KEPT:]
        first = {name: self.lens.pictures[name] for name in (_FIRST, _SECOND)}
        self._show(source, {**first, **dict(newest)})
        if self.upscaler is not None and self.upscaler.done:
            self.views.selected_index = 0
            self.options.say(f"Finished: {source.about}{self._remarks}")
        self.heatmaps.refresh()
        self._on_change()


def _place(upscaler: Any) -> tuple[Any, ...]:
    """What a result is of; a branch with other blending may begin at the last step of another."""
    return upscaler.trace, upscaler.node.id, upscaler.branch_id


def _branched(sampler: Any, prompt: str, settings: UpscaleSettings) -> Any:
    """The same picture with other settings: from the start, unless no step depends on them."""
    values = settings.to_dict()
    apart = sampler.settings.differences(settings)
    other = None if prompt == sampler.prompt else prompt
    if not apart and other is None:
        return None
    at = sampler if other is None and set(apart) <= _LATE else sampler.restart()
    return at.branch(prompt=other, **values)


def _label(upscaler: Any) -> str:
    """What the lens calls a result: by its settings, and by its step where it is not the last."""
    changed = upscaler.settings.changed()
    off = [name for name in ("blend", "soft", "poisson") if not changed.pop(name, True)]
    others = [said(name, value) for name, value in changed.items() if name != "steps"]
    says = ", ".join([*(said(name, False) for name in off), *others])
    step = "" if upscaler.done else f", step {upscaler.index} of {upscaler.total}"
    return f"×4{f' {says}' if says else ''}{step}"
