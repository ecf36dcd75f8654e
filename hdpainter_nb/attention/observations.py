"""What the hooks of one step recorded, reduced where it appears to what `Capture` asks for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.capture.transfer import HostTransfer, to_array
from hdpainter_nb.method.attention import take
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys

if TYPE_CHECKING:
    from hdpainter_nb.attention.layers import AttentionLayer
    from hdpainter_nb.attention.plan import HookPlan

__all__ = ["Keeper", "Seen", "pixel_maps", "text_fields"]


@dataclass(eq=False)
class Seen:
    """What one step showed. Keys: level, then layer.

    Tensors are still on the model's device. What is Any has been put on the plan's shelf, or is a
    tensor where the plan has none.
    """

    cross: dict[int, dict[str, Any]] = field(default_factory=dict)  # ([heads,] tokens, h, w)
    c: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,)
    similarity: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,)
    scales: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,): PAIntA's, of these
    own_queries: dict[int, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    cross_queries: dict[int, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    rows: dict[int, Tensor] = field(default_factory=dict)  # of the plan, where q, k are kept
    scores: list[Tensor] = field(default_factory=list)  # (L, h, w) per H/32 layer, mean over heads
    kept_c: frozenset[str] = frozenset()  # names of the layers whose c is kept
    kept_scores: list[Tensor] = field(default_factory=list)  # (tokens, h, w), of the chosen heads
    score_maps: dict[int, dict[str, Any]] = field(default_factory=dict)  # ([heads,] tokens, h, w)

    def mean_scores(self) -> Tensor:
        """Abar: (L, H/32, W/32), mean over layers and heads (all layers have equally many)."""
        return torch.stack(self.scores).mean(0)


Kind = Literal["self", "cross"]


class Keeper:
    """Takes what the taps see of the conditional half, and leaves in `Seen` what is to be kept.

    Args:
        plan: says what, in ``plan.capture``, and where to put it, in ``plan.shelf``.
        seen: what is filled.
        layers: those of the UNet, in the order in which they run.
    """

    def __init__(self, plan: HookPlan, seen: Seen, layers: Sequence[AttentionLayer]) -> None:
        self.plan = plan
        self.seen = seen
        self._dtype = torch.float16 if plan.capture.dtype == "float16" else torch.float32
        seen.kept_c = frozenset(layer.name for layer in layers if self.wants_c(layer))
        # How many layers come into their level's mean, and those of them that have come.
        self._all = Counter(layer.level for layer in layers if self.wants_cross(layer))
        self._come: defaultdict[int, list[Tensor]] = defaultdict(list)

    # --- whether ---------------------------------------------------------------------------------

    def wants_cross(self, layer: AttentionLayer) -> bool:
        """Whether cross-attention maps of the layer are kept."""
        capture = self.plan.capture
        return capture.cross is not None and self._wants(layer)

    def wants_queries(self, layer: AttentionLayer, kind: Kind) -> bool:
        """Whether q and k of the layer are kept."""
        capture = self.plan.capture
        if kind == "cross":
            return capture.cross_queries and self._wants(layer)
        return capture.own_queries and self._wants(layer) and not layer.block.only_cross_attention

    def wants_c(self, layer: AttentionLayer) -> bool:
        """Whether c of the layer is kept; rows of its attention cannot be told without."""
        capture = self.plan.capture
        return self.wants_queries(layer, "self") or (capture.c and capture.keeps(layer.name))

    def wants_similarity(self, layer: AttentionLayer) -> bool:
        """Whether appendix B's similarity of the layer is kept."""
        capture = self.plan.capture
        return capture.similarity and layer.level in PAINTA_LEVELS and capture.keeps(layer.name)

    def wants_scores(self, layer: AttentionLayer) -> bool:
        """Whether the layer's scores before softmax are kept."""
        capture = self.plan.capture
        return (
            capture.score_detail is not None
            and layer.level == SCORE_LEVEL
            and capture.keeps(layer.name)
            and self._heads(layer) != ()
        )

    def _wants(self, layer: AttentionLayer) -> bool:
        capture = self.plan.capture
        there = layer.level in capture.levels and capture.keeps(layer.name)
        return there and self._heads(layer) != ()

    def _heads(self, layer: AttentionLayer) -> tuple[int, ...] | None:
        return self.plan.capture.chosen_heads(int(layer.block.attn2.heads))

    # --- what ------------------------------------------------------------------------------------

    def cross(self, layer: AttentionLayer, probabilities: Tensor) -> None:
        """Cross-attention probabilities (heads, hw, L), in the detail that was asked for."""
        detail, level = self.plan.capture.cross, layer.level
        stack = self._some(layer, probabilities).transpose(-1, -2)  # (heads, L, hw)
        if detail != "heads":
            stack = stack.mean(0)
        stack = self._tokens(stack).unflatten(-1, self._shape(level))  # ([heads,] tokens, h, w)
        kept = self.seen.cross.setdefault(level, {})
        if detail != "mean":
            kept[layer.name] = self._put(stack)
            return
        come = self._come[level]
        come.append(stack)
        if len(come) == self._all[level]:
            kept["mean"] = self._put(torch.stack(come).mean(0))
            come.clear()

    def scores(self, layer: AttentionLayer, mean: Tensor, q: Tensor, k: Tensor) -> None:
        """Scores before softmax: their mean over heads, and every layer's or head's.

        Args:
            mean: (L, h, w), over all heads.
            q: (heads, hw, d). k: (heads, L, d).
        """
        capture = self.plan.capture
        if not self.wants_scores(layer):
            return
        stack = mean.detach()
        if capture.score_detail == "heads" or capture.heads is not None:
            q, k = self._some(layer, q.detach()).float(), self._some(layer, k.detach()).float()
            stack = k @ q.transpose(-1, -2) * q.shape[-1] ** -0.5  # (heads, L, hw)
            stack = stack.unflatten(-1, mean.shape[-2:])
        stack = self._tokens(stack, -3)
        average = stack.mean(0) if stack.ndim == 4 else stack
        self.seen.kept_scores.append(average)  # (tokens, h, w)
        if capture.score_detail != "mean":
            detailed = stack if capture.score_detail == "heads" else average
            kept = self.seen.score_maps.setdefault(layer.level, {})
            kept[layer.name] = self._put(detailed, torch.float32)

    def queries(self, layer: AttentionLayer, kind: Kind, q: Tensor, k: Tensor) -> None:
        """Queries (heads, hw, d) and keys (heads, n, d) of a layer, where they are kept."""
        if not self.wants_queries(layer, kind):
            return
        seen = self.seen.own_queries if kind == "self" else self.seen.cross_queries
        pair = tuple(self._put(self._some(layer, x.detach())) for x in (q, k))
        seen.setdefault(layer.level, {})[layer.name] = pair
        if kind == "self" and layer.level in self.plan.rows:
            self.seen.rows[layer.level] = self.plan.rows[layer.level]

    def _some(self, layer: AttentionLayer, x: Tensor) -> Tensor:
        """The chosen heads of (heads, ...)."""
        chosen = self._heads(layer)
        return x if chosen is None else take(x, chosen, 0)

    def _tokens(self, x: Tensor, dim: int = -2) -> Tensor:
        """The chosen tokens along an axis."""
        chosen = self.plan.positions
        return take(x, range(self.plan.tokens) if chosen is None else chosen, dim)

    def _shape(self, level: int) -> tuple[int, int]:
        return self.plan.size[0] // level, self.plan.size[1] // level

    def _put(self, x: Tensor, dtype: torch.dtype | None = None) -> Any:
        shelf = self.plan.shelf
        return x.detach() if shelf is None else shelf.put(x, dtype or self._dtype)


