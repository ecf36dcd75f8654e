"""The exceptions and warnings that a user meets. Each message says what to do next."""

from __future__ import annotations

__all__ = [
    "EvaluationError",
    "HDPainterError",
    "HDPainterWarning",
    "ImageError",
    "MaskError",
    "ModelError",
    "OutOfMemoryError",
    "PromptWarning",
    "SamplingCancelled",
    "SamplingFinished",
    "SettingsError",
    "TraceError",
]


class HDPainterError(Exception):
    """Base of every error raised on purpose by this library."""


class ImageError(HDPainterError, ValueError):
    """The image cannot be used as it is."""


class MaskError(HDPainterError, ValueError):
    """The mask cannot be used as it is."""


class SettingsError(HDPainterError, ValueError):
    """A setting has an unknown name or an impossible value."""


class ModelError(HDPainterError, RuntimeError):
    """The model cannot be found, loaded or used."""


class OutOfMemoryError(HDPainterError, MemoryError):
    """The memory does not suffice for what was asked; nothing has moved, and less may be asked."""


class TraceError(HDPainterError, ValueError):
    """A trace file is truncated, foreign or of an unknown version."""


class EvaluationError(HDPainterError, RuntimeError):
    """A measurement cannot go on: files, weights or packages are missing, or do not fit the run."""


class SamplingCancelled(HDPainterError):
    """A step was cancelled on request; the sampler stands where it stood before that step."""


class SamplingFinished(HDPainterError):
    """Every step is made; there is nothing to step to."""


class HDPainterWarning(UserWarning):
    """Base of every warning: the work goes on, but not quite as asked."""


class PromptWarning(HDPainterWarning):
    """Part of the prompt does not reach the model."""
