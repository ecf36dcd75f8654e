"""Weights files of a model: which there are, and what is in them, before any is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.utils.messages import because, warn_user

__all__ = [
    "Shapes",
    "check_whole",
    "choose_variant",
    "chosen_files",
    "lacks_weights",
    "networks",
    "tensor_shapes",
    "warn_pickled",
]

Shapes = Mapping[str, tuple[int, ...]]
"""Of the tensors in a file, by name."""

_NAME = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)"
    r"(?:\.(?P<variant>[A-Za-z]\w*))?"
    r"(?:-\d+-of-\d+)?"
    r"(?:\.(?P<late>[A-Za-z]\w*))?"  # where diffusers wrote the variant of a part, formerly
    r"\.(?P<kind>safetensors|bin)"
)
_NESTED = 3  # checkpoints of trainers keep their weights in a "state_dict"


def networks(parts: Iterable[str]) -> list[str]:
    """Those parts of a model that have weights."""
    kinds = ("unet", "vae", "vqvae", "text_encoder", "bert")
    return [part for part in parts if part.startswith(kinds)]


def lacks_weights(folder: Path, parts: Iterable[str]) -> bool:
    """Whether a network in a folder in diffusers layout has no weights but variants of them."""
    return any(None not in _by_variant(folder / part) for part in networks(parts))


def choose_variant(folder: Path, parts: Iterable[str], asked: str | None, name: str) -> str | None:
    """The variant of the weights to load: the one asked for, or the only one that there is.

    Args:
        folder: in diffusers layout.
        parts: the networks in it, by the names of their folders.
        asked: ``fp16``, say; None for the ordinary weights.
        name: the model's, for messages.

    Returns:
        What to tell diffusers.

    Raises:
        ModelError: a network has no weights; none has any of the variant asked for.

    Warns:
        HDPainterWarning: the ordinary weights are missing, and a variant is taken instead.
    """
    there = {part: set(_by_variant(folder / part)) for part in parts}
    for part, variants in there.items():
        if not variants:
            raise ModelError(
                f"{part}/ of {name!r} holds no weights (diffusion_pytorch_model.safetensors or the "
                "like): copy or download the model again."
            )
    known = sorted({one for variants in there.values() for one in variants if one is not None})
    if asked is not None:
        if asked not in known:
            there_are = f"there are {', '.join(map(repr, known))}" if known else "there are none"
            raise ModelError(
                f"{name!r} has no weights of the variant {asked!r}; {there_are}"
                f"{'' if all(None not in v for v in there.values()) else ' and the ordinary ones'}."
            )
        lacking = [part for part, variants in there.items() if not variants & {asked, None}]
        if lacking:
            raise ModelError(
                f"{lacking[0]}/ of {name!r} has no weights of the variant {asked!r}, but of "
                f"{', '.join(map(repr, sorted(map(str, there[lacking[0]]))))}."
            )
        return asked
    lacking = [part for part, variants in there.items() if None not in variants]
    if not lacking:
        return None
    common = set.intersection(*(there[part] for part in lacking))
    if not common:
        raise ModelError(
            f"{' and '.join(f'{part}/' for part in lacking)} of {name!r} hold weights of different "
            f"variants alone ({', '.join(map(repr, known))}): copy or download the model again."
        )
    variant = "fp16" if "fp16" in common else min(map(str, common))
    warn_user(
        f"{name!r} has its weights ({', '.join(lacking)}) as the variant {variant!r} alone, which "
        f"is loaded: pass variant={variant!r} to say so.",
        HDPainterWarning,
    )
    return variant


def chosen_files(folder: Path, variant: str | None) -> list[Path]:
    """The files that diffusers and transformers read in a network's folder.

    Args:
        folder: of the network.
        variant: from `choose_variant`.
    """
    there = _by_variant(folder)
    kinds = there.get(variant) or there.get(None) or {}
    return kinds.get("safetensors") or kinds.get("bin") or []


def warn_pickled(files: Iterable[Path], name: str) -> None:
    """Say aloud that weights are pickled.

    Warns:
        HDPainterWarning: some are.
    """
    pickled = [path for path in files if path.suffix != ".safetensors"]
    if pickled:
        names = ", ".join(sorted({path.name for path in pickled}))
        warn_user(
            f"The weights of {name!r} are pickled ({names}): "
            "tensors alone are read from them, which runs no code, but .safetensors files are "
            "safer and load faster.",
            HDPainterWarning,
        )


def tensor_shapes(path: Path) -> Shapes:
    """Shapes of all tensors in a weights file, of which none is loaded.

    Args:
        path: a .safetensors file, or a pickled one, which is read as tensors alone.

    Raises:
        ModelError: it is damaged, a Git LFS pointer, or holds more than tensors.
    """
    with path.open("rb") as file:
        if file.read(24).startswith(b"version https://git-lfs"):
            raise ModelError(
                f"{str(path)!r} is a Git LFS pointer, not the weights themselves: run `git lfs "
                "pull` in the folder that you cloned, or download the model again."
            )
    return _safetensors_shapes(path) if path.suffix == ".safetensors" else _pickled_shapes(path)


def check_whole(parts: Mapping[str, Any], name: str) -> None:
    """Refuse networks of which some weights were in no file.

    Args:
        parts: of a pipeline that was just loaded.
        name: the model's, for messages.

    Raises:
        ModelError: a weight is empty.
    """
    for part, network in parts.items():
        if isinstance(network, torch.nn.Module):
            for weight, value in network.named_parameters():
                if value.is_meta:
                    raise ModelError(
                        f"The weights of {name!r} cannot be loaded: {weight} of its {part} is "
                        "missing; copy or download them again."
                    )


def _by_variant(folder: Path) -> dict[str | None, dict[str, list[Path]]]:
    """Weights files by variant and kind, in the order of their names."""
    found: dict[str | None, dict[str, list[Path]]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            variant = match["variant"] or match["late"]
            found.setdefault(variant, {}).setdefault(match["kind"], []).append(path)
    return found


def _safetensors_shapes(path: Path) -> Shapes:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _pickled_shapes(path: Path) -> Shapes:
    # `mmap` leaves the numbers on disk; files of before torch 1.6 know nothing of it.
    options: dict[str, Any] = {"map_location": "meta", "weights_only": True}
    try:
        try:
            state = torch.load(path, mmap=True, **options)
        except RuntimeError:
            state = torch.load(path, **options)
    except Exception as error:  # of many kinds, UnpicklingError among them
        if "weights_only" in str(error).lower() or "weights only" in str(error).lower():
            raise ModelError(
                f"{str(path)!r} is pickled and holds more than tensors, which would mean running "
                "code from it: it is not opened. Get the model as .safetensors."
            ) from error
        raise _damaged(path, error) from error
    for _ in range(_NESTED):
        if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
            state = state["state_dict"]
    if not isinstance(state, Mapping) or "state_dict" in state:
        raise ModelError(f"{str(path)!r} holds no weights by name.")
    return {
        str(name): tuple(value.shape)
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"The weights of the file {str(path)!r} cannot be loaded: it is damaged, incomplete or "
        f"holds none; copy or download them again. ({type(error).__name__}: {because(error)})"
    )
