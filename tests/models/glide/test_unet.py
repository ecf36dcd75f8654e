"""GLIDE's network: against naive float64 arithmetic, and against recorded numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hdpainter_nb.errors import ModelError
from hdpainter_nb.method.blending import blend_known
from hdpainter_nb.models.glide import schedule
from hdpainter_nb.models.glide.attention import JointAttention
from hdpainter_nb.models.glide.blocks import ResBlock
from hdpainter_nb.models.glide.config import BASE, UPSAMPLER, GlideConfig
from hdpainter_nb.models.glide.schedule import AncestralScheduler
from hdpainter_nb.models.glide.text import TextTransformer
from hdpainter_nb.models.glide.unet import GlideUNet, timestep_embedding
from hdpainter_nb.models.schedulers import Guided, State
from support import builders_glide
from support.builders_glide import fill, make_unet, numbers

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "glide.json").read_text())
STAGES = {"base": builders_glide.BASE, "upsampler": builders_glide.UPSAMPLER}


def some(x: Tensor, count: int) -> list[float]:
    """Values that lie evenly in a tensor, as they were recorded."""
    places = torch.linspace(0, x.numel() - 1, count).long()
    return x.flatten()[places].tolist()


def texts() -> tuple[Tensor, Tensor]:
    """Two texts, the second one empty."""
    ids = torch.full((2, 12), 264)
    ids[0, :3] = torch.tensor([5, 260, 17])
    real = torch.zeros(2, 12, dtype=torch.bool)
    real[0, :3] = True
    return ids, real


def told(config: GlideConfig) -> dict[str, Tensor]:
    """What the network is told beside x: known pixels, where they are known, the small picture."""
    side = config.sample_size
    mask = (numbers((2, 1, side, side), 3) > 0).float()
    parts = {"known": numbers((2, 3, side, side), 2, 0.5).clamp(-1, 1) * mask, "mask": mask}
    if config.stage == "upsampler":
        low = numbers((2, 3, side // 4, side // 4), 4, 0.5).clamp(-1, 1)
        parts["low"] = torch.nn.functional.interpolate(
            low, (side, side), mode="bilinear", align_corners=False
        )
    return parts


# --- recorded numbers of the published code, with the same weights -------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_the_published_code_gives_the_same(stage: str) -> None:
    config, expected = STAGES[stage], GOLDEN[stage]
    unet, side = make_unet(config), STAGES[stage].sample_size
    context, pooled = unet.encode_text(*texts())
    assert some(context, 12) == pytest.approx(expected["context"], abs=1e-5)
    assert some(pooled, 12) == pytest.approx(expected["pooled"], abs=1e-5)
    x = numbers((2, 3, side, side), 1)
    stacked = torch.cat([x, *told(config).values()], 1)
    output = unet(stacked, torch.tensor([997, 500]), context, pooled)
    assert some(output, 24) == pytest.approx(expected["unet"], abs=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_its_steps_are_the_same(stage: str) -> None:
    config = STAGES[stage]
    unet, parts = make_unet(config), {k: v[:1] for k, v in told(config).items()}
    base = stage == "base"
    betas = schedule.squared_cosine() if base else schedule.linear()
    chosen = schedule.respaced([4]) if base else schedule.fast27()
    scheduler = AncestralScheduler(betas, tuple(chosen))
    context, pooled = (part[:1] for part in unet.encode_text(*texts()))
    shape = (1, 3, config.sample_size, config.sample_size)
    x = numbers(shape, 9)
    for index, expected in enumerate(GOLDEN[stage]["steps"]):
        t = torch.tensor([scheduler.timesteps[index]])
        output = unet(torch.cat([x, *parts.values()], 1), t, context, pooled)
        x0 = scheduler.x0(x, output[:, :3], index)
        x0 = blend_known(x0, parts["known"], 1 - parts["mask"]).clamp(-1, 1)
        state = State(index, x, torch.empty(0, dtype=torch.uint8))
        guided = Guided(output, x0, output[:, :3])
        x = scheduler.step(state, guided, numbers(shape, 11 + index)).latents
        assert some(x, 12) == pytest.approx(expected, abs=2e-5)


# --- naive arithmetic ----------------------------------------------------------------------------


def doubles(module: torch.nn.Module) -> dict[str, Any]:
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def group_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x (channels, ...), 32 groups."""
    groups = x.reshape(32, -1)
    normed = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
    ones = (1,) * (x.ndim - 1)
    return normed.reshape(x.shape) * weight.reshape(-1, *ones) + bias.reshape(-1, *ones)


