"""The gradient of RASG's score, step by step: `GradientHistogram`."""

from __future__ import annotations

from typing import Any

from hdpainter_nb import views
from hdpainter_widgets.notebook import built
from hdpainter_widgets.pictures import blank
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.viewers.base import BranchWidget

__all__ = ["GradientHistogram"]


class GradientHistogram(BranchWidget):
    """The distribution of grad S in a step, raw and standardised (eq. 7, figs. 12 and 13).

    Args:
        source: a trace or a sampler.
        runner: its steps show as they are made; without one call `refresh`.
        branch: number or name of the branch; None takes the runner's or sampler's.

    Raises:
        TypeError: unknown keyword argument; `source` is neither a trace nor a sampler.
        KeyError: there is no such branch.
    """

    _esm = built("histogram.js")
    _css = built("histogram.css")
    maps = False
    pictures = False

    def __init__(
        self, source: Any, *, runner: BaseRunner | None = None, branch: int | str | None = None
    ) -> None:
        super().__init__(source, runner=runner, branch=branch)

    def _drawn(self) -> Any:
        node = self._shown()
        if node is None or node.record is None or node.record.grad is None:
            return blank(self.trace)  # a step without RASG has no gradient
        return views.gradient_histogram(node.record)
