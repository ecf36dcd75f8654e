"""A picture with a hole and what to paint there, as an evaluation sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.images.fit import scaled_size

__all__ = [
    "Box",
    "BoxRule",
    "FramedTriplet",
    "Triplet",
    "TripletSet",
    "digest",
    "framed",
]

BoxRule = Literal["soft", "hole"]
Box = tuple[slice, slice]
"""Rows and columns of a part of a picture."""


@dataclass(frozen=True, eq=False)
class Triplet:
    """A picture, a mask and a prompt, at the picture's own size.

    Attributes:
        id: unique in its set, and the name of the result's file: ``<image>_<segment>`` for COCO.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8; 0 is known, everything else belongs to the hole, 255 wholly.
        prompt: what to paint in the hole.
        label: number of what belongs there among `TripletSet.labels`; None without classes.
        group: the stratum that it is drawn from (a category, a kind of hole).
        facts: whatever a metric of the same origin wants to know, such as the true picture.
    """

    id: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    prompt: str
    label: int | None = None
    group: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class TripletSet(Protocol):
    """A set of triplets, each read when it is asked for."""

    @property
    def name(self) -> str:
        """Of the set."""

    @property
    def side(self) -> int:
        """Long side in pixels to paint and score at, unless a protocol says another."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty where there are none."""

    @property
    def ids(self) -> Sequence[str]:
        """Of all triplets, in their order."""

    @property
    def groups(self) -> Sequence[str]:
        """The group of each, without reading its picture."""

    def size(self, id: str) -> tuple[int, int]:
        """(H, W) of a picture, so that those of one size can be painted together."""

    def __getitem__(self, id: str) -> Triplet:
        """Read one.

        Raises:
            EvaluationError: its files are missing or broken.
        """

    def fingerprint(self) -> str:
        """Hash of what decides the triplets; a run goes on only with the same."""


@dataclass(frozen=True, eq=False)
class FramedTriplet:
    """A triplet at the size at which every system paints it and every metric sees it.

    Attributes:
        triplet: at its own size.
        image: (h, w, 3) uint8.
        soft: (h, w) uint8, the mask resized like a picture, so with a halo.
        box_rule: whose box is cut out for the metrics that look at the hole alone: ``soft`` takes
            all pixels above 0 (the official code), ``hole`` those above half.
    """

    triplet: Triplet
    image: NDArray[np.uint8]
    soft: NDArray[np.uint8]
    box_rule: BoxRule = "soft"

    @cached_property
    def hole(self) -> NDArray[np.bool_]:
        """(h, w): what a system is told to fill: every pixel that the mask touches."""
        return np.asarray(self.soft > 0)

    @cached_property
    def box(self) -> Box:
        """The smallest rectangle around the hole, by `box_rule`."""
        inside = self.soft > (0 if self.box_rule == "soft" else 127)
        if not inside.any():
            inside = self.soft > 0
        spans = []
        for axis in (1, 0):
            places = np.flatnonzero(inside.any(axis))
            spans.append(slice(int(places[0]), int(places[-1]) + 1))
        return spans[0], spans[1]


def framed(triplet: Triplet, side: int, box_rule: BoxRule = "soft") -> FramedTriplet:
    """Bring a triplet to the working size as the official evaluation does.

    The long side becomes exactly `side`, also upwards; the sizes are truncated, and picture and
    mask resized alike (Pillow, bicubic), which leaves the mask a soft rim.
    """
    size = triplet.mask.shape[0], triplet.mask.shape[1]
    height, width = scaled_size(size, side, "bicubic")
    image, soft = (
        np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC))
        for array in (triplet.image, triplet.mask)
    )
    return FramedTriplet(triplet, image, soft, box_rule)


def digest(*parts: bytes | str) -> str:
    """Hash of some bytes and texts, in which one's end and the next one's begin are not one."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()
