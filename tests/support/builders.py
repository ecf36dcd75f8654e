"""Model folders and checkpoints with small random weights, laid out like the real ones.

They load through the very code that loads real models; what they paint is noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from support.builders_tokenizer import make_tokenizer

Kind = Literal["sd15", "sd2", "sd2-v", "sd15-4ch", "smartbrush"]
WORDS = ("a", "red", "blue", "star", "circle", "and", "on", "the", "left", "high", "quality")
LENGTH = 24


def make_folder(path: Path, kind: Kind = "sd15", *, size: int = 16, seed: int = 0) -> Path:
    """Write a model folder as the hub has them.

    sd15: 9 channels, one number of heads at every level, padded with end-of-text.
    sd2: 9 channels, heads by level, linear projections, padded with "!"; sd2-v predicts v.
    sd15-4ch: an ordinary text-to-image model.
    smartbrush: sd15 that is told one of three precisions of its mask, and predicts the object's.
    size: latent side; the model is made for 8 * size pixels.
    """
    path = Path(path)
    second = kind.startswith("sd2")
    width = 64 if second else 32
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(
        path / "tokenizer", WORDS, pad="!" if second else "eot", max_length=LENGTH
    )
    make_text_encoder(width, len(tokenizer), tokenizer).save_pretrained(path / "text_encoder")
    told: dict[str, Any] = {"out_channels": 5, "num_class_embeds": 3}
    told = told if kind == "smartbrush" else {}
    unet = make_unet(width, second, channels=4 if kind == "sd15-4ch" else 9, size=size, **told)
    unet.save_pretrained(path / "unet")
    make_vae(8 * size).save_pretrained(path / "vae")
    make_scheduler("v_prediction" if kind == "sd2-v" else "epsilon").save_pretrained(
        path / "scheduler"
    )
    name = "StableDiffusionPipeline" if kind == "sd15-4ch" else "StableDiffusionInpaintPipeline"
    index = {
        "_class_name": name,
        "_diffusers_version": "0.31.0",
        "requires_safety_checker": False,
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path


def make_unet(
    width: int = 32, second: bool = False, *, channels: int = 9, size: int = 16, **more: Any
) -> Any:
    """About 0.6 M parameters; cross-attention at H/8, H/16 and H/32 like Stable Diffusion's."""
    from diffusers import UNet2DConditionModel

    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=channels,
        out_channels=more.pop("out_channels", 4),
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=1,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=8,
        cross_attention_dim=width,
        attention_head_dim=[2, 4, 4, 4] if second else 8,
        use_linear_projection=second,
        **more,
    )


