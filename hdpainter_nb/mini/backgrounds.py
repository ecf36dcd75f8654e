"""Backgrounds of the miniature's world: eight procedural textures and crops of photographs.

Every function takes a numpy generator and returns a float32 picture `(256, 256, 3)`, RGB, 0 to 255.
Colours stay muted, so that the saturated objects stand out and an oracle can tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.resources import data_path

Picture = NDArray[np.float32]
SIZE = 256  # pixels a side
_Y, _X = (axis.astype(np.float32) for axis in np.mgrid[0:SIZE, 0:SIZE])


def _mix(a: NDArray[np.float64], b: NDArray[np.float64], share: NDArray[np.floating]) -> Picture:
    """Per-pixel blend: `share` of `a`, the rest of `b`."""
    return np.asarray(a * share[..., None] + b * (1 - share[..., None]), np.float32)


def _muted(rng: np.random.Generator, low: float = 75, high: float = 190) -> NDArray[np.float64]:
    """A greyish colour, `(3,)`."""
    tint = rng.uniform(-1, 1, 3) * rng.uniform(3, 24)
    return np.clip(rng.uniform(low, high) + tint, 15, 235)


def _pair(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two muted colours that differ clearly in lightness."""
    first = _muted(rng)
    step = rng.uniform(22, 52) * rng.choice([-1, 1]) + rng.uniform(-8, 8, 3)
    return first, np.clip(first + step, 20, 228)


def _cloud(rng: np.random.Generator, cells: tuple[int, int]) -> NDArray[np.float32]:
    """Smooth noise in about 0 to 1, `(256, 256)`, with `cells` bumps down and across."""
    coarse = rng.random(cells).astype(np.float32)
    smooth = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32)


def _sky(rng: np.random.Generator) -> Picture:
    zenith = np.array([rng.uniform(92, 150), rng.uniform(135, 186), rng.uniform(188, 222)])
    horizon = rng.uniform(90, 195)
    haze = 0.3 * zenith + 0.7 * np.array([226.0, 226, 222])
    picture = _mix(haze, zenith, np.clip(_Y / horizon, 0, 1))
    wave, phase = rng.uniform(14, 50), rng.uniform(0, 6.3)
    ridge = horizon + rng.uniform(2, 10) * np.sin(_X / wave + phase)
    grass = np.array([rng.uniform(80, 130), rng.uniform(102, 136), rng.uniform(60, 90)])
    depth = np.clip((_Y - horizon) / (SIZE - horizon), 0, 1)[..., None]
    land = np.clip(_Y - ridge, 0, 1)[..., None]
    return np.asarray(picture * (1 - land) + grass * (1 - 0.35 * depth) * land, np.float32)


