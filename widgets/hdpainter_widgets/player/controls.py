"""The player's stock widgets, as they show a runner's state."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from hdpainter_widgets.notebook import close_all
from hdpainter_widgets.player.frames import DETAILS
from hdpainter_widgets.runner.state import Failure, RunState, Status

__all__ = ["Controls", "status_line"]


class Controls:
    """All of the player's widgets. It moves nothing by itself."""

    def __init__(self, *, level: int, decode: bool) -> None:
        self._make_commands()
        self._make_choices(level, decode)
        self._make_displays()
        gap = "6px 0 0 0"
        words = _row(w.HTML("words"), self.words, self.level, self.alpha, self.shared, margin=gap)
        shrinks = w.Layout(align_items="flex-start", min_width="0", margin="0 0 0 8px")
        maps = w.VBox([self.maps, self.maps_note], layout=shrinks)
        # A column stretches what is in it, which would blow a small picture up.
        unstretched = w.Layout(align_items="flex-start", margin=gap)
        self.rows = (
            _row(
                self.back,
                self.play,
                self.pause,
                self.step,
                self.cancel,
                self.restart,
                self.speed,
                w.HTML("<span style='padding:0 6px'></span>"),
                self.painta,
                self.rasg,
            ),
            _row(self.progress, self.status),
            self.failure,
            _row(self.slider, self.decode),
            words,
            w.HBox([self.picture, maps], layout=w.Layout(align_items="flex-start", margin=gap)),
            w.VBox([self.detail, self.detail_picture, self.detail_note], layout=unstretched),
            self.messages,
        )

    def _make_commands(self) -> None:
        """What moves the run."""
        self.back = _button("step-backward", "Undo one step")
        self.play = _button("play", "Play to the end", "primary")
        self.pause = _button("pause", "Pause after the step under way")
        self.step = _button("step-forward", "Take one step")
        self.cancel = _button("stop", "Stop now: give up the step under way")
        self.restart = _button("undo", "Start over")
        self.speed = w.Dropdown(
            options=[(f"{n}/s", n) for n in (1, 2, 5, 10, 20)],
            value=5,
            tooltip="Steps a second when steps that are made already are watched again",
            layout=w.Layout(width="72px"),
        )
        self.painta = _toggle("PAIntA", "On or off from here on: the run goes on as a new branch")
        self.rasg = _toggle("RASG", "On or off from here on: the run goes on as a new branch")

    def _make_choices(self, level: int, decode: bool) -> None:
        """What is looked at, and how."""
        self.slider = w.IntSlider(
            description="look at step",
            min=1,
            max=1,
            continuous_update=True,
            disabled=True,
            style={"description_width": "initial"},
            layout=w.Layout(width="420px"),
        )
        self.decode = w.Checkbox(
            value=decode, description="decoded picture", indent=False, layout=_narrow("150px")
        )
        self.words = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self.level = _choice("", [("H/8", 8), ("H/16", 16), ("H/32", 32)], level, "72px")
        self.alpha = w.FloatSlider(
            description="opacity",
            value=0.55,
            min=0,
            max=1,
            step=0.05,
            readout=False,
            style={"description_width": "initial"},
            layout=w.Layout(width="160px"),
        )
        self.shared = w.Checkbox(
            value=False, description="one scale", indent=False, layout=_narrow("110px")
        )
        self.detail = _choice("", DETAILS, "c", "104px")

    def _make_displays(self) -> None:
        """What is shown."""
        self.progress = w.IntProgress(min=0, max=1, layout=w.Layout(width="160px"))
        self.status = w.HTML()
        self.picture = w.Image(format="jpeg", layout=w.Layout(width="288px", height="auto"))
        self.maps = w.Image(format="jpeg", layout=w.Layout(max_width="100%", height="auto"))
        self.maps_note = w.HTML()
        self.detail_picture = w.Image(layout=w.Layout(max_width="100%", height="auto"))
        self.detail_note = w.HTML()
        self.failure = w.HTML()
        self.messages = w.Output()

    def show_state(self, state: RunState) -> None:
        """Show what the runner is doing."""
        running = state.status is Status.RUNNING
        self.progress.max = max(1, state.total)
        self.progress.value = state.index
        self.progress.bar_style = "danger" if state.status is Status.ERROR else ""
        self.status.value = f"<span style='margin-left:8px'>{status_line(state)}</span>"
        self.play.disabled = running
        self.play.tooltip = "Watch it again" if state.done else "Play to the end"
        self.step.disabled = running or state.done
        self.pause.disabled = self.cancel.disabled = not running
        self.back.disabled = self.restart.disabled = state.index == 0
        if state.failure is None and self.failure.value:
            self.failure.value = ""

    def show_failure(self, failure: Failure) -> None:
        """Show what went wrong and what to do."""
        text = html.escape(failure.message).replace("\n", "<br>")
        self.failure.value = (
            "<div role='alert' style='border-left:4px solid #c5221f; padding:6px 10px; "
            f"background:#fce8e6; color:#202124; line-height:1.4'>{text}</div>"
        )

    def fit_slider(self, count: int, *, follow: bool) -> None:
        """Let the slider reach `count` records, the first being 1; at the last if it follows."""
        last = max(1, count)
        self.slider.disabled = count < 2
        if last < self.slider.max:
            self.slider.value = min(self.slider.value, last)
        self.slider.max = last
        if follow:
            self.slider.value = last

    def offer(
        self, words: Sequence[str], chosen: Sequence[str], on_change: Callable[[Any], object]
    ) -> None:
        """One chip per word."""
        if [chip.description for chip in self.words.children] == list(words):
            return
        old = self.words.children
        chips = []
        for word in words:
            chip = _toggle(word, f"Heatmap of {word!r}", word in chosen)
            chip.observe(on_change, "value")
            chips.append(chip)
        self.words.children = tuple(chips)
        close_all(old)

    def offer_methods(self, *, painta: bool | None, rasg: bool | None) -> None:
        """The methods as a run has them; None hides one that its settings do not know."""
        for toggle, value in ((self.painta, painta), (self.rasg, rasg)):
            toggle.layout.display = "none" if value is None else None
            toggle.value = bool(value)

    def show_maps(self, picture: bytes, note: str = "") -> None:
        """The heatmaps, or a note in their place."""
        _put(self.maps, picture)
        self.maps_note.value = f"<i>{html.escape(note)}</i>" if note else ""

    def show_detail(self, drawn: bytes | str) -> None:
        """The detail, or a note in its place."""
        _put(self.detail_picture, drawn if isinstance(drawn, bytes) else b"")
        note = drawn if isinstance(drawn, str) else ""
        self.detail_note.value = f"<i>{html.escape(note)}</i>" if note else ""


