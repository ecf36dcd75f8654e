"""What a studio shows: the run's viewers, its result, and the files made of it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from hdpainter_nb.trace import Trace

from .compare import Compare
from .heatmap import HeatmapViewer
from .histogram import GradientHistogram
from .runs import Renewing
from .saving import SUFFIXES, stem_of
from .stills import as_png
from .timeline import Timeline

__all__ = ["Files", "Result", "Viewers", "enlarge_button"]

_HERE = "this run's branches"


class Viewers:
    """Everything that shows the trace of the runner's sampler, looking at one step together.

    Attributes:
        timeline, heatmaps, histogram, compare: the viewers.
        beside: chooses what `compare` shows beside the run.
    """

    def __init__(self, runner: Renewing) -> None:
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
            self.compare = Compare(sampler, runner=self._runner)
        elif change["new"] in self._earlier:
            earlier = self._earlier[change["new"]]
            self.compare = Compare(earlier, sampler, runner=self._runner)
        else:
            return
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
        top = w.HBox([self.caption, self.enlarge])
        top.layout = w.Layout(
            flex_flow="row wrap", align_items="center", justify_content="space-between"
        )
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


class Files:
    """A name, a button for each kind of file, and what came of it.

    Args:
        save: called as ``save(stem, suffix)``.

    Attributes:
        which: whether the run is saved (``run``), or what was made four times as large (``x4``);
            on display once there is a choice.
    """

    def __init__(self, save: Callable[[str, str], object]) -> None:
        self.name = w.Text(
            description="save as",
            style={"description_width": "initial"},
            layout=w.Layout(width="240px"),
        )
        kinds = {
            ".png": ("Save PNG", "The picture, the original pasted back around the hole"),
            ".hdp": ("Save trace", "Everything seen in every step: Trace.load opens it"),
            ".html": ("Save page (HTML)", "The run as one page that needs no kernel, to send"),
        }
        self.buttons = {}
        for suffix in SUFFIXES:
            text, tooltip = kinds[suffix]
            button = w.Button(
                description=text, tooltip=tooltip, icon="download", layout=w.Layout(width="auto")
            )
            button.on_click(lambda _button, suffix=suffix: save(self.stem, suffix))
            self.buttons[suffix] = button
        self.told = w.HTML()
        self.which = w.Dropdown(
            description="of",
            options=[("the run", "run"), ("the ×4 picture", "x4")],
            value="run",
            style={"description_width": "initial"},
            layout=w.Layout(width="166px", display="none"),
        )
        row = w.HBox(
            [self.name, self.which, *self.buttons.values(), self.told],
            layout=w.Layout(flex_flow="row wrap", align_items="center"),
        )
        self.panel = row
        self._prompt = ""

    @property
    def stem(self) -> str:
        """The name to save under, without suffix; no folders."""
        name = self.name.value.strip().replace("/", "-").replace("\\", "-").strip(".")
        return name or stem_of(self._prompt)

    def offer_large(self, there: bool) -> None:
        """Offer the large picture, and take it to be what is wanted; or offer it no more."""
        if there != (self.which.layout.display is None):
            self.which.layout.display = None if there else "none"
            self.which.value = "x4" if there else "run"

    def suggest(self, prompt: str) -> None:
        """Name it after the prompt, unless a person has named it."""
        if self.name.value.strip() in ("", stem_of(self._prompt)):
            self.name.value = stem_of(prompt)
        self._prompt = prompt

    def tell(self, text: str) -> None:
        """Show html below the buttons."""
        self.told.value = f"<span class='hdp-note'>{text}</span>" if text else ""


def enlarge_button() -> Any:
    """Makes the picture four times as large; disabled until there is one."""
    return w.Button(
        description="Upscale ×4",
        tooltip="Make the picture four times as large (U)",
        icon="search-plus",
        disabled=True,
        layout=w.Layout(width="128px", flex="0 0 auto"),
    )


def _picture() -> Any:
    layout = w.Layout(
        display="none", width="49%", max_width="512px", height="auto", object_fit="contain"
    )
    layout.margin = "0 1% 0 0"
    layout.min_width = "150px"
    return w.Image(format="png", layout=layout)
