"""The miniature's text encoder, denoiser and schedule: stock classes, small configurations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from hdpainter_nb.mini.training import tokenizer

__all__ = [
    "load_frozen",
    "new_scheduler",
    "new_text_encoder",
    "new_unet",
    "share_parts",
    "write_index",
]

CONTEXT = 96  # width of the text encoder's states
GUIDANCE = 4.0  # the guidance scale that suits the miniature


def new_unet(channels: int = 9) -> UNet2DConditionModel:
    """SD1.5's level layout; two layers at H/32, the level that RASG reads.

    `channels` of the input: 9 to inpaint, 4 for text-to-image.
    """
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=(1, 1, 2, 1),
        cross_attention_dim=CONTEXT,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )


def new_text_encoder() -> CLIPTextModel:
    """Two transformer layers over the world's tokens."""
    ids, _ = tokenizer.vocabulary()
    config: dict[str, Any] = {
        "vocab_size": len(ids),
        "hidden_size": CONTEXT,
        "intermediate_size": 2 * CONTEXT,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": tokenizer.MAX_LENGTH,
        "projection_dim": CONTEXT,
        "bos_token_id": ids[tokenizer.BOS],
        "eos_token_id": ids[tokenizer.EOS],
        "pad_token_id": ids[tokenizer.EOS],
    }
    return CLIPTextModel(CLIPTextConfig(**config))


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, predicting v as SD2 does."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def load_frozen(folder: Path, device: torch.device) -> tuple[AutoencoderKL, CLIPTextModel]:
    """A pipeline folder's autoencoder and text encoder, fp32, not to be trained."""
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True).float()
    return load_vae(folder, device), text.eval().requires_grad_(False).to(device)


def load_vae(folder: Path, device: torch.device | str = "cpu") -> AutoencoderKL:
    """A pipeline folder's autoencoder, fp32, not to be trained."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=True).float()
    return vae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def share_parts(source: str | Path, folder: Path, parts: Mapping[str, Any]) -> None:
    """Write everything of a pipeline but its UNet into a folder.

    Args:
        source: what the parts were loaded from; a folder's files are copied as they are, so that
            git stores equal ones once.
        folder: is made.
        parts: by name; of them, those that are None or the UNet are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = Path(source).expanduser()
    for name, part in parts.items():
        if name == "unet" or part is None:
            continue
        if (given / name).is_dir():
            (folder / name).mkdir(exist_ok=True)
            for file in sorted(path for path in (given / name).iterdir() if path.is_file()):
                shutil.copyfile(file, folder / name / file.name)
        else:
            part.save_pretrained(folder / name)
    for name in ("model_index.json", "hdpainter.json"):
        if (given / name).is_file():
            shutil.copyfile(given / name, folder / name)
        elif name == "model_index.json":
            write_index(folder)


def write_index(folder: Path, pipeline: str = "StableDiffusionInpaintPipeline") -> None:
    """Write what makes a folder of parts a pipeline: model_index.json, schedule and tokenizer.

    `pipeline` names diffusers' class.
    """
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.30.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "guidance_scale": GUIDANCE,
        "positive_suffix": "",
        "negative_prompt": "",
        "preview": None,
    }
    for name, content in (("model_index", index), ("hdpainter", defaults)):
        text = json.dumps(content, indent=2)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    new_scheduler().save_pretrained(folder / "scheduler")
    tokenizer.write(folder / "tokenizer")
