"""The controls that a studio's job is made from."""

from __future__ import annotations

import html
import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import HDPainterError, HDPainterWarning, ImageError, MaskError
from hdpainter_nb.job import Job
from hdpainter_nb.settings import Preset, Settings
from hdpainter_nb.utils.wording import label
from hdpainter_widgets.messages import received
from hdpainter_widgets.notebook import OwnChanges
from hdpainter_widgets.painter import LARGEST_FILE, MaskPainter
from hdpainter_widgets.samples import not_understood, open_sample, sample_names
from hdpainter_widgets.studio.settings_form import SettingsForm

__all__ = ["Inputs", "changes", "forget_upload", "uploaded"]


def uploaded(value: Any) -> list[tuple[str, bytes]]:
    """The value of an `ipywidgets.FileUpload` as (name, content) pairs.

    ipywidgets 7 has a dict by name, ipywidgets 8 a tuple of dicts.

    Raises:
        ImageError: a content is not bytes, or more than `LARGEST_FILE`.
    """
    if isinstance(value, Mapping):
        named = [(str(name), file["content"]) for name, file in value.items()]
    else:
        named = [(str(file["name"]), file["content"]) for file in value]
    return [(name, received(content, LARGEST_FILE, ImageError)) for name, content in named]


def forget_upload(upload: Any) -> None:
    """Empty a `FileUpload`, so that the same file can be opened once more."""
    upload.set_trait("value", {} if isinstance(upload.value, Mapping) else ())
    if hasattr(upload, "_counter"):  # ipywidgets 7 counts the files itself
        upload._counter = 0


METHODS = {
    "PAIntA + RASG": (True, True),
    "PAIntA": (True, False),
    "RASG": (False, True),
    "baseline": (False, False),
}
"""The methods by name: whether PAIntA acts, and RASG."""
_GIVEN = "the given picture"
_SHORT = {"description_width": "initial"}


