"""From a picture to a network's input, as a checkpoint's preprocessor config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.metrics.weights import hub_json

__all__ = ["CLIP_CONFIG", "Preprocessing"]

CLIP_CONFIG: Mapping[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "resample": 3,
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
"""Of OpenAI's CLIP, for checkpoints that come without one."""
_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop in the middle, scale to 0..1, normalise.

    Written anew because transformers' own needs torchvision in some versions, and goes by other
    class names in others. The order of operations and the rounding are those of its Pillow backend.

    Attributes:
        exact: (height, width) to resize to, whatever the proportions; or None.
        shortest: length of the short side after resizing; or None.
        longest: what the long side may not exceed then; or None.
        crop: (height, width) of the middle that is kept; or None.
        resample: Pillow's number of the filter.
        factor: multiplies the values 0..255.
        mean, std: of the three channels, after scaling; or None.
    """

    exact: tuple[int, int] | None = None
    shortest: int | None = None
    longest: int | None = None
    crop: tuple[int, int] | None = None
    resample: int = 3
    factor: float = 1 / 255
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def of(
        cls, source: str, revision: str | None, default: Mapping[str, Any] | None = None
    ) -> Self:
        """What a checkpoint says.

        Args:
            source: a hub id, or a folder.
            revision: branch, tag or commit on the hub.
            default: for a checkpoint that says nothing.

        Raises:
            EvaluationError: it cannot be read, or says nothing and there is no default.
        """
        for name in _FILES:
            config = hub_json(source, name, revision)
            if config is not None:
                config = config.get("image_processor", config)
            if config is not None and "size" in config:
                return cls.from_config(config, source)
        if default is None:
            raise EvaluationError(
                f"{source!r} has no {_FILES[0]}, which says how pictures are prepared for it."
            )
        return cls.from_config(default, source)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str = "the checkpoint") -> Self:
        """Read a preprocessor config.

        Raises:
            EvaluationError: it asks for a size in a way that is not known here.
        """
        values: dict[str, Any] = {"resample": int(config.get("resample", 3))}
        size = config["size"]
        if isinstance(size, int):
            size = {"shortest_edge": size}
        if config.get("do_resize", True):
            if {"height", "width"} <= size.keys():
                values["exact"] = (int(size["height"]), int(size["width"]))
            elif "shortest_edge" in size:
                values["shortest"] = int(size["shortest_edge"])
                values["longest"] = size.get("longest_edge")
            else:
                raise EvaluationError(
                    f"The preprocessor config of {source!r} has the size {dict(size)!r}; known are "
                    "height and width, and shortest_edge with or without longest_edge."
                )
        crop = config.get("crop_size")
        if config.get("do_center_crop", False) and crop is not None:
            crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
            values["crop"] = (int(crop["height"]), int(crop["width"]))
        if config.get("do_rescale", True):
            values["factor"] = float(config.get("rescale_factor", 1 / 255))
        else:
            values["factor"] = 1.0
        if config.get("do_normalize", True) and config.get("image_mean") is not None:
            values["mean"] = tuple(map(float, config["image_mean"]))
            values["std"] = tuple(map(float, config["image_std"]))
        return cls(**values)

    @property
    def one_size(self) -> bool:
        """Whether every picture comes out of one size, so that they can be stacked."""
        return self.exact is not None or self.crop is not None

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepare one picture.

        Args:
            picture: (h, w, 3) uint8 RGB.

        Returns:
            (3, h', w') float32.
        """
        height, width = self._resized(*picture.shape[:2])
        if (height, width) != picture.shape[:2]:
            filter = Image.Resampling(self.resample)
            picture = np.asarray(Image.fromarray(picture).resize((width, height), filter))
        if self.crop is not None:
            top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
            picture = picture[top : top + self.crop[0], left : left + self.crop[1]]
        values: NDArray[Any] = picture.astype(np.float32) * np.float32(self.factor)
        if self.mean is not None and self.std is not None:
            values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.exact is not None:
            return self.exact
        if self.shortest is None:
            return height, width
        short, long = sorted((height, width))
        shortest = self.shortest
        if self.longest is not None and long / short * shortest > self.longest:
            shortest = round(self.longest * short / long)
        other = int(shortest * long / short)
        return (shortest, other) if height <= width else (other, shortest)
