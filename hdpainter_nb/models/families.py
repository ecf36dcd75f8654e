"""The kinds of models that serve here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.models.defaults import ModelDefaults
from hdpainter_nb.models.prompt import end_tokens
from hdpainter_nb.models.weight_files import tensor_shapes
from hdpainter_nb.utils.messages import warn_user

__all__ = [
    "INPAINTING",
    "INPAINTING_LDM",
    "INPAINTING_XL",
    "UPSCALING",
    "Family",
    "check_pipeline",
    "family_of",
    "family_of_file",
    "mask_precisions",
    "refuse_ip_adapter",
]

_NO_LENGTH = 10**9  # above, transformers means that none was given
_PARTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
_PARTS_XL = (
    "vae",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "unet",
    "scheduler",
)
_PARTS_LDM = ("vqvae", "bert", "tokenizer", "unet", "scheduler")
_FORBIDDEN = ("transformer", "prior", "depth_estimator", "text_encoder_3")


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
    config_keys: tuple[str, ...] = ()
    """Entries of a pipeline's own configuration that its stock pipeline is given too."""
    aliases: Mapping[str, str]
    """Short names, and the hub ids that they stand for."""
    bundled: Mapping[str, str]
    """Aliases of what is bundled, and the folders of the bundled data that they stand for."""
    parts: tuple[str, ...] = _PARTS
    """What it must consist of."""
    forbidden_parts: tuple[str, ...] = _FORBIDDEN
    """What it must not have."""
    channels: tuple[int, ...]
    """Input channels of its UNet."""
    conditions: Mapping[str, str | None]
    """Further conditions of the UNet, and of what kind they are; None: nothing here gives any."""
    factor: int
    """Pixels per latent position."""
    example: str
    """One that everybody knows, as "...'s", for messages."""
    description: str
    """Who belongs to it, in a sentence."""
    defaults: ModelDefaults = field(default_factory=ModelDefaults)
    """Of a model that has none of its own."""


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
            "sdxl": "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            "mini-text": "the bundled text-to-image miniature",
            "mini-smartbrush": "the bundled miniature of SmartBrush's recipe",
        }
    ),
    bundled=MappingProxyType(
        {"mini": "mini", "mini-text": "mini_text", "mini-smartbrush": "mini_smartbrush"}
    ),
    forbidden_parts=(*_FORBIDDEN, "text_encoder_2", "low_res_scheduler"),
    channels=(4, 9),
    conditions=MappingProxyType({"addition_embed_type": None, "class_embed_type": None}),
    factor=8,
    example="Stable Diffusion's",
    description="What works: pipelines of Stable Diffusion 1.x and 2.x and of SDXL (not its "
    "refiner, nor 3 or Flux) whose UNet has 9 input channels (inpainting) or 4 (ordinary), and of "
    "latent diffusion (LDMTextToImagePipeline).",
)
INPAINTING_XL = replace(
    INPAINTING,
    pipeline="StableDiffusionXLInpaintPipeline",
    options=MappingProxyType({"add_watermarker": False}),
    config_keys=("force_zeros_for_empty_prompt",),
    parts=_PARTS_XL,
    forbidden_parts=(*_FORBIDDEN, "low_res_scheduler"),
    conditions=MappingProxyType({"addition_embed_type": "text_time", "class_embed_type": None}),
)
"""SDXL: two text encoders, whose hidden states are joined, and the picture's size as a condition.

Its UNet attends at H/16 and H/32 alone.
"""
INPAINTING_LDM = replace(
    INPAINTING,
    pipeline="LDMTextToImagePipeline",
    options=MappingProxyType({}),
    parts=_PARTS_LDM,
    channels=(4,),
)
"""Latent diffusion's own text-to-image model, which then serves as one of Stable Diffusion."""
UPSCALING = Family(
    load="load_upscaler",
    model="UpscaleModel",
    pipeline="StableDiffusionUpscalePipeline",
    options=MappingProxyType(
        {"safety_checker": None, "feature_extractor": None, "watermarker": None}
    ),
    aliases=MappingProxyType(
        {
            "mini": "the bundled miniature",
            "x4": "stabilityai/stable-diffusion-x4-upscaler",
        }
    ),
    bundled=MappingProxyType({"mini": "mini_x4"}),
    parts=(*_PARTS, "low_res_scheduler"),
    channels=(7,),
    conditions=MappingProxyType({"addition_embed_type": None}),
    factor=4,
    example="the x4 upscaler's",
    description="What works: pipelines of the Stable Diffusion x4 upscaler, whose UNet has 7 input "
    "channels. Models that fill the hole are loaded with load().",
    defaults=ModelDefaults(
        positive_suffix="high resolution professional photo", negative_prompt=""
    ),
)


def family_of(wanted: Family, name: str, kind: str, parts: Mapping[str, Any]) -> Family:
    """Which family a pipeline is of, by its parts, before anything large is loaded.

    Args:
        wanted: what it should be of; of those that fill holes, it may be any.
        name: what the user called the model.
        kind: its pipeline's class name.
        parts: the pipeline's parts by name; what it has no part for is None.

    Raises:
        ModelError: it is of another family.
    """
    has_two = wanted is INPAINTING and "text_encoder_2" in parts
    has_bert = wanted is INPAINTING and "bert" in parts
    family = INPAINTING_XL if has_two else INPAINTING_LDM if has_bert else wanted
    if has_two and parts.get("text_encoder", ...) is None:
        raise ModelError(
            f"{name} is SDXL's refiner, which has one text encoder, only finishes pictures, and "
            "cannot fill a hole: use load('sdxl') or another model with both text encoders."
        )
    if any(n in parts for n in family.forbidden_parts) or any(n not in parts for n in family.parts):
        raise ModelError(f"{name} is a {kind}, which cannot be used here. {family.description}")
    return family


