"""The attention layers of a UNet, by name, in the order in which they run."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hdpainter_nb.errors import ModelError
from hdpainter_nb.select import LayerInfo

__all__ = ["AttentionLayer", "attention_layers", "heads", "layer_infos", "project_out"]


@dataclass(frozen=True, eq=False)
class AttentionLayer:
    """A transformer block of the UNet, its place and the resolution at which it works."""

    name: str
    level: int
    block: BasicTransformerBlock

    @property
    def heads(self) -> int:
        """Of its cross-attention."""
        return int(self.block.attn2.heads)

    @property
    def own(self) -> bool:
        """Whether its first attention is self-attention."""
        return not self.block.only_cross_attention


_layers: weakref.WeakKeyDictionary[nn.Module, dict[int, list[AttentionLayer]]] = (
    weakref.WeakKeyDictionary()
)


def attention_layers(unet: nn.Module, factor: int = 8) -> list[AttentionLayer]:
    """The UNet's transformer blocks in the order in which they run.

    The level follows from the place: down block i works at factor * 2^i pixels per position,
    `factor` being the pixels per latent position. A UNet is walked once; later calls only see that
    each block is still where it was.

    Raises:
        ModelError: the UNet is not laid out as Stable Diffusion's.
    """
    by_factor = _layers.setdefault(unet, {})
    layers = by_factor.get(factor)
    if layers is None or not all(_in_place(unet, layer) for layer in layers):
        layers = by_factor[factor] = _walk(unet, factor)
    return layers


def _in_place(unet: nn.Module, layer: AttentionLayer) -> bool:
    """Whether the block is still the one of that name."""
    module = unet
    for part in layer.name.split("."):
        child = module._modules.get(part)
        if child is None:
            return False
        module = child
    return module is layer.block


def _walk(unet: nn.Module, factor: int) -> list[AttentionLayer]:
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
    layers = [
        AttentionLayer(f"{prefix}.{name}", factor * 2**depth, module)
        for prefix, depth, part in parts
        for name, module in part.named_modules()
        if isinstance(module, BasicTransformerBlock) and module.attn2 is not None
    ]
    if not layers:
        raise ModelError(f"{type(unet).__name__} has no attention blocks to watch.")
    return layers


def layer_infos(unet: nn.Module, factor: int = 8) -> tuple[LayerInfo, ...]:
    """The layers as `Capture` chooses among them, in the order in which they run."""
    return tuple(
        LayerInfo(
            layer.name,
            layer.level,
            layer.heads,
            int(layer.block.attn2.inner_dim),
            own=layer.own,
        )
        for layer in attention_layers(unet, factor)
    )


def heads(attn: Attention, x: Tensor) -> Tensor:
    """(B, n, heads * d) as (B, heads, n, d)."""
    return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)


def project_out(attn: Attention, attended: Tensor) -> Tensor:
    """(B, heads, n, d) through the output projection: (B, n, C)."""
    merged = attended.transpose(1, 2).flatten(2)  # (B, n, heads * d)
    y: Tensor = attn.to_out[1](attn.to_out[0](merged))
    return y / attn.rescale_output_factor
