"""What the hooks of one step record, reduced where it appears, as the fields of a `Record`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.capture.transfer import to_array
from hdpainter_nb.method.attention import scores as attention_scores
from hdpainter_nb.method.attention import take
from hdpainter_nb.method.objectives import mean_over_layers
from hdpainter_nb.method.painta import rescaled
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys

__all__ = ["Attn", "Observations", "Watched"]

Attn = Literal["self", "cross"]


class Watched(Protocol):
    """An attention layer, as far as it matters to what is recorded of it."""

    @property
    def name(self) -> str:
        """In the network."""

    @property
    def level(self) -> int:
        """Pixels of the picture per position."""

    @property
    def heads(self) -> int:
        """Of its attention to the text."""

    @property
    def own(self) -> bool:
        """Whether pixels attend to pixels in it."""


class Observations:
    """Takes what the hooks see of the conditional half, and keeps what `Capture` asks for.

    The hooks hand over queries, keys, probabilities and c as they appear; each is reduced at once
    and put where ``plan.transfer`` says. `fields` gives what came together, in a record's terms.

    Args:
        plan: says what is kept, in ``plan.capture``.
        layers: those of the UNet, in the order in which they run.
    """

    def __init__(self, plan: HookPlan, layers: Sequence[Watched]) -> None:
        self.plan = plan
        self.c: dict[int, dict[str, Tensor]] = {}
        """Level, then layer -> (hw,): PAIntA's c on the device, which the other half reads."""
        self.layer_scores: list[Tensor] = []
        """(L, h, w) per H/32 layer: scores before softmax, mean over heads, on the device."""
        self._dtype = torch.float16 if plan.capture.dtype == "float16" else torch.float32
        self._layers = layers
        # How many layers come into their level's mean, and those of them that have come.
        self._expected = Counter(layer.level for layer in layers if self.records_map(layer))
        self._arrived: defaultdict[int, list[Tensor]] = defaultdict(list)
        # Any is what `plan.transfer` gave, or a tensor where there is none. Level, then layer.
        self._maps: dict[int, dict[str, Any]] = {}  # ([heads,] tokens, h, w)
        self._score_maps: dict[int, dict[str, Any]] = {}  # ([heads,] tokens, h, w)
        self._keys: int | None = None  # tokens that a softmax ran over, padding included
        self._score_means: list[Tensor] = []  # (tokens, h, w), of the chosen heads
        self._queries: dict[Attn, dict[int, dict[str, tuple[Any, Any]]]] = {"self": {}, "cross": {}}
        self._similarity: dict[int, dict[str, Tensor]] = {}  # (hw,)
        self._key_scales: dict[int, dict[str, Tensor]] = {}  # (hw,), of the layers of `_similarity`

    # --- whether ---------------------------------------------------------------------------------

    def records_map(self, layer: Watched) -> bool:
        """Whether cross-attention maps of the layer are kept."""
        return self.plan.capture.cross is not None and self._keeps(layer)

    def records_queries(self, layer: Watched, attention: Attn) -> bool:
        """Whether q and k of the layer are kept."""
        capture = self.plan.capture
        if attention == "cross":
            return capture.cross_queries and self._keeps(layer)
        return capture.own_queries and self._keeps(layer) and layer.own

    def records_c(self, layer: Watched) -> bool:
        """Whether c of the layer is kept; rows of its attention cannot be had without."""
        capture = self.plan.capture
        return self.records_queries(layer, "self") or (capture.c and capture.keeps(layer.name))

    def records_similarity(self, layer: Watched) -> bool:
        """Whether appendix B's similarity of the layer is kept."""
        capture = self.plan.capture
        return capture.similarity and layer.level in PAINTA_LEVELS and capture.keeps(layer.name)

    def records_scores(self, layer: Watched) -> bool:
        """Whether the layer's scores before softmax are kept."""
        capture = self.plan.capture
        return (
            capture.score_detail is not None
            and layer.level == SCORE_LEVEL
            and capture.keeps(layer.name)
            and self._heads(layer) != ()
        )

    def _keeps(self, layer: Watched) -> bool:
        capture = self.plan.capture
        chosen = layer.level in capture.levels and capture.keeps(layer.name)
        return chosen and self._heads(layer) != ()

    def _heads(self, layer: Watched) -> tuple[int, ...] | None:
        return self.plan.capture.chosen_heads(layer.heads)

    # --- take ------------------------------------------------------------------------------------

    def add_map(self, layer: Watched, probabilities: Tensor) -> None:
        """Cross-attention probabilities (heads, hw, L), in the detail that was asked for."""
        detail, level = self.plan.capture.cross, layer.level
        self._keys = probabilities.shape[-1]
        stack = self._chosen_heads(layer, probabilities).transpose(-1, -2)  # (heads, L, hw)
        if detail != "heads":
            stack = stack.mean(0)
        shape = self.plan.shape(level)
        stack = self._chosen_tokens(stack).unflatten(-1, shape)  # ([heads,] tokens, h, w)
        maps = self._maps.setdefault(level, {})
        if detail != "mean":
            maps[layer.name] = self._put(stack)
            return
        arrived = self._arrived[level]
        arrived.append(stack)
        if len(arrived) == self._expected[level]:
            maps["mean"] = self._put(torch.stack(arrived).mean(0))
            arrived.clear()

    def add_scores(self, layer: Watched, mean: Tensor, q: Tensor, k: Tensor) -> None:
        """Scores before softmax of a layer at H/32: their mean over heads, and every head's.

        Args:
            mean: (L, h, w), over all heads, with its graph where a gradient is made of it.
            q: (heads, hw, d). k: (heads, L, d).
        """
        self.layer_scores.append(mean)
        capture = self.plan.capture
        if not self.records_scores(layer):
            return
        stack = mean.detach()
        if capture.score_detail == "heads" or capture.heads is not None:
            q, k = (self._chosen_heads(layer, x.detach()).float() for x in (q, k))
            stack = attention_scores(k, q).unflatten(-1, mean.shape[-2:])  # (heads, L, h, w)
        stack = self._chosen_tokens(stack, -3)
        average = stack.mean(0) if stack.ndim == 4 else stack
        self._score_means.append(average)  # (tokens, h, w)
        if capture.score_detail != "mean":
            detailed = stack if capture.score_detail == "heads" else average
            maps = self._score_maps.setdefault(layer.level, {})
            maps[layer.name] = self._put(detailed, torch.float32)

    def add_queries(self, layer: Watched, attention: Attn, q: Tensor, k: Tensor) -> None:
        """Queries (heads, hw, d) and keys (heads, n, d) of a layer, where they are kept."""
        if self.records_queries(layer, attention):
            pair = tuple(self._put(self._chosen_heads(layer, x.detach())) for x in (q, k))
            self._queries[attention].setdefault(layer.level, {})[layer.name] = pair

    def add_c(self, layer: Watched, c: Tensor) -> None:
        """c_j (hw,) of PAIntA."""
        self.c.setdefault(layer.level, {})[layer.name] = c.detach()

    def add_similarity(self, layer: Watched, similarity: Tensor) -> None:
        """Appendix B's similarity (hw,), before PAIntA."""
        self._similarity.setdefault(layer.level, {})[layer.name] = similarity

    def add_key_scale(self, layer: Watched, scale: Tensor) -> None:
        """(hw,): by what PAIntA multiplies the similarity of this layer."""
        self._key_scales.setdefault(layer.level, {})[layer.name] = scale.detach()

    def _chosen_heads(self, layer: Watched, x: Tensor) -> Tensor:
        """The chosen heads of (heads, ...)."""
        chosen = self._heads(layer)
        return x if chosen is None else take(x, chosen, 0)

    def _chosen_tokens(self, x: Tensor, dim: int = -2) -> Tensor:
        """The chosen tokens along an axis."""
        chosen = self.plan.positions
        return take(x, range(self.plan.tokens) if chosen is None else chosen, dim)

    def _put(self, x: Tensor, dtype: torch.dtype | None = None) -> Any:
        transfer = self.plan.transfer
        return x.detach() if transfer is None else transfer.put(x, dtype or self._dtype)

    # --- give ------------------------------------------------------------------------------------

    def mean_scores(self) -> Tensor:
        """Abar (eq. 8): (L, H/32, W/32), with its graph where a gradient is made of it."""
        return mean_over_layers(self.layer_scores)

    def end_graph(self) -> None:
        """Let the graph of the scores go; the gradient has been made."""
        self.layer_scores = [x.detach() for x in self.layer_scores]

    def fields(self) -> dict[str, Any]:
        """What came together, as fields of a `Record`."""
        capture, plan = self.plan.capture, self.plan
        positions = tuple(range(plan.tokens) if plan.positions is None else plan.positions)
        heads = capture.head_numbers
        scores = to_array(mean_over_layers(self._score_means)) if self._score_means else None
        return {
            "cross": CrossMaps(
                LevelMaps(self._maps), plan.words, plan.token_texts, positions, heads, self._keys
            ),
            "scores": scores,
            "score_maps": LevelMaps(self._score_maps),
            "self_qk": QueryKeys(self._queries["self"], heads),
            "cross_qk": QueryKeys(self._queries["cross"], heads),
            "holes": self._holes(),
            **self._pixel_maps(),
        }

    def _holes(self) -> dict[int, NDArray[np.bool_]]:
        """Level -> (h, w), what PAIntA took to be masked, where queries and keys are kept."""
        holes = {}
        for level in self._queries["self"]:
            if level in self.plan.rows:
                hole = np.zeros(self.plan.shape(level), np.bool_)
                hole.ravel()[self.plan.rows[level].cpu().numpy()] = True
                holes[level] = hole
        return holes

    def _pixel_maps(self) -> dict[str, LevelMaps]:
        """What self-attention left: c, and the similarity before and after PAIntA.

        Layers of a level go together, in one product and one copy.
        """
        kept_c = {layer.name for layer in self._layers if self.records_c(layer)}
        c = {
            level: {name: values for name, values in by_layer.items() if name in kept_c}
            for level, by_layer in self.c.items()
        }
        before, scales = _stacked(self._similarity), _stacked(self._key_scales)
        after = {
            level: (names, rescaled(before[level][1], scale, self.plan.scaling))
            for level, (names, scale) in scales.items()
        }
        return {
            "c": self._put_rows(_stacked(c)),
            "similarity": self._put_rows(before),
            "similarity_painta": self._put_rows(after),
        }

    def _put_rows(self, stacks: Mapping[int, tuple[list[str], Tensor]]) -> LevelMaps:
        transfer, maps = self.plan.transfer, {}
        for level, (names, stack) in stacks.items():
            rows = stack.unflatten(-1, self.plan.shape(level))  # (layers, h, w)
            arrays = rows.unbind() if transfer is None else transfer.put_rows(rows)
            maps[level] = dict(zip(names, arrays, strict=True))
        return LevelMaps(maps)


def _stacked(
    maps: Mapping[int, Mapping[str, Tensor]],
) -> dict[int, tuple[list[str], Tensor]]:
    """The layers of every level as one float32 tensor (layers, hw)."""
    return {
        level: ([*by_layer], torch.stack([*by_layer.values()]).float())
        for level, by_layer in maps.items()
        if by_layer
    }
