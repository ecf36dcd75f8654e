"""Examples for the x4 upscaler: latents of a crop, the small picture of it, and a caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.mini.training import networks, tokenizer
from hdpainter_nb.mini.training.feed import Feed, Ring
from hdpainter_nb.mini.training.precision import autocast
from hdpainter_nb.mini.world.backgrounds import photographs
from hdpainter_nb.mini.world.captions import describe
from hdpainter_nb.mini.world.scene import Image, Scene, Thing, make_scene, reduced

SCALE = 4
SIDE = 256  # pixels of a large crop; 64 latent positions, and 64 pixels of the small picture
View = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]
"""Of one picture, large crops `(n, 4 s, 4 s, 3)`, the small ones `(n, s, s, 3)`, token ids."""


def units(images: Tensor) -> Tensor:
    """Bytes `(n, h, w, 3)` as a network takes them, `(n, 3, h, w)`, -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def views(seed: int, mini: Path | None, side: int = SIDE) -> Iterator[View]:
    """Crops of fresh scenes without end, for a `Feed`; `mini` is the inpainting miniature."""
    coarse = None if mini is None else networks.load_vae(mini)
    source = Source(seed, coarse, side)
    while True:
        yield source.view()


class Source:
    """Views of fresh scenes, and of photographs (one in six).

    In use the small picture comes from the inpainting miniature, so in a part of them it is
    what that one's autoencoder makes of it; in another part it is a little blurred.
    """

    def __init__(self, seed: int, coarse: AutoencoderKL | None, side: int = SIDE) -> None:
        self.rng = np.random.default_rng(seed)
        self.coarse, self.side = coarse, side

    def _picture(self) -> Scene:
        """A large picture; its objects' places are in pixels of the small one."""
        rng = self.rng
        if rng.random() > 1 / 6:
            return make_scene(rng, scale=SCALE)
        pictures = list(photographs().values())
        picture = pictures[int(rng.integers(len(pictures)))]
        least = (self.side + 8) / min(picture.shape[:2])
        share = float(rng.uniform(max(least, 0.5), 1)) if least < 1 else least
        size = round(picture.shape[1] * share) // 4 * 4, round(picture.shape[0] * share) // 4 * 4
        how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
        return Scene(np.asarray(cv2.resize(picture, size, interpolation=how)), (), "photo")

    def _small(self, low: Image) -> tuple[Image, Image]:
        """The small picture as it is, and spoilt in one of two ways."""
        if self.coarse is None or self.rng.random() < 0.4:
            sigma = self.rng.uniform(0.4, 1.1)
            return low, np.asarray(cv2.GaussianBlur(low, (0, 0), sigma), np.uint8)
        height, width = (length // 8 * 8 for length in low.shape[:2])
        with torch.no_grad(), autocast("cpu"):
            small = units(torch.from_numpy(low[None, :height, :width]))
            latents = self.coarse.encode(small).latent_dist.mean
            picture = self.coarse.decode(latents).sample.float()[0]
        spoilt = low.copy()
        values = (picture.permute(1, 2, 0).clamp(-1, 1) * 127.5 + 127.5).round()
        spoilt[:height, :width] = values.byte().numpy()
        return low, spoilt

    def _words(self, seen: list[Thing], view: Scene) -> list[int]:
        said = seen if self.rng.random() < 0.6 else list(view.objects)
        names = [(t.color, t.shape, k) for k, t in enumerate(said[:4])]
        caption = describe(self.rng, names, view.background)
        return tokenizer.encode(caption.words, caption.owners)[0]

    def view(self) -> View:
        """Crops of one fresh picture, half of them about an object; together half its area."""
        rng, view = self.rng, self._picture()
        image, small = view.image, self.side // SCALE
        kinds = self._small(reduced(image, SCALE))
        count = max(2, 8 * SIDE**2 // self.side**2)
        crops, lows, words = [], [], []
        for index in range(count):
            room = np.array(kinds[0].shape[1::-1]) - small
            corner = rng.uniform(0, 1, 2) * room
            if index % 2 == 0 and view.objects:
                thing = view.objects[int(rng.integers(len(view.objects)))]
                corner = np.array([thing.x, thing.y]) - small / 2 + rng.uniform(-36, 36, 2)
            x, y = np.clip(corner, 0, room).astype(int)
            low = kinds[int(rng.random() < 0.5)][y : y + small, x : x + small]
            crop = image[SCALE * y :, SCALE * x :][: self.side, : self.side]
            if rng.random() < 0.5:
                low, crop = low[:, ::-1], crop[:, ::-1]
            lows.append(low)
            crops.append(crop)
            seen = [
                t
                for t in view.objects
                if max(abs(t.x - x - small / 2), abs(t.y - y - small / 2))
                < small / 2 + t.radius / 2
            ]
            words.append(self._words(seen, view))
        return np.stack(crops), np.stack(lows), np.array(words, np.int64)


class ViewStock:
    """Rows in a ring, each drawn several times, in pieces, before it is overwritten.

    Args:
        feed: of `views`.
        vae: the upscaler's autoencoder; the rows lie on its device.
        least: rows to wait for before the first are drawn.
    """

    def __init__(
        self, feed: Feed[View], vae: AutoencoderKL, least: int, capacity: int = 5000
    ) -> None:
        self.feed, self.vae = feed, vae
        self.ring = Ring(capacity, next(vae.parameters()).device)
        self._owed = 0.0  # rows that the examples drawn so far ask for
        while len(self.ring) < least:
            self._take(wait=True)
        self._owed = 0.0

    def _take(self, wait: bool) -> bool:
        """Put one picture's rows into the ring; False where none is ready."""
        view = self.feed.next(wait=wait)
        if view is None:
            return False
        crops, lows, ids = view
        device = self.ring.device
        pictures = units(torch.from_numpy(crops).to(device))
        with torch.no_grad():
            latents = self.vae.encode(pictures).latent_dist.mean * self.vae.config.scaling_factor
        low = torch.from_numpy(lows).permute(0, 3, 1, 2)
        self.ring.add((latents.half(), low, torch.from_numpy(ids)))
        self._owed -= len(crops)
        return True

    def batch(self, count: int, side: int, fresh: float) -> tuple[Tensor, Tensor, Tensor]:
        """`count` pieces of `side` latent positions; takes `fresh` new rows for each, if ready.

        Returns:
            Latents `(n, 4, side, side)`, small pictures `(n, 3, side, side)`, ids `(n, tokens)`.
        """
        self._owed = min(self._owed + count * fresh, 64.0)
        while self._owed >= 1 and self._take(wait=False):
            pass
        latents, low, ids = self.ring.draw(count)
        corners = torch.randint(latents.shape[-1] - side + 1, (2, count), device=latents.device)
        latents, low = (_pieces(x, corners, side) for x in (latents, low))
        return latents.float(), low.float() / 127.5 - 1, ids


def _pieces(x: Tensor, corners: Tensor, side: int) -> Tensor:
    """Of each example `(n, c, h, w)` the square whose top left corner is in `corners` `(2, n)`."""
    along = torch.arange(side, device=x.device)
    rows, columns = (corner[:, None] + along for corner in corners)
    every = torch.arange(len(x), device=x.device)[:, None, None]
    return x[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
