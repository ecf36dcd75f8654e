"""What to keep of each step: `Capture`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from hdpainter_nb.capture.store import ArrayStore
from hdpainter_nb.errors import HDPainterWarning, SettingsError
from hdpainter_nb.select import (
    LayerInfo,
    Word,
    choose_heads,
    choose_layers,
    choose_tokens,
    matches,
    tokens_of_prompt,
)
from hdpainter_nb.utils.check import as_tuple, between, one_of
from hdpainter_nb.utils.checked import checked
from hdpainter_nb.utils.messages import warn_user
from hdpainter_nb.utils.nbytes import byte_count

if TYPE_CHECKING:
    from hdpainter_nb.capture.transfer import HostTransfer

__all__ = ["ALL_LEVELS", "LEVELS", "PAINTA_LEVELS", "SCORE_LEVEL", "Capture"]

LEVELS = (8, 16, 32)
"""Attention resolutions counted from the image: level 16 has (H/16) x (W/16) positions."""
ALL_LEVELS = (*LEVELS, 64)
"""Resolutions that can be kept, counted from the image."""
PAINTA_LEVELS = (16, 32)
"""Where PAIntA acts, in pixels per position."""
SCORE_LEVEL = 32
"""Where RASG reads its scores."""


Detail = Literal["mean", "layers", "heads"]
Queries = bool | Literal["self", "cross"]
_DETAILS = ("mean", "layers", "heads")


@checked
@dataclass(frozen=True, kw_only=True)
class Capture:
    """What a `Sampler` keeps of each step. Everything is reduced inside the attention layer.

    >>> Capture.standard(queries=True)                  # and ask any pixel, head or word later
    >>> Capture.everything(budget="512 MB")             # the rest goes to a temporary file
    >>> Capture.where(layers="up_blocks.1", steps=range(10), heads=[0, 3], tokens=["star"])

    Latents, previews and the gradient's statistics are kept in every case. Padding tokens are
    dropped: maps are kept from start-of-text to end-of-text. `Sampler.layers` lists the layers.

    Raises:
        SettingsError: a value is not one of its choices. What names layers, steps, heads or words
            is checked when a sampler is made, against what it has.
    """

    # --- what ------------------------------------------------------------------------------------
    cross: Detail | None = "mean"
    """Cross-attention maps: mean over heads and layers, per layer, or per layer and head."""
    levels: tuple[int, ...] = LEVELS
    """Resolutions of the cross-attention maps and of q and k, counted from the image: 8 .. 64."""
    c: bool = True
    """c_j of every PAIntA layer. Kept in any case with q and k, which are read with it."""
    similarity: bool = True
    """Appendix B's mask-mean self-similarity at H/16 and H/32, before and after PAIntA."""
    scores: bool | Detail = True
    """Cross-attention scores before softmax at H/32, what RASG reads (eq. 9). The mean is kept
    (True, ``mean``), and besides it every layer's (``layers``) or every head's (``heads``)."""
    queries: Queries = False
    """Queries and keys of ``self``- or ``cross``-attention, or of both (True): every row of the
    attention matrix can be asked for later, with `Trace.ask`."""

    # --- where -----------------------------------------------------------------------------------
    layers: str | Collection[str] | None = None
    """Names, beginnings of names (``up_blocks.1``) or patterns (``*.attentions.0.*``)."""
    steps: int | Collection[int] | None = None
    """Steps by number, from 0: a range, a list. In the others nothing of attention is kept."""
    heads: int | Collection[int] | None = None
    """Heads by number, for cross-attention maps, scores, q and k. c and similarity are means over
    all heads by their definition."""
    tokens: str | int | Collection[str | int] | None = None
    """Words or token positions, for cross-attention maps and scores."""

    # --- how -------------------------------------------------------------------------------------
    budget: Annotated[int | str | None, "a number of bytes such as '512 MB' or None"] = "1 GB"
    """What a trace may hold in main memory. The rest goes to a temporary file, where it is read
    like any array. None: no limit."""
    folder: str | Path | None = None
    """Where the temporary file goes; None: the system's folder for such files."""
    device: Literal["cpu", "model"] = "cpu"
    """``model`` leaves maps, q and k on the model's device until they are read."""
    dtype: Literal["float16", "float32"] = "float16"
    """Precision of cross-attention maps, q and k. c, similarity and scores are float32."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("layers", "steps", "heads", "tokens"):
            set_(self, name, as_tuple(getattr(self, name)))
        set_(self, "levels", as_tuple(self.levels) or ())
        set_(self, "heads", as_tuple(None if self.heads is None else {*as_tuple(self.heads)}))
        one_of("cross", self.cross, (None, *_DETAILS))
        one_of("scores", self.scores, (False, True, *_DETAILS))
        one_of("queries", self.queries, (False, True, "self", "cross"))
        one_of("device", self.device, ("cpu", "model"))
        one_of("dtype", self.dtype, ("float16", "float32"))
        wrong = set(self.levels) - set(ALL_LEVELS)
        if wrong:
            raise SettingsError(f"levels {sorted(wrong)} are not among {str(ALL_LEVELS)[1:-1]}.")
        for name in ("steps", "heads"):
            for number in getattr(self, name) or ():
                if not isinstance(number, int) or number < 0:
                    raise SettingsError(f"{name}={number!r}: give numbers from 0.")
        byte_count(self.budget)

    @classmethod
    def standard(cls, **changes: Any) -> Self:
        """Every word's mean map at H/8, H/16 and H/32, c per layer, similarity and scores.

        About 0.2 MB a step for a prompt of five words at 512 px.

        Args:
            changes: any field.
        """
        return cls().replace(**changes)

    @classmethod
    def everything(cls, **changes: Any) -> Self:
        """Maps and scores per layer and head at every level, and all queries and keys.

        75 MB a step for Stable Diffusion 1.5 at 512 px and a prompt of six tokens, so most of a
        long run lies in the temporary file. Without q and k (``queries=False``): 4 MB.

        Args:
            changes: any field.
        """
        full = cls(cross="heads", levels=ALL_LEVELS, scores="heads", queries=True)
        return full.replace(**changes)

    @classmethod
    def nothing(cls, **changes: Any) -> Self:
        """Only latents, previews and the gradient's statistics.

        Args:
            changes: any field.
        """
        return cls(cross=None, c=False, similarity=False, scores=False).replace(**changes)

    @classmethod
    def where(
        cls,
        layers: str | Collection[str] | None = None,
        steps: int | Collection[int] | None = None,
        heads: int | Collection[int] | None = None,
        tokens: str | int | Collection[str | int] | None = None,
        **changes: Any,
    ) -> Self:
        """Chosen layers, steps, heads and tokens in detail, at every level.

        Maps and scores are kept per layer or, where heads are chosen, per head.

        Args:
            layers, steps, heads, tokens: what the fields of these names say; None means all.
            changes: any other field.
        """
        detail: Detail = "layers" if heads is None else "heads"
        chosen = cls(
            cross=detail,
            scores=detail,
            levels=ALL_LEVELS,
            layers=layers,
            steps=steps,
            heads=heads,
            tokens=tokens,
        )
        return chosen.replace(**changes)

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`.

        Raises:
            SettingsError: a name or value is not known.
        """
        names = [f.name for f in dataclasses.fields(self)]
        if unknown := set(changes) - set(names):
            raise SettingsError(
                f"Capture has no field {min(unknown)!r}; it has {', '.join(names)}."
            )
        return dataclasses.replace(self, **changes)

    # --- what it comes to ------------------------------------------------------------------------

    @property
    def limit(self) -> int | None:
        """`budget` in bytes."""
        return byte_count(self.budget)

    @property
    def own_queries(self) -> bool:
        """Whether q and k of self-attention are kept."""
        return self.queries in (True, "self")

    @property
    def cross_queries(self) -> bool:
        """Whether q and k of cross-attention are kept."""
        return self.queries in (True, "cross")

    @property
    def score_detail(self) -> Detail | None:
        """How `scores` are kept, or None."""
        if isinstance(self.scores, bool):
            return "mean" if self.scores else None
        return self.scores

    @property
    def head_numbers(self) -> tuple[int, ...] | None:
        """`heads`, ascending; None: all."""
        return as_tuple(self.heads)

    def at(self, step: int) -> Self:
        """What is kept in a step."""
        if self.steps is None or step in as_tuple(self.steps):
            return self
        return self.replace(cross=None, c=False, similarity=False, scores=False, queries=False)

    def keeps(self, layer: str) -> bool:
        """Whether a layer is among the chosen ones."""
        return matches(layer, as_tuple(self.layers))

    def chosen_heads(self, count: int) -> tuple[int, ...] | None:
        """The chosen heads of a layer that has `count`; None: all."""
        return choose_heads(as_tuple(self.heads), count)

    def positions(self, words: Sequence[Word], count: int) -> tuple[int, ...]:
        """The chosen token positions.

        Args:
            words: those of the prompt.
            count: tokens from SOT to EOT.

        Raises:
            SettingsError: the prompt has no such word or position.
        """
        between("count", count, 0, 10**6, integer=True)
        return choose_tokens(as_tuple(self.tokens), words, count)

    def for_words(self, words: Sequence[Word], tokens: Sequence[str]) -> Self:
        """The same for a branch with another prompt: without tokens that this one lacks."""
        if self.tokens is None:
            return self
        present, complaints = tokens_of_prompt(as_tuple(self.tokens), words, len(tokens))
        for sentence in complaints:
            warn_user(f"{sentence} It is left out.", HDPainterWarning)
        return self.replace(tokens=present)

    def transfer(self, store: ArrayStore) -> HostTransfer:
        """Where a sampler puts what is kept, within the budget."""
        from hdpainter_nb.capture.transfer import HostTransfer

        store.limit, store.folder = self.limit, self.folder
        return HostTransfer(store=store, place=self.device)

    def check(
        self, layers: Sequence[LayerInfo], words: Sequence[Word], count: int, steps: int
    ) -> None:
        """Raise `SettingsError` where it names what a run does not have.

        Args:
            layers: those of the UNet.
            words, count: as for `positions`.
            steps: of the whole run.
        """
        chosen = choose_layers(as_tuple(self.layers), layers)
        self.positions(words, count)
        for head in as_tuple(self.heads) or ():
            most = max(layer.heads for layer in chosen)
            if head >= most:
                raise SettingsError(f"There is no head {head}; the layers have 0 to {most - 1}.")
        for step in as_tuple(self.steps) or ():
            if step >= steps:
                last = steps - 1
                raise SettingsError(
                    f"There is no step {step}; the run has 0 to {last}, counted from 0."
                )

    def bytes_per_step(
        self,
        layers: Iterable[LayerInfo],
        tokens: int,
        size: tuple[int, int],
        *,
        painta: bool,
        text: int = 77,
    ) -> int:
        """Bytes kept of one step, apart from the latents.

        Args:
            layers: those of the UNet.
            tokens: how many are kept: the length of `positions`.
            size: (H, W) of the padded picture.
            painta: whether PAIntA acts in the step.
            text: tokens of the text with its padding, which k of cross-attention has.
        """
        total, once = 0, set()
        wide = 2 if self.dtype == "float16" else 4
        for layer in layers:
            if not self.keeps(layer.name):
                continue
            chosen = self.chosen_heads(layer.heads)
            heads = layer.heads if chosen is None else len(chosen)
            area = (size[0] // layer.level) * (size[1] // layer.level)
            channels = heads * (layer.width // layer.heads)
            at_level, by_painta = layer.level in self.levels, layer.level in PAINTA_LEVELS
            self_queries = self.own_queries and at_level and layer.own
            if self.cross and at_level:
                maps = {"mean": layer.level not in once, "layers": 1, "heads": heads}[self.cross]
                total += wide * maps * tokens * area
            if by_painta:
                total += 4 * area * (painta and (self.c or self_queries))
                total += 4 * area * (1 + painta) * self.similarity
                total += area * (self_queries and layer.level not in once)  # the hole
            if self.score_detail and layer.level == SCORE_LEVEL:
                maps = {"mean": 0, "layers": 1, "heads": heads}[self.score_detail]
                total += 4 * (maps + (layer.level not in once)) * tokens * area
            total += wide * 2 * channels * area * self_queries
            total += wide * channels * (area + text) * (self.cross_queries and at_level)
            once.add(layer.level)
        return total
