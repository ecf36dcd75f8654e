"""Objects of photographs, from annotations of MSCOCO's form, as SmartBrush's recipe trains on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.triplets.coco import CocoTriplets
from hdpainter_nb.mini.training.data_objects import WHOLE, ObjectExample
from hdpainter_nb.mini.training.object_masks import LEVELS, coarser_mask

__all__ = ["Captions", "CocoObjects"]

_LEAST = 0.005  # of the crop's area; a smaller object is passed over, if another one is found
_TRIES = 20


@dataclass(frozen=True)
class Captions:
    """What is said of whole pictures, and of objects beside their category's name.

    Attributes:
        pictures: captions by the picture's number; without any, there are no whole examples.
        objects: descriptions by the object's number.
    """

    pictures: Mapping[str, list[str]] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, pictures: Path | None, objects: Path | None) -> Captions:
        """From an annotations' file of captions, and from json of number -> text.

        Raises:
            SettingsError: a file is missing or is something else.
        """
        said: dict[str, list[str]] = {}
        try:
            for one in _json(pictures)["annotations"] if pictures else ():
                said.setdefault(str(one["image_id"]), []).append(str(one["caption"]))
        except (KeyError, TypeError) as error:
            raise SettingsError(
                f"{str(pictures)!r} is no file of captions in MSCOCO's form (annotations with "
                "image_id and caption)."
            ) from error
        described = _json(objects) if objects else {}
        if not isinstance(described, dict):
            raise SettingsError(f"{str(objects)!r} must be an object of annotation id: text.")
        return cls(said, {str(number): str(text) for number, text in described.items()})


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{str(path)!r} cannot be read as json: {error}.") from error


class CocoObjects:
    """Objects of annotated pictures in random order, each time cropped and at a precision anew.

    Half of an object's captions are its description, where it has one, the others its category's
    name. A fifth of the examples are whole pictures, where pictures have captions.

    Args:
        triplets: the pictures and their objects.
        captions: of both.
        tokenizer: of the model.
        size: of a crop in pixels.
        seed: of order, crops and precisions.
    """

    def __init__(
        self, triplets: CocoTriplets, captions: Captions, tokenizer: Any, *, size: int, seed: int
    ) -> None:
        self.triplets, self.captions, self.tokenizer = triplets, captions, tokenizer
        self.size, self.seed, self.ids = size, seed, triplets.ids

    def group(self, number: int) -> list[ObjectExample]:
        """The example of this number, alone; every object comes once in each round."""
        round_, place = divmod(number, len(self.ids))
        order = np.random.default_rng([self.seed, round_]).permutation(len(self.ids))
        rng = np.random.default_rng([self.seed, round_, place, 1])
        chosen = int(order[place])
        for _ in range(_TRIES):
            example = self._example(rng, self.ids[chosen])
            if example is not None:
                return [example]
            chosen = int(rng.integers(len(self.ids)))
        raise EvaluationError(
            f"{_TRIES} objects in a row cover less than {_LEAST:.1%} of a crop each: these "
            "annotations have too few larger ones to train on."
        )

    def _example(self, rng: np.random.Generator, id: str) -> ObjectExample | None:
        triplet, mask = self.triplets[id], self.triplets.object_mask(id)
        object_, picture = (str(number) for number in self.triplets.numbers(id))
        image, mask = _scaled(triplet.image, mask, self.size)
        said = self.captions.pictures.get(picture)
        whole = bool(said) and rng.random() < WHOLE
        window = _window(rng, mask, self.size, about=not whole)
        image, mask = image[window], mask[window]
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
        if said and whole:
            text = said[int(rng.integers(len(said)))]
            everywhere = np.ones_like(mask)
            return ObjectExample(image, everywhere, None, LEVELS - 1, self._ids(text))
        if mask.mean() < _LEAST:
            return None
        level, text = int(rng.integers(LEVELS)), triplet.prompt
        if object_ in self.captions.objects and rng.random() < 0.5:
            text = self.captions.objects[object_]
        hole = coarser_mask(mask, level, self.size)
        return ObjectExample(image, hole, mask, level, self._ids(text))

    def _ids(self, text: str) -> list[int]:
        tokens = self.tokenizer
        ids: list[int] = tokens(
            text, padding="max_length", max_length=tokens.model_max_length, truncation=True
        ).input_ids
        return ids


def _scaled(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Both with a short side of `size` pixels."""
    share = size / min(mask.shape)
    height, width = (max(size, round(length * share)) for length in mask.shape)
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, (width, height), interpolation=how)
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), soft > 0.5


def _window(
    rng: np.random.Generator, mask: NDArray[np.bool_], size: int, *, about: bool
) -> tuple[slice, slice]:
    """A square of `size` pixels, about the object where that is asked for."""
    window = []
    for axis, length in enumerate(mask.shape):
        along = np.flatnonzero(mask.any(1 - axis))
        start = rng.uniform(0, length - size)
        if about and len(along):
            middle = (along[0] + along[-1] + 1) / 2
            start = middle - size * rng.uniform(0.35, 0.65)
        first = int(np.clip(start, 0, length - size))
        window.append(slice(first, first + size))
    return window[0], window[1]
