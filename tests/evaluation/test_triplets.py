"""Triplets: COCO as the official scripts read it, folders of one's own, samples."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.triplet import FramedTriplet, framed
from hdpainter_nb.evaluation.triplets.coco import CocoTriplets, hull_mask
from hdpainter_nb.evaluation.triplets.folder import FolderTriplets
from hdpainter_nb.evaluation.triplets.sample import Sample
from support.evaluation import SmallSet

POLYGON = [10.9, 10.9, 40.2, 12.0, 30.0, 45.7]


def annotation(image: int, category: int, segmentation: Any = None) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": [POLYGON] if segmentation is None else segmentation,
    }


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three images whose ids are out of order, five objects, one of them a crowd."""
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    images = []
    for number, (height, width) in {30: (70, 90), 7: (80, 64), 12: (64, 64)}.items():
        name = f"{number:012}.jpg"
        Image.new("RGB", (width, height), (number, 0, 0)).save(tmp_path / "val2017" / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    data = {
        "images": images,
        "categories": [{"id": 9, "name": "boat"}, {"id": 2, "name": "cow"}],
        "annotations": [
            annotation(30, 9),
            annotation(30, 2, {"counts": [1], "size": [1, 1]}),  # a crowd
            annotation(30, 2),
            annotation(7, 9),
        ],
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(data))
    return tmp_path


def listed(folder: Path, pairs: list[tuple[int, int]]) -> Path:
    path = folder / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image_idx", "segment_idx"), *pairs])
    return path


def test_indices_count_sorted_images_and_objects_without_crowds(coco: Path) -> None:
    triplets = CocoTriplets(coco, listed(coco, [(2, 1), (0, 0), (2, 0)]))
    assert triplets.ids == ("2_1", "0_0", "2_0")
    assert triplets.groups == ("cow", "boat", "boat")
    assert triplets.labels == ("cow", "boat"), "by their numbers"
    triplet = triplets["2_1"]
    assert (triplet.prompt, triplet.label, triplet.group) == ("cow", 0, "cow")
    assert triplet.image.shape == (70, 90, 3)
    assert triplets.size("2_1") == (70, 90)
    assert not triplets.published
    assert CocoTriplets(coco, None).ids == ("0_0", "2_0", "2_1")


def test_the_mask_is_the_hull_of_truncated_points() -> None:
    mask = hull_mask([POLYGON, [50, 20, 60, 20, 55, 30]], (64, 64))
    expected = np.zeros((64, 64, 3), np.uint8)
    points = np.concatenate(
        [np.array(p).astype(np.int32).reshape(-1, 2) for p in (POLYGON, [50, 20, 60, 20, 55, 30])]
    )
    cv2.drawContours(expected, [cv2.convexHull(points)], -1, (255, 255, 255), -1)
    np.testing.assert_array_equal(mask, expected[..., 0])
    assert mask[20, 45] == 255, "between the polygons"


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda f: (f / "val2017" / "000000000030.jpg").unlink(), "is missing"),
        (lambda f: (f / "val2017" / "000000000030.jpg").write_bytes(b"x"), "picture of triplet"),
        (
            lambda f: Image.new("RGB", (64, 64)).save(f / "val2017" / "000000000030.jpg"),
            "the annotations say 90x70",
        ),
        (lambda f: (f / "annotations" / "instances_val2017.json").unlink(), "cannot be read at"),
        (
            lambda f: (f / "annotations" / "instances_val2017.json").write_text("{"),
            "is no JSON",
        ),
        (
            lambda f: (f / "annotations" / "instances_val2017.json").write_text('{"images": []}'),
            "is no annotation file",
        ),
        (lambda f: (f / "list.csv").unlink(), "list of objects"),
        (lambda f: (f / "list.csv").write_text("a,b\n1,2\n"), "needs the columns image_idx"),
        (lambda f: (f / "list.csv").write_text("image_idx,segment_idx\n2,x\n"), "whole numbers"),
        (lambda f: listed(f, [(2, 5)]), "do not belong together"),
        (lambda f: listed(f, [(9, 0)]), "do not belong together"),
        (lambda f: listed(f, [(2, 0), (2, 0)]), "names an object twice"),
        (lambda f: listed(f, []), "names no object"),
    ],
)
def test_what_is_wrong_with_coco_is_said(coco: Path, break_it: Any, sentence: str) -> None:
    path = listed(coco, [(2, 0)])
    break_it(coco)
    with pytest.raises(EvaluationError, match=sentence):
        CocoTriplets(coco, path)["2_0"]


def test_other_lists_are_other_triplets(coco: Path) -> None:
    first = CocoTriplets(coco, listed(coco, [(2, 0)])).fingerprint()
    assert CocoTriplets(coco, listed(coco, [(2, 0)])).fingerprint() == first
    assert CocoTriplets(coco, listed(coco, [(2, 1)])).fingerprint() != first


