"""A UNet and what is to be known of it: `Network`, the base of `Model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from hdpainter_nb.card import Card
from hdpainter_nb.control import usable
from hdpainter_nb.errors import ModelError
from hdpainter_nb.families import INPAINTING, INPAINTING_XL, Family
from hdpainter_nb.placement import placed

__all__ = ["Network", "Prediction"]

Prediction = Literal["epsilon", "v_prediction"]


class Network:
    """A UNet with its noise schedule, and the pipeline that it came in.

    Attributes:
        name: what it was loaded as.
        pipe: the diffusers pipeline, as it was given; None for a bare UNet.
        betas, alphas_cumprod: (T,) float32 on the CPU; T is 1000 for Stable Diffusion.
        final_alpha: () the alpha that the last step leads to (alpha_0, or 1 by the scheduler's
            ``set_alpha_to_one``).
        prediction_type: ``epsilon`` or ``v_prediction``.
        guidance_scale, positive_suffix, negative_prompt: the model's defaults.
        controlnet: what follows a job's control picture; None without one.
    """

    factor: ClassVar[int] = 8  # pixels per latent position
    channels: ClassVar[tuple[int, ...]] = (4, 9)  # input channels that its UNet may have

    def __init__(
        self,
        *,
        unet: Any,
        pipe: Any,
        name: str,
        betas: Tensor,
        alphas_cumprod: Tensor,
        prediction_type: Prediction,
        card: Card,
        final_alpha: Tensor | None = None,
    ) -> None:
        self._unet = unet
        self.pipe = pipe
        self.name = name
        self.betas = betas
        self.alphas_cumprod = alphas_cumprod
        self.final_alpha = alphas_cumprod[0] if final_alpha is None else final_alpha
        self.prediction_type = prediction_type
        self.guidance_scale = float(card.guidance_scale)
        self.positive_suffix = card.positive_suffix
        self.negative_prompt = card.negative_prompt
        own = None if pipe is None else pipe.components.get("controlnet")
        self.controlnet: Any = own if own is not None and usable(own) else None
        self._preview = None if card.preview is None else np.asarray(card.preview, np.float32)

    @classmethod
    def from_pipeline(cls, pipe: Any, *, name: str | None = None, card: Card | None = None) -> Self:
        """Wrap a pipeline that `families.check_pipeline` has accepted; `load` does both."""
        schedule = _ddim(pipe.scheduler)
        return cls(
            unet=pipe.unet,
            pipe=pipe,
            name=name or type(pipe).__name__,
            betas=schedule.betas.float().cpu(),
            alphas_cumprod=schedule.alphas_cumprod.float().cpu(),
            prediction_type=schedule.config.prediction_type,
            card=card or Card(),
            final_alpha=schedule.final_alpha_cumprod.float().cpu(),
        )

    @classmethod
    def from_unet(
        cls, unet: Any, *, betas: Tensor | None = None, prediction_type: Prediction = "epsilon"
    ) -> Self:
        """Wrap a bare UNet: it can be sampled from a ready `Cond`, but neither prepare nor decode.

        Args:
            unet: a `UNet2DConditionModel` with 4 or 9 input channels.
            betas: (T,); None takes Stable Diffusion's (scaled-linear, 0.00085 .. 0.012, 1000).
            prediction_type: ``epsilon`` or ``v_prediction``.

        Raises:
            ModelError: other channels, another prediction type, betas outside 0 .. 1.
        """
        if unet.config.in_channels not in cls.channels:
            known, found = " or ".join(map(str, cls.channels)), unet.config.in_channels
            raise ModelError(f"A UNet needs {known} input channels, not {found}.")
        if prediction_type not in ("epsilon", "v_prediction"):
            raise ModelError(f"{prediction_type=} is neither 'epsilon' nor 'v_prediction'.")
        if betas is None:
            betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
        betas = torch.as_tensor(betas, dtype=torch.float32).cpu()
        if betas.ndim != 1 or not len(betas) or not bool(((betas > 0) & (betas < 1)).all()):
            raise ModelError("betas must be a row of numbers between 0 and 1.")
        return cls(
            unet=unet,
            pipe=None,
            name="bare UNet",
            betas=betas,
            alphas_cumprod=torch.cumprod(1 - betas, 0),
            prediction_type=prediction_type,
            card=Card(),
        )

    # --- what it is ------------------------------------------------------------------------------

    @property
    def unet(self) -> Any:
        """The UNet; the sampler calls it."""
        return self._unet if self.pipe is None else self.pipe.unet

    @property
    def kind(self) -> str:
        """``inpaint`` for 9 input channels, ``blended`` for 4."""
        return "inpaint" if self.unet.config.in_channels == 9 else "blended"

    @property
    def family(self) -> Family:
        """What its pipeline is like."""
        large = self.pipe is not None and "text_encoder_2" in self.pipe.components
        return INPAINTING_XL if large else INPAINTING

    @property
    def device(self) -> torch.device:
        """Where latents live. Of an offloaded pipeline: where its parts compute."""
        if self.pipe is None:
            return next(iter(self.unet.parameters())).device
        return torch.device(self.pipe._execution_device)

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and text embeddings: the UNet's."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    @property
    def native_size(self) -> int:
        """Side in pixels of the pictures that the model was made for."""
        size = self.unet.config.sample_size or 64
        return self.factor * int(size if isinstance(size, int) else max(size))

    @property
    def schedule(self) -> Mapping[str, Any]:
        """Configuration of its scheduler: the noise schedule, and how timesteps are spaced."""
        if self.pipe is not None:
            return dict(self.pipe.scheduler.config)
        return {
            "num_train_timesteps": len(self.betas),
            "trained_betas": self.betas.tolist(),
            "prediction_type": self.prediction_type,
            "timestep_spacing": "leading",
        }

    def _facts(self) -> dict[str, str]:
        parts = [self.unet] if self.pipe is None else self.pipe.components.values()
        networks = [part for part in parts if isinstance(part, torch.nn.Module)]
        count = sum(weight.numel() for network in networks for weight in network.parameters())
        how = None if self.pipe is None else placed(self.pipe)
        return {
            "kind": f"{self.kind}, {self.unet.config.in_channels} channels",
            "predicts": self.prediction_type,
            "parameters": f"{count / 1e6:.1f} M",
            "made for": f"{self.native_size} px",
            "runs in": f"{str(self.dtype).removeprefix('torch.')} on {self.device}"
            + ("" if how is None else f", offloaded ({how})"),
        }

    # --- the pipeline's parts --------------------------------------------------------------------

    def parts(self) -> Any:
        """A stock inpainting pipeline around the same parts, with a DDIM scheduler of its own.

        Raises:
            ModelError: this is a bare UNet.
        """
        if self.pipe is None:
            raise ModelError(
                "A bare UNet has no text encoder and no VAE: load a whole model, or build a Cond."
            )
        import diffusers

        pipe, family = self.pipe, self.family
        Pipeline: Any = getattr(diffusers, family.pipeline)
        said = {name: pipe.config[name] for name in family.says if name in pipe.config}
        parts = {name: getattr(pipe, name) for name in family.parts}
        return Pipeline(**{**parts, "scheduler": _ddim(pipe.scheduler)}, **family.options, **said)


def _ddim(scheduler: Any) -> Any:
    """A DDIM scheduler with the noise schedule of another one."""
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(scheduler.config, steps_offset=1, clip_sample=False)
