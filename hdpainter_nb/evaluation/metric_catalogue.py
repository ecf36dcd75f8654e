"""The names under which a command knows metrics."""

from __future__ import annotations

import difflib
from typing import Any

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.metrics.accuracy import ClassAccuracy
from hdpainter_nb.evaluation.metrics.aesthetic import AestheticScore
from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
from hdpainter_nb.evaluation.metrics.detectors import Detector, TransformersDetector
from hdpainter_nb.evaluation.metrics.external import SHIPPED, ExternalMetric
from hdpainter_nb.evaluation.metrics.metric import Metric
from hdpainter_nb.evaluation.metrics.pickscore import PickScore
from hdpainter_nb.evaluation.metrics.preservation import Preservation
from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.utils.checked import checked

__all__ = ["NAMES", "default_metrics", "metric_of"]

NAMES = (
    "clip_score",
    "clip_score_l14",
    "accuracy",
    "aesthetic",
    "aesthetic_v1",
    "pickscore",
    "preservation",
    *SHIPPED,
)
_DEFAULT = ("clip_score", "accuracy", "aesthetic", "pickscore", "preservation")


@checked
def metric_of(
    name: str, protocol: EvaluationProtocol, *, device: str | None = None, **options: Any
) -> Metric:
    """A metric by its name.

    Args:
        name: one of `NAMES`; or any, with ``python`` and ``script`` among the options, for one that
            another interpreter computes.
        protocol: which detector accuracy takes, and in which order of channels.
        device: to compute on; None takes the best there is.
        options: of the metric's class.

    Raises:
        EvaluationError: no such metric, or an option that it does not have.
    """
    where: dict[str, Any] = {} if device is None else {"device": device}
    try:
        if name in SHIPPED or "python" in options:
            return ExternalMetric(name=name, **where, **options)
        if name == "clip_score":
            return ClipScore(**where, **options)
        if name == "clip_score_l14":  # as BrushNet's evaluation: the whole picture
            chosen = {"model": "openai/clip-vit-large-patch14", "crop": "whole", "fit": "processor"}
            return ClipScore(name=name, **{**chosen, **where, **options})
        if name == "accuracy":
            return ClassAccuracy(detector=_detector(protocol, where, options))
        if name in ("aesthetic", "aesthetic_v1"):
            version = "v1" if name == "aesthetic_v1" else "v2"
            return AestheticScore(**{"version": version, **where, **options})
        if name == "pickscore":
            return PickScore(**where, **options)
        if name == "preservation":
            return Preservation(**options)
    except TypeError as error:
        raise EvaluationError(f"The metric {name!r} has no such option: {error}.") from error
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise EvaluationError(f"There is no metric {name!r}.{hint} Known: {', '.join(NAMES)}.")


def _detector(
    protocol: EvaluationProtocol, where: dict[str, Any], options: dict[str, Any]
) -> Detector:
    chosen = {"channels": protocol.channels, **where, **options}
    if protocol.detector == "rtmdet":
        return RTMDet(**chosen)
    return TransformersDetector(**chosen)


@checked
def default_metrics(protocol: EvaluationProtocol, *, device: str | None = None) -> list[Metric]:
    """The paper's metrics, and what became of the known pixels."""
    return [
        metric_of(name, protocol, device=None if name == "preservation" else device)
        for name in _DEFAULT
    ]
