"""The hooked attention processors: the plain layer, with PAIntA and with what is recorded of it.

They do what the stock processor does, in the same operations, and on the way make self-attention
introverted (PAIntA, eq. 5), keep RASG's scores (eq. 8) and reduce what `Capture` wants to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from hdpainter_nb.attention.layers import heads, project_out
from hdpainter_nb.errors import SamplingCancelled
from hdpainter_nb.method.attention import mean_scores, probabilities
from hdpainter_nb.method.painta import c_scores, key_scale, mean_similarity, painta_attention

if TYPE_CHECKING:
    from hdpainter_nb.attention.hooks import AttentionHooks
    from hdpainter_nb.attention.layers import AttentionLayer
    from hdpainter_nb.edits.edit import Point

__all__ = ["HookedAttention", "HookedCrossAttention", "HookedSelfAttention", "weight_of"]


def weight_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    """A weight that is read without calling its module, fetched where it is offloaded."""
    weight = cast(torch.Tensor, getattr(module, name))
    hook: Any = getattr(module, "_hf_hook", None)
    if not weight.is_meta or hook is None:
        return weight
    for one in getattr(hook, "hooks", (hook,)):
        if getattr(one, "weights_map", None) is not None:
            return cast(torch.Tensor, one.weights_map[name]).to(one.execution_device, weight.dtype)
    return weight


class HookedAttention:
    """An attention processor in the calling convention of `AttnProcessor2_0`."""

    attention: ClassVar[Literal["cross", "self"]]
    original: Any

    def __init__(self, taps: AttentionHooks, layer: AttentionLayer) -> None:
        self.taps = taps
        self.layer = layer

    def project(self, attn: Attention, x: Tensor, context: Any) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v, each (B, heads, n, d), of pixels `x` (B, hw, C) attending to `context`.

        Raises:
            SamplingCancelled: every layer looks whether the step is still wanted.
        """
        if self.taps.plan.cancelled():
            raise SamplingCancelled("The step was cancelled.")
        source = x if context is None else _text(context)
        q, k, v = attn.to_q(x), attn.to_k(source), attn.to_v(source)
        return heads(attn, q), heads(attn, k), heads(attn, v)

    def attend(
        self, attn: Attention, x: Tensor, context: Any, more: dict[str, Any], *qkv: Any
    ) -> Tensor:
        """The layer's plain output, (B, hw, C).

        A stock processor is computed here from the same q, k and v in the same operations, hence
        to the bit. Any other (IP-Adapter, sliced, the user's own) is called as it stands.
        """
        if _is_stock(attn, self.original) and more.get("attention_mask") is None:
            return project_out(attn, F.scaled_dot_product_attention(*qkv))
        y: Tensor = self.original(attn, x, encoder_hidden_states=context, **more)
        return y

    # --- interventions ---------------------------------------------------------------------------

    def halves(self, batch: int) -> list[str]:
        """Which half each row of the batch belongs to; the unconditional one comes first."""
        if self.taps.half == "both":
            return ["uncond"] * (batch // 2) + ["cond"] * (batch - batch // 2)
        return [self.taps.half] * batch

    def wanted(self, point: Point, half: str) -> bool:
        """Whether an edit of this step acts at a point of this layer."""
        edits = self.taps.plan.edits
        return edits is not None and edits.wanted(point, **self._site(half))

    def edited(self, point: Point, value: Tensor, half: str) -> Tensor:
        """A quantity of this layer after the edits of this step."""
        edits = self.taps.plan.edits
        return value if edits is None else edits.apply(point, value, **self._site(half))

    def _site(self, half: str) -> dict[str, Any]:
        layer, shape = self.layer, self.taps.shape(self.layer.level)
        where = {"layer": layer.name, "level": layer.level, "shape": shape}
        return {**where, "attention": self.attention, "half": half}

    def put(self, attn: Attention, y: Tensor, row: int, before: Tensor, after: Tensor) -> Tensor:
        """The layer's output with one row of the batch as the edits leave it.

        Another processor than the stock one is taken to do plain attention and more: its output
        changes by as much as plain attention's does.

        Args:
            y: (B, hw, C).
            before, after: (heads, hw, d), what the heads of that row attended to.
        """
        new = project_out(attn, after[None])  # (1, hw, C)
        if not _is_stock(attn, self.original):
            new = y[row : row + 1] + new - project_out(attn, before[None])
        return torch.cat([y[:row], new, y[row + 1 :]])


def _text(context: Any) -> Tensor:
    """The text embeddings; IP-Adapter passes them in a tuple with the picture's."""
    text: Tensor = context[0] if isinstance(context, tuple) else context
    return text


def _is_stock(attn: Attention, processor: Any) -> bool:
    """Whether `processor` on `attn` does nothing beyond projections and softmax attention."""
    extras = (attn.spatial_norm, attn.group_norm, attn.norm_q, attn.norm_k, attn.norm_cross)
    return (
        type(processor) is AttnProcessor2_0
        and not attn.residual_connection
        and all(extra is None for extra in extras)
    )


class HookedSelfAttention(HookedAttention):
    """Self-attention: PAIntA (eq. 5) and appendix B's similarity at H/16 and H/32, and edits."""

    attention = "self"

    def __init__(
        self, taps: AttentionHooks, layer: AttentionLayer, *, introverted: bool, similar: bool
    ) -> None:
        super().__init__(taps, layer)
        self.introverted = introverted
        self.similar = similar
        self._x: Tensor | None = None
        self._context: Any = None

    def take_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the block: its input before norm1, (B, hw, C), and the text."""
        self._x = args[0] if args else kwargs["hidden_states"]
        self._context = kwargs.get("encoder_hidden_states", args[2] if len(args) > 2 else None)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C); called as `AttnProcessor2_0` is."""
        taps, level, name = self.taps, self.layer.level, self.layer.name
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        y = self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)
        row, masked = taps.plan.row, None
        if taps.half != "uncond":
            taps.keeper.queries(self.layer, "self", q[row], k[row])
        rows = taps.plan.rows.get(level)
        if rows is None or not len(rows):
            return self._intervene(attn, y, q, k, v)
        watched = self.similar and taps.half != "uncond"
        if watched or self.introverted:
            chosen = q.index_select(2, rows)  # (B, heads, n, d)
        if watched:
            taps.seen.similarity.setdefault(level, {})[name] = mean_similarity(
                chosen[row].detach(), k[row].detach()
            )
        if self.introverted:
            scale = key_scale(self._c(hidden_states, y), rows)
            if watched:
                taps.seen.scales.setdefault(level, {})[name] = scale.detach()
            masked = painta_attention(chosen, k, v, scale)  # (B, heads, n, d)
            y = y.index_copy(1, rows, project_out(attn, masked))
        self._x = self._context = None
        return self._intervene(attn, y, q, k, v, masked)

    def _intervene(
        self,
        attn: Attention,
        y: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        masked: Tensor | None = None,
    ) -> Tensor:
        """The output with the heads as the edits leave them.

        Args:
            y: (B, hw, C), with PAIntA.
            masked: (B, heads, n, d), what the heads of the masked rows attended to under PAIntA.
        """
        for row, half in enumerate(self.halves(len(y))):
            if not self.wanted("heads", half):
                continue
            values = F.scaled_dot_product_attention(q[row], k[row], v[row])  # (heads, hw, d)
            if masked is not None:
                rows = self.taps.plan.rows[self.layer.level]
                values = values.index_copy(1, rows, masked[row])
            y = self.put(attn, y, row, values, self.edited("heads", values, half))
        return y

    def _c(self, normed: Tensor, y: Tensor) -> Tensor:
        """c_j (hw,) of the conditional half, from the cross-attention that comes next.

        The unconditional half, when it runs apart, takes the c that the conditional half left.
        """
        taps, block = self.taps, self.layer.block
        kept = taps.seen.c.setdefault(self.layer.level, {})
        if taps.half == "uncond":
            return kept[self.layer.name]
        if taps.plan.residual:
            assert self._x is not None
            x = self._x
        else:  # the community pipeline's attempt to undo norm1 (switch 11)
            weight, bias = (weight_of(block.norm1, name) for name in ("weight", "bias"))
            x = (normed + bias) * weight
        cross = block.attn2
        q = heads(cross, cross.to_q(block.norm2(x[-1:] + y[-1:])))  # (1, heads, hw, d)
        k = heads(cross, cross.to_k(_text(self._context)[-1:]))  # (1, heads, L, d)
        shape = taps.shape(self.layer.level)
        c = c_scores(
            q[0], k[0], taps.plan.indices, shape, smooth=taps.plan.smooth, kernel=taps.gaussian
        )
        c = self.edited("c", c, "cond")
        kept[self.layer.name] = c.detach()
        return c


