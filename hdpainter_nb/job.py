"""What a user wants painted: `Job`, a picture with a hole."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import ImageError, MaskError, SettingsError
from hdpainter_nb.images.fit import counts
from hdpainter_nb.settings import AnyPreset, BaseSettings, Settings
from hdpainter_nb.utils import html
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.wording import method_said, said

if TYPE_CHECKING:
    from hdpainter_nb.images.control import Guide

__all__ = ["BaseJob", "Job"]

S = TypeVar("S", bound=BaseSettings)


@checked
@dataclass(frozen=True, init=False, eq=False)
class BaseJob(Generic[S]):
    """A picture with a hole, what to paint there, and the settings: base of every kind of job."""

    image: NDArray[np.uint8]  # (H, W, 3)
    mask: NDArray[np.bool_]  # (H, W): what counts as hole, which may depend on the settings
    mask_levels: NDArray[np.uint8]  # (H, W): as it was given, black to white
    prompt: str
    settings: S

    def __init__(self, image: Any, mask: Any, prompt: str, settings: S) -> None:
        from hdpainter_nb.images.read import read_image, read_mask_levels

        picture = read_image(image)
        size = picture.shape[0], picture.shape[1]
        levels = read_mask_levels(mask, size, soft_mask=settings.soft_mask)
        object.__setattr__(self, "image", picture)
        object.__setattr__(self, "mask_levels", levels)
        object.__setattr__(self, "mask", counts(levels, settings.soft_mask))
        object.__setattr__(self, "prompt", _text("prompt", prompt))
        object.__setattr__(self, "settings", settings)

    @property
    def soft_mask_levels(self) -> NDArray[np.uint8] | None:
        """(H, W): the mask's grey, if it has any: what `mask` does not say."""
        return None if np.isin(self.mask_levels, (0, 255)).all() else self.mask_levels

    def replace(self, *, prompt: str | None = None, **settings: Any) -> Self:
        """The same picture and mask with another prompt or other settings."""
        job = copy.copy(self)
        if prompt is not None:
            object.__setattr__(job, "prompt", _text("prompt", prompt))
        object.__setattr__(job, "settings", self.settings.replace(**settings))
        if job.settings.soft_mask != self.settings.soft_mask:
            mask = counts(self.mask_levels, job.settings.soft_mask)
            if not mask.any():
                raise MaskError(
                    f"With soft_mask={job.settings.soft_mask!r} nothing of this mask is hole: its "
                    f"brightest value is {int(self.mask_levels.max())} of 255."
                )
            object.__setattr__(job, "mask", mask)
        return job

    def part(self, window: tuple[slice, slice]) -> Self:
        """The same job on a window (rows, columns) of its picture."""
        job = copy.copy(self)
        object.__setattr__(job, "image", self.image[window].copy())
        object.__setattr__(job, "mask", self.mask[window].copy())
        object.__setattr__(job, "mask_levels", self.mask_levels[window].copy())
        return job

    def __repr__(self) -> str:
        height, width = self.mask.shape
        share = self.mask.mean()
        return (
            f"{type(self).__name__}({width}x{height} px, {share:.0%} to fill, "
            f"prompt={self.prompt!r}, "
            f"{self.settings.method}, {self.settings.steps} steps, seed {self.settings.seed})"
        )

    def _repr_html_(self) -> str:
        height, width = self.mask.shape
        changed = self.settings.changed()
        return html.card(
            html.picture(html.with_mask(self.image, self.mask)),
            html.table(
                {
                    "prompt": self.prompt,
                    "size": f"{width} x {height} px, {self.mask.mean():.0%} to fill",
                    "method": method_said(self.settings.method),
                    "steps, seed": f"{self.settings.steps}, {self.settings.seed}",
                    "other than default": ", ".join(said(k, v) for k, v in changed.items()),
                }
            ),
        )


@checked
@dataclass(frozen=True, init=False, eq=False, repr=False)
class Job(BaseJob[Settings]):
    """What to paint: an image, a mask (1 = fill), a prompt and the `Settings`.

    Args:
        image: (H, W, 3) uint8 array, PIL image or path; other kinds are converted
            (greyscale, alpha over white, EXIF rotation, 16 bit).
        mask: (H, W) bool array, PIL image or path, True or white where to fill; None fills all.
            Which grey counts as hole is a setting, `soft_mask`.
        prompt: what to paint there. May be empty.
        preset: ``official``, ``paper``, ``community`` or ``practical`` (`PRESETS`); ``bld``,
            ``bld_sdxl`` or ``bld_ldm`` (`BASELINES`): starting point for `settings`.
        control: what a ControlNet is to follow (edges, depth, ...), of the size of `image`; the
            model needs one. Floats are taken as they are, in -1 .. 1; all else is read like
            `image` and divided by 255. ``"inpaint"``: the picture itself with -1 in the hole, for
            a ControlNet that was trained on that (``lllyasviel/control_v11p_sd15_inpaint``).
        settings: any field of `Settings`, by name.

    Raises:
        ImageError, MaskError: the picture or mask cannot be used; the message says what to do.
        SettingsError: unknown or impossible setting.
    """

    control: Guide | None  # (H, W, 3): uint8 for 0 .. 1, or float32 as it is

    def __init__(
        self,
        image: Any,
        mask: Any,
        prompt: str,
        *,
        preset: AnyPreset = "official",
        control: Any = None,
        **settings: Any,
    ) -> None:
        from hdpainter_nb.images.control import read_control

        super().__init__(image, mask, prompt, Settings.preset(preset, **settings))
        guide: Guide | None = None
        if isinstance(control, str) and control == "inpaint":
            guide = self._inpaint_control()
        elif control is not None:
            guide = read_control(control)
        if guide is not None and guide.shape != self.image.shape:
            raise ImageError(
                f"control has {guide.shape[1]}x{guide.shape[0]} px, the image "
                f"{self.image.shape[1]}x{self.image.shape[0]}: make them the same size."
            )
        if guide is None and self.settings.control_scale is not None:
            raise SettingsError("control_scale needs a control picture: Job(..., control=picture).")
        object.__setattr__(self, "control", guide)
        if guide is not None and self.settings.control_scale is None:
            object.__setattr__(self, "settings", self.settings.replace(control_scale=1.0))

    @property
    def follows_its_hole(self) -> bool:
        """Whether the control picture is what ``control="inpaint"`` makes of image and mask."""
        return (
            self.control is not None
            and self.control.dtype == np.float32
            and np.array_equal(self.control, self._inpaint_control())
        )

    def _inpaint_control(self) -> NDArray[np.float32]:
        from hdpainter_nb.images.control import inpaint_control

        return inpaint_control(self.image, self.mask)

    def replace(self, *, prompt: str | None = None, **settings: Any) -> Self:
        """The same picture and mask with another prompt or other settings."""
        job = super().replace(prompt=prompt, **settings)
        if job.settings.soft_mask != self.settings.soft_mask and self.follows_its_hole:
            object.__setattr__(job, "control", job._inpaint_control())
        return job

    def part(self, window: tuple[slice, slice]) -> Self:
        """The same job on a window (rows, columns) of its picture."""
        job = super().part(window)
        if self.control is not None:
            object.__setattr__(job, "control", self.control[window].copy())
        return job


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be a string, not {type(value).__name__}.")
    return value
