"""Latent diffusion's text-to-image model (Rombach et al. 2022) as a pipeline of Stable Diffusion.

Stable Diffusion came of it: the same UNet and VAE, but a BERT-like text encoder that was trained
with them, on 256 px. diffusers' `LDMTextToImagePipeline` calls its parts ``bert`` and ``vqvae``.
"""

from __future__ import annotations

import copy
from typing import Any

from hdpainter_nb.utils.messages import quiet_logging

__all__ = ["as_stable_diffusion", "is_latent_diffusion"]


def is_latent_diffusion(pipe: Any) -> bool:
    """Whether a diffusers pipeline is one of latent diffusion, by its parts."""
    return {"bert", "vqvae"} <= {*getattr(pipe, "components", ())}


def as_stable_diffusion(pipe: Any) -> Any:
    """A Stable Diffusion pipeline of an `LDMTextToImagePipeline`'s parts; that one stays as it is.

    Its tokenizer pads to what the text encoder takes, as the pipeline of its own does.

    Args:
        pipe: of diffusers, with all its parts.
    """
    import diffusers

    tokenizer = copy.deepcopy(pipe.tokenizer)
    tokenizer.model_max_length = int(pipe.bert.config.max_position_embeddings)
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    # Stable Diffusion's pipelines take a UNet of before diffusers 0.9 for one of theirs, with a
    # side that was written down wrongly, and overwrite it.
    pipe.unet.register_to_config(_diffusers_version=diffusers.__version__)
    with quiet_logging():
        return diffusers.StableDiffusionPipeline(
            vae=pipe.vqvae,
            text_encoder=pipe.bert,
            tokenizer=tokenizer,
            unet=pipe.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
