"""Model folders of SDXL's layout with small random weights: two text encoders, no H/8 attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from support.builders import LENGTH, WORDS, make_text_encoder, make_vae
from support.builders_tokenizer import make_tokenizer

WIDTHS = (16, 24)
PROJECTED = 20


def make_xl_folder(path: Path, *, channels: int = 9, size: int = 16, seed: int = 0) -> Path:
    """Write a model folder as the hub has them.

    channels: 9 for an inpainting model, 4 for an ordinary one.
    size: latent side; the model is made for 8 * size pixels.
    """
    path = Path(path)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path / "tokenizer", WORDS, max_length=LENGTH)
    second = make_tokenizer(path / "tokenizer_2", WORDS, pad="!", max_length=LENGTH)
    make_text_encoder(WIDTHS[0], len(tokenizer), tokenizer).save_pretrained(path / "text_encoder")
    make_second_encoder(len(second), second).save_pretrained(path / "text_encoder_2")
    make_xl_unet(channels, size).save_pretrained(path / "unet")
    make_vae(8 * size, scale=0.13025).save_pretrained(path / "vae")
    make_euler().save_pretrained(path / "scheduler")
    inpainting = "StableDiffusionXLInpaintPipeline"
    index = {
        "_class_name": inpainting if channels == 9 else "StableDiffusionXLPipeline",
        "_diffusers_version": "0.31.0",
        "force_zeros_for_empty_prompt": True,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path


def make_xl_unet(channels: int = 9, size: int = 16) -> Any:
    """Attention at latent /2 and /4 alone, deeper at /4; it is told sizes and a pooled prompt."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=size,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 3],
        norm_num_groups=8,
        cross_attention_dim=sum(WIDTHS),
        attention_head_dim=[2, 4, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + PROJECTED,
    )


def make_second_encoder(vocabulary: int, tokenizer: Any) -> Any:
    """The larger text encoder, which also gives the pooled embedding."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTHS[1],
        intermediate_size=2 * WIDTHS[1],
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=PROJECTED,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def make_euler() -> Any:
    """The scheduler that SDXL's folders hold."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
