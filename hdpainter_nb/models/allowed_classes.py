"""Which classes a model's files may name: diffusers' and transformers' own, of the kinds used here.

Older diffusers import whatever a ``model_index.json`` names: a file beside it, or any module that
Python finds. So the names are checked before diffusers sees them, whatever its version, and a model
never brings code of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import ModelError

__all__ = ["check_index", "check_no_code", "check_part_names", "class_of", "entries"]

_SCHEDULER = "any scheduler of diffusers"
_ALLOWED: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # part -> library -> classes
    "unet": {"diffusers": ("UNet2DConditionModel",)},
    "vae": {"diffusers": ("AutoencoderKL", "AsymmetricAutoencoderKL", "AutoencoderTiny")},
    "vqvae": {"diffusers": ("AutoencoderKL",)},
    "controlnet": {"diffusers": ("ControlNetModel",)},
    "bert": {"latent_diffusion": ("LDMBertModel",)},
    "text_encoder": {"transformers": ("CLIPTextModel", "CLIPTextModelWithProjection")},
    "text_encoder_2": {"transformers": ("CLIPTextModel", "CLIPTextModelWithProjection")},
    "tokenizer": {
        "transformers": (
            "CLIPTokenizer",
            "CLIPTokenizerFast",
            "BertTokenizer",
            "BertTokenizerFast",
        )
    },
    "tokenizer_2": {"transformers": ("CLIPTokenizer", "CLIPTokenizerFast")},
    "scheduler": {"diffusers": (_SCHEDULER,)},
    "low_res_scheduler": {"diffusers": (_SCHEDULER,)},
    # left out in loading, but named by most models
    "feature_extractor": {
        "transformers": (
            "CLIPImageProcessor",
            "CLIPImageProcessorFast",
            "CLIPImageProcessorPil",
            "CLIPFeatureExtractor",
        )
    },
    "image_encoder": {"transformers": ("CLIPVisionModelWithProjection",)},
    "safety_checker": {
        "stable_diffusion": ("StableDiffusionSafetyChecker",),
        "stable_diffusion_safe": ("SafeStableDiffusionSafetyChecker",),
    },
}
_DROPPED = {"StableDiffusionInpaintPipelineLegacy"}  # pipelines that diffusers has no more
_CODE = ("auto_map", "custom_pipeline", "custom_pipelines", "custom_generate", "trust_remote_code")
_ATTENTION = ("eager", "flash_attention_2", "flex_attention", "sdpa")
_QUANTIZED = ("bitsandbytes", "quanto", "torchao")


def entries(index: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parts that an index names, each as [library, class], or None for one left out.

    Args:
        index: a ``model_index.json``.
        where: its file, for messages.

    Raises:
        ModelError: an entry is of another shape.
    """
    _class_name(index, where)
    parts: dict[str, Any] = {}
    for name, entry in index.items():
        if name.startswith("_") or entry is None or isinstance(entry, str | int | float):
            continue
        pair = isinstance(entry, list | tuple) and len(entry) == 2
        if pair and all(one is None for one in entry):
            parts[name] = None
        elif pair and all(isinstance(one, str) for one in entry):
            parts[name] = tuple(entry)
        else:
            raise ModelError(
                f"{name} in {where!r} must name a library and a class, not {_short(entry)}."
            )
    return parts


def check_index(index: Mapping[str, Any], where: str) -> None:
    """Refuse an index that names anything but classes of the kinds used here.

    Args:
        index: a ``model_index.json``.
        where: its file, for messages.

    Raises:
        ModelError: it names code of its own, another library or another class.
    """
    _check_code(index, where)
    for part, entry in entries(index, where).items():
        if entry is not None:
            library, kind = entry
            _check_class(part, library, kind, where)
    import diffusers

    name = _class_name(index, where)
    if name not in dir(diffusers) and name not in _DROPPED:
        raise ModelError(
            f"{where!r} names the pipeline {_short(name)}, which diffusers does not have. "
            "A model's own code is never run."
        )


