"""Masks: tidy ones (rectangles, ellipses) and wild ones (blobs, scribbles), 256 x 256 booleans.

The two families matter: the model is taught that a tidy hole holds what the caption says and that
a wild hole often does not. That is the miniature's source of prompt neglect.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.mini.world.canvas import SIZE
from hdpainter_nb.mini.world.scene import Box, Thing

Mask = NDArray[np.bool_]


def _canvas() -> NDArray[np.uint8]:
    return np.zeros((SIZE, SIZE), np.uint8)


def tidy(
    rng: np.random.Generator,
    box: Box,
    margin: tuple[float, float] = (4, 15),
    square: float = 0.67,
) -> Mask:
    """A rectangle, `square` of the time, or an ellipse around a box of pixels."""
    mask = _canvas()
    left, top, right, bottom = box
    dx, dy = rng.uniform(*margin, 2)
    jx, jy = rng.uniform(-3, 3, 2)
    x, y = (left + right) / 2 + jx, (top + bottom) / 2 + jy
    wide, high = (right - left) / 2 + dx, (bottom - top) / 2 + dy
    if rng.random() < square:
        corners = (round(x - wide), round(y - high)), (round(x + wide), round(y + high))
        cv2.rectangle(mask, *corners, 1, -1)
    else:
        axes = (round(wide * 1.25), round(high * 1.25))
        cv2.ellipse(mask, (round(x), round(y)), axes, rng.uniform(-15, 15), 0, 360, 1, -1)
    return mask > 0


def wild(rng: np.random.Generator, x: float, y: float, radius: float) -> Mask:
    """A free-form hole that covers the disc of `radius` about `(x, y)` and sprawls beyond it."""
    mask = _canvas()
    cv2.circle(mask, (round(x), round(y)), round(radius * 1.05), 1, -1)
    if rng.random() < 0.5:  # a blob with a wobbling rim
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        reach = np.full(90, radius * 1.15)
        for wave in range(2, 7):
            phase, height = rng.uniform(0, 6.3), rng.uniform(0.04, 0.16)
            reach += radius * height * np.sin(wave * angle + phase)
        rim = np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], 1)
        cv2.fillPoly(mask, [rim.round().astype(np.int32)], 1)
    else:  # a scribble to and fro
        tilt, brush = rng.uniform(0, np.pi), int(rng.integers(12, 24))
        along, across = (
            np.array([np.cos(tilt), np.sin(tilt)]),
            np.array([-np.sin(tilt), np.cos(tilt)]),
        )
        rows = np.arange(-1.05, 1.06, brush / radius * 0.9)
        ends = [
            along * radius * (-1) ** k * rng.uniform(0.9, 1.35) + across * radius * row
            for k, row in enumerate(rows.tolist())
        ]
        path = (np.array(ends) + (x, y)).round().astype(np.int32)
        cv2.polylines(mask, [path], False, 1, brush)
    for _ in range(int(rng.integers(0, 3))):  # a slip of the brush
        turn = rng.uniform(0, 2 * np.pi)
        away = np.array([np.cos(turn), np.sin(turn)]) * radius
        start = (round(x + away[0]), round(y + away[1]))
        tip = (round(x + away[0] * 1.45), round(y + away[1] * 1.45))
        cv2.line(mask, start, tip, 1, int(rng.integers(10, 22)))
    return mask > 0


def strokes(rng: np.random.Generator) -> Mask:
    """A few joined brush strokes anywhere in the picture."""
    mask = _canvas()
    here, angle = rng.uniform(20, SIZE - 20, 2), rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 6))):
        angle += rng.uniform(-1.2, 1.2)
        there = here + rng.uniform(20, 60) * np.array([np.cos(angle), np.sin(angle)])
        there = there.clip(8, SIZE - 8)
        ends = tuple(here.round().astype(int).tolist()), tuple(there.round().astype(int).tolist())
        cv2.line(mask, *ends, 1, int(rng.integers(14, 36)))
        here = there
    return mask > 0


def around(x: float, y: float, radius: float) -> Box:
    """The square box about a disc."""
    return round(x - radius), round(y - radius), round(x + radius), round(y + radius)


def clearance(mask: Mask, things: tuple[Thing, ...] | list[Thing]) -> float:
    """Pixels between the hole and the nearest object's disc (negative when it cuts into one)."""
    rows, columns = np.nonzero(mask)
    gaps = [np.hypot(columns - t.x, rows - t.y).min() - t.radius for t in things]
    return float(min(gaps, default=np.inf))
