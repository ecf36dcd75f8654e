"""A trace from its file: everything is checked against everything else before an array is read.

A file may come from anywhere. What opens can be used everywhere: its steps form a tree, its maps
have the sizes that its latents say, every number, word and name is of its kind. Values of arrays
are taken as they are, not finite ones too, save where they must be in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import SCORE_LEVEL
from hdpainter_nb.edits.codec import array_allowance, unpack_edits
from hdpainter_nb.errors import TraceError
from hdpainter_nb.images import read
from hdpainter_nb.select import Word
from hdpainter_nb.settings import BaseSettings, Settings
from hdpainter_nb.trace import array_file
from hdpainter_nb.trace.array_file import ArrayFile
from hdpainter_nb.trace.file import FORMAT_VERSION, GIVEN, HEADER, HISTOGRAMS, SETTINGS_KINDS
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys
from hdpainter_nb.trace.record import MAP_FIELDS, GradStats, Record
from hdpainter_nb.trace.tree import Branch, Node, Pictures, Tree
from hdpainter_nb.utils.bounded import parse_json
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.fields import FieldError, Fields, text_of
from hdpainter_nb.utils.messages import because

__all__ = ["PATHS_LIMIT", "read_tree"]

PATHS_LIMIT = 1_000_000
"""Steps of all branches together, shared ones counted for each. May be set to another number."""

_LAST = 2**31  # of nodes, tokens, heads: more than there ever are
_LAYER = re.compile(r"[\x20-\x7e]{1,300}")
_LEVEL = re.compile(r"[1-9]\d{0,3}")
Shape = tuple[int | None, ...]


def read_tree(path: Path, tree: Tree) -> None:
    """Fill an empty tree from a file; its store says how much may lie in main memory.

    Raises:
        TraceError: no such file, truncated, not a trace, or made by a newer version.
    """
    try:
        if not path.is_file():
            raise TraceError(f"There is no trace file at {path}.")
        file = ArrayFile(path)
        if HEADER not in file.metadata:
            raise TraceError(f"{path} is a safetensors file, but not a trace of this tool.")
        text = file.metadata.pop(HEADER).encode()
        header = Fields(parse_json(text, array_file.HEADER_LIMIT // 8), "the trace")
        version = header.whole("version", 1, _LAST)
        if version != FORMAT_VERSION:
            raise TraceError(
                f"{path} has trace format {version}, this version reads {FORMAT_VERSION}: "
                "update hdpainter-nb."
            )
        _fill(tree, header, file)
    except TraceError:
        raise
    except MemoryError as error:
        raise TraceError(
            f"{path} does not fit into memory: load it with a smaller budget."
        ) from error
    except (OSError, ValueError) as error:
        raise TraceError(f"{path} cannot be read as a trace: {because(error)}.") from error


class _Arrays:
    """Arrays by name, given out as what they must be.

    Attributes:
        taken: the names that were asked for.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self.taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(self, name: str, kinds: str, *shapes: Shape) -> NDArray[Any]:
        """An array.

        Args:
            name: in the file.
            kinds: of its type: ``f`` float, ``i`` int, ``u`` uint8, ``b`` bool.
            shapes: one of them it must have; None is any length from 1.

        Raises:
            FieldError: it is missing or something else.
        """
        array = self.arrays.get(name)
        if array is None:
            raise FieldError(f"there is no array {shown(name)}")
        if array.dtype.kind not in kinds or (array.dtype.kind == "u" and array.itemsize > 1):
            raise FieldError(
                f"the array {name!r} is of another type than it must be, {array.dtype}"
            )
        if shapes and not any(_fits(array.shape, shape) for shape in shapes):
            wanted = " or ".join(_readable(shape) for shape in shapes)
            raise FieldError(f"the array {name!r} has the shape {array.shape}, not {wanted}")
        self.taken.add(name)
        return array


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        length == want if want is not None else length > 0
        for length, want in zip(shape, wanted, strict=True)
    )


def _readable(shape: Shape) -> str:
    return f"({', '.join('any' if length is None else str(length) for length in shape)})"


# --- the tree ------------------------------------------------------------------------------------


