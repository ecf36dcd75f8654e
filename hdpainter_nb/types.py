"""The values that travel between the modules: `Settings`, `Job`, `Cond`, `State`, `Record`.

All are frozen. A `Job` says what to paint; `Cond` is that job as the UNet needs it; `State` is a
point of the sampling trajectory; `Record` is what was seen on the way from one state to the next.

Records hold NumPy arrays only, so whatever draws them needs no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError

if TYPE_CHECKING:
    import torch

__all__ = [
    "LEVELS",
    "PRESETS",
    "CrossMaps",
    "Cond",
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

Preset = Literal["official", "paper", "community"]
Float = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides how a job is sampled, and every point on which sources disagree.

    The defaults are the preset ``official``. Switches numbered 1 to 17 name what the paper
    (arXiv 2312.14091), the official code (Picsart-AI-Research/HD-Painter, commit d452186) and the
    diffusers community pipeline (``hd_painter.py``) each do.

    Raises:
        SettingsError: a value is outside its range or not one of its choices.
    """

    # --- what is run -----------------------------------------------------------------------------
    steps: int = 30
    """Number of DDIM steps asked for, 1 to 1000. The official grid may take one more (switch 13)."""
    seed: int = 1
    """Seed of the starting noise, and of any later random noise."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; None takes the model's own default (7.5 for Stable Diffusion)."""
    painta: bool = True
    """Prompt-Aware Introverted Attention (sec. 3.3, eq. 5)."""
    rasg: bool = True
    """Reweighting Attention Score Guidance (sec. 3.4, eq. 7): a guidance term in every step."""
    objective: Literal["bce", "attend_excite"] = "bce"
    """The score S that guidance descends: eq. 9, or Attend-and-Excite within the mask (eq. 11)."""
    guidance: Literal["rasg", "vanilla"] = "rasg"
    """How grad S enters: in place of DDIM's noise (eq. 7), or post hoc with `vanilla_scale` (eq. 6)."""
    vanilla_scale: float = 100.0
    """The factor s of vanilla post-hoc guidance (eq. 6); used when ``guidance="vanilla"``."""
    ddim_eta: float = 0.0
    """Eta of ordinary random DDIM noise, used where no gradient takes the noise's place."""
    negative_prompt: str | None = None
    """Prompt of the unconditional half; None takes the model's default, if switch 16 adds any."""
    positive_suffix: str | None = None
    """Words appended to the prompt; None takes the model's default, if switch 16 adds any."""
    long_side: int | None = None
    """Longest side in pixels at which to work; None scales larger images down to the model's size."""

    # --- the 17 switches -------------------------------------------------------------------------
    sigma: Literal["per_step", "cumulative"] = "per_step"
    """1. Alphas in sigma_t. Paper (eq. 3), community: cumulative products. Official: per-step
    ``1 - beta``, which makes sigma 10 to 25 times smaller."""
    eta: float = 0.1
    """2. Eta of RASG. Paper and official: 0.1 (0.25 in the official evaluation script).
    Community: 0.01."""
    direction: Literal["descend", "ascend"] = "descend"
    """3. Sign of the gradient term. Paper (its text), official, community: S is descended; eq. 7
    as printed would ascend."""
    logit_shift: float = 1.0
    """4. Subtracted from the scores inside S. Paper: 0. Official, community: 1.0."""
    reduction: Literal["mean", "sum"] = "mean"
    """5. Pixels in S. Paper (eq. 9): sum. Official, community: mean. Cancels in g / std(g)."""
    gradient_norm: Literal["global_std", "centred"] = "global_std"
    """6. Standardisation of g. Paper, official: divided by one standard deviation.
    Community: mean subtracted, standard deviation per sample."""
    score_mask: Literal["bicubic_binary", "nearest", "bicubic"] = "bicubic_binary"
    """7. The mask inside S at H/32. Paper: nearest. Official: bicubic, > 0.5.
    Community: bicubic, left soft."""
    unet_mask: Literal["dilate_any", "nearest"] = "dilate_any"
    """8. The UNet's mask channel. Paper, community: nearest. Official: dilated by one pixel,
    bicubic, 1 wherever not zero."""
    painta_mask: Literal["dilate_bicubic", "nearest", "bicubic"] = "dilate_bicubic"
    """9. PAIntA's mask at H/16 and H/32. Paper: nearest. Official: dilated by one pixel, bicubic,
    > 0.5. Community: bicubic, > 0.5."""
    c_smoothing: Literal["gaussian", "none"] = "gaussian"
    """10. Smoothing of c. Paper: none. Official, community: 3x3 Gaussian, zero padding."""
    painta_input: Literal["residual", "unnormalised"] = "residual"
    """11. PAIntA's block input. Paper, official: the residual stream itself. Community:
    ``(norm1(x) + bias) * weight``, which does not invert LayerNorm."""
    painta_window: Literal["t>500", "first_half", "t>=500"] = "t>500"
    """12. When PAIntA acts. Paper: the first half of the steps. Official: t > 500.
    Community: t >= 500."""
    grid: Literal["official", "leading"] = "official"
    """13. Timesteps. Official: ``range(999, 0, -(1000 // steps))``. Community: leading with
    offset 1 (981 .. 1 at 50 steps). The paper does not say; its preset takes the official grid."""
    decode: Literal["x0", "latent"] = "x0"
    """14. What is decoded. Paper, official: the last x0 prediction. Community: the last latent."""
    vae_encoding: Literal["mean", "sample"] = "mean"
    """15. Encoding of the masked image. Official: the posterior's mean. Community: a sample.
    The paper does not say; its preset takes the mean."""
    prompt_additions: Literal["comma", "none", "bare"] = "comma"
    """16. Positive suffix and negative prompt. Paper: none. Official: suffix joined by ", ".
    Community: suffix joined by nothing. The words themselves belong to the model."""
    size: Literal["pad", "squash"] = "pad"
    """17. Sizes that are no multiple of 64. Official: zero-padded, cropped back. Community:
    squashed to the model's square. The paper does not say; its preset pads."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise SettingsError(
                    f"{name}={value!r} is not one of {', '.join(map(repr, choices))}."
                )
        for name in ("painta", "rasg"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be True or False, not {getattr(self, name)!r}.")
        _between("steps", self.steps, 1, 1000, integer=True)
        _between("seed", self.seed, 0, 2**63 - 1, integer=True)
        _between("eta", self.eta, 0.0, 1.0)
        _between("ddim_eta", self.ddim_eta, 0.0, 1.0)
        _between("vanilla_scale", self.vanilla_scale, 0.0, 1e6)
        _between("logit_shift", self.logit_shift, -100.0, 100.0)
        if self.guidance_scale is not None:
            _between("guidance_scale", self.guidance_scale, 0.0, 100.0)
        if self.long_side is not None:
            _between("long_side", self.long_side, 64, 8192, integer=True)

    @classmethod
    def preset(cls, name: Preset = "official", **changes: Any) -> Settings:
        """The settings of a named source, with `changes` on top.

        Raises:
            SettingsError: unknown preset or setting.
        """
        if name not in PRESETS:
            raise SettingsError(f"preset={name!r} is not one of {', '.join(map(repr, PRESETS))}.")
        return cls().replace(**{**PRESETS[name], **changes})

    def replace(self, **changes: Any) -> Settings:
        """A copy with `changes`; an unknown name raises `SettingsError` with the nearest match."""
        for name in changes:
            if name not in _FIELDS:
                near = difflib.get_close_matches(name, _FIELDS, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(_FIELDS)}."
                raise SettingsError(f"There is no setting {name!r}.{hint}")
        return dataclasses.replace(self, **changes)

    def differences(self, other: Settings) -> dict[str, tuple[Any, Any]]:
        """The settings on which the two differ: ``name -> (mine, theirs)``."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _FIELDS}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for json."""
        return dataclasses.asdict(self)

    @property
    def method(self) -> str:
        """``baseline``, ``painta``, ``rasg`` or ``painta+rasg``."""
        return "+".join(n for n in ("painta", "rasg") if getattr(self, n)) or "baseline"


