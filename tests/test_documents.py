"""The code that the README and the notebooks' texts show: it runs as it stands there."""

from __future__ import annotations

import ast
import builtins
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hdpainter_nb
from hdpainter_nb.models.model import Model
from hdpainter_nb.upscale.model import load_upscaler
from support import builders

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="needs a complete checkout")


def python_blocks(text: str) -> list[str]:
    """What a Markdown text marks as Python."""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def cells(path: Path, kind: str) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def fewer(code: str, steps: int = 6) -> str:
    """The same with few steps."""
    return re.sub(r"(steps=|back\()\d+", rf"\g<1>{steps}", code)


def names(code: str) -> tuple[set[str], set[str]]:
    """What code reads, and what it binds."""
    tree = ast.parse(code)
    read, bound = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return read, bound


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HDPAINTER_SYNC", "1")
    return tmp_path


@pytest.fixture
def hub(
    model: Model, own_folder: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that lead to the hub load small random models, which paint in few steps."""
    load, paint = hdpainter_nb.load, hdpainter_nb.paint
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")
    upscaler = load_upscaler(folder, device="cpu")
    monkeypatch.setattr(hdpainter_nb, "load", lambda name: load(name) if name == "mini" else model)
    monkeypatch.setattr(hdpainter_nb, "load_upscaler", lambda name: upscaler)
    monkeypatch.setattr(hdpainter_nb, "paint", partial(paint, steps=2, upscale={"steps": 2}))


def test_the_readmes_python_runs_in_an_empty_folder(own_folder: Path, hub: None) -> None:
    """From top to bottom, with fewer steps."""
    blocks = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 5
    shown: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(fewer(block, 4), f"README.md, block {number}", "exec"), shown)
        if number == 0:
            sampler = shown["sampler"]
            assert sampler.done
            assert shown["plain"].done
            with Image.open("star.png") as picture:  # of the end, wherever it went afterwards
                np.testing.assert_array_equal(np.asarray(picture), sampler.image(paste=True))
    shown["studio"].close()
    assert {path.name for path in own_folder.iterdir()} == {"star.png", "star.hdp", "pipe.html"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebooks_texts_use_no_name_that_is_nowhere(path: Path) -> None:
    """Code to be copied from a text needs what the notebook's cells, or the code itself, bind."""
    known = set(dir(builtins))
    for code in cells(path, "code"):
        known |= names(code)[1]
    for block in python_blocks("\n".join(cells(path, "markdown"))):
        read, bound = names(block)
        assert read <= known | bound, f"{sorted(read - known - bound)} in\n{block}"


# --- the notebooks' code -------------------------------------------------------------------------

SHORT, LONG = "a blue circle", "a green heart and a white cross"  # of the miniature's world


@pytest.fixture(scope="module")
def as_large_as_the_miniature(tmp_path_factory: Any) -> Model:
    return hdpainter_nb.load(builders.make_folder(tmp_path_factory.mktemp("m") / "mini", size=32))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_takes_for_granted_what_the_prompt_says(path: Path) -> None:
    """A word written down twice, in the prompt and where its map is drawn, breaks with another."""
    for code in cells(path, "code"):
        for node in ast.walk(ast.parse(code)):
            asked = []
            if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".cross"):
                asked = [node.slice]
            elif isinstance(node, ast.keyword) and node.arg in ("word", "words"):
                asked = [node.value]
            literals = [
                part.value
                for value in asked
                for part in ast.walk(value)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            assert not literals, f"{literals} in\n{code}"


def test_the_first_notebook_runs_with_another_prompt_and_keeps_what_was_painted(
    own_folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its text suggests: paint, run on, change the prompt, run on from there.

    Another model, which works at another size, does as well.
    """
    monkeypatch.setattr(hdpainter_nb, "load", lambda _name: model)
    codes = cells(next(path for path in NOTEBOOKS if path.stem.startswith("00")), "code")
    (asks,) = (number for number, code in enumerate(codes) if code.startswith("prompt ="))
    shown: dict[str, Any] = {}
    for code in codes[:asks]:
        exec(fewer(code), shown)
    painted = np.zeros_like(shown["painter"].mask)
    painted[90:180, 60:150] = True
    shown["painter"].mask = painted
    exec(codes[asks], shown)
    exec(re.sub('"[^"]*"', f'"{SHORT}"', codes[asks]), shown)
    for code in codes[asks + 1 :]:
        exec(fewer(code), shown)
    np.testing.assert_array_equal(shown["job"].mask, painted)
    assert shown["job"].prompt == SHORT
    for name in ("player", "photo_player"):
        shown[name].close()


def test_the_second_notebook_runs_with_another_prompt(
    own_folder: Path, as_large_as_the_miniature: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdpainter_nb, "load", lambda _name: as_large_as_the_miniature)
    path = next(path for path in NOTEBOOKS if path.stem.startswith("01"))
    code = "\n".join(cells(path, "code"))
    changed, count = re.subn(r'^prompt = "[^"]*"', f'prompt = "{LONG}"', code, flags=re.MULTILINE)
    assert count == 1
    exec(fewer(changed), shown := {})
    assert shown["resumed"].done
