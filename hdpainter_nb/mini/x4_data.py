"""Examples for the x4 upscaler: latents of a crop, the small picture of it, and a caption."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from . import tokenizer
from .backgrounds import photographs
from .captions import describe
from .precision import autocast
from .world import Image, Scene, Thing, make_scene, reduced

SCALE = 4
SIDE = 256  # pixels of a large crop; 64 latent positions, and 64 pixels of the small picture
Row = tuple[Tensor, Tensor, Tensor]  # latents (4, 64, 64), small (3, 64, 64) in -1..1, token ids


def _units(images: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Source:
    """An endless source of rows: crops of fresh scenes, and of photographs (one source in six).

    In use the small picture comes from the inpainting miniature, so in a part of the rows it is
    what that one's autoencoder makes of it; in another part it is a little blurred.
    """

    def __init__(self, seed: int, vae: AutoencoderKL, coarse: AutoencoderKL | None) -> None:
        self.rng = np.random.default_rng(seed)
        self.vae, self.coarse = vae, coarse

    def _picture(self) -> Scene:
        """A large picture; its objects' places are in pixels of the small one."""
        rng = self.rng
        if rng.random() > 1 / 6:
            return make_scene(rng, scale=SCALE)
        pictures = list(photographs().values())
        picture = pictures[int(rng.integers(len(pictures)))]
        least = (SIDE + 8) / min(picture.shape[:2])
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
            latents = self.coarse.encode(_units([low[:height, :width]])).latent_dist.mean
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

    @torch.no_grad()
    def rows(self, count: int = 8) -> Iterator[Row]:
        """`count` rows of one fresh picture."""
        rng, view = self.rng, self._picture()
        image, small = view.image, SIDE // SCALE
        kinds = self._small(reduced(image, SCALE))
        crops, lows, words = [], [], []
        for index in range(count):
            room = np.array(kinds[0].shape[1::-1]) - small
            corner = rng.uniform(0, 1, 2) * room
            if index % 2 == 0 and view.objects:
                thing = view.objects[int(rng.integers(len(view.objects)))]
                corner = np.array([thing.x, thing.y]) - small / 2 + rng.uniform(-36, 36, 2)
            x, y = np.clip(corner, 0, room).astype(int)
            low = kinds[int(rng.random() < 0.5)][y : y + small, x : x + small]
            crop = image[SCALE * y :, SCALE * x :][:SIDE, :SIDE]
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
        device = next(self.vae.parameters()).device
        pictures = _units(crops).to(device).contiguous(memory_format=torch.channels_last)
        with autocast(device):
            latents = self.vae.encode(pictures).latent_dist.mean.float()
        latents = (latents * self.vae.config.scaling_factor).half().cpu()
        for latent, low_, ids in zip(latents, _units(lows).half(), words, strict=True):
            yield latent, low_, torch.tensor(ids)


class Buffer:
    """A ring of rows; each is drawn several times, in pieces, before it is overwritten."""

    def __init__(self, source: Source, capacity: int = 5000) -> None:
        self.source, self.capacity = source, capacity
        self.ring: list[Row] = []
        self.added, self._owed = 0, 0.0

    def add(self) -> None:
        """Rows of one fresh picture."""
        for row in self.source.rows():
            if len(self.ring) < self.capacity:
                self.ring.append(row)
            else:
                self.ring[self.added % self.capacity] = row
            self.added += 1

    def batch(self, count: int, side: int, fresh: float) -> tuple[Tensor, Tensor, Tensor]:
        """`count` pieces of `side` latent positions; adds `fresh` new rows for each one drawn.

        Returns:
            Latents `(n, 4, side, side)`, small pictures `(n, 3, side, side)`, ids `(n, tokens)`.
        """
        rng = self.source.rng
        self._owed += count * fresh
        while self._owed >= 8 or len(self.ring) < count:
            self.add()
            self._owed -= 8
        pieces = []
        for index in rng.integers(len(self.ring), size=count):
            latents, low, ids = self.ring[int(index)]
            x, y = (int(k) for k in rng.integers(0, latents.shape[-1] - side + 1, 2))
            here = np.s_[:, y : y + side, x : x + side]
            pieces.append((latents[here].float(), low[here].float(), ids))
        latents, low, ids = (torch.stack(column) for column in zip(*pieces, strict=True))
        return latents, low, ids
