"""Detectors of COCO's 80 classes, by the class's index and never by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.metrics.preprocessing import Preprocessing
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents, pretrained, shared
from hdpainter_nb.models.devices import pick_device
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["COCO_IDS", "Detector", "TransformersDetector"]

# COCO numbers 80 classes from 1 to 90; the numbers between that nothing carries.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS: tuple[int, ...] = tuple(n for n in range(1, 91) if n not in _UNUSED)
"""The number in COCO's files of each class, by its index 0..79."""


class Detector(Protocol):
    """Says what is in a picture."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its answers, as JSON can hold it."""

    def detect(self, crops: Sequence[NDArray[np.uint8]]) -> list[list[tuple[int, float]]]:
        """Index of the class and score 0..1 of everything in each picture.

        Args:
            crops: (h, w, 3) uint8 RGB, of any size.

        Raises:
            EvaluationError: weights are missing or of another network.
        """


@checked
@dataclass(frozen=True, kw_only=True)
class TransformersDetector(Weighted):
    """Any of transformers' detectors that were trained on COCO; RT-DETR by default.

    Checkpoints call classes by different names ("couch" is also "sofa"), so that only their order
    counts. Those with 80 labels have COCO's classes in order; those with 91 have them at COCO's own
    numbers, with gaps; those with 90 the same without the 0.

    Attributes:
        model: a hub id, or a folder, of a model for object detection.
        channels: ``rgb``, or ``swapped``, which gives it blue for red as the official evaluation
            does with its own detector.
        min_score: what is less sure is left out.
        revision: branch, tag or commit on the hub.
        device: None takes CUDA, else MPS, else the CPU.
        batch_size: pictures in one call of the network.

    Raises:
        SettingsError: an option is not one of its choices.
    """

    model: str = "PekingU/rtdetr_r50vd"
    channels: Literal["swapped", "rgb"] = "rgb"
    min_score: float = 0.05
    revision: str | None = None
    device: str | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        between("min_score", self.min_score, 0, 1)

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its answers."""
        return {
            "detector": self.model,
            "revision": self.revision,
            "channels": self.channels,
            "min_score": self.min_score,
            **contents(self.model),
        }

    def detect(self, crops: Sequence[NDArray[np.uint8]]) -> list[list[tuple[int, float]]]:
        """Classes and scores of what is in each picture, the surest first.

        Raises:
            EvaluationError: the checkpoint is missing, broken, or not for COCO's classes.
        """
        loaded = self._loaded
        at_once = self.batch_size if loaded.preprocessing.one_size else 1
        pictures = [crop[..., ::-1] if self.channels == "swapped" else crop for crop in crops]
        found: list[list[tuple[int, float]]] = []
        for start in range(0, len(pictures), at_once):
            some = [loaded.preprocessing(p) for p in pictures[start : start + at_once]]
            with torch.inference_mode():
                pixels = torch.from_numpy(np.stack(some)).to(loaded.net.device)
                logits = loaded.net(pixel_values=pixels).logits.float().cpu()
            found += [self._sure(scores, loaded.classes) for scores in _scores(logits, loaded)]
        return found

    def _sure(self, scores: torch.Tensor, classes: Mapping[int, int]) -> list[tuple[int, float]]:
        """From (queries, labels): as many as there are queries at most, as transformers does."""
        values, places = scores.flatten().topk(min(len(scores), scores.numel()))
        labels = (places % scores.shape[1]).tolist()
        return [
            (classes[label], score)
            for label, score in zip(labels, values.tolist(), strict=True)
            if score > self.min_score and label in classes
        ]

    @cached_property
    def _loaded(self) -> _Loaded:
        device = pick_device(self.device)
        key = ("detector", self.model, self.revision, device)
        return shared(key, lambda: self._load(device))

    def _load(self, device: torch.device) -> _Loaded:
        preprocessing = Preprocessing.of(self.model, self.revision)
        net: Any = pretrained("AutoModelForObjectDetection", self.model, self.revision)
        classes = class_indices(self.model, net.config.num_labels)
        return _Loaded(net.float().to(device), preprocessing, classes)


@dataclass(frozen=True, eq=False)
class _Loaded:
    net: Any
    preprocessing: Preprocessing
    classes: Mapping[int, int]


def class_indices(model: str, labels: int) -> dict[int, int]:
    """Which of COCO's 80 classes each label of a checkpoint is.

    Args:
        model: its name, for the message.
        labels: how many it has.

    Raises:
        EvaluationError: it is not for COCO's classes.
    """
    if labels == len(COCO_IDS):
        return {index: index for index in range(labels)}
    if labels in (90, 91):
        first = 91 - labels
        return {number - first: index for index, number in enumerate(COCO_IDS)}
    raise EvaluationError(
        f"The detector {model!r} has {labels} labels; those that were trained on "
        "COCO have 80, 90 or 91."
    )


def _scores(logits: torch.Tensor, loaded: _Loaded) -> torch.Tensor:
    """(n, queries, labels), 0..1.

    A network with one logit more than labels chooses between them and nothing (DETR, YOLOS); the
    others judge each label by itself.
    """
    if logits.shape[-1] == loaded.net.config.num_labels + 1:
        return logits.softmax(-1)[..., :-1]
    return logits.sigmoid()