# --- a folder ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    mask = np.zeros((70, 90), np.uint8)
    mask[10:20, 10:30] = 255
    for name in ("a", "b"):
        Image.new("RGB", (90, 70), "green").save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "prompts.json").write_text('{"a": "a cat", "b": "a dog"}')
    return tmp_path


def test_pictures_masks_and_prompts_belong_together(folder: Path) -> None:
    triplets = FolderTriplets(folder)
    assert triplets.ids == ("a", "b")
    assert (triplets["b"].prompt, triplets.size("b")) == ("a dog", (70, 90))
    assert triplets["a"].mask[15, 15] == 255 > triplets["a"].mask[0, 0]
    before = triplets.fingerprint()
    (folder / "prompts.json").write_text('{"a": "a cat", "b": "a cow"}')
    assert FolderTriplets(folder).fingerprint() != before


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_names_the_files(folder: Path, kind: str) -> None:
    rows = [
        {"id": "x1", "image": "images/a.jpg", "mask": "masks/a.png", "prompt": "cat", "label": "1"},
        {"id": "x2", "image": "images/b.jpg", "mask": "masks/a.png", "prompt": "", "label": "cat"},
    ]
    path = folder / f"triplets.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    triplets = FolderTriplets(folder, labels=("cat", "dog"))
    assert [(triplets[id].prompt, triplets[id].label) for id in triplets.ids] == [
        ("cat", 1),
        ("", 0),
    ]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"prompts.json": "[]"}, "no object of id: prompt"),
        ({"prompts.json": '{"c": "x"}'}, "holds no picture 'c'"),
        ({"prompts.json": '{"../a": "x"}'}, "no id of a triplet"),
        ({"prompts.json": None}, "holds no triplets"),
        ({"triplets.csv": "image,mask\na,b\n"}, "Row 1 of .* has no prompt"),
        ({"triplets.jsonl": "[3]"}, "cannot be read"),
        ({"triplets.csv": "id,image,mask,prompt\na,x,y,z\na,x,y,z\n"}, "the id 'a'"),
        ({"triplets.csv": "id,image,mask,prompt\na,x,y,z\n"}, "The image of triplet a is missing"),
        (
            {"triplets.csv": "id,image,mask,prompt,label\na,images/a.jpg,masks/a.png,z,cow\n"},
            "neither a number nor one of the labels",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(
    folder: Path, files: dict[str, str | None], sentence: str
) -> None:
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_text(content)
    with pytest.raises(EvaluationError, match=sentence):
        FolderTriplets(folder, labels=("cat",))["a"]


# --- samples and sizes ---------------------------------------------------------------------------


class Many(SmallSet):
    """Four fifths of one group."""

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple("abbbb"[n % 5] for n in range(self.count))


def test_a_sample_keeps_the_shares() -> None:
    whole = Many(1000)
    sample = Sample(whole, 100)
    assert Counter(sample.groups) == {"a": 20, "b": 80}
    assert sample.ids == Sample(whole, 100).ids != Sample(whole, 100, seed=1).ids
    assert list(sample.ids) == sorted(sample.ids, key=lambda id: int(id.split("_")[0]))
    assert set(sample.ids) < set(Sample(whole, 300).ids), "a larger one keeps a smaller one"
    assert len(Sample(whole, 37).ids) == 37
    assert Sample(whole, 5000).ids == whole.ids
    assert sample.fingerprint() == whole.fingerprint()
    with pytest.raises(SettingsError, match="count must be"):
        Sample(whole, 0)


@pytest.mark.parametrize(
    "size", [(427, 640), (640, 427), (333, 500), (512, 512), (100, 37), (372, 512)]
)
def test_the_working_size_is_the_official_scripts(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    height, width = size
    image = rng.integers(0, 255, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[height // 3 : height // 2, width // 3 : width // 2] = 255
    small = framed(triplet_of(image, mask), 512)
    aspect = width / height
    expected = min(512, int(512 * aspect)), min(512, int(512 / aspect))
    assert small.soft.shape[::-1] == expected
    assert max(expected) == 512
    resized = Image.fromarray(image).resize(small.soft.shape[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(small.image, np.asarray(resized))
    assert small.hole.sum() > (small.soft > 127).sum() if size != (512, 512) else True


def triplet_of(image: Any, mask: Any) -> Any:
    from hdpainter_nb.evaluation.triplet import Triplet

    return Triplet("x", image, mask, "")


def test_boxes_follow_their_rule() -> None:
    soft = np.zeros((20, 30), np.uint8)
    soft[5:10, 6:12] = 255
    soft[4, 5] = 1
    triplet = triplet_of(np.zeros((20, 30, 3), np.uint8), soft)
    loose = FramedTriplet(triplet, triplet.image, soft, "soft")
    tight = FramedTriplet(triplet, triplet.image, soft, "hole")
    assert loose.box == (slice(4, 10), slice(5, 12))
    assert tight.box == (slice(5, 10), slice(6, 12))
    assert loose.hole.sum() == tight.hole.sum() == 31
