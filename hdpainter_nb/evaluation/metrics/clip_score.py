"""CLIP score: how well a picture's hole, or the whole picture, fits the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.clip import ClipModel
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents
from hdpainter_nb.utils.check import one_of
from hdpainter_nb.utils.checked import checked

__all__ = ["VARIANTS", "ClipScore"]

VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "official": MappingProxyType({}),
        "brushnet": MappingProxyType(
            {
                "name": "clip_score_l14",
                "model": "openai/clip-vit-large-patch14",
                "crop": "whole",
                "fit": "processor",
            }
        ),
        "local-l14": MappingProxyType(
            {"name": "clip_score_l14_local", "model": "openai/clip-vit-large-patch14"}
        ),
        "bld": MappingProxyType({"name": "clip_score_hole", "crop": "masked", "fit": "processor"}),
    }
)
"""``official``: HD-Painter's own script. ``brushnet``: BrushNet's ``CLIP Similarity``, ViT-L/14 on
the whole picture. ``local-l14``: the same model on the hole's box, cut out as officially. ``bld``:
what Blended Latent Diffusion ranks a batch by, ViT-B/16 on the hole's pixels in a black picture;
but the checkpoint's preprocessing resizes bicubically, where their script does so bilinearly."""
_SIDE = 224


@checked
@dataclass(frozen=True, kw_only=True)
class ClipScore(Weighted):
    """100 times the cosine between CLIP's features of picture and prompt, at least 0.

    Hessel et al. 2021, as torchmetrics computes it. Scores of other models, crops or templates are
    other numbers: 0.22 and 0.28 have been published for the same pictures.

    Attributes:
        name: of the metric and its column.
        model: a hub id, or a folder. Official: ViT-B/16.
        crop: ``box`` cuts out the box of the hole (official), ``whole`` takes the whole picture,
            ``masked`` the whole picture with all but the hole black.
        fit: ``pad`` pads to a square with black and resizes to 224 x 224 (OpenCV, bicubic) before
            the checkpoint's own preprocessing (official); ``processor`` leaves it at the latter,
            which crops the middle.
        template: the text, with {} where the prompt goes. Official: the prompt alone.
        revision: branch, tag or commit on the hub.
        device, dtype, batch_size: see `ClipModel`.

    Raises:
        SettingsError: an option is not one of its choices.
    """

    name: str = "clip_score"
    model: str = "openai/clip-vit-base-patch16"
    crop: Literal["box", "whole", "masked"] = "box"
    fit: Literal["pad", "processor"] = "pad"
    template: str = "{}"
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise SettingsError(
                f"template={self.template!r} has no {{}}, where the prompt is to go."
            )

    @classmethod
    def named(cls, name: str, **changes: Any) -> Self:
        """One of `VARIANTS`, with changes.

        Raises:
            SettingsError: there is no such variant.
        """
        one_of("variant", name, VARIANTS)
        return cls(**{**VARIANTS[name], **changes})

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        return {self.name: Column("CLIP score")}

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {
            "model": self.model,
            "revision": self.revision,
            "crop": self.crop,
            "fit": self.fit,
            "template": self.template,
            "dtype": self.dtype,
            **contents(self.model),
        }

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The score of each picture.

        Raises:
            EvaluationError: the checkpoint is missing or broken.
        """
        pictures = [self._prepared(painting) for painting in paintings]
        texts = [self.template.replace("{}", p.triplet.triplet.prompt) for p in paintings]
        cosines = (self._clip.pictures(pictures) * self._clip.texts(texts)).sum(1)
        return [{self.name: max(100 * float(cosine), 0.0)} for cosine in cosines]

    def _prepared(self, painting: PaintedTriplet) -> NDArray[np.uint8]:
        picture = painting.crop if self.crop == "box" else painting.picture
        if self.crop == "masked":
            picture = picture * painting.triplet.hole[..., None]
        if self.fit == "processor":
            return picture
        square = padded_to_square(picture)
        return np.asarray(cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC))

    @cached_property
    def _clip(self) -> ClipModel:
        return ClipModel(
            model=self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
        )


def padded_to_square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (h, w, 3) in the middle of a black square, an odd pixel at its end."""
    height, width = picture.shape[:2]
    missing = abs(width - height)
    ends = (missing // 2, missing - missing // 2)
    pads = ((0, 0), ends) if height > width else (ends, (0, 0))
    return np.pad(picture, (*pads, (0, 0)))