def _fill(tree: Tree, header: Fields, file: ArrayFile) -> None:
    """Everything into an empty tree; the arrays come last, once all else is known to be right."""
    tree.tokens = header.texts("tokens")
    tree.words = _words(header, len(tree.tokens))
    tree.model = header.text("model")
    branches = _branches(header)
    settings = {type(branch.settings) for branch in branches.values()}
    nodes = [*header.parts("nodes")]
    stand_ins = _Arrays(
        {
            name: np.broadcast_to(np.zeros((), place.dtype), place.shape)
            for name, place in file.places.items()
        }
    )
    outline = Tree()
    outline.branches = branches
    _put(outline, nodes, stand_ins)
    outline.tips = _tips(header, outline)
    for node in outline.nodes.values():
        if node.record is not None:
            settings.add(type(node.record.settings))
        if node.branch not in branches and (node.branch != -1 or node.parent is not None):
            raise FieldError(f"node {node.id} lies on branch {node.branch}, which there is not")
    if len(settings) > 1:
        raise FieldError("its steps and branches have settings of several kinds")
    grads = [node.record.grad for node in outline.nodes.values() if node.record is not None]
    if len({len(grad.standard_hist) for grad in grads if grad is not None}) > 1:
        raise FieldError("the histograms of its gradients have different numbers of bins")
    tree.crop = _crop(header, outline)

    arrays = _Arrays(file.read(stand_ins.taken, tree.store))
    tree.branches, tree.tips = branches, outline.tips
    _put(tree, nodes, arrays)
    for node in tree.nodes.values():
        if node.record is not None and node.record.grad is not None:
            _check_histograms(node.record.grad, f"node {node.id}")


def _put(tree: Tree, nodes: Iterable[Fields], arrays: _Arrays) -> None:
    """Nodes, pictures and what was given, with these arrays."""
    for name in GIVEN:
        setattr(tree, name, _given(name, arrays) if name in arrays else None)
    soft = tree.mask_levels
    if soft is not None and (tree.mask is None or tree.mask.shape != soft.shape):
        raise FieldError("its soft mask is not of the size of its mask")
    for entry in nodes:
        tree.keep(_node(tree, entry, arrays))
    names = {number: f"picture.{number}" for number in tree.nodes}
    pictures = {n: _picture(name, arrays) for n, name in names.items() if name in arrays}
    tree.pictures = Pictures(tree.store, pictures)


def _given(name: str, arrays: _Arrays) -> NDArray[Any]:
    if name == "mask":
        return _within_limit(name, arrays.take(name, "b", (None, None)))
    if name == "mask_levels":
        return _within_limit(name, arrays.take(name, "u", (None, None)))
    kinds = "uf" if name == "control" else "u"
    return _within_limit(name, arrays.take(name, kinds, (None, None, 3)))


def _picture(name: str, arrays: _Arrays) -> NDArray[Any]:
    return _within_limit(name, arrays.take(name, "u", (None, None, 3)))


