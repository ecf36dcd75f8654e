"""LAION's aesthetic predictors: what people would give a picture from 1 to 10, prompt unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.clip import ClipModel
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents, state_dict_of
from hdpainter_nb.utils.checked import checked

__all__ = ["WEIGHTS", "AestheticScore"]

WEIGHTS: Mapping[str, str] = {
    "v2": "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
    "6934dd81792f086e613a121dbce43082cb8be85e/sac+logos+ava1-l14-linearMSE.pth",
    "v1": "https://github.com/LAION-AI/aesthetic-predictor/raw/main/sa_0_4_vit_l_14_linear.pth",
}
"""Where the weights of each version are fetched from, once, unless a file is given."""
# Between the layers was only dropout, so that the numbering of their names has gaps.
_LAYERS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "v2": (
        ("layers.0.", 1024),
        ("layers.2.", 128),
        ("layers.4.", 64),
        ("layers.6.", 16),
        ("layers.7.", 1),
    ),
    "v1": (("", 1),),
}


@checked
@dataclass(frozen=True, kw_only=True)
class AestheticScore(Weighted):
    """A linear predictor on CLIP's normalised features of the whole picture.

    Attributes:
        version: ``v2`` is the official evaluation's (``sac+logos+ava1-l14-linearMSE``, a stack of
            five linear layers), ``v1`` BrushNet's (``sa_0_4_vit_l_14_linear``, one layer). Their
            numbers differ, so the version is in the metric's name.
        weights: a .pth or .safetensors file with the published names, or an https address; empty
            for that of `WEIGHTS`.
        model: the CLIP that the predictor was trained on: OpenAI's ViT-L/14.
        revision: branch, tag or commit of the CLIP on the hub.
        device, dtype, batch_size: see `ClipModel`.

    Raises:
        SettingsError: no such version.
    """

    version: Literal["v2", "v1"] = "v2"
    weights: str = ""
    model: str = "openai/clip-vit-large-patch14"
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"
    batch_size: int = 32

    @property
    def name(self) -> str:
        """Of its folder in a run and of its columns."""
        return f"aesthetic_{self.version}"

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        return {self.name: Column(f"Aesthetic {self.version}")}

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {
            "version": self.version,
            "weights": self.weights or WEIGHTS[self.version],
            "model": self.model,
            "revision": self.revision,
            "dtype": self.dtype,
            **contents(self.model, self.weights),
        }

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The score of each picture.

        Raises:
            EvaluationError: the weights of CLIP or predictor are missing, or do not fit.
        """
        layers = self._layers  # small, so that it is missed before CLIP is loaded
        features = self._clip.pictures([painting.picture for painting in paintings])
        if features.shape[1] != layers[0][0].shape[1]:
            raise EvaluationError(
                f"The aesthetic predictor is for {layers[0][0].shape[1]} features, and "
                f"{self.model!r} has {features.shape[1]}: it takes OpenAI's CLIP ViT-L/14."
            )
        values = torch.from_numpy(np.array(features))
        for weight, bias in layers:
            values = torch.nn.functional.linear(values, weight, bias)
        return [{self.name: float(value)} for value in values[:, 0]]

    @cached_property
    def _layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        source = self.weights or WEIGHTS[self.version]
        tensors = state_dict_of(source)
        plan = _LAYERS[self.version]
        names = {f"{prefix}{part}" for prefix, _ in plan for part in ("weight", "bias")}
        if names != tensors.keys():
            raise EvaluationError(
                f"{source!r} is no aesthetic predictor {self.version}: it holds "
                f"{', '.join(sorted(tensors)[:4])}, ..., not {', '.join(sorted(names))}."
            )
        layers, inputs = [], tensors[f"{plan[0][0]}weight"].shape[-1]
        for prefix, outputs in plan:
            weight, bias = tensors[f"{prefix}weight"].float(), tensors[f"{prefix}bias"].float()
            if weight.shape != (outputs, inputs) or bias.shape != (outputs,):
                raise EvaluationError(
                    f"{source!r} is no aesthetic predictor {self.version}: '{prefix}weight' is "
                    f"{tuple(weight.shape)}, not {(outputs, inputs)}."
                )
            layers.append((weight, bias))
            inputs = outputs
        return layers

    @cached_property
    def _clip(self) -> ClipModel:
        return ClipModel(
            model=self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
        )
