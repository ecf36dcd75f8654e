"""Every public function, constructor and method holds its arguments to their type hints."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.utils import checked as door
from hdpainter_nb.utils.checked import is_checked
from support.public import public_classes, public_functions

UNCHECKED: dict[str, str] = {
    # name or beginning -> why
    "hdpainter_nb.trace.attention.Attention.__init__": "made by `Trace.ask` and samplers",
    "hdpainter_nb.trace.attention.Attention.of": "likewise",
    "hdpainter_nb.trace.record.Record.": "made by a run",
    **{
        f"hdpainter_nb.evaluation.{name}": "shows and looks up any text that a file holds"
        for name in (
            *(f"rows.Rows.{part}" for part in ("__init__", "place", "select", "paired")),
            "column.Column.",
            "gallery.Exhibits.",
            "report.ReportPlan.",
            "tables.Preferred.",
        )
    },
    **{
        f"hdpainter_nb.trace.tree.Tree.{name}": "a run makes it grow"
        for name in ("__init__", "root", "open_branch", "add", "keep")
    },
}


def checked_functions() -> dict[str, Any]:
    return {
        name: function
        for name, function in public_functions()
        if not any(name.startswith(one) for one in UNCHECKED)
    }


def test_every_public_function_checks_its_arguments() -> None:
    functions = checked_functions()
    assert len(functions) > 100
    unguarded = [name for name, function in functions.items() if not is_checked(function)]
    assert not unguarded


def rules_of(function: Any) -> dict[str, Any]:
    return function._checked()


def test_every_hint_has_a_rule() -> None:
    for name, function in checked_functions().items():
        if hasattr(function, "_checked"):
            assert all(rule.words for rule in rules_of(function).values()), name


def test_names_for_type_checkers_only_are_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compared by name, which an alias of a union has not."""
    asked: set[tuple[str, str]] = set()

    class Noting(door._Names):
        def __missing__(self, name: str) -> Any:
            found = super().__missing__(name)
            if isinstance(found, door._ByName):
                asked.add((self["__name__"], name))
            return found

    monkeypatch.setattr(door, "_Names", Noting)
    for function in checked_functions().values():
        if hasattr(function, "_checked"):
            rules_of(function)
    assert asked
    for module, name in asked:
        assert isinstance(imported_for_typing(module)[name], type), (module, name)


def imported_for_typing(module: str) -> dict[str, Any]:
    """What stands in a module's ``if TYPE_CHECKING:``, imported."""
    tree = ast.parse(Path(str(sys.modules[module].__file__)).read_text())
    found: dict[str, Any] = {}
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            exec(ast.unparse(ast.Module(block.body, [])), found)
    return found


def test_every_public_class_is_looked_at() -> None:
    assert {"hdpainter_nb.settings.Settings", "hdpainter_nb.edits.edit.Edit"} <= {*public_classes()}


def test_public_names_are_there() -> None:
    import hdpainter_nb

    for name in hdpainter_nb.__all__:
        assert getattr(hdpainter_nb, name) is not None
    assert set(dir(hdpainter_nb)) == set(hdpainter_nb.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = hdpainter_nb.nothing_like_it
