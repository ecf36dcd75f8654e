"""Every switch that decides how a job is sampled: its values, its meaning."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.utils.check import between, one_of
from hdpainter_nb.utils.checked import checked

__all__ = [
    "BASELINES",
    "NOISY",
    "PRESETS",
    "SMALLEST_C",
    "AnyPreset",
    "BaseGlideSettings",
    "BaseSettings",
    "Baseline",
    "Blending",
    "GlideSettings",
    "GlideUpsampleSettings",
    "Grid",
    "Joining",
    "LowGuidance",
    "PaintaScaling",
    "PixelRounding",
    "Preset",
    "Scaling",
    "Settings",
    "SoftMask",
    "UpscaleSettings",
    "WatchSettings",
]


Preset = Literal["official", "paper", "community", "practical"]
Baseline = Literal["bld", "bld_sdxl", "bld_ldm"]
AnyPreset = Literal[Preset, Baseline]
Blending = Literal["stock", "bld", "bld_ldm"]
Grid = Literal["official", "leading", "leading_0"]  # switch 13
Scaling = Literal["bicubic", "area", "lanczos", "bilinear"]  # switch 18
SoftMask = Literal["any", "half"]  # switch 19
LowGuidance = Literal["formula", "conditional"]  # switch 20
Joining = Literal["literal", "tidy"]
PaintaScaling = Literal["multiply", "log"]
PixelRounding = Literal["down", "nearest"]
Scheduler = Literal[
    "ddim",
    "ddpm",
    "pndm",
    "euler",
    "euler_karras",
    "euler_a",
    "dpm++_2m",
    "dpm++_2m_karras",
    "dpm++_2m_sde",
    "dpm++_2m_sde_karras",
    "unipc",
]
NOISY = ("ddim", "ddpm", "euler_a", "dpm++_2m_sde", "dpm++_2m_sde_karras")
"""The schedulers whose steps add noise, in whose place RASG puts the gradient."""
SMALLEST_C = 1e-4
"""Below this c_j counts as this where its logarithm is taken: that of 0 has no gradient."""
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "official": MappingProxyType({}),  # the defaults
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
                "ddim_eta": 0.01,
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
                "positive_suffix": "",
                "negative_prompt": "",
                "size": "squash",
                "scaling": "lanczos",
                "soft_mask": "half",
                "low_guidance": "conditional",
                "pixel_rounding": "nearest",
            }
        ),
        "practical": MappingProxyType(
            {
                "scaling": "area",
                "soft_mask": "half",
                "low_guidance": "conditional",
                "joining": "tidy",
                "pixel_rounding": "nearest",
            }
        ),
    }
)
"""What each source does, as far as it is not the default.

``official`` is the official code's script, ``paper`` the paper, ``community`` diffusers' community
pipeline. ``practical`` is the official method on pictures of one's own: none is scaled up, what is
scaled down keeps its fine lines, faint grey in a mask is no hole, and commas are not doubled.
"""
_BLD: Mapping[str, Any] = MappingProxyType(
    {
        "painta": False,
        "rasg": False,
        "blending": "bld",
        "skip": 0.25,
        "start": "noise",
        "grid": "leading_0",
        "decode": "latent",
        "unet_mask": "nearest_centre",
        "prompt_additions": "none",
        "size": "squash",
        "scaling": "bilinear",
        "soft_mask": "half",
        "pixel_rounding": "nearest",
    }
)
BASELINES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bld": _BLD,
        "bld_sdxl": MappingProxyType(
            {**_BLD, "start": "picture", "scheduler": "euler", "guidance_scale": 5.0}
        ),
        "bld_ldm": MappingProxyType(
            {
                **_BLD,
                "blending": "bld_ldm",
                "skip": 0.0,
                "start": "picture",
                "grid": "leading",
                "vae_encoding": "sample",
                "scaling": "lanczos",
                "pixel_rounding": "down",
                "guidance_scale": 5.0,
            }
        ),
    }
)
"""Other ways to fill a hole that run through the same sampler, as far as they are not the default.

