"""What a model must be to serve here (`check_parts`, `check_pipeline`), and what it says of itself.

A model folder may hold an ``hdpainter.json`` beside its ``model_index.json``::

    {"guidance_scale": 4.0, "positive_suffix": "", "negative_prompt": "", "preview": null}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.inputs import tell

__all__ = ["Card", "check_parts", "check_pipeline", "read_card"]

_SUPPORTED = (
    "What works: pipelines of Stable Diffusion 1.x and 2.x (not XL, 3 or Flux) whose UNet has "
    "9 input channels (inpainting) or 4 (ordinary)."
)
_PARTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
_FOREIGN = ("text_encoder_2", "transformer", "prior", "low_res_scheduler", "depth_estimator")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model's own defaults. Those here are the official HD-Painter script's.

    Raises:
        ModelError: a value is of the wrong kind.
    """

    guidance_scale: float = 7.5
    """Classifier-free guidance scale."""
    positive_suffix: str = "Full HD, 4K, high quality, high resolution"
    """What switch 16 appends to the prompt."""
    negative_prompt: str = (
        "text, bad anatomy, bad proportions, blurry, cropped, deformed, disfigured, duplicate, "
        "error, extra limbs, gross proportions, jpeg artifacts, long neck, low quality, lowres, "
        "malformed, morbid, mutated, mutilated, out of frame, ugly, worst quality"
    )
    """What switch 16 puts into the unconditional half."""
    preview: list[list[float]] | None = None
    """(5, 3): four rows that take latents to RGB in 0 .. 1 and one to add; None fits them."""

    def __post_init__(self) -> None:
        scale: Any = self.guidance_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 100:
            raise ModelError(f"guidance_scale must be a number from 0 to 100, not {scale!r}.")
        for name in ("positive_suffix", "negative_prompt"):
            if not isinstance(getattr(self, name), str):
                raise ModelError(f"{name} must be a string, not {getattr(self, name)!r}.")
        if self.preview is not None:
            try:
                shape = np.asarray(self.preview, np.float32).shape
            except (TypeError, ValueError):
                shape = ()
            if shape != (5, 3):
                raise ModelError("preview must be null or 5 rows of 3 numbers.")


def read_card(folder: Path) -> Card:
    """Read ``hdpainter.json`` of a model folder; without one, the defaults.

    Raises:
        ModelError: the file is no JSON, or holds an unknown name or an impossible value.
    """
    path = folder / "hdpainter.json"
    if not path.is_file():
        return Card()
    known = [f.name for f in dataclasses.fields(Card)]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        unknown = [name for name in values if name not in known]
        if not isinstance(values, dict) or unknown:
            raise ModelError(f"it may only hold {', '.join(known)}")
        return Card(**values)
    except (ModelError, OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be used: {error}") from error


def check_parts(name: str, kind: str, parts: Collection[str]) -> None:
    """Refuse other families by the names of their parts, before anything large is loaded.

    Args:
        name: what the user called the model.
        kind: its pipeline's class name.
        parts: the names of the pipeline's parts.

    Raises:
        ModelError: it is no Stable Diffusion 1.x or 2.x.
    """
    if any(part in parts for part in _FOREIGN) or any(part not in parts for part in _PARTS):
        raise ModelError(f"{name} is a {kind}, which cannot be used here. {_SUPPORTED}")


def check_pipeline(pipe: Any) -> None:
    """Refuse a pipeline that lacks a part, or that needs something the sampler does not give.

    Raises:
        ModelError: not a pipeline of the Stable-Diffusion family; other numbers of channels; an
            IP-Adapter; a guidance-distilled UNet; a model that predicts the sample itself.

    Warns:
        HDPainterWarning: it has a ControlNet or T2I adapter, which is left out.
    """
    kind = type(pipe).__name__
    if not isinstance(getattr(pipe, "components", None), dict):
        raise ModelError(
            f"load() takes a name, a path or a diffusers pipeline, not this {kind}. For a bare "
            "UNet there is Model.from_unet(unet)."
        )
    parts = pipe.components
    check_parts("This pipeline", kind, parts)
    missing = [name for name in _PARTS if parts[name] is None]
    if missing:
        raise ModelError(f"This {kind} has no {' and no '.join(missing)}: load it whole.")
    unet = parts["unet"].config
    if unet.in_channels not in (4, 9):
        raise ModelError(
            f"This {kind} has a UNet with {unet.in_channels} input channels. {_SUPPORTED}"
        )
    if getattr(unet, "addition_embed_type", None) or getattr(unet, "class_embed_type", None):
        raise ModelError(f"The UNet of this {kind} wants further conditions. {_SUPPORTED}")
    if getattr(unet, "encoder_hid_dim_type", None):
        raise ModelError(
            "This pipeline has an IP-Adapter, which wants a second picture: call its "
            "unload_ip_adapter() first."
        )
    if getattr(unet, "time_cond_proj_dim", None):
        raise ModelError(
            "This UNet is distilled to take the guidance scale as an input (a latent consistency "
            "model), so it has no unconditional half to guide with: use the model it came from."
        )
    predicts = parts["scheduler"].config.get("prediction_type", "epsilon")
    if predicts not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"This model predicts {predicts!r}; only 'epsilon' and 'v_prediction' can be sampled."
        )
    if 2 ** (len(getattr(parts["vae"].config, "block_out_channels", range(4))) - 1) != 8:
        raise ModelError("This VAE does not scale pictures down by 8, as Stable Diffusion's does.")
    for extra in ("controlnet", "adapter"):
        if parts.get(extra) is not None:
            tell(f"The {extra} of this {kind} is not used here.", HDPainterWarning)
