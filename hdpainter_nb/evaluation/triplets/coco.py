"""MSCOCO val2017 as the paper's evaluation uses it: object, convex hull, category name."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import EvaluationError, HDPainterError
from hdpainter_nb.evaluation.triplet import Triplet, digest
from hdpainter_nb.images.read import read_image
from hdpainter_nb.utils.checked import checked

__all__ = ["PUBLISHED_LIST", "CocoTriplets", "hull_mask", "polygon_mask"]

PUBLISHED_LIST = "4f677e08932fc34755c590897bce939634ad5f769e9fda6bd93295c951f5fa31"
"""SHA-256 of the published ``mscoco_testset_10000.csv``."""
_WHERE_LIST = "the official repository has it as metrics/mscoco_testset_10000.csv"
_WHERE_COCO = "val2017.zip and annotations_trainval2017.zip of the MSCOCO site hold both"


@checked
class CocoTriplets:
    """Triplets of MSCOCO: one annotated object each, its hull as the hole, its category as prompt.

    Which objects is told by a list with the columns ``image_idx`` and ``segment_idx``: the place of
    an image among the sorted ids of *all* images, and of an annotation among that image's own in
    the file's order, annotations of crowds (run-length encoded) left out. The published list was
    drawn by a rule that nobody has named, so it is used as it is and never drawn anew.

    Args:
        root: holds ``val2017/`` and ``annotations/instances_val2017.json``.
        list_file: the list; None takes every object.
        images, instances: folder and file, where they lie elsewhere.

    Raises:
        EvaluationError: a file is missing or broken, or the list names what the annotations lack.
    """

    name = "coco"
    side = 512

    def __init__(
        self,
        root: str | Path,
        list_file: str | Path | None,
        *,
        images: str | Path | None = None,
        instances: str | Path | None = None,
    ) -> None:
        root = Path(root).expanduser()
        self._images = Path(images or root / "val2017").expanduser()
        self._instances = Path(
            instances or root / "annotations" / "instances_val2017.json"
        ).expanduser()
        if not self._images.is_dir():
            raise EvaluationError(
                f"There is no folder of images {str(self._images)!r}: {_WHERE_COCO}."
            )
        data = _read(self._instances, f"annotations ({_WHERE_COCO})")
        self._hash = hashlib.sha256(data)
        self._index(_json(data, self._instances))
        if list_file is None:
            pairs: Iterable[tuple[int, int]] = (
                (i, k) for i, image in enumerate(self._order) for k in range(len(self._of[image]))
            )
            self.published = False
        else:
            content = _read(Path(list_file).expanduser(), f"list of objects ({_WHERE_LIST})")
            self._hash.update(content)
            self.published = hashlib.sha256(content).hexdigest() == PUBLISHED_LIST
            pairs = _pairs(content, Path(list_file))
        self._objects = dict(self._found(pairs))
        if not self._objects:
            raise EvaluationError(f"{str(list_file or self._instances)!r} names no object.")

    def _index(self, data: Any) -> None:
        """Sort what the annotations say."""
        where = str(self._instances)
        try:
            categories = sorted(data["categories"], key=lambda c: c["id"])
            self.labels = tuple(str(c["name"]) for c in categories)
            self._number = {c["id"]: n for n, c in enumerate(categories)}
            self._image = {
                image["id"]: (str(image["file_name"]), int(image["height"]), int(image["width"]))
                for image in data["images"]
            }
            self._order = sorted(self._image)
            self._of: dict[Any, list[Any]] = {image: [] for image in self._order}
            for annotation in data["annotations"]:
                if isinstance(annotation["segmentation"], list):
                    self._of[annotation["image_id"]].append(annotation)
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{where!r} is no annotation file of MSCOCO's instances: "
                f"{type(error).__name__} {error}."
            ) from error
        for name, *_ in self._image.values():
            if Path(name).name != name:
                raise EvaluationError(f"{where!r} names the image {name!r}, which is no file name.")

    def _found(self, pairs: Iterable[tuple[int, int]]) -> Iterable[tuple[str, Any]]:
        """Each pair's annotation, by the triplet's id."""
        for image, segment in pairs:
            own = self._of[self._order[image]] if 0 <= image < len(self._order) else []
            if not 0 <= segment < len(own):
                raise EvaluationError(
                    f"The list asks for object {segment} of image {image}, and the annotations "
                    f"have {len(self._order)} images, that one with {len(own)} objects: the two "
                    "files do not belong together."
                )
            yield f"{image}_{segment}", own[segment]

    @cached_property
    def ids(self) -> Sequence[str]:
        """``<image_idx>_<segment_idx>``, in the order of the list."""
        return tuple(self._objects)

    @cached_property
    def groups(self) -> Sequence[str]:
        """The category of each."""
        return tuple(
            self.labels[self._number[annotation["category_id"]]]
            for annotation in self._objects.values()
        )

    def size(self, id: str) -> tuple[int, int]:
        """(H, W) of a picture, by the annotations."""
        _, height, width = self._image[self._annotation(id)["image_id"]]
        return height, width

    def __getitem__(self, id: str) -> Triplet:
        annotation = self._annotation(id)
        name, height, width = self._image[annotation["image_id"]]
        path = self._images / name
        if not path.is_file():
            raise EvaluationError(
                f"The picture {name!r} of triplet {id} is missing in {str(self._images)!r}."
            )
        try:
            image = read_image(path)
        except HDPainterError as error:
            raise EvaluationError(f"The picture of triplet {id}: {error}") from error
        if image.shape[:2] != (height, width):
            raise EvaluationError(
                f"{name!r} has {image.shape[1]}x{image.shape[0]} px, and the annotations say "
                f"{width}x{height}: it is another picture, or was resized."
            )
        label = self._number[annotation["category_id"]]
        return Triplet(
            id=id,
            image=image,
            mask=hull_mask(annotation["segmentation"], (height, width)),
            prompt=self.labels[label],
            label=label,
            group=self.labels[label],
        )

    def _annotation(self, id: str) -> Any:
        if id not in self._objects:
            raise EvaluationError(f"There is no triplet {id!r} in this set.")
        return self._objects[id]

    def object_mask(self, id: str) -> NDArray[np.bool_]:
        """(H, W): the annotated object itself, of which the triplet's hole is the hull."""
        return polygon_mask(self._annotation(id)["segmentation"], self.size(id))

    def numbers(self, id: str) -> tuple[Any, Any]:
        """What the annotations' file numbers an object, if it does, and its picture."""
        annotation = self._annotation(id)
        return annotation.get("id"), annotation["image_id"]

    def fingerprint(self) -> str:
        """Of annotations and list; the pictures are those of the annotations' sizes."""
        return digest("coco", self._hash.hexdigest())


