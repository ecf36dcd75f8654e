"""The values that travel between the modules: `Settings`, `Job`, `Cond`, `State`, `Record`.

All are frozen. A `Job` says what to paint; `Cond` is that job as the UNet needs it; `State` is a
point of the sampling trajectory; `Record` is what was seen on the way from one state to the next.

Records hold NumPy arrays only, so whatever draws them needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb import show
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.settings import PRESETS, Preset, Settings

if TYPE_CHECKING:
    import torch

__all__ = [
    "LEVELS",
    "PRESETS",
    "Cond",
    "CrossMaps",
    "GradStats",
    "Job",
    "LevelMaps",
    "Preset",
    "Record",
    "Settings",
    "State",
    "Word",
]

LEVELS = (8, 16, 32)
"""Attention resolutions counted from the image: level 16 has (H/16) x (W/16) positions."""

Float = NDArray[np.floating[Any]]


@dataclass(frozen=True, init=False, eq=False)
class Job:
    """What to paint: an image, a mask (1 = fill), a prompt and the `Settings`.

    Args:
        image: (H, W, 3) uint8 array, PIL image or path; other kinds are converted
            (greyscale, alpha over white, EXIF rotation, 16 bit).
        mask: (H, W) bool array, PIL image or path, True or white where to fill; None fills all.
        prompt: what to paint there. May be empty.
        preset: ``official``, ``paper`` or ``community``; starting point for `settings`.
        settings: any field of `Settings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    image: NDArray[np.uint8]  # (H, W, 3)
    mask: NDArray[np.bool_]  # (H, W)
    prompt: str
    settings: Settings

    def __init__(
        self,
        image: Any,
        mask: Any,
        prompt: str,
        *,
        preset: Preset = "official",
        **settings: Any,
    ) -> None:
        from hdpainter_nb.inputs import read_image, read_mask

        picture = read_image(image)
        object.__setattr__(self, "image", picture)
        object.__setattr__(self, "mask", read_mask(mask, size=picture.shape[:2]))
        object.__setattr__(self, "prompt", _text("prompt", prompt))
        object.__setattr__(self, "settings", Settings.preset(preset, **settings))

    def replace(self, *, prompt: str | None = None, **settings: Any) -> Job:
        """The same picture and mask with another prompt or other settings."""
        job = object.__new__(Job)
        object.__setattr__(job, "image", self.image)
        object.__setattr__(job, "mask", self.mask)
        object.__setattr__(
            job, "prompt", self.prompt if prompt is None else _text("prompt", prompt)
        )
        object.__setattr__(job, "settings", self.settings.replace(**settings))
        return job

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = self.mask.mean()
        return (
            f"Job({width}x{height} px, {share:.0%} to fill, prompt={self.prompt!r}, "
            f"{self.settings.method}, {self.settings.steps} steps, seed {self.settings.seed})"
        )

    def _repr_html_(self) -> str:
        height, width = self.mask.shape
        changed = self.settings.differences(Settings())
        return show.card(
            show.picture(show.with_mask(self.image, self.mask)),
            show.table(
                {
                    "prompt": self.prompt,
                    "size": f"{width} x {height} px, {self.mask.mean():.0%} to fill",
                    "method": self.settings.method,
                    "steps, seed": f"{self.settings.steps}, {self.settings.seed}",
                    "other than default": ", ".join(f"{k}={v[0]!r}" for k, v in changed.items()),
                }
            ),
        )


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be a string, not {type(value).__name__}.")
    return value


@dataclass(frozen=True)
class Word:
    """A word of the prompt and the token positions that spell it.

    The end-of-text token is the word ``<eot>``; it counts in ind(tau) though nobody typed it.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Cond:
    """A job as the UNet needs it. h, w = H/8, W/8; L = number of text tokens.

    ``latent_mask`` and ``masked_image_latents`` are the UNet's extra channels when it has 9.
    A 4-channel UNet is held to the known region by ``known_latents`` and ``known_noise``.
    """

    context: torch.Tensor  # (2, L, d): unconditional, conditional
    latent_mask: torch.Tensor  # (1, 1, h, w)
    masked_image_latents: torch.Tensor  # (1, 4, h, w)
    painta_masks: Mapping[int, torch.Tensor]  # level -> (H/level, W/level) bool
    score_mask: torch.Tensor  # (H/32, W/32) float
    indices: tuple[int, ...]  # ind(tau)
    words: tuple[Word, ...] = ()
    tokens: tuple[str, ...] = ()  # readable, SOT .. EOT
    size: tuple[int, int] = (0, 0)  # (H, W) of the padded picture in pixels
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, height, width of the picture
    known_latents: torch.Tensor | None = None  # (1, 4, h, w)
    known_noise: torch.Tensor | None = None  # (1, 4, h, w)
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)  # further UNet conditions


@dataclass(frozen=True, eq=False)
class State:
    """A point of the trajectory: the latent x_t *before* step `index`, and the noise generator."""

    index: int
    latents: torch.Tensor  # (1, 4, h, w)
    rng: torch.Tensor  # state of the noise generator, uint8
    x0: torch.Tensor | None = None  # (1, 4, h, w): x0 prediction of the step that led here


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


class LevelMaps(Mapping[int, Float]):
    """Maps by level and layer; ``maps[16]`` is the mean over the layers of H/16.

    ``maps.layers[16]`` gives ``{layer name: (..., h, w)}``.
    """

    def __init__(self, layers: Mapping[int, Mapping[str, Float]]) -> None:
        self.layers = {int(level): dict(named) for level, named in sorted(layers.items()) if named}

    def __getitem__(self, level: int) -> Float:
        if level not in self.layers:
            raise KeyError(f"no maps at level {level}; captured levels: {list(self.layers)}")
        stack = np.stack([np.asarray(a, np.float32) for a in self.layers[level].values()])
        mean: Float = stack.mean(0)
        return mean

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        inside = ", ".join(f"{level}: {len(named)} layers" for level, named in self.layers.items())
        return f"{type(self).__name__}({{{inside}}})"


class CrossMaps:
    """Cross-attention probabilities of the conditional half, by word or token and level.

    >>> record.cross["star"]          # (H/16, W/16), mean over heads, layers and the word's tokens
    >>> record.cross["star", 32]      # at H/32
    >>> record.cross[3, 8]            # token at position 3, at H/8
    >>> record.cross.layers(16)       # {layer: (tokens, h, w)}, or (heads, tokens, h, w) per head

    A word that stands twice in the prompt gives the mean of both. Looking is exact: no word
    is lower-cased or stemmed beyond the tokenizer's own lower-casing.
    """

    def __init__(self, maps: LevelMaps, words: tuple[Word, ...], tokens: tuple[str, ...]) -> None:
        self.maps = maps
        self.words = words
        self.tokens = tokens

    @property
    def levels(self) -> tuple[int, ...]:
        """The captured resolutions."""
        return tuple(self.maps)

    def layers(self, level: int) -> dict[str, Float]:
        """``{layer name: (tokens, h, w)}``, with a leading heads axis where heads were kept."""
        return dict(self.maps.layers[level])

    def __contains__(self, word: object) -> bool:
        return any(w.text == word for w in self.words)

    def __getitem__(self, key: str | int | tuple[str | int, int]) -> Float:
        which, level = key if isinstance(key, tuple) else (key, self._default_level())
        stack = self.maps[level]  # ([heads,] tokens, h, w)
        if stack.ndim == 4:
            stack = stack.mean(0)
        chosen: Float = stack[list(self._positions(which))].mean(0)
        return chosen

    def _default_level(self) -> int:
        return 16 if 16 in self.maps else next(iter(self.maps))

    def _positions(self, which: str | int) -> tuple[int, ...]:
        if isinstance(which, str):
            found = tuple(t for word in self.words if word.text == which for t in word.tokens)
            if not found:
                known = ", ".join(repr(w.text) for w in self.words)
                raise KeyError(f"{which!r} is not a word of this prompt; its words are {known}")
            return found
        if not 0 <= which < len(self.tokens):
            raise KeyError(f"token {which} is outside 0 .. {len(self.tokens) - 1}")
        return (which,)

    def __repr__(self) -> str:
        return f"CrossMaps(words={[w.text for w in self.words]}, levels={list(self.levels)})"


@dataclass(frozen=True, eq=False)
class Record:
    """What was seen in one step, from x_t to x_{t-1}. NumPy arrays only."""

    index: int
    """Number of the step, from 0."""
    timestep: int
    """t, in training steps: 999 is pure noise."""
    latents: Float
    """(4, h, w): x_t entering the step."""
    x0_latents: Float
    """(4, h, w): the x0 prediction."""
    x0_preview: NDArray[np.uint8]
    """(h, w, 3): a linear RGB reading of `x0_latents`, an eighth of the picture's size."""
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
    """sigma_t of eq. 3, in units of the latent."""
    alpha: float
    """Cumulative alpha_t."""
    guided_norm: float
    """Root mean square of the classifier-free guidance term eps_cond - eps_uncond."""
    seconds: float
    """Wall-clock time of the step."""
    settings: Settings
    """The settings under which this step was made."""

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
