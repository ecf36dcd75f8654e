"""The systems of a table: what runs through our sampler, and a folder of other people's results."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hdpainter_nb.capture.capture import Capture
from hdpainter_nb.errors import EvaluationError, HDPainterError, SettingsError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.system import SECONDS, Painting
from hdpainter_nb.evaluation.triplet import FramedTriplet, digest
from hdpainter_nb.images.read import read_image
from hdpainter_nb.job import Job
from hdpainter_nb.models.loading import load
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.batch import SamplerBatch
from hdpainter_nb.sampling.sampler import Sampler
from hdpainter_nb.settings import BASELINES, AnyPreset, Settings
from hdpainter_nb.utils.check import between
from hdpainter_nb.utils.checked import checked

__all__ = [
    "METHODS",
    "NOT_OVERRIDDEN",
    "ResultsFolder",
    "SamplerSystem",
    "resized",
    "weights_fingerprint",
]

METHODS: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        "base": MappingProxyType({"painta": False, "rasg": False}),
        "rasg": MappingProxyType({"painta": False, "rasg": True}),
        "painta": MappingProxyType({"painta": True, "rasg": False}),
        "both": MappingProxyType({"painta": True, "rasg": True}),
    }
)
"""The rows of Table 2; ``base`` is the model as it is."""

_OF_TRIPLETS = "triplets are painted at the protocol's `side`, or at the model's size (native=True)"
NOT_OVERRIDDEN = {
    "seed": "the seeds are the protocol's",
    "long_side": _OF_TRIPLETS,
    "scaling": _OF_TRIPLETS,
}


@checked
@dataclass(frozen=True, kw_only=True)
class SamplerSystem:
    """A model under one method, painted by the same `Sampler` that a notebook steps.

    >>> system = SamplerSystem(name="ours", model="dreamshaper-8", method="both")
    >>> system.sampler(framed(triplet, 512), seed=1).step()  # step it, watch it, as any other

    Args:
        name: of its row.
        model: what `hdpainter_nb.load` takes as a string.
        method: ``base``, ``rasg``, ``painta`` or ``both``.
        preset: what the settings start from: ``official``, or a baseline (`BASELINES`), which
            keeps its own guidance scale where it has one.
        protocol: steps, guidance scale, eta and prompt additions.
        overrides: any field of `Settings` on top of those, but for the seed, which is the
            protocol's, and the size and its scaling, which are the triplets'.
        controlnet: hub id or folder; the triplet's own picture with -1 in the hole is what it
            follows (``Job(control="inpaint")``).
        native: paint at the size that the model was made for, and bring the result back; for
            models that paint badly below it, as SDXL does at 512 px, and, where the preset squashes
            pictures to a square, above it. diffusers' SDXL inpainting also starts from the noised
            picture: ``overrides={"strength": 0.9999}``.
        at_once: so many triplets in one UNet call.
        load_options: for `hdpainter_nb.load`: device, dtype, offload, variant ...

    Raises:
        SettingsError: no such method or setting.
    """

    name: str
    model: str
    method: Literal["base", "rasg", "painta", "both"] = "both"
    preset: AnyPreset = "official"
    protocol: EvaluationProtocol = field(default_factory=EvaluationProtocol)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    controlnet: str | None = None
    native: bool = False
    at_once: int = 4
    load_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whatever mappings were given: as these they can travel to another process.
        object.__setattr__(self, "overrides", dict(self.overrides))
        object.__setattr__(self, "load_options", dict(self.load_options))
        between("at_once", self.at_once, 1, 1024, integer=True)
        for setting, whose in NOT_OVERRIDDEN.items():
            if setting in self.overrides:
                raise SettingsError(f"overrides cannot hold {setting!r}: {whose}.")
        self._job_settings(1)  # wrong ones are to be heard of before anything is loaded

    def _job_settings(self, seed: int) -> Settings:
        protocol, own = self.protocol, BASELINES.get(self.preset, {})
        chosen = {
            "steps": protocol.steps,
            "guidance_scale": own.get("guidance_scale", protocol.guidance_scale),
            "eta": protocol.eta,
            "prompt_additions": protocol.prompt_additions,
            **METHODS[self.method],
            **self.overrides,
        }
        return Settings.preset(self.preset, **chosen, seed=seed)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its pictures besides weights and seed."""
        own = {k: v for k, v in self._job_settings(0).to_dict().items() if k != "seed"}
        # How many share a call changes the last bits alone, so a run may go on with other numbers.
        return {
            "model": self.model,
            "controlnet": self.controlnet,
            "native": self.native,
            **({} if self.preset == "official" else {"preset": self.preset}),
            **own,
        }

    @property
    def columns(self) -> dict[str, Column]:
        """The seconds that each picture took."""
        return {"seconds": SECONDS}

    def fingerprint(self) -> str:
        """Hash of the model's weights, a ControlNet's included.

        Raises:
            ModelError: the model cannot be loaded.
        """
        return _fingerprint_of(self.loaded)

    @property
    def loaded(self) -> Model:
        """The model, loaded when it is first needed; the rows of Table 2 share one.

        Raises:
            ModelError: it cannot be loaded; the message says what to do.
        """
        options = tuple(sorted(self.load_options.items()))
        return _loaded(self.model, self.controlnet, options)

    def job(self, triplet: FramedTriplet, seed: int) -> Job:
        """What a triplet is to this system.

        The picture has its working size already, so nothing is resized unless `native` is set, or
        the preset squashes pictures, to a square of that size.
        """
        size: dict[str, Any] = {"long_side": max(triplet.hole.shape), "scaling": "area"}
        if self.preset in BASELINES:
            size = {"long_side": self.loaded.native_size} if self.native else size
            size.pop("scaling", None)
        elif self.native and self.loaded.native_size > max(triplet.hole.shape):
            size = {"long_side": self.loaded.native_size, "scaling": "bicubic"}
        return Job(
            triplet.image,
            triplet.hole,
            triplet.triplet.prompt,
            control=None if self.controlnet is None else "inpaint",
            **{**self._job_settings(seed).to_dict(), **size},
        )

    def sampler(self, triplet: FramedTriplet, seed: int, capture: Capture | None = None) -> Sampler:
        """A sampler for one triplet: the way from a result to the maps that explain it."""
        return Sampler(self.loaded, self.job(triplet, seed), capture)

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        """Fill the holes of some triplets of one size, several in one UNet call."""
        started = time.perf_counter()
        samplers = [self.sampler(triplet, seed, self._capture()) for triplet in triplets]
        for alike in _alike(samplers):
            SamplerBatch.of(alike, at_once=self.at_once).run()
        pictures = [sampler.image() for sampler in samplers]
        seconds = (time.perf_counter() - started) / len(samplers)
        return [
            Painting(
                resized(picture, triplet.image.shape[:2]),
                {"seconds": seconds, **self._numbers(triplet, sampler)},
            )
            for picture, triplet, sampler in zip(pictures, triplets, samplers, strict=True)
        ]

    def _capture(self) -> Capture:
        """What is kept of each step, for `_numbers`."""
        return Capture.nothing()

    def _numbers(self, triplet: FramedTriplet, sampler: Sampler) -> dict[str, float]:
        """What a subclass measures of a run besides its time."""
        return {}


