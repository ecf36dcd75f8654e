"""Settings and presets."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from hdpainter_nb import PRESETS, Settings
from hdpainter_nb.errors import SettingsError

# What each source does, by switch; written from the sources, not from the presets.
TABLE = {
    "sigma": ("cumulative", "per_step", "cumulative"),
    "eta": (0.1, 0.1, 0.01),
    "direction": ("descend", "descend", "descend"),
    "logit_shift": (0.0, 1.0, 1.0),
    "reduction": ("sum", "mean", "mean"),
    "gradient_norm": ("global_std", "global_std", "centred"),
    "score_mask": ("nearest", "bicubic_binary", "bicubic"),
    "unet_mask": ("nearest", "dilate_any", "nearest"),
    "painta_mask": ("nearest", "dilate_bicubic", "bicubic"),
    "c_smoothing": ("none", "gaussian", "gaussian"),
    "painta_input": ("residual", "residual", "unnormalised"),
    "painta_window": ("first_half", "t>500", "t>=500"),
    "grid": (None, "official", "leading"),
    "decode": ("x0", "x0", "latent"),
    "vae_encoding": (None, "mean", "sample"),
    "prompt_additions": ("none", "comma", "bare"),
    "size": (None, "pad", "squash"),
    "scaling": (None, "bicubic", "lanczos"),
    "soft_mask": (None, "any", "half"),
    "low_guidance": ("formula", "formula", "conditional"),
}
# The same of settings that are no switch of the method's.
BESIDE = {
    "steps": (None, 50, 50),
    "ddim_eta": (0.0, 0.0, 0.01),
    "joining": (None, "literal", None),
    "pixel_rounding": (None, "down", "nearest"),
    "positive_suffix": (None, None, ""),
    "negative_prompt": (None, None, ""),
}


@pytest.mark.parametrize("column", range(3), ids=["paper", "official", "community"])
def test_presets_are_the_table(column: int) -> None:
    preset = Settings.preset(("paper", "official", "community")[column])
    for name, row in {**TABLE, **BESIDE}.items():
        if row[column] is not None:
            assert getattr(preset, name) == row[column], name


def test_there_are_20_switches_numbered_and_sourced() -> None:
    source = inspect.getsource(Settings)
    documented = re.findall(
        r'^    (\w+): [^\n]+\n    """(\d+)\. (.*?)"""', source, re.MULTILINE | re.DOTALL
    )
    assert [(name, int(n)) for name, n, _ in documented] == [
        (name, i) for i, name in enumerate(TABLE, 1)
    ]
    for name, _, text in documented:
        assert re.search("official", text, re.IGNORECASE), name
        assert re.search("paper|three", text, re.IGNORECASE), name
    assert Settings() == Settings.preset("official")
    assert set(PRESETS) == {"official", "paper", "community", "practical"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stepz": 3}, "no setting 'stepz'. Did you mean 'steps'"),
        ({"steps": 0}, "steps must be a whole number from 1 to 1000, not 0"),
        ({"steps": 10**6}, "steps must be a whole number from 1 to 1000, not 1000000"),
        ({"steps": 2.5}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"eta": 1.5}, "eta must be a number from 0 to 1"),
        ({"eta": float("nan")}, "eta must be a number"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"sigma": "cumulated"}, "'per_step', 'cumulative'"),
        ({"seed": -1}, "seed must be"),
        ({"painta": "no"}, "painta must be True or False"),
    ],
)
def test_wrong_settings_say_what_is_right(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        Settings().replace(**changes)


def test_unknown_preset() -> None:
    with pytest.raises(SettingsError, match="'official', 'paper', 'community'"):
        Settings.preset("papers")  # type: ignore[arg-type]


def test_settings_are_frozen_and_survive_a_dict() -> None:
    settings = Settings.preset("community", seed=9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 3  # type: ignore[misc]
    assert Settings().replace(**settings.to_dict()) == settings
    assert settings.differences(Settings.preset("community")) == {"seed": (9, 1)}


def test_methods_have_names() -> None:
    names = [Settings(painta=p, rasg=r).method for p in (False, True) for r in (False, True)]
    assert names == ["baseline", "rasg", "painta", "painta+rasg"]
