"""Studios that do everything at once and leave no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.models.model import Model
from hdpainter_widgets.studio.studio import Studio


@pytest.fixture
def make_studio(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Studio]]:
    """`Studio` with the small model, in a folder of its own; what was made is closed in the end."""
    made: list[Studio] = []
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    monkeypatch.chdir(tmp_path)

    def make(image: Any, mask: Any, **options: Any) -> Studio:
        words = {"positive_suffix": "", "negative_prompt": ""}
        made.append(Studio(model, image, mask, **{**words, **options}))
        return made[-1]

    yield make
    for studio in made:
        studio.close()
    left = [thread for thread in threading.enumerate() if thread.name.startswith("hdpainter")]
    assert not left, left
