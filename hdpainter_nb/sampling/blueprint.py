"""What the UNet will be told of a job, before anything is encoded: `blueprint`.

Sizes, words and masks are real; text embeddings and latents are empty tensors on the meta device.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.images import fit
from hdpainter_nb.job import Job
from hdpainter_nb.method import masks
from hdpainter_nb.models import conditioning
from hdpainter_nb.models.conditioning import Conditioning
from hdpainter_nb.models.controlnet import control_of
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import Settings
from hdpainter_nb.upscale.job import UpscaleJob
from hdpainter_nb.upscale.model import UpscaleConditioning, UpscaleModel

__all__ = ["painted", "upscaled"]


def painted(model: Model, job: Job) -> Conditioning:
    """`Model.prepare` without its encoding."""
    settings: Settings = job.settings
    side = settings.long_side or model.native_size
    fitted = fit.fit(job.image, job.mask, how=settings.size, long_side=side)
    (height, width), crop = fitted.mask.shape, fitted.crop
    context, words = _text(model, job)
    latents = torch.empty(1, 4, *_at(model.factor, fitted.mask), device="meta")
    known = latents if model.kind == "blended" else None
    return Conditioning(
        context=context,
        latent_mask=latents[:, :1],
        masked_image_latents=latents,
        painta_masks={
            level: masks.to_painta(fitted.mask, level, settings.painta_mask, crop=crop)
            for level in PAINTA_LEVELS
        },
        score_mask=torch.empty(_at(SCORE_LEVEL, fitted.mask), device="meta"),
        size=(height, width),
        crop=crop,
        known_latents=known,
        known_noise=known,
        added=_added(model, (height, width)),
        control=control_of(model, job),
        **words,
    )


def _at(level: int, mask: Any) -> tuple[int, int]:
    """(h, w) of a mask (H, W) at so many pixels per position."""
    return mask.shape[0] // level, mask.shape[1] // level


def upscaled(model: UpscaleModel, job: UpscaleJob) -> UpscaleConditioning:
    """`UpscaleModel.prepare` without its encoding."""
    room = job.geometry()
    context, words = _text(model, job)
    latents = torch.empty(1, 4, *room.low_frame, device="meta")
    return UpscaleConditioning(
        context=context,
        low=latents[:, :3],
        noise_level=job.settings.noise_level,
        known=latents,
        soft=latents[:, :1],
        hard=latents[:, :1],
        size=room.frame,
        crop=(0, 0, *room.work),
        **words,
    )


def _added(model: Model, size: tuple[int, int]) -> dict[str, Tensor]:
    """What SDXL's UNet is told besides the text."""
    second = model.pipe.components.get("text_encoder_2")
    if second is None:
        return {}
    return conditioning.added_conditions(
        torch.empty(2, second.config.projection_dim, device="meta"), size
    )


def _text(model: Model, job: Any) -> tuple[Tensor, dict[str, Any]]:
    """Empty embeddings (2, L, d) of a job's text, and what its tokens are."""
    parts = model.parts()
    width = model.unet.config.cross_attention_dim
    empty = torch.empty(1, parts.tokenizer.model_max_length, width, device="meta")
    stub = SimpleNamespace(
        tokenizer=parts.tokenizer,
        maybe_convert_prompt=parts.maybe_convert_prompt,
        encode_prompt=lambda *_, **__: (empty, empty),
    )
    context, tokens = conditioning.read_text(model, stub, job)
    return context, {"indices": tokens.indices, "words": tokens.words, "tokens": tokens.tokens}
