"""Made-up records and a made-up sampler for tests that need no model and no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdpainter_nb.select import Word
from hdpainter_nb.settings import Settings
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps
from hdpainter_nb.trace.record import GradStats, Record

WORDS = (Word("a", (1,)), Word("red", (2,)), Word("star", (3, 4)), Word("<eot>", (5,)))
TOKENS = ("<sot>", "a", "red", "st", "ar</w>", "<eot>")


def blob(size: tuple[int, int], x: float, y: float, width: float) -> np.ndarray:
    rows, cols = np.mgrid[: size[0], : size[1]]
    u, v = (cols + 0.5) / size[1] - x, (rows + 0.5) / size[0] - y
    return np.exp(-(u**2 + v**2) / (2 * width**2)).astype(np.float32)


def make_record(
    index: int = 3,
    total: int = 20,
    *,
    size: tuple[int, int] = (256, 256),
    painta: bool = True,
    rasg: bool = True,
    levels: tuple[int, ...] = (8, 16, 32),
) -> Record:
    """A record of a run whose picture clears up and whose maps narrow down on the centre."""
    rng = np.random.default_rng(index)
    done = (index + 1) / total
    spread = 0.35 - 0.2 * done

    def at(level: int) -> tuple[int, int]:
        return size[0] // level, size[1] // level

    def cross(level: int) -> np.ndarray:
        noise = rng.random((len(TOKENS), *at(level)), dtype=np.float32) * 0.02
        for token in (2, 3, 4):
            noise[token] += 0.3 * blob(at(level), 0.4 + 0.05 * token, 0.5, spread)
        return noise

    values = rng.normal(0, 2e-4, 4096)
    counts, edges = np.histogram(values, 61)
    standard, standard_edges = np.histogram(values / values.std(), 61, (-5, 5))
    names = (
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1",
        "up_blocks.2.attentions.1.transformer_blocks.0.attn1",
    )
    two = {level: {n: rng.random(at(level), dtype=np.float32) for n in names} for level in levels}
    acting = painta and index < total // 2
    preview = np.stack([blob(at(8), 0.5, 0.5, 0.3) * c for c in (230, 60, 70)], -1)
    preview = preview * done + rng.random((*at(8), 3)) * 255 * (1 - done)
    return Record(
        index=index,
        timestep=999 - index * (1000 // total),
        latents=rng.normal(size=(4, *at(8))).astype(np.float32),
        x0_latents=rng.normal(size=(4, *at(8))).astype(np.float32),
        x0_preview=preview.astype(np.uint8),
        cross=CrossMaps(LevelMaps({level: {"x": cross(level)} for level in levels}), WORDS, TOKENS),
        c=LevelMaps(two if acting else {}),
        similarity=LevelMaps(two),
        similarity_painta=LevelMaps(
            {k: {n: m * 0.6 for n, m in v.items()} for k, v in two.items()} if acting else {}
        ),
        scores=None,
        score=2.0 - done if rasg else None,
        grad=GradStats(0.0, 2e-4, 0.1, 1.4, counts, edges, standard, standard_edges)
        if rasg
        else None,
        sigma=0.05 * (1 - done),
        alpha=done,
        guided_norm=0.2,
        seconds=0.01,
        settings=Settings(painta=painta, rasg=rasg, steps=total),
    )


def scene(size: tuple[int, int] = (256, 256)) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) uint8 and a mask (H, W) bool."""
    rows, cols = np.mgrid[: size[0], : size[1]]
    picture = np.stack([cols % 256, rows % 256, (rows + cols) % 256], -1).astype(np.uint8)
    mask = np.zeros(size, bool)
    mask[size[0] // 4 : size[0] * 3 // 4, size[1] // 3 : size[1] * 2 // 3] = True
    return picture, mask


class SyntheticSampler:
    """Stands in for `hdpainter_nb.Sampler`: the same shape, no model."""

    def __init__(self, total: int = 6, *, model: Any = None, size: tuple[int, int] = (256, 256)):
        from types import SimpleNamespace

        self.total = total
        self.size = size
        self.model = object() if model is None else model
        image, mask = scene(size)
        self.job = SimpleNamespace(
            image=image, mask=mask, prompt="a red star", settings=Settings(steps=total)
        )
        self.records: list[Record] = []
        self.decoding = 0

    @property
    def index(self) -> int:
        return len(self.records)

    @property
    def done(self) -> bool:
        return self.index >= self.total

    def step(self) -> Record:
        if self.done:
            raise RuntimeError("the run is finished")
        settings = self.job.settings
        record = make_record(
            self.index, self.total, size=self.size, painta=settings.painta, rasg=settings.rasg
        )
        self.records = [*self.records, record]
        return record

    def back(self, n: int = 1) -> SyntheticSampler:
        self.records = self.records[: max(0, self.index - n)]
        return self

    def restart(self) -> SyntheticSampler:
        self.records = []
        return self

    def branch(self, **changes: Any) -> SyntheticSampler:
        other = SyntheticSampler(self.total, model=self.model, size=self.size)
        other.job.settings = self.job.settings.replace(**changes)
        other.records = list(self.records)
        return other

    def cancel(self) -> None:
        """Nothing to interrupt: a step takes no time."""

    def decoded(self, record: Record) -> np.ndarray:
        self.decoding += 1
        picture: np.ndarray = self.job.image.copy()
        picture[self.job.mask] = (200, 30 + record.index * 20, 40)
        return picture

    def image(self, record: Record | None = None, paste: bool = False) -> np.ndarray:
        return self.decoded(self.records[-1] if record is None else record)
