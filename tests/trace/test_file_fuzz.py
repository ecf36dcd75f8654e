"""Trace files with anything changed: refused in one sentence, or of use everywhere.

`FUZZ` in the environment multiplies how many are tried (1: some ten seconds), `FUZZ_SEED` tries
others.
"""

from __future__ import annotations

import base64
import copy
import functools
import json
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import fuzz

FILES = sorted((Path(__file__).parents[1] / "golden" / "traces").glob("*.hdp"))
MUTANTS = 100
MEGABYTES = 500  # that one file may take beside what the process had
SECONDS = 30.0  # with room for a machine that many share
Rng = np.random.Generator


class File:
    """A trace's file in parts: the container's table, its json, its bytes."""

    def __init__(self, path: Path) -> None:
        whole = path.read_bytes()
        length = int.from_bytes(whole[:8], "little")
        self.table: Any = json.loads(whole[8 : 8 + length])
        self.header: Any = json.loads(self.table["__metadata__"]["hdpainter_nb"])
        self.data = bytearray(whole[8 + length :])
        self.hole = 0
        """Bytes that follow and take no room on disk."""

    def names(self) -> list[str]:
        return [name for name in self.table if name != "__metadata__"]

    def array(self, name: str) -> np.ndarray:
        about = self.table[name]
        start, end = about["data_offsets"]
        kinds = {"F32": "f4", "F16": "f2", "F64": "f8", "U8": "u1", "I64": "i8", "BOOL": "?"}
        flat = np.frombuffer(bytes(self.data[start:end]), kinds[about["dtype"]])
        return flat.reshape(about["shape"]).copy()

    def rebuild(self, arrays: dict[str, np.ndarray]) -> None:
        """The table and the bytes of these arrays."""
        kinds = {"float32": "F32", "float16": "F16", "float64": "F64", "uint8": "U8"}
        kinds |= {"int64": "I64", "bool": "BOOL", "int32": "I32", "uint16": "U16", "int8": "I8"}
        self.table, self.data = {"__metadata__": self.table["__metadata__"]}, bytearray()
        for name, array in arrays.items():
            offsets = [len(self.data), len(self.data) + array.nbytes]
            about = {"dtype": kinds[array.dtype.name], "shape": list(array.shape)}
            self.table[name] = {**about, "data_offsets": offsets}
            self.data += array.tobytes()

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: self.array(name) for name in self.names()}

    def write(self, path: Path) -> None:
        table = self.table
        if isinstance(table, dict) and isinstance(table.get("__metadata__"), dict):
            text = self.header if isinstance(self.header, str) else json.dumps(self.header)
            table = {**table, "__metadata__": {**table["__metadata__"], "hdpainter_nb": text}}
        head = table.encode() if isinstance(table, str) else json.dumps(table).encode()
        head += b" " * (-len(head) % 8)
        with path.open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head + self.data)
            file.truncate(file.tell() + self.hole)


# --- values and places ------------------------------------------------------------------------


ODD: list[Any] = [None, True, False, -1, 0, 1, 2, 3, 63, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0]
ODD += [float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, "", "x", "star", "a", "16", "*"]
ODD += ["\ud800", "\udc00x", "\0", "\n", "<script>", "é" * 300, "a" * 100_000, [], {}, [[]], [None]]
ODD += [{"a": 1}, [1, 2, 3], ["x"], [["a", [1]]], {"array": "image"}, {"array": "node.1.after"}]
ODD += [{"slice": [None, None, 0]}, {"slice": []}, [0.5], list(range(1000)), "mean", "watch"]


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inside in pairs:
        found.append((value, key))
        places(inside, found)
    return found


def some(rng: Rng, things: Any) -> Any:
    listed = list(things)
    return listed[int(rng.integers(len(listed)))]


def field(file: File, rng: Rng) -> tuple[Any, Any]:
    """A place in the json; half the time not deep in it, where there are fewer."""
    header = file.header
    if rng.random() < 0.4:
        records = [node["record"] for node in header["nodes"] if "record" in node]
        shallow = [header, some(rng, header["nodes"]), some(rng, header["branches"])]
        shallow += [some(rng, records), some(rng, records), header["tips"]]
        container = some(rng, shallow)
        return container, some(rng, container)
    return some(rng, places(header, []))


