"""Configuration files of a model, read within bounds.

They come from strangers. What diffusers and transformers build after them is decided by these
numbers, often before a single weight is looked at, so they are checked before anything is built.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hdpainter_nb.errors import ModelError
from hdpainter_nb.utils.messages import because

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "check_network",
    "check_schedule",
    "check_types",
    "read_config",
]

MAX_BYTES = 1_000_000
"""Size of a configuration file; real ones have a few KB, a list of betas included."""
MAX_DEPTH = 16
"""Lists and objects inside each other; real ones have four at most."""
_LARGEST = 100_000  # of any number of a network: widths, positions, the vocabulary
_MOST_LAYERS = 128
_COUNTS = (
    "encoder_layers",
    "layers_per_block",
    "num_hidden_layers",
    "reverse_transformer_layers_per_block",
    "transformer_layers_per_block",
)
_POSITIVE = (
    "block_out_channels",
    "d_model",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layers",
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "layers_per_block",
    "max_position_embeddings",
    "norm_num_groups",
    "num_attention_heads",
    "num_hidden_layers",
    "sample_size",
    "vocab_size",
)
_MOST_TIMESTEPS = 100_000


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        ModelError: it is missing, larger than `MAX_BYTES`, nested deeper than `MAX_DEPTH`, no JSON,
            no object, or holds NaN.
    """
    what = f"The {path.name} of {str(path.parent)!r}"
    try:
        if not path.is_file():
            raise ModelError(f"{what} is missing: copy or download the model again.")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(
                f"{what} cannot be read: it has {path.stat().st_size} bytes, and a configuration "
                f"has at most {MAX_BYTES}."
            )
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else because(error)
        raise ModelError(
            f"{what} cannot be read: {why}. Copy or download the model again."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(
            f"{what} cannot be read: it must hold a JSON object of names and values, not a "
            f"{type(config).__name__}."
        )
    for name, depth, value in _leaves(config):
        if depth > MAX_DEPTH:
            raise ModelError(f"{what} cannot be read: it is nested too deeply.")
        if isinstance(value, float) and math.isnan(value):
            raise ModelError(f"{what} cannot be used: {name} is NaN, which is no number.")
    return config


def check_network(config: Mapping[str, Any], where: str) -> None:
    """Refuse a network that is larger than any, or that has parts of size 0.

    Args:
        config: of a UNet, VAE, ControlNet or text encoder.
        where: its file, for messages.

    Raises:
        ModelError: a number is outside what such a network can have.
    """
    for name, _, value in _leaves(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low = 1 if name in _POSITIVE else -_LARGEST
        high = _MOST_LAYERS if name in _COUNTS else _LARGEST
        if not low <= value <= high:
            raise ModelError(
                f"{name} in {where!r} must be from {low} to {high}, not {value}: no such network "
                "can be built."
            )


def check_types(kind: type, config: Mapping[str, Any], where: str) -> None:
    """Refuse values of other types than a class's own defaults have: they would fail in use.

    Args:
        kind: the class of diffusers that the configuration is for.
        config: of a network.
        where: its file, for messages.

    Raises:
        ModelError: a number or a text is something else.
    """
    for name, parameter in inspect.signature(kind.__init__).parameters.items():  # type: ignore[misc]
        default, value = parameter.default, config.get(name)
        if name not in config or value is None or isinstance(default, bool):
            continue
        numbers = _leaves(value) if isinstance(default, int) else [("", 0, value)]  # one per level
        if isinstance(default, int | float):
            wrong = not all(isinstance(one, int | float) for _, _, one in numbers)
        else:
            wrong = isinstance(default, str) and not isinstance(value, str)
        if wrong:
            raise ModelError(
                f"{name} in {where!r} must be {'text' if isinstance(default, str) else 'a number'}"
                f", such as {default!r}, not {_short(value)}."
            )


def check_schedule(config: Mapping[str, Any], where: str) -> None:
    """Refuse a noise schedule that is none.

    Args:
        config: of a scheduler.
        where: its file, for messages.

    Raises:
        ModelError: its betas are no numbers from 0 to 1, or there are too many or none.
    """
    steps: Any = config.get("num_train_timesteps", 1000)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= _MOST_TIMESTEPS:
        raise ModelError(
            f"num_train_timesteps in {where!r} must be a whole number from 1 to {_MOST_TIMESTEPS}, "
            f"not {_short(steps)}."
        )
    betas: Any = config.get("trained_betas")
    if betas is not None and not (isinstance(betas, list) and 1 <= len(betas) <= _MOST_TIMESTEPS):
        raise ModelError(
            f"trained_betas in {where!r} must be null or a row of numbers, not {_short(betas)}."
        )
    ends = [config[name] for name in ("beta_start", "beta_end") if name in config]
    for value in (*ends, *(betas or ())):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ModelError(f"The betas in {where!r} must be from 0 to 1, not {_short(value)}.")


def _leaves(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, int, Any]]:
    """(name of the nearest entry, depth, value) of everything that is no list and no object."""
    stack = [(name, depth, value)]
    while stack:
        name, depth, value = stack.pop()
        if depth > MAX_DEPTH:
            yield name, depth, None
        elif isinstance(value, Mapping):
            stack += [(str(key), depth + 1, inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            stack += [(name, depth + 1, inner) for inner in value]
        else:
            yield name, depth, value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
