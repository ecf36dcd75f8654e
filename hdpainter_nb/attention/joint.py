"""Joint text-image attention, watched in one step: `JointHooks`.

One softmax goes over the text's keys and the pixels'. Its text columns are recorded as
cross-attention, so a pixel's sum to less than 1: the rest went to other pixels.

PAIntA finds no cross-attention here that comes after self-attention. Eq. 5 is carried over: c comes
from the text's logits of the same layer, in a softmax of their own, and the logits from masked to
known pixels are multiplied by it; those to the text stay. The paper does not know this case: it is
an experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdpainter_nb.attention.observations import Observations
from hdpainter_nb.attention.plan import HookPlan
from hdpainter_nb.capture.capture import PAINTA_LEVELS
from hdpainter_nb.edits.edit import Point
from hdpainter_nb.errors import SamplingCancelled
from hdpainter_nb.method.attention import mean_scores, probabilities, scores
from hdpainter_nb.method.painta import (
    c_scores,
    key_scale,
    mean_similarity,
    painta_attention,
    rescaled,
)
from hdpainter_nb.select import LayerInfo

__all__ = ["JointHooks"]


class JointHooks:
    """Takes the place of attention in every joint layer of a call, as `Attend` says.

    >>> hooks = JointHooks(plan, layers)
    >>> unet(x, t, context, pooled, hooks)
    >>> hooks.observations.fields()

    Args:
        plan: what is watched and changed.
        layers: those of the network, in the order in which they run.
        halves: which half each row of the call is.
    """

    def __init__(self, plan: HookPlan, layers: Sequence[LayerInfo], halves: Sequence[str]) -> None:
        self.plan = plan
        self.observations = Observations(plan, layers)
        self.halves = [*halves]
        self._layers = {layer.name: layer for layer in layers}

    def __call__(self, layer: str, q: Tensor, k: Tensor, v: Tensor, text: int) -> Tensor:
        """What the pixels attend to, (n, heads, hw, d).

        Args:
            layer: its name.
            q: (n, heads, hw, d).
            k, v: (n, heads, text + hw, d).
            text: tokens of the text, whose keys come first.

        Raises:
            SamplingCancelled: every layer looks whether the step is still wanted.
        """
        if self.plan.cancelled():
            raise SamplingCancelled("The step was cancelled.")
        info, row, seen = self._layers[layer], self.plan.row, self.observations
        text_k, own_k = k[row, :, :text], k[row, :, text:]
        seen.add_queries(info, "self", q[row], own_k)
        seen.add_queries(info, "cross", q[row], text_k)
        if seen.records_scores(info):
            mean = mean_scores(q[row], text_k).unflatten(-1, self.plan.shape(info.level))
            seen.add_scores(info, mean, q[row], text_k)
        scale = self._key_scale(info, q[row], text_k, own_k)
        y = self._attended(info, q, k, v, scale)
        if seen.records_map(info) or self._wants_cross(info):
            y = self._through_text(info, y, (q, k, v), scale, text)
        return self._edited_heads(info, y)

    # --- PAIntA ----------------------------------------------------------------------------------

    def _key_scale(
        self, info: LayerInfo, q: Tensor, text_k: Tensor, own_k: Tensor
    ) -> Tensor | None:
        """The factor on each key, the text's included, as masked pixels see it; None: none.

        Args:
            q, own_k: (heads, hw, d). text_k: (heads, L, d). All of the conditional half.
        """
        plan, rows = self.plan, self.plan.rows.get(info.level)
        if rows is None or not len(rows):
            return None
        recorded = self.observations.records_similarity(info)
        if recorded:
            similarity = mean_similarity(q.index_select(1, rows), own_k)  # (hw,)
            self.observations.add_similarity(info, similarity)
        if not plan.painta or info.level not in PAINTA_LEVELS:
            return None
        shape = plan.shape(info.level)
        c = c_scores(q, text_k, plan.indices, shape, smooth=plan.smooth)
        c = self._edit("c", c, info, "cond")
        self.observations.add_c(info, c)
        scale = key_scale(c, rows)
        if recorded:
            self.observations.add_key_scale(info, scale)
        return torch.cat([scale.new_ones(text_k.shape[1]), scale])

    def _attended(
        self, info: LayerInfo, q: Tensor, k: Tensor, v: Tensor, scale: Tensor | None
    ) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v)
        if scale is None:
            return y
        rows = self.plan.rows[info.level]
        masked = painta_attention(q.index_select(2, rows), k, v, scale, self.plan.scaling)
        return y.index_copy(2, rows, masked)

    # --- the text columns ------------------------------------------------------------------------

    def _through_text(
        self,
        info: LayerInfo,
        y: Tensor,
        qkv: tuple[Tensor, Tensor, Tensor],
        scale: Tensor | None,
        text: int,
    ) -> Tensor:
        """The output with the text's columns as the edits leave them; they are recorded on the way.

        Edits change what a pixel takes from a word; what it takes from pixels stays.
        """
        q, k, v = qkv
        for row, half in enumerate(self.halves):
            watched = row == self.plan.row % len(self.halves)
            edited = self._wanted("cross", info, half)
            if not edited and not (watched and self.observations.records_map(info)):
                continue
            p = probabilities(q[row], k[row])  # (heads, hw, text + hw)
            if scale is not None:
                rows = self.plan.rows[info.level]
                a = scores(q[row].index_select(1, rows), k[row])  # (heads, n, text + hw)
                a = rescaled(a.float(), scale.expand_as(a), self.plan.scaling)
                p = p.index_copy(1, rows, a.softmax(-1))
            columns = p[..., :text]
            if edited:
                columns = self._edit("cross", columns, info, half)
                new = torch.cat([columns, p[..., text:]], -1).to(v.dtype) @ v[row]
                y = torch.cat([y[:row], new[None], y[row + 1 :]])
            if watched and self.observations.records_map(info):
                self.observations.add_map(info, columns)
        return y

    # --- edits -----------------------------------------------------------------------------------

    def _wants_cross(self, info: LayerInfo) -> bool:
        return any(self._wanted("cross", info, half) for half in self.halves)

    def _edited_heads(self, info: LayerInfo, y: Tensor) -> Tensor:
        """The output with the heads as the edits leave them."""
        for row, half in enumerate(self.halves):
            if self._wanted("heads", info, half):
                new = self._edit("heads", y[row], info, half)
                y = torch.cat([y[:row], new[None], y[row + 1 :]])
        return y

    def _wanted(self, point: Point, info: LayerInfo, half: str) -> bool:
        edits = self.plan.edits
        return edits is not None and any(
            edits.wanted(point, **site) for site in self._sites(point, info, half)
        )

    def _edit(self, point: Point, value: Tensor, info: LayerInfo, half: str) -> Tensor:
        edits = self.plan.edits
        if edits is None:
            return value
        for site in self._sites(point, info, half):
            value = edits.apply(point, value, **site)
        return value

    def _sites(self, point: Point, info: LayerInfo, half: str) -> list[dict[str, Any]]:
        """Where an edit may say it acts: heads are those of both attentions, which are one here."""
        shape = self.plan.shape(info.level)
        where = {"layer": info.name, "level": info.level, "shape": shape, "half": half}
        kinds = ("cross", "self") if point == "heads" else ("cross",)
        return [{**where, "attention": kind} for kind in kinds]
