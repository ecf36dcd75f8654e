"""A model as the sampler needs it: `load` one, `Model.prepare` a job for it, `Model.decode`.

Built on the pipeline's own parts, so that with PAIntA and RASG off the numbers are those of the
stock `StableDiffusionInpaintPipeline`. The pipeline itself is never moved, cast or patched.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.attention.layers import attention_layers, heads, layer_infos
from hdpainter_nb.errors import ModelError
from hdpainter_nb.job import Job
from hdpainter_nb.method.ddim import NoiseSchedule
from hdpainter_nb.models import vae
from hdpainter_nb.models.conditioning import (
    Conditioning,
    Layout,
    TextConditioning,
    encode,
)
from hdpainter_nb.models.controlnet import usable
from hdpainter_nb.models.defaults import ModelDefaults
from hdpainter_nb.models.devices import offload_mode
from hdpainter_nb.models.families import INPAINTING, INPAINTING_XL, Family, mask_precisions
from hdpainter_nb.models.out_of_memory import out_of_memory_explained
from hdpainter_nb.models.prompt import PromptText, Tokens, embed, private_tokenizer, read_text
from hdpainter_nb.models.schedulers import PredictionType, Scheduler, State, scheduler_for
from hdpainter_nb.models.vae_memory import Tile, own_tile
from hdpainter_nb.select import LayerInfo
from hdpainter_nb.settings import BaseSettings, PixelRounding
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.swapped_weights import cast_unseen
from hdpainter_nb.utils.turns import Turns

__all__ = ["Model"]


@checked(error=ModelError)
class Model:
    """A UNet with its noise schedule and, unless it is bare, its text encoder and VAE.

    Made by `load`, or by `Model.from_unet`.

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
    _conditioning: ClassVar[str] = "a Conditioning"  # what a bare UNet is sampled from

    def __init__(
        self,
        *,
        unet: Any,
        pipe: Any,
        name: str,
        betas: Tensor,
        alphas_cumprod: Tensor,
        prediction_type: PredictionType,
        defaults: ModelDefaults,
        final_alpha: Tensor | None = None,
    ) -> None:
        self._unet = unet
        self.pipe = pipe
        self.name = name
        self.betas = betas
        self.alphas_cumprod = alphas_cumprod
        self.final_alpha = alphas_cumprod[0] if final_alpha is None else final_alpha
        self.prediction_type = prediction_type
        self.guidance_scale = float(defaults.guidance_scale)
        self.positive_suffix = defaults.positive_suffix
        self.negative_prompt = defaults.negative_prompt
        network = None if pipe is None else pipe.components.get("controlnet")
        self.controlnet: Any = network if network is not None and usable(network) else None
        self._preview = (
            None if defaults.preview is None else np.asarray(defaults.preview, np.float32)
        )

    @classmethod
    def from_pipeline(
        cls, pipe: Any, *, name: str | None = None, defaults: ModelDefaults | None = None
    ) -> Self:
        """Wrap a pipeline that `families.check_pipeline` has accepted; `load` does both.

        Raises:
            ModelError: it is no pipeline; the noise schedule of its scheduler is no schedule.
        """
        if isinstance(pipe, type) or not hasattr(pipe, "scheduler"):
            raise ModelError(f"A diffusers pipeline is needed, not {shown(pipe)}: use load().")
        schedule = _ddim(pipe.scheduler)
        if not bool(torch.isfinite(schedule.alphas_cumprod).all()):
            raise ModelError(
                "The scheduler's betas are not all numbers from 0 to 1: give the pipeline a "
                "scheduler with a noise schedule, such as "
                "DDIMScheduler.from_pretrained(model, subfolder='scheduler')."
            )
        return cls(
            unet=pipe.unet,
            pipe=pipe,
            name=name or type(pipe).__name__,
            betas=schedule.betas.float().cpu(),
            alphas_cumprod=schedule.alphas_cumprod.float().cpu(),
            prediction_type=schedule.config.prediction_type,
            defaults=defaults or ModelDefaults(),
            final_alpha=schedule.final_alpha_cumprod.float().cpu(),
        )

    @classmethod
    def from_unet(
        cls, unet: Any, *, betas: Tensor | None = None, prediction_type: PredictionType = "epsilon"
    ) -> Self:
        """Wrap a bare UNet: it is sampled from a ready `Conditioning`; it cannot prepare or decode.

        Args:
            unet: a `UNet2DConditionModel` with 4 or 9 input channels.
            betas: (T,); None takes Stable Diffusion's (scaled-linear, 0.00085 .. 0.012, 1000).
            prediction_type: ``epsilon`` or ``v_prediction``.

        Raises:
            ModelError: other channels, another prediction type, betas outside 0 .. 1.
        """
        if isinstance(unet, type) or not hasattr(unet, "config"):
            raise ModelError(f"A UNet2DConditionModel is needed, not {shown(unet)}.")
        if unet.config.in_channels not in cls.channels:
            channels = " or ".join(map(str, cls.channels))
            raise ModelError(
                f"A UNet needs {channels} input channels, not {unet.config.in_channels}."
            )
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
            defaults=ModelDefaults(),
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
    def mask_precisions(self) -> int:
        """How many values `Settings.mask_precision` may take; 0: the model knows of none."""
        return mask_precisions(self.unet.config)

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
        """Of latents and text embeddings: the UNet's, or what its weights are cast to when it runs.

        Where hooks that diffusers knows nothing of cast them, it is the text encoder's, which the
        stock pipeline goes by.
        """
        dtype: torch.dtype = self.unet.dtype
        if cast_unseen(self.unet, dtype):
            text: torch.dtype = torch.float32 if self.pipe is None else self.pipe.text_encoder.dtype
            if text.itemsize > 1:
                return text
        return torch.float32 if dtype.itemsize == 1 else dtype  # nothing computes in 8 bits

    @property
    def native_size(self) -> int:
        """Side in pixels of the pictures that the model was made for."""
        size = self.unet.config.sample_size or 64
        return self.factor * int(size if isinstance(size, int) else max(size))

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The attention layers of its UNet, in the order in which they run."""
        return layer_infos(self.unet, self.factor)

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
        how = None if self.pipe is None else offload_mode(self.pipe)
        return {
            "kind": f"{self.kind}, {self.unet.config.in_channels} channels",
            "predicts": self.prediction_type,
            "parameters": f"{count / 1e6:.1f} M",
            "made for": f"{self.native_size} px",
            "runs in": f"{str(self.dtype).removeprefix('torch.')} on {self.device}"
            + ("" if how is None else f", offloaded ({how})"),
        }

    # --- a job ----------------------------------------------------------------------------------

    def stock_pipeline(self) -> Any:
        """A stock pipeline around the same parts, with scheduler and tokenizers of its own.

        Raises:
            ModelError: this is a bare UNet.
        """
        if self.pipe is None:
            raise ModelError(
                "A bare UNet has no text encoder and no VAE: load a whole model, or build "
                f"{self._conditioning}."
            )
        import diffusers

        pipe, family = self.pipe, self.family
        Pipeline: Any = getattr(diffusers, family.pipeline)
        config = {name: pipe.config[name] for name in family.config_keys if name in pipe.config}
        parts = {name: getattr(pipe, name) for name in family.parts}
        parts["scheduler"] = _ddim(pipe.scheduler)
        for name in ("tokenizer", "tokenizer_2"):
            if name in parts:
                parts[name] = private_tokenizer(parts[name])
        return Pipeline(**parts, **family.options, **config)

    @contextmanager
    def _at_work(
        self, what: str, settings: BaseSettings | None, size: tuple[int, int] | None
    ) -> Iterator[None]:
        """In turn, since the parts are shared; memory that does not suffice is explained.

        Args:
            what, settings, size: see `out_of_memory_explained`.
        """
        explained = out_of_memory_explained(self, what, settings, size)
        with Turns.of(self.unet).take(), explained:
            yield

    def read_text(self, prompt: str, settings: BaseSettings) -> PromptText:
        """A prompt with the additions that `settings` ask for (switch 16), through the tokenizer.

        Raises:
            ModelError: this is a bare UNet.

        Warns:
            PromptWarning: part of the prompt does not reach the model.
        """
        return self._read_text(self.stock_pipeline(), prompt, settings)

    def _read_text(self, pipeline: Any, prompt: str, settings: BaseSettings) -> PromptText:
        return read_text(
            pipeline,
            prompt,
            settings,
            suffix=self.positive_suffix,
            negative=self.negative_prompt,
        )

    def layout(self, job: Job) -> Layout:
        """The sizes, masks and tokens of a job, before any network runs.

        Raises:
            ModelError: this is a bare UNet; the job has a control picture, and the model no
                ControlNet.

        Warns:
            PromptWarning, HDPainterWarning: as `prepare` does.
        """
        return self._layout(self.stock_pipeline(), job)

    def _layout(self, pipeline: Any, job: Job) -> Layout:
        return Layout.of(
            job,
            self._read_text(pipeline, job.prompt, job.settings),
            side=self.native_size,
            factor=self.factor,
            blended=self.kind == "blended",
            precisions=self.mask_precisions,
            controlnet=self.controlnet,
            name=self.name,
        )

    def empty_conditioning(self, job: Job) -> Conditioning:
        """What `prepare` gives, but with empty tensors on the meta device: no network runs.

        Masks, sizes and tokens are real. For counting what a run costs.
        """
        layout = self.layout(job)
        second = self.pipe.components.get("text_encoder_2")
        pooled = None if second is None else int(second.config.projection_dim)
        return layout.empty(self.unet.config.cross_attention_dim, pooled, self.dtype)

    def scheduler_for(self, settings: BaseSettings) -> Scheduler:
        """The scheduler that settings ask for, on the model's noise schedule."""
        noise_schedule = NoiseSchedule(self.betas, self.alphas_cumprod, self.final_alpha)
        return scheduler_for(settings, noise_schedule, self.schedule)

    def prepare(self, job: Job) -> tuple[Conditioning, State]:
        """Turn a job into what the UNet needs, and draw the starting noise.

        Random numbers are drawn on the CPU in the stock pipeline's order, from one generator whose
        state goes on in `State.rng`. The picture is scaled to `Settings.long_side` or to the
        model's size, as `Settings.scaling` and `Settings.size` say; ``scaling="area"`` never scales
        it up.

        Raises:
            ModelError: this is a bare UNet; the VAE gives no finite numbers.

        Warns:
            PromptWarning: part of the prompt does not reach the model, or it has no word to match.
            HDPainterWarning: the hole vanishes at H/16 or H/32.
        """
        side = (job.settings.long_side or self.native_size,) * 2
        # no decorator: a warning names the caller's line, not torch's
        with torch.no_grad(), self._at_work("encoding", job.settings, side):
            pipeline = self.stock_pipeline()
            return encode(
                self._layout(pipeline, job),
                pipeline,
                device=self.device,
                dtype=self.dtype,
                scheduler=self.scheduler_for(job.settings),
            )

    def text_keys(
        self, prompt: str, settings: BaseSettings, layers: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], Tokens]:
        """Keys of a prompt in the chosen cross-attention layers, and what its tokens are.

        Its embeddings (conditional half) go through each layer's ``to_k``.

        Args:
            prompt: it gets the additions that `settings` ask for (switch 16).
            settings: of the run that the keys are for.
            layers: names; those that the UNet lacks are left out.

        Returns:
            ``{layer: (heads, L, d) float32}``, and the tokens.

        Raises:
            ModelError: this is a bare UNet.
            OutOfMemoryError: the memory does not suffice.
        """
        keys: dict[str, NDArray[Any]] = {}
        with torch.no_grad(), self._at_work("reading a prompt", None, None):
            pipeline = self.stock_pipeline()
            text = self._read_text(pipeline, prompt, settings)
            context, _ = embed(pipeline, text, self.device, self.dtype)  # (2, L, d)
            for layer in attention_layers(self.unet, self.factor):
                if layer.name in layers:
                    cross = layer.block.attn2
                    k = heads(cross, cross.to_k(context[1:]))[0]  # (heads, L, d)
                    keys[layer.name] = k.float().cpu().numpy()
        return keys, text.tokens

    # --- pictures --------------------------------------------------------------------------------

    def decode(
        self,
        latents: Tensor | NDArray[Any],
        cond: TextConditioning | None = None,
        *,
        exact: bool = True,
        rounding: PixelRounding = "nearest",
    ) -> NDArray[np.uint8]:
        """The picture that latents stand for, without the padding that `prepare` added.

        Args:
            latents: (1, 4, h, w) or (4, h, w).
            cond: where they come from; without it nothing is cut off.
            exact: decode the picture in one piece, as the stock pipeline does, where the memory
                suffices; on CUDA that is counted beforehand. If not, pictures larger than those
                the VAE was made for are decoded in overlapping tiles of that size, which takes
                less memory and differs a little near the seams.
            rounding: how the picture becomes whole levels: `Settings.pixel_rounding`.

        Returns:
            (H, W, 3).

        Raises:
            ModelError: this is a bare UNet; latents or picture are not finite.
            OutOfMemoryError: not even the smallest tile fits.

        Warns:
            HDPainterWarning: the memory does not suffice for one piece, so tiles were used, as
                large as fit.
        """
        pipeline = self.stock_pipeline()
        stack = self._stacked(latents).to(self.device, self.dtype)  # (1, 4, h, w)
        tile: Tile = "auto" if exact else own_tile(pipeline.vae)
        size = self.factor * stack.shape[-2], self.factor * stack.shape[-1]
        with self._at_work("decoding", None, size):
            picture = vae.decode(
                pipeline,
                stack,
                tile=tile,
                float32=self.upcasts(pipeline.vae.dtype),
                rounding=rounding,
            )
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

        Raises:
            ModelError: they are of another shape, or no numbers.
        """
        stack = self._stacked(latents)
        if self._preview is None:
            self._preview = vae.NEUTRAL if self.pipe is None else self._fitted_preview()
        return vae.to_rgb(stack, self._preview)

    @staticmethod
    def _stacked(latents: Tensor | NDArray[Any]) -> Tensor:
        """Latents (1, 4, h, w) or (4, h, w), as the former."""
        try:
            stack = torch.as_tensor(latents)
        except TypeError:  # NumPy has more kinds of numbers
            stack = torch.empty(0)
        plain = stack.layout is torch.strided and not (stack.is_complex() or stack.is_quantized)
        if not plain or stack.shape[:-3] not in ((), (1,)) or stack.shape[-3:-2] != (4,):
            raise ModelError(
                f"latents must be numbers of shape (1, 4, h, w) or (4, h, w), not {shown(latents)}."
            )
        return stack.reshape(1, *stack.shape[-3:])

    def _fitted_preview(self) -> vae.Matrix:
        with self._at_work("encoding", None, (vae.CHART, vae.CHART)):
            return vae.fit_preview(self.stock_pipeline(), self.factor)

    def upcasts(self, dtype: torch.dtype) -> bool:
        """Whether a VAE of this dtype decodes in float32; else only where half overflows."""
        large = dtype == torch.float16 and self.family is INPAINTING_XL
        return large and bool(self.pipe.vae.config.force_upcast)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {', '.join(self._facts().values())})"

    def _repr_html_(self) -> str:
        facts = "".join(f"<li>{key}: {html.escape(v)}</li>" for key, v in self._facts().items())
        return f"<b>{html.escape(self.name)}</b><ul>{facts}</ul>"


def _ddim(scheduler: Any) -> Any:
    """A DDIM scheduler with the noise schedule of another one."""
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(scheduler.config, steps_offset=1, clip_sample=False)
