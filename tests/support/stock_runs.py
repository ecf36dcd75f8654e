"""The stock inpainting pipelines, run with their latents noted: what the sampler is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from hdpainter_nb import Job, Sampler

__all__ = ["latents_of", "run_stock"]


def run_stock(pipe: Any, job: Job, **call: Any) -> tuple[list[torch.Tensor], Any]:
    """Every latent that a stock pipeline passes through on a job of 128 px, and its output.

    Args:
        pipe: set up with the scheduler that the job asks for.
        call: goes to the pipeline besides what the job says, and over the defaults here.
    """
    pipe.set_progress_bar_config(disable=True)
    latents: list[torch.Tensor] = []

    def note(_: Any, __: int, ___: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        latents.append(kwargs["latents"].clone())
        return kwargs

    settings = {
        "height": 128,
        "width": 128,
        "num_inference_steps": job.settings.steps,
        "guidance_scale": 7.5,
        "eta": job.settings.ddim_eta if job.settings.scheduler == "ddim" else 0.0,
        "negative_prompt": "blurry",
        "generator": torch.Generator().manual_seed(job.settings.seed),
        "output_type": "latent",
    }
    out = pipe(
        job.prompt,
        image=Image.fromarray(job.image),
        mask_image=Image.fromarray(job.mask.astype(np.uint8) * 255),
        callback_on_step_end=note,
        **{**settings, **call},
    )
    return latents, out.images


def latents_of(sampler: Sampler) -> list[torch.Tensor]:
    """Every latent after a step of a sampler's branch, each (1, 4, h, w)."""
    return [torch.from_numpy(n.latents)[None] for n in sampler.trace.path(sampler.branch_name)[1:]]
