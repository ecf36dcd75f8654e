"""Attention taps: with `processors`, the only files that touch diffusers' `Attention`.

`Taps` puts itself into a UNet for one step and takes itself out again in a ``finally``: afterwards
every processor is the very object it was, and no hook is left. While inside, it

- makes the self-attention of H/16 and H/32 introverted where PAIntA asks for it (eq. 5),
- keeps the cross-attention scores before softmax at H/32 with their graph, for RASG (eq. 9),
- reduces what `Capture` wants to see, and drops the rest.

The conditional half always comes last in a batch of two, or alone, and before the unconditional
half when they run apart, because both halves use the conditional half's c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hdpainter_nb.capture import Capture
from hdpainter_nb.capture_bytes import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.editing import Point, StepEdits
from hdpainter_nb.errors import ModelError
from hdpainter_nb.keeping import Keeper
from hdpainter_nb.offload import Shelf
from hdpainter_nb.painta import gaussian
from hdpainter_nb.processors import CrossTap, SelfTap, Tap, heads
from hdpainter_nb.selection import LayerShape

__all__ = [
    "PAINTA_LEVELS",
    "SCORE_LEVEL",
    "Layer",
    "Plan",
    "Seen",
    "Taps",
    "attention_layers",
    "heads",
    "layer_shapes",
]

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


def layer_shapes(unet: nn.Module, factor: int = 8) -> tuple[LayerShape, ...]:
    """The layers as `Capture` chooses among them, in the order in which they run."""
    return tuple(
        LayerShape(
            layer.name,
            layer.level,
            int(layer.block.attn2.heads),
            int(layer.block.attn2.inner_dim),
            own=not layer.block.only_cross_attention,
        )
        for layer in attention_layers(unet, factor)
    )


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
    positions: Sequence[int] | None = None  # the tokens that are kept; None: all of `tokens`
    shelf: Shelf | None = None  # where what is kept goes; None: it stays on the device
    row: int = -1  # the row of the batch that is watched
    edits: StepEdits | None = None  # interventions
    cancelled: Callable[[], bool] = lambda: False


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
        plan, level, keeper = self.plan, layer.level, self.keeper
        introverted = plan.painta and level in PAINTA_LEVELS
        similar, mapped = keeper.wants_similarity(layer), keeper.wants_cross(layer)
        scored = (plan.scores and level == SCORE_LEVEL) or keeper.wants_scores(layer)
        edited = self._edited(layer)
        if introverted or similar or keeper.wants_queries(layer, "self") or edited["self"]:
            own = SelfTap(self, layer, introverted=introverted, similar=similar)
            self._replace(layer.block.attn1, own)
            hook = layer.block.register_forward_pre_hook(own.take_input, with_kwargs=True)
            self._undo.append(hook.remove)
        if mapped or scored or keeper.wants_queries(layer, "cross") or edited["cross"]:
            cut = plan.scores and layer.name == self._last_scored
            cross = CrossTap(self, layer, mapped=mapped, scored=scored, cut=cut)
            self._replace(layer.block.attn2, cross)

    def _gaussian(self) -> Tensor | None:
        """What smooths c in every layer; made once."""
        rows = [*self.plan.rows.values()]
        wanted = self.plan.painta and self.plan.smooth and rows
        return gaussian(rows[0].device) if wanted else None

    def _edited(self, layer: Layer) -> dict[str, bool]:
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

    def _replace(self, attention: Attention, tap: Tap) -> None:
        original = attention.processor
        tap.original = original
        attention.set_processor(tap)
        self._undo.append(lambda: attention.set_processor(original))

    def shape(self, level: int) -> tuple[int, int]:
        """(h, w) of a level."""
        return self.plan.size[0] // level, self.plan.size[1] // level
