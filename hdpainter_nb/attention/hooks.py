"""One step's attention hooks: in the UNet for as long as it runs, then out whatever happens.

Afterwards every processor is the very object that it was, and no hook is left, also after an error,
a cancelled step or an interrupt.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hdpainter_nb.attention.layers import AttentionLayer, attention_layers
from hdpainter_nb.attention.observations import Observations
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.attention.processors import (
    HookContext,
    HookedAttention,
    HookedCrossAttention,
    HookedSelfAttention,
    SharedAttention,
    rows_of,
    unhooked,
)
from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.edits.edit import Point
from hdpainter_nb.errors import ModelError
from hdpainter_nb.method.painta import gaussian

__all__ = ["AttentionHooks", "Installation", "shared"]


class Installation(AbstractContextManager["Installation"]):
    """Processors and block hooks that are in a UNet inside, and out of it again outside.

    `eject` may be called again, and goes on where an interrupt stopped it. What an earlier
    installation left behind, however that came about, is taken out by the next `inject`.

    Args:
        processors: attention module -> what takes the place of its processor.
        block_hooks: block -> a forward pre-hook, called with keyword arguments.
        contexts: those of all hooks, to be told when a call of the UNet is theirs.
        layers: all of the UNet's, hooked or not.
    """

    def __init__(
        self,
        processors: Mapping[Attention, HookedAttention | SharedAttention],
        block_hooks: Mapping[nn.Module, _BlockHook],
        contexts: Sequence[HookContext],
        layers: Sequence[AttentionLayer],
    ) -> None:
        self.layers = layers
        self._processors = processors
        self._block_hooks = block_hooks
        self._contexts = contexts

    def __enter__(self) -> Installation:
        try:
            self.inject()
        except BaseException:
            self.eject()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.eject()

    def inject(self) -> None:
        """Put everything in, after what an earlier installation left has been taken out."""
        for layer in self.layers:
            _remove_block_hooks(layer.block)
            for attention in (layer.block.attn1, layer.block.attn2):
                clean = unhooked(attention.processor)
                if clean is not attention.processor:
                    attention.set_processor(clean)
        for block, hook in self._block_hooks.items():
            block.register_forward_pre_hook(hook, with_kwargs=True)
        for attention, processor in self._processors.items():
            attention.set_processor(processor)

    def eject(self) -> None:
        """Take everything out again: every processor is the object that it was."""
        for attention, processor in self._processors.items():
            if attention.processor is processor:
                attention.set_processor(processor.original)
        for block in self._block_hooks:
            _remove_block_hooks(block)

    @contextmanager
    def call(self, half: Half) -> Iterator[None]:
        """The UNet calls that this thread makes inside are those that are hooked.

        Args:
            half: which rows they have.
        """
        try:
            for context in self._contexts:
                context.half, context.thread = half, threading.get_ident()
            yield
        finally:
            for context in self._contexts:
                context.thread = None


class _BlockHook:
    """A forward pre-hook of a block that shows each reader its own sample's input."""

    def __init__(self, readers: Sequence[HookedSelfAttention]) -> None:
        self.readers = readers

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        count = len(self.readers)
        for number, reader in enumerate(self.readers):
            positional = rows_of(dict(enumerate(args)), number, count)
            reader.keep_block_input(
                block, tuple(positional.values()), rows_of(kwargs, number, count)
            )


def _remove_block_hooks(block: nn.Module) -> None:
    """Take our hooks out of a block, also those that an interrupt left there."""
    for number in [n for n, hook in block._forward_pre_hooks.items() if type(hook) is _BlockHook]:
        block._forward_pre_hooks_with_kwargs.pop(number, None)
        block._forward_pre_hooks.pop(number, None)


