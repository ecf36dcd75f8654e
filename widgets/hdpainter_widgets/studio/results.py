"""How a studio shows its run."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.notebook import as_parts
from hdpainter_widgets.pictures import as_png
from hdpainter_widgets.runner.restarting import BaseRestartingRunner
from hdpainter_widgets.studio.upscaling_form import enlarge_button
from hdpainter_widgets.viewers.compare import Compare
from hdpainter_widgets.viewers.heatmap import HeatmapViewer
from hdpainter_widgets.viewers.histogram import GradientHistogram
from hdpainter_widgets.viewers.timeline import Timeline

__all__ = ["Result", "Viewers"]

_HERE = "this run's branches"


class Viewers:
    """Everything that shows the trace of the runner's sampler, looking at one step together.

    Attributes:
        timeline, heatmaps, histogram, compare: the viewers.
        beside: chooses what `compare` shows beside the run.
    """

    def __init__(self, runner: BaseRestartingRunner) -> None:
        self._runner = runner
        self._earlier: dict[str, tuple[Trace, int]] = {}
        sampler = runner.sampler
        self.timeline = Timeline(runner)
        self.heatmaps = HeatmapViewer(sampler, runner=runner)
        self.histogram = GradientHistogram(sampler, runner=runner)
        self.compare = Compare(sampler, runner=runner)
        self.beside = w.Dropdown(
            description="beside",
            options=[_HERE],
            value=_HERE,
            style={"description_width": "initial"},
            layout=w.Layout(width="auto", max_width="420px"),
        )
        self.beside.observe(self._choose, "value")
        self.comparison = w.VBox([self.beside, self.compare])
        # In the browser: whoever scrubs along the steps asks no kernel.
        self._links = [
            w.jslink((self.timeline, name), (viewer, name))
            for viewer in (self.heatmaps, self.histogram)
            for name in ("step", "branch")
        ]
        self._led = self._lead()

    @property
    def all(self) -> tuple[Any, ...]:
        """Every viewer, to be closed."""
        viewers = (self.timeline, self.heatmaps, self.histogram, self.compare)
        return (*viewers, *self._links, self._led)

    def refresh(self) -> None:
        """Send what is new, such as pictures decoded later."""
        for viewer in (self.timeline, self.heatmaps, self.histogram, self.compare):
            viewer.refresh()

    def offer(self, earlier: Sequence[Trace]) -> None:
        """Offer these runs for comparison: their last branches."""
        self._earlier = {}
        for number, trace in enumerate(earlier, 1):
            branch = trace.branches[max(trace.branches)]
            name = f"run {number}: {branch.prompt or '(no words)'}, seed {branch.settings.seed}"
            self._earlier[name] = (trace, branch.id)
        if list(self.beside.options) != [_HERE, *self._earlier]:
            value = self.beside.value
            self.beside.options = [_HERE, *self._earlier]
            self.beside.value = value

    def _lead(self) -> Any:
        """Branches differ in length, so the comparison follows the timeline and does not lead."""
        self.compare.step = self.timeline.step
        return w.jsdlink((self.timeline, "step"), (self.compare, "step"))

    def _choose(self, change: Any) -> None:
        sampler, old = self._runner.sampler, self.compare
        if change["new"] == _HERE:
            sides: tuple[Any, ...] = (sampler,)
        elif change["new"] in self._earlier:
            sides = (self._earlier[change["new"]], sampler)
        else:
            return
        with as_parts():
            self.compare = Compare(*sides, runner=self._runner)
        self._led.close()
        self._led = self._lead()
        self.comparison.children = (self.beside, self.compare)
        old.close()


class Result:
    """The picture before and after, with the original pasted back around the hole.

    Attributes:
        enlarge: a button that can be pressed while there is a picture.
    """

    def __init__(self) -> None:
        self.before, self.after = _picture(), _picture()
        self.caption = w.HTML("<span class='hdp-note'>Nothing is painted yet: press ▶.</span>")
        self.enlarge = enlarge_button()
        pair = w.HBox(
            [self.before, self.after], layout=w.Layout(flex_flow="row wrap", margin="4px 0 0 0")
        )
        spread = w.Layout(
            flex_flow="row wrap", align_items="center", justify_content="space-between"
        )
        top = w.HBox([self.caption, self.enlarge], layout=spread)
        self.panel = w.VBox([top, pair])
        self.picture: Any = None

    def show(self, before: Any, after: Any, caption: str) -> None:
        """Show a pair of pictures, (H, W, 3) uint8 each."""
        self.picture = after
        for image, picture in ((self.before, before), (self.after, after)):
            image.value = as_png(picture, quick=True)
            image.layout.display = None
        self.caption.value = f"<span class='hdp-note'>{html.escape(caption)}</span>"

    def clear(self) -> None:
        """Show that there is none yet."""
        self.picture = None
        for image in (self.before, self.after):
            image.layout.display = "none"
        self.caption.value = "<span class='hdp-note'>Nothing is painted yet.</span>"


def _picture() -> Any:
    layout = w.Layout(
        display="none", width="49%", max_width="512px", height="auto", object_fit="contain"
    )
    layout.margin = "0 1% 0 0"
    layout.min_width = "150px"
    return w.Image(format="png", layout=layout)
