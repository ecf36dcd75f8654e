"""The run as a timeline with a debugger's buttons: `Timeline`."""

from __future__ import annotations

from functools import partial
from typing import Any

import traitlets as t

from hdpainter_nb import views
from hdpainter_nb.errors import SettingsError
from hdpainter_widgets.messages import FiniteFloat, whole_number
from hdpainter_widgets.notebook import built
from hdpainter_widgets.pictures import blank, picture_of
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.viewers.base import BranchWidget

__all__ = ["Timeline"]

_FAR = 100_000  # more steps than any run has


class Timeline(BranchWidget):
    """Step, play, run to a step, go back, and branch anywhere with other settings.

    >>> runner = runner_for(sampler)
    >>> timeline = Timeline(runner)
    >>> viewer = HeatmapViewer(sampler, runner=runner)
    >>> jslink((timeline, "step"), (viewer, "step"))

    `step` and `branch` are what is looked at; where the sampler stands is the runner's. A run that
    is finished is watched again by the play button: what is looked at moves, the sampler does not.

    Args:
        runner: works on a `hdpainter_nb.Sampler`; its trace is shown.
        speed: steps a second at which a run is watched again, 0.5 to 50.

    Raises:
        TypeError: no runner, or its sampler has no trace.
    """

    _esm = built("timeline.js")
    _css = built("timeline.css")
    maps = False
    pictures = False

    speed = FiniteFloat(5.0, min=0.5, max=50.0).tag(sync=True, echo_update=False)
    renews = t.Bool(False, help="whether playing begins a new run, as its inputs have changed")
    renews = renews.tag(sync=True)

    runner: BaseRunner

    def __init__(self, runner: BaseRunner, *, speed: float = 5.0) -> None:
        if not isinstance(runner, BaseRunner):
            raise TypeError(f"Timeline needs a runner, not {type(runner).__name__}.")
        super().__init__(runner.sampler, runner=runner, speed=speed)
        runner.speed = self.speed

    @t.observe("speed")
    def _speed_set(self, change: Any) -> None:
        if self.runner is not None:  # it is, once the widget is made
            self.runner.speed = change["new"]

    # --- from the page: only commands ------------------------------------------------------------

    def _asked(self, content: dict[str, Any]) -> None:
        if content.get("type") != "command":
            return
        runner, name = self.runner, content.get("name")
        if name == "step":
            runner.step(_number(content.get("n", 1), 1))
        elif name == "back":
            runner.back(_number(content.get("n", 1), 1))
        elif name == "play":
            runner.run()
        elif name in ("pause", "cancel", "restart"):
            getattr(runner, name)()
        elif name == "run_to":
            runner.run_to(_number(content.get("step"), -1) + 1)
        elif name == "goto":
            branch, step = _number(content.get("branch"), 0), _number(content.get("step"), -1)
            runner.change(lambda sampler: self._lines.stand(sampler, branch, step))
        elif name == "branch":
            node, on = _number(content.get("node"), 0), content.get("branch")
            changes = _changes(content.get("changes", {}))
            on = None if on is None else _number(on, 0)
            runner.change(partial(self._branched, node, on, changes))
        else:
            raise ValueError(f"There is no command {str(name)[:40]!r}.")

    def _branched(self, node: int, on: int | None, changes: dict[str, Any], sampler: Any) -> Any:
        """On the worker. Where it fails, the sampler stands where it stood."""
        index = sampler.index
        try:
            return self._lines.stand_at(sampler, node, on).branch(**changes)
        except Exception:
            sampler.goto(index)
            raise

    # --- for pages that run no widgets -----------------------------------------------------------

    def _drawn(self) -> Any:
        nodes = {id(node.record): node for node in self._path()}
        records = [node.record for node in nodes.values() if node.record is not None]
        if not records:
            return blank(self.trace)
        return views.filmstrip(
            records,
            count=6,
            picture=lambda record: picture_of(self.trace, nodes[id(record)]),
            crop=self.trace.crop,
        )


def _number(value: object, least: int) -> int:
    return whole_number("The command's number", value, least=least, most=_FAR)


def _changes(changes: object) -> dict[str, Any]:
    """Settings by name, as the page sends them; the sampler itself knows which there are.

    Raises:
        SettingsError: these are no settings at all.
    """
    if not isinstance(changes, dict) or not all(isinstance(name, str) for name in changes):
        raise SettingsError("The changes must be settings by name.")
    return changes
