"""The miniature's held-out tasks as a set of triplets for an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.triplet import Triplet, digest
from hdpainter_nb.mini.world.sets import KINDS, Kind, triple
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["MINI_SETS", "MiniTriplets"]

SetName = Literal["standard", "provocation"]


@checked
@dataclass(frozen=True)
class MiniTriplets:
    """Tasks of the procedural world, whose right answers are known.

    Ids are ``<kind>_<seed>``; a task is drawn when it is asked for.

    Args:
        kind: ``standard`` (easy) or ``provocation`` (made to cause prompt neglect).
        count: how many, 1 to 100,000.

    Raises:
        SettingsError: another kind or count.
    """

    kind: SetName = "provocation"
    count: int = 200

    side = 256
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        between("count", self.count, 1, 100_000, integer=True)

    @property
    def name(self) -> str:
        """Of the set."""
        return f"mini-{self.kind}"

    @property
    def _kinds(self) -> tuple[Kind, ...]:
        return KINDS[:1] if self.kind == "standard" else KINDS[1:]

    @property
    def ids(self) -> Sequence[str]:
        """The kinds in turn: ``background_0``, ``nearby_0``, ``background_1`` ..."""
        kinds = self._kinds
        return tuple(f"{kinds[n % len(kinds)]}_{n // len(kinds)}" for n in range(self.count))

    @property
    def groups(self) -> Sequence[str]:
        """The kind of each."""
        return tuple(id.split("_")[0] for id in self.ids)

    def size(self, id: str) -> tuple[int, int]:
        """(H, W): all are alike."""
        return self.side, self.side

    def __getitem__(self, id: str) -> Triplet:
        kind, _, seed = id.partition("_")
        kinds: dict[str, Kind] = {name: name for name in self._kinds}
        if kind not in kinds or not seed.isdecimal():
            raise EvaluationError(f"There is no triplet {id!r} in the set {self.name!r}.")
        task = triple(int(seed), kinds[kind])
        return Triplet(
            id=id,
            image=task.image,
            mask=task.mask.astype(np.uint8) * 255,
            prompt=task.prompt,
            group=kind,
            facts={"color": task.color, "shape": task.shape, "truth": task.truth},
        )

    def fingerprint(self) -> str:
        """Of the first of each kind, which changes with the world's rules."""
        parts = [self.name]
        first = [self[f"{kind}_0"] for kind in self._kinds]
        return digest(*parts, *(t.image.tobytes() + t.mask.tobytes() for t in first))


MINI_SETS: Mapping[str, Callable[..., MiniTriplets]] = MappingProxyType(
    {
        "mini": partial(MiniTriplets, "provocation"),
        "mini-standard": partial(MiniTriplets, "standard"),
    }
)
"""The names under which the command and a run's file know them."""
