"""The procedural world: coloured shapes on textured backgrounds, 256 x 256 pixels.

A scene is a background with one to four objects on it; an object is a shape of one of eight
colours, shaded, outlined and casting a soft shadow. The same scene can be had at four times the
resolution, with details (`scale`); places and lengths stay in units of the 256. Needs numpy and
OpenCV only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.mini.world import backgrounds
from hdpainter_nb.mini.world.backgrounds import Picture
from hdpainter_nb.mini.world.canvas import SIZE, Canvas, canvas, enlarge
from hdpainter_nb.utils.check import between, one_of, shown
from hdpainter_nb.utils.checked import checked

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom outside
PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 44),
    "orange": (244, 138, 28),
    "yellow": (246, 222, 50),
    "green": (50, 168, 72),
    "blue": (44, 92, 222),
    "purple": (136, 58, 192),
    "pink": (246, 128, 190),
    "white": (246, 246, 246),
}
COLORS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond")
RADII = (24.0, 46.0)  # units: pixels at scale 1
_FINE = 3  # supersampling of the outlines


@checked
@dataclass(frozen=True)
class Thing:
    """One object: its words, its centre and radius in units, its tilt in radians."""

    color: str
    shape: str
    x: float
    y: float
    radius: float
    tilt: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    @property
    def box(self) -> Box:
        """The bounding box in units, clipped to the picture."""
        corners = _outline(self.shape) @ _turn(self.tilt) * self.radius
        low = np.floor(corners.min(0) + (self.x, self.y)).clip(0, SIZE)
        high = np.ceil(corners.max(0) + (self.x, self.y)).clip(0, SIZE)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


@checked
@dataclass(frozen=True)
class Scene:
    """A picture `(256 * scale, 256 * scale, 3)` uint8 RGB, its objects, its background's name."""

    image: Image
    objects: tuple[Thing, ...]
    background: str


def _outline(shape: str) -> NDArray[np.float64]:
    """The shape's outer polygon about the origin, radius near 1, `(corners, 2)`, y downwards."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    if shape in ("circle", "ring"):
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    if shape == "square":
        return np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85
    if shape == "triangle":
        return np.array([[0, -1.0], [0.96, 0.76], [-0.96, 0.76]])
    if shape == "diamond":
        return np.array([[0, -1.06], [0.68, 0], [0, 1.06], [-0.68, 0]])
    if shape == "star":
        point = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 1.08, 0.46)
        return np.stack([reach * np.cos(point), reach * np.sin(point)], 1)
    if shape == "cross":
        arm = [(-0.36, -0.36), (-0.36, -1.0), (0.36, -1.0)]
        return np.concatenate([np.array(arm) @ _turn(k * np.pi / 2) for k in range(4)])
    if shape == "heart":
        x = 16 * np.sin(angle) ** 3
        y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
        return np.stack([x, -y], 1) / 16.5 - (0, 0.1)
    raise ValueError(f"shape is {shape!r}, expected one of {', '.join(SHAPES)}")


def _turn(tilt: float) -> NDArray[np.float64]:
    """A rotation for row vectors, `(2, 2)`."""
    c, s = np.cos(tilt), np.sin(tilt)
    return np.array([[c, s], [-s, c]])


def _coverage(thing: Thing, half: int, scale: int) -> NDArray[np.uint8]:
    """The shape's raster, `(2 * half * 3,) * 2`, 255 inside, centred; `half` in pixels."""
    raster = np.zeros((2 * half * _FINE,) * 2, np.uint8)
    for share, value in ((1.0, 255), (0.52 if thing.shape == "ring" else 0.0, 0)):
        corners = _outline(thing.shape) @ _turn(thing.tilt) * (thing.radius * scale) * share
        fixed = np.round((corners + half) * _FINE * 16).astype(np.int32)  # 4 bits after the point
        if share:
            cv2.fillPoly(raster, [fixed], value, shift=4)
    return raster