def family_of_file(wanted: Family, place: str) -> Family:
    """Which family a checkpoint is of: SDXL's hold two text encoders, which is looked up on disk.

    Args:
        wanted: what it should be of.
        place: its path.

    Raises:
        ModelError: it cannot be read.
    """
    names = tensor_shapes(Path(place)) if wanted is INPAINTING else ()
    large = any(name.startswith("conditioner.embedders.1.") for name in names)
    return INPAINTING_XL if large else wanted


def check_pipeline(wanted: Family, pipe: Any) -> None:
    """Refuse a pipeline that lacks a part, or that needs something the sampler does not give.

    Raises:
        ModelError: not a pipeline of the Stable-Diffusion family; other numbers of channels; an
            IP-Adapter; a tokenizer of another length than the text encoder's; a guidance-distilled
            UNet; a model that predicts the sample itself.

    Warns:
        HDPainterWarning: it has several ControlNets or a T2I adapter, which are left out.
    """
    kind = type(pipe).__name__
    if not isinstance(getattr(pipe, "components", None), dict):
        raise ModelError(
            f"{wanted.load}() takes a name, a path or a diffusers pipeline, not this {kind}. For a "
            f"bare UNet there is {wanted.model}.from_unet(unet)."
        )
    parts = pipe.components
    family = family_of(wanted, "This pipeline", kind, parts)
    missing = [name for name in family.parts if parts[name] is None]
    if missing:
        raise ModelError(f"This {kind} has no {' and no '.join(missing)}: load it whole.")
    unet = parts["unet"].config
    if unet.in_channels not in family.channels:
        raise ModelError(
            f"This {kind} has a UNet with {unet.in_channels} input channels. {family.description}"
        )
    if any(getattr(unet, name, None) != what for name, what in family.conditions.items()):
        raise ModelError(f"The UNet of this {kind} wants further conditions. {family.description}")
    _check_outputs(family, kind, unet)
    refuse_ip_adapter(parts["unet"])
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
    for number in ("", "_2"):
        _check_tokenizer(parts.get(f"tokenizer{number}"), parts.get(f"text_encoder{number}"))
    blocks = getattr(parts["vae"].config, "block_out_channels", range(4))
    if 2 ** (len(blocks) - 1) != family.factor:
        raise ModelError(
            f"This VAE does not scale pictures down by {family.factor}, as {family.example} does."
        )
    for extra in ("controlnet", "adapter"):
        network = parts.get(extra)
        if network is not None and type(network).__name__ != "ControlNetModel":
            warn_user(f"The {extra} of this {kind} is not used here.", HDPainterWarning)


def mask_precisions(config: Any) -> int:
    """How many precisions of its mask a UNet is told (SmartBrush's recipe); 0: it is told none.

    Such a UNet has 9 input channels, a class embedding for the precision, and a fifth output, the
    logits of the object's own mask.
    """
    told = getattr(config, "num_class_embeds", None) or 0
    return int(told) if (config.in_channels, config.out_channels) == (9, 5) else 0


def _check_outputs(family: Family, kind: str, config: Any) -> None:
    """Refuse a UNet with outputs or classes that nobody here would know what to do with."""
    plain = config.out_channels == 4 and not getattr(config, "num_class_embeds", None)
    if family.channels != UPSCALING.channels and not plain and not mask_precisions(config):
        raise ModelError(
            f"The UNet of this {kind} has {config.out_channels} output channels and "
            f"num_class_embeds={config.num_class_embeds}; only 4 without classes, or 9 input and "
            "5 output channels with them (SmartBrush's recipe), can be sampled here."
        )


def refuse_ip_adapter(unet: Any) -> None:
    """Refuse a UNet that wants a second picture, which nothing here gives.

    Raises:
        ModelError: an IP-Adapter is loaded into it.
    """
    if getattr(unet.config, "encoder_hid_dim_type", None):
        raise ModelError(
            "This pipeline has an IP-Adapter, which wants a second picture: call its "
            "unload_ip_adapter() first."
        )


def _check_tokenizer(tokenizer: Any, encoder: Any) -> None:
    """Prompts are padded to the tokenizer's length, which the text encoder must take."""
    length: Any = getattr(tokenizer, "model_max_length", None)
    takes: Any = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
    if isinstance(length, int | float) and isinstance(takes, int) and not 2 <= length <= takes:
        has = "no model_max_length" if length > _NO_LENGTH else f"model_max_length={length:g}"
        raise ModelError(
            f"This tokenizer has {has}, but its text encoder takes {takes} tokens: set the "
            f"pipeline's tokenizer.model_max_length = {takes}, or write that into its "
            "tokenizer_config.json."
        )
    vocabulary: Any = getattr(getattr(encoder, "config", None), "vocab_size", None)
    ends = end_tokens(tokenizer)
    for name in (*ends, "pad_token") if isinstance(vocabulary, int) else ():
        number: Any = getattr(tokenizer, f"{name}_id", 0)
        if number is None or number >= vocabulary:
            raise ModelError(
                f"This tokenizer has the {name} {getattr(tokenizer, name, None)!r}, which its text "
                "encoder does not know: copy or download the model's tokenizer again."
            )
