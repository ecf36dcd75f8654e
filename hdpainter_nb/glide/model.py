"""GLIDE as its samplers need it: `load_glide`, and `prepare` a job for either stage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.errors import ImageError, ModelError
from hdpainter_nb.glide.conditioning import (
    GlideConditioning,
    hole_at,
    level_masks,
    squeezed,
    to_picture,
    to_units,
)
from hdpainter_nb.glide.job import GlideJob, GlideUpsampleJob
from hdpainter_nb.job import BaseJob
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.defaults import ModelDefaults
from hdpainter_nb.models.devices import pick_device, pick_dtype
from hdpainter_nb.models.glide import schedule
from hdpainter_nb.models.glide.config import BASE, UPSAMPLER, GlideConfig
from hdpainter_nb.models.glide.schedule import AncestralScheduler
from hdpainter_nb.models.glide.tokenizer import GlideTokenizer
from hdpainter_nb.models.glide.unet import GlideUNet
from hdpainter_nb.models.glide.weights import FILES, SOURCE, read_unet
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.prompt import PromptText, Tokens
from hdpainter_nb.models.schedulers import State
from hdpainter_nb.select import LayerInfo
from hdpainter_nb.settings import BaseGlideSettings, BaseSettings, PixelRounding
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.checked import checked

__all__ = ["GlideModel", "GlideStage", "GlideUpsamplingModel", "load_glide"]


@checked(error=ModelError)
def load_glide(
    base: str | Path,
    upsampler: str | Path | None = None,
    vocabulary: str | Path | None = None,
    *,
    configs: tuple[GlideConfig, GlideConfig] = (BASE, UPSAMPLER),
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> GlideModel:
    """Read GLIDE's inpainting networks and vocabulary from files; nothing is downloaded.

    OpenAI publishes ``base_inpaint.pt`` and ``upsample_inpaint.pt`` under
    ``https://openaipublic.blob.core.windows.net/diffusion/dec-2021/``; pictures of people were
    filtered from what they were trained on, as their model card says. The vocabulary is GPT-2's
    (``encoder.json`` and ``vocab.bpe`` of the repository openai/glide-text2im, or ``vocab.json``
    and ``merges.txt`` of ``openai-community/gpt2``).

    Args:
        base: the base model's file, or a folder that holds both under their published names.
        upsampler: the upsampler's file; None: under its published name beside the base model's.
        vocabulary: a folder with the two files; None: that of the base model.
        configs: how the two networks are built, where they are not the published ones.
        device: ``cuda``, ``mps`` or ``cpu``; None takes the best there is.
        dtype: None takes float16 on CUDA, else float32.

    Raises:
        ModelError: a file is missing, damaged or another network's; no such device or dtype.
    """
    first = Path(base).expanduser()
    folder = first if first.is_dir() else first.parent
    if first.is_dir():
        first = folder / FILES["base"]
    second = folder / FILES["upsampler"] if upsampler is None else Path(upsampler).expanduser()
    tokenizer = GlideTokenizer.read(folder if vocabulary is None else vocabulary)
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    small, large = (
        read_unet(path, config).computing_in(kind).to(where)
        for path, config in zip((first, second), configs, strict=True)
    )
    return GlideModel(small, tokenizer, GlideUpsamplingModel(large, tokenizer))


@checked(error=ModelError)
class GlideStage(Model):
    """One of GLIDE's two networks; latents are pixels in -1 .. 1 here.

    Args:
        unet: the network.
        tokenizer: of both stages.
        schedule: (1000,) betas.
        guidance_scale: its default.

    Raises:
        ModelError: the tokenizer has another number of tokens than the network; it is the other
            stage's network.
    """

    unet: GlideUNet
    _conditioning: ClassVar[str] = "a GlideConditioning"
    _kind: ClassVar[str]

    def __init__(
        self,
        unet: GlideUNet,
        tokenizer: GlideTokenizer,
        *,
        schedule: NDArray[np.float64],
        guidance_scale: float,
    ) -> None:
        betas = torch.from_numpy(schedule).float()
        defaults = ModelDefaults(
            guidance_scale=guidance_scale, positive_suffix="", negative_prompt=""
        )
        super().__init__(
            unet=unet,
            pipe=None,
            name=self._kind,
            betas=betas,
            alphas_cumprod=torch.from_numpy(np.cumprod(1 - schedule)).float(),
            prediction_type="epsilon",
            defaults=defaults,
        )
        if unet.config.in_channels not in self.channels:
            raise ModelError(
                f"The {self._kind} model needs a network of {self.channels[0]} input channels, not "
                f"{unet.config.in_channels}: are base and upsampler the wrong way round?"
            )
        if tokenizer.size != unet.config.vocabulary:
            raise ModelError(
                f"The vocabulary has {tokenizer.size} tokens, and the network knows "
                f"{unet.config.vocabulary}: GLIDE's vocabulary is GPT-2's. {SOURCE}"
            )
        self.tokenizer = tokenizer
        self._schedule = schedule

    # --- what it is ------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """``glide`` or ``glide x4``."""
        return self._kind

    @property
    def dtype(self) -> torch.dtype:
        """Of pixels and text embeddings: float32, whatever the network computes in."""
        return torch.float32

    @property
    def side(self) -> int:
        """Of the pictures it makes, in pixels."""
        return self.unet.config.sample_size

    @property
    def native_size(self) -> int:
        """Side in pixels of the finished picture."""
        return self.factor * self.side

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The attention layers, in the order in which they run; levels count from 256 px."""
        return self.unet.layers(self.factor)

    def _facts(self) -> dict[str, str]:
        dtype = str(self.unet.dtype).removeprefix("torch.")
        return {**super()._facts(), "runs in": f"{dtype} on {self.device}"}

    def stock_pipeline(self) -> Any:
        """There is none.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            "GLIDE is no pipeline of diffusers and has no VAE: use GlideSampler, which prepares, "
            "steps and shows its pictures."
        )

    def scheduler_for(self, settings: BaseSettings) -> AncestralScheduler:
        """The timesteps that the settings ask for, and the step between them."""
        assert isinstance(settings, BaseGlideSettings)
        fast = settings.respacing == "fast27"
        chosen = schedule.fast27() if fast else schedule.respaced([settings.steps])
        return AncestralScheduler(self._schedule, tuple(chosen))

    # --- a job -----------------------------------------------------------------------------------

    def read_text(self, prompt: str, settings: BaseSettings) -> PromptText:
        """A prompt through the tokenizer.

        Raises:
            SettingsError: it is too long for any text encoder.

        Warns:
            PromptWarning: part of the prompt does not reach the model.
        """
        length = self.unet.config.text_length
        tokens = self.tokenizer.tokens(prompt, length)
        return PromptText(prompt, settings.negative_prompt, tokens, length)

    def _embedded(self, text: PromptText) -> tuple[Tensor, Tensor]:
        """(2, L, d) and (2, 4 channels), unconditional first."""
        rows = [self.tokenizer.padded(one, text.length) for one in (text.negative or "", text.full)]
        ids, real = (torch.tensor(part, device=self.device) for part in zip(*rows, strict=True))
        context, pooled = self.unet.encode_text(ids, real)
        return context.float(), pooled.float()

    def _encoded(
        self, job: BaseJob[Any], noise_scale: float = 1.0, low: Tensor | None = None
    ) -> tuple[GlideConditioning, State]:
        """A job as the network is told it, and the starting noise.

        Args:
            noise_scale: standard deviation of that noise.
            low: (1, 3, s, s), the upsampler's.
        """
        side, size = self.side, (self.native_size, self.native_size)
        with torch.no_grad(), self._at_work("encoding", job.settings, size):
            text = self.read_text(job.prompt, job.settings)
            context, pooled = self._embedded(text)
            hole = hole_at(job.mask, side * self.factor // GlideModel.factor, side)
            known_mask = torch.from_numpy(~hole)[None, None].float()
            known = to_units(squeezed(job.image, side)) * known_mask
            large = hole.repeat(self.factor, 0).repeat(self.factor, 1)
            masks = {n: torch.from_numpy(one) for n, one in level_masks(large).items()}
            rng = torch.Generator("cpu").manual_seed(job.settings.seed)
            noise = noise_scale * torch.randn(1, 3, side, side, generator=rng)
        conditioning = GlideConditioning(
            context=context,
            pooled=pooled,
            known=known.to(self.device),
            known_mask=known_mask.to(self.device),
            masks={level: mask.to(self.device) for level, mask in masks.items()},
            low=None if low is None else low.to(self.device),
            indices=text.tokens.indices,
            words=text.tokens.words,
            tokens=text.tokens.tokens,
            size=size,
            crop=(0, 0, *size),
        )
        return conditioning, State(0, noise.to(self.device), rng.get_state())

    @abstractmethod
    def prepare(self, job: Any) -> tuple[GlideConditioning, State]:  # type: ignore[override]
        """Turn a job into what the network needs, and draw the starting noise."""

    def text_keys(
        self, prompt: str, settings: BaseSettings, layers: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], Tokens]:
        """Keys of a prompt in the chosen layers, and what its tokens are; see `Model.text_keys`."""
        text = self.read_text(prompt, settings)
        keys: dict[str, NDArray[Any]] = {}
        with torch.no_grad(), self._at_work("reading a prompt", None, None):
            context, _ = self._embedded(text)
            for info in self.layers:
                if info.name in layers:
                    k, _ = self.unet.attention(info.name).text_keys(context[1:].to(self.unet.dtype))
                    keys[info.name] = k[0].float().cpu().numpy()
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
        """The picture that pixels in -1 .. 1 stand for, (s, s, 3).

        Args:
            latents: (1, 3, s, s) or (3, s, s).
            cond, exact: of no meaning here.
            rounding: how the picture becomes whole levels.

        Raises:
            ModelError: they are of another shape, or no numbers.
        """
        return to_picture(self._stacked(latents)[0], down=rounding == "down")

    def preview(self, latents: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """The same: these latents are pixels."""
        return to_picture(self._stacked(latents)[0])

    @staticmethod
    def _stacked(latents: Tensor | NDArray[Any]) -> Tensor:
        """Pixels (1, 3, s, s) or (3, s, s), as the former."""
        try:
            stack = torch.as_tensor(latents)
        except (TypeError, ValueError):
            stack = torch.empty(0)
        plain = stack.layout is torch.strided and not (stack.is_complex() or stack.is_quantized)
        if not plain or stack.shape[:-3] not in ((), (1,)) or stack.shape[-3:-2] != (3,):
            raise ModelError(
                "The pixels must be numbers of shape (1, 3, s, s) or (3, s, s), not "
                f"{shown(latents)}."
            )
        return stack.reshape(1, *stack.shape[-3:])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._facts().values())})"


@checked(error=ModelError)
class GlideUpsamplingModel(GlideStage):
    """GLIDE's upsampler: 64 to 256 px, told of the known pixels.

    Args:
        unet: the network, of 10 input channels.
        tokenizer: the base model's.

    Raises:
        ModelError: as its base does.
    """

    factor: ClassVar[int] = 1
    channels: ClassVar[tuple[int, ...]] = (10,)
    _kind: ClassVar[str] = "glide x4"

    def __init__(self, unet: GlideUNet, tokenizer: GlideTokenizer) -> None:
        super().__init__(unet, tokenizer, schedule=schedule.linear(), guidance_scale=1.0)

    def prepare(  # type: ignore[override]  # its jobs hold a small picture as well
        self, job: GlideUpsampleJob
    ) -> tuple[GlideConditioning, State]:
        """Turn a job into what the network needs, and draw the starting noise.

        Raises:
            ImageError: the small picture is not of the size that the base model makes.

        Warns:
            PromptWarning: part of the prompt does not reach the model.
        """
        small = self.side // GlideModel.factor
        if job.low.shape[:2] != (small, small):
            raise ImageError(
                f"The small picture has {job.low.shape[1]}x{job.low.shape[0]} px, and the base "
                f"model makes {small}x{small}: take GlideSampler.image(native=True)."
            )
        size = (self.side, self.side)
        low = F.interpolate(to_units(job.low), size, mode="bilinear", align_corners=False)
        return self._encoded(job, job.settings.noise_scale, low)


@checked(error=ModelError)
class GlideModel(GlideStage):
    """GLIDE's base model, which fills the hole at 64 px, and the upsampler that follows it.

    Args:
        unet: the network, of 7 input channels.
        tokenizer: of both.
        upsampler: what makes 256 px of the result.

    Raises:
        ModelError: as its base does; the upsampler's pictures are not four times as large.
    """

    factor: ClassVar[int] = 4
    channels: ClassVar[tuple[int, ...]] = (7,)
    _kind: ClassVar[str] = "glide"

    def __init__(
        self, unet: GlideUNet, tokenizer: GlideTokenizer, upsampler: GlideUpsamplingModel
    ) -> None:
        super().__init__(unet, tokenizer, schedule=schedule.squared_cosine(), guidance_scale=5.0)
        if upsampler.side != self.native_size:
            raise ModelError(
                f"The upsampler makes {upsampler.side} px, and must make {self.native_size}: four "
                f"times the base model's {self.side}."
            )
        self.upsampler = upsampler

    def prepare(  # type: ignore[override]  # other jobs
        self, job: GlideJob
    ) -> tuple[GlideConditioning, State]:
        """Turn a job into what the network needs, and draw the starting noise.

        Warns:
            PromptWarning: part of the prompt does not reach the model.
        """
        return self._encoded(job)
