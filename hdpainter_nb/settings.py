"""`Settings`: everything that decides how a job is sampled, and the 17 points of disagreement."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from hdpainter_nb.errors import SettingsError

__all__ = ["PRESETS", "Preset", "Settings"]

Preset = Literal["official", "paper", "community"]


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
    """Number of DDIM steps asked for, 1 to 1000. The official grid may take more (switch 13)."""
    seed: int = 1
    """Seed of the starting noise, and of any later random noise."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; None takes the model's own (7.5 for Stable Diffusion)."""
    painta: bool = True
    """Prompt-Aware Introverted Attention (sec. 3.3, eq. 5)."""
    rasg: bool = True
    """Reweighting Attention Score Guidance (sec. 3.4, eq. 7): a guidance term in every step."""
    objective: Literal["bce", "attend_excite"] = "bce"
    """The score S that guidance descends: eq. 9, or Attend-and-Excite within the mask (eq. 11)."""
    guidance: Literal["rasg", "vanilla"] = "rasg"
    """How grad S enters: in the place of DDIM's noise (eq. 7), or post hoc (eq. 6)."""
    vanilla_scale: float = 100.0
    """The factor s of vanilla post-hoc guidance (eq. 6); used when ``guidance="vanilla"``."""
    ddim_eta: float = 0.0
    """Eta of ordinary random DDIM noise, used where no gradient takes the noise's place."""
    negative_prompt: str | None = None
    """Prompt of the unconditional half; None takes the model's default, if switch 16 adds any."""
    positive_suffix: str | None = None
    """Words appended to the prompt; None takes the model's default, if switch 16 adds any."""
    long_side: int | None = None
    """Longest side to work at, in pixels; None scales larger images down to the model's size."""

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
    """7. The mask inside S at H/32. Paper: nearest. Official: dilated by one pixel, bicubic,
    > 0.5. Community: bicubic, left soft."""
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