def status_line(state: RunState) -> str:
    """``7 of 20 steps · paused · 310 ms a step · 4 s left``."""
    parts = [f"{state.index} of {state.total} steps"]
    if state.done:
        parts.append("finished")
    elif state.status is not Status.IDLE:
        parts.append(str(state.status.value))
    if state.seconds_per_step is not None:
        parts.append(f"{_time(state.seconds_per_step)} a step")
        if state.seconds_left:
            parts.append(f"{_time(state.seconds_left)} left")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def _put(image: Any, data: bytes) -> None:
    """Bytes into an image that hides while it has none: an empty one shows as broken."""
    if data:
        image.value = data
    display = None if data else "none"
    if image.layout.display != display:
        image.layout.display = display


def _button(icon: str, tooltip: str, style: str = "") -> Any:
    return w.Button(icon=icon, tooltip=tooltip, button_style=style, layout=w.Layout(width="44px"))


def _toggle(text: str, tooltip: str, value: bool = False) -> Any:
    return w.ToggleButton(
        value=value, description=text, tooltip=tooltip, layout=w.Layout(width="auto")
    )


def _choice(text: str, options: Sequence[Any], value: Any, width: str) -> Any:
    return w.ToggleButtons(
        description=text, options=list(options), value=value, style={"button_width": width}
    )


def _row(*widgets: Any, margin: str | None = None) -> Any:
    layout = w.Layout(align_items="center", flex_flow="row wrap", margin=margin)
    return w.HBox(list(widgets), layout=layout)


def _narrow(width: str) -> Any:
    return w.Layout(width=width)
