"""Some triplets of a set, drawn in proportion to its groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdpainter_nb.evaluation.triplet import Triplet, TripletSet
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = ["DEFAULT_COUNT", "Sample"]

DEFAULT_COUNT = 300
"""Enough for Table 2's headline (accuracy +8.57 points) at 80 % power, in pairs."""


@checked
class Sample:
    """A stratified sample of a `TripletSet`: the same for the same count and seed, on any machine.

    Each group gets its share of `count`, rounded so that the shares add up (largest remainders
    first); within a group the draw is random by `seed`. The order is that of the whole set, so
    that a longer sample is no continuation of a shorter one, but pictures made for one serve the
    other where they share triplets.

    Args:
        whole: what to draw from.
        count: how many; at most all.
        seed: of the draw.

    Raises:
        SettingsError: `count` or `seed` is no whole number from 1 (0).
    """

    def __init__(self, whole: TripletSet, count: int = DEFAULT_COUNT, seed: int = 0) -> None:
        between("count", count, 1, 10**9, integer=True)
        between("seed", seed, 0, 2**63 - 1, integer=True)
        self.whole = whole
        self.name, self.side, self.labels = whole.name, whole.side, whole.labels
        chosen = _drawn(whole.groups, min(count, len(whole.ids)), seed)
        self.ids = tuple(whole.ids[index] for index in chosen)
        self.groups = tuple(whole.groups[index] for index in chosen)

    def __getitem__(self, id: str) -> Triplet:
        return self.whole[id]

    def size(self, id: str) -> tuple[int, int]:
        """(H, W) of a picture."""
        return self.whole.size(id)

    def fingerprint(self) -> str:
        """That of the whole set: a run may grow from one sample to a larger one."""
        return self.whole.fingerprint()


def _drawn(groups: Sequence[str], count: int, seed: int) -> list[int]:
    """Indices of the sample, ascending."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    names = sorted(members)
    shares = np.array([len(members[name]) for name in names]) * (count / max(len(groups), 1))
    counts = np.floor(shares).astype(int)
    # Ties between remainders go by name, so that nothing depends on the order of a dictionary.
    for place in np.argsort(-(shares - counts), kind="stable")[: count - counts.sum()]:
        counts[place] += 1
    rng = np.random.default_rng(seed)
    drawn: list[int] = []
    for name, number in zip(names, counts, strict=True):
        # Of each group a permutation, whatever is taken of it: a longer sample keeps a shorter one.
        order = rng.permutation(len(members[name]))
        drawn += [members[name][place] for place in order[:number]]
    return sorted(drawn)
