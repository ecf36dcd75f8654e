"""A place on a branch: going along its path, adding to it, and what cannot be done."""

from __future__ import annotations

import numpy as np
import pytest

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.sampling.cursor import Cursor
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Node


def node(number: int, parent: int | None) -> Node:
    latents, rng = np.zeros((4, 2, 2), np.float32), np.zeros(1, np.uint8)
    return Node(id=number, parent=parent, branch=0, latents=latents, rng=rng, record=None)


@pytest.fixture
def cursor() -> Cursor:
    trace = Trace()
    path = [trace.keep(node(n, n - 1 if n else None)) for n in range(4)]
    branch = trace.open_branch("a star", Settings(), start=path[0], parent=None)
    trace.tips[branch.id] = path[-1].id
    return Cursor(trace, branch, path)


def test_it_begins_at_the_end(cursor: Cursor) -> None:
    assert (cursor.index, cursor.at_end) == (3, True)
    assert cursor.node is cursor.path[3]
    assert cursor.root is cursor.path[0]
    again = Cursor.at_end_of(cursor.trace, "main")
    assert (again.branch, again.path, again.index) == (cursor.branch, cursor.path, 3)
    with pytest.raises(KeyError, match="no branch 'elsewhere'; there are 0 'main'"):
        Cursor.at_end_of(cursor.trace, "elsewhere")


def test_it_goes_along_the_path(cursor: Cursor) -> None:
    cursor.back(2)
    assert (cursor.index, cursor.at_end) == (1, False)
    assert cursor.past == cursor.path[:2]
    cursor.goto(cursor.path[2])
    assert cursor.index == 2
    cursor.goto(0)
    assert cursor.node is cursor.root
    cursor.goto(3)
    assert cursor.at_end
    for steps in (-1, 4):
        with pytest.raises(SettingsError, match=f"Cannot go back {steps} steps from step 3"):
            cursor.back(steps)
    for steps in (-1, 4):
        with pytest.raises(SettingsError, match=f"Cannot go to step {steps}: branch 'main' has 3"):
            cursor.goto(steps)
    with pytest.raises(SettingsError, match="'main' does not lead through node 2"):
        cursor.goto(node(2, 1))  # of another trace
    assert cursor.index == 3


def test_only_what_follows_is_added(cursor: Cursor) -> None:
    path = list(cursor.path)
    cursor.append(node(4, 3))
    assert cursor.node.id == 4
    assert cursor.past[:-1] == path
    cursor.back()
    with pytest.raises(SettingsError, match="Node 5 does not follow step 3"):
        cursor.append(node(5, 3))
    cursor.goto(4)
    with pytest.raises(SettingsError, match="Node 5 does not follow step 4"):
        cursor.append(node(5, 3))
