"""CLIP's features of pictures and texts, alike under every version of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hdpainter_nb.evaluation.metrics.preprocessing import CLIP_CONFIG, Preprocessing
from hdpainter_nb.evaluation.metrics.weights import Weighted, pretrained, shared, tokenizer_of
from hdpainter_nb.models.devices import pick_device, pick_dtype
from hdpainter_nb.utils.messages import quiet_logging

__all__ = ["ClipModel"]


@dataclass(frozen=True, kw_only=True)
class ClipModel(Weighted):
    """A CLIP checkpoint; its weights are read at first use, once in a process.

    Features are taken from the two towers and projections themselves, since what
    ``get_image_features`` returns is a tensor in transformers 4 and an output object in 5.
    Pictures are prepared as the checkpoint's preprocessor config says; where there is none, as
    OpenAI did: short side to 224 (Pillow, bicubic), the middle 224 x 224, normalised.

    Attributes:
        model: a hub id, or a folder, of a `transformers.CLIPModel`.
        processor: where tokenizer and preprocessor config are; None: with the model.
        revision: branch, tag or commit of the model on the hub.
        device: None takes CUDA, else MPS, else the CPU.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        batch_size: pictures or texts in one call of the network.
    """

    model: str = "openai/clip-vit-base-patch16"
    processor: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"
    batch_size: int = 32

    def pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features of pictures (h, w, 3) uint8 RGB: (n, d) float32 of length 1.

        Raises:
            EvaluationError: the checkpoint is missing or broken.
        """
        net = self._loaded.net

        def features(some: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
            pixels = torch.from_numpy(np.stack([self._loaded.preprocessing(p) for p in some]))
            pixels = pixels.to(net.logit_scale.device, net.logit_scale.dtype)
            return net.visual_projection(net.vision_model(pixel_values=pixels).pooler_output)

        return self._batched(pictures, features)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Features of texts, (n, d) float32 of length 1; what is too long is cut off.

        Raises:
            EvaluationError: the checkpoint is missing or broken.
        """
        net, tokenizer = self._loaded.net, self._loaded.tokenizer
        length = net.config.text_config.max_position_embeddings

        def features(some: Sequence[str]) -> torch.Tensor:
            with quiet_logging():
                tokens = tokenizer(
                    list(some),
                    padding=True,
                    truncation=True,
                    max_length=length,
                    return_tensors="pt",
                ).to(net.logit_scale.device)
            output = net.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            return net.text_projection(output.pooler_output)

        return self._batched(texts, features)

    @property
    def logit_scale(self) -> float:
        """By what a cosine is multiplied before the softmax; learned."""
        return float(self._loaded.net.logit_scale.float().exp())

    def _batched(self, items: Sequence[Any], features: Any) -> NDArray[np.float32]:
        found = []
        with torch.inference_mode():
            for start in range(0, len(items), self.batch_size):
                values = features(items[start : start + self.batch_size]).float()
                found.append(nn.functional.normalize(values, dim=-1).cpu())
            if not found:
                return np.zeros((0, self._loaded.net.config.projection_dim), np.float32)
            return np.asarray(torch.cat(found).numpy())

    @cached_property
    def _loaded(self) -> _Loaded:
        device = pick_device(self.device)
        dtype = pick_dtype(self.dtype, device)
        processor = self.processor or self.model
        key = ("clip", self.model, processor, self.revision, device, dtype)
        return shared(key, lambda: self._load(processor, device, dtype))

    def _load(self, processor: str, device: torch.device, dtype: torch.dtype) -> _Loaded:
        # What is small comes first: where it is missing, nothing large was read for nothing.
        revision = self.revision if processor == self.model else None
        preprocessing = Preprocessing.of(processor, revision, CLIP_CONFIG)
        tokenizer = tokenizer_of(processor, revision)
        net = pretrained("CLIPModel", self.model, self.revision).to(device, dtype)
        return _Loaded(net, tokenizer, preprocessing)


@dataclass(frozen=True, eq=False)
class _Loaded:
    net: Any
    tokenizer: Any
    preprocessing: Preprocessing
