"""What all viewers of a trace share: `TraceWidget`; of one of its branches: `BranchWidget`."""

from __future__ import annotations

from typing import Any, ClassVar

import anywidget
import traitlets as t

from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Node
from hdpainter_widgets.messages import guarded
from hdpainter_widgets.notebook import NotebookWidget, OwnChanges
from hdpainter_widgets.pictures import as_png, blank
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.runner.state import RunState
from hdpainter_widgets.viewers.branches import BranchSamplers
from hdpainter_widgets.viewers.sources import branch_of, first_branch, trace_of
from hdpainter_widgets.viewers.stream import PacedSender, TraceStream

__all__ = ["BranchWidget", "TraceWidget"]


class TraceWidget(NotebookWidget, anywidget.AnyWidget):
    """Shows traces in the browser, which get there step by step as they grow.

    Args:
        sources: traces, or samplers, whose traces are shown: one, or two to be compared.
        runner: its steps show as they are made. Without one call `refresh`.

    Raises:
        TypeError: a source is neither a trace nor a sampler.
        ValueError: the runner works on none of the traces.

    Messages go out on whichever thread brings news; traits are written on the runner's publisher
    thread only.
    """

    maps: ClassVar[bool] = True
    """Whether attention maps and previews are sent."""
    pictures: ClassVar[bool] = True
    """Whether decoded pictures are sent."""

    step = t.Int(-1, min=-1, help="position in the branch, from 0; -1 before the first step").tag(
        sync=True, echo_update=False
    )

    _leading = OwnChanges()  # while what is shown goes with the run
    _looking = OwnChanges()  # while a page tells what a person looks at

    _sender: PacedSender | None = None  # close() also meets widgets that failed to be made
    _unsubscribe: tuple[Any, ...] = ()

    def __init__(self, *sources: Any, runner: BaseRunner | None = None, **traits: Any) -> None:
        self._traces = [trace_of(source) for source in sources]
        self.runner = runner
        self._lines = BranchSamplers()
        samplers = [source for source in sources if not isinstance(source, Trace)]
        self._sampler: Any = samplers[0] if samplers else None
        if runner is not None:
            self._sampler = runner.sampler
            if not any(trace is trace_of(runner.sampler) for trace in self._traces):
                raise ValueError("The runner works on another trace than the one to be shown.")
        for sampler in (*samplers, self._sampler):
            if sampler is not None and sampler.trace is self._traces[0]:
                self._lines.note(sampler)
        super().__init__(**traits)
        self._sender = PacedSender(self._post, self._streams())
        self.on_msg(self._heard)
        if runner is not None:
            self._unsubscribe = (
                runner.on_record(lambda _record: self.refresh()),
                runner.on_state(self._on_state),
            )

    @property
    def trace(self) -> Trace:
        """The trace on display; the first of two."""
        return self._traces[0]

    @property
    def on_page(self) -> bool:
        """Whether a page has asked for what is shown."""
        return self._sender is not None and self._sender.asked

    def refresh(self) -> None:
        """Send what is new: steps, pictures, branches. Cheap when there is nothing."""
        if self._sender is not None:
            self._sender.push()

    def close(self) -> None:
        """Take it from the page and leave the runner alone."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = ()
        if self._sender is not None:
            self._sender.close()
        super().close()

    def _should_send_property(self, key: str, value: Any) -> bool:
        """A page goes with the run by itself; to be led there comes too late, and pulls it back."""
        led = self._leading and key in ("step", "branch")
        if led and self.on_page and self._goes_along():
            return False
        return bool(super()._should_send_property(key, value))

    def _goes_along(self) -> bool:
        """Whether what is shown moves on with the run."""
        return True

    # --- for pages that run no widgets -----------------------------------------------------------

    def _still(self) -> bytes:
        return as_png(self._drawn())

    def _drawn(self) -> Any:
        """What is on display, as an array, an image or a plot."""
        return blank(self.trace)

    # --- from the browser ------------------------------------------------------------------------

    @guarded
    def _heard(self, content: dict[str, Any], _buffers: list[Any]) -> None:
        if self._sender is None:
            return
        if content.get("type") == "want":
            self._sender.start()
        elif content.get("type") == "got":
            serial = content.get("serial")
            if isinstance(serial, int):
                self._sender.got(serial)
        else:
            self._asked(content)

    def _asked(self, content: dict[str, Any]) -> None:
        """A message that only this kind of widget knows."""

    # --- from the runner: on the publisher's thread ----------------------------------------------

    def _on_state(self, _state: RunState) -> None:
        sampler = self.runner.sampler if self.runner is not None else None
        if sampler is not None and sampler is not self._sampler:
            self._adopt(sampler)
        self.refresh()

    def _adopt(self, sampler: Any) -> None:
        """Another sampler is at work: on another branch, or on another trace altogether."""
        trace, before = trace_of(sampler), self._sampler
        self._sampler = sampler
        if trace is not before.trace:
            self._traces = [trace if old is before.trace else old for old in self._traces]
            if self._sender is not None:
                self._sender.show(self._streams())
        self._lines.note(sampler)

    def _post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)

    def _streams(self) -> list[TraceStream]:
        return [
            TraceStream(trace, number, maps=self.maps, pictures=self.pictures)
            for number, trace in enumerate(self._traces)
        ]


class BranchWidget(TraceWidget):
    """Shows one branch of one trace.

    Args:
        source: a trace, or a sampler.
        runner: as in `TraceWidget`.
        branch: number or name of the branch shown at first; None takes the runner's or sampler's,
            the first one of a trace.

    Raises:
        KeyError: there is no such branch.
    """

    branch = t.Int(0, min=0, help="number of the branch on display").tag(
        sync=True, echo_update=False
    )

    _run = t.Dict(help="what the runner tells, and where its sampler stands").tag(sync=True)
    _following = t.Bool(True, help="false once a person looks elsewhere than where the run stands")
    _following = _following.tag(sync=True, echo_update=False)

    def __init__(
        self,
        source: Any,
        *,
        runner: BaseRunner | None = None,
        branch: int | str | None = None,
        **traits: Any,
    ) -> None:
        trace = trace_of(source)
        number = first_branch(source, runner, branch)
        length = len(trace.records(number)) if trace.branches else 0
        step, following = length - 1, True
        if runner is not None:
            following = branch_of(runner.sampler) == number
            step = runner.sampler.index - 1 if following else step
            traits["_run"] = _mirrored(runner.state, runner.key)
        with self._leading:
            super().__init__(
                source, runner=runner, branch=number, step=step, _following=following, **traits
            )

    def refresh(self) -> None:
        """Send what is new: steps, pictures, branches. Cheap when there is nothing."""
        self._follow()
        super().refresh()

    def _on_state(self, state: RunState) -> None:
        super()._on_state(state)
        assert self.runner is not None
        self._run = _mirrored(state, self.runner.key)

    def _adopt(self, sampler: Any) -> None:
        replaced = sampler.trace is not self.trace
        super()._adopt(sampler)
        if replaced:
            self._following = True
            self._lead(*self._stands())
        else:
            self._follow()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what the page changed; moves with the run say nothing of what a person wants.

        Widgets that are linked with this one in Python are moved in here, and these are told apart
        from an assignment in a cell.
        """
        following = sync_data.get("_following", self._following)
        with self._leading if following else self._looking:
            super().set_state(sync_data)

    def _follow(self) -> None:
        """Go to where the run stands, if that is what is looked at."""
        if self._following and self._follows():
            self._lead(*self._stands())

    def _lead(self, branch: int, step: int) -> None:
        with self._leading:
            self.branch, self.step = branch, step

    def _stands(self) -> tuple[int, int]:
        """The branch and the step to go along with: the runner's, or the newest one."""
        if self.runner is None:
            return self.branch, len(self._path()) - 1
        return branch_of(self._sampler), self._sampler.index - 1

    @t.observe("step", "branch")
    def _looked(self, change: Any) -> None:
        if not self._leading and not self._looking:  # assigned in a cell
            self._following = (self.branch, self.step) == self._stands()

    def _follows(self) -> bool:
        """Whether the display may move on with the run at all."""
        return True

    def _goes_along(self) -> bool:
        return self._following and self._follows()

    def _path(self) -> list[Node]:
        """The branch's nodes that have a record."""
        if self.branch not in self.trace.tips:
            return []
        return [node for node in self.trace.path(self.branch) if node.record is not None]

    def _shown(self) -> Node | None:
        """The node on display; None before the first step."""
        path = self._path()
        return path[min(self.step, len(path) - 1)] if path and self.step >= 0 else None

    def _records(self) -> list[Record]:
        """The records up to the step on display."""
        path = self._path()[: self.step + 1]
        return [node.record for node in path if node.record is not None]


def _mirrored(state: RunState, key: str) -> dict[str, Any]:
    """What a page is told of a runner."""
    return {
        "key": key,
        "serial": state.serial,
        "trace": state.trace,
        "status": str(state.status),
        "index": state.index,
        "total": state.total,
        "seconds_per_step": state.seconds_per_step,
        "seconds_left": state.seconds_left,
        "failure": "" if state.failure is None else state.failure.message,
        "node": state.node,
        "branch": state.branch,
    }
