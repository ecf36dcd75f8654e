"""One call of a watched pipeline, as a branch of a trace: `Call`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb import prompt as prompts
from hdpainter_nb import schedule, vae
from hdpainter_nb.capture import ALL_LEVELS, Capture
from hdpainter_nb.editing import Edit, Run
from hdpainter_nb.interventions import layers, step_edits
from hdpainter_nb.step import Stepper, to_array
from hdpainter_nb.taps import PAINTA_LEVELS, SCORE_LEVEL, Plan, Seen, layer_shapes
from hdpainter_nb.trace import Branch, Node, Trace
from hdpainter_nb.types import Conditions, Record
from hdpainter_nb.watch_settings import WatchSettings

__all__ = ["FACTOR", "Call", "Look"]

FACTOR = WatchSettings.factor
_NO_RNG: NDArray[np.uint8] = np.zeros(0, np.uint8)


@dataclass(frozen=True, eq=False)
class Look:
    """One call of the UNet."""

    x: Tensor  # (1, 4, h, w)
    seen: Seen
    guided_norm: float
    started: float


@dataclass(eq=False)
class Call:
    """From its prompt to its picture. It gets a branch at its first UNet call."""

    pipe: Any
    trace: Trace
    capture: Capture
    edits: tuple[Edit, ...]
    preview: NDArray[np.float32]  # takes latents to RGB
    prompt: str
    count: int  # pictures: rows of a half
    row: int  # the one that is watched
    steps: Any = None  # a `Stepper` that reads what the taps saw
    masked: dict[int, Tensor] = field(default_factory=dict)  # level -> (n,) masked positions
    branch: Branch | None = None
    node: Node | None = None
    made: int = 0  # steps

    def begin(self, row: Tensor, context: Tensor) -> None:
        """Open the branch: now the size and everything else is known.

        Args:
            row: (channels, h, w), what the UNet is given for the watched picture.
            context: (B, L, d).

        Raises:
            SettingsError: the capture or an edit names what is not there.
        """
        pipe, trace = self.pipe, self.trace
        tokens = self._read(context)
        height, width = row.shape[-2:]
        size = (FACTOR * height, FACTOR * width)
        cond = Conditions(
            context=context,
            indices=tokens.indices,
            words=tokens.words,
            tokens=tokens.tokens,
            size=size,
            crop=(0, 0, *size),
        )
        steps = getattr(pipe, "num_timesteps", None) or len(pipe.scheduler.timesteps)
        scale = getattr(pipe, "guidance_scale", None)
        settings = WatchSettings(
            steps=steps,
            guidance_scale=None if scale is None else float(scale),
            pipeline=type(pipe).__name__,
            solver=type(pipe.scheduler).__name__,
        )
        if trace.mask is None and len(row) == 9:
            trace.mask = np.kron(to_array(row[4]) > 0.5, np.ones((FACTOR,) * 2)) > 0
        capture = self._fitting(size)
        for level in PAINTA_LEVELS if capture.similarity else ():
            shape = (size[0] // level, size[1] // level)
            self.masked[level] = _area(trace.mask, shape).flatten().nonzero()[:, 0].to(row.device)
        capture.check(layer_shapes(pipe.unet), tokens.words, len(tokens.tokens), steps)
        there = Run(
            total=steps,
            layers=layers(pipe.unet),
            settings=settings,
            words=tokens.words,
            tokens=tokens.tokens,
        )
        for edit in self.edits:
            edit.check(there)
        shelf = capture.shelf(trace.spool)
        stepper: Any = Stepper
        self.steps = stepper(None, cond, settings, capture, self.edits, shelf=shelf)
        if not trace.branches:
            trace.words, trace.tokens = tokens.words, tokens.tokens
        number = len(trace.branches) + 1
        name = "main" if number == 1 else f"call {number}"
        self.node = trace.root(to_array(row[: pipe.unet.config.out_channels]), _NO_RNG)
        self.branch = trace.open_branch(self.prompt, settings, self.node, None, name, self.edits)

    def plan(self, timestep: int) -> Plan:
        """What the taps do in the next UNet call."""
        steps = self.steps
        return Plan(
            size=steps.cond.size,
            indices=(),
            tokens=steps.tokens,
            rows=self.masked,
            capture=steps.capture.at(self.made),
            positions=steps.positions,
            shelf=steps.shelf,
            row=self.row - self.count,
            edits=step_edits(self.edits, steps.cond, self.made, timestep, steps.settings.steps),
        )

    def note(self, look: Look, output: Tensor, timestep: Any, after: Tensor) -> None:
        """A step of the scheduler: a record.

        Args:
            look: the UNet call before it.
            output: (B, 4, h, w), the guided prediction that the scheduler was given.
            timestep: that it was given.
            after: (B, 4, h, w), the latents that it gave back.
        """
        assert self.branch is not None
        assert self.node is not None
        scheduler = self.pipe.scheduler
        alpha, kind = _alpha(scheduler, float(timestep)), scheduler.config.prediction_type
        x, x0 = look.x.float(), output[self.row][None].float()
        if kind != "sample":
            x0, _ = schedule.predictions(kind, x0, x, alpha)
        record = Record(
            index=self.made,
            timestep=round(float(timestep)),
            latents=to_array(x[0]),
            x0_latents=to_array(x0[0]),
            x0_preview=vae.to_rgb(x0, self.preview),
            **self.steps.seen_of_attention(look.seen),
            score=None,
            grad=None,
            sigma=0.0,
            alpha=float(alpha),
            guided_norm=look.guided_norm,
            seconds=time.perf_counter() - look.started,
            settings=self.branch.settings,
        )
        latents = to_array(after[self.row])
        self.node = self.trace.add(self.branch, self.node, latents, _NO_RNG, record)
        self.made += 1

    def picture(self, images: Tensor) -> None:
        """Decoded pictures (B, 3, H, W), -1 .. 1: that of the newest step."""
        if self.node is not None and self.made:
            levels = (images[self.row].detach().float() / 2 + 0.5).clamp(0, 1) * 255
            array = to_array(levels.permute(1, 2, 0)).round().astype(np.uint8)
            self.trace.pictures[self.node.id] = array

    def _read(self, context: Tensor) -> prompts.Tokens:
        """The words of the prompt; without one, positions only."""
        pipe, text = self.pipe, self.prompt
        tokenizer = getattr(pipe, "tokenizer", None) or getattr(pipe, "tokenizer_2", None)
        if not text or tokenizer is None:
            names = tuple(f"<{i}>" for i in range(context.shape[1]))
            return prompts.Tokens((), names, (), ())
        if hasattr(pipe, "maybe_convert_prompt"):
            text = pipe.maybe_convert_prompt(text, tokenizer)
        return prompts.read_prompt(tokenizer, text)

    def _fitting(self, size: tuple[int, int]) -> Capture:
        """The capture without what cannot be had at this size, or without a mask."""
        capture = self.capture
        whole = {n for n in ALL_LEVELS if not (size[0] % n or size[1] % n)}
        similar = whole.issuperset(PAINTA_LEVELS) and self.trace.mask is not None
        return capture.replace(
            levels=tuple(level for level in capture.levels if level in whole),
            c=False,
            similarity=capture.similarity and similar,
            scores=capture.scores if SCORE_LEVEL in whole else False,
            queries=capture.queries,
        )


def _alpha(scheduler: Any, timestep: float) -> Tensor:
    """() cumulative alpha of the step that the scheduler has just made.

    Schedulers that work on sigmas, noise over signal, say which one they used; the others go by
    whole timesteps.
    """
    sigmas, after = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    if isinstance(sigmas, Tensor) and after is not None:
        return 1 / (1 + sigmas[after - 1].double().cpu() ** 2)
    return scheduler.alphas_cumprod[round(timestep)].double().cpu()


def _area(mask: Any, shape: tuple[int, int]) -> Tensor:
    """A mask (H, W) at another size: True where it covers more than half."""
    given = torch.as_tensor(np.asarray(mask), dtype=torch.float32)[None, None]
    return F.interpolate(given, shape, mode="area")[0, 0] > 0.5
