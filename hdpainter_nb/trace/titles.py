"""Branches as a person reads them: `branch_title`; by their names code asks for them."""

from __future__ import annotations

from hdpainter_nb.edits.wording import edit_said
from hdpainter_nb.trace.tree import Branch, Tree
from hdpainter_nb.utils.wording import said

__all__ = ["branch_title"]


def branch_title(tree: Tree, branch: Branch) -> str:
    """What a branch does otherwise than the one that it leaves: "without RASG, eta 0.25".

    Where it leaves none, its name is its title. Traces that were saved before there were titles
    have them too.
    """
    above = None if branch.parent is None else tree.branches.get(branch.parent)
    if above is None:
        return branch.name
    parts = [said(k, new) for k, (_, new) in above.settings.differences(branch.settings).items()]
    if branch.prompt != above.prompt:
        parts.insert(0, f"“{branch.prompt}”")
    if branch.edits != above.edits:
        parts += [edit_said(edit) for edit in branch.edits] or ["without edits"]
    return ", ".join(parts) or branch.name
