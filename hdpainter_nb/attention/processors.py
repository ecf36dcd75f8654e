"""The hooked attention processors.

They do what the stock processor does, in the same operations, and on the way make self-attention
introverted (PAIntA, eq. 5), keep RASG's scores (eq. 8) and reduce what `Capture` wants to see.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from hdpainter_nb.attention.layers import AttentionLayer, heads, project_out
from hdpainter_nb.attention.observations import Observations
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.edits.edit import Point
from hdpainter_nb.errors import SamplingCancelled
from hdpainter_nb.method.attention import mean_scores, probabilities
from hdpainter_nb.method.painta import c_scores, key_scale, mean_similarity, painta_attention
from hdpainter_nb.utils.swapped_weights import affine_of

__all__ = [
    "HookContext",
    "HookedAttention",
    "HookedCrossAttention",
    "HookedSelfAttention",
    "SharedAttention",
    "rows_of",
    "unhooked",
]


@dataclass(eq=False)
class HookContext:
    """What the hooked layers of a UNet share during one step."""

    plan: HookPlan
    observations: Observations
    kernel: Tensor | None = None  # (1, 1, 3, 3), what smooths c; made once
    half: Half = "both"  # which rows the UNet call under way has
    thread: int | None = None  # that makes the UNet call under way; None between calls

    @property
    def ours(self) -> bool:
        """Whether the UNet call under way is the one that is hooked.

        Another pipeline may run the same UNet in another thread meanwhile; its call passes.
        """
        return self.thread == threading.get_ident()


class HookedAttention:
    """An attention processor in the calling convention of `AttnProcessor2_0`.

    Args:
        context: shared by all hooked layers.
        layer: where it is put in.
        original: the processor whose place it takes.
    """

    attention: ClassVar[Literal["cross", "self"]]

    def __init__(self, context: HookContext, layer: AttentionLayer, original: Any) -> None:
        self.context = context
        self.plan = context.plan
        self.observations = context.observations
        self.layer = layer
        self.original = original
        _look_like(self, original)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C); called as `AttnProcessor2_0` is."""
        if self.context.ours:
            return self.hooked(attn, hidden_states, encoder_hidden_states, **more)
        y: Tensor = self.original(
            attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **more
        )
        return y

    def hooked(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C) in the call that is hooked."""
        raise NotImplementedError

    def project(self, attn: Attention, x: Tensor, context: Any) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v, each (B, heads, n, d), of pixels `x` (B, hw, C) attending to `context`.

        Raises:
            SamplingCancelled: every layer looks whether the step is still wanted.
        """
        if self.plan.cancelled():
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
        half = self.context.half
        if half == "both":
            return ["uncond"] * (batch // 2) + ["cond"] * (batch - batch // 2)
        return [half] * batch

    def wanted(self, point: Point, half: str) -> bool:
        """Whether an edit of this step acts at a point of this layer."""
        edits = self.plan.edits
        return edits is not None and edits.wanted(point, **self._site(half))

    def edited(self, point: Point, value: Tensor, half: str) -> Tensor:
        """A quantity of this layer after the edits of this step."""
        edits = self.plan.edits
        return value if edits is None else edits.apply(point, value, **self._site(half))

    def _site(self, half: str) -> dict[str, Any]:
        layer, shape = self.layer, self.plan.shape(self.layer.level)
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
        self,
        context: HookContext,
        layer: AttentionLayer,
        original: Any,
        *,
        painta: bool,
        record_similarity: bool,
    ) -> None:
        super().__init__(context, layer, original)
        self.painta = painta
        self.record_similarity = record_similarity
        self._x: Tensor | None = None
        self._text_states: Any = None

    def keep_block_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the block: its input before norm1, (B, hw, C), and the text."""
        if not self.context.ours:
            return
        self._x = args[0] if args else kwargs["hidden_states"]
        self._text_states = kwargs.get("encoder_hidden_states", args[2] if len(args) > 2 else None)

    def hooked(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C) in the call that is hooked."""
        layer, row = self.layer, self.plan.row
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        y = self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)
        conditional = self.context.half != "uncond"
        if conditional:
            self.observations.add_queries(layer, "self", q[row], k[row])
        rows = self.plan.rows.get(layer.level)
        if rows is None or not len(rows):
            return self._intervene(attn, y, q, k, v)
        record = self.record_similarity and conditional
        masked_q, masked = None, None
        if record or self.painta:
            masked_q = q.index_select(2, rows)  # (B, heads, n, d)
        if record and masked_q is not None:
            similarity = mean_similarity(masked_q[row].detach(), k[row].detach())  # (hw,)
            self.observations.add_similarity(layer, similarity)
        if self.painta and masked_q is not None:
            scale = key_scale(self._c(hidden_states, y), rows)  # (hw,)
            if record:
                self.observations.add_key_scale(layer, scale)
            masked = painta_attention(masked_q, k, v, scale, self.plan.scaling)  # (B, heads, n, d)
            y = y.index_copy(1, rows, project_out(attn, masked))
        self._x = self._text_states = None
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
                rows = self.plan.rows[self.layer.level]
                values = values.index_copy(1, rows, masked[row])
            y = self.put(attn, y, row, values, self.edited("heads", values, half))
        return y

    def _c(self, normed: Tensor, y: Tensor) -> Tensor:
        """c_j (hw,) of the conditional half, from the cross-attention that comes next.

        The unconditional half, when it runs apart, takes the c that the conditional half left.

        Args:
            normed: (B, hw, C), the block's input after norm1.
            y: (B, hw, C), what plain self-attention makes of it.
        """
        layer, plan = self.layer, self.plan
        if self.context.half == "uncond":
            return self.observations.c[layer.level][layer.name]
        block, cross = layer.block, layer.block.attn2
        if plan.residual:
            assert self._x is not None
            x = self._x
        else:  # the community pipeline's attempt to undo norm1 (switch 11)
            weight, bias = affine_of(block.norm1, normed)
            x = ((normed + bias) * weight).to(normed.dtype)  # norms may be kept in float32
        q = heads(cross, cross.to_q(block.norm2(x[-1:] + y[-1:])))  # (1, heads, hw, d)
        k = heads(cross, cross.to_k(_text(self._text_states)[-1:]))  # (1, heads, L, d)
        c = c_scores(
            q[0],
            k[0],
            plan.indices,
            plan.shape(layer.level),
            smooth=plan.smooth,
            kernel=self.context.kernel,
        )
        c = self.edited("c", c, "cond")
        self.observations.add_c(layer, c)
        return c


