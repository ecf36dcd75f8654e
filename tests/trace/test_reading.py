"""What a trace's file may not say: each kind of damage by name, refused in one sentence."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpainter_nb import Trace
from hdpainter_nb.edits import codec
from hdpainter_nb.errors import TraceError
from hdpainter_nb.images import read
from hdpainter_nb.trace import array_file, reading
from hdpainter_nb.trace.array_file import write_arrays
from hdpainter_nb.trace.file import pack_tree
from hdpainter_nb.utils.bounded import inflate, parse_json

FOLDER = Path(__file__).parents[1] / "golden" / "traces"
Arrays = dict[str, np.ndarray]
Change = Callable[[Any, Arrays], Any]


def changed(name: str, path: Path, change: Change) -> Path:
    arrays, header = pack_tree(Trace.load(FOLDER / f"{name}.hdp"))
    header = json.loads(json.dumps(header))
    change(header, arrays)
    write_arrays(path, arrays, {"hdpainter_nb": json.dumps(header)})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TraceError) as raised:
        Trace.load(path)
    text = str(raised.value)
    assert text.startswith(f"{path} cannot be read as a trace: ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


def record(header: Any, node: int = 2) -> Any:
    return header["nodes"][node]["record"]


def bomb(megabytes: int) -> dict[str, Any]:
    data = zlib.compress(bytes(megabytes * 2**20))
    shape = [megabytes * 1024, 1024]
    return {"array": base64.b64encode(data).decode(), "dtype": "|b1", "shape": shape}


def moved(array: dict[str, Any]) -> list[Any]:
    return [{"text": "MoveMask", "name": "MoveMask", "arguments": {"to": array}}]


def renamed(arrays: Arrays, old: str, new: str) -> None:
    arrays[new] = arrays.pop(old)


STAR = "up_blocks.2.attentions.0.transformer_blocks.0"
DAMAGE: list[tuple[str, str, Change]] = [
    ("two", "there are two nodes 1", lambda h, _: h["nodes"][2].update(id=1)),
    ("circle", "is no node before it", lambda h, _: h["nodes"][1].update(parent=3)),
    ("own parent", "is no node before it", lambda h, _: h["nodes"][2].update(parent=2)),
    ("second root", "a parent and a record", lambda h, _: h["nodes"][2].update(parent=None)),
    ("no record", "a parent and a record", lambda h, _: h["nodes"][2].pop("record")),
    ("leap", "cannot follow", lambda h, _: record(h).update(index=5)),
    ("branch", "lies on branch 7", lambda h, _: h["nodes"][2].update(branch=7)),
    ("tip", "leads to node 99", lambda h, _: h["tips"].update({"0": 99})),
    ("tips", "one for each branch", lambda h, _: h["tips"].pop("0")),
    ("start", "does not lead from its start", lambda h, _: h["branches"][1].update(start=3)),
    ("branch ids", "has the id", lambda h, _: h["branches"][1].update(id=0)),
    ("family", "'parent' of number 1", lambda h, _: h["branches"][1].update(parent=1)),
    ("bool", "not True", lambda h, _: h["nodes"][1].update(id=True)),
    ("text", "must be a string, not 3", lambda h, _: h["branches"][0].update(name=3)),
    ("list", "'words' of the trace must be a list", lambda h, _: h.update(words="abc")),
    ("word", "from 0 to 4, not 9", lambda h, _: h["words"].append(["x", [9]])),
    ("empty word", "has no token", lambda h, _: h["words"].append(["x", []])),
    ("infinite", "must be finite", lambda h, _: record(h)["grad"].update(std=float("nan"))),
    ("digits", "too large a number", lambda h, _: record(h).update(sigma=10**400)),
    ("setting", "There is no setting 'stesp'", lambda h, _: record(h)["settings"].update(stesp=3)),
    ("prompt", "must be a string", lambda h, _: record(h)["settings"].update(negative_prompt=5)),
    ("kind", "a kind that is not known", lambda h, _: record(h)["settings"].update(kind=[])),
    ("kinds", "several kinds", lambda h, _: record(h).update(settings={"kind": "watch"})),
    ("crop", "does not lie within", lambda h, _: h.update(crop=[0, 1, 64, 64])),
    ("level", "has the level '016'", lambda h, _: record(h)["cross"].update({"016": []})),
    ("coarse", "cannot be at H/128", lambda h, _: record(h)["cross"].update({"128": ["mean"]})),
    ("missing", "no array 'node.2.c.16.x'", lambda h, _: record(h)["c"]["16"].append("x")),
    ("layer", "a layer twice", lambda h, _: record(h)["c"]["16"].append(STAR)),
    ("version", "'version' of the trace", lambda h, _: h.update(version="1")),
    ("factor", "must be finite", lambda h, _: ours(h, "ScaleHead").update(factor=float("inf"))),
    ("argument", "takes no 'x'", lambda h, _: ours(h, "ScaleHead").update(x=1)),
    ("argument gone", "has no 'head'", lambda h, _: ours(h, "ScaleHead").pop("head")),
    ("slice", "a slice of three", lambda h, _: ours(h, "SetC").update(steps={"slice": [1, 2, 0]})),
    ("half", "one of 'cond'", lambda h, _: ours(h, "ScaleHead").update(half="all")),
    ("latents", "has the shape (4, 8, 7)", lambda _, a: shape(a, "node.2.after", (4, 8, 7))),
    ("preview", "not (8, 8, 3)", lambda _, a: shape(a, "node.2.x0_preview", (8, 9, 3))),
    ("maps", "not (5, 4, 4)", lambda _, a: shape(a, "node.2.cross.16.mean", (5, 4, 5))),
    ("gone", "no array 'node.2.rng'", lambda _, a: a.pop("node.2.rng")),
    (
        "type",
        "than it must be, int8",
        lambda _, a: a.update(mask=a["mask"].astype("i1")),
    ),
    ("edges", "a histogram", lambda _, a: a["node.2.grad.edges"].fill(np.nan)),
    ("counts", "a histogram", lambda _, a: a["node.2.grad.hist"].fill(-1)),
    ("bins", "different numbers of bins", lambda _, a: bins(a)),
]


def ours(header: Any, name: str) -> Any:
    edits = [edit for branch in header["branches"] for edit in branch.get("edits", ())]
    return next(edit["arguments"] for edit in edits if edit["name"] == name)


def shape(arrays: Arrays, name: str, new: tuple[int, ...]) -> None:
    arrays[name] = np.zeros(new, arrays[name].dtype)


def bins(arrays: Arrays) -> None:
    shape(arrays, "node.2.grad.standard_hist", (11,))
    arrays["node.2.grad.standard_edges"] = np.arange(12.0)


@pytest.mark.parametrize(
    ("sentence", "change"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE]
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, sentence: str, change: Change
) -> None:
    assert sentence in refusal(changed("masks", tmp_path / "a.hdp", change))


def test_queries_and_kept_tokens_go_together(tmp_path: Path) -> None:
    layer = "node.2.self_qk.up_blocks.2.attentions.0.transformer_blocks.0"
    for sentence, change in (
        ("not (2, 16, 16)", lambda _, a: shape(a, f"{layer}.k", (2, 15, 16))),
        ("more heads than were kept", lambda h, _: record(h).update(heads=[1])),
        ("must ascend", lambda h, _: record(h).update(positions=[3, 3])),
        ("has the shape", lambda h, _: record(h).update(positions=[2, 3])),
        ("which is not its own", lambda h, _: record(h)["memory"].update(x={"array": "image"})),
        ("fewer keys", lambda h, _: record(h).update(tokens=["x"] * 78, words=[])),
    ):
        assert sentence in refusal(changed("detail", tmp_path / "a.hdp", change))


def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    path = changed(
        "masks", tmp_path / "a.hdp", lambda h, _: h["branches"][0].update(name="a\ud800b")
    )
    assert Trace.load(path).branches[0].name == "a\ufffdb"


# --- sizes ---------------------------------------------------------------------------------------


def test_a_compressed_edit_is_no_larger_than_it_says_and_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited(edits: list[Any]) -> Path:
        file = tmp_path / "a.hdp"
        return changed("masks", file, lambda h, _: h["branches"][1].update(edits=edits))

    path = edited(moved({**bomb(8), "shape": [64, 64]}))
    assert "are not the 4096 that they are said to be" in refusal(path)
    monkeypatch.setattr(codec, "ARRAY_LIMIT", 12 * 2**20)
    path = edited([*moved(bomb(8)), *moved(bomb(8))])
    assert "hdpainter_nb.edits.codec.ARRAY_LIMIT" in refusal(path)
    monkeypatch.setattr(codec, "ARRAY_LIMIT", 17 * 2**20)
    assert len(Trace.load(path).branches[1].edits) == 2


def test_inflating_ends_where_it_must() -> None:
    data = zlib.compress(b"12345")
    assert inflate(data, 5) == b"12345"
    for wrong, size in ((data, 4), (data, 6), (data[:-1], 5), (data + b"x", 5), (b"x", 1)):
        with pytest.raises(ValueError, match="its compressed bytes are"):
            inflate(wrong, size)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5, "[" * 65 + "]" * 65, '"' + "[" * 10**6]
)
def test_deep_json_is_refused_before_the_stack_ends(text: str) -> None:
    with pytest.raises(ValueError, match="its JSON is"):
        parse_json(text.encode(), 2**22)


def test_json_within_bounds_is_read() -> None:
    value = {"a": [1, '[[[[{\\"', {"b\\": None}], "c": "[" * 100}
    assert parse_json(json.dumps(value).encode(), 130) == value
    assert parse_json(b"[" * 64 + b"]" * 64, 64)
    with pytest.raises(ValueError, match="more than 11"):
        parse_json(b"[1,2,3,4,5,6,7,8,9,10,11,12]", 11)
    with pytest.raises(ValueError, match="damaged"):
        parse_json('"ü"'.encode(), 9)


def test_limits_are_named_and_may_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hdp"
    path.write_bytes((FOLDER / "masks.hdp").read_bytes())
    for module, name in (
        (array_file, "HEADER_LIMIT"),
        (array_file, "ARRAY_LIMIT"),
        (reading, "PATHS_LIMIT"),
        (read, "LARGEST"),
    ):
        with monkeypatch.context() as changes:
            changes.setattr(module, name, 1000 if name != "PATHS_LIMIT" else 3)
            assert f"{module.__name__}.{name}" in refusal(path)
    Trace.load(path)


def test_a_header_too_long_to_be_read_is_told_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_file, "HEADER_LIMIT", 1000)
    with pytest.warns(UserWarning, match=r"array_file.HEADER_LIMIT"):
        write_arrays(tmp_path / "a", {}, {"x": "y" * 1000})


def test_a_hollow_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.hdp"
    for about in ({"dtype": "U8", "shape": [100 * 2**30], "data_offsets": [0, 100 * 2**30]}, None):
        head = json.dumps({} if about is None else {"image": about}).encode()
        with path.open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            file.truncate(8 + len(head) + 100 * 2**30)
        assert "bytes" in refusal(path)


@pytest.mark.parametrize(
    ("offsets", "sentence"),
    [([0, 4], "is truncated"), ([4, 8], "does not begin where"), ([8, 0], "cannot be bytes")],
)
def test_arrays_fill_the_file_without_gaps(
    tmp_path: Path, offsets: list[int], sentence: str
) -> None:
    head = json.dumps({"x": {"dtype": "U8", "shape": [4], "data_offsets": offsets}}).encode()
    path = tmp_path / "a.hdp"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(3))
    assert sentence in refusal(path)


def test_values_of_masks_are_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "a.hdp"
    whole = bytearray((FOLDER / "masks.hdp").read_bytes())
    length = int.from_bytes(whole[:8], "little")
    start = json.loads(whole[8 : 8 + length])["mask"]["data_offsets"][0]
    whole[8 + length + start] = 66
    path.write_bytes(whole)
    assert "neither true nor false" in refusal(path)


def test_a_name_that_no_file_can_have_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="File name too long"):
        Trace.load(tmp_path / ("a" * 5000))


def test_large_files_are_mapped_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_file, "_SEGMENT", 5000)
    trace = Trace.load(FOLDER / "masks.hdp", budget=0)
    for name, array in pack_tree(Trace.load(FOLDER / "masks.hdp"))[0].items():
        np.testing.assert_array_equal(pack_tree(trace)[0][name], array)
    assert trace.nbytes_on_disk == trace.nbytes
