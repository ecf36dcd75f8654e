"""Full-size networks: real shapes; on the meta device without weights, else with random ones.

The sizes are those of the published configurations: `UNet2DConditionModel`'s and `AutoencoderKL`'s
of stable-diffusion-inpainting (1.5) and of stable-diffusion-x4-upscaler, and CLIP's ViT-L/14 and
OpenCLIP's ViT-H/14 as text encoders. Their numbers of parameters are asserted in `test_estimate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from support import builders
from support.builders_tokenizer import make_tokenizer


def make_sd15(folder: Path) -> Any:
    """Stable Diffusion 1.5 for inpainting, float16."""
    from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, in_channels=9, cross_attention_dim=768, attention_head_dim=8
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
    return StableDiffusionInpaintPipeline(
        vae=_cast(vae),
        unet=_cast(unet),
        text_encoder=_cast(_text_encoder(768, 12, 12)),
        tokenizer=_tokenizer(folder),
        scheduler=builders.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def make_x4(folder: Path, dtype: torch.dtype = torch.float16, device: str = "meta") -> Any:
    """Stability's x4 upscaler."""
    from diffusers import (
        AutoencoderKL,
        DDPMScheduler,
        StableDiffusionUpscalePipeline,
        UNet2DConditionModel,
    )

    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=128,
            in_channels=7,
            out_channels=4,
            block_out_channels=(256, 512, 512, 1024),
            layers_per_block=2,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
            cross_attention_dim=1024,
            attention_head_dim=8,
            only_cross_attention=(True, True, True, False),
            use_linear_projection=True,
            num_class_embeds=1000,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=2,
            sample_size=256,
            scaling_factor=0.08333,
        )
    return StableDiffusionUpscalePipeline(
        vae=_cast(vae, dtype),
        unet=_cast(unet, dtype),
        text_encoder=_cast(_text_encoder(1024, 23, 16, device), dtype),
        tokenizer=_tokenizer(folder),
        low_res_scheduler=DDPMScheduler(),
        scheduler=builders.make_ddim("v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
    )


def _text_encoder(width: int, layers: int, heads: int, device: str = "meta") -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        projection_dim=width,
    )
    with torch.device(device):
        return CLIPTextModel(config)


def _tokenizer(folder: Path) -> Any:
    return make_tokenizer(folder / "tokenizer", builders.WORDS, pad="!", max_length=77)


def _cast(network: Any, dtype: torch.dtype = torch.float16) -> Any:
    return torch.nn.Module.to(network.eval(), dtype)
