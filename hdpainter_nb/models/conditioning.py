"""A job made ready for a model: text embeddings, latents, masks at every level, starting noise.

The pipeline's own parts do the work, in the order in which the stock pipeline calls them, so that
the same seed draws the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn

from hdpainter_nb.capture.capture import PAINTA_LEVELS, SCORE_LEVEL
from hdpainter_nb.errors import HDPainterWarning, PromptWarning
from hdpainter_nb.images import fit
from hdpainter_nb.job import BaseJob, Job
from hdpainter_nb.method import masks
from hdpainter_nb.models import prompt, vae
from hdpainter_nb.models.controlnet import control_of
from hdpainter_nb.models.schedulers import DiffusersScheduler, State
from hdpainter_nb.select import Word
from hdpainter_nb.utils.messages import quiet_logging, warn_user

if TYPE_CHECKING:
    from hdpainter_nb.models.controlnet import Control
    from hdpainter_nb.models.model import Model

__all__ = [
    "Conditioning",
    "TextConditioning",
    "UNetInputs",
    "added_conditions",
    "prepare",
    "read_text",
]


@dataclass(frozen=True, eq=False)
class UNetInputs:
    """What the UNet is given in one call: a row for each half of each sample."""

    stacked: Tensor  # (n, 4 or 7 or 9, h, w): x_t, and the channels that the model adds
    context: Tensor  # (n, L, d)
    added: Mapping[str, Tensor] = field(default_factory=dict)  # (n, ...) each, SDXL's
    control: Control | None = None
    images: Tensor | None = None  # (n, 3, H, W), what ControlNet follows
    class_labels: Tensor | None = None  # (n,) noise levels of the upscaler

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditioning(TextConditioning):
    """A job as the UNet needs it. h, w = H/8, W/8; L = number of text tokens.

    ``latent_mask`` and ``masked_image_latents`` are the UNet's extra channels when it has 9.
    A 4-channel UNet is held to the known region by ``known_latents`` and ``known_noise``.
    """

    latent_mask: torch.Tensor  # (1, 1, h, w)
    masked_image_latents: torch.Tensor  # (1, 4, h, w)
    painta_masks: Mapping[int, torch.Tensor]  # level -> (H/level, W/level) bool
    score_mask: torch.Tensor  # (H/32, W/32) float
    known_latents: torch.Tensor | None = None  # (1, 4, h, w)
    known_noise: torch.Tensor | None = None  # (1, 4, h, w)
    added: Mapping[str, torch.Tensor] = field(default_factory=dict)  # further UNet conditions
    control: Control | None = None  # ControlNet

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that run besides the UNet."""
        return [] if self.control is None else [self.control.network]

    def unet_inputs(self, x: Tensor, halves: slice) -> UNetInputs:
        """What the UNet is given at x (1, 4, h, w) for the halves (0 unconditional, 1 conditional)."""
        context = self.context[halves]
        count = len(context)
        channels = [x]
        if self.known_latents is None:
            channels += [self.latent_mask, self.masked_image_latents]
        stacked = torch.cat([channel.expand(count, -1, -1, -1) for channel in channels], dim=1)
        added = {name: value[halves] for name, value in self.added.items()}
        images = None if self.control is None else self.control.image.expand(count, -1, -1, -1)
        return UNetInputs(stacked, context, added, self.control, images)


def prepare(model: Model, job: Job) -> tuple[Conditioning, State]:
    """See `Model.prepare`."""
    with torch.no_grad():  # no decorator: a warning shall name the caller's line, not torch's
        return _prepare(model, job)


