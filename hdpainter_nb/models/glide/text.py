"""GLIDE's text transformer: every token attends to every other, padding included."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LayerNorm", "TextTransformer"]


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32, whatever it is given."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., d), of x's dtype."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class TextTransformer(nn.Module):
    """Residual blocks of self-attention and a perceptron, each after a layer normalisation.

    Args:
        width: d.
        layers: blocks.
        heads: of each.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(n, L, d) of (n, L, d)."""
        for block in self.resblocks:
            x = block(x)
        return x


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = _SelfAttention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = _Perceptron(width)
        self.ln_2 = LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        after: Tensor = x + self.mlp(self.ln_2(x))
        return after


class _SelfAttention(nn.Module):
    """The channels of q, k and v lie together for each head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.c_qkv(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (n, heads, L, 3d)
        attended = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        projected: Tensor = self.c_proj(attended.transpose(1, 2).flatten(2))
        return projected


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        after: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return after
