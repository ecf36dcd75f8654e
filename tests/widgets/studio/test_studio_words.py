"""What a studio says in words: of its prompt, its steps, the run that is on display."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hdpainter_nb.mini.world.captions import unknown_words
from hdpainter_widgets.studio.studio import Studio


@pytest.fixture
def studio(make_studio: Callable[..., Studio], job: Any) -> Studio:
    return make_studio(job.image, job.mask, prompt="a red star", steps=4)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat", ["cat"]),
        ("a Red star, and the blue RING on wood", []),
        ("a red banana and a cat, a cat", ["banana", "cat"]),
        ("", []),
    ],
)
def test_words_that_no_caption_of_the_miniatures_world_has(prompt: str, words: list[str]) -> None:
    assert unknown_words(prompt) == words


def test_words_that_the_miniature_does_not_know_are_named_at_the_prompt(
    make_studio: Callable[..., Studio], job: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "name", "mini")
    note = make_studio(job.image, job.mask, prompt="a cat", steps=4).inputs.unknown
    assert "“cat” means nothing to the miniature" in note.value
    assert note.layout.display is None
    studio = make_studio(job.image, job.mask, prompt="a red star", steps=4)
    assert studio.inputs.unknown.layout.display == "none"
    studio.inputs.form.fields["negative_prompt"].value = "a dog"
    assert "“dog”" in studio.inputs.unknown.value


def test_other_models_may_know_any_word(studio: Studio) -> None:
    studio.inputs.prompt.value = "a cat"
    assert studio.inputs.unknown.value == ""


def test_steps_beyond_those_asked_for_are_explained_where_they_are_chosen(studio: Studio) -> None:
    assert "make" not in studio.page.saying.value  # 4 asked for, 4 made
    studio.inputs.form.fields["steps"].value = 12
    assert "12 steps asked for make 13" in studio.page.saying.value
    assert "1000 // 12 = 83" in studio.page.saying.value
    studio.inputs.form.fields["grid"].value = "leading"
    assert "make 13" not in studio.page.saying.value
    assert "whole" in studio.inputs.form.fields["steps"].tooltip


def test_the_run_on_display_is_said_to_be_of_these_inputs_only_where_it_is(studio: Studio) -> None:
    says = studio.page.saying
    studio.step(2)
    studio.wait()
    assert "The run on display is that of these inputs." in says.value
    studio.runner.branch(rasg=False)
    studio.wait()
    assert "its branch differs: without RASG" in says.value
    studio.inputs.prompt.value = "a blue star"
    assert "Changed:" in says.value
    studio.inputs.prompt.value = "a red star"
    assert "its branch differs: without RASG" in says.value


def test_settings_have_names_in_words(studio: Studio) -> None:
    fields = studio.inputs.form.fields
    labels = {name: control.description for name, control in fields.items()}
    assert labels["vanilla_scale"] == "vanilla guidance's scale"
    assert not [text for text in labels.values() if "_" in text]
    fields["rasg"].value = False
    fields["eta"].value = 0.25
    assert "without RASG" in studio.inputs.form.summary.value
    assert "=" not in studio.inputs.form.summary.value.split("Other than")[1].replace("</", "")
    assert np.isclose(studio.job().settings.eta, 0.25)
