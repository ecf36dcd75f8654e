"""A model's folder, checked before anything that it names is imported, built or loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.allowed_classes import (
    check_index,
    check_no_code,
    check_part_names,
    class_of,
    entries,
)
from hdpainter_nb.models.config_files import (
    check_network,
    check_schedule,
    check_types,
    read_config,
)
from hdpainter_nb.models.weight_files import (
    Shapes,
    choose_variant,
    chosen_files,
    networks,
    tensor_shapes,
    warn_pickled,
)

__all__ = [
    "check_configs",
    "check_network_config",
    "check_network_folder",
    "check_weights",
    "read_index",
]

_LEVEL = re.compile(r"(?:encoder\.)?down_blocks\.(\d+)\.resnets\.0\.conv1\.weight")
_TOKENIZER_FILES = (("vocab.json", "merges.txt"), ("tokenizer.json",), ("vocab.txt",))


def read_index(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ``model_index.json`` that is safe to read on: itself, and the parts that it names.

    Args:
        path: of the file.

    Returns:
        The index, and [library, class] by part, None for one left out. What these are is not
        checked yet: see `check_configs`.

    Raises:
        ModelError: it is damaged, or an entry is of another shape than diffusers writes.
    """
    index = read_config(path)
    return index, entries(index, str(path))


def check_configs(folder: Path, parts: Iterable[str], name: str) -> None:
    """Refuse a folder that names code or foreign classes, or networks that nobody could build.

    Args:
        folder: in diffusers layout, with or without weights.
        parts: what it must have.
        name: the model's, for messages.

    Raises:
        ModelError: it does, or a part is missing.
    """
    index = read_config(folder / "model_index.json")
    check_index(index, str(folder / "model_index.json"))
    named = entries(index, str(folder / "model_index.json"))
    check_no_code(folder, named)
    for part in parts:
        place = folder / part
        if not place.is_dir():
            raise ModelError(
                f"The folder {name!r} holds no {part}/: copy or download the model again, whole."
            )
        if part.startswith("tokenizer"):
            _check_tokenizer(place, part, name)
        elif part.endswith("scheduler"):
            path = place / "scheduler_config.json"
            config = read_config(path)
            check_part_names(part, config, str(path))
            check_schedule(config, str(path))
        else:
            check_network_config(place, part)


def check_weights(folder: Path, parts: Iterable[str], asked: str | None, name: str) -> str | None:
    """Refuse weights that are missing, damaged or of another network than the folder says.

    Args:
        folder: in diffusers layout, of which `check_configs` approves.
        parts: of the model; those that are no networks are left alone.
        asked: the variant that the user asks for, if any.
        name: the model's, for messages.

    Returns:
        The variant to load.

    Raises:
        ModelError: they are.

    Warns:
        HDPainterWarning: they are pickled, or there in one variant alone.
    """
    variant = choose_variant(folder, networks(parts), asked, name)
    files: list[Path] = []
    for part in networks(parts):
        chosen = chosen_files(folder / part, variant)
        _check_shapes(folder / part, part, chosen)
        files += chosen
    warn_pickled(files, name)
    return variant


def check_network_config(folder: Path, part: str) -> None:
    """Refuse the configuration of a network that names another class, or that nobody could build.

    Args:
        folder: with a ``config.json``.
        part: what it is: ``controlnet``, ``unet``, ``vae`` or ``text_encoder``.

    Raises:
        ModelError: it does.
    """
    path = folder / "config.json"
    config = read_config(path)
    check_part_names(part, config, str(path))
    check_network(config, str(path))
    kind = class_of(part)
    if kind is not None:
        check_types(kind, config, str(path))


def check_network_folder(folder: Path, part: str, name: str) -> str | None:
    """Check the folder of one network, as `check_configs` and `check_weights` do those of a model.

    Args:
        folder: with a ``config.json``.
        part: what it is: ``controlnet``, ``unet``, ``vae`` or ``text_encoder``.
        name: for messages.

    Returns:
        The variant of its weights to load.

    Raises:
        ModelError: it names code or another class; weights are missing, damaged or others.

    Warns:
        HDPainterWarning: they are pickled, or there in one variant alone.
    """
    check_network_config(folder, part)
    variant = choose_variant(folder, ("",), None, name)
    files = chosen_files(folder, variant)
    _check_shapes(folder, part, files)
    warn_pickled(files, name)
    return variant


def _check_tokenizer(folder: Path, part: str, name: str) -> None:
    if not any(all((folder / file).is_file() for file in files) for files in _TOKENIZER_FILES):
        raise ModelError(
            f"{part}/ of {name!r} holds no vocabulary (vocab.json with merges.txt, tokenizer.json "
            "or, of BERT, vocab.txt): copy or download the model again, whole."
        )
    for path in sorted(folder.glob("*_config.json")):
        config = read_config(path)
        check_part_names(part, config, str(path))
        if not isinstance(config.get("errors", ""), str):  # how to decode, in Python's words
            raise ModelError(f"errors in {str(path)!r} must be text, such as 'replace'.")


def _check_shapes(folder: Path, part: str, files: Iterable[Path]) -> None:
    """What the configuration says against what is in the weights, before anything is allocated."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        shapes.update(tensor_shapes(path))
    config = read_config(folder / "config.json")
    if config.get("quantization_config") is not None:  # stored in shapes of their own
        return
    if part.startswith(("text_encoder", "bert")):
        _check_text_encoder(folder, part, shapes)
        return
    widths: Any = config.get("block_out_channels")
    for key, shape in shapes.items():
        match = _LEVEL.fullmatch(key)
        if match and isinstance(widths, list):
            level = int(match[1])
            if level >= len(widths) or shape[0] != widths[level]:
                raise _other_network(folder, f"{key} has {shape[0]} channels")


def _check_text_encoder(folder: Path, part: str, shapes: Shapes) -> None:
    """Every tensor of it: what is missing would be filled with noise, without an error."""
    import torch

    Model, Config = _text_encoder_classes(part)
    there = {_plain(key): shape for key, shape in shapes.items()}
    try:
        with torch.device("meta"):
            twin: Any = Model(Config.from_pretrained(folder))
    except Exception as error:  # whatever numbers that do not go together raise
        raise _other_network(folder, f"{type(error).__name__}: {error}") from error
    wanted: Mapping[str, Any] = dict(twin.named_parameters())
    for key, value in wanted.items():
        shape = there.get(_plain(key))
        if shape != tuple(value.shape):
            what = "is missing" if shape is None else f"has the shape {shape}"
            raise _other_network(folder, f"{_plain(key)} {what}")


def _text_encoder_classes(part: str) -> tuple[Any, Any]:
    """Of the text encoder of a part, and of its configuration."""
    if part == "bert":
        from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion

        return pipeline_latent_diffusion.LDMBertModel, pipeline_latent_diffusion.LDMBertConfig
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel, CLIPTextConfig


def _plain(key: str) -> str:
    return key.removeprefix("text_model.")


def _other_network(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"The weights of {str(folder)!r} cannot be loaded: they are incomplete or not those that "
        f"its config.json describes ({why[:200]}); copy or download them again."
    )
