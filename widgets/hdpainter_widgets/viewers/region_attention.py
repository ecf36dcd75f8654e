"""Where a region of the picture looks: self-attention on request, from the browser's cells."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.web import encode_map
from hdpainter_widgets.messages import whole_number
from hdpainter_widgets.viewers.branches import BranchSamplers

__all__ = ["Question", "Regions", "answer"]

_KEEP = 4  # steps whose queries and keys are kept
_LONGEST = 100_000  # characters of a key: it may spell an outline
_COARSEST = 64


def answer(
    key: object, node: object, values: NDArray[np.float32] | None = None, error: str | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """What the browser gets: a map, or a sentence that says why there is none.

    Args:
        key, node: the question's, given back; null where they are none.
        values: (h, w).
        error: the sentence.
    """
    key, node = (
        value if isinstance(value, str | int) and len(str(value)) <= _LONGEST else None
        for value in (key, node)
    )
    buffers: list[bytes] = []
    encoded = None if values is None else encode_map(values, buffers)
    return {"type": "region", "key": key, "node": node, "map": encoded, "error": error}, buffers


@dataclass(frozen=True)
class Question:
    """A request that was found to be sound."""

    key: str | int
    node: int
    level: int
    layer: str | None
    head: int | None
    painta: bool
    region: NDArray[np.bool_]  # (H/level, W/level)

    @classmethod
    def read(cls, content: dict[str, Any], trace: Trace) -> Question:
        """Read a message.

        Raises:
            ValueError: something in it is missing, of another type or out of range.
        """
        key = content.get("key")
        if not isinstance(key, str | int) or len(str(key)) > _LONGEST:
            raise ValueError(f"key must be a number or a text of up to {_LONGEST} characters.")
        number = whole_number("node", content.get("node"))
        node = trace.nodes.get(number)
        if node is None or node.record is None:
            raise ValueError(f"There is no step with the number {number}.")
        # Which levels were kept, the attention itself knows.
        level = whole_number("level", content.get("level"), least=1, most=_COARSEST)
        layer, head = content.get("layer"), content.get("head")
        if not (layer is None or isinstance(layer, str)):
            raise ValueError("layer must be a text or null.")
        if head is not None:
            head = whole_number("head", head)
        painta = content.get("painta", True)
        if not isinstance(painta, bool):
            raise ValueError("painta must be true or false.")
        height, width = (trace.factor * n // level for n in node.latents.shape[-2:])
        region = _region(content.get("cells"), height, width)
        return cls(key, number, level, layer, head, painta, region)


def _region(cells: object, height: int, width: int) -> NDArray[np.bool_]:
    count = height * width
    if not isinstance(cells, list) or not 0 < len(cells) <= count:
        raise ValueError(f"cells must be a list of 1 to {count} positions.")
    if any(isinstance(cell, bool) or not isinstance(cell, int) for cell in cells):
        raise ValueError("cells must be whole numbers.")
    if not all(0 <= cell < count for cell in cells):
        raise ValueError(f"cells must lie in 0 .. {count - 1}, the {height} x {width} grid.")
    region = np.zeros(count, bool)
    region[cells] = True
    return region.reshape(height, width)


class Regions:
    """Answers questions. Use it on the thread that owns the model."""

    def __init__(self, lines: BranchSamplers) -> None:
        self._lines = lines
        self._attentions: OrderedDict[tuple[int, int], tuple[Trace, Any]] = OrderedDict()

    def look(self, sampler: Any, question: Question) -> NDArray[np.float32]:
        """The region's mean attention, (H/level, W/level), summing to 1.

        Args:
            sampler: one of the question's trace.

        Raises:
            HDPainterError: no such level, layer or head; or no sampler fits the step.
        """
        attention = self._attention(sampler, question.node)
        looked_at: NDArray[np.float32] = attention.region(
            question.region,
            level=question.level,
            layer=question.layer,
            head=question.head,
            painta=question.painta,
        )
        return looked_at

    def _attention(self, sampler: Any, number: int) -> Any:
        trace = sampler.trace
        key = (id(trace), number)  # the trace is kept beside it, so its id stays its own
        if key not in self._attentions:
            node = trace.nodes[number]
            # Words and masks differ from branch to branch, and attention with them.
            owner = self._lines.sampler(sampler, node.branch)
            if not hasattr(owner, "attention"):
                raise SettingsError(
                    "Where a place looks is known of runs that fill a hole, not of the x4 upscaler."
                )
            self._attentions[key] = (trace, owner.attention(node.record))
            while len(self._attentions) > _KEEP:
                self._attentions.popitem(last=False)
        self._attentions.move_to_end(key)
        return self._attentions[key][1]