class HookedCrossAttention(HookedAttention):
    """Cross-attention: maps, at H/32 the scores that RASG differentiates (eq. 8), and edits."""

    attention = "cross"

    def __init__(
        self,
        context: HookContext,
        layer: AttentionLayer,
        original: Any,
        *,
        record_map: bool,
        record_scores: bool,
        end_graph: bool,
    ) -> None:
        super().__init__(context, layer, original)
        self.record_map = record_map
        self.record_scores = record_scores
        self.end_graph = end_graph

    def hooked(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (B, hw, C) in the call that is hooked."""
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        if self.context.half != "uncond":
            self._record(q[self.plan.row], k[self.plan.row])
            if self.end_graph and torch.is_grad_enabled():
                # S depends on nothing that follows, so neither need the graph. The caller's
                # `enable_grad` block restores the mode.
                torch.set_grad_enabled(False)
        y = self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)
        return self._intervene(attn, y, q, k, v)

    def _record(self, q: Tensor, k: Tensor) -> None:
        """What is kept of q (heads, hw, d) and k (heads, L, d) of the conditional half."""
        layer, observations = self.layer, self.observations
        observations.add_queries(layer, "cross", q, k)
        if self.record_scores:
            # Where a gradient is made of them, in float32.
            pair = (q.float(), k.float()) if self.plan.gradient else (q, k)
            mean = mean_scores(*pair).unflatten(-1, self.plan.shape(layer.level))  # (L, h, w)
            observations.add_scores(layer, mean, q, k)
        if self.record_map and not self.wanted("cross", "cond"):
            observations.add_map(layer, probabilities(q.detach(), k.detach()))

    def _intervene(self, attn: Attention, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The output (B, hw, C) with probabilities and heads as the edits leave them."""
        for row, half in enumerate(self.halves(len(y))):
            cross, by_head = self.wanted("cross", half), self.wanted("heads", half)
            if not (cross or by_head):
                continue
            values = edited = F.scaled_dot_product_attention(q[row], k[row], v[row])
            if cross:
                p = self.edited("cross", probabilities(q[row], k[row]), half)  # (heads, hw, L)
                if self.record_map and row == self.plan.row % len(y):
                    self.observations.add_map(self.layer, p.detach())
                edited = p.to(v.dtype) @ v[row]  # (heads, hw, d)
            if by_head:
                edited = self.edited("heads", edited, half)
            y = self.put(attn, y, row, values, edited)
        return y


class SharedAttention:
    """An attention processor that hands each sample's rows to that sample's own processor.

    Args:
        processors: one for each sample, all of one layer.
    """

    def __init__(self, processors: Sequence[HookedAttention]) -> None:
        self.processors = processors
        self.original = processors[0].original
        _look_like(self, self.original)

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """The layer's output (n * B, hw, C); called as `AttnProcessor2_0` is."""
        if not self.processors[0].context.ours:
            y: Tensor = self.original(
                attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **more
            )
            return y
        given = {
            "hidden_states": hidden_states,
            "encoder_hidden_states": encoder_hidden_states,
            **more,
        }
        graph, outputs = torch.is_grad_enabled(), []
        for number, processor in enumerate(self.processors):
            torch.set_grad_enabled(graph)  # a processor may end the graph, for its own sample
            outputs.append(processor(attn, **rows_of(given, number, len(self.processors))))
        return torch.stack(outputs, 1).flatten(0, 1)


def rows_of(values: dict[Any, Any], number: int, count: int) -> dict[Any, Any]:
    """What of some arguments belongs to one sample of `count`: every count-th row of tensors."""
    return {
        name: value[number::count] if isinstance(value, Tensor) and value.ndim else value
        for name, value in values.items()
    }


def unhooked(processor: Any) -> Any:
    """The processor that was there before any hooks; a clean one as it is."""
    while isinstance(processor, HookedAttention | SharedAttention):
        processor = processor.original
    return processor


def _look_like(hooked: Any, original: Any) -> None:
    """Give the signature of `original` to a processor that takes its place.

    diffusers reads from it which of ``cross_attention_kwargs`` a processor takes, and drops the
    others. Without a reference to the processor, which would keep its tensors past the step. The
    signature is worked out where somebody asks for it, not for every layer of every step.
    """
    weak = weakref.proxy(hooked)

    def call(*args: Any, **kwargs: Any) -> Any:
        return weak(*args, **kwargs)

    call.__wrapped__ = original.__call__  # type: ignore[attr-defined]
    vars(hooked)["__call__"] = call
