"""Settings as a person reads them: `label` names one, `said` says what it is set to."""

from __future__ import annotations

from typing import Any

__all__ = ["label", "method_said", "said"]

# What blanks in the place of underscores would not make plain.
_LABELS = {
    "blend": "latent blend",
    "c_smoothing": "smoothing of c",
    "control_scale": "ControlNet's scale",
    "ddim_eta": "DDIM's eta",
    "decode": "decoded at the end",
    "eta": "eta",
    "grid": "grid of timesteps",
    "guidance": "kind of guidance",
    "joining": "joining of the suffix",
    "long_side": "long side, px",
    "low_guidance": "at low guidance",
    "painta": "PAIntA",
    "painta_input": "PAIntA's input",
    "painta_mask": "PAIntA's mask",
    "painta_window": "PAIntA's window",
    "poisson": "Poisson blending",
    "poisson_bounds": "Poisson's bounds",
    "rasg": "RASG",
    "reduction": "score's reduction",
    "score_mask": "score's mask",
    "size": "fitting of the size",
    "soft": "soft blend mask",
    "soft_mask": "grey of the mask",
    "unet_mask": "UNet's mask",
    "vae_encoding": "VAE's encoding",
    "vanilla_scale": "vanilla guidance's scale",
}
_TEXTS = ("negative_prompt", "positive_suffix")  # free texts
_METHODS = {"painta": "PAIntA", "rasg": "RASG", "baseline": "without PAIntA and RASG", "x4": "×4"}
_METHODS |= {"blend": "latent blend", "soft": "soft mask", "poisson": "Poisson"}


def label(name: str) -> str:
    """A setting's name in words: ``painta_window`` is "PAIntA's window"."""
    return _LABELS.get(name, name.replace("_", " "))


def said(name: str, value: Any) -> str:
    """What a setting is set to, in words.

    >>> said("rasg", False), said("eta", 0.25), said("sigma", "cumulative")
    ('without RASG', 'eta 0.25', 'sigma cumulative')
    """
    what = label(name)
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {what}"
    if value is None:
        return f"{what} as the model has it"
    if name in _TEXTS:
        return f"{what} “{value}”" if value else f"no {what}"
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    return f"{what} {text}"


def method_said(method: str) -> str:
    """A settings' `method` in words: ``painta+rasg`` is "PAIntA + RASG"."""
    return " + ".join(_METHODS.get(part, part) for part in method.split("+"))
