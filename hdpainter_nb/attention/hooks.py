"""Attention hooks: put into a UNet for one step, and taken out again whatever happens.

Afterwards every processor is the very object that it was, and no hook is left, also after an error,
a cancelled step or an interrupt.
"""

from __future__ import annotations

from collections.abc import Callable

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hdpainter_nb.attention.layers import AttentionLayer, attention_layers
from hdpainter_nb.attention.observations import Keeper, Seen
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.attention.processors import (
    HookedAttention,
    HookedCrossAttention,
    HookedSelfAttention,
)
from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.edits.edit import Point
from hdpainter_nb.errors import ModelError
from hdpainter_nb.method.painta import gaussian

__all__ = ["AttentionHooks"]


class AttentionHooks:
    """Context manager: the UNet with taps inside, as it was before outside.

    >>> with AttentionHooks(unet, plan) as hooks:
    ...     unet(x, t, context)
    >>> taps.seen
    """

    def __init__(self, unet: nn.Module, plan: HookPlan) -> None:
        self.plan = plan
        self.seen = Seen()
        self.half: Half = "both"
        self.gaussian = self._gaussian()
        self._layers = attention_layers(unet, plan.factor)
        self._undo: list[Callable[[], None]] = []
        scored = [layer.name for layer in self._layers if layer.level == SCORE_LEVEL]
        self._last_scored = scored[-1] if scored else None
        self.keeper = Keeper(plan, self.seen, self._layers)
        if plan.scores and not scored:
            raise ModelError(
                "This UNet has no cross-attention at H/32, which RASG needs: use rasg=False."
            )

    def __enter__(self) -> AttentionHooks:
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

    def _install(self, layer: AttentionLayer) -> None:
        plan, level, keeper = self.plan, layer.level, self.keeper
        introverted = plan.painta and level in PAINTA_LEVELS
        similar, mapped = keeper.wants_similarity(layer), keeper.wants_cross(layer)
        scored = (plan.scores and level == SCORE_LEVEL) or keeper.wants_scores(layer)
        edited = self._edited(layer)
        if introverted or similar or keeper.wants_queries(layer, "self") or edited["self"]:
            own = HookedSelfAttention(self, layer, introverted=introverted, similar=similar)
            self._replace(layer.block.attn1, own)
            hook = layer.block.register_forward_pre_hook(own.take_input, with_kwargs=True)
            self._undo.append(hook.remove)
        if mapped or scored or keeper.wants_queries(layer, "cross") or edited["cross"]:
            cut = plan.scores and layer.name == self._last_scored
            cross = HookedCrossAttention(self, layer, mapped=mapped, scored=scored, cut=cut)
            self._replace(layer.block.attn2, cross)

    def _gaussian(self) -> Tensor | None:
        """What smooths c in every layer; made once."""
        rows = [*self.plan.rows.values()]
        wanted = self.plan.painta and self.plan.smooth and rows
        return gaussian(rows[0].device) if wanted else None

    def _edited(self, layer: AttentionLayer) -> dict[str, bool]:
        """Whether an edit acts in the layer's cross- and self-attention, in any half."""
        edits = self.plan.edits
        points: dict[str, tuple[Point, ...]] = {"cross": ("cross", "heads"), "self": ("heads",)}
        return {
            attention: edits is not None
            and any(
                edits.wanted(point, layer=layer.name, attention=attention, half=half)
                for point in acting
                for half in ("cond", "uncond")
            )
            for attention, acting in points.items()
        }

    def _replace(self, attention: Attention, tap: HookedAttention) -> None:
        original = attention.processor
        tap.original = original
        attention.set_processor(tap)
        self._undo.append(lambda: attention.set_processor(original))

    def shape(self, level: int) -> tuple[int, int]:
        """(h, w) of a level."""
        return self.plan.size[0] // level, self.plan.size[1] // level
