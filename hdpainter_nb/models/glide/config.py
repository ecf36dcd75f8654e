"""Widths and depths of GLIDE's networks: `GlideConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hdpainter_nb.errors import ModelError
from hdpainter_nb.utils.checked import checked

__all__ = ["BASE", "GROUPS", "UPSAMPLER", "GlideConfig"]

GROUPS = 32
"""Of every group normalisation."""


@checked(error=ModelError)
@dataclass(frozen=True, kw_only=True)
class GlideConfig:
    """How one of GLIDE's networks is built; the defaults are those of the published base model.

    Raises:
        ModelError: the numbers do not go together.
    """

    sample_size: int = 64
    """Side in pixels of the pictures it makes."""
    in_channels: int = 7
    """7 of the base model: x_t, masked picture, mask. 10 of the upsampler: the small picture too.
    """
    channels: int = 192
    """Width of the first level; the embedding of t and of the text has four times as many."""
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    """Width of each level in multiples of `channels`; each has half the side of the one before."""
    res_blocks: int = 3
    """Residual blocks of each level on the way down; one more on the way up."""
    attention_at: tuple[int, ...] = (2, 4, 8)
    """Pixels of the sample per position at the levels that have attention."""
    head_channels: int = 64
    vocabulary: int = 50257
    text_length: int = 128
    """Tokens of the text, padding included; pixels attend to all of them."""
    text_width: int = 512
    text_layers: int = 16
    text_heads: int = 8

    def __post_init__(self) -> None:
        numbers = [v for v in vars(self).values() if isinstance(v, int)]
        if min(numbers, default=0) < 1 or not self.channel_mult or min(self.channel_mult) < 1:
            raise ModelError("Every number of a GlideConfig must be 1 or more.")
        if self.in_channels not in (7, 10):
            raise ModelError(
                "GLIDE's inpainting networks have 7 input channels (base) or 10 (upsampler), not "
                f"{self.in_channels}."
            )
        if self.sample_size % 2 ** (len(self.channel_mult) - 1):
            raise ModelError(
                f"sample_size={self.sample_size} cannot be halved {len(self.channel_mult) - 1} "
                "times."
            )
        widths = [self.channels * mult for mult in self.channel_mult]
        if any(width % GROUPS or width % self.head_channels for width in widths):
            raise ModelError(
                f"The widths {widths} must be multiples of {GROUPS} and of "
                f"head_channels={self.head_channels}."
            )
        if self.text_width % self.text_heads:
            raise ModelError(
                f"text_width={self.text_width} must be a multiple of text_heads={self.text_heads}."
            )

    @property
    def stage(self) -> Literal["base", "upsampler"]:
        """Which of the two it is."""
        return "base" if self.in_channels == 7 else "upsampler"


BASE = GlideConfig()
"""Of the published ``base_inpaint.pt``, 64 px."""
UPSAMPLER = GlideConfig(
    sample_size=256,
    in_channels=10,
    channel_mult=(1, 1, 2, 2, 4, 4),
    res_blocks=2,
    attention_at=(8, 16, 32),
)
"""Of the published ``upsample_inpaint.pt``, 256 px."""