def draw(picture: Picture, thing: Thing, rng: np.random.Generator, on: Canvas) -> None:
    """Paint one object and its shadow into `picture` `(size, size, 3)`, in place."""
    if thing.color not in PALETTE:
        raise ValueError(f"color is {thing.color!r}, expected one of {', '.join(COLORS)}")
    scale = on.scale
    half = (int(thing.radius * 1.3) + 8) * scale
    raster = _coverage(thing, half, scale)
    inside = cv2.distanceTransform(raster, cv2.DIST_L2, 3) / _FINE  # pixels from the edge
    size = (2 * half, 2 * half)
    alpha = cv2.resize(raster, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    depth = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
    width = max(1.6, thing.radius * 0.07) * scale + (scale - 1) / 2
    rim = np.clip(depth - width, 0, 1)[..., None]  # 0 on the outline

    paint = np.clip(np.array(PALETTE[thing.color], np.float32) + rng.uniform(-7, 7, 3), 0, 255)
    y, x = (
        axis.astype(np.float32) / (thing.radius * scale)
        for axis in np.mgrid[-half:half, -half:half]
    )
    light = 1.06 - 0.2 * np.clip(0.5 * x + 0.7 * y, -1, 1)
    gloss = 52 * np.exp(-((x + 0.35) ** 2 + (y + 0.4) ** 2) / 0.08)
    body = paint * light[..., None] + gloss[..., None]
    if on.fine is not None:
        body = body + _strokes(depth - width, on)[..., None]
    body = np.clip(body, 0, 255)
    colour = body * rim + paint * 0.45 * (1 - rim)

    left, top = int(thing.x) * scale - half, int(thing.y) * scale - half
    x0, y0, x1, y1 = (
        max(left, 0),
        max(top, 0),
        min(left + 2 * half, on.size),
        min(top + 2 * half, on.size),
    )
    here, part = np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    away = 4 * scale
    shadow = cv2.GaussianBlur(np.roll(alpha, (away, away), (0, 1)), (0, 0), 3 * scale)
    shadow = shadow[part][..., None]
    cover = alpha[part][..., None]
    picture[here] = picture[here] * (1 - 0.38 * shadow) * (1 - cover) + colour[part] * cover


def silhouette(thing: Thing) -> NDArray[np.bool_]:
    """The pixels that an object covers, without its shadow, `(256, 256)`, at scale 1."""
    half = int(thing.radius * 1.3) + 8
    size = (2 * half, 2 * half)
    alpha = cv2.resize(_coverage(thing, half, 1), size, interpolation=cv2.INTER_AREA)
    left, top = int(thing.x) - half, int(thing.y) - half
    room = 2 * half  # around the picture, for what hangs out of it
    plane = np.zeros((SIZE + 2 * room,) * 2, np.bool_)
    plane[top + room : top + 2 * room, left + room : left + 2 * room] = alpha > 127
    return plane[room : room + SIZE, room : room + SIZE]


def _strokes(depth: NDArray[np.float32], on: Canvas) -> NDArray[np.float32]:
    """The details of an object: brush strokes, and a thin bevel along the outline's inner edge.

    `depth` `(h, w)` counts pixels from there.
    """
    assert on.fine is not None
    bevel = 30 * np.exp(-(((depth - 3) / 1.5) ** 2)) - 20 * np.exp(-(((depth - 8) / 2) ** 2))
    side = max(depth.shape)
    cells = (side // 3, max(2, side // 40))
    coarse = on.fine.standard_normal(cells, np.float32)
    if on.fine.random() < 0.5:
        coarse = coarse.T
    strokes = enlarge(coarse, side)[: depth.shape[0], : depth.shape[1]]
    return np.asarray(bevel + 3 * strokes, np.float32)


def _apart(x: float, y: float, radius: float, others: Sequence[Thing], gap: float) -> bool:
    return all(np.hypot(x - o.x, y - o.y) > 1.05 * (radius + o.radius) + gap for o in others)


def spot(
    rng: np.random.Generator, radius: float, others: Sequence[Thing], gap: float = 4.0
) -> tuple[float, float] | None:
    """A centre, `gap` pixels or more from the `others`; None if thirty tries found none."""
    for _ in range(30):
        x, y = rng.uniform(radius + 3, SIZE - radius - 3, 2)
        if _apart(x, y, radius, others, gap):
            return float(x), float(y)
    return None


def beside(
    rng: np.random.Generator, radius: float, neighbour: Thing, others: Sequence[Thing]
) -> tuple[float, float] | None:
    """A centre whose disc of `radius` nearly touches `neighbour` and meets no other object."""
    rest = [o for o in others if o is not neighbour]
    for _ in range(24):
        angle = rng.uniform(0, 2 * np.pi)
        reach = 1.05 * (radius + neighbour.radius) + rng.uniform(0, 6)
        x, y = neighbour.x + reach * np.cos(angle), neighbour.y + reach * np.sin(angle)
        fits = radius + 2 < min(x, y) and max(x, y) < SIZE - radius - 2
        if fits and _apart(x, y, radius, rest, 2):
            return float(x), float(y)
    return None


def other_name(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[str, str]:
    """A colour and a shape that none of `things` has."""
    colors = [c for c in COLORS if all(c != t.color for t in things)]
    shapes = [s for s in SHAPES if all(s != t.shape for t in things)]
    return str(rng.choice(colors)), str(rng.choice(shapes))


def random_objects(rng: np.random.Generator, count: int | None = None) -> tuple[Thing, ...]:
    """One to four objects that do not overlap; at times two stand side by side."""
    if count is None:
        count = int(rng.choice([1, 2, 3, 4], p=[0.22, 0.36, 0.27, 0.15]))
    things: list[Thing] = []
    for _ in range(count):
        radius = float(rng.uniform(*RADII))
        near = bool(things) and rng.random() < 0.3
        place = beside(rng, radius, things[-1], things) if near else spot(rng, radius, things)
        if place is None:
            continue
        color, shape = str(rng.choice(COLORS)), str(rng.choice(SHAPES))
        if any(t.name == f"{color} {shape}" for t in things):
            color, shape = other_name(rng, things)
        things.append(Thing(color, shape, *place, radius, float(rng.uniform(-0.22, 0.22))))
    return tuple(things)


def make_scene(
    rng: np.random.Generator,
    background: str | None = None,
    objects: Sequence[Thing] | None = None,
    scale: int = 1,
) -> Scene:
    """A scene from a generator; what is not given is drawn at random.

    Every scale takes the same numbers from the generator. Details come from another one, which is
    made from its state.
    """
    on, finest = canvas(scale), None
    if scale > 1:
        seeds = np.random.SeedSequence(int(copy.deepcopy(rng).integers(2**62))).spawn(3)
        ground, things_, finest = (np.random.default_rng(seed) for seed in seeds)
    name = backgrounds.choose(rng) if background is None else background
    picture = backgrounds.paint(rng, name, canvas(scale, ground) if finest else on)
    things = random_objects(rng) if objects is None else tuple(objects)
    for thing in things:
        draw(picture, thing, rng, canvas(scale, things_) if finest else on)
    grain: NDArray[np.floating] = rng.normal(0, 1.5, (SIZE, SIZE, 1))
    if finest is not None:
        coarse = enlarge(grain[..., 0].astype(np.float32), on.size)
        grain = (coarse + finest.standard_normal(coarse.shape, np.float32))[..., None]
    return Scene(np.clip(picture + grain, 0, 255).astype(np.uint8), things, name)


@checked
def scene(
    seed: int,
    background: str | None = None,
    objects: Sequence[Thing] | None = None,
    scale: int = 1,
) -> Scene:
    """The scene of a seed: the same arguments give the same picture.

    `scale` 4 draws it at 1024 x 1024 pixels, with details that 256 cannot show.

    Raises:
        SettingsError: a negative seed, a scale outside 1 to 8, an unknown background.
    """
    between("seed", seed, 0, 2**63 - 1, integer=True)
    between("scale", scale, 1, 8, integer=True)
    if background is not None:
        one_of("background", background, backgrounds.BACKGROUNDS)
    return make_scene(np.random.default_rng(seed), background, objects, scale)


@checked
def reduced(image: Image, scale: int = 4) -> Image:
    """A large picture (H, W, 3) made small by averaging squares of `scale` pixels.

    Raises:
        SettingsError: another shape, or a scale that leaves nothing of it.
    """
    if image.ndim != 3 or image.shape[2] != 3 or not image.size or image.dtype != np.uint8:
        raise SettingsError(f"image must be an array (H, W, 3) of uint8, not {shown(image)}.")
    between("scale", scale, 1, min(image.shape[:2]), integer=True)
    side = (image.shape[1] // scale, image.shape[0] // scale)
    return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)
