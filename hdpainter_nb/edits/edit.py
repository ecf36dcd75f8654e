"""What an edit is: a change of one quantity of a run, made as it is computed.

There are four points at which an edit may act. Each is a method that takes the quantity and gives
it back changed, in the same shape:

======== ======================================================= ==================
method   quantity                                                shape
======== ======================================================= ==================
`mask`   the mask that PAIntA and RASG are told of                (h, w), 0 .. 1
`c`      c_j of a PAIntA layer, after smoothing and clipping      (hw,)
`cross`  softmax(Q K^T / sqrt(d)) of a cross-attention layer      (heads, hw, L)
`heads`  what each head attended to, before the output projection (heads, hw, d)
======== ======================================================= ==================

What the methods *read* is never edited in the layer where they read it: c (eq. 5) comes from the
cross-attention as the model computes it, and S (eq. 9) from its scores before softmax. An edit of a
word or head reaches both through the layers that follow, and S's gradient flows through it. So
what an edit does to the painting and what it does to the methods stay apart; to change c itself
there is the point `c`, to change where PAIntA and RASG act, `mask`.

An edit acts in the conditional half unless it says otherwise: only there do the prompt's words
stand. The mask and c have no half.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.select import Word, matches, word_positions
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.checked import check_attributes, checked

if TYPE_CHECKING:
    from torch import Tensor

    from hdpainter_nb.settings import BaseSettings

__all__ = [
    "POINTS",
    "Attention",
    "Edit",
    "Half",
    "Layers",
    "Point",
    "Run",
    "Site",
    "StepEdits",
    "Steps",
    "read_edits",
]

Point = Literal["mask", "c", "cross", "heads"]
Half = Literal["cond", "uncond", "both"]
Attention = Literal["cross", "self"]
Steps = slice | range | int | Collection[int] | None
Layers = Mapping[str, Mapping[Attention, int]]  # layer -> its heads in cross- and self-attention
POINTS: tuple[Point, ...] = ("mask", "c", "cross", "heads")
_MOST = 1000  # an endless generator of edits would be read for ever
_EXAMPLE = "ScaleWord('star', 2.0, steps=slice(0, 10))"


@checked
@dataclass(frozen=True, eq=False, kw_only=True)
class Site:
    """Where in a run an edit is acting: its second argument."""

    step: int
    """Number of the step, from 0."""
    timestep: int
    """t, in training steps."""
    words: tuple[Word, ...] = ()
    """Words of the prompt and their token positions."""
    tokens: tuple[str, ...] = ()
    """Readable, SOT to EOT. Padding follows, up to L."""
    level: int = 0
    """Pixels of the picture per position."""
    shape: tuple[int, int] = (0, 0)
    """(h, w), with h * w = hw."""
    layer: str = ""
    """Name of the transformer block, as in `CrossMaps.layers`; empty for the mask."""
    attention: Attention = "cross"
    """Which attention of that block."""
    half: Literal["cond", "uncond"] = "cond"
    """Which half of classifier-free guidance."""
    reader: Literal["", "painta", "rasg", "unet"] = ""
    """Whose mask it is; empty elsewhere."""
    fitted: Callable[[NDArray[np.bool_]], Tensor] | None = field(default=None, repr=False)
    """For the mask: brings a mask (H, W) of the picture here by the run's own switches 7 to 9."""

    def positions(self, word: str | int) -> list[int]:
        """Where a word stands on the text axis; a number is a position already.

        Raises:
            SettingsError: the prompt has no such word or token.
        """
        return _positions(word, self.words, self.tokens)


@checked
@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """What there is to edit in a run; an `Edit` is checked against it before the first step."""

    total: int
    """Steps of the whole run."""
    layers: Layers
    settings: BaseSettings
    words: tuple[Word, ...] = ()
    tokens: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    """(H, W) of the picture; None where it is not known."""

    def positions(self, word: str | int) -> list[int]:
        """Where a word stands on the text axis; a number is a position already.

        Raises:
            SettingsError: the prompt has no such word or token.
        """
        return _positions(word, self.words, self.tokens)

    def matching(self, pattern: str) -> Layers:
        """The layers that are meant: by name, its beginning or a pattern, as for captures.

        Raises:
            SettingsError: there is none.
        """
        layers = {name: heads for name, heads in self.layers.items() if matches(name, (pattern,))}
        if not layers:
            listed = "".join(f"\n  {name}" for name in self.layers)
            raise SettingsError(f"No attention layer is called {pattern!r}; there are{listed}")
        return layers