# --- what is changed ---------------------------------------------------------------------------


def set_field(file: File, rng: Rng) -> None:
    container, key = field(file, rng)
    container[key] = copy.deepcopy(some(rng, ODD))


def nudge_field(file: File, rng: Rng) -> None:
    numbers = [
        (container, key)
        for container, key in places(file.header, [])
        if isinstance(container[key], int) and not isinstance(container[key], bool)
    ]
    container, key = some(rng, numbers)
    container[key] = container[key] + int(some(rng, [-1, 1, 2, -100, 1000]))


def drop_field(file: File, rng: Rng) -> None:
    container, key = field(file, rng)
    del container[key]


def rename_field(file: File, rng: Rng) -> None:
    pairs = [(c, k) for c, k in places(file.header, []) if isinstance(c, dict)]
    container, key = some(rng, pairs)
    names = ["x", "", "16", "8", "-1", "016", "9999", "\ud800", "id", "kind", "edits", "heads"]
    container[some(rng, [*names, "positions", "holes", "memory", "a.b"])] = container.pop(key)


def swap_fields(file: File, rng: Rng) -> None:
    (a, i), (b, j) = field(file, rng), field(file, rng)
    a[i], b[j] = copy.deepcopy(b[j]), copy.deepcopy(a[i])


def repeat_item(file: File, rng: Rng) -> None:
    lists = [c[k] for c, k in places(file.header, []) if isinstance(c[k], list) and c[k]]
    chosen = some(rng, lists)
    chosen.insert(int(rng.integers(len(chosen) + 1)), copy.deepcopy(some(rng, chosen)))


def shuffle_list(file: File, rng: Rng) -> None:
    lists = [c[k] for c, k in places(file.header, []) if isinstance(c[k], list) and len(c[k]) > 1]
    chosen = some(rng, lists)
    chosen[:] = [chosen[i] for i in rng.permutation(len(chosen))]


def family(file: File, rng: Rng) -> None:
    """Parents, branches, starts and tips that lead elsewhere, in circles among others."""
    header, numbers = file.header, [-1, *range(len(file.header["nodes"]) + 1)]
    match int(rng.integers(6)):
        case 0 | 1:
            some(rng, header["nodes"])["parent"] = some(rng, [None, *numbers])
        case 2:
            some(rng, header["nodes"])["id"] = some(rng, numbers)
        case 3:
            some(rng, header["nodes"])["branch"] = some(rng, numbers)
        case 4:
            some(rng, header["branches"])["start"] = some(rng, numbers)
        case 5:
            header["tips"][some(rng, header["tips"])] = some(rng, numbers)


def circle(file: File, rng: Rng) -> None:
    """Two nodes, each of which is the other's parent."""
    a, b = (some(rng, file.header["nodes"]) for _ in "ab")
    a["parent"], b["parent"] = b["id"], a["id"]


def array_about(file: File, rng: Rng) -> None:
    """The table says something else of an array than there is."""
    about = file.table[some(rng, file.names())]
    match int(rng.integers(5)):
        case 0:
            about["dtype"] = some(rng, ["F16", "F32", "F64", "I64", "BOOL", "F8_E4M3", "", 3, []])
        case 1:
            about["shape"] = some(rng, [[], [2**40], [0], [-1], [2**33, 2**33], "x", [1.5], [True]])
        case 2:
            about["shape"] = [*rng.permutation(about["shape"]).tolist()]
        case 3:
            odd = [0, -8, 2**40, 2**63, 8, None]
            about["data_offsets"][int(rng.integers(2))] = some(rng, odd)
        case _:
            about.pop(some(rng, about))


def array_gone(file: File, rng: Rng) -> None:
    arrays = file.arrays()
    arrays.pop(some(rng, arrays))
    file.rebuild(arrays)


def array_renamed(file: File, rng: Rng) -> None:
    arrays = file.arrays()
    names = ["x", "control", "low", "picture.0", "picture.1", "node.1.x0_unblended"]
    arrays[some(rng, [*names, some(rng, arrays)])] = arrays.pop(some(rng, arrays))
    file.rebuild(arrays)


