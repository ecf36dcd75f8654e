"""The x4 upscaler as its sampler needs it: `load_upscaler`, `UpscaleModel`, `UpscaleJob`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.images import resize
from hdpainter_nb.method import ddim, masks
from hdpainter_nb.method.blending import soft_mask
from hdpainter_nb.models import vae
from hdpainter_nb.models.conditioning import TextConditioning, UNetInputs, read_text
from hdpainter_nb.models.defaults import ModelDefaults
from hdpainter_nb.models.devices import Offload
from hdpainter_nb.models.families import UPSCALING
from hdpainter_nb.models.loading import open_pipeline
from hdpainter_nb.models.model import Model, Prediction
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.upscale import geometry
from hdpainter_nb.upscale.job import UpscaleJob

__all__ = ["UpscaleConditioning", "UpscaleModel", "load_upscaler"]


def load_upscaler(
    source: Any = "x4",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: Offload | None = None,
    **options: Any,
) -> UpscaleModel:
    """Load the x4 upscaler by name, or take a diffusers pipeline as it is.

    Args:
        source: ``mini`` (bundled, made for the bundled inpainting miniature); ``x4`` (Stability's,
            from the hub); a hub id; a folder; a .safetensors or .ckpt file; or a
            `StableDiffusionUpscalePipeline`, which stays as it is.
        device, dtype, offload, options: as for `load`.

    Raises:
        ModelError: as `load` does.
    """
    opened = open_pipeline(source, device, dtype, options, UPSCALING, offload=offload)
    return UpscaleModel.from_pipeline(opened.pipe, name=opened.name, card=opened.card)


@dataclass(frozen=True, eq=False, kw_only=True)
class UpscaleConditioning(TextConditioning):
    """A job as the upscaler's UNet needs it. H, W: the frame; h, w = H/4, W/4."""

    low: Tensor  # (1, 3, h, w): the small picture with noise, in -1..1 and beyond
    noise_level: int
    known: Tensor  # (1, 4, h, w): E(I)
    soft: Tensor  # (1, 1, h, w): M of eq. 10
    hard: Tensor  # (1, 1, h, w): the same without its soft edge

    def unet_inputs(self, x: Tensor, halves: slice) -> UNetInputs:
        """[x, small picture] of 7 channels and the noise level, for the halves (see the base)."""
        context = self.context[halves]
        stacked = torch.cat([x, self.low], 1).expand(len(context), -1, -1, -1)
        labels = torch.full((len(context),), self.noise_level, device=x.device)
        return UNetInputs(stacked, context, class_labels=labels)


