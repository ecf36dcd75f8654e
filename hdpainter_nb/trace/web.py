"""A trace as a browser reads it, step by step: json that names small byte maps.

One form for two uses: widgets get it in messages while a run goes on, and a saved page holds all of
it. Every map is kept as bytes between its own lowest and highest value, so a word's heatmap at
32 x 32 takes 1 kB; colours, opacity, sums of words and the choice of a step are the browser's.

`run_message` is what belongs to the run, `step_message` what belongs to one step. Both give json
values that name buffers by their number; the caller's list of buffers grows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import SCORE_LEVEL
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps
from hdpainter_nb.trace.record import PLAIN_FIELDS, GradStats, Record
from hdpainter_nb.trace.titles import branch_title
from hdpainter_nb.trace.tree import Branch, Node, Tree
from hdpainter_nb.utils.wording import said

__all__ = ["FILM_VERSION", "branches", "encode_image", "encode_map", "run_message", "step_message"]

FILM_VERSION = 1
_LONGEST = 1024  # pixels: larger originals travel scaled down
_HUGE = 1e35  # near the end of float32, with room for 255 times as much
Buffers = list[bytes]
Json = dict[str, Any]


def run_message(trace: Tree, buffers: Buffers) -> Json:
    """The run itself: its picture, mask, size and branches.

    Keys: version, model, size (H, W of the given picture), frame (H, W of the padded picture that
    the maps cover) and crop (top, left, height, width of the picture inside it), image and mask
    (images; null without a picture), branches.
    """
    message: Json = {"version": FILM_VERSION, "model": trace.model, "branches": branches(trace)}
    root = next((node for node in trace.nodes.values() if node.record is None), None)
    height, width = (0, 0) if root is None else (trace.factor * n for n in root.latents.shape[-2:])
    message |= {"frame": [height, width], "crop": [0, 0, height, width], "size": [height, width]}
    message |= {"image": None, "mask": None}
    if trace.crop is not None:
        message["crop"] = list(trace.crop)
    if trace.image is not None and trace.mask is not None:
        message["size"] = list(trace.mask.shape)
        message["image"] = encode_image(trace.image, buffers)
        message["mask"] = encode_image(trace.mask.astype(np.uint8) * 255, buffers, lossless=True)
    return message


def branches(trace: Tree) -> list[Json]:
    """The lines of steps: id, name, title, prompt, method, parent, start and tip (nodes), settings.

    ``settings`` are those that differ from the defaults, ``said`` has all of them in words.
    """
    return [_branch(trace, branch) for branch in trace.branches.values()]


def step_message(
    node: Node,
    buffers: Buffers,
    *,
    maps: bool = True,
    picture: NDArray[np.uint8] | None = None,
) -> Json:
    """One step: node, parent, branch, the record's numbers, words, tokens, gradient, maps.

    ``even_share`` is what every token would get of a position's attention if all got alike.

    Args:
        node: any but a root.
        buffers: grows by the step's maps and pictures.
        maps: with them and the preview; without, the numbers alone.
        picture: (H, W, 3), the decoded x0 prediction where there is one.
    """
    record = node.record
    if record is None:
        raise ValueError("A root has no record, so it makes no frame.")
    message: Json = {name: _number(getattr(record, name)) for name in PLAIN_FIELDS}
    message |= {
        "node": node.id,
        "parent": node.parent,
        "branch": node.branch,
        "method": record.settings.method,
        "words": [[word.text, list(word.tokens)] for word in record.cross.words],
        "tokens": list(record.cross.tokens),
        "even_share": _number(record.cross.even_share),
        "grad": None if record.grad is None else _gradient(record.grad),
        "preview": encode_image(record.x0_preview, buffers, lossless=True) if maps else None,
        "picture": encode_image(picture, buffers) if picture is not None else None,
        "maps": _maps(record, buffers) if maps else [],
    }
    return message


def encode_image(array: NDArray[np.uint8], buffers: Buffers, *, lossless: bool = False) -> Json:
    """A picture (H, W, 3), or a mask (H, W), as an encoded file in `buffers`."""
    from PIL import Image

    image = Image.fromarray(array)
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    file = io.BytesIO()
    if lossless:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=90)
    buffers.append(file.getvalue())
    kind = "png" if lossless else "jpeg"
    return {"buffer": len(buffers) - 1, "mime": f"image/{kind}", "size": list(image.size[::-1])}


def encode_map(array: NDArray[Any], buffers: Buffers) -> Json:
    """Maps (..., h, w) as bytes; ``value = low + byte / 255 * (high - low)``, map by map.

    What is not finite becomes the lowest value.
    """
    flat = np.asarray(array, np.float32).reshape(-1, *array.shape[-2:])
    finite = np.isfinite(flat)
    if (np.abs(flat) > _HUGE).any(where=finite):  # whose differences overflow
        flat = flat.astype(np.float64)
    low = np.where(finite, flat, np.inf).min((1, 2))
    high = np.where(finite, flat, -np.inf).max((1, 2))
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    span = np.where(high > low, high - low, 1.0)[:, None, None]
    values = np.where(finite, flat, low[:, None, None]) - low[:, None, None]
    buffers.append(np.round(255 * values / span).astype(np.uint8).tobytes())
    return {
        "shape": list(array.shape),
        "low": [_number(v) for v in low],
        "high": [_number(v) for v in high],
        "buffer": len(buffers) - 1,
    }


def _branch(trace: Tree, branch: Branch) -> Json:
    return {
        "id": branch.id,
        "name": branch.name,
        "title": branch_title(trace, branch),
        "prompt": branch.prompt,
        "method": branch.settings.method,
        "parent": branch.parent,
        "start": branch.start,
        "tip": trace.tips[branch.id],
        "settings": {n: repr(value) for n, value in branch.settings.changed().items()},
        "said": {n: said(n, value) for n, value in branch.settings.to_dict().items()},
        "edits": [str(edit) for edit in branch.edits],
    }


def _maps(record: Record, buffers: Buffers) -> list[Json]:
    named: Mapping[str, Any] = {
        "cross": _whole(record.cross),  # ([heads,] tokens, h, w)
        "c": record.c,  # (h, w)
        "similarity": record.similarity,  # (h, w)
        "similarity_painta": record.similarity_painta,  # (h, w)
    }
    maps = [
        {"kind": kind, "level": level, "layer": layer, **encode_map(array, buffers)}
        for kind, levels in named.items()
        for level, layers in levels.layers.items()
        for layer, array in layers.items()
    ]
    if record.scores is not None:
        scores = encode_map(record.cross.spread(record.scores), buffers)  # (tokens, h, w)
        maps.append({"kind": "scores", "level": SCORE_LEVEL, "layer": "mean", **scores})
    if record.object_mask is not None:
        drawn = encode_map(record.object_mask, buffers)  # (h, w)
        maps.append({"kind": "object", "level": record.settings.factor, "layer": "mean", **drawn})
    return maps


def _whole(cross: CrossMaps) -> LevelMaps:
    """The maps over all tokens, as a browser counts them; zeros for tokens that were not kept."""
    return LevelMaps(
        {
            level: {name: cross.spread(array) for name, array in named.items()}
            for level, named in cross.maps.layers.items()
        }
    )


def _gradient(grad: GradStats) -> Json:
    numbers: Json = {
        name: _number(getattr(grad, name)) for name in ("mean", "std", "skewness", "kurtosis")
    }
    for name in ("hist", "standard_hist"):
        numbers[name] = getattr(grad, name).tolist()
    for name in ("edges", "standard_edges"):
        numbers[name] = [_number(value) for value in getattr(grad, name)[[0, -1]]]
    return numbers


def _number(value: Any) -> Any:
    """A json number; None for what json does not know."""
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return float(f"{number:.6g}") if np.isfinite(number) else None
