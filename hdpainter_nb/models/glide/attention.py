"""Joint text-image attention: pixels attend to the text and to each other in one softmax."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdpainter_nb.models.glide.config import GROUPS

__all__ = ["Attend", "GroupNorm", "JointAttention"]


class Attend(Protocol):
    """What may stand in the place of attention in every layer, to watch it or to change it."""

    def __call__(self, layer: str, q: Tensor, k: Tensor, v: Tensor, text: int) -> Tensor:
        """What the pixels attend to, (n, heads, hw, d).

        Args:
            layer: its name in the network.
            q: (n, heads, hw, d), of the pixels.
            k, v: (n, heads, text + hw, d), of the text and then of the pixels.
            text: tokens of the text.
        """


class GroupNorm(nn.GroupNorm):
    """Group normalisation in float32, whatever it is given.

    Args:
        channels: of what it is given.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, ...), of x's dtype."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


class JointAttention(nn.Module):
    """A residual block: softmax(Q [K_text, K]^T / sqrt(d)) [V_text, V].

    Args:
        channels: of the pixels.
        heads: how many share them.
        text_width: of the text's embeddings.
    """

    def __init__(self, channels: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.encoder_kv = nn.Conv1d(text_width, 2 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        self.name = ""  # in the network, which gives it

    def text_keys(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the text (n, L, text_width), each (n, heads, L, d)."""
        k, v = self._by_head(self.encoder_kv(context.transpose(1, 2))).chunk(2, dim=-1)
        return k, v

    def forward(self, x: Tensor, context: Tensor, attend: Attend | None = None) -> Tensor:
        """(n, channels, h, w) of x of that shape and the text (n, L, text_width)."""
        q, k, v = self._by_head(self.qkv(self.norm(x).flatten(2))).chunk(3, dim=-1)
        text_k, text_v = self.text_keys(context)
        k, v = torch.cat([text_k, k], 2), torch.cat([text_v, v], 2)
        if attend is None:
            attended = F.scaled_dot_product_attention(q, k, v)
        else:
            attended = attend(self.name, q, k, v, text_k.shape[2])
        merged = attended.transpose(2, 3).flatten(1, 2)  # (n, channels, hw)
        return x + self.proj_out(merged).view_as(x)

    def _by_head(self, x: Tensor) -> Tensor:
        """(n, heads * c, m) as (n, heads, m, c)."""
        return x.unflatten(1, (self.heads, -1)).transpose(2, 3)
