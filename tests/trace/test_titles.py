"""Branches, settings and edits in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Job, Sampler, Trace
from hdpainter_nb.edits.builtin import MoveMask, ReplaceWord, ScaleHead, ScaleWord, SetC
from hdpainter_nb.edits.edit import Edit
from hdpainter_nb.edits.wording import edit_said
from hdpainter_nb.models.model import Model
from hdpainter_nb.settings import Settings, UpscaleSettings
from hdpainter_nb.trace.titles import branch_title
from hdpainter_nb.trace.web import branches
from hdpainter_nb.utils.wording import label, method_said, said


def test_a_branch_has_a_title_in_words_and_keeps_its_name(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    sampler.step()
    other = sampler.branch(painta=False, rasg=False)
    other.branch(painta=True, prompt="a blue star", edit=SetC(0.5))
    again = sampler.branch()
    trace = sampler.trace
    assert [branch_title(trace, branch) for branch in trace.branches.values()] == [
        "main",
        "without PAIntA, without RASG",
        "“a blue star”, with PAIntA, c set to 0.5",
        "again",
    ]
    assert trace.records("painta=False, rasg=False") == other.records
    assert again.branch_name == "again"
    sent = branches(trace)
    assert [branch["title"] for branch in sent][1] == "without PAIntA, without RASG"
    assert (sent[0]["said"]["painta"], sent[1]["said"]["painta"]) == (
        "with PAIntA",
        "without PAIntA",
    )
    assert sent[0]["said"].keys() == Settings().to_dict().keys()


def test_traces_saved_before_there_were_titles_have_them() -> None:
    trace = Trace.load(Path(__file__).parents[1] / "golden" / "traces" / "masks.hdp")
    titles = [branch_title(trace, branch) for branch in trace.branches.values()]
    assert titles[0] == "main"
    assert not [title for title in titles if "=" in title]


@pytest.mark.parametrize("kind", [Settings, UpscaleSettings])
def test_no_setting_is_called_by_code(kind: Any) -> None:
    for name, value in kind().to_dict().items():
        assert "_" not in label(name)
        assert "=" not in said(name, value) or ">=" in str(value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rasg", False, "without RASG"),
        ("eta", 0.25, "eta 0.25"),
        ("sigma", "per_step", "sigma per step"),
        ("guidance_scale", None, "guidance scale as the model has it"),
        ("negative_prompt", "", "no negative prompt"),
        ("negative_prompt", "blur", "negative prompt “blur”"),
        ("vanilla_scale", 300.0, "vanilla guidance's scale 300"),
    ],
)
def test_settings_in_words(name: str, value: Any, text: str) -> None:
    assert said(name, value) == text


def test_methods_in_words() -> None:
    assert method_said("painta+rasg") == "PAIntA + RASG"
    assert method_said("baseline") == "without PAIntA and RASG"
    assert method_said("x4+blend") == "×4 + latent blend"


class Own(Edit):
    """Somebody's own."""


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (ScaleWord("star", 0.0, steps=slice(0, 10)), "“star” silenced, steps 1 to 10"),
        (ScaleWord("star", 2.0, steps=slice(3, None)), "“star” × 2, from step 4 on"),
        (ScaleWord(3, 2.0, layer="up_blocks.1"), "token 3 × 2, in up_blocks.1"),
        (ReplaceWord("red", "blue", steps=2), "“blue” in the place of “red”, step 3"),
        (ReplaceWord("red", np.ones((2, 2))), "a given map in the place of “red”"),
        (ScaleHead("up_blocks", 2, 0.0), "head 2 of cross-attention muted, in up_blocks"),
        (SetC(0.5, steps=[1, 4]), "c set to 0.5, in some steps"),
        (SetC(lambda c, _site: 1 - c), "c changed"),
        (MoveMask(np.ones((2, 2), bool)), "the methods' mask moved"),
        (Own(), "Own()"),
    ],
)
def test_edits_in_words(edit: Edit, text: str) -> None:
    assert edit_said(edit) == text
