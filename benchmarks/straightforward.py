"""HD-Painter as one writes it the first time: what the library is measured against.

Every attention is materialised and kept, PAIntA rescales the whole matrix, and RASG differentiates
the UNet on both halves, weights included. It says in two hundred plain lines what the library says
in its own way, so it is a check as well: `tests/test_straightforward.py` holds the two together.

The official settings only: per-step sigma, eta 0.1, logits less 1, mean over pixels, smoothed c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from hdpainter_nb.models.conditioning import Conditioning

ETA = 0.1
LAST_INTROVERTED = 500  # PAIntA acts while t is larger


@dataclass
class Seen:
    """Everything that one UNet call showed, by name of the transformer block; nothing reduced."""

    self_attention: dict[str, Tensor] = field(default_factory=dict)  # (2, heads, hw, hw)
    cross_attention: dict[str, Tensor] = field(default_factory=dict)  # (2, heads, hw, L)
    scores: dict[str, Tensor] = field(default_factory=dict)  # before softmax, with their graph
    c: dict[str, Tensor] = field(default_factory=dict)  # (hw,)


@dataclass
class Step:
    """One step from x_t to x_{t-1}; each (1, 4, h, w)."""

    x_prev: Tensor
    x0: Tensor
    eps_uncond: Tensor
    eps_cond: Tensor
    score: Tensor | None
    grad: Tensor | None
    seen: Seen


def step(
    unet: Any,
    cond: Conditioning,
    x: Tensor,
    t: int,
    betas: Tensor,
    *,
    steps: int,
    guidance_scale: float,
    v_prediction: bool = False,
    painta: bool = True,
    rasg: bool = True,
) -> Step:
    """x_t to x_{t-1} (eqs. 3, 5, 7, 9).

    Args:
        x: (1, 4, h, w).
        betas: (1000,) of the training schedule.
        steps: DDIM steps of the run.
    """
    output, score, grad, seen = predict(unet, cond, x, t, painta and t > LAST_INTROVERTED, rasg)
    alphas, prev = torch.cumprod(1 - betas, 0), t - 1000 // steps
    alpha = alphas[t]
    alpha_prev = alphas[prev] if prev >= 0 else alphas[0]
    if v_prediction:
        output = alpha**0.5 * output + (1 - alpha) ** 0.5 * x
    uncond, conditional = output.chunk(2)
    eps = uncond + guidance_scale * (conditional - uncond)

    x0 = (x - (1 - alpha) ** 0.5 * eps) / alpha**0.5
    sigma, noise = torch.zeros(()), torch.zeros_like(x)
    if grad is not None:
        noise = -grad / grad.std()
        if prev >= 0:
            a, b = 1 - betas[t], 1 - betas[prev]  # of each step alone, as the official code has it
            sigma = ETA * ((1 - b) / (1 - a) * (1 - a / b)).clamp_min(0) ** 0.5
    x_prev = alpha_prev**0.5 * x0 + (1 - alpha_prev - sigma**2) ** 0.5 * eps + sigma * noise
    return Step(
        x_prev.detach(), x0.detach(), uncond.detach(), conditional.detach(), score, grad, seen
    )


def predict(
    unet: Any, cond: Conditioning, x: Tensor, t: int, painta: bool, rasg: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, Seen]:
    """The UNet on both halves, (2, 4, h, w), and with RASG the score and its gradient."""
    seen = Seen()
    undo = _watch(unet, cond, seen, painta)
    try:
        with torch.set_grad_enabled(rasg):
            x = x.detach().float().requires_grad_(rasg)
            channels = torch.cat(
                [x.to(cond.context), cond.latent_mask, cond.masked_image_latents], 1
            )
            output = unet(channels.repeat(2, 1, 1, 1), t, encoder_hidden_states=cond.context).sample
            if not rasg:
                return output, None, None, seen
            score = _score(seen, cond)
            score.backward()
            assert x.grad is not None
            grad = x.grad
            unet.zero_grad(set_to_none=True)  # the weights' gradients were computed for nothing
            return output.detach(), score.detach(), grad, seen
    finally:
        for restore in undo:
            restore()


def _score(seen: Seen, cond: Conditioning) -> Tensor:
    """S of eq. 9, from the cross-attention at H/32 of the conditional half."""
    height, width = cond.size[0] // 32, cond.size[1] // 32
    layers = [s[1].mean(0) for s in seen.scores.values() if s.shape[-2] == height * width]
    scores = torch.stack(layers).mean(0)[:, list(cond.indices)].T  # (n, hw)
    mask = cond.score_mask.to(scores).flatten().expand_as(scores)
    loss = F.binary_cross_entropy_with_logits(scores.float() - 1.0, mask.float(), reduction="none")
    return loss.mean(1).sum()


def _watch(unet: Any, cond: Conditioning, seen: Seen, painta: bool) -> list[Callable[[], None]]:
    """Put our own attention into every layer; what takes it out again."""
    undo: list[Callable[[], None]] = []
    for name, block in unet.named_modules():
        if not isinstance(block, BasicTransformerBlock):
            continue
        own = _SelfAttention(name, block, cond, seen, painta)
        for attention, processor in ((block.attn1, own), (block.attn2, _Cross(name, seen))):
            undo.append(partial(attention.set_processor, attention.processor))
            attention.set_processor(processor)
        undo.append(block.register_forward_pre_hook(own.take_residual).remove)
    return undo


class _Cross:
    """Cross-attention by the book."""

    def __init__(self, name: str, seen: Seen) -> None:
        self.name, self.seen = name, seen

    def __call__(self, attn: Any, x: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Tensor:
        q, k, v = _project(attn, x, encoder_hidden_states)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (2, heads, hw, L)
        probabilities = scores.softmax(-1)
        self.seen.scores[self.name] = scores
        self.seen.cross_attention[self.name] = probabilities.detach()
        return _out(attn, probabilities @ v)


class _SelfAttention:
    """Self-attention by the book, and PAIntA on its whole matrix."""

    def __init__(self, name: str, block: Any, cond: Conditioning, seen: Seen, painta: bool) -> None:
        self.name, self.block, self.cond, self.seen, self.painta = name, block, cond, seen, painta
        self.residual: Tensor | None = None

    def take_residual(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        """The block's input before norm1, (2, hw, C)."""
        self.residual = args[0]

    def __call__(
        self, attn: Any, x: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        q, k, v = _project(attn, x, x)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # (2, heads, hw, hw)
        probabilities = scores.softmax(-1)
        out = _out(attn, probabilities @ v)
        mask = self._mask(x.shape[1])
        if self.painta and mask is not None and mask.any():
            c = self._c(out)
            rescaled = mask[:, None] & ~mask[None, :]  # masked rows, known columns
            scores = torch.where(rescaled, scores * c.to(scores.dtype), scores)
            probabilities = scores.softmax(-1)
            out = _out(attn, probabilities @ v)
            self.seen.c[self.name] = c.detach()
        self.seen.self_attention[self.name] = probabilities.detach()
        return out

    def _mask(self, hw: int) -> Tensor | None:
        """(hw,) bool at H/16 and H/32, None elsewhere."""
        for mask in self.cond.painta_masks.values():
            if mask.numel() == hw:
                return mask.flatten() > 0.5
        return None

    def _c(self, out: Tensor) -> Tensor:
        """c_j (sec. 3.3) from the cross-attention that comes next, conditional half."""
        assert self.residual is not None
        normed = self.block.norm2(self.residual + out)
        q, k, _ = _project(self.block.attn2, normed, self.cond.context)
        scores = q[1].float() @ k[1].float().transpose(-1, -2) * q.shape[-1] ** -0.5
        c = scores.softmax(-1).mean(0)[:, list(self.cond.indices)].sum(-1)  # (hw,)
        shape = next(m.shape[-2:] for m in self.cond.painta_masks.values() if m.numel() == len(c))
        bell = torch.exp(-(torch.arange(-1.0, 2.0, device=c.device) ** 2))
        kernel = torch.outer(bell, bell) / torch.outer(bell, bell).sum()
        c = F.conv2d(c.view(1, 1, *shape), kernel[None, None], padding=1).flatten()
        return ((c - c.median()) / c.max()).clamp(0, 1)


def _project(attn: Any, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v, each (2, heads, n, d)."""

    def heads(y: Tensor) -> Tensor:
        return y.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

    return heads(attn.to_q(x)), heads(attn.to_k(source)), heads(attn.to_v(source))


def _out(attn: Any, attended: Tensor) -> Tensor:
    """(2, heads, hw, d) through the output projection: (2, hw, C)."""
    return attn.to_out[0](attended.transpose(1, 2).flatten(2))
