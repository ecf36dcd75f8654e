"""How concentrated maps are, and how well they agree with a mask. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.maps import Float

__all__ = ["AGREEMENT", "agreement", "at_level", "concentration"]

AGREEMENT = ("inside", "iou", "auc", "pointing")


def concentration(maps: Float) -> Float:
    """1 - H / log(hw), H the entropy of a map as a distribution over its positions.

    Args:
        maps: (n, hw), not negative.

    Returns:
        (n,), 0 for an even or empty map, 1 for a single position.
    """
    total = maps.sum(1, keepdims=True, dtype=np.float64)
    p = maps / np.where(total > 0, total, 1.0)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
    even = 1 - entropy / np.log(max(maps.shape[1], 2))
    found: Float = np.where(total[:, 0] > 0, even, 0.0)
    return found


def agreement(maps: Float, mask: NDArray[np.bool_] | None) -> dict[str, Float]:
    """How well maps tell masked positions from known ones, whatever their scale.

    Positions of one value stand or fall together: a threshold lies between values, the area under
    the curve counts a tie as half, and of several peaks each counts its part.

    Args:
        maps: (n, hw).
        mask: (hw,); None, or all of one kind, gives NaN.

    Returns:
        ``inside``, ``iou``, ``auc`` and ``pointing``, each (n,); as in `screen.Row`.
    """
    count, size = maps.shape
    masked = 0 if mask is None else int(mask.sum())
    if mask is None or not 0 < masked < size:
        return {name: np.full(count, np.nan) for name in AGREEMENT}
    order = np.argsort(-maps, axis=1, kind="stable")
    values = np.take_along_axis(maps, order, 1)
    ends = np.ones((count, size), np.bool_)  # where a run of equal values ends
    ends[:, :-1] = values[:, :-1] != values[:, 1:]
    places = np.where(ends, np.arange(size), size)
    end = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]  # of each position's own run
    hits = np.take_along_axis(mask[order].cumsum(1), end, 1)  # masked among the highest
    misses = end + 1 - hits
    true = np.pad(hits / masked, ((0, 0), (1, 0)))
    false = np.pad(misses / (size - masked), ((0, 0), (1, 0)))
    total = maps.sum(1, dtype=np.float64)
    return {
        "inside": maps[:, mask].sum(1, dtype=np.float64) / np.where(total > 0, total, np.nan),
        "iou": (hits / (masked + misses)).max(1),
        "auc": (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2).sum(1),
        "pointing": hits[:, 0] / (end[:, 0] + 1),
    }


def at_level(
    mask: NDArray[np.bool_] | None,
    crop: tuple[int, int, int, int] | None,
    frame: tuple[int, int],
    level: int,
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_]]:
    """The mask at a level, by area, and which positions are the picture's and not padding."""
    top, left, height, width = crop or (0, 0, *frame)
    part = (slice(top, top + height), slice(left, left + width))
    whole = np.zeros(frame, np.bool_)
    whole[part] = True
    valid = _by_area(whole, level)
    if mask is None:
        return None, valid
    rows = (np.arange(height) * mask.shape[0]) // height
    columns = (np.arange(width) * mask.shape[1]) // width
    whole[part] = mask[rows][:, columns]
    return _by_area(whole, level), valid


def _by_area(mask: NDArray[np.bool_], level: int) -> NDArray[np.bool_]:
    """(H, W) -> (H/level, W/level): True where more than half of the pixels are."""
    height, width = (n // level for n in mask.shape)
    cells = mask[: height * level, : width * level].reshape(height, level, width, level)
    return cells.mean((1, 3)) > 0.5