def test_joint_attention_is_one_softmax_over_text_and_pixels() -> None:
    channels, heads, width, tokens = 64, 4, 24, 5
    layer = JointAttention(channels, heads, width)
    fill(layer)
    x, context = numbers((1, channels, 2, 3), 50), numbers((1, tokens, width), 51)
    w = doubles(layer)
    pixels = x[0].double().numpy().reshape(channels, 6)
    normed = group_norm(pixels, w["norm.weight"], w["norm.bias"])
    qkv = w["qkv.weight"][..., 0] @ normed + w["qkv.bias"][:, None]
    text = w["encoder_kv.weight"][..., 0] @ context[0].double().numpy().T
    text = text + w["encoder_kv.bias"][:, None]
    d, merged = channels // heads, []
    for head in range(heads):  # each has its q, k and v side by side
        q, k, v = qkv.reshape(heads, 3, d, 6)[head]
        text_k, text_v = text.reshape(heads, 2, d, tokens)[head]
        k, v = np.concatenate([text_k, k], 1), np.concatenate([text_v, v], 1)
        for pixel in range(6):
            e = np.exp(q[:, pixel] @ k / d**0.5)
            merged.append(v @ (e / e.sum()))
    attended = np.stack(merged).reshape(heads, 6, d).transpose(0, 2, 1).reshape(channels, 6)
    naive = pixels + w["proj_out.weight"][..., 0] @ attended + w["proj_out.bias"][:, None]
    with torch.no_grad():
        output = layer(x, context)
    np.testing.assert_allclose(output[0].numpy().reshape(channels, 6), naive, atol=1e-5)


