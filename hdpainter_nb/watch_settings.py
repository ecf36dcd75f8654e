"""The settings of a watched call: what is known of a pipeline that is not ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hdpainter_nb.options import Options

__all__ = ["WatchSettings"]


@dataclass(frozen=True, kw_only=True)
class WatchSettings(Options):
    """What `hdpainter_nb.watch` could read off a call. The seed is not known and says 0."""

    steps: int = 1
    """Timesteps of the pipeline's scheduler."""
    seed: int = 0
    guidance_scale: float | None = None
    """Of classifier-free guidance; None where the pipeline does not say."""
    grid: Literal["official", "leading"] = "leading"
    decode: Literal["x0", "latent"] = "latent"
    prompt_additions: Literal["comma", "none", "bare"] = "none"
    negative_prompt: str | None = None
    positive_suffix: str | None = None
    pipeline: str = ""
    """Name of its class."""
    solver: str = ""
    """Name of its scheduler's class."""

    @property
    def method(self) -> str:
        """The pipeline's name."""
        return self.pipeline or "watched"
