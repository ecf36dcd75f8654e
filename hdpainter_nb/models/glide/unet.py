"""GLIDE's network: a UNet with joint text-image attention, and its text transformer: `GlideUNet`.

Its parts have the names that the published weight files use.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from hdpainter_nb.models.glide.attention import Attend, JointAttention
from hdpainter_nb.models.glide.blocks import Blocks, NormSiLU, Resampling, ResBlock
from hdpainter_nb.models.glide.config import GlideConfig
from hdpainter_nb.models.glide.text import LayerNorm, TextTransformer
from hdpainter_nb.select import LayerInfo

__all__ = ["GlideUNet", "timestep_embedding"]


class GlideUNet(nn.Module):
    """Predicts the noise in a picture and the variance of the step; text says what is in it.

    Args:
        config: widths and depths.
    """

    def __init__(self, config: GlideConfig) -> None:
        super().__init__()
        self.config = config
        width, embedding = config.channels, 4 * config.channels
        self.token_embedding = nn.Embedding(config.vocabulary, config.text_width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.text_length, config.text_width))
        self.padding_embedding = nn.Parameter(torch.zeros(config.text_length, config.text_width))
        self.transformer = TextTransformer(config.text_width, config.text_layers, config.text_heads)
        self.final_ln = LayerNorm(config.text_width)
        self.transformer_proj = nn.Linear(config.text_width, embedding)
        self.time_embed = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self._levels: dict[str, int] = {}  # layer -> pixels of the sample per position
        skipped = self._build_down()
        self._build_middle()
        self._build_up(skipped)
        self.out = nn.Sequential(
            NormSiLU(width * config.channel_mult[0]),
            nn.Identity(),
            nn.Conv2d(width * config.channel_mult[0], 6, 3, padding=1),
        )
        self._layers: list[tuple[str, int, int, int]] = []  # name, pixels, heads, width; in order
        for name, module in self.named_modules():
            if isinstance(module, JointAttention):
                module.name = name
                facts = self._levels[name], module.heads, module.proj_out.out_channels
                self._layers.append((name, *facts))

    # --- building --------------------------------------------------------------------------------

    def _build_down(self) -> list[int]:
        """The way down; the widths of what is handed over to the way up."""
        config = self.config
        widths = [config.channels * mult for mult in config.channel_mult]
        self.input_blocks = nn.ModuleList(
            [Blocks(nn.Conv2d(config.in_channels, widths[0], 3, padding=1))]
        )
        skipped, before = [widths[0]], widths[0]
        for level, width in enumerate(widths):
            for _ in range(config.res_blocks):
                self._add(self.input_blocks, before, width, level)
                skipped.append(width)
                before = width
            if level + 1 < len(widths):
                self.input_blocks.append(Blocks(self._res_block(width, width, "down")))
                skipped.append(width)
        return skipped

    def _build_middle(self) -> None:
        width = self.config.channels * self.config.channel_mult[-1]
        self.middle_block = Blocks(
            self._res_block(width, width), self._attention(width), self._res_block(width, width)
        )
        self._levels["middle_block.1"] = 2 ** (len(self.config.channel_mult) - 1)

    def _build_up(self, skipped: list[int]) -> None:
        config = self.config
        widths = [config.channels * mult for mult in config.channel_mult]
        self.output_blocks = nn.ModuleList()
        before = widths[-1]
        for level, width in reversed([*enumerate(widths)]):
            for number in range(config.res_blocks + 1):
                blocks = self._add(
                    self.output_blocks, before + skipped.pop(), width, level, "output_blocks"
                )
                before = width
                if level and number == config.res_blocks:
                    blocks.append(self._res_block(width, width, "up"))

    def _add(
        self,
        blocks: nn.ModuleList,
        before: int,
        width: int,
        level: int,
        name: str = "input_blocks",
    ) -> Blocks:
        """A residual block and, where the level has it, attention."""
        new = Blocks(self._res_block(before, width))
        if 2**level in self.config.attention_at:
            new.append(self._attention(width))
            self._levels[f"{name}.{len(blocks)}.1"] = 2**level
        blocks.append(new)
        return new

    def _res_block(self, before: int, width: int, resampling: Resampling = "none") -> ResBlock:
        return ResBlock(before, width, 4 * self.config.channels, resampling)

    def _attention(self, width: int) -> JointAttention:
        heads = width // self.config.head_channels
        return JointAttention(width, heads, self.config.text_width)

    # --- what it is ------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes; what it is given and gives is float32."""
        return self.transformer_proj.weight.dtype

    def computing_in(self, dtype: torch.dtype) -> Self:
        """The same network with its weights in another precision.

        The embedding of t and the last convolution stay in float32, as norms are computed.
        """
        self.to(dtype)
        self.time_embed.float()
        self.out.float()
        return self

    def layers(self, factor: int) -> tuple[LayerInfo, ...]:
        """The attention layers in the order in which they run.

        Args:
            factor: pixels of the finished picture per pixel of the sample, from which levels count.
        """
        return tuple(
            LayerInfo(name, factor * pixels, heads, width)
            for name, pixels, heads, width in self._layers
        )

    def attention(self, layer: str) -> JointAttention:
        """The attention layer of a name.

        Raises:
            KeyError: there is none.
        """
        if layer not in self._levels:
            raise KeyError(f"no attention layer {layer!r}; there are {list(self._levels)}")
        module = self.get_submodule(layer)
        assert isinstance(module, JointAttention)
        return module

    # --- running ---------------------------------------------------------------------------------

    def encode_text(self, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What the UNet is told of texts.

        Args:
            ids: (n, L) token numbers.
            real: (n, L) bool; where False, the position's own padding embedding stands.

        Returns:
            (n, L, d), which pixels attend to; and (n, 4 channels), of the last position.
        """
        x = self.token_embedding(ids) + self.positional_embedding
        x = torch.where(real[..., None], x, self.padding_embedding)
        x = self.final_ln(self.transformer(x))
        return x, self.transformer_proj(x[:, -1])

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        pooled: Tensor,
        attend: Attend | None = None,
    ) -> Tensor:
        """The noise, and where the variance lies between its bounds (-1 .. 1): (n, 6, h, w).

        Args:
            x: (n, in_channels, h, w): x_t, the known pixels, where they are known (1), and for the
                upsampler the small picture, enlarged.
            timesteps: (n,), of the 1000 that it was trained on.
            context, pooled: from `encode_text`.
            attend: takes the place of attention in every layer.
        """
        embedding = self.time_embed(timestep_embedding(timesteps, self.config.channels))
        embedding = (embedding + pooled.float()).to(self.dtype)
        context = context.to(self.dtype)
        h, skipped = x.to(self.dtype), []
        for blocks in self.input_blocks:
            h = blocks(h, embedding, context, attend)
            skipped.append(h)
        h = self.middle_block(h, embedding, context, attend)
        for blocks in self.output_blocks:
            h = blocks(torch.cat([h, skipped.pop()], 1), embedding, context, attend)
        output: Tensor = self.out(h.float())
        return output


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """cos(t f) and then sin(t f) of frequencies f from 1 down to nearly 1/10000: (n, width)."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    angles = timesteps[:, None].float() * torch.exp(-math.log(10000) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], 1)
