"""Attention taps: the only file that touches diffusers' `Attention`.

`Taps` puts itself into a UNet for one step and takes itself out again in a ``finally``: afterwards
every processor is the very object it was, and no hook is left. While inside, it

- makes the self-attention of H/16 and H/32 introverted where PAIntA asks for it (eq. 5),
- keeps the cross-attention scores before softmax at H/32 with their graph, for RASG (eq. 9),
- reduces what `Capture` wants to see, and drops the rest.

The conditional half always comes last in a batch of two, or alone, and before the unconditional
half when they run apart, because both halves use the conditional half's c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from hdpainter_nb.capture import Capture
from hdpainter_nb.errors import ModelError, SamplingCancelled
from hdpainter_nb.painta import c_scores, key_scale, mean_similarity, painta_attention

__all__ = ["PAINTA_LEVELS", "SCORE_LEVEL", "Layer", "Plan", "Seen", "Taps", "attention_layers"]

PAINTA_LEVELS = (16, 32)
SCORE_LEVEL = 32

Half = Literal["both", "cond", "uncond"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A transformer block of the UNet, where it stands and at which resolution it works."""

    name: str
    level: int
    block: BasicTransformerBlock


def attention_layers(unet: nn.Module, factor: int = 8) -> list[Layer]:
    """The UNet's transformer blocks in the order in which they run.

    The level follows from the place: down block i works at factor * 2^i pixels per position,
    `factor` being the pixels per latent position.

    Raises:
        ModelError: the UNet is not laid out as Stable Diffusion's.
    """
    parts: list[tuple[str, int, nn.Module]] = []
    try:
        down, mid, up = unet.down_blocks, unet.mid_block, unet.up_blocks
        depth = len(down)  # type: ignore[arg-type]
        parts += [(f"down_blocks.{i}", i, b) for i, b in enumerate(down)]  # type: ignore[arg-type]
        parts += [("mid_block", depth - 1, mid)] if isinstance(mid, nn.Module) else []
        parts += [
            (f"up_blocks.{i}", depth - 1 - i, b)
            for i, b in enumerate(up)  # type: ignore[arg-type]
        ]
    except (AttributeError, TypeError) as error:
        raise ModelError(
            f"{type(unet).__name__} has no down, mid and up blocks; only UNets laid out as Stable "
            "Diffusion's can be watched."
        ) from error
    found = [
        Layer(f"{prefix}.{name}", factor * 2**depth, module)
        for prefix, depth, part in parts
        for name, module in part.named_modules()
        if isinstance(module, BasicTransformerBlock) and module.attn2 is not None
    ]
    if not found:
        raise ModelError(f"{type(unet).__name__} has no attention blocks to watch.")
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What the taps of one step are to do."""

    size: tuple[int, int]  # (H, W) of the padded picture in pixels
    indices: Sequence[int]  # ind(tau)
    tokens: int  # SOT .. EOT, what is kept of the text axis
    rows: dict[int, Tensor]  # level -> (n,) indices of masked positions
    capture: Capture
    painta: bool = False
    residual: bool = True  # switch 11
    smooth: bool = True  # switch 10
    scores: bool = False  # keep the graph of Abar for a gradient
    factor: int = 8  # pixels per latent position
    queries: bool = False  # keep q and k of the self-attention at H/16 and H/32
    cancelled: Callable[[], bool] = lambda: False


@dataclass(eq=False)
class Seen:
    """What one step showed, still as tensors on the model's device. Keys: level, then layer."""

    cross: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # ([heads,] tokens, h, w)
    c: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,)
    similarity: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,)
    similarity_painta: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # (hw,)
    queries: dict[int, dict[str, tuple[Tensor, Tensor]]] = field(default_factory=dict)
    scores: list[Tensor] = field(default_factory=list)  # (L, h, w) per H/32 layer, mean over heads

    def mean_scores(self) -> Tensor:
        """Abar: (L, H/32, W/32), mean over layers and heads (all layers have equally many)."""
        return torch.stack(self.scores).mean(0)


