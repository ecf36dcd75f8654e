"""A trace in the browser's form: maps keep their values, json stays json."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.settings import Settings
from hdpainter_nb.trace import web
from hdpainter_nb.trace.trace import Trace
from support.synthetic import make_record, scene


def decoded(described: dict[str, Any], buffers: list[bytes]) -> np.ndarray:
    """What the browser makes of a map."""
    shape = described["shape"]
    values = np.frombuffer(buffers[described["buffer"]], np.uint8).reshape(-1, *shape[-2:])
    low, high = (np.array(described[name])[:, None, None] for name in ("low", "high"))
    return (low + values / 255 * (high - low)).reshape(shape)


def steps_apart(described: dict[str, Any]) -> np.ndarray:
    """The distance of two neighbouring bytes, map by map."""
    return (np.array(described["high"]) - np.array(described["low"])) / 255


@pytest.fixture
def trace() -> Trace:
    image, mask = scene()
    trace = Trace(image, mask, model="none", crop=(0, 0, 256, 256))
    rng = np.zeros(8, np.uint8)
    node = root = trace.root(np.zeros((4, 32, 32), np.float32), rng)
    branch = trace.open_branch("a red star", Settings(steps=4), root, None)
    for index in range(3):
        node = trace.add(branch, node, root.latents, rng, make_record(index, 4))
    other = trace.open_branch("a red star", Settings(steps=4, painta=False), node, 0)
    trace.add(other, node, root.latents, rng, make_record(3, 4, painta=False, rasg=False))
    return trace


@pytest.mark.parametrize("shape", [(16, 16), (5, 8, 8), (2, 5, 4, 6)])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_maps_keep_their_values_to_half_a_level(shape: tuple[int, ...], scale: float) -> None:
    rng = np.random.default_rng(1)
    # Every map of a stack has its own range: a strong word must not swallow a weak one.
    ranges = rng.uniform(0.01, 10, (*shape[:-2], 1, 1))
    values = (rng.normal(size=shape) * ranges * scale).astype(np.float32)
    buffers = [b"another one"]
    described = web.encode_map(values, buffers)
    assert described["buffer"] == 1
    assert len(buffers[1]) == values.size
    error = np.abs(decoded(described, buffers) - values).reshape(-1, *shape[-2:]).max((1, 2))
    # The ends are written with six digits.
    limit = steps_apart(described) / 2 + 2e-6 * np.abs(values).max()
    assert (error <= limit).all(), error / limit


def test_both_ends_of_a_map_are_used() -> None:
    buffers: list[bytes] = []
    web.encode_map(np.array([[-3.0, 0.0], [1.0, 5.0]]), buffers)
    assert (min(buffers[0]), max(buffers[0])) == (0, 255)


def test_a_constant_map_stays_constant() -> None:
    buffers: list[bytes] = []
    described = web.encode_map(np.full((3, 4, 4), 0.25, np.float32), buffers)
    np.testing.assert_array_equal(decoded(described, buffers), 0.25)


def test_what_is_not_finite_becomes_the_lowest() -> None:
    values = np.array([[np.nan, 1.0], [np.inf, 3.0]], np.float32)
    buffers: list[bytes] = []
    described = web.encode_map(values, buffers)
    np.testing.assert_allclose(decoded(described, buffers), [[1, 1], [1, 3]])
    nothing = web.encode_map(np.full((2, 2), np.nan), buffers)
    np.testing.assert_array_equal(decoded(nothing, buffers), 0)
    json.dumps([described, nothing], allow_nan=False)


def test_a_step_has_every_map_of_its_record(trace: Trace) -> None:
    node = trace.path(0)[1]
    record = node.record
    assert record is not None
    buffers: list[bytes] = []
    frame = web.step_message(node, buffers)
    assert (frame["node"], frame["parent"], frame["branch"]) == (node.id, node.parent, 0)
    assert frame["words"] == [["a", [1]], ["red", [2]], ["star", [3, 4]], ["<eot>", [5]]]
    kinds = {"cross": record.cross.maps, "c": record.c, "similarity": record.similarity}
    kinds["similarity_painta"] = record.similarity_painta
    seen = 0
    for described in frame["maps"]:
        values = kinds[described["kind"]].layers[described["level"]][described["layer"]]
        error = np.abs(decoded(described, buffers) - values)
        assert error.max() <= steps_apart(described).max() / 2 + 1e-6
        seen += 1
    assert seen == sum(len(named) for maps in kinds.values() for named in maps.layers.values())
    json.dumps(frame, allow_nan=False)


def test_scores_are_maps_too(trace: Trace) -> None:
    import dataclasses

    node = trace.path(0)[1]
    assert node.record is not None
    scores = np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32)
    record = dataclasses.replace(node.record, scores=scores)
    buffers: list[bytes] = []
    frame = web.step_message(dataclasses.replace(node, record=record), buffers)
    found = [described for described in frame["maps"] if described["kind"] == "scores"]
    assert [(f["level"], f["shape"]) for f in found] == [(32, [6, 8, 8])]
    np.testing.assert_allclose(
        decoded(found[0], buffers), scores, atol=steps_apart(found[0]).max() / 2 + 1e-6
    )


def test_the_objects_mask_is_a_map_too(trace: Trace) -> None:
    import dataclasses

    node = trace.path(0)[1]
    assert node.record is not None
    mask = np.random.default_rng(0).random((32, 32), np.float32)
    record = dataclasses.replace(node.record, object_mask=mask)
    buffers: list[bytes] = []
    frame = web.step_message(dataclasses.replace(node, record=record), buffers)
    found = [described for described in frame["maps"] if described["kind"] == "object"]
    assert [(f["level"], f["layer"], f["shape"]) for f in found] == [(8, "mean", [32, 32])]
    np.testing.assert_allclose(
        decoded(found[0], buffers), mask, atol=steps_apart(found[0]).max() / 2 + 1e-6
    )


def test_without_maps_only_numbers_travel(trace: Trace) -> None:
    buffers: list[bytes] = []
    frame = web.step_message(trace.path(0)[1], buffers, maps=False)
    assert (buffers, frame["maps"], frame["preview"], frame["picture"]) == ([], [], None, None)
    grad = frame["grad"]
    assert sum(grad["hist"]) == 4096
    assert grad["standard_edges"] == [-5, 5]
    assert web.step_message(trace.path(1)[-1], buffers, maps=False)["grad"] is None


def test_previews_are_exact_and_pictures_small(trace: Trace) -> None:
    node = trace.path(0)[2]
    assert node.record is not None
    picture = np.random.default_rng(0).integers(0, 255, (1300, 650, 3), dtype=np.uint8)
    buffers: list[bytes] = []
    frame = web.step_message(node, buffers, picture=picture)
    with Image.open(io.BytesIO(buffers[frame["preview"]["buffer"]])) as preview:
        np.testing.assert_array_equal(np.asarray(preview), node.record.x0_preview)
    with Image.open(io.BytesIO(buffers[frame["picture"]["buffer"]])) as shown:
        assert frame["picture"]["mime"] == "image/jpeg"
        assert frame["picture"]["size"] == [shown.height, shown.width] == [1024, 512]


def test_the_opening_says_what_belongs_to_the_run(trace: Trace) -> None:
    buffers: list[bytes] = []
    opening = web.run_message(trace, buffers)
    assert (opening["size"], opening["frame"]) == ([256, 256], [256, 256])
    assert opening["crop"] == [0, 0, 256, 256]
    with Image.open(io.BytesIO(buffers[opening["mask"]["buffer"]])) as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, trace.mask)
    main, other = opening["branches"]
    assert (main["name"], main["tip"], main["parent"]) == ("main", 3, None)
    assert (other["name"], other["start"], other["tip"], other["parent"]) == (
        "painta=False",
        3,
        4,
        0,
    )
    assert other["settings"]["painta"] == "False"
    json.dumps(opening, allow_nan=False)


def test_a_trace_without_a_picture_opens() -> None:
    trace = Trace()
    assert web.run_message(trace, [])["branches"] == []
    trace.root(np.zeros((4, 16, 24), np.float32), np.zeros(8, np.uint8))
    opening = web.run_message(trace, [])
    assert (opening["frame"], opening["image"], opening["mask"]) == ([128, 192], None, None)


def test_a_root_makes_no_frame(trace: Trace) -> None:
    with pytest.raises(ValueError, match="root"):
        web.step_message(trace.nodes[0], [])
