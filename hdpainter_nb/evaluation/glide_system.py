"""GLIDE as a row of a table: both stages, from its own weight files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self
from weakref import WeakKeyDictionary

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.system import SECONDS, Painting
from hdpainter_nb.evaluation.systems import weights_fingerprint
from hdpainter_nb.evaluation.triplet import FramedTriplet, digest
from hdpainter_nb.glide.job import GlideJob
from hdpainter_nb.glide.model import GlideModel, load_glide
from hdpainter_nb.glide.sampler import GlideSampler
from hdpainter_nb.settings import BaseSettings, GlideSettings, GlideUpsampleSettings
from hdpainter_nb.utils.checked import checked

__all__ = ["GlideSystem"]


@checked
@dataclass(frozen=True, kw_only=True)
class GlideSystem:
    """GLIDE's inpainting under its own settings, painted by the samplers that a notebook steps.

    The protocol's steps and guidance scale are those of latent diffusion, and not read: GLIDE has
    100 and 27 steps and a scale of 5, as its authors' notebook. The picture is squeezed to a
    square, and the result brought back. GLIDE was trained without pictures of people.

    >>> system = GlideSystem(name="glide", weights="~/weights/glide")
    >>> system.sampler(framed(triplet, 512), seed=1).step()

    Args:
        name: of its row.
        weights: the base model's file, or a folder with both files and the vocabulary; see
            `hdpainter_nb.glide.model.load_glide`.
        upsampler, vocabulary: where they lie, if not there.
        overrides: any field of `GlideSettings` but the seed, which is the protocol's.
        upsample_overrides: likewise of `GlideUpsampleSettings`.
        load_options: device, dtype, configs.

    Raises:
        SettingsError: unknown or impossible setting.
        EvaluationError: overrides hold a seed.
    """

    name: str
    weights: str
    upsampler: str | None = None
    vocabulary: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    upsample_overrides: Mapping[str, Any] = field(default_factory=dict)
    load_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whatever mappings were given: as these they can travel to another process.
        for name in ("overrides", "upsample_overrides", "load_options"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        if "seed" in {*self.overrides, *self.upsample_overrides}:
            raise EvaluationError("overrides cannot hold 'seed': the seeds are the protocol's.")
        self._stages()  # wrong settings are to be heard of before anything is loaded

    @classmethod
    def of_run(cls, name: str, written: Mapping[str, Any], load_options: Mapping[str, Any]) -> Self:
        """The system that a run's file tells of.

        Args:
            name: of its row.
            written: its `settings`, out of the file.
            load_options: device, dtype, configs, which a run does not keep.

        Raises:
            KeyError, TypeError: the file does not say all of it.
            SettingsError: it says what this version does not know.
        """
        return cls(
            name=name,
            weights=written["model"],
            upsampler=written["upsampler"],
            vocabulary=written["vocabulary"],
            overrides=written["glide"],
            upsample_overrides=written["glide_upsample"],
            load_options=dict(load_options),
        )

    @property
    def model(self) -> str:
        """What its weights are found by."""
        return self.weights

    def _stages(self) -> tuple[GlideSettings, GlideUpsampleSettings]:
        base = GlideSettings().replace(**self.overrides)
        return base, GlideUpsampleSettings().replace(**self.upsample_overrides)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its pictures besides weights and seed."""

        def own(settings: BaseSettings) -> dict[str, Any]:
            return {k: v for k, v in settings.to_dict().items() if k != "seed"}

        base, upsample = self._stages()
        return {
            "model": self.weights,
            "upsampler": self.upsampler,
            "vocabulary": self.vocabulary,
            "glide": own(base),
            "glide_upsample": own(upsample),
        }

    @property
    def columns(self) -> dict[str, Column]:
        """The seconds that each picture took."""
        return {"seconds": SECONDS}

    def fingerprint(self) -> str:
        """Hash of both networks' weights and of the vocabulary.

        Raises:
            ModelError: they cannot be loaded.
        """
        model = self.loaded
        if model not in _fingerprints:
            parts = (model.unet, model.upsampler.unet)
            _fingerprints[model] = digest(
                *map(weights_fingerprint, parts), model.tokenizer.fingerprint()
            )
        return _fingerprints[model]

    @property
    def loaded(self) -> GlideModel:
        """Both networks, loaded when they are first needed.

        Raises:
            ModelError: they cannot be loaded; the message says where they come from.
        """
        options = tuple(sorted(self.load_options.items()))
        return _loaded(self.weights, self.upsampler, self.vocabulary, options)

    def job(self, triplet: FramedTriplet, seed: int) -> GlideJob:
        """What a triplet is to this system."""
        values = {**self.overrides, "seed": seed}
        return GlideJob(triplet.image, triplet.hole, triplet.triplet.prompt, **values)

    def sampler(
        self, triplet: FramedTriplet, seed: int, capture: Capture | None = None
    ) -> GlideSampler:
        """A sampler of the base model for one triplet, which hands over to the upsampler's."""
        return GlideSampler(self.loaded, self.job(triplet, seed), capture)

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        """Fill the holes of some triplets, one after the other."""
        return [self._painted(triplet, seed) for triplet in triplets]

    def _painted(self, triplet: FramedTriplet, seed: int) -> Painting:
        started = time.perf_counter()
        base = self.sampler(triplet, seed, Capture.nothing())
        base.run()
        upsampler = base.upsampler(capture=Capture.nothing(), **self.upsample_overrides)
        upsampler.run()
        return Painting(upsampler.image(), {"seconds": time.perf_counter() - started})


# One at a time: a table's rows come one after the other, and a GPU need not hold two.
@lru_cache(maxsize=1)
def _loaded(
    weights: str,
    upsampler: str | None,
    vocabulary: str | None,
    options: tuple[tuple[str, Any], ...],
) -> GlideModel:
    return load_glide(weights, upsampler, vocabulary, **dict(options))


_fingerprints: WeakKeyDictionary[GlideModel, str] = WeakKeyDictionary()