def _within_limit(name: str, picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    if height * width > read.LARGEST:
        raise FieldError(
            f"{name!r} has {height * width} pixels, more than {read.LARGEST} "
            f"(raise {read.__name__}.LARGEST if you trust it)"
        )
    return picture


def _branches(header: Fields) -> dict[int, Branch]:
    """Numbered from 0, each after its parent."""
    branches: dict[int, Branch] = {}
    room = array_allowance()
    for number, entry in enumerate(header.parts("branches")):
        edits = entry.items("edits") if "edits" in entry.values else []
        if entry.whole("id", 0, _LAST) != number:
            raise FieldError(f"{entry.where} has the id {entry.raw('id')}")
        branches[number] = Branch(
            id=number,
            name=entry.text("name"),
            prompt=entry.text("prompt"),
            settings=_settings(entry.part("settings")),
            parent=None if entry.raw("parent") is None else entry.whole("parent", 0, number - 1),
            start=entry.whole("start", 0, _LAST),
            edits=unpack_edits(edits, room),
        )
    return branches


def _tips(header: Fields, tree: Tree) -> dict[int, int]:
    """Branch -> its newest node, to which its start must lead."""
    tips = header.part("tips")
    if tips.values.keys() != {str(number) for number in tree.branches}:
        raise FieldError("the tips must be one for each branch")
    ends = {number: tips.whole(str(number), 0, _LAST) for number in tree.branches}
    for number, branch in tree.branches.items():
        for place in (branch.start, ends[number]):
            if place not in tree.nodes:
                raise FieldError(f"branch {number} leads to node {place}, which there is not")
    total = sum(tree.nodes[end].index + 1 for end in ends.values())
    if total > PATHS_LIMIT:
        raise FieldError(
            f"its branches have {total} steps, more than {PATHS_LIMIT} "
            f"(raise {__name__}.PATHS_LIMIT if you trust it)"
        )
    for number, branch in tree.branches.items():
        node = tree.nodes[ends[number]]
        while node.id != branch.start:
            if node.parent is None:
                raise FieldError(f"branch {number} does not lead from its start to its tip")
            node = tree.nodes[node.parent]
    return ends


def _crop(header: Fields, tree: Tree) -> tuple[int, int, int, int] | None:
    """Top, left, height and width, which lie within the padded picture of every root."""
    if not header.has("crop"):
        return None
    values = header.wholes("crop", 0, _LAST)
    if len(values) != 4:
        raise FieldError("its crop must be top, left, height and width")
    top, left, height, width = values
    for node in tree.nodes.values():
        rows, columns = (tree.factor * n for n in node.latents.shape[-2:])
        if not (0 < height <= rows - top and 0 < width <= columns - left):
            raise FieldError(f"its crop {values} does not lie within {rows} x {columns} pixels")
    return top, left, height, width


def _words(fields: Fields, tokens: int) -> tuple[Word, ...]:
    """The words of a prompt and the positions of their tokens."""
    words = []
    for pair in fields.items("words"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise FieldError(f"a word of {fields.where} must be a text and positions")
        word = Fields({"text": pair[0], "positions": pair[1]}, f"a word of {fields.where}")
        positions = word.wholes("positions", 0, tokens - 1)
        if not positions:
            raise FieldError(f"{word.where} has no token")
        words.append(Word(word.text("text"), positions))
    return tuple(words)


def _settings(fields: Fields) -> BaseSettings:
    """Settings of the kind that is named; files of earlier versions mean what they meant.

    Raises:
        FieldError, SettingsError: they are of a kind, or have a name or value, that is not known.
    """
    values = dict(fields.values)
    kind: type[BaseSettings] = Settings
    if "kind" in values:
        name = values.pop("kind")
        if not isinstance(name, str) or name not in SETTINGS_KINDS:
            raise FieldError(f"{fields.where} are of a kind that is not known, {shown(name)}")
        kind = SETTINGS_KINDS[name]
    texts: dict[str, bool] = _texts(kind)  # type: ignore[arg-type]  # a class can be hashed
    for name, optional in texts.items():
        if name in values and not (optional and values[name] is None):
            values[name] = fields.text(name)
    return kind.of_earlier_run(values)


@cache
def _texts(kind: type[BaseSettings]) -> dict[str, bool]:
    """The settings that are any text, and whether each may be None."""
    hints = get_type_hints(kind).items()
    return {name: hint != str for name, hint in hints if hint in (str, str | None)}  # noqa: E721


# --- a node and its record ------------------------------------------------------------------------


def _node(tree: Tree, entry: Fields, arrays: _Arrays) -> Node:
    """A node whose parent is in the tree already: so no nodes form a cycle."""
    number = entry.whole("id", 0, _LAST)
    if number in tree.nodes:
        raise FieldError(f"there are two nodes {number}")
    parent = entry.optional_whole("parent", 0, _LAST)
    if parent is not None and parent not in tree.nodes:
        raise FieldError(f"the parent of node {number}, {parent}, is no node before it")
    above = None if parent is None else tree.nodes[parent]
    shape: Shape = (None, None, None) if above is None else above.latents.shape
    prefix = f"node.{number}"
    latents = arrays.take(f"{prefix}.after", "f", shape)
    pixels = latents.shape[-2] * latents.shape[-1] * tree.factor**2
    if pixels > 2 * read.LARGEST:  # with padding
        raise FieldError(f"node {number} has latents of {pixels} pixels, more than a picture has")
    record = None
    if entry.has("record"):
        record = _Reader(entry.part("record"), prefix, arrays, latents.shape).record()
    if (record is None) != (above is None):
        raise FieldError(f"node {number} must have a parent and a record, or neither")
    if record is not None and above is not None and record.index != above.index:
        raise FieldError(f"step {record.index} cannot follow {above.index} steps at node {number}")
    return Node(
        id=number,
        parent=parent,
        branch=entry.whole("branch", -1, _LAST),
        latents=latents,
        rng=arrays.take(f"{prefix}.rng", "u"),
        record=record,
    )


class _Reader:
    """Reads the record of a step.

    Args:
        fields: its json.
        prefix: of the names of its arrays.
        arrays: of the file.
        shape: (channels, h, w) of its latents.
    """

    def __init__(
        self, fields: Fields, prefix: str, arrays: _Arrays, shape: tuple[int, ...]
    ) -> None:
        self.fields, self.prefix, self.arrays, self.shape = fields, prefix, arrays, shape
        fields.where = f"the record of {prefix}"
        self.settings = _settings(fields.part("settings"))
        self.frame = tuple(self.settings.factor * n for n in shape[-2:])
        self.tokens = fields.texts("tokens")
        last = len(self.tokens) - 1 if self.tokens else _LAST
        self.positions = fields.ascending("positions", last) if fields.has("positions") else None
        self.heads = fields.ascending("heads", _LAST) if fields.has("heads") else None
        kept = self.tokens if self.positions is None else self.positions
        self.count = len(kept) if kept or self.positions is not None else None
        """Of the tokens that have maps; None: not known."""

    def record(self) -> Record:
        """The record.

        Raises:
            FieldError, SettingsError: something is missing or does not go with the rest.
        """
        fields, shape = self.fields, self.shape
        has_score, unblended = fields.raw("score") is not None, self._has("x0_unblended")
        cross = CrossMaps(
            maps=self._stacks("cross"),
            words=_words(fields, len(self.tokens)),
            tokens=self.tokens,
            positions=self.positions,
            heads=self.heads,
            keys=fields.whole("text_length", 1, _LAST) if fields.has("text_length") else None,
        )
        return Record(
            index=fields.whole("index", 0, _LAST),
            timestep=fields.whole("timestep", -_LAST, _LAST),
            latents=self._take("latents", "f", shape),
            x0_latents=self._take("x0_latents", "f", shape),
            x0_preview=self._take("x0_preview", "u", (*shape[-2:], 3)),
            cross=cross,
            **{name: self._maps(name) for name in MAP_FIELDS},
            scores=self._scores(),
            score=fields.number("score") if has_score else None,
            grad=self._grad() if fields.has("grad") else None,
            sigma=fields.number("sigma"),
            alpha=fields.number("alpha"),
            guided_norm=fields.number("guided_norm"),
            seconds=fields.number("seconds"),
            settings=self.settings,
            x0_unblended=self._take("x0_unblended", "f", shape) if unblended else None,
            object_mask=self._object_mask(),
            memory=self._memory() if fields.has("memory") else {},
            score_maps=self._stacks("score_maps") if fields.has("score_maps") else LevelMaps({}),
            self_qk=self._queries("self_qk"),
            cross_qk=self._queries("cross_qk"),
            holes=self._holes() if fields.has("holes") else {},
        )

    def _object_mask(self) -> NDArray[Any] | None:
        return self._take("object_mask", "f", self.shape[-2:]) if self._has("object_mask") else None

    def _has(self, name: str) -> bool:
        return f"{self.prefix}.{name}" in self.arrays

    def _take(self, name: str, kinds: str, *shapes: Shape) -> NDArray[Any]:
        return self.arrays.take(f"{self.prefix}.{name}", kinds, *shapes)

    def _cells(self, level: int, name: str) -> tuple[int, int]:
        """(h, w) at a level."""
        height, width = self.frame[0] // level, self.frame[1] // level
        if not height or not width:
            raise FieldError(f"{name} of {self.prefix} cannot be at H/{level} of {self.frame}")
        return height, width

    def _levels(self, name: str) -> dict[int, tuple[str, ...]]:
        """Names of layers by level."""
        part, levels = self.fields.part(name), {}
        for level in part.values:
            if not _LEVEL.fullmatch(level):
                raise FieldError(f"{part.where} has the level {shown(level)}")
            layers = part.items(level)
            if len({_layer(layer, part.where) for layer in layers}) < len(layers):
                raise FieldError(f"{part.name_of(level)} has a layer twice")
            levels[int(level)] = tuple(layers)
        return levels

    def _maps(self, name: str) -> LevelMaps:
        """Maps (h, w)."""
        return LevelMaps(
            {
                level: {
                    layer: self._take(f"{name}.{level}.{layer}", "f", self._cells(level, name))
                    for layer in layers
                }
                for level, layers in self._levels(name).items()
            }
        )

    def _stacks(self, name: str) -> LevelMaps:
        """Maps ([heads,] tokens, h, w)."""
        levels: dict[int, dict[str, NDArray[Any]]] = {}
        for level, layers in self._levels(name).items():
            cells = self._cells(level, name)
            for layer in layers:
                stack = self._take(
                    f"{name}.{level}.{layer}",
                    "f",
                    (self.count, *cells),
                    (None, self.count, *cells),
                )
                self.count = stack.shape[-3]
                if stack.ndim == 4:
                    self._check_heads(len(stack), layer)
                levels.setdefault(level, {})[layer] = stack
        return LevelMaps(levels)

    def _scores(self) -> NDArray[Any] | None:
        """(tokens, h, w), or None."""
        if not self._has("scores"):
            return None
        return self._take("scores", "f", (self.count, *self._cells(SCORE_LEVEL, "scores")))

    def _queries(self, kind: str) -> QueryKeys:
        """Pairs of (heads, hw, d) and (heads, n, d)."""
        pairs: dict[int, dict[str, tuple[NDArray[Any], NDArray[Any]]]] = {}
        if self.fields.has(kind):
            part = self.fields.part(kind)
            for layer in part.values:
                level = part.whole(_layer(layer, part.where), 1, 9999)
                height, width = self._cells(level, kind)
                name = f"{kind}.{layer}"
                q = self._take(f"{name}.q", "f", (None, height * width, None))
                heads, cells, width = q.shape
                keys = cells if kind == "self_qk" else None
                k = self._take(f"{name}.k", "f", (heads, keys, width))
                if keys is None and k.shape[1] < len(self.tokens):
                    raise FieldError(f"{self.prefix}.{name}.k has fewer keys than there are tokens")
                self._check_heads(heads, layer)
                pairs.setdefault(level, {})[layer] = q, k
        return QueryKeys(pairs, heads=self.heads)

    def _check_heads(self, count: int, layer: str) -> None:
        if self.heads is not None and count > len(self.heads):
            raise FieldError(f"{layer} of {self.prefix} has more heads than were kept")

    def _holes(self) -> dict[int, NDArray[np.bool_]]:
        """Level -> (h, w)."""
        return {
            level: self._take(f"holes.{level}", "b", self._cells(level, "holes"))
            for level in self.fields.ascending("holes", 9999)
            if level
        }

    def _grad(self) -> GradStats:
        part = self.fields.part("grad")
        moments = ("mean", "std", "skewness", "kurtosis")
        values: dict[str, Any] = {name: part.number(name, finite=True) for name in moments}
        for counts, edges in zip(HISTOGRAMS[::2], HISTOGRAMS[1::2], strict=True):
            values[counts] = self._take(f"grad.{counts}", "i", (None,))
            values[edges] = self._take(f"grad.{edges}", "f", (len(values[counts]) + 1,))
        return GradStats(**values)

    def _memory(self) -> dict[str, Any]:
        """A scheduler's: numbers, texts, arrays, and lists of them."""
        part, prefix = self.fields.part("memory"), f"{self.prefix}.memory."

        def unpacked(value: Any, where: str) -> Any:
            if isinstance(value, list):
                return tuple(unpacked(item, where) for item in value)
            if isinstance(value, Mapping):
                name = Fields(value, where).text("array")
                if not name.startswith(prefix):
                    raise FieldError(f"{where} names the array {shown(name)}, which is not its own")
                return self.arrays.take(name, "fiub")
            return text_of(value, lambda: where) if isinstance(value, str) else value

        return {name: unpacked(value, part.name_of(name)) for name, value in part.values.items()}


def _layer(name: Any, where: str) -> str:
    """A layer's name, which goes into names of arrays."""
    if not isinstance(name, str) or not _LAYER.fullmatch(name):
        raise FieldError(f"{where} has the layer {shown(name)}")
    return name


def _check_histograms(grad: GradStats, where: str) -> None:
    """Raise `FieldError` where counts are negative or edges are not finite, or do not ascend."""
    for counts, edges in ((grad.hist, grad.edges), (grad.standard_hist, grad.standard_edges)):
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(edges).all() and (np.diff(edges) >= 0).all()
        if not sound or counts.min() < 0 or counts.max() > 2**48:
            raise FieldError(f"a histogram of the gradient at {where} is none")