def hull_mask(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The filled convex hull around all polygons of an object, as the official code draws it.

    Args:
        polygons: x and y in turn, in pixels; fractions are cut off.
        size: (H, W).

    Returns:
        (H, W), 255 inside.
    """
    points = np.concatenate([np.asarray(p, float).reshape(-1, 2) for p in polygons])
    hull = cv2.convexHull(points.astype(np.int32))
    mask = np.zeros(size, np.uint8)
    return np.asarray(cv2.drawContours(mask, [hull], -1, 255, cv2.FILLED), np.uint8)


def polygon_mask(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """What the polygons of an object cover together.

    Args:
        polygons: x and y in turn, in pixels, where a pixel's centre is at a half.
        size: (H, W).

    Returns:
        (H, W).
    """
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        corners = (np.asarray(polygon, float).reshape(-1, 2) - 0.5) * 16  # 4 bits after the point
        cv2.fillPoly(mask, [corners.round().astype(np.int32)], 255, shift=4)
    return mask > 0


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluationError(
            f"The {what} cannot be read at {str(path)!r}: {error.strerror}."
        ) from error


def _json(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{str(path)!r} is no JSON: {error}.") from error


def _pairs(content: bytes, path: Path) -> list[tuple[int, int]]:
    try:
        rows = csv.DictReader(content.decode("utf-8-sig").splitlines())
        pairs = [(int(row["image_idx"]), int(row["segment_idx"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(
            f"{str(path)!r} is no list of objects: it needs the columns image_idx and segment_idx "
            f"with whole numbers ({type(error).__name__}: {error})."
        ) from error
    if len(set(pairs)) < len(pairs):
        raise EvaluationError(f"{str(path)!r} names an object twice.")
    return pairs