def test_text_attends_to_every_token() -> None:
    width, heads, tokens = 16, 2, 4
    network = TextTransformer(width, 1, heads)
    fill(network)
    x, w = numbers((1, tokens, width), 60), doubles(network)

    def norm(y: np.ndarray, name: str) -> np.ndarray:
        centred = y - y.mean(-1, keepdims=True)
        unit = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
        return unit * w[f"resblocks.0.{name}.weight"] + w[f"resblocks.0.{name}.bias"]

    def linear(y: np.ndarray, name: str) -> np.ndarray:
        return y @ w[f"resblocks.0.{name}.weight"].T + w[f"resblocks.0.{name}.bias"]

    y = x[0].double().numpy()
    qkv = linear(norm(y, "ln_1"), "attn.c_qkv").reshape(tokens, heads, 3, width // heads)
    merged = np.zeros((tokens, heads, width // heads))
    for head in range(heads):
        q, k, v = qkv[:, head].transpose(1, 0, 2)
        e = np.exp(q @ k.T / (width // heads) ** 0.5)
        merged[:, head] = e / e.sum(1, keepdims=True) @ v
    y = y + linear(merged.reshape(tokens, width), "attn.c_proj")
    h = linear(norm(y, "ln_2"), "mlp.c_fc")
    y = y + linear(0.5 * h * (1 + np.vectorize(math.erf)(h / 2**0.5)), "mlp.c_proj")
    with torch.no_grad():
        output = network(x)
    np.testing.assert_allclose(output[0].numpy(), y, atol=1e-5)


@pytest.mark.parametrize("resampling", ["none", "down", "up"])
def test_a_residual_block_scales_and_shifts(resampling: Any) -> None:
    block = ResBlock(32, 64, 8, resampling)
    fill(block)
    x, vector = numbers((1, 32, 4, 4), 70), numbers((1, 8), 71)
    w = {name: value.double() for name, value in block.state_dict().items()}

    def resampled(y: Tensor) -> Tensor:
        if resampling == "down":
            return y.unflatten(-1, (2, 2)).mean(-1).unflatten(-2, (2, 2)).mean(-2)
        return y.repeat_interleave(2, -1).repeat_interleave(2, -2) if resampling == "up" else y

    def silu(y: Tensor) -> Tensor:
        return y / (1 + torch.exp(-y))

    def convolved(y: Tensor, name: str, padding: int = 1) -> Tensor:
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return torch.nn.functional.conv2d(y, weight, bias, padding=padding)

    def normed(y: Tensor, name: str) -> Tensor:
        weight, bias = (w[f"{name}.{part}"].numpy() for part in ("weight", "bias"))
        return torch.from_numpy(group_norm(y[0].numpy(), weight, bias))[None]

    h = convolved(resampled(silu(normed(x.double(), "in_layers.0"))), "in_layers.2")
    told_of = silu(vector.double()) @ w["emb_layers.1.weight"].T + w["emb_layers.1.bias"]
    scale, shift = told_of[0, :64, None, None], told_of[0, 64:, None, None]
    h = convolved(silu(normed(h, "out_layers.0") * (1 + scale) + shift), "out_layers.3")
    naive = convolved(resampled(x.double()), "skip_connection", 0) + h
    with torch.no_grad():
        torch.testing.assert_close(block(x, vector).double(), naive, atol=2e-5, rtol=0)


def test_timesteps_are_waves() -> None:
    embedded = timestep_embedding(torch.tensor([0.0, 7.0]), 6).double()
    f = 10000.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(embedded[0], [1, 1, 1, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(embedded[1], [*np.cos(7 * f), *np.sin(7 * f)], atol=1e-6)


# --- what it is ----------------------------------------------------------------------------------


def test_published_sizes() -> None:
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in GlideUNet(config).parameters()) for config in (BASE, UPSAMPLER)
        ]
    assert counts == [385_037_638, 398_368_198]


def test_layers_have_levels_of_the_finished_picture() -> None:
    base = make_unet(builders_glide.BASE).layers(4)
    assert [(layer.name, layer.level) for layer in base] == [
        ("input_blocks.3.1", 8),
        ("input_blocks.5.1", 16),
        ("input_blocks.7.1", 32),
        ("middle_block.1", 32),
        *((f"output_blocks.{n}.1", 32) for n in (0, 1)),
        *((f"output_blocks.{n}.1", 16) for n in (2, 3)),
        *((f"output_blocks.{n}.1", 8) for n in (4, 5)),
    ]
    assert {layer.heads for layer in base} == {2, 4}
    upsampler = make_unet(builders_glide.UPSAMPLER)
    assert {layer.level for layer in upsampler.layers(1)} == {8, 16, 32}
    assert upsampler.attention("middle_block.1").heads == 2
    with pytest.raises(KeyError, match="no attention layer 'middle'"):
        upsampler.attention("middle")


def test_attention_can_be_watched_in_the_order_in_which_layers_run() -> None:
    config = builders_glide.BASE
    unet, seen = make_unet(config), []

    def attend(layer: str, q: Tensor, k: Tensor, v: Tensor, text: int) -> Tensor:
        seen.append((layer, text, k.shape[2] - text == q.shape[2]))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    context, pooled = unet.encode_text(*texts())
    given = torch.cat([numbers((2, 3, 16, 16), 1), *told(config).values()], 1)
    t = torch.tensor([3, 3])
    watched = unet(given, t, context, pooled, attend)
    assert torch.equal(watched, unet(given, t, context, pooled))
    assert seen == [(layer.name, 12, True) for layer in unet.layers(4)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32(dtype: torch.dtype) -> None:
    config = builders_glide.BASE
    unet = make_unet(config)
    given = torch.cat([numbers((2, 3, 16, 16), 1), *told(config).values()], 1)

    def output() -> Tensor:
        context, pooled = unet.encode_text(*texts())
        return unet(given, torch.tensor([3, 700]), context, pooled)

    whole = output()
    assert unet.computing_in(dtype).dtype == dtype
    half = output()
    assert half.dtype == torch.float32
    assert float((half - whole).abs().mean()) < 0.03


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 9}, "7 input channels"),
        ({"channels": 48}, "multiples of 32"),
        ({"head_channels": 60}, "head_channels=60"),
        ({"sample_size": 60}, "cannot be halved 3 times"),
        ({"text_heads": 7}, "text_heads=7"),
        ({"res_blocks": 0}, "1 or more"),
        ({"channel_mult": ()}, "1 or more"),
        ({"channels": "many"}, "channels"),
    ],
)
def test_impossible_sizes_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        GlideConfig(**changes)
