"""The colours of a picture with a profile, turned to sRGB."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from hdpainter_nb.utils.messages import because

__all__ = ["ColourConversion"]

_SAME = 2  # levels by which a profile may differ from sRGB and still be it


@dataclass(frozen=True)
class ColourConversion:
    """How the colours of a picture become sRGB."""

    transform: ImageCms.ImageCmsTransform
    mode: str  # what it takes: RGB, L, CMYK or LAB

    @classmethod
    def of(cls, image: Image.Image) -> tuple[ColourConversion | None, str]:
        """The conversion that a picture needs, and what to tell about it; None for sRGB."""
        data = image.info.get("icc_profile")
        if (not data and image.mode != "LAB") or image.mode in {"1", "I", "F"}:
            return None, ""
        try:
            profile = ImageCms.ImageCmsProfile(
                io.BytesIO(data) if data else ImageCms.createProfile("LAB")
            )
            name = " ".join(ImageCms.getProfileDescription(profile).split())[:80] or "unnamed"
            space = profile.profile.xcolor_space.strip()
            if space not in _spaces(image.mode):
                return None, (
                    f"The picture is {image.mode} and its colour profile ({name}) is for {space}; "
                    "it was not used. Save the picture as sRGB if its colours look wrong."
                )
            mode = {"GRAY": "L", "Lab": "LAB"}.get(space, space)
            transform = ImageCms.buildTransform(
                profile,
                ImageCms.createProfile("sRGB"),
                mode,
                "RGB",
                ImageCms.Intent(ImageCms.getDefaultIntent(profile)),
            )
            if _is_srgb(transform, mode):
                return None, ""
        except Exception as reason:  # littleCMS and Pillow raise anything over a damaged profile
            return None, (
                f"The picture's colour profile cannot be used ({because(reason)}); its colours "
                "were taken as sRGB. Save the picture as sRGB if they look wrong."
            )
        told = f"The picture's colours were converted from its profile ({name}) to sRGB."
        return cls(transform, mode), told if data else ""

    def apply(self, block: Image.Image) -> Image.Image:
        """A part of the picture, 8 bits, as RGB or RGBA in sRGB."""
        converted = self.transform.apply(
            block if block.mode == self.mode else block.convert(self.mode)
        )
        if "A" in block.getbands():
            converted.putalpha(block.getchannel("A"))
        return converted


def _spaces(mode: str) -> set[str]:
    """The colour spaces whose profiles can belong to a picture of this mode."""
    if mode in {"CMYK", "LAB"}:
        return {"CMYK" if mode == "CMYK" else "Lab"}
    grey = mode in {"L", "LA", "La"} or mode.startswith("I;16")
    return {"RGB", "GRAY"} if grey else {"RGB"}


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a conversion leaves RGB or grey as it is, by a grid of colours."""
    if mode == "L":
        grid = np.arange(256, dtype=np.uint8)[None]
    elif mode == "RGB":
        levels = np.linspace(0, 255, 17).astype(np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(17, -1, 3)
    else:
        return False
    after = np.asarray(transform.apply(Image.fromarray(grid))).astype(int)
    return bool(np.abs(after - grid.reshape(*after.shape[:2], -1)).max() <= _SAME)
