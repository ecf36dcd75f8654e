"""The x4 upscaler as its sampler needs it: `load_upscaler`, and `UpscaleModel.prepare` a job."""

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
from hdpainter_nb.models.conditioning import TextConditioning, UNetInputs
from hdpainter_nb.models.defaults import ModelDefaults
from hdpainter_nb.models.devices import Offload
from hdpainter_nb.models.families import UPSCALING, Family
from hdpainter_nb.models.loading import open_pipeline
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.prompt import PromptText, embed
from hdpainter_nb.models.schedulers import PredictionType, State
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.upscale import geometry
from hdpainter_nb.upscale.geometry import Geometry
from hdpainter_nb.upscale.job import UpscaleJob
from hdpainter_nb.utils.checked import checked

__all__ = [
    "UpscaleConditioning",
    "UpscaleLayout",
    "UpscaleModel",
    "encode",
    "load_upscaler",
]


@checked(error=ModelError)
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
    loaded = open_pipeline(source, device, dtype, options, UPSCALING, offload=offload)
    return UpscaleModel.from_pipeline(loaded.pipe, name=loaded.name, defaults=loaded.defaults)


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


@checked(error=ModelError)
class UpscaleModel(Model):
    """The x4 upscaler: a UNet of 7 channels and, unless it is bare, its text encoder and VAE.

    Made by `load_upscaler`, or by `UpscaleModel.from_unet`.

    Attributes:
        low_alphas: (T,) cumulative alphas of the noise on the small picture.
        max_noise_level: the largest noise level that it was trained for.
    """

    factor: ClassVar[int] = geometry.FACTOR
    channels: ClassVar[tuple[int, ...]] = UPSCALING.channels
    _conditioning: ClassVar[str] = "an UpscaleConditioning"
    low_alphas: Tensor
    max_noise_level: int = 350

    @classmethod
    def from_pipeline(
        cls, pipe: Any, *, name: str | None = None, defaults: ModelDefaults | None = None
    ) -> Self:
        """Wrap a pipeline that `families.check_pipeline` has accepted."""
        model = super().from_pipeline(pipe, name=name, defaults=defaults or UPSCALING.defaults)
        model.low_alphas = pipe.low_res_scheduler.alphas_cumprod.float().cpu()
        model.max_noise_level = int(pipe.config.get("max_noise_level", cls.max_noise_level))
        return model

    @classmethod
    def from_unet(
        cls,
        unet: Any,
        *,
        betas: Tensor | None = None,
        prediction_type: PredictionType = "v_prediction",
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

    @property
    def family(self) -> Family:
        """What its pipeline is like."""
        return UPSCALING

    def upcasts(self, dtype: torch.dtype) -> bool:
        """As the stock pipeline has it: in float16 this VAE overflows, unless it says otherwise."""
        wanted = getattr(self.pipe.vae.config, "force_upcast", True)
        return bool(wanted) and dtype == torch.float16

    def layout(self, job: UpscaleJob) -> UpscaleLayout:  # type: ignore[override]  # other jobs
        """The sizes, pictures and tokens of a job, before any network runs.

        Raises:
            ModelError: this is a bare UNet.

        Warns:
            PromptWarning: part of the prompt does not reach the model.
        """
        return UpscaleLayout.of(job, self.read_text(job.prompt, job.settings))

    def empty_conditioning(  # type: ignore[override]  # other jobs
        self, job: UpscaleJob
    ) -> UpscaleConditioning:
        """What `prepare` gives, but with empty tensors on the meta device: no network runs."""
        return self.layout(job).empty(self.unet.config.cross_attention_dim, self.dtype)

    def prepare(  # type: ignore[override]  # its jobs hold a small picture as well
        self, job: UpscaleJob
    ) -> tuple[UpscaleConditioning, State]:
        """Turn a job into what the UNet needs, and draw the starting noise.

        Random numbers are drawn in the stock pipeline's order: the small picture's noise first.

        Raises:
            ModelError: this is a bare UNet; the VAE gives no finite numbers.
            SettingsError: a noise level above `max_noise_level`.
        """
        if job.settings.noise_level > self.max_noise_level:
            raise SettingsError(
                f"noise_level must be at most {self.max_noise_level} for {self.name!r}, "
                f"not {job.settings.noise_level}."
            )
        # no decorator: a warning names the caller's line, not torch's
        with torch.no_grad(), self._at_work("encoding", None, job.geometry().frame):
            return encode(
                self.layout(job),
                self.stock_pipeline(),
                device=self.device,
                dtype=self.dtype,
                low_alphas=self.low_alphas,
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class UpscaleLayout:
    """Where a job's pictures come to lie, and what its text is; no network has run.

    H, W: the frame; h, w = H/4, W/4.
    """

    settings: UpscaleSettings
    geometry: Geometry
    large: NDArray[np.uint8]  # (H, W, 3): the original
    hole: NDArray[np.bool_]  # (H, W)
    small: NDArray[np.uint8]  # (h, w, 3)
    text: PromptText

    @classmethod
    def of(cls, job: UpscaleJob, text: PromptText) -> Self:
        """Lay out a job's pictures in their frames.

        Args:
            job: what to make larger.
            text: its prompt, read.
        """
        sizes = job.geometry()
        return cls(
            settings=job.settings,
            geometry=sizes,
            large=resize.pad_to(resize.resize(job.image, sizes.work), sizes.frame),
            hole=resize.pad_to(_resized_mask(job.mask, sizes.work), sizes.frame),
            small=resize.pad_to(job.low, sizes.low_frame),
            text=text,
        )

    def conditioning(
        self, *, context: Tensor, low: Tensor, known: Tensor, soft: Tensor, hard: Tensor
    ) -> UpscaleConditioning:
        """What the UNet is told: what networks make, and what needs none of them."""
        tokens = self.text.tokens
        return UpscaleConditioning(
            context=context,
            low=low,
            noise_level=self.settings.noise_level,
            known=known,
            soft=soft,
            hard=hard,
            indices=tokens.indices,
            words=tokens.words,
            tokens=tokens.tokens,
            size=self.geometry.frame,
            crop=(0, 0, *self.geometry.work),
        )

    def empty(self, width: int, dtype: torch.dtype) -> UpscaleConditioning:
        """The same with empty tensors on the meta device.

        Args:
            width: d, of the text embeddings.
            dtype: of the text embeddings.
        """
        context = torch.empty(2, self.text.length, width, dtype=dtype, device="meta")
        latents = torch.empty(1, 4, *self.geometry.low_frame, device="meta")
        mask = latents[:, :1]
        return self.conditioning(
            context=context, low=latents[:, :3], known=latents, soft=mask, hard=mask
        )


def encode(
    layout: UpscaleLayout,
    pipeline: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    low_alphas: Tensor,
) -> tuple[UpscaleConditioning, State]:
    """Run the text encoder and the VAE on a job's layout, and draw the starting noise.

    Args:
        layout: of the job.
        pipeline: a stock pipeline of diffusers, whose parts do the work.
        device: where latents live.
        dtype: of latents and text embeddings.
        low_alphas: (T,) cumulative alphas of the noise on the small picture.

    Raises:
        ModelError: the VAE gives no finite numbers.
    """
    settings, (height, width) = layout.settings, layout.geometry.low_frame
    context, _ = embed(pipeline, layout.text, device, dtype)

    rng = torch.Generator("cpu").manual_seed(settings.seed)
    clean = _to_units(layout.small).to(device, dtype)
    noise = torch.randn(clean.shape, generator=rng, dtype=dtype).to(device)
    latents = torch.randn((1, 4, height, width), generator=rng, dtype=dtype).to(device)
    known = vae.encode(pipeline, _to_units(layout.large), "mean", rng)
    soft = torch.from_numpy(soft_mask(layout.hole, (height, width)))[None, None]
    hard = masks.to_unet(layout.hole, "dilate_any", geometry.FACTOR)
    conditioning = layout.conditioning(
        context=context,
        low=ddim.add_noise(clean, noise, low_alphas[settings.noise_level]),
        known=known.to(device, dtype),
        soft=soft.to(device, dtype),
        hard=hard.to(device, dtype),
    )
    return conditioning, State(index=0, latents=latents, rng=rng.get_state())


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
