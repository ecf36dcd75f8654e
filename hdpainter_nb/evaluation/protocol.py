"""The switches of a measurement: what the official scripts do, the paper says, and is sound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.evaluation.triplet import BoxRule
from hdpainter_nb.utils.check import between, one_of
from hdpainter_nb.utils.checked import checked

__all__ = ["PROTOCOLS", "EvaluationProtocol"]

PROTOCOLS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "official": MappingProxyType({}),
        "paper": MappingProxyType({"eta": 0.1, "channels": "rgb", "preference": "wins"}),
        "sound": MappingProxyType(
            {
                "eta": 0.1,
                "channels": "rgb",
                "preference": "wins",
                "box": "hole",
                "detector": "rtdetr",
                "seeds": (1, 2, 3),
            }
        ),
        # Half the steps, and the guidance scale that it was made for.
        "miniature": MappingProxyType(
            {"steps": 25, "guidance_scale": None, "eta": 0.1, "box": "hole"}
        ),
    }
)


@checked
@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How systems are run and pictures scored; the defaults are the official scripts'.

    Raises:
        SettingsError: a value is not one of its choices.
    """

    steps: int = 50
    """Of every system. Official: 50, the timesteps 999, 979, ..., 19."""
    guidance_scale: float | None = 7.5
    """Official and paper: 7.5. None: each model's own."""
    seeds: tuple[int, ...] = (1,)
    """Official: seed 1 for every picture. Sound: several, so that chance shows."""
    eta: float = 0.25
    """Of RASG. Official: 0.25 in the evaluation script, 0.1 in the paper and the demo."""
    prompt_additions: Literal["none", "comma"] = "none"
    """Official: no suffix and no negative prompt unless asked for; the paper does not say which."""
    side: int | None = None
    """Long side in pixels. Official: 512, reached upwards too. None: what the triplets say."""
    box: BoxRule = "soft"
    """What is cut out for CLIP score and accuracy. Official: the box of every pixel that the
    resized mask touches, its bicubic halo included. Sound: of those above half."""
    channels: Literal["swapped", "rgb"] = "swapped"
    """Official: an RGB picture goes into a detector that expects BGR, so that red and blue are
    swapped; the printed accuracies are of such pictures."""
    detector: Literal["rtmdet", "rtdetr"] = "rtmdet"
    """Official and paper: RTMDet-tiny. Sound: a detector that is maintained."""
    preference: Literal["probability", "wins"] = "probability"
    """How PickScore becomes a percentage. Official: the mean probability that ours is preferred;
    the paper's words describe the share of wins."""

    def __post_init__(self) -> None:
        between("steps", self.steps, 1, 1000, integer=True)
        if self.guidance_scale is not None:
            between("guidance_scale", self.guidance_scale, 0, 100)
        between("eta", self.eta, 0, 1)
        if self.side is not None:
            between("side", self.side, 64, 4096, integer=True)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise SettingsError(f"seeds must be different whole numbers, not {self.seeds!r}.")
        for seed in self.seeds:
            between("a seed", seed, 0, 2**63 - 1, integer=True)

    @classmethod
    def named(cls, name: str, **changes: Any) -> Self:
        """One of `PROTOCOLS`, with changes.

        Raises:
            SettingsError: no such protocol or switch.
        """
        one_of("protocol", name, PROTOCOLS)
        known = [f.name for f in dataclasses.fields(cls)]
        for change in changes:
            if change not in known:
                raise SettingsError(f"A protocol has no switch {change!r}: {', '.join(known)}.")
        return cls(**{**PROTOCOLS[name], **changes})
