"""What diffusers knows of checkpoints in one file: their usual layouts and their addresses."""

from __future__ import annotations

from typing import Any

import torch

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.weight_files import Shapes

__all__ = ["default_config", "repository_of_url"]


def default_config(shapes: Shapes) -> str:
    """The hub id whose layout diffusers takes for a checkpoint, by its tensors.

    Args:
        shapes: of all its tensors.
    """
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    empty = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    known: Any = fetch_diffusers_config(empty)
    return str(known["pretrained_model_name_or_path"])


def repository_of_url(url: str) -> tuple[str, str]:
    """The hub id and the file that an address on the hub names.

    Raises:
        ModelError: it is no such address.
    """
    from diffusers.loaders.single_file_utils import _extract_repo_id_and_weights_name

    try:
        repository, file = _extract_repo_id_and_weights_name(url)
    except ValueError:
        repository = file = None
    if not isinstance(repository, str) or not isinstance(file, str):
        raise ModelError(f"{url!r} is no address of a file on the Hugging Face hub.")
    return repository, file