class AttentionHooks(Installation):
    """Context manager: the UNet with one step's hooks inside, as it was before outside.

    >>> with AttentionHooks(unet, plan) as hooks:
    ...     unet(x, t, context)
    >>> hooks.observations.fields()

    Args:
        unet: laid out as Stable Diffusion's.
        plan: what the hooks do.

    Raises:
        ModelError: a gradient is asked for, and there is no cross-attention at H/32.
    """

    def __init__(self, unet: nn.Module, plan: HookPlan) -> None:
        self.plan = plan
        self.layers = attention_layers(unet, plan.factor)
        self.observations = Observations(plan, self.layers)
        self.context = HookContext(plan, self.observations, _kernel(plan))
        score_layers = [layer.name for layer in self.layers if layer.level == SCORE_LEVEL]
        if plan.gradient and not score_layers:
            raise ModelError(
                "This UNet has no cross-attention at H/32, which RASG needs: use rasg=False."
            )
        self._last_scored = score_layers[-1] if score_layers else None
        self.processors: dict[Attention, HookedAttention] = {}
        """Attention module -> what takes the place of its processor."""
        for layer in self.layers:
            self._hook_self_attention(layer)
            self._hook_cross_attention(layer)
        self.readers = {
            processor.layer.block: processor
            for processor in self.processors.values()
            if isinstance(processor, HookedSelfAttention)
        }
        """Block -> the processor that is shown the block's input."""
        block_hooks = {block: _BlockHook([reader]) for block, reader in self.readers.items()}
        super().__init__(self.processors, block_hooks, [self.context], self.layers)

    def __enter__(self) -> AttentionHooks:
        super().__enter__()
        return self

    def _hook_self_attention(self, layer: AttentionLayer) -> None:
        painta = self.plan.painta and layer.level in PAINTA_LEVELS
        record_similarity = self.observations.records_similarity(layer)
        record_queries = self.observations.records_queries(layer, "self")
        if painta or record_similarity or record_queries or self._edited(layer, "self"):
            self.processors[layer.block.attn1] = HookedSelfAttention(
                self.context,
                layer,
                unhooked(layer.block.attn1.processor),
                painta=painta,
                record_similarity=record_similarity,
            )

    def _hook_cross_attention(self, layer: AttentionLayer) -> None:
        observations, gradient = self.observations, self.plan.gradient
        record_map = observations.records_map(layer)
        record_scores = (gradient and layer.level == SCORE_LEVEL) or observations.records_scores(
            layer
        )
        record_queries = observations.records_queries(layer, "cross")
        if record_map or record_scores or record_queries or self._edited(layer, "cross"):
            self.processors[layer.block.attn2] = HookedCrossAttention(
                self.context,
                layer,
                unhooked(layer.block.attn2.processor),
                record_map=record_map,
                record_scores=record_scores,
                end_graph=gradient and layer.name == self._last_scored,
            )

    def _edited(self, layer: AttentionLayer, attention: str) -> bool:
        """Whether an edit acts in the layer's cross- or self-attention, in any half."""
        edits = self.plan.edits
        points: tuple[Point, ...] = ("cross", "heads") if attention == "cross" else ("heads",)
        return edits is not None and any(
            edits.wanted(point, layer=layer.name, attention=attention, half=half)
            for point in points
            for half in ("cond", "uncond")
        )


def shared(hooks: Sequence[AttentionHooks]) -> Installation:
    """The hooks of several samples in one UNet: each sees its own sample's rows and no others.

    A call's rows are the unconditional halves of all samples, then the conditional ones. Everything
    but the hooked attention layers treats them as a batch like any other.
    """
    if len(hooks) == 1:
        return hooks[0]
    by_attention: dict[Attention, list[HookedAttention]] = {}
    by_block: dict[nn.Module, list[HookedSelfAttention]] = {}
    for one in hooks:
        for attention, processor in one.processors.items():
            by_attention.setdefault(attention, []).append(processor)
        for block, reader in one.readers.items():
            by_block.setdefault(block, []).append(reader)
    return Installation(
        {attention: SharedAttention(each) for attention, each in by_attention.items()},
        {block: _BlockHook(readers) for block, readers in by_block.items()},
        [one.context for one in hooks],
        hooks[0].layers,
    )


def _kernel(plan: HookPlan) -> Tensor | None:
    """What smooths c in every layer; made once a step."""
    rows = [*plan.rows.values()]
    wanted = plan.painta and plan.smooth and rows
    return gaussian(rows[0].device) if wanted else None
