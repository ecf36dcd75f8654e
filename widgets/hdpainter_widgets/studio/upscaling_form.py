"""The form of a studio's upscaler: a prompt, settings, a button."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from hdpainter_nb.settings import UpscaleSettings
from hdpainter_widgets.studio.settings_form import SettingsForm

__all__ = ["UpscaleForm", "enlarge_button"]

_ROW = {"flex_flow": "row wrap", "align_items": "center"}


class UpscaleForm:
    """A prompt, settings and a button; they move nothing by themselves.

    Args:
        on_change: called without arguments when the prompt or a setting has changed.

    Attributes:
        start: the button.
        form: those settings that have no place in the rows.
        rows: from top to bottom; the last one is what `say` writes into.
    """

    def __init__(self, on_change: Callable[[], object] = lambda: None) -> None:
        self.form = SettingsForm(UpscaleSettings(), on_change=on_change)
        self._prompt = w.Text(
            description="prompt ×4",
            placeholder="the run's",
            continuous_update=False,
            style={"description_width": "initial"},
            layout=w.Layout(flex="1 1 220px", min_width="0"),
        )
        self._prompt.observe(lambda _change: on_change(), "value")
        self.start = enlarge_button()
        self.start.button_style = "primary"
        self._note = w.HTML(layout=w.Layout(margin="2px 0"))
        self.rows = (
            w.HBox([self._prompt, self.start], layout=w.Layout(**_ROW)),
            w.HBox(self._settings(), layout=w.Layout(**_ROW)),
            self._note,
        )

    def read(self) -> tuple[str, UpscaleSettings]:
        """The prompt, empty where the run's own is wanted, and the settings.

        Raises:
            SettingsError: a value is not possible.
        """
        return self._prompt.value.strip(), self.form.read()

    def write(self, prompt: str | None, settings: dict[str, Any]) -> None:
        """Set controls; a prompt of None stays.

        Raises:
            SettingsError: unknown or impossible setting.
        """
        self.form.write(self.form.read().replace(**settings))
        if prompt is not None:
            self._prompt.value = prompt

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Say something below the controls."""
        kind, role = ("hdp-wrong", "alert") if wrong else ("hdp-note", "status")
        note = f"<div class='{kind}' role='{role}'>{html.escape(text)}</div>" if text else ""
        if self._note.value != note:
            self._note.value = note

    def _settings(self) -> list[Any]:
        take = self.form.take
        controls = [take("steps", width="98px"), take("noise_level", width="132px")]
        controls[1].description = "noise level"
        named = {"blend": "latent blend", "soft": "soft mask", "poisson": "Poisson"}
        for name, text in named.items():
            switch = take(name, width="auto", margin="0 0 0 12px")
            switch.description, switch.indent = text, False
            controls.append(switch)
        for control, name in zip(controls, ("steps", "noise_level", *named), strict=True):
            control.tooltip = self.form.meaning(name)
        return controls


def enlarge_button() -> Any:
    """Makes the picture four times as large; disabled until there is one."""
    return w.Button(
        description="Upscale ×4",
        tooltip="Make the picture four times as large (U)",
        icon="search-plus",
        disabled=True,
        layout=w.Layout(width="128px", flex="0 0 auto"),
    )
