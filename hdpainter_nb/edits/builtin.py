"""Interventions ready to use, for ``sampler.branch(edit=...)``.

`ScaleWord` re-weights a word's cross-attention, `ReplaceWord` puts another word's or a map of your
own in its place, `ScaleHead` scales or ablates a head, `SetC` and `MoveMask` change what PAIntA and
RASG go by, and `Custom` calls a function of yours. `hdpainter_nb.edits.edit` says what each may
touch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.edits.edit import POINTS, Attention, Edit, Half, Point, Run, Site, Steps
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.utils.checked import checked

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Change",
    "Custom",
    "MoveMask",
    "ReplaceWord",
    "ScaleHead",
    "ScaleWord",
    "SetC",
    "UnloadableEdit",
]

Change = Callable[["Tensor", Site], "Tensor"]


@checked
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
        """What the function given for `mask` returns; (h, w)."""
        return self.functions["mask"](mask, site)

    def c(self, c: Tensor, site: Site) -> Tensor:
        """What the function given for `c` returns; (hw,)."""
        return self.functions["c"](c, site)

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        """What the function given for `cross` returns; (heads, hw, L)."""
        return self.functions["cross"](probabilities, site)

    def heads(self, values: Tensor, site: Site) -> Tensor:
        """What the function given for `heads` returns; (heads, hw, d)."""
        return self.functions["heads"](values, site)

    def arguments(self) -> dict[str, Any]:
        """The functions, and what is not as by default."""
        where = {name: getattr(self, name) for name in ("layer", "half", "attention", "steps")}
        return {**self.functions, **{k: v for k, v in where.items() if v != getattr(Edit, k)}}


class UnloadableEdit(Edit):
    """Stands in a loaded trace for an edit that a file cannot hold: a function or class of yours.

    It can be read, not run.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def check(self, run: Run) -> None:
        """Always raises: the code of this edit is not in the file.

        Raises:
            SettingsError: always.
        """
        self.in_step(0, run.total)

    def in_step(self, step: int, total: int) -> bool:
        """Always raises: the code of this edit is not in the file.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            f"This branch was made with {self.text}, which is code of your own, so the file holds "
            "only its name: give it again with branch(edit=[...]), or go on without by "
            "branch(edit=())."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnloadableEdit) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class _StoredEdit(Edit):
    """An edit that a file can hold; equal where its arguments are."""

    reloadable = True

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, _StoredEdit):
            return False
        pairs = zip(self.arguments().values(), other.arguments().values(), strict=True)
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    def __hash__(self) -> int:
        return hash(str(self))


@checked
@dataclass(frozen=True, eq=False, repr=False)
class ScaleWord(_StoredEdit):
    """A word's cross-attention times a factor: prompt-to-prompt's re-weighting; 0 takes it out.

    Args:
        word: as the prompt has it (in all its places), or a token's position.
        factor: what its probabilities are multiplied by.
        renormalise: let each position's probabilities sum to 1 again, so that the other tokens
            give or take what the word takes or gives. If not, they stay as they are.
        layer, steps: where, as for any `Edit`.
    """

    word: str | int
    factor: float
    _: KW_ONLY
    renormalise: bool = False
    layer: str = "*"
    steps: Steps = None

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        """Columns of the word times the factor."""
        scale = probabilities.new_ones(probabilities.shape[-1])
        scale[site.positions(self.word)] = self.factor
        return _normal(probabilities * scale, self.renormalise)

    def check(self, run: Run) -> None:
        """Raises where the word is none of the prompt's."""
        super().check(run)
        run.positions(self.word)


@checked
@dataclass(frozen=True, eq=False, repr=False)
class ReplaceWord(_StoredEdit):
    """Another word's cross-attention, or a map of your own, in the place of a word's.

    Args:
        word: as for `ScaleWord`.
        by: another word or token, the mean of whose tokens takes the place; or a map (h, w) over
            the padded picture, as ``record.cross["star", 16]`` of another run gives. It is resized
            to each layer and taken as probability as it stands, for all heads alike.
        renormalise, layer, steps: as for `ScaleWord`.
    """

    word: str | int
    by: str | int | NDArray[Any]
    _: KW_ONLY
    renormalise: bool = False
    layer: str = "*"
    steps: Steps = None

    def __post_init__(self) -> None:
        if not isinstance(self.by, str | int):
            object.__setattr__(self, "by", _map("by", self.by))

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        """Columns of the word, replaced."""
        if isinstance(self.by, str | int):
            new = probabilities[..., site.positions(self.by)].mean(-1)  # (heads, hw)
        else:
            new = _resized(self.by, site.shape, probabilities).expand(probabilities.shape[:2])
        others = probabilities.new_ones(probabilities.shape[-1])
        others[site.positions(self.word)] = 0
        return _normal(probabilities.where(others > 0, new[..., None]), self.renormalise)

    def check(self, run: Run) -> None:
        """Raises where a word is none of the prompt's."""
        super().check(run)
        run.positions(self.word)
        if isinstance(self.by, str | int):
            run.positions(self.by)


