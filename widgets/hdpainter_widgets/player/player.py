"""A sampler as a player, whose display changes with every step.

Made of stock ipywidgets, so it shows wherever they do (JupyterLab, Notebook, VS Code, Colab).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hdpainter_nb import views
from hdpainter_nb.select import as_spelt
from hdpainter_widgets import pictures
from hdpainter_widgets.composite import CompositeWidget
from hdpainter_widgets.notebook import OwnChanges, close_all
from hdpainter_widgets.player import frames
from hdpainter_widgets.player.controls import Controls
from hdpainter_widgets.player.frames import Looks
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.decoding import DecodeEachStep
from hdpainter_widgets.runner.runner import runner_for
from hdpainter_widgets.runner.state import RunState, Status
from hdpainter_widgets.viewers import sources

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Player"]

_KEEP = 64  # decoded pictures kept in memory


class Player(CompositeWidget):
    """Buttons, a step slider, the picture, the words' heatmaps and one further view.

    >>> player = Player(sampler)
    >>> player  # shows itself

    Args:
        sampler: a `hdpainter_nb.Sampler`.
        words: the words whose heatmaps are shown at first; None takes the prompt's telling ones.
        level: attention resolution at first, 8, 16 or 32.
        decode: show pictures through the VAE while it runs, if that is quick enough not to hold
            it up, and always when it pauses. Otherwise the eighth-size previews.
        runner: what carries out the steps; None makes one, which `close` then ends.

    Raises:
        ValueError: one of `words` is not in the prompt.

    Handlers of buttons and sliders only put commands in the runner's queue; drawing happens on its
    publisher's thread.
    """

    def __init__(
        self,
        sampler: Any,
        words: Sequence[str] | None = None,
        *,
        level: int = 16,
        decode: bool = True,
        runner: BaseRunner | None = None,
    ) -> None:
        wanted = sources.check_words(sampler, words or ())
        self.runner = runner_for(sampler) if runner is None else runner
        self._own_runner = runner is None
        self.decoding = DecodeEachStep(self.runner, self._remember)
        self._looks = Looks(level=level)
        self._wanted = wanted
        self._shown: Any = None  # the record on display
        self._following = True  # whether the display moves on with new records
        self._moving = OwnChanges()  # while the controls are moved from here
        self._decoded: dict[int, tuple[Any, Any]] = {}  # id(record) -> (record, picture)
        self.controls = Controls(level=level, decode=decode)
        super().__init__(children=self.controls.rows)
        self._wire()
        self._adopt(sampler)
        self.runner.after_step = self._after_step
        self._unsubscribe = [
            self.runner.on_record(self._on_record),
            self.runner.on_state(self._on_state),
            self.runner.on_error(self.controls.show_failure),
        ]
        self._show(sampler.records[-1] if sampler.records else None)
        self._on_state(self.runner.state)

    # --- what a cell may call: as the buttons do -------------------------------------------------

    @property
    def sampler(self) -> Any:
        """The sampler at work; another one after a branch."""
        return self.runner.sampler

    def step(self, n: int = 1) -> None:
        """Take `n` steps."""
        self.runner.step(n)

    def play(self) -> None:
        """Take steps until the end or `pause`; a run that is at its end is watched again."""
        if self.runner.state.done:
            self.runner.restart()
        self.runner.run()

    def pause(self) -> None:
        """Stop after the step under way."""
        self.runner.pause()

    def back(self, n: int = 1) -> None:
        """Undo `n` steps."""
        self.runner.back(n)

    def restart(self) -> None:
        """Go back before the first step."""
        self.runner.restart()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was asked for is done and drawn; raises what stopped the run.

        A cell that uses the sampler itself after a player had it should wait first.
        """
        return self.runner.wait(timeout)

    def print(self, *values: Any) -> None:
        """Write a line below the player; safe from any thread, which ``with Output()`` is not."""
        self.controls.messages.append_stdout(" ".join(map(str, values)) + "\n")

    def close(self) -> None:
        """Take the player off the page and end its threads."""
        for unsubscribe in self.__dict__.pop("_unsubscribe", ()):
            unsubscribe()
        runner = self.__dict__.get("runner")
        if runner is not None:
            if runner.after_step == self._after_step:
                runner.after_step = None
            if self._own_runner:
                runner.close()
        close_all(getattr(self.__dict__.get("controls"), "rows", ()))
        super().close()

    def snapshot(self) -> Image:
        """What is on display as one picture, for pages that run no widgets."""
        record, picture = self._shown, self._picture(self._shown)
        if record is None:
            return views.grid([picture], ["before the first step"], tile=208, title=self._prompt)
        label = f"after {record.number} of {self.runner.state.total} steps"
        left = views.grid([picture], [label], tile=208, title=self._prompt)
        maps = frames.tiles(record, picture, self._looks)
        return left if maps is None else frames.beside(left, maps)

    def _still(self) -> bytes:
        return pictures.encoded(self.snapshot())

    # --- from the page: only commands ------------------------------------------------------------

    def _wire(self) -> None:
        controls = self.controls
        for button, command in (
            (controls.step, self.step),
            (controls.play, self.play),
            (controls.pause, self.pause),
            (controls.cancel, self.runner.cancel),
            (controls.back, self.back),
            (controls.restart, self.restart),
        ):
            button.on_click(lambda _button, command=command: command())
        for widget in (controls.level, controls.alpha, controls.shared, controls.detail):
            widget.observe(self._on_looks, "value")
        controls.decode.observe(self._on_looks, "value")
        controls.slider.observe(self._on_slider, "value")
        controls.speed.observe(self._on_speed, "value")
        for toggle, name in ((controls.painta, "painta"), (controls.rasg, "rasg")):
            toggle.observe(partial(self._on_method, name), "value")

    def _on_slider(self, change: Any) -> None:
        if self._moving:
            return
        number = change["new"]
        self._following = number >= self.controls.slider.max
        records = self.runner.records
        if number <= len(records):
            self.runner.post("show", partial(self._show, records[number - 1]))

    def _on_speed(self, change: Any) -> None:
        self.runner.speed = change["new"]

    def _on_looks(self, change: Any) -> None:
        if not self._moving:
            self._read_looks()
            self.runner.post("looks", self._redraw)

    def _on_method(self, name: str, change: Any) -> None:
        if not self._moving:
            self.runner.branch(**{name: change["new"]})

    def _read_looks(self) -> None:
        controls, looks = self.controls, self._looks
        looks.words = tuple(chip.description for chip in controls.words.children if chip.value)
        looks.level = controls.level.value
        looks.alpha = controls.alpha.value
        looks.shared = controls.shared.value
        looks.detail = controls.detail.value

    # --- from the runner: on the publisher's thread ----------------------------------------------

    def _after_step(self, sampler: Any, record: Any) -> None:
        """On the worker: decode at once where that is cheap, and the last step always."""
        if self.controls.decode.value and (self.decoding.cheap() or sampler.done):
            self.decoding.decode(sampler, record)

    def _remember(self, _sampler: Any, record: Any, picture: Any) -> None:
        """On the worker: keep what was decoded."""
        self._decoded[id(record)] = (record, picture)
        for key in list(self._decoded)[:-_KEEP]:
            self._decoded.pop(key, None)

    def _on_record(self, record: Any) -> None:
        self._fit_slider()
        if self._following or self._shown is None:
            self._show(record)

    def _on_state(self, state: RunState) -> None:
        sampler = self.runner.sampler
        if sampler is not self._sampler:
            self._adopt(sampler)
        with self._moving:
            self.controls.show_state(state)
        records = self.runner.records
        if self._shown is not None and not any(r is self._shown for r in records):
            self._following = True  # what was on display has been undone
            self._fit_slider()
            self._show(records[-1] if records else None)
        elif state.status is not Status.RUNNING and self._shown is not None:
            self._want_decoded(self._shown)

    def _adopt(self, sampler: Any) -> None:
        """Take over what belongs to a sampler: its words, mask and method."""
        self._sampler = sampler
        job, cond = sampler.job, getattr(sampler, "cond", None)
        self._prompt = job.prompt
        names = sources.words_of(sampler)
        self._looks.mask, self._looks.crop = job.mask, getattr(cond, "crop", None)
        with self._moving:
            self._fill(names, job)

    def _fill(self, words: list[str], job: Any) -> None:
        if words:
            still = [word for word in self._looks.words if word in words]
            wanted = [as_spelt(word, words) or word for word in self._wanted]
            chosen = still or wanted or sources.telling(words)
            self.controls.offer(words, chosen, self._on_looks)
        self.controls.offer_methods(painta=_switch(job, "painta"), rasg=_switch(job, "rasg"))
        self._read_looks()

    def _fit_slider(self) -> None:
        with self._moving:
            self.controls.fit_slider(len(self.runner.records), follow=self._following)

    # --- drawing ---------------------------------------------------------------------------------

    def _show(self, record: Any) -> None:
        self._shown = record
        if record is not None and not self.controls.words.children:
            self._adopt(self._sampler)  # the words were not known before the first record
        self._redraw()
        if record is not None and self.runner.state.status is not Status.RUNNING:
            self._want_decoded(record)

    def _want_decoded(self, record: Any) -> None:
        if self.controls.decode.value and id(record) not in self._decoded:
            self.runner.do(
                lambda sampler: self.decoding.decode(sampler, record),
                lambda _: self._redraw() if record is self._shown else None,
                key="decode",
            )

    def _picture(self, record: Any) -> Any:
        job = self._sampler.job
        if record is None:
            return pictures.placeholder(job.image, job.mask)
        if self.controls.decode.value and id(record) in self._decoded:
            return self._decoded[id(record)][1]
        return pictures.preview(record, self._looks.crop)

    def _redraw(self) -> None:
        record, controls = self._shown, self.controls
        picture = self._picture(record)
        controls.picture.value = pictures.encoded(picture)
        if record is None:
            controls.show_maps(b"", "Press ▶ to play, or ▶▮ for one step.")
            return
        maps = frames.tiles(record, picture, self._looks)
        why = "" if maps is not None else "Choose a word, and a level that was captured."
        controls.show_maps(b"" if maps is None else pictures.encoded(maps), why)
        records = [r for r in self.runner.records if r.index <= record.index] or [record]
        controls.show_detail(frames.detail(record, records, picture, self._looks))


def _switch(job: Any, name: str) -> bool | None:
    """Whether a method is on in a job's settings; None where they do not know it."""
    value: bool | None = getattr(job.settings, name, None)
    return value
