"""A small judge: which colour and shape does a hole hold? `python -m hdpainter_nb.mini.oracle`.

A convolutional net on 64-pixel crops around a mask, trained on the world's own objects, at times
blurred by the autoencoder's kind of softness. Nine classes each: eight and "nothing".
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hdpainter_nb.mini.world import holes
from hdpainter_nb.mini.world.holes import Mask
from hdpainter_nb.mini.world.scene import COLORS, SHAPES, Image, beside, make_scene, spot
from hdpainter_nb.utils.files import replacing

NOTHING = "nothing"
_SIDE = 64  # pixels of a crop
_COLORS, _SHAPES = (*COLORS, NOTHING), (*SHAPES, NOTHING)


class Oracle(nn.Module):
    """Crops `(n, 3, 64, 64)`, -1 to 1, to colour scores `(n, 9)` and shape scores `(n, 9)`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in (24, 48, 96, 128):
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers += [nn.Conv2d(128, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(64 * 16, len(_COLORS) + len(_SHAPES))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.head(self.body(crops))
        return scores[:, : len(_COLORS)], scores[:, len(_COLORS) :]

    @torch.no_grad()
    def judge(self, images: Sequence[Image], masks: Sequence[Mask]) -> list[tuple[str, str]]:
        """The colour and the shape seen in each hole, "nothing" where there is no object."""
        crops = np.stack([crop(i, m) for i, m in zip(images, masks, strict=True)])
        colors, shapes = self(_tensor(crops))
        return [
            (_COLORS[int(c)], _SHAPES[int(s)])
            for c, s in zip(colors.argmax(1), shapes.argmax(1), strict=True)
        ]


def crop(image: Image, mask: Mask) -> NDArray[np.uint8]:
    """The square about the hole, resized to 64 x 64."""
    rows, columns = np.nonzero(mask)
    x, y = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
    half = max(np.ptp(columns), np.ptp(rows)) / 2 + 2
    scale = _SIDE / 2 / half
    if scale < 0.8:  # against aliasing
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / scale), np.uint8)
    affine = np.array([[scale, 0, 32 - x * scale], [0, scale, 32 - y * scale]])
    patch = cv2.warpAffine(image, affine, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(patch, np.uint8)


def _tensor(crops: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def examples(rng: np.random.Generator, clean: bool = False) -> tuple[list[Image], list[list[int]]]:
    """Crops of one scene's objects and of one empty place, with their two class numbers."""
    view = make_scene(rng)
    image = view.image
    if not clean and rng.random() < 0.6:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8)), np.uint8)
    patches: list[Image] = []
    labels: list[list[int]] = []
    for thing in view.objects:
        if rng.random() < 0.6:
            mask = holes.tidy(rng, thing.box, (-1, 15))
        else:
            mask = holes.wild(rng, thing.x, thing.y, thing.radius + rng.uniform(0, 8))
        patches.append(crop(image, mask))
        labels.append([COLORS.index(thing.color), SHAPES.index(thing.shape)])
    radius = float(rng.uniform(26, 50))
    if view.objects and rng.random() < 0.4:
        place = beside(rng, radius, view.objects[0], view.objects)
    else:
        place = spot(rng, radius, view.objects, 0)
    if place is not None:
        tidy = rng.random() < 0.5
        box = holes.around(*place, radius)
        mask = holes.tidy(rng, box, (-2, 6)) if tidy else holes.wild(rng, *place, radius)
        patches.append(crop(image, mask))
        labels.append([len(COLORS), len(SHAPES)])
    return patches, labels


def _many(
    rng: np.random.Generator, count: int, clean: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    patches: list[Image] = []
    labels: list[list[int]] = []
    while len(patches) < count:
        more, classes = examples(rng, clean)
        patches += more
        labels += classes
    return np.stack(patches), np.array(labels)


def accuracy(oracle: Oracle, count: int = 1500, seed: int = 99) -> tuple[float, float]:
    """Shares of right colours and right shapes on fresh, clean crops."""
    patches, labels = _many(np.random.default_rng(seed), count, clean=True)
    oracle.eval()
    with torch.no_grad():
        answers = [scores.argmax(1).numpy() for scores in oracle(_tensor(patches))]
    colors, shapes = (float((a == labels[:, k]).mean()) for k, a in enumerate(answers))
    return colors, shapes


def train(minutes: float, max_steps: int = 10**9, seed: int = 5) -> Oracle:
    """Train from scratch for some wall-clock minutes, on a growing pool of crops."""
    torch.manual_seed(seed)
    rng, oracle = np.random.default_rng(seed), Oracle().train()
    optimizer = torch.optim.AdamW(oracle.parameters(), weight_decay=1e-2)
    patches, labels = _many(rng, 300)
    start, step, share = time.monotonic(), 0, 0.0
    while share < 1 and step < max_steps:
        share = (time.monotonic() - start) / (60 * minutes)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * max(0.0, 1 - share) + 1e-5
        if step % 2 == 0:
            more, classes = _many(rng, 24)
            patches, labels = np.concatenate([patches, more]), np.concatenate([labels, classes])
            patches, labels = patches[-40000:], labels[-40000:]
        chosen = np.concatenate(
            [rng.integers(0, len(patches), 40), np.arange(len(patches) - 24, len(patches))]
        )
        crops = _tensor(patches[chosen])
        strength = 0.05 * torch.rand(len(crops), 1, 1, 1)
        crops = crops * (1 + strength * torch.randn(len(crops), 1, 1, 1))
        crops = crops + strength * torch.randn_like(crops)
        goal = torch.from_numpy(labels[chosen])
        colors, shapes = oracle(crops)
        loss = F.cross_entropy(colors, goal[:, 0]) + F.cross_entropy(shapes, goal[:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step} crops {len(patches)} loss {loss.item():.4f}", flush=True)
    return oracle.eval()


def load(path: Path) -> Oracle:
    """The oracle whose fp16 weights lie in `path`."""
    oracle = Oracle()
    oracle.load_state_dict(
        {k: v.to(oracle.state_dict()[k].dtype) for k, v in load_file(path).items()}
    )
    return oracle.eval()


def save(oracle: Oracle, path: Path) -> None:
    """Write the weights as fp16 safetensors."""
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in oracle.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        save_file(tensors, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--out", type=Path, default=Path("data/mini/oracle.safetensors"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    save(train(given.minutes), given.out)
    color, shape = accuracy(load(given.out))
    print(f"clean crops: colour {color:.3f}, shape {shape:.3f}")


if __name__ == "__main__":
    main()