def text_fields(
    seen: Seen, cond: TextConditioning, positions: tuple[int, ...], heads: tuple[int, ...] | None
) -> dict[str, Any]:
    """The part of a record that comes from cross-attention, and queries and keys.

    Args:
        seen: of the step.
        cond: says what the words are, and how large the picture is.
        positions, heads: what was kept of tokens and heads; None: all heads.
    """
    height, width = cond.size
    holes = {level: np.zeros((height // level, width // level), np.bool_) for level in seen.rows}
    for level, hole in holes.items():
        hole.ravel()[seen.rows[level].cpu().numpy()] = True
    scores = to_array(torch.stack(seen.kept_scores).mean(0)) if seen.kept_scores else None
    return {
        "cross": CrossMaps(LevelMaps(seen.cross), cond.words, cond.tokens, positions, heads),
        "scores": scores,
        "score_maps": LevelMaps(seen.score_maps),
        "self_qk": QueryKeys(seen.own_queries, heads),
        "cross_qk": QueryKeys(seen.cross_queries, heads),
        "holes": holes,
    }


def pixel_maps(seen: Seen, size: tuple[int, int], shelf: HostTransfer) -> dict[str, LevelMaps]:
    """The part of a record that self-attention left: c, and the similarity before and after.

    Layers of a level go together, in one product and one copy.

    Args:
        seen: of the step.
        size: (H, W) of the picture.
        shelf: where the maps go.
    """

    def kept(stacks: Mapping[int, tuple[list[str], Tensor]]) -> LevelMaps:
        maps = {}
        for level, (names, stack) in stacks.items():
            pictures = stack.unflatten(-1, (size[0] // level, size[1] // level))  # (n, h, w)
            maps[level] = dict(zip(names, shelf.put_rows(pictures), strict=True))
        return LevelMaps(maps)

    chosen = {
        level: {name: c for name, c in named.items() if name in seen.kept_c}
        for level, named in seen.c.items()
    }
    before, scales = _stacked(seen.similarity), _stacked(seen.scales)
    after = {level: (names, before[level][1] * scale) for level, (names, scale) in scales.items()}
    return {
        "c": kept(_stacked(chosen)),
        "similarity": kept(before),
        "similarity_painta": kept(after),
    }


def _stacked(
    maps: Mapping[int, Mapping[str, Tensor]],
) -> dict[int, tuple[list[str], Tensor]]:
    """The layers of every level as one float32 tensor (layers, hw)."""
    return {
        level: ([*named], torch.stack([*named.values()]).float())
        for level, named in maps.items()
        if named
    }