def make_vae(size: int = 128, *, levels: int = 4, scale: float = 0.18215) -> Any:
    """A VAE that scales down by 2^(levels - 1)."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=scale,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=size,
    )


def make_text_encoder(width: int, vocabulary: int, tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_scheduler(prediction_type: str = "epsilon") -> Any:
    """The scheduler that Stable Diffusion's folders hold, which is not DDIM."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def make_upscaler_folder(path: Path, *, size: int = 64, seed: int = 0) -> Path:
    """An x4 upscaler: `size` is the side of its small picture and of its latents."""
    from diffusers import DDPMScheduler

    path = Path(path)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path / "tokenizer", WORDS, pad="!", max_length=LENGTH)
    make_text_encoder(32, len(tokenizer), tokenizer).save_pretrained(path / "text_encoder")
    make_upscaler_unet(size).save_pretrained(path / "unet")
    make_vae(4 * size, levels=3, scale=0.08333).save_pretrained(path / "vae")
    make_ddim("v_prediction").save_pretrained(path / "scheduler")
    DDPMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear").save_pretrained(
        path / "low_res_scheduler"
    )
    index = {
        "_class_name": "StableDiffusionUpscalePipeline",
        "_diffusers_version": "0.31.0",
        "max_noise_level": 350,
        "low_res_scheduler": ["diffusers", "DDPMScheduler"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path


def make_upscaler_unet(size: int = 64) -> Any:
    """7 channels, a noise level as class, cross-attention at H/8, H/16 and H/32 of the picture."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=size,
        in_channels=7,
        out_channels=4,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
        norm_num_groups=4,
        cross_attention_dim=32,
        attention_head_dim=4,
        use_linear_projection=True,
        only_cross_attention=(True, True, True, False),
        num_class_embeds=1000,
    )


def make_ddim(prediction_type: str) -> Any:
    """The scheduler of the x4 upscaler."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


# --- one file in the layout of the original release ----------------------------------------------


def make_checkpoint(path: Path, folder: Path) -> Path:
    """Write the weights of an sd15 `folder` as one file, with the original release's names."""
    from safetensors.torch import load_file, save_file

    def read(part: str, name: str) -> dict[str, torch.Tensor]:
        return load_file(folder / part / f"{name}.safetensors")

    unet = read("unet", "diffusion_pytorch_model")
    vae = read("vae", "diffusion_pytorch_model")
    levels = len(json.loads((folder / "unet" / "config.json").read_text())["block_out_channels"])
    weights = {f"model.diffusion_model.{_unet_name(k, levels)}": v for k, v in unet.items()}
    for name, value in vae.items():
        name = _vae_name(name, levels)
        if ".attn_1." in name and value.ndim == 2:
            value = value[:, :, None, None]
        weights[f"first_stage_model.{name}"] = value
    for name, value in read("text_encoder", "model").items():
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        weights[f"cond_stage_model.transformer.{name}"] = value
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out": "proj_out",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _unet_name(name: str, levels: int) -> str:
    """diffusers' name of a UNet weight -> the original's; one layer per block."""
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    where, *rest = name.split(".")
    if where == "mid_block":
        kind, number, *rest = rest
        place = 1 if kind == "attentions" else 2 * int(number)
        return ".".join(["middle_block", str(place), *_inner(kind, rest)])
    block, kind, number, *rest = rest
    level, layer = int(block), int(number)
    if where == "down_blocks":
        if kind == "downsamplers":
            return ".".join(["input_blocks", str(2 * level + 2), "0", "op", rest[-1]])
        place, slot = 2 * level + 1 + layer, int(kind == "attentions")
        return ".".join(["input_blocks", str(place), str(slot), *_inner(kind, rest)])
    if kind == "upsamplers":
        slot = 1 if level == 0 else 2  # the first level up has no attention before it
        return ".".join(["output_blocks", str(2 * level + 1), str(slot), "conv", rest[-1]])
    place, slot = 2 * level + layer, int(kind == "attentions")
    return ".".join(["output_blocks", str(place), str(slot), *_inner(kind, rest)])


def _inner(kind: str, rest: list[str]) -> list[str]:
    return rest if kind == "attentions" else [_RESNET[rest[0]], *rest[1:]]


def _vae_name(name: str, levels: int) -> str:
    """diffusers' name of a VAE weight -> the original's."""
    parts = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    side, *rest = parts.split(".")
    if rest[0] == "mid_block":
        kind, number, *rest = rest[1:]
        if kind == "attentions":
            return ".".join([side, "mid", "attn_1", _VAE_ATTENTION[rest[0]], rest[-1]])
        return ".".join([side, "mid", f"block_{int(number) + 1}", *rest])
    if rest[0] not in {"down_blocks", "up_blocks"}:
        return parts
    where, block, kind, number, *rest = rest
    level = int(block) if where == "down_blocks" else levels - 1 - int(block)
    stem = [side, where.split("_")[0], str(level)]
    if kind == "resnets":
        return ".".join([*stem, "block", number, *rest])
    return ".".join([*stem, kind.removesuffix("rs"), *rest])


def make_controlnet(folder: Path, unet_folder: Path | str) -> Path:
    """A ControlNet for a small model; its output layers, made to start at zero, are random.

    Args:
        folder: where it is saved.
        unet_folder: of a model with 4 input channels, in the hub's layout.
    """
    from diffusers import ControlNetModel, UNet2DConditionModel

    torch.manual_seed(5)
    like = UNet2DConditionModel.from_pretrained(unet_folder, subfolder="unet")
    network = ControlNetModel.from_unet(like, conditioning_channels=3)
    ends = [*network.controlnet_down_blocks, network.controlnet_mid_block]
    for end in [*ends, network.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(end.weight, std=0.2)
    network.save_pretrained(folder)
    return folder