@checked
@dataclass(frozen=True, eq=False, repr=False)
class ScaleHead(_StoredEdit):
    """The output of one attention head times a factor; 0 ablates it.

    Args:
        layer: name of a layer as ``record.cross.layers(16)`` has it, its beginning up to a dot
            (``up_blocks.1``), or a pattern with ``*``.
        head: number of the head, from 0; None takes all. Layers that have fewer stay as they are.
        factor: what its output is multiplied by, before the output projection.
        attention: ``cross`` or ``self``; in self-attention after PAIntA.
        half: ``cond``, ``uncond`` or ``both`` halves of classifier-free guidance.
        steps: where, as for any `Edit`.
    """

    layer: str = field()  # without the default of `Edit`
    head: int | None
    factor: float
    _: KW_ONLY
    attention: Attention = "cross"
    half: Half = "cond"
    steps: Steps = None

    def heads(self, values: Tensor, site: Site) -> Tensor:
        """(heads, hw, d) with one head, or all, scaled."""
        count = len(values)
        chosen = range(count) if self.head is None else {self.head}
        scale = values.new_tensor([self.factor if i in chosen else 1.0 for i in range(count)])
        return values * scale[:, None, None]

    def check(self, run: Run) -> None:
        """Raises where there is no such layer, or none that has the head."""
        super().check(run)
        most = max(heads[self.attention] for heads in run.matching(self.layer).values())
        if self.head is not None and not 0 <= self.head < most:
            raise SettingsError(
                f"There is no head {self.head} in {self.layer!r}; there are 0 to {most - 1}."
            )


@checked
@dataclass(frozen=True, eq=False, repr=False)
class SetC(_StoredEdit):
    """PAIntA's c_j (eq. 5) as you say: 1 undoes PAIntA.

    0 gives every known position a logit of 0, so that the hole looks at all of them alike; with
    `painta_scaling="log"` it hides them from the hole.

    Args:
        value: one number for all positions; a map (h, w) over the padded picture, resized to each
            layer; or a function ``(c, site) -> c`` of (hw,), such as ``lambda c, site: 0.5 * c``.
        layer, steps: where, as for any `Edit`.
    """

    value: float | NDArray[Any] | Change
    _: KW_ONLY
    layer: str = "*"
    steps: Steps = None

    def __post_init__(self) -> None:
        if isinstance(self.value, np.ndarray):
            object.__setattr__(self, "value", _map("value", self.value))

    def c(self, c: Tensor, site: Site) -> Tensor:
        """(hw,), as given."""
        if isinstance(self.value, np.ndarray):
            return _resized(self.value, site.shape, c)
        if callable(self.value):
            return self.value(c, site)
        return c.new_full(c.shape, float(self.value))


@checked
@dataclass(frozen=True, eq=False, repr=False)
class MoveMask(_StoredEdit):
    """Another mask for PAIntA and RASG, while the picture's hole stays where it is.

    It comes down to H/16 and H/32 by the run's own switches 7 and 9.

    Args:
        to: (H, W) of the picture's size, True where they shall take the hole to be.
        unet: move the UNet's mask channel as well (switch 8). The masked picture that the UNet
            sees beside it stays.
        steps: where, as for any `Edit`.
    """

    to: NDArray[Any]
    _: KW_ONLY
    unet: bool = False
    steps: Steps = None

    def __post_init__(self) -> None:
        array = self.to
        if array.ndim != 2 or not array.size:
            raise SettingsError(f"The mask must be an array (H, W), not of shape {array.shape}.")
        if not np.isfinite(array).all():
            raise SettingsError("The mask holds NaN or infinity: give True or 1 inside, 0 outside.")
        object.__setattr__(self, "to", array.astype(np.bool_))

    def acts(self, point: Point, site: Site) -> bool:
        """In the UNet's channel only where it was asked for."""
        return super().acts(point, site) and (self.unet or site.reader != "unet")

    def mask(self, mask: Tensor, site: Site) -> Tensor:
        """The other mask, brought down as the run's own was."""
        assert site.fitted is not None
        return site.fitted(self.to)

    def check(self, run: Run) -> None:
        """Raises where no method that reads the mask is on, or it is not of the picture's size."""
        super().check(run)
        if run.size is not None and self.to.shape != run.size:
            height, width = run.size
            raise SettingsError(
                f"{self} has not the picture's own size: give an array of shape ({height}, "
                f"{width}), (H, W) in pixels."
            )
        if {"painta", "rasg"}.isdisjoint(run.settings.method.split("+")) and not self.unet:
            raise SettingsError(
                f"{self} moves the mask of PAIntA and RASG, and both are off: switch one on, or "
                "pass unet=True."
            )


def _map(name: str, value: Any) -> NDArray[np.float32]:
    array = np.array(value, np.float32)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise SettingsError(f"{name} must be a map (h, w) of finite numbers, not {array.shape}.")
    return array


def _resized(array: NDArray[Any], shape: tuple[int, int], like: Tensor) -> Tensor:
    """A map as (hw,), by area on the way down and linearly on the way up."""
    import torch
    import torch.nn.functional as F

    given = torch.as_tensor(array).to(like)[None, None]
    down = shape[0] <= array.shape[0] and shape[1] <= array.shape[1]
    return F.interpolate(given, shape, mode="area" if down else "bilinear").flatten()


def _normal(probabilities: Tensor, wanted: bool) -> Tensor:
    """Summing to 1 over the tokens, where that is wanted."""
    if not wanted:
        return probabilities
    return probabilities / probabilities.sum(-1, keepdim=True).clamp_min(1e-12)
