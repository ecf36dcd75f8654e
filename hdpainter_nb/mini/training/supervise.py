"""Teach the cross-attention of H/16 and H/32 to point at the objects that the words name.

During training only: a processor keeps the scores of those layers, and a small loss asks that a
word's attention lie on its object. Without it so small a model draws well but its maps, above all
the coarse ones that RASG reads, mean little.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor


class Plain:
    """Attention written out; may append its scores `(batch, heads, hw, tokens)` to a list.

    For such small heads this trains twice as fast on a CPU as the fused kernel.
    """

    def __init__(self, kept: list[Tensor] | None = None) -> None:
        self.kept = kept

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (batch, heads, n, d)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        scores = (query * attn.scale) @ key.transpose(-1, -2)
        if self.kept is not None:
            scores = scores.float()
            self.kept.append(scores)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        output: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return output


_LEVELS = {
    16: ("down_blocks.1.", "up_blocks.2."),
    32: ("down_blocks.2.", "up_blocks.1."),
}


def watch(unet: UNet2DConditionModel) -> dict[int, list[Tensor]]:
    """Install `Plain` everywhere; returns the lists it fills at H/16 and H/32 (clear them)."""
    kept: dict[int, list[Tensor]] = {level: [] for level in _LEVELS}
    processors = {name: Plain() for name in unet.attn_processors}
    for name in processors:
        for level, blocks in _LEVELS.items():
            if ".attn2." in name and name.startswith(blocks):
                processors[name] = Plain(kept[level])
    unet.set_attn_processor(processors)
    return kept


def coarser(marks: Tensor) -> Tensor:
    """Footprints `(b, tokens, h, w)` at half the resolution; the fullest cell always counts."""
    cover = F.avg_pool2d(marks.float(), 2)
    most = cover.amax((2, 3), keepdim=True)
    return (cover > 0.45) | ((cover == most) & (most > 0))


def pointing_loss(kept: dict[int, list[Tensor]], marks: Tensor) -> tuple[Tensor, Tensor]:
    """Two means over the tokens whose object is known; `marks` `(b, tokens, h/16, w/16)`.

    The first is minus the log of the share of a token's attention (softmax, mean over heads and
    layers) that lies on its object. The second is RASG's own objective at H/32, before softmax:
    `BCE_with_logits(mean score - 1, footprint)`.
    """
    shares, logits = marks.new_zeros((), dtype=torch.float32), None
    for level, scores in kept.items():
        plates = marks if level == 16 else coarser(marks)
        flat = plates.flatten(2).transpose(1, 2).float()  # (b, hw, tokens)
        known = flat.amax(1)  # (b, tokens)
        count = known.sum().clamp_min(1)
        maps = torch.stack([s.softmax(-1).mean(1) for s in scores]).mean(0)  # (b, hw, tokens)
        share = (maps * flat).sum(1) / maps.sum(1)
        shares = shares - ((share + 1e-3).log() * known).sum() / count / len(kept)
        if level == 32:
            mean = torch.stack([s.mean(1) for s in scores]).mean(0)
            cost = F.binary_cross_entropy_with_logits(mean - 1, flat, reduction="none").mean(1)
            logits = (cost * known).sum() / count
    assert logits is not None
    return shares, logits