def _prepare(model: Model, job: Job) -> tuple[Conditioning, State]:
    parts, device, dtype = model.parts(), model.device, model.dtype
    settings = job.settings
    side = settings.long_side or model.native_size
    fitted = fit.fit(job.image, job.mask, how=settings.size, long_side=side)
    (height, width), crop = fitted.mask.shape, fitted.crop
    context, tokens, pooled = _read(model, parts, job)

    rng = torch.Generator("cpu").manual_seed(settings.seed)

    def encode(picture: Tensor) -> Tensor:
        return vae.encode(parts, picture, settings.vae_encoding, rng).to(device, dtype)

    picture = parts.image_processor.preprocess(
        Image.fromarray(fitted.image), height=height, width=width
    ).float()  # (1, 3, H, W), -1 .. 1
    blank = torch.from_numpy(masks.to_pixels(fitted.mask, settings.unet_mask, crop=crop))
    size = (height, width, dtype, device, rng)

    # With 4 channels the stock pipeline encodes the whole picture before it draws the noise.
    known = encode(picture) if model.kind == "blended" else None
    latents, noise = parts.prepare_latents(1, 4, *size, image=picture, return_noise=True)
    if settings.scheduler != "ddim":
        latents = (
            noise * DiffusersScheduler(settings.scheduler, model.schedule, settings.steps).start
        )
    latent_mask, masked_image_latents = parts.prepare_mask_latents(
        masks.to_unet(fitted.mask, settings.unet_mask, model.factor, crop=crop),
        encode(picture * ~blank),
        1,
        *size,
        do_classifier_free_guidance=False,
    )
    levels = {
        level: masks.to_painta(fitted.mask, level, settings.painta_mask, crop=crop)
        for level in PAINTA_LEVELS
    }
    _warn_of_neglect(job, tokens, levels)
    cond = Conditioning(
        context=context,
        latent_mask=latent_mask,
        masked_image_latents=masked_image_latents,
        painta_masks={level: mask.to(device) for level, mask in levels.items()},
        score_mask=masks.to_score(fitted.mask, settings.score_mask, SCORE_LEVEL, crop=crop).to(
            device
        ),
        indices=tokens.indices,
        words=tokens.words,
        tokens=tokens.tokens,
        size=(height, width),
        crop=crop,
        known_latents=known,
        known_noise=None if known is None else noise,
        added={} if pooled is None else added_conditions(pooled, (height, width)),
        control=control_of(model, job),
    )
    return cond, State(index=0, latents=latents, rng=rng.get_state())


def read_text(model: Model, parts: Any, job: BaseJob[Any]) -> tuple[Tensor, prompt.Tokens]:
    """The text embeddings (2, L, d), unconditional first, and what each token is.

    SDXL's are those of both its text encoders side by side; its two tokenizers read alike.
    """
    context, tokens, _ = _read(model, parts, job)
    return context, tokens


def added_conditions(pooled: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
    """What SDXL's UNet is told besides the text: the whole prompt in a vector, and sizes.

    Args:
        pooled: (2, d), unconditional first.
        size: (H, W) of the padded picture, which is taken for uncropped and of full size.
    """
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=pooled.dtype, device=pooled.device)
    return {"text_embeds": pooled, "time_ids": sizes.expand(2, -1)}


def _read(
    model: Model, parts: Any, job: BaseJob[Any]
) -> tuple[Tensor, prompt.Tokens, Tensor | None]:
    """See `read_text`; and SDXL's pooled embeddings (2, d)."""
    settings, adds = job.settings, job.settings.prompt_additions != "none"
    suffix, negative = settings.positive_suffix, settings.negative_prompt
    if suffix is None:
        suffix = model.positive_suffix if adds else ""
    elif suffix.strip() and not adds:
        warn_user(
            f"positive_suffix={suffix!r} is left out, since prompt_additions='none' adds nothing: "
            "set prompt_additions='comma', or write the words into the prompt.",
            HDPainterWarning,
        )
    if negative is None and adds:
        negative = model.negative_prompt
    full = prompt.compose(job.prompt, suffix, settings.prompt_additions)

    with quiet_logging():
        # A word that textual inversion learnt as several vectors stands for several tokens.
        convert, tokenizer = parts.maybe_convert_prompt, parts.tokenizer
        own, full = convert(job.prompt, tokenizer), convert(full, tokenizer)
        tokens = prompt.read_prompt(parts.tokenizer, own, full)
        cond, uncond, *pooled = parts.encode_prompt(
            prompt=full,
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negative,
        )
    context = torch.cat([uncond, cond]).to(model.dtype)
    return context, tokens, torch.cat(pooled[::-1]).to(context) if pooled else None


def _warn_of_neglect(job: Job, tokens: prompt.Tokens, levels: dict[int, Tensor]) -> None:
    """Say where PAIntA and RASG have nothing to act on."""
    if not (job.settings.painta or job.settings.rasg):
        return
    if prompt.nothing_to_match(tokens):
        warn_user(
            f"The prompt {job.prompt!r} has no word to match, so PAIntA and RASG follow the "
            "end-of-text token alone: write what to paint, or turn them off.",
            PromptWarning,
        )
    if gone := masks.vanished(levels):
        where = " and ".join(f"H/{level}" for level in gone)
        warn_user(
            f"The hole vanishes at {where}, where PAIntA and RASG look for it: paint a larger "
            "mask, or work on a larger picture (long_side).",
            HDPainterWarning,
        )