def _between(name: str, value: Any, low: float, high: float, *, integer: bool = False) -> None:
    kind = "a whole number" if integer else "a number"
    wanted = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}.")


_FIELDS = tuple(f.name for f in dataclasses.fields(Settings))
_CHOICES = {
    name: get_args(hint)
    for name, hint in get_type_hints(Settings).items()
    if get_args(hint) and all(isinstance(choice, str) for choice in get_args(hint))
}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "official": MappingProxyType({}),
        "paper": MappingProxyType(
            {
                "sigma": "cumulative",
                "logit_shift": 0.0,
                "reduction": "sum",
                "score_mask": "nearest",
                "unet_mask": "nearest",
                "painta_mask": "nearest",
                "c_smoothing": "none",
                "painta_window": "first_half",
                "prompt_additions": "none",
            }
        ),
        "community": MappingProxyType(
            {
                "sigma": "cumulative",
                "eta": 0.01,
                "gradient_norm": "centred",
                "score_mask": "bicubic",
                "unet_mask": "nearest",
                "painta_mask": "bicubic",
                "painta_input": "unnormalised",
                "painta_window": "t>=500",
                "grid": "leading",
                "decode": "latent",
                "vae_encoding": "sample",
                "prompt_additions": "bare",
                "size": "squash",
            }
        ),
    }
)


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
        object.__setattr__(job, "prompt", self.prompt if prompt is None else _text("prompt", prompt))
        object.__setattr__(job, "settings", self.settings.replace(**settings))
        return job

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = self.mask.mean()
        return (
            f"Job({width}x{height} px, {share:.0%} to fill, prompt={self.prompt!r}, "
            f"{self.settings.method}, {self.settings.steps} steps, seed {self.settings.seed})"
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
        self.layers = {
            int(level): dict(named) for level, named in sorted(layers.items()) if named
        }

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
    """Appendix B: self-similarity (before softmax) averaged over the masked rows and heads, (h, w)."""
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
