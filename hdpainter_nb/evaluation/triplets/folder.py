"""A folder of one's own pictures, masks and prompts."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdpainter_nb.errors import EvaluationError, HDPainterError
from hdpainter_nb.evaluation.triplet import Triplet, digest
from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_nb.utils.checked import checked

__all__ = ["FolderTriplets", "check_id"]

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_ID = re.compile(r"[\w][\w.+=@-]{0,127}")


def check_id(id: str) -> str:
    """The id, which must do as a file name.

    Raises:
        EvaluationError: it would not.
    """
    if not _ID.fullmatch(id):
        raise EvaluationError(
            f"{id!r} is no id of a triplet: letters, digits, and _ . + = @ - after the first "
            "character, since results are files of that name."
        )
    return id


@checked
class FolderTriplets:
    """Triplets in a folder: a table of them, or `images`, `masks` and a file of prompts.

    With a table, ``triplets.csv`` or ``triplets.jsonl`` with the columns ``image``, ``mask``,
    ``prompt`` (and, where wanted, ``id``, ``label``, ``group``), files are named relative to the
    folder. Without one, ``images/<id>.*`` and ``masks/<id>.*`` belong together, and
    ``prompts.json`` is ``{id: prompt}``.

    Args:
        folder: where all this lies.
        side: long side in pixels to paint and score at.
        labels: names of the classes that the column ``label`` numbers or names.

    Raises:
        EvaluationError: something is missing, broken or twice there; the message says what.
    """

    name = "folder"

    def __init__(self, folder: str | Path, *, side: int = 512, labels: Sequence[str] = ()) -> None:
        self._folder = Path(folder).expanduser()
        self.side, self.labels = side, tuple(labels)
        if not self._folder.is_dir():
            raise EvaluationError(f"There is no folder {str(folder)!r}.")
        rows = self._table() or self._pairs()
        if not rows:
            raise EvaluationError(
                f"{str(folder)!r} holds no triplets: it needs triplets.csv or triplets.jsonl, or "
                "images/, masks/ and prompts.json."
            )
        self._rows: dict[str, dict[str, Any]] = {}
        for row in rows:
            id = check_id(str(row.get("id") or Path(str(row["image"])).stem))
            if id in self._rows:
                raise EvaluationError(f"Two triplets of {str(folder)!r} have the id {id!r}.")
            self._rows[id] = row
        self.ids = tuple(self._rows)
        self.groups = tuple(str(row.get("group") or "") for row in self._rows.values())

    def _table(self) -> list[dict[str, Any]]:
        for name, parse in (("triplets.jsonl", _json_lines), ("triplets.csv", _csv)):
            path = self._folder / name
            if not path.is_file():
                continue
            try:
                rows = parse(path.read_text("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise EvaluationError(f"{str(path)!r} cannot be read: {error}.") from error
            for number, row in enumerate(rows, 1):
                missing = [key for key in ("image", "mask", "prompt") if row.get(key) is None]
                if missing:
                    raise EvaluationError(
                        f"Row {number} of {str(path)!r} has no {' and no '.join(missing)}."
                    )
            return rows
        return []

    def _pairs(self) -> list[dict[str, Any]]:
        prompts_file = self._folder / "prompts.json"
        if not prompts_file.is_file():
            return []
        try:
            prompts = json.loads(prompts_file.read_text("utf-8"))
            if not isinstance(prompts, dict):
                raise ValueError("it is no object of id: prompt")
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"{str(prompts_file)!r} cannot be read: {error}.") from error
        return [
            {
                "id": id,
                "image": self._picture("images", id),
                "mask": self._picture("masks", id),
                "prompt": prompt,
            }
            for id, prompt in prompts.items()
        ]

    def _picture(self, part: str, id: str) -> str:
        check_id(id)
        for suffix in _PICTURES:
            if (self._folder / part / f"{id}{suffix}").is_file():
                return f"{part}/{id}{suffix}"
        raise EvaluationError(
            f"{str(self._folder / part)!r} holds no picture {id!r} ({', '.join(_PICTURES)}), and "
            "prompts.json has a prompt for it."
        )

    def _path(self, id: str, key: str) -> Path:
        path = self._folder / str(self._row(id)[key])
        if not path.is_file():
            raise EvaluationError(f"The {key} of triplet {id} is missing: {str(path)!r}.")
        return path

    def _row(self, id: str) -> dict[str, Any]:
        if id not in self._rows:
            raise EvaluationError(f"There is no triplet {id!r} in this set.")
        return self._rows[id]

    def _label(self, id: str) -> int | None:
        value = self._row(id).get("label")
        if value in (None, ""):
            return None
        text = str(value)
        if text in self.labels:
            return self.labels.index(text)
        if text.isdecimal() and (not self.labels or int(text) < len(self.labels)):
            return int(text)
        raise EvaluationError(
            f"The label {value!r} of triplet {id} is neither a number nor one of the labels."
        )

    def size(self, id: str) -> tuple[int, int]:
        """(H, W) of a picture."""
        height, width = self[id].mask.shape
        return height, width

    def __getitem__(self, id: str) -> Triplet:
        try:
            image = read_image(self._path(id, "image"))
            mask = read_mask(self._path(id, "mask"), size=image.shape[:2])
        except HDPainterError as error:
            raise EvaluationError(f"Triplet {id}: {error}") from error
        row = self._row(id)
        return Triplet(
            id=id,
            image=image,
            mask=mask.astype(np.uint8) * 255,
            prompt=str(row["prompt"]),
            label=self._label(id),
            group=str(row.get("group") or ""),
        )

    def fingerprint(self) -> str:
        """Of prompts, pictures and masks."""
        parts = []
        for id, row in self._rows.items():
            files = (self._path(id, key).read_bytes() for key in ("image", "mask"))
            hashes = [hashlib.sha256(data).hexdigest() for data in files]
            parts.append(json.dumps([id, row["prompt"], row.get("label"), *hashes]))
        return digest("folder", *sorted(parts))


def _json_lines(text: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("each line must be an object")
    return rows


def _csv(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(text.splitlines()))
