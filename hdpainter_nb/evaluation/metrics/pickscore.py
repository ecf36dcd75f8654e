"""PickScore: which picture people would pick for a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.metrics.clip import ClipModel
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.weights import Weighted, contents
from hdpainter_nb.utils.checked import checked

__all__ = ["PickScore", "preference", "wins"]


@checked
@dataclass(frozen=True, kw_only=True)
class PickScore(Weighted):
    """A CLIP trained on people's choices; the whole picture against the prompt.

    Kirstain et al. 2023, Pick-a-Pic. The number of one picture is the scaled cosine, which alone
    says little (about 15 to 25); two pictures for one prompt are compared by `preference`.

    Attributes:
        model: a hub id, or a folder.
        processor: where tokenizer and preprocessor config are; the model's own card names this one.
        revision: branch, tag or commit of the model on the hub.
        device, dtype, batch_size: see `ClipModel`.
    """

    model: str = "yuvalkirstain/PickScore_v1"
    processor: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"
    batch_size: int = 16

    @property
    def name(self) -> str:
        """Of its folder in a run and of its columns."""
        return "pickscore"

    @property
    def columns(self) -> Mapping[str, Column]:
        """What it measures of each picture."""
        return {self.name: Column("PickScore")}

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides its numbers."""
        return {
            "model": self.model,
            "processor": self.processor,
            "revision": self.revision,
            "dtype": self.dtype,
            **contents(self.model, self.processor),
        }

    def score(self, paintings: Sequence[PaintedTriplet]) -> list[dict[str, float]]:
        """The logit of each picture: CLIP's scale times the cosine.

        Raises:
            EvaluationError: a checkpoint is missing or broken.
        """
        pictures = self._clip.pictures([painting.picture for painting in paintings])
        texts = self._clip.texts([painting.triplet.triplet.prompt for painting in paintings])
        logits = self._clip.logit_scale * (pictures * texts).sum(1)
        return [{self.name: float(logit)} for logit in logits]

    @cached_property
    def _clip(self) -> ClipModel:
        return ClipModel(
            model=self.model,
            processor=self.processor,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
        )


def preference(ours: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Probability that ours is picked rather than the other, by the softmax over both logits.

    Its mean over triplets is what the official evaluation prints as PickScore; of a system with
    itself it is 0.5.

    Args:
        ours, other: PickScores of pictures for the same prompts, of one shape.

    Returns:
        0..1, of that shape; NaN where one of them is NaN.
    """
    difference = np.asarray(ours, np.float64) - np.asarray(other, np.float64)
    return np.asarray(0.5 * (1 + np.tanh(difference / 2)))  # the logistic, without overflow


def wins(ours: ArrayLike, other: ArrayLike, margin: float = 0.0) -> NDArray[np.float64]:
    """1 where ours has the higher score, 0 where the other has, 0.5 where it is a tie.

    Its mean is the share of wins, of which the paper's words speak.

    Args:
        ours, other: PickScores of pictures for the same prompts, of one shape.
        margin: differences up to this are ties.

    Returns:
        Of that shape; NaN where one of them is NaN.
    """
    difference = np.asarray(ours, np.float64) - np.asarray(other, np.float64)
    outcome = np.where(np.abs(difference) <= margin, 0.5, np.where(difference > 0, 1.0, 0.0))
    return np.asarray(np.where(np.isnan(difference), np.nan, outcome))
