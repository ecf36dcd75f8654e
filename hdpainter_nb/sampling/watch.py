"""Watch any pipeline of the Stable-Diffusion family while it runs by itself: `watch`.

The pipeline keeps its own loop, scheduler and guidance. For the time of the ``with`` three of its
methods are listened to and its UNet has two hooks; the attention hooks go in for each UNet call and
come out after it. Nothing is computed differently, so the picture is the same to the bit.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from hdpainter_nb.attention.hooks import AttentionHooks
from hdpainter_nb.attention.layers import layer_infos
from hdpainter_nb.attention.observations import Observations
from hdpainter_nb.attention.plan import Half, HookPlan
from hdpainter_nb.capture.capture import ALL_LEVELS, PAINTA_LEVELS, SCORE_LEVEL, Capture
from hdpainter_nb.capture.transfer import HostTransfer, to_array
from hdpainter_nb.edits.edit import Edit, Run, read_edits
from hdpainter_nb.errors import ModelError, SettingsError
from hdpainter_nb.images.read import read_image, read_mask
from hdpainter_nb.method import ddim
from hdpainter_nb.method.masks import covered
from hdpainter_nb.models import vae
from hdpainter_nb.models.conditioning import TextConditioning
from hdpainter_nb.models.noise_level import alpha_before_step, check_scheduler
from hdpainter_nb.models.prompt import Tokens, private_tokenizer, read_prompt
from hdpainter_nb.models.schedulers import NoiseLevel
from hdpainter_nb.sampling import active_edits, predict
from hdpainter_nb.sampling.finite import StepNumbers, are_finite
from hdpainter_nb.settings import WatchSettings
from hdpainter_nb.trace.record import Record
from hdpainter_nb.trace.trace import Trace
from hdpainter_nb.trace.tree import Branch, Node
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.memory import explain_out_of_memory
from hdpainter_nb.utils.turns import Turns

__all__ = ["FACTOR", "UNetCall", "WatchedCall", "watch"]

FACTOR = WatchSettings.factor
_NO_RNG: NDArray[np.uint8] = np.zeros(0, np.uint8)


@dataclass(frozen=True, eq=False)
class UNetCall:
    """One call of the UNet."""

    x: Tensor  # (1, 4, h, w)
    observations: Observations
    guided_norm: float
    started: float


@dataclass(eq=False)
class WatchedCall:
    """From its prompt to its picture. It gets a branch at its first UNet call."""

    pipe: Any
    trace: Trace
    capture: Capture
    edits: tuple[Edit, ...]
    preview: NDArray[np.float32]  # takes latents to RGB
    prompt: str
    count: int  # pictures: rows of a half
    row: int  # the one that is watched
    conditioning: TextConditioning | None = None
    transfer: HostTransfer | None = None
    positions: tuple[int, ...] = ()  # the tokens that are kept
    by_hand: bool = False  # in a loop of the user's own, outside of the pipeline's
    masked: dict[int, Tensor] = field(default_factory=dict)  # level -> (n,) masked positions
    branch: Branch | None = None
    node: Node | None = None
    made: int = 0  # steps

    def begin(self, row: Tensor, timestep: Any, context: Tensor) -> None:
        """Open the branch: now the size and everything else is known.

        Args:
            row: (channels, h, w), what the UNet is given for the watched picture.
            timestep: that the UNet is given.
            context: (B, L, d).

        Raises:
            SettingsError: the capture or an edit names what is not there.
            ModelError: there is no x0 to tell at zero terminal SNR.
        """
        pipe, trace = self.pipe, self.trace
        self._check_start(timestep, row.device)
        tokens = self._read(context)
        height, width = row.shape[-2:]
        size = (FACTOR * height, FACTOR * width)
        cond = TextConditioning(
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
            cells = covered(np.asarray(trace.mask, np.bool_), shape)
            self.masked[level] = torch.from_numpy(cells.ravel().nonzero()[0]).to(row.device)
        capture.check(layer_infos(pipe.unet), tokens.words, len(tokens.tokens), steps)
        run = Run(
            total=steps,
            layers=active_edits.layers(pipe.unet),
            settings=settings,
            words=tokens.words,
            tokens=tokens.tokens,
        )
        for edit in self.edits:
            edit.check(run)
        self.capture, self.conditioning = capture, cond
        self.transfer = capture.transfer(trace.store)
        self.positions = capture.positions(tokens.words, len(tokens.tokens))
        if not trace.branches:
            trace.words, trace.tokens = tokens.words, tokens.tokens
        number = len(trace.branches) + 1
        name = "main" if number == 1 else f"call {number}"
        self.node = trace.root(to_array(row[: pipe.unet.config.out_channels]), _NO_RNG)
        self.branch = trace.open_branch(
            self.prompt, settings, start=self.node, parent=None, name=name, edits=self.edits
        )

    def plan(self, timestep: int) -> HookPlan:
        """What the hooks do in the next UNet call."""
        cond, branch = self.conditioning, self.branch
        assert cond is not None
        assert branch is not None
        steps = branch.settings.steps
        return HookPlan(
            size=cond.size,
            indices=(),
            words=cond.words,
            tokens=len(cond.tokens),
            token_texts=cond.tokens,
            rows=self.masked,
            capture=self.capture.at(self.made),
            positions=self.positions,
            transfer=self.transfer,
            row=self.row - self.count,
            edits=active_edits.step_edits(self.edits, cond, self.made, timestep, steps),
        )

    def note(self, look: UNetCall, output: Tensor, level: NoiseLevel, after: Tensor) -> None:
        """A step of the scheduler: a record.

        Args:
            look: the UNet call before it.
            output: (B, 4, h, w), the guided prediction that the scheduler was given.
            level: how noisy what the UNet was given is.
            after: (B, 4, h, w), the latents that the scheduler gave back.
        """
        assert self.branch is not None
        assert self.node is not None
        alpha, kind = level.alpha, self.pipe.scheduler.config.prediction_type
        x, predicted = look.x.float(), output[self.row][None].float()
        x0 = predicted if kind == "sample" else ddim.x0_and_eps(kind, predicted, x, alpha)[0]
        numbers = StepNumbers(
            latents=x,
            conditioning=self.conditioning,
            networks=[self.pipe.unet],
            predictions={"prediction": predicted},
            x0=x0,
            after=after[self.row],
        )
        total = self.branch.settings.steps
        numbers.check(f"step {self.made + 1} of {total}, timestep {round(level.timestep)}")
        record = Record(
            index=self.made,
            timestep=round(level.timestep),
            latents=to_array(x[0]),
            x0_latents=to_array(x0[0]),
            x0_preview=vae.to_rgb(x0, self.preview),
            **look.observations.fields(),
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
        """Decoded pictures (B, 3, H, W), -1 .. 1: that of the newest step.

        Raises:
            ModelError: it is not finite.
        """
        if self.node is not None and self.made:
            if not are_finite([images[self.row]]):
                precision = str(images.dtype).removeprefix("torch.")
                raise ModelError(
                    f"The picture that the VAE made of step {self.made} is not finite in "
                    f"{precision}: load the VAE in float32, or one made for half precision. The "
                    "steps are kept."
                )
            levels = (images[self.row].detach().float() / 2 + 0.5).clamp(0, 1) * 255
            array = to_array(levels.permute(1, 2, 0)).round().astype(np.uint8)
            self.trace.pictures[self.node.id] = array

    def _check_start(self, timestep: Any, device: torch.device) -> None:
        """See that the first step has an x0: at an alpha of 0, epsilon does not tell it.

        Raises:
            ModelError: it has none.
        """
        scheduler = self.pipe.scheduler
        if scheduler.config.get("prediction_type", "epsilon") != "epsilon":
            return
        if float(alpha_before_step(scheduler, timestep, device)) == 0:
            raise ModelError(
                f"{type(self.pipe).__name__} begins without any signal (zero terminal SNR: alpha "
                f"is 0 at timestep {round(float(timestep))}), and its model predicts the noise, "
                "from which x0 cannot be told there: give its scheduler "
                "timestep_spacing='leading' or rescale_betas_zero_snr=False, or use "
                "EulerDiscreteScheduler."
            )

    def _read(self, context: Tensor) -> Tokens:
        """The words of the prompt; without one, positions only."""
        pipe, text = self.pipe, self.prompt
        tokenizer = getattr(pipe, "tokenizer", None) or getattr(pipe, "tokenizer_2", None)
        if not text or tokenizer is None:
            names = tuple(f"<{i}>" for i in range(context.shape[1]))
            return Tokens((), names, (), ())
        if hasattr(pipe, "maybe_convert_prompt"):
            text = pipe.maybe_convert_prompt(text, tokenizer)
        return read_prompt(private_tokenizer(tokenizer), text)

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


_watched: weakref.WeakSet[Any] = weakref.WeakSet()  # UNets
_door = threading.Lock()


@checked(leaves=["edit"])
@contextmanager
def watch(
    pipe: Any,
    *,
    capture: Capture | None = None,
    sample: int = -1,
    prompt: str | None = None,
    image: Any = None,
    mask: Any = None,
    edit: Edit | Iterable[Edit] = (),
) -> Iterator[Trace]:
    """Record what a diffusers pipeline does: latents, x0 predictions, attention by word.

    >>> with watch(pipe) as trace:
    ...     picture = pipe("a red star").images[0]
    >>> trace[10].cross["star"], trace.to_html("star.html")

    Each call of the pipeline makes a branch, ``main``, ``call 2`` and so on, and each step of its
    scheduler a record. A record's latents are as the UNet takes them; its x0 is that of the
    pipeline's own guided prediction, as its scheduler is given it; its sigma is 0, since only the
    scheduler knows its noise. Maps are of the conditional half. Levels that the size of the latents
    does not divide into are left out.

    Args:
        pipe: text-to-image, image-to-image, inpainting, ControlNet, and SDXL's, of which the UNet
            is laid out as Stable Diffusion's and the VAE has 8 pixels per latent position.
        capture: what to keep; `Capture.standard` by default.
        sample: which picture of the batch.
        prompt: where the words come from if the call is given embeddings in a prompt's place.
        image: (H, W, 3), to be kept in the trace.
        mask: (H, W), where something is filled, for the similarity of appendix B. An inpainting
            UNet of 9 channels is told its mask, which serves where none is given.
        edit: interventions, as in ``branch(edit=...)``; then the picture is another one.

    Raises:
        ModelError: the pipeline has no UNet, or one of another kind, or another batch than the
            unconditional half before the conditional one; its scheduler cannot say how noisy the
            UNet's input is; something is not finite in a step or in the picture.
        SettingsError: it is being watched already; the capture or an edit names what is not there.
    """
    watcher, unet = _Watcher(pipe, capture or Capture.standard(), sample, prompt, edit), pipe.unet
    watcher.keep(image, mask)
    with _door:
        if unet in _watched:
            raise SettingsError(
                "The UNet of this pipeline is being watched already: leave that `with` first."
            )
        _watched.add(unet)
    try:
        with watcher.listening():
            yield watcher.trace
    finally:
        _watched.discard(unet)


class _Watcher:
    """Listens to a pipeline and writes its trace."""

    def __init__(
        self, pipe: Any, capture: Capture, sample: int, prompt: str | None, edit: Any
    ) -> None:
        _check(pipe)
        self.pipe, self.capture, self.sample, self.prompt = pipe, capture, sample, prompt
        self.edits = read_edits(edit)
        for one in self.edits:
            if one.points & {"mask", "c"}:
                raise SettingsError(f"{one} edits what only a Sampler has: PAIntA or RASG.")
        self.trace = Trace(model=type(pipe).__name__)
        with explain_out_of_memory(lambda: _short_of_memory(pipe)):
            self._preview = vae.fit_preview(pipe, FACTOR)
        self._stack = ExitStack()
        self._heard: list[Any] = []  # schedulers that are listened to
        self._calls = _Calls()
        self._writing = threading.Lock()  # calls of several threads write one trace

    def keep(self, image: Any, mask: Any) -> None:
        """Put the picture and the mask that were given into the trace."""
        if image is not None:
            self.trace.image = read_image(image)
        if mask is not None:
            picture = self.trace.image
            self.trace.mask = read_mask(mask, "own" if picture is None else picture.shape[:2])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hooks and listeners are in inside, and out again outside."""
        with self._stack as stack:
            unet = self.pipe.unet
            before = unet.register_forward_pre_hook(self._before, with_kwargs=True)
            stack.callback(before.remove)
            after = unet.register_forward_hook(self._after, with_kwargs=True, always_call=True)
            stack.callback(after.remove)
            stack.callback(self._end_of_unet)
            self._listen(self.pipe, "encode_prompt", self._encoded)
            self._listen(self.pipe.vae, "decode", self._decoded)
            self._follow()
            yield

    def _listen(
        self,
        owner: Any,
        name: str,
        heard: Callable[[Any, Any, Any], None],
        asked: Callable[[Any, Any], None] | None = None,
    ) -> None:
        """Hear of each call of a method.

        Args:
            heard: is told the arguments, and the result.
            asked: is told the arguments beforehand.
        """
        original, attributes = getattr(owner, name), vars(owner)
        before = attributes.get(name)

        @functools.wraps(original)  # keeps the signature, which pipelines look at
        def listening(*args: Any, **kwargs: Any) -> Any:
            if asked is not None:
                asked(args, kwargs)
            result = original(*args, **kwargs)
            heard(args, kwargs, result)
            return result

        def restore() -> None:
            if attributes.get(name) is not listening:  # somebody replaced it meanwhile
                return
            if before is None:
                del attributes[name]
            else:
                attributes[name] = before

        attributes[name] = listening
        self._stack.callback(restore)

    def _follow(self) -> None:
        """Listen to the scheduler, which may be another one in each call."""
        scheduler = self.pipe.scheduler
        if not any(scheduler is one for one in self._heard):
            check_scheduler(scheduler)
            self._heard.append(scheduler)
            self._listen(scheduler, "step", self._stepped, self._stepping)

    def _mine(self) -> bool:
        """Whether it is this pipeline that calls, and not another one with the same parts.

        A loop of the user's own, outside of any pipeline's, counts in the thread that has encoded
        the prompt.
        """
        caller = _caller()
        if caller is not None:
            return caller is self.pipe
        call = self._calls.call
        return call is not None and call.by_hand

    def _end_of_unet(self) -> AttentionHooks | None:
        """The hooks come out, if they are in, and the turn on the UNet ends."""
        calls = self._calls
        hooks = calls.hooks
        try:
            if hooks is not None:
                hooks.eject()
        finally:
            calls.hooks = None
            calls.turn.close()
        return hooks

    # --- what is heard ---------------------------------------------------------------------------

    def _encoded(self, args: Any, kwargs: Any, result: Any) -> None:
        """The prompt: a call begins."""
        self._follow()
        count, given = len(result[0]), _argument(args, kwargs, 0, "prompt")
        if not -count <= self.sample < count:
            raise SettingsError(f"There is no sample {self.sample}; the call makes {count}.")
        row = self.sample % count
        if given is None:
            given = self.prompt or ""
        if not isinstance(given, str):
            given = given[row // (count // len(given))]
        self._calls.look = None
        self._calls.call = WatchedCall(
            pipe=self.pipe,
            trace=self.trace,
            capture=self.capture,
            edits=self.edits,
            preview=self._preview,
            prompt=given,
            count=count,
            row=row,
            by_hand=_caller() is None,
        )

    def _before(self, unet: Any, args: Any, kwargs: Any) -> None:
        """Before the UNet: its turn comes, and the hooks go in."""
        calls, call = self._calls, self._calls.call
        if call is None or not self._mine():
            return
        names = ("sample", "timestep", "encoder_hidden_states")
        sample, t, context = (_argument(args, kwargs, i, name) for i, name in enumerate(names))
        if len(sample) not in (call.count, 2 * call.count):
            raise ModelError(
                f"{type(self.pipe).__name__} runs its UNet on {len(sample)} rows for "
                f"{call.count} pictures. What can be watched: the unconditional half before the "
                "conditional one, or the conditional one alone."
            )
        self._end_of_unet()
        calls.turn.enter_context(Turns.of(unet).take())
        try:
            if call.branch is None:
                with self._writing:
                    call.begin(sample[call.row - call.count], t, context)
            calls.started = time.perf_counter()
            calls.hooks = AttentionHooks(unet, call.plan(round(float(t))))
            calls.hooks.inject()
            half: Half = "both" if len(sample) == 2 * call.count else "cond"
            calls.turn.enter_context(calls.hooks.call(half))
        except BaseException:
            self._end_of_unet()
            raise

    def _after(self, unet: Any, args: Any, kwargs: Any, output: Any) -> None:
        """After the UNet, or after its failure: the hooks come out."""
        calls, call = self._calls, self._calls.call
        if calls.hooks is None or call is None:
            return
        hooks = self._end_of_unet()
        if hooks is None or output is None:
            return
        sample = _argument(args, kwargs, 0, "sample")
        row, prediction, norm = call.row - call.count, output[0], 0.0
        if len(prediction) == 2 * call.count:
            difference = prediction[row] - prediction[row - call.count]
            norm = float(difference.float().square().mean() ** 0.5)
        x = sample[row, : prediction.shape[1]][None].detach()
        calls.look = UNetCall(x, hooks.observations, norm, calls.started)

    def _stepping(self, args: Any, kwargs: Any) -> None:
        """Before the scheduler's step, when it still stands where the UNet was called."""
        calls = self._calls
        calls.level = None
        if calls.call is None or calls.look is None or not self._mine():
            return
        t, device = _argument(args, kwargs, 1, "timestep"), calls.look.x.device
        calls.level = NoiseLevel(float(t), alpha_before_step(self.pipe.scheduler, t, device))

    def _stepped(self, args: Any, kwargs: Any, result: Any) -> None:
        """The scheduler's step: a record."""
        calls = self._calls
        if calls.call is None or calls.look is None or calls.level is None:
            return
        output = _argument(args, kwargs, 0, "model_output")
        with self._writing:
            calls.call.note(calls.look, output, calls.level, result[0])
        calls.look = calls.level = None

    def _decoded(self, args: Any, kwargs: Any, result: Any) -> None:
        """The VAE: the picture of the newest step."""
        call = self._calls.call
        if call is not None and len(result[0]) == call.count and self._mine():
            with self._writing:
                call.picture(result[0])


class _Calls(threading.local):
    """What each thread has under way: a pipeline may be called in several."""

    def __init__(self) -> None:
        self.call: WatchedCall | None = None
        self.look: UNetCall | None = None  # of which the scheduler's step is still to come
        self.level: NoiseLevel | None = None  # of the step under way
        self.hooks: AttentionHooks | None = None  # that are in the UNet
        self.turn = ExitStack()  # on the UNet
        self.started = 0.0


def _caller() -> Any:
    """The pipeline or sampler that is at work in this thread; None where there is neither."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == predict.__name__:
            return predict
        if frame.f_code.co_name == "__call__":
            owner = frame.f_locals.get("self")
            if isinstance(owner, DiffusionPipeline):
                return owner
        frame = frame.f_back
    return None


def _argument(args: Any, kwargs: Any, place: int, name: str) -> Any:
    """An argument of a call, by place or name; None if it is not given."""
    return args[place] if place < len(args) else kwargs.get(name)


def _short_of_memory(pipe: Any) -> str:
    """What to say where the VAE cannot even encode what previews are fitted to."""
    size = f"{vae.CHART}x{vae.CHART} px"
    return (
        f"The memory of {pipe._execution_device} does not suffice for encoding {size}, to which "
        "previews are fitted: load the pipeline in half precision, or call its "
        "enable_model_cpu_offload(), and watch it again."
    )


def _check(pipe: Any) -> None:
    """Raise `ModelError` unless the pipeline can be watched."""
    name = type(pipe).__name__
    for part in ("unet", "vae", "scheduler", "encode_prompt"):
        if getattr(pipe, part, None) is None:
            raise ModelError(
                f"{name} has no {part}. What can be watched: diffusers pipelines of the "
                "Stable-Diffusion family."
            )
    layer_infos(pipe.unet)
    factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    if factor != FACTOR:
        raise ModelError(
            f"The VAE of {name} has {factor} pixels per latent position, not {FACTOR}."
        )
    check_scheduler(pipe.scheduler)