class Taps:
    """Context manager: the UNet with taps inside, as it was before outside.

    >>> with Taps(unet, plan) as taps:
    ...     unet(x, t, context)
    >>> taps.seen
    """

    def __init__(self, unet: nn.Module, plan: Plan) -> None:
        self.plan = plan
        self.seen = Seen()
        self.half: Half = "both"
        self._layers = attention_layers(unet, plan.factor)
        self._undo: list[Callable[[], None]] = []
        scored = [layer.name for layer in self._layers if layer.level == SCORE_LEVEL]
        self._last_scored = scored[-1] if scored else None
        self._counts = Counter(layer.level for layer in self._layers)
        if plan.scores and not scored:
            raise ModelError(
                "This UNet has no cross-attention at H/32, which RASG needs: use rasg=False."
            )

    def __enter__(self) -> Taps:
        try:
            for layer in self._layers:
                self._install(layer)
        except BaseException:
            self.eject()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.eject()

    def eject(self) -> None:
        """Take everything out again, last in first out."""
        while self._undo:
            self._undo.pop()()

    def _install(self, layer: Layer) -> None:
        plan, level = self.plan, layer.level
        capture = plan.capture
        introverted = plan.painta and level in PAINTA_LEVELS
        similar = capture.similarity and level in PAINTA_LEVELS
        mapped = capture.cross is not None and level in capture.levels
        scored = (plan.scores or capture.scores) and level == SCORE_LEVEL
        if introverted or similar or (plan.queries and level in PAINTA_LEVELS):
            own = SelfTap(self, layer, introverted=introverted, similar=similar)
            self._replace(layer.block.attn1, own)
            hook = layer.block.register_forward_pre_hook(own.take_input, with_kwargs=True)
            self._undo.append(hook.remove)
        if mapped or scored:
            cut = plan.scores and layer.name == self._last_scored
            cross = CrossTap(self, layer, mapped=mapped, scored=scored, cut=cut)
            self._replace(layer.block.attn2, cross)

    def _replace(self, attention: Attention, tap: _Tap) -> None:
        original = attention.processor
        tap.original = original
        attention.set_processor(tap)
        self._undo.append(lambda: attention.set_processor(original))

    def reduce_cross(self, layer: Layer, probabilities: Tensor) -> None:
        """Keep (heads, hw, L) probabilities in the detail that was asked for."""
        detail = self.plan.capture.cross
        kept = probabilities[..., : self.plan.tokens].transpose(-1, -2)  # (heads, tokens, hw)
        kept = kept if detail == "heads" else kept.mean(0)
        kept = kept.unflatten(-1, self.shape(layer.level))
        if detail == "mean":
            kept = kept / self._counts[layer.level]
            layers = self.seen.cross.setdefault(layer.level, {})
            layers["mean"] = layers["mean"] + kept if "mean" in layers else kept
        else:
            self.seen.cross.setdefault(layer.level, {})[layer.name] = kept

    def shape(self, level: int) -> tuple[int, int]:
        """(h, w) of a level."""
        return self.plan.size[0] // level, self.plan.size[1] // level


class _Tap:
    """An attention processor in the calling convention of `AttnProcessor2_0`."""

    original: Any

    def __init__(self, taps: Taps, layer: Layer) -> None:
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


def _text(context: Any) -> Tensor:
    """The text embeddings; IP-Adapter passes them in a tuple with the picture's."""
    text: Tensor = context[0] if isinstance(context, tuple) else context
    return text


def heads(attn: Attention, x: Tensor) -> Tensor:
    """(B, n, heads * d) as (B, heads, n, d)."""
    return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)


def project_out(attn: Attention, attended: Tensor) -> Tensor:
    """(B, heads, n, d) through the output projection: (B, n, C)."""
    merged = attended.transpose(1, 2).flatten(2)  # (B, n, heads * d)
    y: Tensor = attn.to_out[1](attn.to_out[0](merged))
    return y / attn.rescale_output_factor


