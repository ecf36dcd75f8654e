"""The kinds of models that serve here, and what a pipeline must be to be one of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hdpainter_nb.card import Card
from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.inputs import tell

__all__ = ["INPAINTING", "UPSCALING", "Family", "check_parts", "check_pipeline"]

_PARTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
_FOREIGN = ("text_encoder_2", "transformer", "prior", "depth_estimator")


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model: where it comes from, and what its pipelines are like."""

    load: str
    """The function that a user calls."""
    model: str
    """The class of what it gives."""
    pipeline: str
    """Name of the diffusers pipeline to load it with."""
    options: Mapping[str, Any]
    """What that pipeline is told beyond its weights."""
    aliases: Mapping[str, str]
    """Short names, and the hub ids that they stand for."""
    parts: tuple[str, ...] = _PARTS
    """What it must consist of."""
    foreign: tuple[str, ...] = _FOREIGN
    """What it must not have."""
    channels: tuple[int, ...]
    """Input channels of its UNet."""
    unwanted: tuple[str, ...]
    """Further conditions of the UNet that nothing here provides."""
    factor: int
    """Pixels per latent position."""
    like: str
    supported: str
    """Who belongs to it, in a sentence."""
    card: Card = field(default_factory=Card)
    """Defaults of a model that says nothing of itself."""


INPAINTING = Family(
    load="load",
    model="Model",
    pipeline="StableDiffusionInpaintPipeline",
    options=MappingProxyType(
        {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    ),
    aliases=MappingProxyType(
        {
            "mini": "the bundled miniature",
            "dreamshaper-8": "Lykon/dreamshaper-8-inpainting",
            "sd15": "stable-diffusion-v1-5/stable-diffusion-inpainting",
            "sd2": "sd2-community/stable-diffusion-2-inpainting",
        }
    ),
    foreign=(*_FOREIGN, "low_res_scheduler"),
    channels=(4, 9),
    unwanted=("addition_embed_type", "class_embed_type"),
    factor=8,
    like="Stable Diffusion's",
    supported="What works: pipelines of Stable Diffusion 1.x and 2.x (not XL, 3 or Flux) whose "
    "UNet has 9 input channels (inpainting) or 4 (ordinary).",
)

UPSCALING = Family(
    load="load_upscaler",
    model="UpscaleModel",
    pipeline="StableDiffusionUpscalePipeline",
    options=MappingProxyType(
        {"safety_checker": None, "feature_extractor": None, "watermarker": None}
    ),
    aliases=MappingProxyType({"x4": "stabilityai/stable-diffusion-x4-upscaler"}),
    parts=(*_PARTS, "low_res_scheduler"),
    channels=(7,),
    unwanted=("addition_embed_type",),
    factor=4,
    like="the x4 upscaler's",
    supported="What works: pipelines of the Stable Diffusion x4 upscaler, whose UNet has 7 input "
    "channels. Models that fill the hole are loaded with load().",
    card=Card(positive_suffix="high resolution professional photo", negative_prompt=""),
)


def check_parts(family: Family, name: str, kind: str, parts: Collection[str]) -> None:
    """Refuse other families by the names of their parts, before anything large is loaded.

    Args:
        family: what it should be of.
        name: what the user called the model.
        kind: its pipeline's class name.
        parts: the names of the pipeline's parts.

    Raises:
        ModelError: it is of another family.
    """
    if any(n in parts for n in family.foreign) or any(n not in parts for n in family.parts):
        raise ModelError(f"{name} is a {kind}, which cannot be used here. {family.supported}")


def check_pipeline(family: Family, pipe: Any) -> None:
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
            f"{family.load}() takes a name, a path or a diffusers pipeline, not this {kind}. For a "
            f"bare UNet there is {family.model}.from_unet(unet)."
        )
    parts = pipe.components
    check_parts(family, "This pipeline", kind, parts)
    missing = [name for name in family.parts if parts[name] is None]
    if missing:
        raise ModelError(f"This {kind} has no {' and no '.join(missing)}: load it whole.")
    unet = parts["unet"].config
    if unet.in_channels not in family.channels:
        raise ModelError(
            f"This {kind} has a UNet with {unet.in_channels} input channels. {family.supported}"
        )
    if any(getattr(unet, name, None) for name in family.unwanted):
        raise ModelError(f"The UNet of this {kind} wants further conditions. {family.supported}")
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
    blocks = getattr(parts["vae"].config, "block_out_channels", range(4))
    if 2 ** (len(blocks) - 1) != family.factor:
        raise ModelError(
            f"This VAE does not scale pictures down by {family.factor}, as {family.like} does."
        )
    for extra in ("controlnet", "adapter"):
        if parts.get(extra) is not None:
            tell(f"The {extra} of this {kind} is not used here.", HDPainterWarning)
