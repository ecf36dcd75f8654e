"""The residual blocks of GLIDE's UNet, told of t and of the text's last token by one vector."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from hdpainter_nb.models.glide.attention import Attend, GroupNorm, JointAttention

__all__ = ["Blocks", "NormSiLU", "ResBlock", "Resampling"]

Resampling = Literal["none", "down", "up"]


class NormSiLU(GroupNorm):
    """Group normalisation and SiLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, ...), of x's dtype."""
        return F.silu(super().forward(x))


class ResBlock(nn.Module):
    """Two convolutions beside the identity; the vector scales and shifts what lies between them.

    Args:
        channels: of what it is given.
        out_channels: of what it gives.
        embedding: width of the vector.
        resampling: whether both ways halve the side (by means of four) or double it (by
            repetition).
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        embedding: int,
        resampling: Resampling = "none",
    ) -> None:
        super().__init__()
        self.resampling = resampling
        # Identities and activations stand where the published weights count them.
        self.in_layers = nn.Sequential(
            NormSiLU(channels), nn.Identity(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm(out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = out_channels == channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(n, out_channels, h', w') of x (n, channels, h, w) and the vector (n, embedding)."""
        h = self.in_layers[2](self._resampled(self.in_layers[0](x)))
        scale, shift = self.emb_layers(embedding)[..., None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        after: Tensor = self.skip_connection(self._resampled(x)) + self.out_layers[1:](h)
        return after

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resampling == "down":
            return F.avg_pool2d(x, 2)
        if self.resampling == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return x


class Blocks(nn.Sequential):
    """One block after the other, each given what its kind takes."""

    def forward(  # type: ignore[override]  # it is given more than the blocks of its base
        self, x: Tensor, embedding: Tensor, context: Tensor, attend: Attend | None = None
    ) -> Tensor:
        """(n, channels', h', w'); see the blocks for the shapes of what they are given."""
        for block in self:
            if isinstance(block, ResBlock):
                x = block(x, embedding)
            elif isinstance(block, JointAttention):
                x = block(x, context, attend)
            else:
                x = block(x)
        return x
