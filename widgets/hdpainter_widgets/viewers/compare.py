"""Two runs beside each other, in step: `Compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets as t

from hdpainter_nb import views
from hdpainter_nb.trace.titles import branch_title
from hdpainter_nb.trace.trace import Trace
from hdpainter_widgets.messages import FiniteFloat
from hdpainter_widgets.notebook import built
from hdpainter_widgets.pictures import blank, picture_of
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.viewers.base import TraceWidget
from hdpainter_widgets.viewers.sources import (
    branch_of,
    chosen_words,
    kept_words,
    number_of,
    spelt_words,
    trace_of,
)

__all__ = ["Compare"]

_KINDS = ("picture", "cross", "c", "scores")


class Compare(TraceWidget):
    """Two branches of a trace, or two traces: side by side, with a swipe, or as a difference.

    >>> Compare(trace)                           # its first and its last branch
    >>> Compare(sampler, other)                  # a sampler stands for its branch
    >>> Compare((trace, "main"), (trace, "painta=False"))

    Args:
        a, b: traces or samplers, or pairs of one and a branch (number or name). Without `b` two
            branches of `a`.
        branches: the two branches, by number or name; None takes those of samplers and pairs. Of
            a trace alone it takes the first and the last, of each of two traces the first.
        runner: works on one of them; its steps show as they are made.
        words: words of the prompt; None takes the telling ones.
        kind: ``picture``, ``cross``, ``c`` or ``scores``.
        combine: ``mean`` or ``sum`` over words.
        level: attention resolution, 8, 16 or 32.
        mode: ``side``, ``swipe`` or ``difference``.
        swipe: where the swipe's edge is, 0 to 1.
        colormap: ``jet``, ``viridis`` or ``inferno``.
        opacity: of maps over the picture, 0 to 1.

    Raises:
        TypeError: unknown keyword argument, or something that is neither a trace nor a sampler.
        KeyError: there is no such branch.
        ValueError: one of `words` is not in the prompt; `branches` are not two.
        traitlets.TraitError: a value is not one of its choices or out of range.
    """

    _esm = built("compare.js")
    _css = built("compare.css")

    branches = t.List(t.Int(min=0), minlen=2, maxlen=2, default_value=[0, 0]).tag(sync=True)
    words = t.List(t.Unicode()).tag(sync=True)
    kind = t.Enum(_KINDS, "picture").tag(sync=True)
    combine = t.Enum(("mean", "sum"), "mean").tag(sync=True)
    level = t.Enum((8, 16, 32), 16).tag(sync=True)
    mode = t.Enum(("side", "swipe", "difference"), "side").tag(sync=True)
    swipe = FiniteFloat(0.5, min=0.0, max=1.0).tag(sync=True)
    colormap = t.Enum(("jet", "viridis", "inferno"), "jet").tag(sync=True)
    opacity = FiniteFloat(0.55, min=0.0, max=1.0).tag(sync=True)

    def __init__(
        self,
        a: Any,
        b: Any = None,
        *,
        branches: Sequence[int | str] | None = None,
        runner: BaseRunner | None = None,
        words: Sequence[str] | None = None,
        kind: str = "picture",
        combine: str = "mean",
        level: int = 16,
        mode: str = "side",
        swipe: float = 0.5,
        colormap: str = "jet",
        opacity: float = 0.55,
    ) -> None:
        sources, numbers = _sides(a, b, branches)
        traces = [trace_of(source) for source in sources]
        super().__init__(
            *(sources[:1] if traces[0] is traces[1] else sources),
            runner=runner,
            branches=numbers,
            step=max(map(_length, traces, numbers)) - 1,
            words=chosen_words(traces[0], numbers[0], words),
            kind=kind,
            combine=combine,
            level=level,
            mode=mode,
            swipe=swipe,
            colormap=colormap,
            opacity=opacity,
        )

    @t.validate("words")
    def _valid_words(self, proposal: Any) -> list[str]:
        return spelt_words(proposal["value"], self.trace, self.branches[0])

    def _adopt(self, sampler: Any) -> None:
        """A first branch beside the only one so far is what one wants to compare with."""
        alone = len(self._traces) == 1 and self.branches[0] == self.branches[1]
        replaced = sampler.trace is not self._sampler.trace
        super()._adopt(sampler)
        number = branch_of(sampler)
        if replaced:
            traces = self._traces[0], self._traces[-1]
            self.branches = [
                number if trace is sampler.trace else old
                for trace, old in zip(traces, self.branches, strict=True)
            ]
            self.words = kept_words(self.words, sampler.trace, number)
            with self._leading:
                self.step = sampler.index - 1
        elif alone:
            self.branches = [self.branches[0], number]

    # --- for pages that run no widgets -----------------------------------------------------------

    def _drawn(self) -> Any:
        traces = self._traces[0], self._traces[-1]
        pictures, labels = [], []
        for trace, number in zip(traces, self.branches, strict=True):
            length = _length(trace, number)
            shown = min(self.step, length - 1)
            known = number in trace.branches
            name = branch_title(trace, trace.branches[number]) if known else ""
            if shown < 0:
                pictures.append(blank(trace))
                labels.append(name)
            else:
                pictures.append(picture_of(trace, trace.path(number)[shown + 1]))
                labels.append(f"{name} · step {shown + 1}")
        same = pictures[0].shape == pictures[1].shape
        return views.side_by_side(
            pictures[0], pictures[1], (labels[0], labels[1]), difference=same, tile=256
        )


def _sides(
    a: Any, b: Any, branches: Sequence[int | str] | None
) -> tuple[tuple[Any, Any], list[int]]:
    """What is on either side, a trace or sampler each, and the numbers of their branches."""
    first, left = _parted(a)
    second, right = (first, None) if b is None else _parted(b)
    traces = trace_of(first), trace_of(second)
    if branches is not None:
        if isinstance(branches, str) or len(branches) != 2:
            raise ValueError(f"branches must be two of them, not {branches!r}.")
        left, right = branches
    elif b is None:
        left, right = 0 if left is None else left, max(traces[0].branches, default=0)
    numbers = [
        number_of(trace, 0 if branch is None else branch)
        for trace, branch in zip(traces, (left, right), strict=True)
    ]
    return (first, second), numbers


def _parted(given: Any) -> tuple[Any, int | str | None]:
    """A trace or sampler, and its branch where that is known."""
    if isinstance(given, tuple):
        if len(given) != 2:
            raise TypeError(f"A pair (trace, branch) is needed, not {len(given)} values.")
        trace_of(given[0])
        return given
    trace_of(given)
    return given, None if isinstance(given, Trace) else branch_of(given)


def _length(trace: Trace, number: int) -> int:
    return len(trace.records(number)) if number in trace.branches else 0