def _alike(samplers: Sequence[Sampler]) -> list[list[Sampler]]:
    """Those that one UNet call can take: of one padded size, under the same settings.

    Padded pictures of one size may have several once they are made larger.
    """
    groups: dict[Any, list[Sampler]] = {}
    for sampler in samplers:
        groups.setdefault((sampler.cond.size, sampler.settings), []).append(sampler)
    return list(groups.values())


# One at a time: a table's rows come one after the other, and a GPU need not hold two.
@lru_cache(maxsize=1)
def _loaded(model: str, controlnet: str | None, options: tuple[tuple[str, Any], ...]) -> Model:
    return load(model, controlnet=controlnet, **dict(options))


_fingerprints: WeakKeyDictionary[Model, str] = WeakKeyDictionary()


def _fingerprint_of(model: Model) -> str:
    if model not in _fingerprints:
        parts = [] if model.controlnet is None else [weights_fingerprint(model.controlnet)]
        _fingerprints[model] = digest(weights_fingerprint(model.pipe), *parts)
    return _fingerprints[model]


@checked
@dataclass(frozen=True, kw_only=True)
class ResultsFolder:
    """Pictures made by anything else: ``<id>.png`` in a folder, ``<image>_<segment>.png`` for COCO.

    With several seeds, ``seed-<seed>/<id>.png`` is looked for first.

    Args:
        name: of its row.
        folder: where they lie.
    """

    name: str
    folder: str

    @property
    def settings(self) -> dict[str, Any]:
        """The folder's name; what made the pictures is not known here."""
        return {"folder": Path(self.folder).name}

    @property
    def columns(self) -> dict[str, Column]:
        """None: nothing is measured here."""
        return {}

    def fingerprint(self) -> str:
        """Of nothing: the pictures are copied into the run, where each is compared by itself.

        Raises:
            EvaluationError: there is no such folder.
        """
        if not Path(self.folder).expanduser().is_dir():
            raise EvaluationError(f"There is no folder of results {self.folder!r}.")
        return digest("folder of results")

    def missing(self, ids: Sequence[str], seed: int) -> list[str]:
        """The triplets that it has no picture for."""
        return [id for id in ids if self._path(id, seed) is None]

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        """Read the pictures.

        Raises:
            EvaluationError: one is missing, broken, or neither of the size at which the triplets
                are scored nor of the original's.
        """
        return [Painting(self._read(triplet, seed)) for triplet in triplets]

    def _path(self, id: str, seed: int) -> Path | None:
        folder = Path(self.folder).expanduser()
        for path in (folder / f"seed-{seed}" / f"{id}.png", folder / f"{id}.png"):
            if path.is_file():
                return path
        return None

    def _read(self, triplet: FramedTriplet, seed: int) -> NDArray[np.uint8]:
        path = self._path(triplet.triplet.id, seed)
        if path is None:
            raise EvaluationError(
                f"The folder of results {self.folder!r} has no {triplet.triplet.id}.png."
            )
        try:
            picture = read_image(path, smallest=1)  # nothing is painted on it
        except HDPainterError as error:
            raise EvaluationError(f"{str(path)!r}: {error}") from error
        size, whole = triplet.image.shape[:2], triplet.triplet.image.shape[:2]
        if picture.shape[:2] not in (size, whole):
            raise EvaluationError(
                f"{str(path)!r} has {picture.shape[1]}x{picture.shape[0]} px. Its triplet is "
                f"scored at {size[1]}x{size[0]} px and was {whole[1]}x{whole[0]} px: it is another "
                "picture's result, or was cropped."
            )
        return resized(picture, size)