class HookedCrossAttention(HookedAttention):
    """Cross-attention: maps, at H/32 the scores that RASG differentiates, and edits."""

    attention = "cross"

    def __init__(
        self, taps: AttentionHooks, layer: AttentionLayer, *, mapped: bool, scored: bool, cut: bool
    ) -> None:
        super().__init__(taps, layer)
        self.mapped = mapped
        self.scored = scored
        self.cut = cut

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C); called as `AttnProcessor2_0` is."""
        taps, row = self.taps, self.taps.plan.row
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        if taps.half != "uncond":
            taps.keeper.queries(self.layer, "cross", q[row], k[row])
            if self.scored:
                pair = q[row], k[row]
                if taps.plan.scores:  # a gradient is made of them
                    pair = pair[0].float(), pair[1].float()
                scores = mean_scores(*pair).unflatten(-1, taps.shape(self.layer.level))
                taps.seen.scores.append(scores)
                taps.keeper.scores(self.layer, scores, q[row], k[row])
            if self.mapped and not self.wanted("cross", "cond"):
                taps.keeper.cross(self.layer, probabilities(q[row].detach(), k[row].detach()))
            if self.cut and torch.is_grad_enabled():
                # S depends on nothing that follows, so neither need the graph. The caller's
                # `enable_grad` block restores the mode.
                torch.set_grad_enabled(False)
        y = self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)
        return self._intervene(attn, y, q, k, v)

    def _intervene(self, attn: Attention, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The output (B, hw, C) with probabilities and heads as the edits leave them."""
        for row, half in enumerate(self.halves(len(y))):
            cross, by_head = self.wanted("cross", half), self.wanted("heads", half)
            if not (cross or by_head):
                continue
            values = edited = F.scaled_dot_product_attention(q[row], k[row], v[row])
            if cross:
                p = self.edited("cross", probabilities(q[row], k[row]), half)  # (heads, hw, L)
                if self.mapped and row == self.taps.plan.row % len(y):
                    self.taps.keeper.cross(self.layer, p.detach())
                edited = p.to(v.dtype) @ v[row]  # (heads, hw, d)
            if by_head:
                edited = self.edited("heads", edited, half)
            y = self.put(attn, y, row, values, edited)
        return y
