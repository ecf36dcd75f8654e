"""Edits made of your own functions: `Custom`, and `Lost`, what a file keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hdpainter_nb.editing import POINTS, Attention, Edit, Half, Point, Run, Site, Steps
from hdpainter_nb.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Change", "Custom", "Lost"]

Change = Callable[["Tensor", Site], "Tensor"]


class Custom(Edit):
    """Functions of your own as an edit; a file keeps their names only.

    >>> def even(probabilities, site):
    ...     return probabilities.mean(1, keepdim=True).expand_as(probabilities)
    >>> other = sampler.branch(edit=Custom(cross=even, layer="mid_block*"))

    Args:
        mask, c, cross, heads: ``(quantity, site) -> quantity``, as the methods of `Edit`.
        layer, half, attention, steps: where, as for any `Edit`.

    Raises:
        SettingsError: no function is given, or one cannot be called.
    """

    def __init__(
        self,
        *,
        mask: Change | None = None,
        c: Change | None = None,
        cross: Change | None = None,
        heads: Change | None = None,
        layer: str = "*",
        half: Half = "cond",
        attention: Attention = "cross",
        steps: Steps = None,
    ) -> None:
        given = {"mask": mask, "c": c, "cross": cross, "heads": heads}
        self.functions = {name: f for name, f in given.items() if f is not None}
        if not self.functions or not all(map(callable, self.functions.values())):
            raise SettingsError(f"Custom needs a function for one of {', '.join(POINTS)}.")
        self.layer, self.half, self.attention, self.steps = layer, half, attention, steps

    @property
    def points(self) -> frozenset[Point]:
        """Those that a function was given for."""
        return frozenset(point for point in POINTS if point in self.functions)

    def mask(self, mask: Tensor, site: Site) -> Tensor:
        """By the function."""
        return self.functions["mask"](mask, site)

    def c(self, c: Tensor, site: Site) -> Tensor:
        """By the function."""
        return self.functions["c"](c, site)

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        """By the function."""
        return self.functions["cross"](probabilities, site)

    def heads(self, values: Tensor, site: Site) -> Tensor:
        """By the function."""
        return self.functions["heads"](values, site)

    def arguments(self) -> dict[str, Any]:
        """The functions, and what is not as by default."""
        where = {name: getattr(self, name) for name in ("layer", "half", "attention", "steps")}
        return {**self.functions, **{k: v for k, v in where.items() if v != getattr(Edit, k)}}


class Lost(Edit):
    """Stands in a loaded trace for an edit that a file cannot hold: a function or class of yours.

    It can be read, not run.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def check(self, run: Run) -> None:
        """It never passes.

        Raises:
            SettingsError: always.
        """
        self.in_step(0, run.total)

    def in_step(self, step: int, total: int) -> bool:
        """Nobody knows.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            f"This branch was made with {self.text}, which is code of your own, so the file holds "
            "only its name: give it again with branch(edit=[...]), or go on without by "
            "branch(edit=())."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lost) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__
