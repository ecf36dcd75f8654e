"""Another prompt's keys: its embeddings through each cross-attention layer's ``to_k``."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from hdpainter_nb.attention.layers import attention_layers, heads
from hdpainter_nb.models.conditioning import read_text
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.prompt import Tokens
from hdpainter_nb.settings import BaseSettings

if TYPE_CHECKING:
    from hdpainter_nb.models.model import Model

__all__ = ["text_keys"]


def text_keys(
    model: Model, prompt: str, settings: BaseSettings, layers: Collection[str]
) -> tuple[dict[str, NDArray[Any]], Tokens]:
    """Keys of a prompt in the chosen cross-attention layers, and what its tokens are.

    Args:
        model: whose text encoder and UNet.
        prompt: it gets the additions that `settings` ask for (switch 16).
        layers: names; those that the UNet lacks are left out.

    Returns:
        ``{layer: (heads, L, d) float32}``, and the tokens.

    Raises:
        ModelError: the model has no text encoder.
        OutOfMemoryError: the memory does not suffice.
    """
    asked: Any = SimpleNamespace(prompt=prompt, settings=settings)
    keys: dict[str, NDArray[Any]] = {}
    with torch.no_grad(), out_of_memory_explained(model, "reading a prompt", None, None):
        context, tokens = read_text(model, model.parts(), asked)  # (2, L, d)
        for layer in attention_layers(model.unet, model.factor):
            if layer.name in layers:
                cross = layer.block.attn2
                k = heads(cross, cross.to_k(context[1:]))[0]  # (heads, L, d)
                keys[layer.name] = k.float().cpu().numpy()
    return keys, tokens