def _is_stock(attn: Attention, processor: Any) -> bool:
    """Whether `processor` on `attn` does nothing beyond projections and softmax attention."""
    extras = (attn.spatial_norm, attn.group_norm, attn.norm_q, attn.norm_k, attn.norm_cross)
    return (
        type(processor) is AttnProcessor2_0
        and not attn.residual_connection
        and all(extra is None for extra in extras)
    )


class SelfTap(_Tap):
    """Self-attention at H/16 or H/32: PAIntA (eq. 5) and appendix B's similarity."""

    def __init__(self, taps: Taps, layer: Layer, *, introverted: bool, similar: bool) -> None:
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
        taps, level, name = self.taps, self.layer.level, self.layer.name
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        y = self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)
        if taps.plan.queries and taps.half != "uncond":
            taps.seen.queries.setdefault(level, {})[name] = (q[-1].detach(), k[-1].detach())
        rows = taps.plan.rows[level]
        if not len(rows):
            return y
        watched = self.similar and taps.half != "uncond"
        if watched:
            similarity = mean_similarity(q[-1].detach(), k[-1].detach(), rows)
            taps.seen.similarity.setdefault(level, {})[name] = similarity
        if self.introverted:
            c = self._c(hidden_states, y)
            scale = key_scale(c, rows)
            if watched:
                after = similarity * scale.detach()
                taps.seen.similarity_painta.setdefault(level, {})[name] = after
            masked = painta_attention(q, k, v, scale, rows)  # (B, heads, n, d)
            y = y.index_copy(1, rows, project_out(attn, masked))
        self._x = self._context = None
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
            x = (normed + block.norm1.bias) * block.norm1.weight
        cross = block.attn2
        q = heads(cross, cross.to_q(block.norm2(x[-1:] + y[-1:])))  # (1, heads, hw, d)
        k = heads(cross, cross.to_k(_text(self._context)[-1:]))  # (1, heads, L, d)
        shape = taps.shape(self.layer.level)
        c = c_scores(q[0], k[0], taps.plan.indices, shape, smooth=taps.plan.smooth)
        kept[self.layer.name] = c.detach()
        return c


class CrossTap(_Tap):
    """Cross-attention: maps to look at, and at H/32 the scores that RASG differentiates."""

    def __init__(self, taps: Taps, layer: Layer, *, mapped: bool, scored: bool, cut: bool) -> None:
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
        taps = self.taps
        q, k, v = self.project(attn, hidden_states, encoder_hidden_states)
        if taps.half != "uncond":
            if self.scored:
                shape = taps.shape(self.layer.level)
                taps.seen.scores.append(mean_scores(q[-1], k[-1]).unflatten(-1, shape))
            if self.mapped:
                taps.reduce_cross(self.layer, probabilities(q[-1].detach(), k[-1].detach()))
            if self.cut and torch.is_grad_enabled():
                # S depends on nothing that follows, so neither need the graph. The caller's
                # `enable_grad` block restores the mode.
                torch.set_grad_enabled(False)
        return self.attend(attn, hidden_states, encoder_hidden_states, more, q, k, v)


def mean_scores(q: Tensor, k: Tensor) -> Tensor:
    """Q K^T / sqrt(d) averaged over heads: one product over all heads' channels at once.

    Args:
        q: (heads, hw, d). k: (heads, L, d).

    Returns:
        (L, hw) float32.
    """
    count, _, d = q.shape
    flat_q = q.transpose(0, 1).flatten(1).float()  # (hw, heads * d)
    flat_k = k.transpose(0, 1).flatten(1).float()  # (L, heads * d)
    return flat_k @ flat_q.T * (d**-0.5 / count)


def probabilities(q: Tensor, k: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) in float32: (heads, hw, L)."""
    logits = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    return logits.softmax(-1)