def array_other(file: File, rng: Rng) -> None:
    """An array of another shape or type, with the bytes that it needs."""
    arrays = file.arrays()
    name = some(rng, arrays)
    array = arrays[name]
    match int(rng.integers(6)):
        case 0:
            array = array[None]
        case 1:
            array = array[..., :-1]
        case 2:
            array = array.astype(some(rng, ["f2", "f4", "f8", "u1", "i8", "?", "i4", "u2", "i1"]))
        case 3:
            array = np.repeat(array, 3, axis=0) if array.ndim else array
        case 4:
            array = array.swapaxes(0, -1) if array.ndim else array
        case _:
            array = array[:0] if array.ndim else array
    arrays[name] = array
    file.rebuild(arrays)


def array_values(file: File, rng: Rng) -> None:
    """Numbers that no run makes."""
    arrays = file.arrays()
    names = [name for name in arrays if rng.random() < 0.1 or ".grad." not in name]
    for name in rng.choice(names, min(len(names), int(rng.integers(1, 40))), replace=False):
        array = arrays[name]
        if not array.size:
            continue
        where = rng.random(array.shape) < some(rng, [0.01, 0.5, 1.0])
        if array.dtype.kind == "f":
            odd = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, 0.0, -1.0, 1e-40]
            with np.errstate(all="ignore"):
                array[where] = some(rng, odd)
        elif array.dtype.kind == "b":
            array[where] = some(rng, [True, False])
        else:
            array[where] = some(rng, [0, 255, 7]) if array.dtype.kind == "u" else -1
        arrays[name] = array
    file.rebuild(arrays)


def bytes_of_data(file: File, rng: Rng) -> None:
    about = file.table[some(rng, [n for n in file.names() if file.table[n]["dtype"] != "BOOL"])]
    start, end = about["data_offsets"] if rng.random() < 0.8 else (0, len(file.data))
    for at in rng.integers(start, max(end, start + 1), size=int(some(rng, [1, 10, 1000]))):
        file.data[at] = int(rng.integers(256))


def table_odd(file: File, rng: Rng) -> None:
    match int(rng.integers(6)):
        case 0:
            file.table["__metadata__"] = copy.deepcopy(some(rng, ODD))
        case 1:
            file.table["__metadata__"]["more"] = copy.deepcopy(some(rng, ODD))
        case 2:
            file.table[some(rng, file.names())] = copy.deepcopy(some(rng, ODD))
        case 3:
            file.table = some(rng, ["", "[]", "{", "null", "{}", '{"a":1', "[1,2]", "NaN"])
        case 4:
            file.header = some(rng, ["", "[]", "{", "null", "{}", '{"a":1', "[1,2]", "NaN", "1"])
        case _:
            file.header["version"] = copy.deepcopy(some(rng, ODD))


def deep(file: File, rng: Rng) -> None:
    depth = int(some(rng, [70, 500, 5000, 100_000, 1_000_000]))
    opening, closing = some(rng, [("[", "]"), ('{"a":', "}")])
    nested = opening * depth + some(rng, ["", "1", '"']) + closing * depth * int(rng.integers(2))
    match int(rng.integers(3)):
        case 0:
            file.table = nested
        case 1:
            file.header = nested
        case _:
            text = json.dumps(file.header)
            at = text.index('"model"') + len('"model": ')
            file.header = text[:at] + nested + ", " + text[at:]


def wide(file: File, rng: Rng) -> None:
    """Millions of small values."""
    item = some(rng, ["[],", "{},", '{"a":1},', '"",', "1e5,", "[[1]],"])
    many = f"[{item * int(some(rng, [1000, 100_000, 1_500_000]))}0]"
    if rng.random() < 0.5:
        file.table = f'{{"__metadata__":{many}}}'
    else:
        file.header = f'{{"version": 1, "tokens": {many}}}'


@functools.cache
def zeros(size: int) -> bytes:
    """So many zeros, compressed."""
    packer, block = zlib.compressobj(9), bytes(2**24)
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.compress(bytes(size % len(block))), packer.flush()])