def check_part_names(part: str, config: Mapping[str, Any], where: str) -> None:
    """Refuse a part's configuration that names code, or a class of another kind.

    Args:
        part: ``unet``, say.
        config: of the part.
        where: its file, for messages.

    Raises:
        ModelError: it does.
    """
    _check_code(config, where)
    name = config.get("_class_name")
    if name is not None:
        for library in _ALLOWED[part]:
            _check_class(part, library, name, where)
    for key in ("attn_implementation", "_attn_implementation"):
        how = config.get(key)
        if how is not None and how not in _ATTENTION:
            raise ModelError(
                f"{key} in {where!r} is {_short(how)}; only {', '.join(_ATTENTION)} are known, and "
                "none is fetched."
            )
    quantized: Any = config.get("quantization_config")
    if quantized is not None:
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else quantized
        if method not in _QUANTIZED:
            raise ModelError(
                f"The weights of {where!r} are quantised by {_short(method)}; only "
                f"{', '.join(_QUANTIZED)} are known."
            )
    encoders = "LDMBert" if part == "bert" else "CLIP"
    tokenizers = ("CLIPTokenizer", "BertTokenizer")
    for key, known in (("architectures", encoders), ("tokenizer_class", tokenizers)):
        named: Any = config.get(key)
        if part.startswith(("text_encoder", "bert", "tokenizer")) and named is not None:
            names = named if isinstance(named, list) else [named]
            if not all(isinstance(one, str) and one.startswith(known) for one in names):
                raise ModelError(
                    f"{key} in {where!r} is {_short(named)}; only {encoders} text encoders and "
                    "their tokenizers are known."
                )


def class_of(part: str) -> type | None:
    """The usual class of a network of diffusers, None for the other parts of a model."""
    import diffusers

    classes = _ALLOWED[part].get("diffusers", ())
    return None if _SCHEDULER in classes or not classes else getattr(diffusers, classes[0])


def check_no_code(folder: Path, parts: Mapping[str, Any]) -> None:
    """Refuse a folder with Python files where older diffusers would look for some, and run them.

    Args:
        folder: in diffusers layout.
        parts: its parts by name.

    Raises:
        ModelError: there is one.
    """
    suspects = [path for path in folder.iterdir() if path.name.lower() == "none.py"]
    for part in parts:
        if (folder / part).is_dir():
            suspects += [p for p in (folder / part).iterdir() if p.suffix.lower().startswith(".py")]
    if suspects:
        raise ModelError(
            f"{str(suspects[0])!r} is Python code, which has no place there: a model's own code is "
            "never run. If you trust it, load the pipeline with diffusers and pass it to load()."
        )


def _check_class(part: str, library: str, name: Any, where: str) -> None:
    allowed = _ALLOWED.get(part, {})
    classes = allowed.get(library, ())
    if isinstance(name, str) and (
        name in classes or (_SCHEDULER in classes and _is_scheduler(name))
    ):
        return
    right = [
        f"{lib}.{one}" if one != _SCHEDULER else one for lib in allowed for one in allowed[lib]
    ]
    raise ModelError(
        f"{where!r} names {_short(library)} {_short(name)} for {part!r}; "
        + (f"what works there: {', '.join(right)}. " if right else "no such part is known. ")
        + "A model's own code is never run."
    )


def _is_scheduler(name: str) -> bool:
    import diffusers

    return re.fullmatch(r"(?!Flax)\w+Scheduler", name) is not None and name in dir(diffusers)


def _class_name(index: Mapping[str, Any], where: str) -> str:
    name: Any = index.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise ModelError(
            f"_class_name in {where!r} must be the name of a pipeline of diffusers, not "
            f"{_short(name)}. A model's own code is never run."
        )
    return name


def _check_code(config: Mapping[str, Any], where: str) -> None:
    for key in _CODE:
        if config.get(key):
            raise ModelError(
                f"{key} in {where!r} asks for {_short(config[key])}: a model's own code is never "
                "run."
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