def resized(picture: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) at (h, w), by the area of each pixel where it becomes smaller."""
    if picture.shape[:2] == tuple(size):
        return picture
    smaller = size[0] * size[1] < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=how), np.uint8)


def weights_fingerprint(source: Any) -> str:
    """Hash of all weights of a pipeline or network, wherever they lie: their names, kinds, values.

    Offloaded weights are hashed where they are kept, so that the hash is that of the same weights
    on a device.

    Args:
        source: of diffusers, or any module.

    Raises:
        EvaluationError: some weights are nowhere to be found.
    """
    parts = {"": source} if isinstance(source, torch.nn.Module) else source.components
    total = hashlib.sha256()
    for part, network in sorted(parts.items()):
        if not isinstance(network, torch.nn.Module):
            continue
        for name, tensor in sorted(network.state_dict().items()):
            total.update(f"{part}.{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            kept = _offloaded(network, name) if tensor.is_meta else tensor
            # As bytes on the CPU; half precision has no NumPy kind of its own everywhere.
            whole = kept.detach().contiguous().cpu()
            total.update(whole.view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _offloaded(network: torch.nn.Module, name: str) -> torch.Tensor:
    """A weight that is offloaded layer by layer, from where its layer's hook fetches it.

    Raises:
        EvaluationError: no hook knows it.
    """
    layer, _, own = name.rpartition(".")
    hook = getattr(network.get_submodule(layer), "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):  # accelerate strings several hooks together
        weights = getattr(one, "weights_map", None)
        if weights is not None and own in weights:
            return torch.as_tensor(weights[own])
    raise EvaluationError(
        f"The weight {name!r} of {type(network).__name__} has no values to fingerprint: it is on "
        "the meta device, and not by accelerate's offloading. Load the model without that."
    )
