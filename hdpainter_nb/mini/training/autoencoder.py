"""The autoencoder: configuration, analytic first guess, exact whitening of the latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers.models.resnet import ResnetBlock2D

_PAIRS = 6  # channels 0-2 carry +RGB, 3-5 carry -RGB (two signs survive the final SiLU)
_ONES = (6, 7)  # two constant channels keep the group norms from erasing absolute colour
_KEPT = 8
STABILITYS = 0.08333  # the scaling factor that diffusers insists on for any x4 upscaler
WIDTHS = {8: (16, 32, 64, 64), 4: (16, 32, 64)}  # by pixels per latent position


def new_vae(factor: int = 8) -> AutoencoderKL:
    """A stock 4-channel autoencoder: f=8 of the miniature, or f=4 of its x4 upscaler."""
    widths = WIDTHS[factor]
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=256,
    )


def factor_of(vae: AutoencoderKL) -> int:
    """Pixels per latent position."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _pass_through(block: ResnetBlock2D) -> None:
    """The first eight channels cross the residual block unchanged; the branch starts small."""
    block.conv2.weight.mul_(0.15)
    nn.init.zeros_(block.conv2.bias)
    if (shortcut := block.conv_shortcut) is not None:
        shortcut.weight[:_KEPT] = 0
        nn.init.zeros_(shortcut.bias)
        shortcut.weight[range(_KEPT), range(_KEPT)] = 1
        shortcut.weight[_KEPT:, :_KEPT] *= 0.3


def _split(conv: nn.Conv2d, gain: float) -> None:
    """Three colours become six signed channels, and two channels hold +3 and -3."""
    assert conv.bias is not None
    conv.weight[:_KEPT] = 0
    nn.init.zeros_(conv.bias)
    for k in range(3):
        conv.weight[k, k, 1, 1] = gain
        conv.weight[k + 3, k, 1, 1] = -gain
    conv.bias[_ONES[0]], conv.bias[_ONES[1]] = 3, -3


def _merge(conv: nn.Conv2d) -> None:
    """Six signed channels become three colours again."""
    assert conv.bias is not None
    conv.weight[:3] = 0
    nn.init.zeros_(conv.bias)
    for k in range(3):
        conv.weight[k, k, 1, 1] = 1
        conv.weight[k, k + 3, 1, 1] = -1


def _resample(vae: AutoencoderKL) -> None:
    """Average 2 x 2 on the way down, a smooth tent filter on the way up."""
    tent = torch.tensor([1.0, 2, 1]) / 4
    for block in vae.encoder.down_blocks:
        for down in block.downsamplers or []:
            down.conv.weight[:_KEPT] = 0
            nn.init.zeros_(down.conv.bias)
            down.conv.weight[range(_KEPT), range(_KEPT), :2, :2] = 0.25
    for block in vae.decoder.up_blocks:
        for up in block.upsamplers or []:
            up.conv.weight[:_KEPT] = 0
            nn.init.zeros_(up.conv.bias)
            up.conv.weight[range(_KEPT), range(_KEPT)] = torch.outer(tent, tent)


@torch.no_grad()
def analytic_start(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Make the network begin as "average each square of f x f, then enlarge smoothly".

    With few channels a group norm discards absolute colour, and a network started at random never
    learns any. `pictures` `(n, 3, h, w)`, -1 to 1, set the two gains by least squares.
    """
    encoder, decoder = vae.encoder, vae.decoder
    _split(encoder.conv_in, 1.0)
    _split(decoder.conv_in, 0.5)
    stages = [*encoder.down_blocks, encoder.mid_block, *decoder.up_blocks, decoder.mid_block]
    for stage in stages:
        for block in stage.resnets:
            _pass_through(block)
    _resample(vae)
    spare = encoder.conv_out.weight[3].clone()
    _merge(encoder.conv_out)
    _merge(decoder.conv_out)
    encoder.conv_out.weight[3] = spare  # the fourth channel is free to learn something else
    encoder.conv_out.weight[4:] = 0
    encoder.conv_out.bias[4:] = -4.5  # log variance
    for mixing in (vae.quant_conv, vae.post_quant_conv):
        nn.init.zeros_(mixing.bias)
        mixing.weight.copy_(torch.eye(mixing.weight.shape[0])[:, :, None, None])
    goal = 2 * F.avg_pool2d(pictures, factor_of(vae))
    latents = vae.encode(pictures).latent_dist.mean[:, :3]
    encoder.conv_out.weight[:3] *= (latents * goal).sum() / latents.square().sum()
    output = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    decoder.conv_out.weight[:3] *= (output * pictures).sum() / output.square().sum()


@torch.no_grad()
def whiten(vae: AutoencoderKL, latents: Tensor) -> None:
    """Give the latents zero mean and unit covariance without changing any reconstruction.

    The two 1 x 1 convolutions around the latents absorb a linear map and its inverse. Raw latents
    are nearly three copies of the lightness, so that colour would drown in the diffusion's noise.
    `latents` `(n, 4, h, w)`: means measured before the change.
    """
    flat = latents.transpose(0, 1).flatten(1).double()
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    forward = (vectors / values.sqrt()).T  # (4 whitened, 4 raw)
    inverse = vectors * values.sqrt()
    quant, post = vae.quant_conv, vae.post_quant_conv
    weight = quant.weight[:4, :, 0, 0].double()
    bias = quant.bias[:4].double()
    quant.weight[:4, :, 0, 0] = (forward @ weight).to(quant.weight.dtype)
    quant.bias[:4] = (forward @ (bias - mean)).to(quant.bias.dtype)
    back = post.weight[:, :, 0, 0].double()
    post.bias.add_((back @ mean).to(post.bias.dtype))
    post.weight[:, :, 0, 0] = (back @ inverse).to(post.weight.dtype)
    # The posterior's spread has no exact counterpart: a small constant, log variance -6.
    quant.weight[4:] = 0
    quant.bias[4:] = -6.0


@torch.no_grad()
def scale_latents(vae: AutoencoderKL, gain: float) -> None:
    """Multiply the latents by `gain` without changing any reconstruction."""
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:4] *= gain
    quant.bias[:4] *= gain
    quant.bias[4:] += 2 * math.log(gain)  # log variance
    post.weight /= gain


@torch.no_grad()
def importance(vae: AutoencoderKL, latents: Tensor, least: float = 0.01) -> Tensor:
    """How much each latent channel moves the picture: squared, relative to their mean, `(4,)`.

    Whitened channels vary alike and do not matter alike: one of them may hardly be seen at all.
    `latents` `(n, 4, h, w)` are scaled ones; the answer is at least `least`.
    """
    factor, nudge = vae.config.scaling_factor, 0.1
    plain = vae.decode(latents / factor).sample
    moved = []
    for channel in range(latents.shape[1]):
        other = latents.clone()
        other[:, channel] += nudge * torch.randn_like(other[:, channel])
        moved.append((vae.decode(other / factor).sample - plain).square().mean())
    squares = torch.stack(moved)
    return (squares / squares.mean()).clamp_min(least)


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal to noise ratio in dB of each picture; values from -1 to 1."""
    error = ((output.clamp(-1, 1) - target) / 2).square().mean((1, 2, 3))
    return -10 * error.log10()
