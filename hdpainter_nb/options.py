"""What `Settings` and `UpscaleSettings` have in common: frozen, checked, compared by name."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

import numpy as np

from hdpainter_nb.errors import SettingsError

__all__ = ["Options", "between"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of everything that decides how a job is sampled.

    Raises:
        SettingsError: a value is not one of its choices.
    """

    factor: ClassVar[int] = 8
    """Pixels of the picture per latent position."""
    prepared: ClassVar[frozenset[str]] = frozenset()
    """What preparing a job reads; a branch that changes one of these is prepared anew."""
    fixed: ClassVar[frozenset[str]] = frozenset({"grid", "seed", "steps"})
    """What decides the trajectory's shape; a branch may change it only before the first step."""

    steps: int
    seed: int
    guidance_scale: float | None
    grid: Literal["official", "leading"]
    decode: Literal["x0", "latent"]
    prompt_additions: Literal["comma", "none", "bare"]
    negative_prompt: str | None
    positive_suffix: str | None

    def __post_init__(self) -> None:
        kind: Any = type(self)
        choices, switches = _hints(kind)
        for name, known in choices.items():
            value, listed = getattr(self, name), ", ".join(map(repr, known))
            if value not in known:
                raise SettingsError(f"{name}={value!r} is not one of {listed}.")
        for name in switches:
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be True or False, not {getattr(self, name)!r}.")
        between("steps", self.steps, 1, 1000, integer=True)
        between("seed", self.seed, 0, 2**63 - 1, integer=True)
        if self.guidance_scale is not None:
            between("guidance_scale", self.guidance_scale, 0.0, 100.0)

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`; an unknown name raises `SettingsError` with the nearest match."""
        known = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."
                raise SettingsError(f"There is no setting {name!r}.{hint}")
        return dataclasses.replace(self, **changes)

    def differences(self, other: Options) -> dict[str, tuple[Any, Any]]:
        """The settings on which two of a kind differ: ``name -> (mine, theirs)``."""
        names = [f.name for f in dataclasses.fields(self)]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def changed(self) -> dict[str, Any]:
        """The settings that are not as by default: ``name -> value``."""
        found = self.differences(type(self)())  # type: ignore[call-arg]  # each kind has defaults
        return {name: mine for name, (mine, _) in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for json."""
        return dataclasses.asdict(self)

    @property
    def method(self) -> str:
        """What is switched on, in a word."""
        raise NotImplementedError


def between(name: str, value: Any, low: float, high: float, *, integer: bool = False) -> None:
    """Raise `SettingsError` unless `value` is a number from `low` to `high`."""
    kind = "a whole number" if integer else "a number"
    wanted = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        raise SettingsError(f"{name} must be {kind} from {low:g} to {high:g}, not {value!r}.")


@cache
def _hints(kind: type[Options]) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    """The fields with named choices, and those that are on or off."""
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    args = {name: get_args(hints[name]) for name in names}
    choices = {n: a for n, a in args.items() if a and all(isinstance(c, str) for c in a)}
    return choices, [name for name in names if hints[name] is bool]
