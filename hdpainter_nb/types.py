"""The values that travel between the modules: `Settings`, `Job`, `Cond`, `State`, `Record`.

All are frozen. A `Job` says what to paint; `Cond` is that job as the UNet needs it; `State` is a
point of the sampling trajectory; `Record` is what was seen on the way from one state to the next.

Records hold NumPy arrays only, so whatever draws them needs no torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import show
from hdpainter_nb.errors import ImageError, SettingsError
from hdpainter_nb.maps import CrossMaps, Float, LevelMaps, QueryKeys, Word
from hdpainter_nb.options import Options
from hdpainter_nb.settings import PRESETS, Preset, Settings

if TYPE_CHECKING:
    import torch

    from hdpainter_nb.control import Control

__all__ = [
    "LEVELS",
    "PRESETS",
    "Cond",
    "Conditions",
    "CrossMaps",
    "GradStats",
    "Job",
    "LevelMaps",
    "Preset",
    "QueryKeys",
    "Record",
    "Settings",
    "State",
    "Task",
    "Word",
]

LEVELS = (8, 16, 32)
"""Attention resolutions counted from the image: level 16 has (H/16) x (W/16) positions."""

S = TypeVar("S", bound=Options)


@dataclass(frozen=True, init=False, eq=False)
class Task(Generic[S]):
    """A picture with a hole, what to paint there, and the settings: base of every kind of job."""

    image: NDArray[np.uint8]  # (H, W, 3)
    mask: NDArray[np.bool_]  # (H, W)
    prompt: str
    settings: S

    def __init__(self, image: Any, mask: Any, prompt: str, settings: S) -> None:
        from hdpainter_nb.inputs import read_image, read_mask

        picture = read_image(image)
        object.__setattr__(self, "image", picture)
        object.__setattr__(self, "mask", read_mask(mask, size=picture.shape[:2]))
        object.__setattr__(self, "prompt", _text("prompt", prompt))
        object.__setattr__(self, "settings", settings)

    def replace(self, *, prompt: str | None = None, **settings: Any) -> Self:
        """The same picture and mask with another prompt or other settings."""
        job = copy.copy(self)
        if prompt is not None:
            object.__setattr__(job, "prompt", _text("prompt", prompt))
        object.__setattr__(job, "settings", self.settings.replace(**settings))
        return job

    def part(self, window: tuple[slice, slice]) -> Self:
        """The same job on a window (rows, columns) of its picture."""
        job = copy.copy(self)
        object.__setattr__(job, "image", self.image[window].copy())
        object.__setattr__(job, "mask", self.mask[window].copy())
        return job

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = self.mask.mean()
        return (
            f"{type(self).__name__}({width}x{height} px, {share:.0%} to fill, "
            f"prompt={self.prompt!r}, "
            f"{self.settings.method}, {self.settings.steps} steps, seed {self.settings.seed})"
        )

    def _repr_html_(self) -> str:
        height, width = self.mask.shape
        changed = self.settings.changed()
        return show.card(
            show.picture(show.with_mask(self.image, self.mask)),
            show.table(
                {
                    "prompt": self.prompt,
                    "size": f"{width} x {height} px, {self.mask.mean():.0%} to fill",
                    "method": self.settings.method,
                    "steps, seed": f"{self.settings.steps}, {self.settings.seed}",
                    "other than default": ", ".join(f"{k}={v!r}" for k, v in changed.items()),
                }
            ),
        )


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Job(Task[Settings]):
    """What to paint: an image, a mask (1 = fill), a prompt and the `Settings`.

    Args:
        image: (H, W, 3) uint8 array, PIL image or path; other kinds are converted
            (greyscale, alpha over white, EXIF rotation, 16 bit).
        mask: (H, W) bool array, PIL image or path, True or white where to fill; None fills all.
        prompt: what to paint there. May be empty.
        preset: ``official``, ``paper`` or ``community``; starting point for `settings`.
        control: what a ControlNet is to follow (edges, depth, ...), of the size of `image`; the
            model needs one.
        settings: any field of `Settings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    control: NDArray[np.uint8] | None  # (H, W, 3)

    def __init__(
        self,
        image: Any,
        mask: Any,
        prompt: str,
        *,
        preset: Preset = "official",
        control: Any = None,
        **settings: Any,
    ) -> None:
        from hdpainter_nb.inputs import read_image

        super().__init__(image, mask, prompt, Settings.preset(preset, **settings))
        led = None if control is None else read_image(control)
        if led is not None and led.shape != self.image.shape:
            raise ImageError(
                f"control has {led.shape[1]}x{led.shape[0]} px, the image {self.image.shape[1]}x"
                f"{self.image.shape[0]}: make them the same size."
            )
        if led is None and self.settings.control_scale is not None:
            raise SettingsError("control_scale needs a control picture: Job(..., control=picture).")
        object.__setattr__(self, "control", led)
        if led is not None and self.settings.control_scale is None:
            object.__setattr__(self, "settings", self.settings.replace(control_scale=1.0))

    def part(self, window: tuple[slice, slice]) -> Self:
        """The same job on a window (rows, columns) of its picture."""
        job = super().part(window)
        if self.control is not None:
            object.__setattr__(job, "control", self.control[window].copy())
        return job


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be a string, not {type(value).__name__}.")
    return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditions:
    """What every UNet is told of a job: the text, and what part of the frame is the picture."""

    context: torch.Tensor  # (2, L, d): unconditional, conditional
    indices: tuple[int, ...]  # ind(tau)
    words: tuple[Word, ...] = ()
    tokens: tuple[str, ...] = ()  # readable, SOT .. EOT
    size: tuple[int, int] = (0, 0)  # (H, W) of the padded picture in pixels
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, height, width of the picture


@dataclass(frozen=True, eq=False, kw_only=True)
class Cond(Conditions):
    """A job as the UNet needs it. h, w = H/8, W/8; L = number of text tokens.

    ``latent_mask`` and ``masked_image_latents`` are the UNet's extra channels when it has 9.
    A 4-channel UNet is held to the known region by ``known_latents`` and ``known_noise``.
    """

    latent_mask: torch.Tensor  # (1, 1, h, w)
    masked_image_latents: torch.Tensor  # (1, 4, h, w)
    painta_masks: Mapping[int, torch.Tensor]  # level -> (H/level, W/level) bool
    score_mask: torch.Tensor  # (H/32, W/32) float
    known_latents: torch.Tensor | None = None  # (1, 4, h, w)
    known_noise: torch.Tensor | None = None  # (1, 4, h, w)
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)  # further UNet conditions
    control: Control | None = None  # ControlNet


@dataclass(frozen=True, eq=False)
class State:
    """A point of the trajectory: the latent x_t *before* step `index`, and the noise generator.

    Under Euler's schedulers the latent is x_0 + s eps, as they have it.
    """

    index: int
    latents: torch.Tensor  # (1, 4, h, w)
    rng: torch.Tensor  # state of the noise generator, uint8
    x0: torch.Tensor | None = None  # (1, 4, h, w): x0 prediction of the step that led here
    memory: Mapping[str, Any] | None = None  # what a multistep scheduler remembers of earlier steps


@dataclass(frozen=True, eq=False)
class GradStats:
    """g = grad_{x_t} S and its standardised form (eq. 7), as statistics (figs. 12 and 13)."""

    mean: float
    std: float
    skewness: float
    kurtosis: float  # excess: 0 for a normal distribution
    hist: NDArray[np.int64]  # (bins,) counts of g
    edges: Float  # (bins + 1,)
    standard_hist: NDArray[np.int64]  # (bins,) counts of the standardised g
    standard_edges: Float  # (bins + 1,) from -5 to 5, in standard deviations


@dataclass(frozen=True, eq=False)
class Record:
    """What was seen in one step, from x_t to x_{t-1}. NumPy arrays only."""

    index: int
    """Number of the step, from 0."""
    timestep: int
    """t, in training steps: 999 is pure noise."""
    latents: Float
    """(4, h, w): x_t entering the step, as the UNet takes it."""
    x0_latents: Float
    """(4, h, w): the x0 prediction."""
    x0_preview: NDArray[np.uint8]
    """(h, w, 3): a linear RGB reading of `x0_latents`, of their size."""
    cross: CrossMaps
    """Cross-attention probabilities (conditional half)."""
    c: LevelMaps
    """c_j of each PAIntA layer, normalised to 0 .. 1, (h, w); empty where PAIntA did not act."""
    similarity: LevelMaps
    """Appendix B: self-similarity before softmax, mean over masked rows and heads, (h, w)."""
    similarity_painta: LevelMaps
    """The same after PAIntA's rescaling; empty where PAIntA did not act."""
    scores: Float | None
    """(tokens, H/32, W/32): Abar^k of eq. 9, scores before softmax, mean over layers and heads."""
    score: float | None
    """S(x_t), which guidance descends; None without guidance."""
    grad: GradStats | None
    """Statistics of g = grad S; None without guidance."""
    sigma: float
    """sigma_t of eq. 3, in units of the latent: how much noise, or gradient, the step adds."""
    alpha: float
    """Cumulative alpha_t."""
    guided_norm: float
    """Root mean square of the classifier-free guidance term eps_cond - eps_uncond."""
    seconds: float
    """Wall-clock time of the step."""
    settings: Options
    """The settings under which this step was made."""
    x0_unblended: Float | None = None
    """(4, h, w): the x0 prediction before eq. 10 blended the original in; None where it did not."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What a multistep scheduler remembers after the step, to go on from a file."""
    score_maps: LevelMaps = field(default_factory=lambda: LevelMaps({}))
    """Scores before softmax of each layer, ([heads,] tokens, h, w); empty unless asked for."""
    self_qk: QueryKeys = field(default_factory=lambda: QueryKeys({}))
    """Queries and keys of self-attention, before PAIntA; empty unless asked for."""
    cross_qk: QueryKeys = field(default_factory=lambda: QueryKeys({}))
    """Queries and keys of cross-attention; empty unless asked for."""
    holes: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    """Level -> (h, w): what PAIntA took to be masked; empty unless `self_qk` is kept."""

    def __repr__(self) -> str:
        parts = [f"step {self.index}", f"t={self.timestep}", self.settings.method]
        if self.score is not None:
            parts.append(f"S={self.score:.4g}")
        return f"Record({', '.join(parts)}, {self.seconds * 1000:.0f} ms)"

    def _repr_html_(self) -> str:
        facts: dict[str, Any] = {
            "step, t": f"{self.index}, {self.timestep}",
            "method": self.settings.method,
            "words": ", ".join(word.text for word in self.cross.words),
            "attention at": ", ".join(f"H/{level}" for level in self.cross.levels),
            "sigma": self.sigma,
            "time": f"{self.seconds * 1000:.0f} ms",
        }
        if self.score is not None and self.grad is not None:
            facts |= {"S": self.score, "std of grad S": self.grad.std}
        return show.card(show.picture(self.x0_preview), show.table(facts))