class UpscaleModel(Model):
    """The x4 upscaler: a UNet of 7 channels and, unless it is bare, its text encoder and VAE.

    Made by `load_upscaler`, or by `UpscaleModel.from_unet`.

    Attributes:
        low_alphas: (T,) cumulative alphas of the noise on the small picture.
        max_noise_level: the largest noise level that it was trained for.
    """

    factor: ClassVar[int] = geometry.FACTOR
    channels: ClassVar[tuple[int, ...]] = UPSCALING.channels
    low_alphas: Tensor
    max_noise_level: int = 350

    @classmethod
    def from_pipeline(
        cls, pipe: Any, *, name: str | None = None, card: ModelDefaults | None = None
    ) -> Self:
        """Wrap a pipeline that `families.check_pipeline` has accepted."""
        model = super().from_pipeline(pipe, name=name, card=card or UPSCALING.card)
        model.low_alphas = pipe.low_res_scheduler.alphas_cumprod.float().cpu()
        model.max_noise_level = int(pipe.config.get("max_noise_level", cls.max_noise_level))
        return model

    @classmethod
    def from_unet(
        cls,
        unet: Any,
        *,
        betas: Tensor | None = None,
        prediction_type: Prediction = "v_prediction",
    ) -> Self:
        """Wrap a bare UNet: it can be sampled from a ready `UpscaleConditioning`, but not decoded.

        Args:
            unet: a `UNet2DConditionModel` with 7 input channels and noise levels as classes.
            betas: (T,); None takes the x4 upscaler's (scaled-linear, 0.0001 .. 0.02, 1000).
            prediction_type: ``epsilon`` or ``v_prediction``.

        Raises:
            ModelError: as `Model.from_unet` does.
        """
        if betas is None:
            betas = torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float32) ** 2
        model = super().from_unet(unet, betas=betas, prediction_type=prediction_type)
        model.low_alphas = model.alphas_cumprod
        return model

    @property
    def kind(self) -> str:
        """``x4``."""
        return "x4"

    def upcasts(self, dtype: torch.dtype) -> bool:
        """As the stock pipeline has it: in float16 this VAE overflows, unless it says otherwise."""
        said = getattr(self.parts().vae.config, "force_upcast", True)
        return bool(said) and dtype == torch.float16

    def parts(self) -> Any:
        """The pipeline itself, whose scheduler nobody here touches.

        Raises:
            ModelError: this is a bare UNet.
        """
        if self.pipe is None:
            raise ModelError(
                "A bare UNet has no text encoder and no VAE: load a whole model, or build an "
                "UpscaleConditioning."
            )
        return self.pipe

    def prepare(  # type: ignore[override]  # its jobs hold a small picture as well
        self, job: UpscaleJob
    ) -> tuple[UpscaleConditioning, State]:
        """Turn a job into what the UNet needs, and draw the starting noise.

        Random numbers are drawn in the stock pipeline's order: the small picture's noise first.

        Raises:
            ModelError: this is a bare UNet; the VAE gives no finite numbers.
            SettingsError: a noise level above `max_noise_level`.
        """
        with torch.no_grad(), out_of_memory_explained(self, "encoding", None, job.geometry().frame):
            return _prepare(self, job)


def _prepare(model: UpscaleModel, job: UpscaleJob) -> tuple[UpscaleConditioning, State]:
    parts, device, dtype, settings = model.parts(), model.device, model.dtype, job.settings
    if settings.noise_level > model.max_noise_level:
        raise SettingsError(
            f"noise_level must be at most {model.max_noise_level} for {model.name!r}, "
            f"not {settings.noise_level}."
        )
    room = job.geometry()
    large = resize.pad_to(resize.resize(job.image, room.work), room.frame)
    hole = resize.pad_to(_resized_mask(job.mask, room.work), room.frame)
    small = resize.pad_to(job.low, room.low_frame)
    height, width = room.low_frame
    context, tokens = read_text(model, parts, job)

    rng = torch.Generator("cpu").manual_seed(settings.seed)
    clean = _to_units(small).to(device, dtype)
    noise = torch.randn(clean.shape, generator=rng, dtype=dtype).to(device)
    alpha = model.low_alphas[settings.noise_level]
    latents = torch.randn((1, 4, height, width), generator=rng, dtype=dtype).to(device)
    soft = torch.from_numpy(soft_mask(hole, (height, width)))[None, None]
    hard = masks.to_unet(hole, "dilate_any", model.factor)
    cond = UpscaleConditioning(
        context=context,
        low=ddim.add_noise(clean, noise, alpha),
        noise_level=settings.noise_level,
        known=vae.encode(parts, _to_units(large), "mean", rng).to(device, dtype),
        soft=soft.to(device, dtype),
        hard=hard.to(device, dtype),
        indices=tokens.indices,
        words=tokens.words,
        tokens=tokens.tokens,
        size=room.frame,
        crop=(0, 0, *room.work),
    )
    return cond, State(index=0, latents=latents, rng=rng.get_state())


def _to_units(picture: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 as (1, 3, H, W) in -1..1, rounded as diffusers' image processor does."""
    unit = torch.from_numpy(picture.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
    return 2.0 * unit - 1.0


def _resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A position wherever any masked pixel falls."""
    if mask.shape == size:
        return mask
    grey = np.repeat(mask.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
    return np.asarray(resize.resize(grey, size)[..., 0] > 0)
