"""Attention over the picture, step by step: `HeatmapViewer`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import traitlets as t

from hdpainter_nb import views
from hdpainter_widgets.messages import FiniteFloat
from hdpainter_widgets.notebook import built
from hdpainter_widgets.pictures import blank, picture_of
from hdpainter_widgets.runner.base import BaseRunner
from hdpainter_widgets.viewers.base import BranchWidget
from hdpainter_widgets.viewers.region_attention import Question, Regions, answer
from hdpainter_widgets.viewers.sources import (
    chosen_words,
    first_branch,
    kept_words,
    spelt_words,
    trace_of,
)

__all__ = ["HeatmapViewer"]

_KINDS = (
    "cross",
    "scores",
    "c",
    "similarity",
    "similarity_painta",
    "difference",
    "region",
    "object",
)
_log = logging.getLogger(__name__)


class HeatmapViewer(BranchWidget):
    """Attention over the picture: choose words and steps, or mark a region and see where it looks.

    >>> viewer = HeatmapViewer(sampler, runner=player.runner)
    >>> viewer                                      # shows itself, and every new step
    >>> viewer.words = ["star"]; viewer.level = 32

    What is chosen on the page is in the traits, and what Python assigns shows at once.

    Args:
        source: a trace or a sampler. Regions need a sampler.
        runner: its steps show as they are made; without one call `refresh`.
        branch: number or name of the branch; None takes the runner's or sampler's.
        words: words of the prompt; None takes the telling ones.
        tokens: positions of single tokens, in addition to the words.
        kind: ``cross``, ``scores``, ``c``, ``similarity``, ``similarity_painta``, ``difference``
            (of the latter two), ``region`` or ``object``: where a model of SmartBrush's recipe
            takes the new object to be.
        combine: ``mean`` or ``sum`` over words and tokens.
        level: attention resolution, 8, 16 or 32.
        layer: name of a layer, or ``mean``.
        head: number of a head; -1 is their mean.
        colormap: ``jet``, ``viridis`` or ``inferno``.
        opacity: of the map over the picture, 0 to 1.
        shared: one colour scale over all steps.
        backdrop: ``picture``, ``preview`` or ``original``.
        follow: move on to new steps while the last one is on display.

    Raises:
        TypeError: unknown keyword argument; `source` is neither a trace nor a sampler.
        ValueError: one of `words` is not in the prompt.
        KeyError: there is no such branch.
        traitlets.TraitError: a value is not one of its choices or out of range.
    """

    _esm = built("heatmap.js")
    _css = built("heatmap.css")

    kind = t.Enum(_KINDS, "cross").tag(sync=True)
    words = t.List(t.Unicode()).tag(sync=True)
    tokens = t.List(t.Int(min=0)).tag(sync=True)
    combine = t.Enum(("mean", "sum"), "mean").tag(sync=True)
    level = t.Enum((8, 16, 32), 16).tag(sync=True)
    layer = t.Unicode("mean").tag(sync=True)
    head = t.Int(-1, min=-1).tag(sync=True)
    colormap = t.Enum(("jet", "viridis", "inferno"), "jet").tag(sync=True)
    opacity = FiniteFloat(0.55, min=0.0, max=1.0).tag(sync=True)
    shared = t.Bool(False).tag(sync=True)
    backdrop = t.Enum(("picture", "preview", "original"), "picture").tag(sync=True)
    follow = t.Bool(True).tag(sync=True)

    def __init__(
        self,
        source: Any,
        *,
        runner: BaseRunner | None = None,
        branch: int | str | None = None,
        words: Sequence[str] | None = None,
        tokens: Sequence[int] = (),
        kind: str = "cross",
        combine: str = "mean",
        level: int = 16,
        layer: str = "mean",
        head: int = -1,
        colormap: str = "jet",
        opacity: float = 0.55,
        shared: bool = False,
        backdrop: str = "picture",
        follow: bool = True,
    ) -> None:
        trace = trace_of(source)
        number = first_branch(source, runner, branch)
        super().__init__(
            source,
            runner=runner,
            branch=number,
            words=chosen_words(trace, number, words),
            tokens=list(tokens),
            kind=kind,
            combine=combine,
            level=level,
            layer=layer,
            head=head,
            colormap=colormap,
            opacity=opacity,
            shared=shared,
            backdrop=backdrop,
            follow=follow,
        )
        self._regions = Regions(self._lines)

    @t.validate("words")
    def _valid_words(self, proposal: Any) -> list[str]:
        return spelt_words(proposal["value"], self.trace, self.branch)

    def _follows(self) -> bool:
        return bool(self.follow)

    def _adopt(self, sampler: Any) -> None:
        replaced = sampler.trace is not self.trace
        super()._adopt(sampler)
        if replaced:
            self.words = kept_words(self.words, sampler.trace, self.branch)
            self.tokens = []  # positions in another prompt

    # --- regions ---------------------------------------------------------------------------------

    def _asked(self, content: dict[str, Any]) -> None:
        if content.get("type") != "region":
            return
        key, number = content.get("key"), content.get("node")
        try:
            question = Question.read(content, self.trace)
        except ValueError as error:
            self._post(*answer(key, number, error=str(error)))
            return
        runner, sampler = self.runner, self._sampler
        refuse = partial(answer, question.key, question.node)
        if sampler is None:
            self._post(*refuse(error="This needs the model: give HeatmapViewer a sampler."))
        elif runner is None:
            self._post(*self._look(question, sampler))
        elif runner.closed:
            self._post(*refuse(error="The runner is closed: make another one."))
        else:
            runner.do(
                partial(self._look, question),
                lambda message: self._post(*message),
                key=f"region {id(self)}",
            )

    def _look(self, question: Question, sampler: Any) -> tuple[dict[str, Any], list[bytes]]:
        """On the thread that owns the model. A region that cannot be shown must not stop a run."""
        try:
            if question.node not in sampler.trace.nodes:
                raise ValueError("Another run has begun; this step is no longer on display.")
            values = self._regions.look(sampler, question)
        except Exception as error:
            _log.debug("A region cannot be shown", exc_info=True)
            return answer(question.key, question.node, error=str(error) or type(error).__name__)
        return answer(question.key, question.node, values)

    # --- for pages that run no widgets -----------------------------------------------------------

    def _drawn(self) -> Any:
        node = self._shown()
        if node is None or node.record is None:
            return blank(self.trace)
        record, picture = node.record, picture_of(self.trace, node)
        common: dict[str, Any] = {
            "picture": picture,
            "mask": self.trace.mask,
            "crop": self.trace.crop,
        }
        looks: dict[str, Any] = {"alpha": self.opacity, "colormap": self.colormap}
        if self.kind == "object" and record.object_mask is not None:
            return views.object_mask(record, **common, **looks)
        if self.kind == "c":
            return views.c_map(record, self.level, **common, **looks)
        if self.kind.startswith("similarity") and self.level in record.similarity:
            return views.similarity(record, self.level, **common, **looks)
        words = [word for word in self.words if word in record.cross]
        if not words or self.level not in record.cross.levels:
            return picture
        return views.heatmaps(record, words=words, level=self.level, **common, **looks)
