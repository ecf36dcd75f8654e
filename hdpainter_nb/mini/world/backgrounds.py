"""Backgrounds of the miniature's world: eight procedural textures and crops of photographs.

Every function takes a numpy generator and a canvas, and returns a float32 picture, RGB, 0 to 255,
`(size, size, 3)`: 256 pixels a side, or a multiple of that with details. Colours stay muted, so
that the saturated objects stand out and an oracle can tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.mini.world.canvas import SIZE, Canvas, Plane, canvas, enlarge
from hdpainter_nb.utils.files import data_path

__all__ = ["BACKGROUNDS", "Picture", "choose", "paint", "photographs"]

Picture = NDArray[np.float32]


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


def _cloud(rng: np.random.Generator, cells: tuple[int, int], on: Canvas) -> Plane:
    """Smooth noise in about 0 to 1, `(size, size)`, with `cells` bumps down and across."""
    return enlarge(rng.random(cells).astype(np.float32), on.size)


def _lighter(picture: Picture, by: Plane) -> Picture:
    """Add the same to all three channels."""
    return np.asarray(picture + by[..., None], np.float32)


def _sky(rng: np.random.Generator, on: Canvas) -> Picture:
    zenith = np.array([rng.uniform(92, 150), rng.uniform(135, 186), rng.uniform(188, 222)])
    horizon = rng.uniform(90, 195)
    haze = 0.3 * zenith + 0.7 * np.array([226.0, 226, 222])
    picture = _mix(haze, zenith, np.clip(on.y / horizon, 0, 1))
    wave, phase = rng.uniform(14, 50), rng.uniform(0, 6.3)
    ridge = horizon + rng.uniform(2, 10) * np.sin(on.x / wave + phase)
    grass = np.array([rng.uniform(80, 130), rng.uniform(102, 136), rng.uniform(60, 90)])
    depth = np.clip((on.y - horizon) / (SIZE - horizon), 0, 1)[..., None]
    land = np.clip(on.edge(on.y - ridge), 0, 1)[..., None]
    blades = 6 * on.noise(14, 3) + 3 * on.noise(5, 5)
    below = _lighter(np.asarray(grass * (1 - 0.35 * depth), np.float32), blades)
    return np.asarray(picture * (1 - land) + below * land, np.float32)


def _brick(rng: np.random.Generator, on: Canvas) -> Picture:
    height = int(rng.integers(18, 30))
    width = int(height * rng.uniform(1.8, 2.4))
    row = (on.top // height).astype(int)
    shifted = on.left + (row % 2) * (width // 2)
    column = (shifted // width).astype(int)
    clay = np.array([rng.uniform(124, 165), rng.uniform(85, 110), rng.uniform(72, 92)])
    base = clay if rng.random() < 0.5 else _muted(rng, 90, 170)
    shade = rng.uniform(-14, 14, (20, 40))[row, column]
    down, across = on.top % height, shifted % width
    mortar = (down < 3) | (across < 3)
    brick = base + shade[..., None]
    joint = _muted(rng, 165, 200)
    if on.fine is not None:
        lit = (down < 3.5) | (across < 3.5)  # the upper and left rims catch the light
        dark = (down > height - 0.5) | (across > width - 0.5)
        pores = 30 * on.pores(6, 1.5)
        brick = (
            brick
            + (2 * on.noise(3, 3) - pores + pores.mean() + 16.0 * lit - 16.0 * dark)[..., None]
        )
        joint = joint + (4 * on.noise(3, 3))[..., None]
    return np.asarray(np.where(mortar[..., None], joint, brick), np.float32)


def _stripes(rng: np.random.Generator, on: Canvas) -> Picture:
    angle = rng.choice([0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)])
    period = rng.uniform(22, 50)
    along = on.x * np.cos(angle) + on.y * np.sin(angle)
    wave = np.sin(along * 2 * np.pi / period)
    picture = _mix(*_pair(rng), np.clip(wave * period * on.scale / 5 + 0.5, 0, 1))
    return _lighter(picture, _weave(on)) if on.fine is not None else picture


def _weave(on: Canvas) -> Plane:
    """Threads over and under each other, a few pixels wide."""
    assert on.fine is not None
    pitch = on.fine.uniform(6, 10) / on.scale * np.float32(1)
    thread = np.sin(on.x * (2 * np.pi / pitch)) * np.sin(on.y * (2 * np.pi / pitch))
    return np.asarray(on.fine.uniform(3, 6) * thread + 1.5 * on.noise(3, 12), np.float32)


def _checks(rng: np.random.Generator, on: Canvas) -> Picture:
    side = int(rng.integers(20, 44))
    dx, dy = rng.integers(0, side, 2)
    picture = _mix(*_pair(rng), ((on.left + dx) // side + (on.top + dy) // side) % 2)
    if on.fine is None:
        return picture
    across, down = (on.left + dx) % side, (on.top + dy) % side
    groove = (across < 0.5) | (down < 0.5)  # tiles, with a thin groove between them
    return _lighter(picture, 2.5 * on.noise(4, 4) - 10 * on.pores(7, 1.7) - np.float32(24) * groove)


def _clouds(rng: np.random.Generator, on: Canvas) -> Picture:
    cells = int(rng.integers(4, 12))
    picture = _mix(*_pair(rng), _cloud(rng, (cells, cells), on))
    if on.fine is None:
        return picture
    return _lighter(picture, 4 * on.noise(9, 9) + 2 * on.noise(4, 4))  # stucco


def _wood(rng: np.random.Generator, on: Canvas) -> Picture:
    bend = _cloud(rng, (3, 6), on) * rng.uniform(20, 60)
    grain = np.sin((on.y + bend) * 2 * np.pi / rng.uniform(9, 16)) * 0.5 + 0.5
    tone = np.array([150.0, 112, 76]) * rng.uniform(0.8, 1.2)
    light = (grain * rng.uniform(12, 26))[..., None] * np.array([1, 0.85, 0.65]) - 13
    gap = (on.top % int(rng.integers(50, 90)) < 2)[..., None]
    wood = tone + light
    if on.fine is not None:
        pores = np.clip((on.noise(3, 34) - 1.5) * 3, 0, 1)
        fibres = 3.5 * on.noise(4, 90) - 24 * (pores - pores.mean())
        wood = wood + fibres[..., None] * np.array([1, 0.85, 0.65])
    return np.asarray(wood * np.where(gap, 0.62, 1.0), np.float32)


def _plain(rng: np.random.Generator, on: Canvas) -> Picture:
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (on.x * np.cos(angle) + on.y * np.sin(angle)) / SIZE + 0.5
    picture = _mix(*_pair(rng), ramp.clip(0, 1))
    if on.fine is None:
        return picture
    return _lighter(picture, 2 * on.noise(3, 16) + 2 * on.noise(16, 3))  # paper


def _dots(rng: np.random.Generator, on: Canvas) -> Picture:
    period = int(rng.integers(22, 38))
    reach = np.hypot(on.x % period - period / 2, on.y % period - period / 2)
    picture = _mix(
        *_pair(rng), np.clip(on.edge(period * rng.uniform(0.2, 0.32) - reach + 0.5), 0, 1)
    )
    return _lighter(picture, _weave(on)) if on.fine is not None else picture


@cache
def photographs() -> dict[str, NDArray[np.uint8]]:
    """All sample photographs by name, RGB `(H, W, 3)`, in alphabetical order."""
    found: dict[str, NDArray[np.uint8]] = {}
    for path in sorted(data_path("samples").glob("*.jpg")):
        found[path.stem] = np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1].copy()
    return found


def _photo(rng: np.random.Generator, on: Canvas) -> Picture:
    """A square crop of a random photograph at a random scale, at times mirrored, soft or muted."""
    pictures = list(photographs().values())
    picture = pictures[int(rng.integers(len(pictures)))]
    height, width = picture.shape[:2]
    side = int(min(height, width) * rng.uniform(0.4, 1))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = picture[top : top + side, left : left + side].astype(np.float32)
    shrink = cv2.INTER_AREA if side > on.size else cv2.INTER_CUBIC
    crop = np.asarray(cv2.resize(crop, (on.size, on.size), interpolation=shrink), np.float32)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.35:
        sigma = rng.uniform(0.6, 2.5) * on.scale
        blurred = cv2.GaussianBlur(np.ascontiguousarray(crop), (0, 0), sigma)
        crop = np.asarray(blurred, np.float32)
    if rng.random() < 0.5:  # mute: fewer saturated colours that compete with the objects
        grey = crop.mean(2, keepdims=True)
        crop = grey + (crop - grey) * rng.uniform(0.35, 0.9)
        crop = 128 + (crop - 128) * rng.uniform(0.7, 1)
    return np.asarray(crop, np.float32)


_MAKERS: dict[str, Callable[[np.random.Generator, Canvas], Picture]] = {
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


def paint(rng: np.random.Generator, name: str, on: Canvas | None = None) -> Picture:
    """A background of the named kind, `(size, size, 3)`; on a canvas of 256 pixels unless given."""
    if name not in _MAKERS:
        raise ValueError(f"background is {name!r}, expected one of {', '.join(BACKGROUNDS)}")
    return np.clip(_MAKERS[name](rng, canvas() if on is None else on), 0, 255)