@checked
class Edit:
    """Base of every intervention; subclass it and write the methods that you need.

    >>> class Blur(Edit):
    ...     def cross(self, probabilities, site):
    ...         return 0.5 * probabilities + 0.5 * probabilities.mean(1, keepdim=True)
    >>> other = sampler.back(5).branch(edit=Blur())

    The methods get float32 tensors (`heads`: of the model's precision) on the model's device, and
    return new ones of the same shape; they never write into what they are given. The class
    variables say where the edit acts; a subclass or an instance may set its own.
    """

    steps: Steps = None
    """Steps counted from the start of the run, whatever step the branch leaves at: a slice, range,
    number or collection of numbers. None: all."""
    layer: str = "*"
    """Which layers: a name, its beginning up to a dot (``up_blocks.1``), or a pattern, in which
    ``*`` and ``?`` stand for any characters, any one."""
    half: Half = "cond"
    """Which halves of classifier-free guidance, for `cross` and `heads`."""
    attention: Attention = "cross"
    """Which attention, for `heads`."""
    reloadable: ClassVar[bool] = False
    """Whether a file can hold it."""

    def mask(self, mask: Tensor, site: Site) -> Tensor:
        """The mask (h, w) of PAIntA at H/16 and H/32, of RASG at H/32 and of the UNet at H/8."""
        return mask

    def c(self, c: Tensor, site: Site) -> Tensor:
        """c_j (hw,) of a PAIntA layer; eq. 5 reads it where the position is known."""
        return c

    def cross(self, probabilities: Tensor, site: Site) -> Tensor:
        """Probabilities (heads, hw, L) of a cross-attention layer; captured maps show them."""
        return probabilities

    def heads(self, values: Tensor, site: Site) -> Tensor:
        """What each head attended to, (heads, hw, d), after PAIntA, before the projection."""
        return values

    @property
    def points(self) -> frozenset[Point]:
        """Where it acts: the methods that it has of its own."""
        kind = type(self)
        return frozenset(p for p in POINTS if getattr(kind, p) is not getattr(Edit, p))

    def acts(self, point: Point, site: Site) -> bool:
        """Whether it acts at this point of this site; `steps` is looked at elsewhere."""
        if point not in self.points:
            return False
        if point != "mask" and not matches(site.layer, (self.layer,)):
            return False
        if point in ("mask", "c"):
            return True
        here = site.attention == ("cross" if point == "cross" else self.attention)
        return here and self.half in ("both", site.half)

    def in_step(self, step: int, total: int) -> bool:
        """Whether it acts in step `step` of `total`."""
        steps = self.steps
        if steps is None:
            return True
        if isinstance(steps, slice):
            return step in range(total)[steps]
        return step == steps if isinstance(steps, int | np.integer) else step in steps

    def check(self, run: Run) -> None:
        """See that everything it names exists in the run.

        Raises:
            SettingsError: it does not; the message says what there is.
        """
        if not self.points:
            names = ", ".join(POINTS)
            raise SettingsError(f"{self} changes nothing: give it one of the methods {names}.")
        check_attributes(self, Edit, ("steps", "layer", "half", "attention"))
        if not any(self.in_step(step, run.total) for step in range(run.total)):
            last = run.total - 1
            raise SettingsError(
                f"{self} acts in no step: the run has steps 0 to {last}, counted from 0."
            )
        if self.points != {"mask"}:
            run.matching(self.layer)
        if self.points == {"c"} and not getattr(run.settings, "painta", False):
            raise SettingsError(f"{self} edits c, which only PAIntA has: set painta=True.")

    def arguments(self) -> dict[str, Any]:
        """What it was made with, by name."""
        fields: Any = getattr(self, "__dataclass_fields__", None)
        if fields is None:
            return dict(vars(self))
        return {name: getattr(self, name) for name, f in fields.items() if f.init and name != "_"}

    def __str__(self) -> str:
        fields: Any = getattr(self, "__dataclass_fields__", {})
        shown = []
        for name, value in self.arguments().items():
            if name not in fields:
                shown.append(f"{name}={_shown(value)}")
            elif fields[name].default is dataclasses.MISSING:
                shown.append(_shown(value))
            elif not _same(value, fields[name].default):
                shown.append(f"{name}={_shown(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class StepEdits:
    """The edits of one step, and the part of their `Site` that the whole step shares."""

    edits: tuple[Edit, ...]
    site: Site

    def wanted(self, point: Point, **where: Any) -> bool:
        """Whether any of them acts there; `where` are further fields of the `Site`."""
        site = dataclasses.replace(self.site, **where)
        return any(edit.acts(point, site) for edit in self.edits)

    def apply(self, point: Point, value: Tensor, **where: Any) -> Tensor:
        """The quantity after all of them, in their order.

        Raises:
            SettingsError: an edit gave back something of another shape, or no finite numbers.
        """
        site = dataclasses.replace(self.site, **where)
        for edit in self.edits:
            if not edit.acts(point, site):
                continue
            new = getattr(edit, point)(value, site)
            wrong, changed = _taken(new, value)
            if changed is None:
                place = site.layer or f"the mask of {site.reader}"
                raise SettingsError(
                    f"{edit} gave {wrong} at {point!r} of {place}, where {tuple(value.shape)} is "
                    "needed: return the changed tensor."
                )
            value = changed
        return value


def read_edits(edit: Any) -> tuple[Edit, ...]:
    """The edits of one or several that a person gave.

    Raises:
        SettingsError: something else was given.
    """
    edits: tuple[Any, ...] = (edit,)
    try:
        if isinstance(edit, Iterable) and not isinstance(edit, str | Edit):
            edits = tuple(islice(edit, _MOST))
    except Exception as error:  # an array without dimensions, an object's own methods
        raise SettingsError(f"{shown(edit)} is not an edit; such as {_EXAMPLE}.") from error
    for one in edits:
        if not isinstance(one, Edit):
            hint = "wrap it: Custom(cross=...)" if callable(one) else f"such as {_EXAMPLE}"
            raise SettingsError(f"{shown(one)} is not an edit; {hint}.")
    return edits


def _taken(new: Any, like: Tensor) -> tuple[str, Tensor | None]:
    """What an edit gave back, as a tensor in the place of another; or what is wrong with it."""
    import torch

    if new is None:
        return "nothing", None
    try:
        tensor = torch.as_tensor(new)
        if tensor.is_complex() or tensor.layout is not torch.strided or tensor.is_quantized:
            return f"a tensor of {tensor.dtype}, {tensor.layout}", None
        shape = tuple(tensor.shape)
        if shape != tuple(like.shape):
            return f"the shape {shape}", None
        tensor = tensor.to(like)
    except Exception:  # what torch makes no tensor of, or has no values of
        return shown(new), None
    if not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
        return "values that are not finite", None
    return "", tensor


def _positions(word: str | int, words: tuple[Word, ...], tokens: tuple[str, ...]) -> list[int]:
    if isinstance(word, str):
        return list(word_positions(word, words))
    if not 0 <= word < len(tokens):
        raise SettingsError(f"There is no token {word}; there are 0 to {len(tokens) - 1}.")
    return [word]


def _same(a: Any, b: Any) -> bool:
    """Whether a value is the default one."""
    return a is b or (type(a) is type(b) and isinstance(a, str | int | float) and a == b)


def _shown(value: Any) -> str:
    """An argument as a person reads it."""
    if isinstance(value, slice):
        parts = [value.start, value.stop] + ([] if value.step is None else [value.step])
        return ":".join("" if part is None else str(part) for part in parts)
    if isinstance(value, np.ndarray):
        return f"{'x'.join(map(str, value.shape))} array"
    if isinstance(value, type) or not callable(value):
        return repr(value)
    return str(getattr(value, "__name__", type(value).__name__))
