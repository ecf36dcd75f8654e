"""The miniature x4 upscaler: stock classes in the layout of Stability's, small configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from hdpainter_nb.mini.training.networks import CONTEXT

GUIDANCE = 1.0  # none: text adds little to what the small picture says, and a step costs half
MAX_LEVEL = 350  # of the noise on the small picture, as Stability's index has it
_WIDTHS = (32, 64, 96, 128)
_SCHEDULE = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}


def new_unet() -> UNet2DConditionModel:
    """Stability's level layout, one layer per block; 256 latent positions a side at 1024 pixels.

    No attention at H/4, cross-attention alone below it, self-attention at H/32 and in the middle.
    """
    unet = UNet2DConditionModel(
        sample_size=256,
        in_channels=7,
        out_channels=4,
        block_out_channels=_WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
        only_cross_attention=(True, True, True, False),
        cross_attention_dim=CONTEXT,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=8,
        use_linear_projection=True,
        num_class_embeds=1000,
    )
    # Fixed, and smooth in the level: a table of a thousand rows would see most of them too rarely.
    unet.class_embedding.weight.requires_grad_(False).copy_(_waves(1000, 4 * _WIDTHS[0]))
    return unet


def _waves(count: int, width: int) -> Tensor:
    """Sines and cosines of 0 .. count - 1 at geometric frequencies, `(count, width)`."""
    rates = torch.exp(torch.linspace(0.0, -7.0, width // 2))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def new_scheduler() -> DDIMScheduler:
    """The x4 upscaler's schedule, predicting v."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        **_SCHEDULE,
    )


def new_low_scheduler() -> DDPMScheduler:
    """The schedule of the noise on the small picture."""
    return DDPMScheduler(num_train_timesteps=1000, **_SCHEDULE)


def write_folder(folder: Path, mini: Path) -> None:
    """Write what surrounds UNet and VAE: index, card, schedules; text encoder and tokenizer.

    The last two are copies of those in `mini`.
    """
    index = {
        "_class_name": "StableDiffusionUpscalePipeline",
        "_diffusers_version": "0.30.0",
        "feature_extractor": [None, None],
        "low_res_scheduler": ["diffusers", "DDPMScheduler"],
        "max_noise_level": MAX_LEVEL,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "watermarker": [None, None],
    }
    card = {
        "guidance_scale": GUIDANCE,
        "positive_suffix": "",
        "negative_prompt": "",
        "preview": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("model_index", index), ("hdpainter", card)):
        text = json.dumps(content, indent=2)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    new_scheduler().save_pretrained(folder / "scheduler")
    new_low_scheduler().save_pretrained(folder / "low_res_scheduler")
    for part in ("text_encoder", "tokenizer"):
        (folder / part).mkdir(exist_ok=True)
        for file in sorted((mini / part).iterdir()):
            shutil.copyfile(file, folder / part / file.name)
    for file in folder.rglob("*.json"):
        file.chmod(0o644)