class Inputs:
    """All controls for a job, and the job itself.

    Args:
        model: its defaults are shown where the settings leave them to it.
        image, mask: as `MaskPainter` takes them; an image of None is a bundled one with a hole.
        prompt: what to paint.
        settings, preset: shown at first.
        on_change: called without arguments whenever the job may have changed.

    Attributes:
        job: as the controls have it; None if they make no possible one.
        problem: then what the library says about it.
        unknown: stands below the prompt, and says which words the miniature does not know.
        remarks: what the library remarked on a job that is possible.
        unpainted: whether all that is missing is a mask.
        busy: called with a text when something begins that takes a while; `on_change` ends it.
    """

    def __init__(
        self,
        model: Any,
        image: Any,
        mask: Any,
        prompt: str,
        settings: Settings,
        preset: Preset,
        on_change: Callable[[], object],
    ) -> None:
        self.job: Job | None = None
        self.problem: HDPainterError | None = None
        self.remarks: list[str] = []
        self.unpainted = False
        self.busy: Callable[[str], object] = lambda _text: None
        self._moving = OwnChanges()  # while the controls are moved from here
        self._on_change = on_change
        self._native = getattr(model, "native_size", None)
        self._narrow = getattr(model, "name", "") == "mini"  # whose world is small
        samples = sample_names()
        if image is None:
            image, hole = open_sample(samples[0])
            mask = hole if mask is None else mask
            offers, first = samples, samples[0]
        else:
            offers, first = [_GIVEN, *samples], _GIVEN
        self.painter = MaskPainter(image, mask, preset=preset, long_side=self._side(settings))
        self._given = (self.painter.image, self.painter.mask)
        with self._moving:
            self.form = SettingsForm(
                settings, preset=preset, own=_own(model), on_change=self._changed
            )
            self._arrange(offers, first, prompt)
        self._wire()
        self._changed()

    def show(self, job: Job) -> None:
        """Set the controls to a job's values."""
        with self._moving:
            self._put(job.image, job.mask)
            self.prompt.value = job.prompt
            self.form.write(job.settings)
        self._changed()

    @property
    def all(self) -> tuple[Any, ...]:
        """The containers of everything, to be closed."""
        return (self.bar, *self.form.all, self.painter)

    # --- controls --------------------------------------------------------------------------------

    def _arrange(self, offers: list[str], first: str, prompt: str) -> None:
        self.prompt = w.Text(
            value=prompt,
            description="prompt",
            placeholder="what to paint into the hole",
            continuous_update=False,
            layout=w.Layout(flex="3 1 260px", min_width="0"),
            style=_SHORT,
        )
        self.unknown = w.HTML(layout=w.Layout(display="none"))
        self.picture = w.Dropdown(
            description="picture", options=offers, value=first, layout=_wide("206px"), style=_SHORT
        )
        self.upload = w.FileUpload(
            description="Open…", accept="image/*", multiple=False, layout=_wide("92px")
        )
        self.upload.tooltip = "Open a picture of your own"
        self.method = w.Dropdown(
            description="method", options=list(METHODS), layout=_wide("184px"), style=_SHORT
        )
        self.dice = w.Button(icon="random", tooltip="Another seed", layout=_wide("38px"))
        take = self.form.take
        negative = take("negative_prompt", flex="2 1 200px", width="auto", min_width="0")
        negative.description = "without"
        guidance = take("guidance_scale", width="116px")
        guidance.description, guidance.placeholder = "guidance", guidance.placeholder[-4:].strip()
        steps = take("steps", width="98px")
        steps.tooltip = self.form.meaning("steps")
        row = w.Layout(flex_flow="row wrap", align_items="center")
        self.bar = w.VBox(
            [
                w.HBox([self.prompt, negative], layout=row),
                self.unknown,
                w.HBox(
                    [
                        self.picture,
                        self.upload,
                        self.method,
                        self.form.preset,
                        steps,
                        w.HBox([take("seed", width="112px"), self.dice]),
                        guidance,
                    ],
                    layout=row,
                ),
            ]
        )
        self.bar.add_class("hdp-inputs")

    def _wire(self) -> None:
        self.painter.observe(lambda _change: self._changed(), ["mask", "image"])
        self.prompt.observe(lambda _change: self._changed(), "value")
        self.picture.observe(lambda change: self._choose(change["new"]), "value")
        self.upload.observe(lambda _change: self._open(), "value")
        self.method.observe(self._method_chosen, "value")
        self.dice.on_click(self._roll)

    def _choose(self, name: str) -> None:
        if not self._moving:
            self._put(*(self._given if name == _GIVEN else open_sample(name)), keep=True)

    def _open(self) -> None:
        name = ""
        try:
            files = uploaded(self.upload.value)
            if not files:
                return
            forget_upload(self.upload)
            name, content = files[0]
            self.busy(f"Opening {name} …")
            self.painter.image = content
        except HDPainterError as error:
            self._refuse(error, f"{name}: " if name else "")

    def _put(self, image: Any, mask: NDArray[np.bool_], *, keep: bool = False) -> None:
        """Another picture; with `keep` a mask that fits it stays."""
        with self._moving:
            same = self.painter.mask.shape == mask.shape
            if self.painter.image is not image:
                self.painter.image = image
            if not (keep and same and self.painter.mask.any()):
                self.painter.mask = mask
        self._changed()

    def _method_chosen(self, change: Any) -> None:
        if self._moving:
            return
        painta, rasg = METHODS[change["new"]]
        with self._moving:
            self.form.fields["painta"].value = painta
            self.form.fields["rasg"].value = rasg
        self._changed()

    def _roll(self, _button: Any) -> None:
        self.form.fields["seed"].value = random.randrange(1, 100_000)

    # --- the job ---------------------------------------------------------------------------------

    def _changed(self) -> None:
        if self._moving:
            return
        from hdpainter_nb.method.ddim import explain_grid

        self._tell_unknown()
        try:
            settings = self.form.read()
            self._follow(settings)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", HDPainterWarning)
                mask, image = self.painter.mask, self.painter.image
                if not mask.any():
                    raise MaskError("Paint where something should appear: the mask is empty.")
                job = Job(image, mask, self.prompt.value, **settings.to_dict())
        except HDPainterError as error:
            self._refuse(error)
            return
        grid = explain_grid(settings.steps, settings.grid) if settings.scheduler == "ddim" else ""
        sizes = self._sizes(job)
        said = [str(one.message) for one in caught]
        self.remarks = said + [remark for remark in (sizes, grid) if remark]
        self.job, self.problem, self.unpainted = job, None, False
        self._on_change()

    def _tell_unknown(self) -> None:
        """Below the prompt: which of its words the model was never told."""
        if not self._narrow:
            return
        words = f"{self.prompt.value} {self.form.fields['negative_prompt'].value}"
        text = html.escape(not_understood(words))
        note = f"<span class='hdp-note' role='status'>⚠ {text}</span>" if text else ""
        if self.unknown.value != note:
            self.unknown.value = note
            self.unknown.layout.display = None if note else "none"

    def worked_size(self, job: Job) -> tuple[int, int]:
        """(height, width) in pixels of a job's picture as the model works at it."""
        from hdpainter_nb.models.conditioning import frame_of

        return frame_of(job, self._native or max(job.mask.shape)).crop[2:]

    def _sizes(self, job: Job) -> str:
        """How large a picture comes out that is larger than what the model works at."""
        (height, width), (h, w) = job.mask.shape, self.worked_size(job)
        if h * w >= height * width:
            return ""
        return (
            f"The model paints at {w} × {h} pixels; saved, that is enlarged and pasted into the "
            f"picture at its own {width} × {height}."
        )

    def _refuse(self, error: HDPainterError, prefix: str = "") -> None:
        self.job, self.problem = None, type(error)(f"{prefix}{error}")
        self.unpainted = isinstance(error, MaskError) and not self.painter.mask.any()
        self.remarks = []
        self._on_change()

    def _follow(self, settings: Settings) -> None:
        """Have the other controls agree with the form."""
        chosen = (settings.painta, settings.rasg)
        name = next(name for name, pair in METHODS.items() if pair == chosen)
        with self._moving:
            self.method.value = name
        self.painter.preset = self.form.preset.value
        self.painter.long_side = self._side(settings)

    def _side(self, settings: Settings) -> int | None:
        return settings.long_side or self._native


def changes(old: Job, new: Job) -> list[str]:
    """What differs between two jobs, in words: ``picture``, ``mask``, ``prompt``, settings."""
    names = []
    if old.image is not new.image and not np.array_equal(old.image, new.image):
        names.append("picture")
    if old.mask is not new.mask and not np.array_equal(old.mask, new.mask):
        names.append("mask")
    if old.prompt != new.prompt:
        names.append("prompt")
    return names + [label(name) for name in old.settings.differences(new.settings)]


def _own(model: Any) -> dict[str, str]:
    """What the model says where the settings leave it to the model."""
    names = ("guidance_scale", "negative_prompt", "positive_suffix")
    own = {name: str(getattr(model, name, "")) for name in names}
    return {**own, "long_side": str(getattr(model, "native_size", ""))}


def _wide(width: str) -> Any:
    return w.Layout(width=width, flex="0 0 auto")