Blended Latent Diffusion (Avrahami et al. 2023) on models with 4 input channels, as its authors'
scripts have it (omriav/blended-latent-diffusion): ``bld`` is that for Stable Diffusion 2,
``bld_sdxl`` that for SDXL, ``bld_ldm`` that for the latent diffusion model of the paper. A guidance
scale that is not given here is the model's own, 7.5 as in the first script.
"""


@checked
@dataclass(frozen=True, kw_only=True)
class BaseSettings:
    """Base of everything that decides how a job is sampled.

    Raises:
        SettingsError: a value is not one of its choices.
    """

    factor: ClassVar[int] = 8
    """Pixels of the picture per latent position."""
    prepared: ClassVar[frozenset[str]] = frozenset()
    """What preparing a job reads; a branch that changes one of these is prepared anew."""
    fixed: ClassVar[frozenset[str]] = frozenset({"grid", "seed", "steps"})
    """What decides the trajectory's shape; a branch may change it only before the first step."""
    joint_attention: ClassVar[bool] = False
    """Whether pixels attend to the text and to each other in one softmax."""

    steps: int
    seed: int
    guidance_scale: float | None
    grid: Grid
    decode: Literal["x0", "latent"]
    prompt_additions: Literal["comma", "none", "bare"]
    negative_prompt: str | None
    positive_suffix: str | None
    joining: Joining
    soft_mask: SoftMask
    low_guidance: LowGuidance
    pixel_rounding: PixelRounding

    def __post_init__(self) -> None:
        kind: Any = type(self)
        choices, switches = _hints(kind)
        for name, values in choices.items():
            one_of(name, getattr(self, name), values)
        for name in switches:
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be True or False, not {getattr(self, name)!r}.")
        between("steps", self.steps, 1, 1000, integer=True)
        between("seed", self.seed, 0, 2**63 - 1, integer=True)
        if self.guidance_scale is not None:
            between("guidance_scale", self.guidance_scale, 0.0, 100.0)

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`; an unknown name raises `SettingsError` with the nearest match."""
        names = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(names)}."
                raise SettingsError(f"There is no setting {name!r}.{hint}")
        return dataclasses.replace(self, **changes)

    def differences(self, other: BaseSettings) -> dict[str, tuple[Any, Any]]:
        """The settings on which two of a kind differ: ``name -> (mine, theirs)``."""
        names = [f.name for f in dataclasses.fields(self)]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def changed(self) -> dict[str, Any]:
        """The settings that are not as by default: ``name -> value``."""
        pairs = self.differences(type(self)())  # type: ignore[call-arg]  # each kind has defaults
        return {name: mine for name, (mine, _) in pairs.items()}

    @classmethod
    def of_earlier_run(cls, values: Mapping[str, Any]) -> Self:
        """The settings of a saved run; what its file does not name was then not a choice.

        Args:
            values: name -> value, from `to_dict` of this version or an earlier one.

        Raises:
            SettingsError: unknown or impossible setting.
        """
        names = {f.name for f in dataclasses.fields(cls)}
        then = {"scaling": "lanczos"} if values.get("size") == "squash" else {}
        missing = {k: v for k, v in {**PRESETS["practical"], **then}.items() if k in names}
        start = cls()  # type: ignore[call-arg]  # each kind has defaults
        return start.replace(**{**missing, **values})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for json."""
        return dataclasses.asdict(self)

    @property
    def method(self) -> str:
        """What is switched on, in a word."""
        raise NotImplementedError


@checked
@dataclass(frozen=True, kw_only=True)
class Settings(BaseSettings):
    """Everything that decides how a job is sampled, and every point on which sources disagree.

    The defaults are the preset ``official``. Switches numbered 1 to 20 name what the paper
    (arXiv 2312.14091), the official code (Picsart-AI-Research/HD-Painter, commit d452186) and the
    diffusers community pipeline (``hd_painter.py``) each do.

    Raises:
        SettingsError: a value is outside its range or not one of its choices.
    """

    prepared: ClassVar[frozenset[str]] = frozenset(
        {
            "control_scale",
            "joining",
            "mask_precision",
            "negative_prompt",
            "painta_mask",
            "positive_suffix",
            "prompt_additions",
            "score_mask",
            "unet_mask",
            "vae_encoding",
        }
    )
    fixed: ClassVar[frozenset[str]] = BaseSettings.fixed | {
        "long_side",
        "scaling",
        "scheduler",
        "size",
        "skip",
        "soft_mask",
        "start",
        "strength",
    }

    # --- what is run -----------------------------------------------------------------------------
    steps: int = 50
    """Number of steps asked for, 1 to 1000; 50 as in the official script and the community
    pipeline. The official grid may make a few more, 31 for 30: it goes down from 999 by whole
    strides of ``1000 // steps`` as long as t is above 0 (switch 13)."""
    scheduler: Scheduler = "ddim"
    """How x_{t-1} follows from x_t. ``ddim`` is eq. 3 as the paper has it. The others are those of
    diffusers, with the timesteps that the model's own configuration asks for; of the settings here
    they read neither `grid` nor `sigma` nor `ddim_eta`. RASG needs one that adds noise: ``ddim``,
    ``ddpm``, ``euler_a``, ``dpm++_2m_sde``, ``dpm++_2m_sde_karras``. All but DDIM add their full
    noise z, and RASG puts ``-eta g / std(g) + sqrt(1 - eta^2) z`` in its place: the gradient
    weighs as much as in eq. 7, and with eta = 1 it takes the whole place."""
    seed: int = 1
    """Seed of the starting noise, and of any later random noise."""
    strength: float = 1.0
    """How far the picture is noised before the first step. 1 (paper, official, community): to pure
    noise. Below, as diffusers has it: the first ``steps - int(steps * strength)`` steps are left
    out, and the run starts from the picture's latents with the noise of the next one. diffusers'
    SDXL inpainting takes 0.9999 by default, which leaves out one step."""
    skip: float = 0.0
    """Share of the timesteps that is left out at the beginning, ``int(steps * skip)`` of them, as
    Blended Latent Diffusion counts them (0.25 there); `strength` is the other way to say it."""
    start: Literal["auto", "noise", "picture"] = "auto"
    """What the first step starts from: pure ``noise``, whatever its timestep; the ``picture``,
    noised as that timestep asks for; ``auto``: noise, but the picture where `strength` is below 1.
    Blended Latent Diffusion: noise for Stable Diffusion 2, the picture for SDXL and LDM."""
    blending: Blending = "stock"
    """How a model with 4 input channels is held to the known pixels; those with 9 see them.
    ``stock`` (diffusers): x_{t-1} is blended with the known latents at its own noise level, always
    with the starting noise, and the last one with clean latents. ``bld`` (Blended Latent
    Diffusion): with fresh noise in each step, at the level of t, the last one too. ``bld_ldm`` (its
    first form): x_t is blended before each step, at the level of t, with fresh noise; the end is
    not."""
    grown_masks: int = 0
    """For thin holes, in blended latent diffusion: so many larger masks come before the hole's own,
    each for an equal share of the steps, the largest first; each is a latent position wider on all
    sides than the next. 0: the hole's own mask alone."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; None takes the model's own (7.5 for Stable Diffusion)."""
    painta: bool = True
    """Prompt-Aware Introverted Attention (sec. 3.3, eq. 5)."""
    painta_scaling: PaintaScaling = "multiply"
    """How c_j enters PAIntA. ``multiply`` is eq. 5: ``c_j A_ij``, which weakens a known pixel where
    A_ij is positive, and strengthens it where A_ij is negative. ``log`` is no source's:
    ``A_ij + log c_j``, which multiplies the attention itself by c_j, whatever its logit's sign."""
    rasg: bool = True
    """Reweighting Attention Score Guidance (sec. 3.4, eq. 7): a guidance term in every step."""
    objective: Literal["bce", "attend_excite"] = "bce"
    """The score S that guidance descends: eq. 9, or Attend-and-Excite within the mask (eq. 11)."""
    guidance: Literal["rasg", "vanilla"] = "rasg"
    """How grad S enters: in the place of DDIM's noise (eq. 7), or post hoc (eq. 6)."""
    vanilla_scale: float = 100.0
    """The factor s of vanilla post-hoc guidance (eq. 6); used when ``guidance="vanilla"``."""
    ddim_eta: float = 0.0
    """Eta of ordinary random DDIM noise, used where no gradient takes the noise's place. Community:
    0.01, the one eta of that pipeline."""
    negative_prompt: str | None = None
    """Prompt of the unconditional half; None takes the model's default, if switch 16 adds any."""
    positive_suffix: str | None = None
    """Words appended to the prompt; None takes the model's default, if switch 16 adds any."""
    joining: Joining = "literal"
    """How ", " joins the suffix (switch 16). ``literal``: always, as the official code does: after
    a comma, and before nothing. ``tidy``: no comma is doubled, and none stands alone."""
    pixel_rounding: PixelRounding = "down"
    """How a decoded picture becomes whole levels. Official: cut ``down``. Community, and diffusers
    throughout: to the ``nearest``."""
    control_scale: float | None = None
    """How much ControlNet has to say, for a `Job` with a control picture: 1 as it was trained, 0
    nothing; None: 1 if there is such a picture."""
    mask_precision: int | None = None
    """How exactly a new object is to follow the mask, for models that are told (SmartBrush's
    recipe): from 0, the object's own outline, to the model's last, a box around it. None takes
    the last; other models take nothing else."""
    long_side: int | None = None
    """Longest side to work at, in pixels; None is that of the pictures the model was made for."""

    # --- the 20 switches -------------------------------------------------------------------------
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
    unet_mask: Literal["dilate_any", "nearest", "nearest_centre"] = "dilate_any"
    """8. The UNet's mask channel, or what is blended. Paper, community: nearest. Official: dilated
    by one pixel, bicubic, 1 wherever not zero. ``nearest_centre`` (Blended Latent Diffusion): the
    pixel in the middle of each cell, not in its corner."""
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
    grid: Grid = "official"
    """13. Timesteps. Official: ``range(999, 0, -(1000 // steps))``. Community: leading with
    offset 1 (981 .. 1 at 50 steps). The paper does not say; its preset takes the official grid.
    ``leading_0`` (Blended Latent Diffusion on Stable Diffusion 2): without offset, 980 .. 0."""
    decode: Literal["x0", "latent"] = "x0"
    """14. What is decoded. Paper, official: the last x0 prediction. Community: the last latent."""
    vae_encoding: Literal["mean", "sample"] = "mean"
    """15. Encoding of the masked image. Official: the posterior's mean. Community: a sample.
    The paper does not say; its preset takes the mean."""
    prompt_additions: Literal["comma", "none", "bare"] = "comma"
    """16. Positive suffix and negative prompt. Paper: none. Official: suffix joined by ", ".
    Community: suffix joined by nothing, and by default no words of either. The words themselves
    belong to the model."""
    size: Literal["pad", "squash"] = "pad"
    """17. Sizes that are no multiple of 64. Official: zero-padded, cropped back. Community:
    squashed to the model's square. The paper does not say; its preset pads."""
    scaling: Scaling = "bicubic"
    """18. Scaling to the working size. Official: the long side to exactly that, also upwards, the
    short one cut to whole pixels; Pillow's bicubic for picture and mask. Community: Lanczos.
    ``area`` is neither: larger pictures alone are scaled, to whole pixels by rounding, and a mask
    loses no line. The paper does not say; its preset is official here. ``bilinear`` is Pillow's, of
    Blended Latent Diffusion."""
    soft_mask: SoftMask = "any"
    """19. Which grey of a mask is hole. Official: any value above 0. Community: from half on. The
    paper does not say; its preset is official here."""
    low_guidance: LowGuidance = "formula"
    """20. At a guidance scale of 1 or less. Paper, official: ``u + g (c - u)``, as at any other.
    Community: the conditional half alone, which saves the other one's time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("strength", self.strength, 0.0, 1.0)
        between("skip", self.skip, 0.0, 1.0)
        between("grown_masks", self.grown_masks, 0, 1000, integer=True)
        if self.skip > 0 and self.strength < 1:
            raise SettingsError(
                f"strength={self.strength!r} and skip={self.skip!r} both leave out first steps: "
                "give one of them, and start= for what the run starts from."
            )
        if self.skip == 1:
            raise SettingsError("skip=1.0 leaves no step: use a share below 1.")
        if self.skipped_steps == self.steps:
            raise SettingsError(
                f"strength={self.strength!r} leaves none of {self.steps} steps: use a strength of "
                f"at least 1/{self.steps}, or more steps."
            )
        if self.grown_masks and self.blending == "stock":
            raise SettingsError(
                f"grown_masks={self.grown_masks} belongs to blended latent diffusion: set "
                "blending='bld' or 'bld_ldm', or grown_masks=0."
            )
        between("eta", self.eta, 0.0, 1.0)
        between("ddim_eta", self.ddim_eta, 0.0, 1.0)
        between("vanilla_scale", self.vanilla_scale, 0.0, 1e6)
        between("logit_shift", self.logit_shift, -100.0, 100.0)
        if self.control_scale is not None:
            between("control_scale", self.control_scale, 0.0, 10.0)
        if self.mask_precision is not None:
            between("mask_precision", self.mask_precision, 0, 999, integer=True)
        if self.long_side is not None:
            between("long_side", self.long_side, 64, 8192, integer=True)
        if self.rasg and self.guidance == "rasg" and self.scheduler not in NOISY:
            raise SettingsError(
                f"RASG puts the gradient in the place of noise, and scheduler={self.scheduler!r} "
                f"adds none: use one that does ({', '.join(map(repr, NOISY))}), or rasg=False, or "
                "guidance='vanilla', which needs no noise."
            )

    @classmethod
    def preset(cls, name: AnyPreset = "official", **changes: Any) -> Settings:
        """The settings of a named source (`PRESETS`, `BASELINES`), with `changes` on top.

        Raises:
            SettingsError: unknown preset or setting.
        """
        known = {**PRESETS, **BASELINES}
        one_of("preset", name, known)
        return cls().replace(**{**known[name], **changes})

    @property
    def skipped_steps(self) -> int:
        """Steps that `strength` leaves out, as diffusers counts them, or `skip`."""
        return self.steps - int(self.steps * self.strength) + int(self.steps * self.skip)

    @property
    def starts_from_picture(self) -> bool:
        """Whether the first step starts from the noised picture, not from pure noise."""
        return self.start == "picture" or (self.start == "auto" and self.strength < 1)

    @property
    def method(self) -> str:
        """``baseline``, ``painta``, ``rasg`` or ``painta+rasg``, after ``bld`` or ``bld_ldm``."""
        blended = [] if self.blending == "stock" else [self.blending]
        on = [name for name in ("painta", "rasg") if getattr(self, name)]
        return "+".join([*blended, *on]) or "baseline"


@checked
@dataclass(frozen=True, kw_only=True)
class UpscaleSettings(BaseSettings):
    """Everything that decides how a picture is made four times as large (sec. 3.5, eq. 10).

    The defaults are what the official code does, but for two things. `poisson_bounds` keeps the
    blend inside the hole (known pixels beside it differ by up to 67 of 255 levels otherwise), and
    `box` is the official value. And a picture is worked on, and given back, at its own size, which
    the official script first scales to a long side of 2048 pixels.

    Raises:
        SettingsError: a value is outside its range or not one of its choices.
    """

    factor: ClassVar[int] = 4
    prepared: ClassVar[frozenset[str]] = frozenset(
        {"joining", "negative_prompt", "noise_level", "positive_suffix", "prompt_additions"}
    )
    fixed: ClassVar[frozenset[str]] = BaseSettings.fixed | {"soft_mask"}

    steps: int = 20
    """Number of DDIM steps asked for, 1 to 1000. The official grid (999, 949 .. 49 here) may make
    a few more, 31 for 30: it goes down by whole strides of ``1000 // steps``."""
    seed: int = 1
    """Seed of the starting noise and of the noise on the small picture."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; None takes the model's own (7.5)."""
    noise_level: int = 20
    """How much noise the small picture gets before the UNet sees it, in training steps."""
    blend: bool = True
    """Eq. 10: in every step the known region of the x0 prediction becomes the original's."""
    soft: bool = True
    """Eq. 10's mask has a wide soft edge. If not, it is 1 wherever a masked pixel falls."""
    poisson: bool = True
    """The decoded picture is blended into the original by Poisson's equation."""
    poisson_bounds: Literal["hole", "box"] = "hole"
    """Where it may change pixels: in the ``hole`` and 24 pixels around it, or, as in the official
    code, in the whole bounding ``box`` of that. Not the official value by default: see above."""
    negative_prompt: str | None = None
    """Prompt of the unconditional half; None takes the model's default, which is empty."""
    positive_suffix: str | None = None
    """Words appended to the prompt; None takes the model's default."""
    prompt_additions: Literal["comma", "none", "bare"] = "comma"
    """How the suffix is joined to the prompt: by ", " (official), not at all, or by nothing."""
    joining: Joining = "literal"
    """Whether ", " joins always (``literal``, official), or doubles no comma (``tidy``)."""
    grid: Literal["official", "leading"] = "official"
    """Timesteps: ``range(999, 0, -(1000 // steps))``, or the stock scheduler's leading ones."""
    decode: Literal["x0", "latent"] = "x0"
    """What is decoded: the last x0 prediction (official), or the last latent (stock pipeline)."""
    soft_mask: SoftMask = "any"
    """Which grey of a mask is hole: ``any`` above 0 (official), or from ``half`` on."""
    low_guidance: LowGuidance = "formula"
    """At a guidance scale of 1 or less: ``u + g (c - u)`` (official), or the conditional half alone
    (stock pipeline)."""
    pixel_rounding: PixelRounding = "down"
    """How a decoded picture becomes whole levels: cut ``down`` (official), or to the ``nearest``
    (stock pipeline)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("noise_level", self.noise_level, 0, 999, integer=True)

    @property
    def method(self) -> str:
        """``x4``, and what of ``blend``, ``soft`` and ``poisson`` is on: ``x4+blend+soft``."""
        on = {"blend": self.blend, "soft": self.blend and self.soft, "poisson": self.poisson}
        return "+".join(["x4", *(name for name, value in on.items() if value)])


@checked
@dataclass(frozen=True, kw_only=True)
class BaseGlideSettings(BaseSettings):
    """What both stages of GLIDE's inpainting share (arXiv 2112.10741).

    Raises:
        SettingsError: a value is outside its range or not one of its choices; a setting that
            belongs to latent diffusion is changed.
    """

    prepared: ClassVar[frozenset[str]] = frozenset({"negative_prompt"})
    fixed: ClassVar[frozenset[str]] = BaseSettings.fixed | {"respacing", "soft_mask"}
    joint_attention: ClassVar[bool] = True
    _without: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "grid": "leading",
            "decode": "x0",
            "prompt_additions": "none",
            "positive_suffix": None,
            "joining": "literal",
            "low_guidance": "conditional",
        }
    )

    seed: int = 1
    """Of the starting noise, and of each step's."""
    guidance_scale: float | None = None
    """Classifier-free guidance scale; None takes the stage's own (5 of the base model; the
    upsampler runs without). At 1 or less the conditional half runs alone."""
    respacing: Literal["even", "fast27"] = "even"
    """Which of the 1000 timesteps are taken: ``even`` takes `steps` of them, the first and the last
    among them; ``fast27`` takes 27, most of them where there is little noise."""
    keep_known: bool = True
    """In each step the known pixels take the place of what was predicted for them."""
    clip: bool = True
    """In each step the predicted picture is cut to -1 .. 1."""
    painta: bool = False
    """PAIntA on joint attention where t > 500: an experiment, see `hdpainter_nb.attention.joint`.
    """
    painta_scaling: PaintaScaling = "multiply"
    """How c_j enters PAIntA; see `Settings`."""
    negative_prompt: str | None = None
    """Prompt of the unconditional half; None is the empty text."""
    soft_mask: SoftMask = "any"
    """Which grey of a mask is hole: ``any`` above 0, or from ``half`` on."""
    pixel_rounding: PixelRounding = "nearest"
    """How the picture becomes whole levels: to the ``nearest`` (official), or cut ``down``."""
    grid: Literal["official", "leading"] = "leading"
    decode: Literal["x0", "latent"] = "x0"
    prompt_additions: Literal["comma", "none", "bare"] = "none"
    positive_suffix: str | None = None
    joining: Joining = "literal"
    low_guidance: LowGuidance = "conditional"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self._without.items():
            if getattr(self, name) != value:
                raise SettingsError(f"GLIDE has no {name}: leave it at {value!r}.")
        if self.respacing == "fast27" and self.steps != 27:
            raise SettingsError(
                f"respacing='fast27' has 27 steps, not {self.steps}: set respacing='even' for "
                "another number."
            )

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`; an unknown name raises `SettingsError` with the nearest match."""
        if "rasg" in changes:
            raise SettingsError(
                "GLIDE has no RASG: its steps draw noise with a variance that the network learns, "
                "in whose place eq. 7 puts nothing. PAIntA can be tried with painta=True."
            )
        return super().replace(**changes)

    @property
    def method(self) -> str:
        """``glide`` and the stage, ``+painta`` where that is on."""
        raise NotImplementedError

    def _named(self, stage: str) -> str:
        return f"{stage}+painta" if self.painta else stage


@checked
@dataclass(frozen=True, kw_only=True)
class GlideSettings(BaseGlideSettings):
    """Everything that decides how GLIDE's base model fills a hole at 64 px.

    The defaults are those of the published inpainting notebook: 100 steps, guidance scale 5.

    Raises:
        SettingsError: as its base says.
    """

    factor: ClassVar[int] = 4

    steps: int = 100
    """Number of ancestral steps, 1 to 1000."""

    @property
    def method(self) -> str:
        """``glide``, ``glide+painta``."""
        return self._named("glide")


@checked
@dataclass(frozen=True, kw_only=True)
class GlideUpsampleSettings(BaseGlideSettings):
    """Everything that decides how GLIDE's upsampler makes 256 px of the base model's 64.

    The defaults are those of the published inpainting notebook: the 27 steps ``fast27``, without
    guidance, from noise times 0.997.

    Raises:
        SettingsError: as its base says.
    """

    factor: ClassVar[int] = 1
    fixed: ClassVar[frozenset[str]] = BaseGlideSettings.fixed | {"noise_scale"}

    steps: int = 27
    """Number of ancestral steps; other than 27 with ``respacing="even"``."""
    respacing: Literal["even", "fast27"] = "fast27"
    """As in the base's settings."""
    noise_scale: float = 0.997
    """Standard deviation of the starting noise. 1 is sharper, and may be grainy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between("noise_scale", self.noise_scale, 0.0, 2.0)

    @property
    def method(self) -> str:
        """``glide x4``, ``glide x4+painta``."""
        return self._named("glide x4")


@checked
@dataclass(frozen=True, kw_only=True)
class WatchSettings(BaseSettings):
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
    joining: Joining = "literal"
    soft_mask: SoftMask = "half"
    low_guidance: LowGuidance = "conditional"
    pixel_rounding: PixelRounding = "nearest"
    pipeline: str = ""
    """Name of its class."""
    solver: str = ""
    """Name of its scheduler's class."""

    @property
    def method(self) -> str:
        """The pipeline's name."""
        return self.pipeline or "watched"


@cache
def _hints(kind: type[BaseSettings]) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    """The fields with named choices, and those that are on or off."""
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    args = {name: get_args(hints[name]) for name in names}
    choices = {n: a for n, a in args.items() if a and all(isinstance(c, str) for c in a)}
    return choices, [name for name in names if hints[name] is bool]
