"""A model as the sampler needs it: `load` one, `Model.prepare` a job for it, `Model.decode`.

Built on the pipeline's own parts, so that with PAIntA and RASG off the numbers are those of the
stock `StableDiffusionInpaintPipeline`. The pipeline itself is never moved, cast or patched.
"""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb import vae
from hdpainter_nb.control import open_control
from hdpainter_nb.families import INPAINTING_XL
from hdpainter_nb.loading import open_pipeline
from hdpainter_nb.network import Network, Prediction
from hdpainter_nb.placement import Offload
from hdpainter_nb.prepare import prepare
from hdpainter_nb.shortage import enough_memory
from hdpainter_nb.types import Cond, Conditions, Job, State
from hdpainter_nb.vae_run import Tile, own_tile

__all__ = ["Model", "Prediction", "load"]


def load(
    source: Any = "mini",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: Offload | None = None,
    controlnet: Any = None,
    **options: Any,
) -> Model:
    """Load a model by name, or take a diffusers pipeline as it is.

    Args:
        source: ``mini`` (bundled), ``dreamshaper-8``, ``sd15``, ``sd2`` or ``sdxl``; a hub id; a
            folder; a .safetensors or .ckpt file; or a diffusers pipeline of Stable Diffusion 1.x,
            2.x or XL, whose LoRAs, device, dtype and offloading stay as they are. 9 input channels
            (inpainting models) and 4 (ordinary ones: blended latent diffusion) both serve.
        device: where to put it; None takes CUDA, else MPS, else the CPU.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None takes float16 on CUDA and float32
            elsewhere, since guidance's gradients overflow half precision on Apple GPUs.
        offload: keep the weights in main memory and fetch them to the GPU network by network
            (``model``), or layer by layer (``sequential``: the least memory, but slow).
        controlnet: a hub id, a folder or a `diffusers.ControlNetModel` of Stable Diffusion 1.x or
            2.x, to follow the picture of `Job(..., control=picture)`. That of a ready ControlNet
            pipeline is taken without asking.
        options: `variant`, `revision`, `token`, `cache_dir`, `local_files_only`, as diffusers has
            them; for a single file also `config` (a folder in diffusers layout, for work without
            a network) and `original_config`.

    Raises:
        ModelError: no such model, file, GPU or option; another family; damaged weights; the hub
            cannot be reached. The message says what to do.
    """
    opened = open_pipeline(source, device, dtype, options, offload=offload)
    model = Model.from_pipeline(opened.pipe, name=opened.name, card=opened.card)
    if controlnet is not None:
        model.controlnet = open_control(controlnet, model)
    return model


class Model(Network):
    """A UNet with its noise schedule and, unless it is bare, its text encoder and VAE.

    Made by `load`, or by `Model.from_unet`.
    """

    def prepare(self, job: Job) -> tuple[Cond, State]:
        """Turn a job into what the UNet needs, and draw the starting noise.

        Random numbers are drawn on the CPU in the stock pipeline's order, from one generator whose
        state goes on in `State.rng`. A larger picture is scaled down to `Settings.long_side` or to
        the model's size, never up, except under ``size="squash"``, which always fills the square.

        Raises:
            ModelError: this is a bare UNet; the VAE gives no finite numbers.

        Warns:
            PromptWarning: part of the prompt does not reach the model, or it has no word to match.
            HDPainterWarning: the hole vanishes at H/16 or H/32.
        """
        side = (job.settings.long_side or self.native_size,) * 2
        with enough_memory(self, "encoding", job.settings, side):
            return prepare(self, job)

    def decode(
        self, latents: Tensor | NDArray[Any], cond: Conditions | None = None, *, exact: bool = True
    ) -> NDArray[np.uint8]:
        """The picture that latents stand for, without the padding that `prepare` added.

        Args:
            latents: (1, 4, h, w) or (4, h, w).
            cond: where they come from; without it nothing is cut off.
            exact: decode the picture in one piece, as the stock pipeline does, where the memory
                suffices; on CUDA that is counted beforehand. If not, pictures larger than those
                the VAE was made for are decoded in overlapping tiles of that size, which takes
                less memory and differs a little near the seams.

        Returns:
            (H, W, 3).

        Raises:
            ModelError: this is a bare UNet; latents or picture are not finite.
            OutOfMemoryError: not even the smallest tile fits.

        Warns:
            HDPainterWarning: the memory does not suffice for one piece, so tiles were used, as
                large as fit.
        """
        parts = self.parts()
        stack = torch.as_tensor(latents, device=self.device, dtype=self.dtype)
        stack = stack.reshape(1, *stack.shape[-3:])  # (1, 4, h, w)
        tile: Tile = "auto" if exact else own_tile(parts.vae)
        size = self.factor * stack.shape[-2], self.factor * stack.shape[-1]
        with enough_memory(self, "decoding", None, size):
            picture = vae.decode(parts, stack, tile=tile, float32=self.upcasts(parts.vae.dtype))
        if cond is None:
            return picture
        top, left, height, width = cond.crop
        return picture[top : top + height, left : left + width]

    def preview(self, latents: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """A linear RGB reading of latents, of their size; costs next to nothing.

        The first call fits the reading to the model's VAE. For a bare UNet it is a fixed one.

        Args:
            latents: (1, 4, h, w) or (4, h, w).

        Returns:
            (h, w, 3).
        """
        if self._preview is None:
            self._preview = vae.NEUTRAL if self.pipe is None else self._fitted_preview()
        return vae.to_rgb(latents, self._preview)

    def _fitted_preview(self) -> vae.Matrix:
        with enough_memory(self, "encoding", None, (vae.CHART, vae.CHART)):
            return vae.fit_preview(self.parts(), self.factor)

    def upcasts(self, dtype: torch.dtype) -> bool:
        """Whether a VAE of this dtype decodes in float32; else only where half overflows."""
        large = dtype == torch.float16 and self.family is INPAINTING_XL
        return large and bool(self.pipe.vae.config.force_upcast)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {', '.join(self._facts().values())})"

    def _repr_html_(self) -> str:
        facts = "".join(f"<li>{key}: {html.escape(v)}</li>" for key, v in self._facts().items())
        return f"<b>{html.escape(self.name)}</b><ul>{facts}</ul>"