def edit_bomb(file: File, rng: Rng) -> None:
    """An edit whose array is compressed and large, or lies."""
    size = int(some(rng, [0, 16, 4096, 2**26, 2**28]))
    data = some(rng, [zeros(size), zeros(size)[:-3], b"x", zeros(size) + b"more"])
    side = int(size**0.5)
    shapes = [[side, side], [side // 2, side // 2], [2**31, 2**31], [size], [-4, -4], [0, 0], []]
    array = {
        "array": some(rng, [base64.b64encode(data).decode()] * 4 + ["ä", 5, "===", ""]),
        "dtype": some(rng, ["|b1", "<f4", ">f4", "<f8", "O", "|V99", "S9999999", 4, None]),
        "shape": some(rng, shapes[:2] * 3 + shapes),
    }
    arguments = some(rng, [{"to": array}, {"value": array}, {"word": "star", "by": array}])
    names = {"to": "MoveMask", "value": "SetC", "word": "ReplaceWord"}
    name = names[next(iter(arguments))]
    edit = {"text": "an edit", "name": name, "arguments": arguments}
    some(rng, file.header["branches"])["edits"] = [edit] * int(some(rng, [1, 1, 3, 50]))


def edit_odd(file: File, rng: Rng) -> None:
    edits = [edit for branch in file.header["branches"] for edit in branch.get("edits", ())]
    if not edits:
        return set_field(file, rng)
    container, key = some(rng, places(some(rng, edits), []))
    container[key] = copy.deepcopy(some(rng, ODD))
    return None


def hollow(file: File, rng: Rng) -> None:
    """A file of gigabytes, of which nearly nothing is on disk."""
    name = some(rng, file.names())
    factor = int(some(rng, [2**20, 2**30, 100 * 2**30]))
    if rng.random() < 0.7:
        about = file.table[name] = dict(file.table[name])
        start, end = about["data_offsets"]
        times = max(1, factor // max(1, end - start))
        file.hole = times * (end - start)
        about["shape"] = [times, *about["shape"]]
        about["data_offsets"] = [len(file.data), len(file.data) + file.hole]
    else:
        file.hole = factor


FIELDS: list[tuple[float, Callable[[File, Rng], None]]] = [
    (0.16, set_field),
    (0.08, nudge_field),
    (0.06, drop_field),
    (0.05, rename_field),
    (0.04, swap_fields),
    (0.05, repeat_item),
    (0.04, shuffle_list),
    (0.06, family),
    (0.03, circle),
    (0.06, array_about),
    (0.03, array_gone),
    (0.03, array_renamed),
    (0.07, array_other),
    (0.12, array_values),
    (0.08, bytes_of_data),
    (0.03, table_odd),
    (0.01, deep),
    (0.01, wide),
    (0.03, edit_bomb),
    (0.04, edit_odd),
    (0.02, hollow),
]


def damage_bytes(path: Path, rng: Rng) -> None:
    """Bytes changed, cut, doubled or removed; mostly in the header."""
    whole = bytearray(path.read_bytes())
    length = int.from_bytes(whole[:8], "little")
    for _ in range(int(rng.integers(1, 5))):
        end = len(whole) if rng.random() < 0.2 else min(len(whole), 8 + length)
        at = int(rng.integers(max(1, end)))
        match int(rng.integers(7)):
            case 0 | 1:
                whole[at : at + 1] = rng.bytes(1)
            case 2:
                whole[at : at + 1] = some(
                    rng, [b"[", b"]", b"{", b"}", b'"', b",", b"0", b"9", b"\\"]
                )
            case 3:
                del whole[at:]
            case 4:
                whole[at:at] = whole[at : at + int(rng.integers(200))]
            case 5:
                del whole[at : at + int(rng.integers(20))]
            case _:
                whole[:8] = int(some(rng, [0, 2, 2**20, 2**40, 2**63, length + 1])).to_bytes(
                    8, "little"
                )
    path.write_bytes(whole)


def make_mutant(path: Path, rng: Rng) -> str:
    """Write a changed trace; gives what was done."""
    file = File(some(rng, FILES))
    if rng.random() < 0.12:
        file.write(path)
        damage_bytes(path, rng)
        return "damage_bytes"
    shares = np.array([share for share, _ in FIELDS])
    done = []
    for _ in range(int(some(rng, [1, 1, 1, 2, 3]))):
        change = FIELDS[int(rng.choice(len(FIELDS), p=shares / shares.sum()))][1]
        try:
            change(file, rng)
        except (TypeError, KeyError, IndexError, ValueError, AttributeError):
            break  # what it wanted to change is no longer there
        done.append(change.__name__)
    file.write(path)
    return ", ".join(done)


# --- using one ----------------------------------------------------------------------------------


def use(trace: Any, folder: Path, rng: Rng) -> None:
    """Everything that a person may do with a trace."""
    for action in (show, look_up, ask, rank, draw, functools.partial(keep, folder=folder)):
        action(trace, rng=rng)


def show(trace: Any, rng: Rng) -> None:
    assert repr(trace).isprintable()
    for text in (trace._repr_html_(), repr(trace)):
        text.encode()
    assert len(trace) == len(list(trace))
    assert trace.nbytes >= trace.nbytes_on_disk
    for number, branch in trace.branches.items():
        assert trace.records(number) == [n.record for n in trace.path(number) if n.record]
        trace.picture(number)
        for edit in branch.edits:
            assert repr(edit)
            assert edit == edit
    for node in trace.nodes.values():
        if node.record is not None:
            assert repr(node.record)
            assert node.record._repr_html_()
            assert repr(node.record.cross)


def steps(trace: Any, rng: Rng) -> list[Any]:
    """Some records, of any branch."""
    records = [node.record for node in trace.nodes.values() if node.record is not None]
    return [records[i] for i in rng.permutation(len(records))[:3]]


def meant(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gives; None where the library says by its own words that there is nothing."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        if fuzz.is_meant(error, of_mine=True):
            return None
        raise


def look_up(trace: Any, rng: Rng) -> None:
    for record in steps(trace, rng):
        cross = record.cross
        for key in [*(w.text for w in cross.words[:6]), 0, 1, len(cross.tokens) - 1]:
            meant(cross.__getitem__, key)
            for level in cross.levels:
                found = meant(cross.map, key, level=level)
                assert found is None or found.ndim == 2
                for layer in cross.layers(level):
                    meant(cross.map, key, layer=layer)
                    meant(cross.map, key, level=level, layer=layer, head=1)
        for maps in (record.c, record.similarity, record.similarity_painta, record.score_maps):
            for level in maps:
                maps[level]


def ask(trace: Any, rng: Rng) -> None:
    for number in trace.branches:
        attention = meant(trace.ask, branch=number) or meant(trace.ask, 1, number)
        if attention is None:
            continue
        repr(attention)
        for level in attention.levels:
            meant(attention.row, 9, 9, level=level)
            meant(attention.row, 9, 9, level=level, head=1, painta=False)
            for layer in meant(attention.layers, level) or ():
                meant(attention.row, 30, 40, layer=layer)
                meant(attention.word, 1, layer=layer)
        meant(attention.word, "star")
        meant(lambda attention=attention: attention.cross)


def rank(trace: Any, rng: Rng) -> None:
    words = [word.text for word in trace.words[:3]]
    for branch in list(trace.branches)[:2]:
        for word in [*words, 2]:
            ranking = meant(trace.screen, word, branch)
            if ranking is None:
                continue
            repr(ranking), ranking._repr_html_(), ranking.to_numpy(), ranking.to_dicts()
            for names in (("step",), ("level",), ("layer",), ("layer", "head")):
                means = meant(ranking.per, *names)
                if means is not None:
                    means.map(means.top(1)[0])
            ranking.record(ranking.map(ranking.sort("iou")[0]) is None or ranking[0])


def draw(trace: Any, rng: Rng) -> None:
    from hdpainter_nb import views

    records = trace.records() if trace.branches else []
    extras = {"mask": trace.mask, "crop": trace.crop}
    for record in steps(trace, rng)[:1]:
        meant(views.heatmaps, record, trace.image, level=int(some(rng, [8, 16, 32])), **extras)
        level = int(some(rng, [16, 32]))
        meant(views.c_map, record, level, **extras)
        meant(views.similarity, record, level, picture=trace.image, **extras)
        meant(views.gradient_histogram, record)
    kind = some(rng, ["c", "similarity", "similarity_painta", "difference"])
    meant(views.layer_maps, records, kind, 16, **extras)
    meant(views.filmstrip, records, count=3, words=["star"], **extras)
    if rng.random() < 0.25 and records:
        for plot in (views.curves, views.gradient_steps):
            figure = meant(plot, records)
            assert figure is None or figure._repr_png_()
        ranking = meant(trace.screen, "star")
        if ranking is not None:
            meant(views.needles, ranking, 3)
        figure = meant(views.gradient_histogram, records[-1])
        assert figure is None or figure._repr_png_()


def keep(trace: Any, rng: Rng, folder: Path) -> None:
    from hdpainter_nb import Trace
    from hdpainter_nb.trace.file import pack_tree

    trace.to_html(folder / "page.html", maps=bool(rng.random() < 0.7))
    again = Trace.load(trace.save(folder / "again.hdp"))
    assert repr(again).split(";")[:-1] == repr(trace).split(";")[:-1]
    (arrays, header), (same, told) = pack_tree(trace), pack_tree(again)
    assert arrays.keys() == same.keys()
    assert json.dumps(header) == json.dumps(told)


def attempt(path: Path, folder: Path, rng: Rng) -> str:
    """Load a mutant and use it; gives what came of it."""
    from hdpainter_nb import Trace
    from hdpainter_nb.errors import TraceError

    try:
        trace = Trace.load(path, budget=some(rng, ["1 GB", None, 0, "20 kB"]))
    except TraceError as refusal:
        text = str(refusal)
        assert fuzz.is_a_sentence(text), f"no sentence: {text}"
        assert str(path) in text
        return "refused"
    try:
        use(trace, folder, rng)
    except Exception as error:
        error.add_note("IN USE")
        raise
    return "used"


def try_mutants(seed: int, count: int, first: int = 0) -> dict[str, Any]:
    """Make, load and use `count` mutants; what came of them."""
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=RuntimeWarning, module=r"hdpainter_nb(\..*)?$")
    outcomes: Counter[str] = Counter()
    wrong, most, slowest = [], (0.0, ""), 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        attempt(FILES[0], folder, np.random.default_rng(0))  # imports what there is to import
        for number in range(first, first + count):
            rng = np.random.default_rng([seed, number])
            path = folder / f"{number}.hdp"
            what = f"seed {seed}, number {number}: {make_mutant(path, rng)}"
            outcome = fuzz.watched(functools.partial(attempt, path, folder, rng), SECONDS)
            path.unlink()
            if outcome.error is not None:
                later = "IN USE" in getattr(outcome.error, "__notes__", ())
                outcomes["broke later" if later else "raw"] += 1
                wrong.append(f"{what}: {outcome.where}")
            else:
                outcomes[outcome.result] += 1
            if outcome.megabytes > MEGABYTES or outcome.seconds > SECONDS:
                wrong.append(f"{what}: {outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB")
            most = max(most, (outcome.megabytes, what))
            slowest = max(slowest, outcome.seconds)
    return {"outcomes": outcomes, "wrong": wrong, "most": most, "seconds": slowest}


@pytest.mark.skipif(not fuzz.CAN_MEASURE, reason="memory is measured as Linux counts it")
def test_every_file_is_refused_in_one_sentence_or_of_use_everywhere(tmp_path: Path) -> None:
    count = int(MUTANTS * fuzz.AMOUNT)
    report = fuzz.in_a_process(__file__, count, tmp_path)
    print(report["outcomes"], report["most"], f"{report['seconds']:.1f} s at most")
    assert not report["wrong"], "\n".join(report["wrong"][:10])
    assert min(report["outcomes"]["used"], report["outcomes"]["refused"]) > count / 10


if __name__ == "__main__":
    report = try_mutants(int(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[4:]))
    Path(sys.argv[3]).write_text(json.dumps(report))
