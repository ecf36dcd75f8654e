"""Pictures as files: one as PNG, several as an animated GIF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.files import replacing
from hdpainter_nb.utils.messages import because
from hdpainter_nb.views.colour import picture_array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_image", "gif", "save_png"]


def as_image(picture: Any) -> Image:
    """A `PIL.Image` in RGB from an array or an image of any mode.

    Raises:
        ValueError: it is no picture, or an image that cannot be read any more.
    """
    from PIL import Image as pil

    if isinstance(picture, pil.Image):
        try:
            return picture.convert("RGB")
        except Exception as error:  # closed, or of a damaged file
            raise ValueError(f"the image cannot be drawn: {because(error)}") from error
    return pil.fromarray(picture_array(picture))


@checked
def save_png(picture: Any, path: str | Path) -> Path:
    """Write an array, an image or a matplotlib figure as PNG; the folder is made if need be."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        if hasattr(picture, "savefig"):
            picture.savefig(part, format="png", facecolor="white")
        else:
            as_image(picture).save(part, format="PNG", optimize=True)
    return target


@checked
def gif(images: Iterable[Any], path: str | Path, fps: float = 5.0, hold: float = 1.0) -> Path:
    """Write the images as an endlessly looping GIF.

    Args:
        images: arrays or images; all take the first one's size.
        path: the file to write.
        fps: images per second, up to 50, which is as fast as browsers play a GIF.
        hold: extra seconds on the last image, so that the result can be looked at.

    Raises:
        ValueError: no images, `fps` outside 0.1 .. 50, or `hold` above 600.
    """
    from PIL import Image as pil

    if not 0.1 <= fps <= 50:
        raise ValueError(f"fps must be from 0.1 to 50, not {fps!r}")
    if hold > 600:  # the format has two bytes for hundredths of a second
        raise ValueError(f"hold must be at most 600 seconds, not {hold!r}")
    frames = [as_image(image) for image in images]
    if not frames:
        raise ValueError("there are no images to write")
    size = frames[0].size
    frames = [f if f.size == size else f.resize(size, pil.Resampling.LANCZOS) for f in frames]
    # One palette for all frames: with a palette of its own, each frame would shimmer.
    palette = _shared_palette(frames)
    drawn = [f.quantize(palette=palette, dither=pil.Dither.FLOYDSTEINBERG) for f in frames]
    each = max(20, round(1000 / fps))
    times = [each] * (len(drawn) - 1) + [each + round(1000 * max(0.0, hold))]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        drawn[0].save(
            part, format="GIF", save_all=True, append_images=drawn[1:], duration=times, loop=0
        )
    return target


def _shared_palette(frames: list[Image]) -> Image:
    """256 colours chosen over a few frames spread evenly, the last one among them."""
    from PIL import Image as pil

    count = min(8, len(frames))
    spread = (round((i + 1) * len(frames) / count) - 1 for i in range(count))
    chosen = [frames[i].resize((96, 96)) for i in spread]
    sheet = pil.new("RGB", (96 * len(chosen), 96))
    for i, frame in enumerate(chosen):
        sheet.paste(frame, (96 * i, 0))
    return sheet.quantize(256)