def _brick(rng: np.random.Generator) -> Picture:
    height = int(rng.integers(18, 30))
    width = int(height * rng.uniform(1.8, 2.4))
    row = (_Y // height).astype(int)
    shifted = _X + (row % 2) * (width // 2)
    column = (shifted // width).astype(int)
    clay = np.array([rng.uniform(124, 165), rng.uniform(85, 110), rng.uniform(72, 92)])
    base = clay if rng.random() < 0.5 else _muted(rng, 90, 170)
    shade = rng.uniform(-14, 14, (20, 40))[row, column]
    mortar = ((_Y % height) < 2.5) | ((shifted % width) < 2.5)
    return np.asarray(
        np.where(mortar[..., None], _muted(rng, 165, 200), base + shade[..., None]), np.float32
    )


def _stripes(rng: np.random.Generator) -> Picture:
    angle = rng.choice([0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)])
    period = rng.uniform(22, 50)
    wave = np.sin((_X * np.cos(angle) + _Y * np.sin(angle)) * 2 * np.pi / period)
    return _mix(*_pair(rng), np.clip(wave * period / 5 + 0.5, 0, 1))


def _checks(rng: np.random.Generator) -> Picture:
    side = int(rng.integers(20, 44))
    dx, dy = rng.integers(0, side, 2)
    return _mix(*_pair(rng), ((_X + dx) // side + (_Y + dy) // side) % 2)


def _clouds(rng: np.random.Generator) -> Picture:
    cells = int(rng.integers(4, 12))
    return _mix(*_pair(rng), _cloud(rng, (cells, cells)))


def _wood(rng: np.random.Generator) -> Picture:
    bend = _cloud(rng, (3, 6)) * rng.uniform(20, 60)
    grain = np.sin((_Y + bend) * 2 * np.pi / rng.uniform(9, 16)) * 0.5 + 0.5
    tone = np.array([150.0, 112, 76]) * rng.uniform(0.8, 1.2)
    light = (grain * rng.uniform(12, 26))[..., None] * np.array([1, 0.85, 0.65]) - 13
    gap = (_Y % int(rng.integers(50, 90)) < 2)[..., None]
    return np.asarray((tone + light) * np.where(gap, 0.62, 1.0), np.float32)


def _plain(rng: np.random.Generator) -> Picture:
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (_X * np.cos(angle) + _Y * np.sin(angle)) / SIZE + 0.5
    return _mix(*_pair(rng), ramp.clip(0, 1))


def _dots(rng: np.random.Generator) -> Picture:
    period = int(rng.integers(22, 38))
    reach = np.hypot(_X % period - period / 2, _Y % period - period / 2)
    return _mix(*_pair(rng), np.clip(period * rng.uniform(0.2, 0.32) - reach + 0.5, 0, 1))


@cache
def photographs() -> dict[str, NDArray[np.uint8]]:
    """All sample photographs by name, RGB `(H, W, 3)`, in alphabetical order."""
    found: dict[str, NDArray[np.uint8]] = {}
    for path in sorted(data_path("samples").glob("*.jpg")):
        found[path.stem] = np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1].copy()
    return found


def _photo(rng: np.random.Generator) -> Picture:
    """A square crop of a random photograph at a random scale, at times mirrored, soft or muted."""
    pictures = list(photographs().values())
    picture = pictures[int(rng.integers(len(pictures)))]
    height, width = picture.shape[:2]
    side = int(min(height, width) * rng.uniform(0.4, 1))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = picture[top : top + side, left : left + side].astype(np.float32)
    shrink = cv2.INTER_AREA if side > SIZE else cv2.INTER_CUBIC
    crop = np.asarray(cv2.resize(crop, (SIZE, SIZE), interpolation=shrink), np.float32)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.35:
        blurred = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), rng.uniform(0.6, 2.5))
        crop = np.asarray(blurred, np.float32)
    if rng.random() < 0.5:  # mute: fewer saturated colours that compete with the objects
        grey = crop.mean(2, keepdims=True)
        crop = grey + (crop - grey) * rng.uniform(0.35, 0.9)
        crop = 128 + (crop - 128) * rng.uniform(0.7, 1)
    return np.asarray(crop, np.float32)


_MAKERS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "sky": _sky,
    "brick": _brick,
    "stripes": _stripes,
    "checks": _checks,
    "clouds": _clouds,
    "wood": _wood,
    "plain": _plain,
    "dots": _dots,
    "photo": _photo,
}
BACKGROUNDS = tuple(_MAKERS)
_SHARES = np.array([0.1] * 8 + [0.2])  # a fifth of all scenes stand on a photograph


def choose(rng: np.random.Generator) -> str:
    """The name of a random background."""
    return BACKGROUNDS[int(rng.choice(len(BACKGROUNDS), p=_SHARES))]


def paint(rng: np.random.Generator, name: str) -> Picture:
    """A background of the named kind."""
    if name not in _MAKERS:
        raise ValueError(f"background is {name!r}, expected one of {', '.join(BACKGROUNDS)}")
    return np.clip(_MAKERS[name](rng), 0, 255)
