"""How a studio is laid out on the page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

__all__ = ["Page"]

# Colours are JupyterLab's, then VS Code's, then our own, as in the bundles' own style sheets.
_STYLE = """<style>
.hdp-studio { max-width: 1400px; overflow: hidden;
  --hdp-alarm: var(--jp-error-color1, var(--vscode-errorForeground, #c62828));
  --hdp-faint: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, #5d626b));
  --hdp-brand: var(--jp-brand-color1, var(--vscode-focusBorder, #1668c7));
  --hdp-line: var(--jp-border-color2, var(--vscode-widget-border, #d9dbdf)); }
.hdp-studio .hdp-note { display: inline-block; color: var(--hdp-faint); font-size: 12px;
  line-height: 1.4; overflow-wrap: anywhere; }
.hdp-studio .hdp-note code { color: inherit; background: none; font-size: 11.5px; padding: 0; }
.hdp-studio .hdp-note a { color: var(--hdp-brand); text-decoration: underline; }
.hdp-studio .hdp-stale { border-left: 3px solid var(--hdp-brand); padding: 2px 8px; }
.hdp-studio .hdp-wrong { border-left: 3px solid var(--hdp-alarm); padding: 2px 8px;
  color: var(--hdp-alarm); font-size: 12px; line-height: 1.4; overflow-wrap: anywhere; }
.hdp-studio .hdp-stale { line-height: 1.4; }
.hdp-studio .hdp-busy::before { content: ""; display: inline-block; width: 9px; height: 9px;
  margin: 0 7px -1px 2px; border: 2px solid var(--hdp-brand); border-right-color: transparent;
  border-radius: 50%; animation: hdp-turn 1s linear infinite; }
@keyframes hdp-turn { to { transform: rotate(360deg); } }
.hdp-studio .hdp-form { max-height: 520px; overflow-x: hidden; overflow-y: auto;
  border-top: 1px solid var(--hdp-line); padding-top: 4px; }
.hdp-studio .hdp-form > .hdp-other { box-shadow: inset 3px 0 var(--hdp-brand); }
.hdp-studio .hdp-form .widget-label, .hdp-studio .hdp-form input, .hdp-studio .hdp-form select {
  font-size: 12px; }
.hdp-studio .widget-checkbox label { display: inline-flex; align-items: center; gap: 5px; }
.hdp-studio .widget-checkbox input { margin: 0; }
.hdp-studio .widget-html-content { white-space: normal; }
.hdp-studio .widget-tab > .widget-tab-contents,
.hdp-studio .jupyter-widget-tab > .jupyter-widget-TabPanel-tabContents { padding: 8px; }
.hdp-studio .widget-image { border-radius: 3px; }
</style>"""

_FIRST = "<span class='hdp-note'>Paint where something should appear, say what, and press ▶.</span>"


class Page:
    """The containers. It moves nothing by itself.

    Args:
        inputs: stands above all else.
        timeline: below what is said about the inputs and the run.
        painter: below that on the left.
        tabs: beside it, by title.
        foot: below all else.

    Attributes:
        children: from top to bottom.
        renew, undo: buttons that stand beside what is said about changed inputs.
    """

    def __init__(
        self, *, inputs: Any, timeline: Any, painter: Any, tabs: Mapping[str, Any], foot: Any
    ) -> None:
        self.saying = w.HTML(layout=w.Layout(flex="1 1 200px", min_width="0"))
        self.alert = w.HTML(layout=w.Layout(display="none"))
        self.remarks = w.HTML(layout=w.Layout(display="none"))
        self.renew = w.Button(
            icon="play", description="New run", button_style="primary", layout=_button("104px")
        )
        self.undo = w.Button(
            icon="undo",
            description="Undo changes",
            tooltip="Back to what the run on display began with",
            layout=_button("136px"),
        )
        self._titles = tuple(tabs)
        self.tabs = w.Tab(
            children=list(tabs.values()), layout=w.Layout(flex="6 1 420px", min_width="0")
        )
        for number, title in enumerate(self._titles):
            self.tabs.set_title(number, title)
        left = w.Box([painter], layout=w.Layout(flex="4 1 340px", min_width="0"))
        columns = w.HBox(
            [left, self.tabs],
            layout=w.Layout(
                flex_flow="row wrap", align_items="flex-start", grid_gap="8px", margin="6px 0 0 0"
            ),
        )
        saying = w.HBox(
            [self.saying, self.undo, self.renew],
            layout=w.Layout(flex_flow="row wrap", align_items="center", min_height="34px"),
        )
        style = w.HTML(_STYLE, layout=w.Layout(display="none"))
        above = (style, inputs, saying, self.alert, self.remarks)
        self.children = (*above, timeline, columns, *foot)
        self._hide(self.undo, True)

    def turn_to(self, tab: str) -> None:
        """Bring a tab to the front."""
        self.tabs.selected_index = self._titles.index(tab)

    def tell_inputs(
        self,
        changed: Sequence[str],
        problem: str | None,
        remarks: Sequence[str],
        *,
        begun: bool,
        unpainted: bool = False,
        branch: str = "",
    ) -> None:
        """Say what the inputs are like: impossible, changed, or those of the run on display.

        Args:
            changed: what is other than when the run on display began.
            problem: why they are impossible; None where they are not.
            remarks: what there is to say of possible ones.
            begun: whether there is a run on display.
            unpainted: whether all that is wrong is that the mask is empty.
            branch: what its branch on display does otherwise than these inputs, in words.
        """
        if problem is not None:
            # That the mask is empty is no mistake yet: the page was opened, or a photograph.
            text = f"<div class='hdp-wrong' role='alert'>{_lines(problem)}</div>"
            text = _FIRST if unpainted else text
        elif changed:
            what = html.escape(", ".join(changed))
            text = (
                f"<div class='hdp-stale' role='status'><b>Changed:</b> {what}. "
                "Press ▶ to start a new run.</div>"
            )
        elif begun and branch:
            text = (
                "<span class='hdp-note'>The run on display began with these inputs; "
                f"its branch differs: {html.escape(branch)}.</span>"
            )
        elif begun:
            text = "<span class='hdp-note'>The run on display is that of these inputs.</span>"
        else:
            text = _FIRST
        if problem is None:
            text += "".join(f"<br><span class='hdp-note'>{_lines(one)}</span>" for one in remarks)
        _put(self.saying, text)
        self._hide(self.renew, problem is not None or not changed)
        self._hide(self.undo, not begun or (problem is None and not changed))

    def tell_busy(self, text: str) -> None:
        """Say what is being done, until something else is said of the inputs."""
        note = f"<span class='hdp-note hdp-busy' role='status'>{html.escape(text)}</span>"
        _put(self.saying, note)

    def tell_failure(self, message: str) -> None:
        """Show what stopped the run; nothing when empty."""
        text = f"<div class='hdp-wrong' role='alert'>{_lines(message)}</div>" if message else ""
        _put(self.alert, text)
        self._hide(self.alert, not text)

    def remark(self, remarks: Sequence[str]) -> None:
        """Show what the library remarked when the run began."""
        text = "<br>".join(f"<span class='hdp-note'>{_lines(one)}</span>" for one in remarks)
        _put(self.remarks, text)
        self._hide(self.remarks, not text)

    @staticmethod
    def _hide(widget: Any, hidden: bool) -> None:
        display = "none" if hidden else None
        if widget.layout.display != display:
            widget.layout.display = display


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _put(widget: Any, text: str) -> None:
    if widget.value != text:
        widget.value = text


def _button(width: str) -> Any:
    return w.Layout(width=width, flex="0 0 auto")
