"""Attention after the fact: any row of any layer's matrix, computed from what was kept.

A layer's queries and keys take 5 MB where its attention matrix takes 268 (64 x 64 positions, 8
heads, float16). Any row of the matrix, and any text's attention, is one product away: NumPy only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.select import Word, matches
from hdpainter_nb.settings import SMALLEST_C, BaseSettings, PaintaScaling
from hdpainter_nb.trace.maps import CrossMaps, LevelMaps, QueryKeys
from hdpainter_nb.trace.record import Record
from hdpainter_nb.utils.checked import checked

__all__ = [
    "Attention",
    "Float32",
    "TextModel",
    "chosen_head",
    "logits",
    "need_queries",
    "rescaled",
    "softmax",
    "which_layers",
]

Float32 = NDArray[np.float32]
_BLOCK = 2**24  # logits that are computed at a time: 64 MiB


class TextModel(Protocol):
    """What is asked of a model here: the keys that its layers make of a text."""

    @property
    def name(self) -> str:
        """For messages."""

    def text_keys(
        self, prompt: str, settings: BaseSettings, layers: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], Any]:
        """``{layer: (heads, L, d)}``, and the prompt's tokens: their `words` and `tokens`."""


class Attention:
    """Where pixels look, and at which words (conditional half).

    Made by `Trace.ask` from what `Capture` kept (``queries=True``), or by `Sampler.attention`,
    which makes the step's UNet call once more where nothing was kept. Edits of a layer's own
    attention (`edits.ScaleWord`, say) come after its q and k and are not in the answers; those of c
    and of the mask are.

    Where pixels attend to the text and to each other in one softmax (GLIDE), a row of
    self-attention and what the pixel's words have share the sum of 1, and q and k of both kinds are
    needed for either.

    Args:
        own, cross: q and k of self- and cross-attention.
        size: (H, W) of the padded picture.
        words, tokens: those of the prompt; tokens from start-of-text to end-of-text.
        c: level -> layer -> (h, w), where PAIntA acted.
        holes: level -> (h, w): what PAIntA took to be masked.
        settings: those of the step.

    Attributes:
        levels: the resolutions at which self-attention or, if there is none, cross-attention can
            be asked for.
    """

    def __init__(
        self,
        own: QueryKeys,
        cross: QueryKeys,
        *,
        size: tuple[int, int],
        words: tuple[Word, ...] = (),
        tokens: tuple[str, ...] = (),
        c: Mapping[int, Mapping[str, NDArray[Any]]] | None = None,
        holes: Mapping[int, NDArray[np.bool_]] | None = None,
        settings: BaseSettings | None = None,
    ) -> None:
        self.own, self._cross = own, cross
        self.c, self._holes = c or {}, holes or {}
        self._size, self._settings = size, settings
        self._words, self._tokens = words, tokens
        self._joint = settings is not None and settings.joint_attention
        queries = own if len(own) else cross
        self.levels = tuple(sorted({*queries.levels.values()}))

    @classmethod
    def of(cls, record: Record) -> Attention:
        """From a record that kept queries and keys.

        Raises:
            SettingsError: it kept none.
        """
        if not len(record.self_qk) and not len(record.cross_qk):
            raise SettingsError(
                f"Step {record.number} kept no queries and keys. Make the run with "
                "capture=Capture.standard(queries=True), or ask sampler.attention(record), which "
                "makes the step's UNet call once more."
            )
        factor = record.settings.factor
        return cls(
            record.self_qk,
            record.cross_qk,
            size=(factor * record.latents.shape[-2], factor * record.latents.shape[-1]),
            words=record.cross.words,
            tokens=record.cross.tokens,
            c=record.c.layers,
            holes=record.holes,
            settings=record.settings,
        )

    @checked
    def layers(self, level: int = 16) -> list[str]:
        """Names of the layers at a level, in the order in which they run."""
        names = self.own.at(level) or self._cross.at(level)
        if not names:
            raise SettingsError(f"There is no level {level}; there are {list(self.levels)}.")
        return names

    # --- self-attention --------------------------------------------------------------------------

    @checked
    def row(
        self,
        x: float,
        y: float,
        *,
        level: int | None = None,
        layer: str | None = None,
        head: int | None = None,
        painta: bool = True,
    ) -> Float32:
        """The self-attention of the pixel at (x, y) of the picture to all others.

        Args:
            x, y: in pixels of the picture that was sampled, from its upper left corner.
            level: H/16 by default, or the layer's own.
            layer: a name, its beginning or a pattern; the mean over all that fit.
            head: the mean over all where None.
            painta: with PAIntA's rescaling, where it acted (eq. 5); without it otherwise.

        Returns:
            (H/level, W/level), summing to 1.

        Raises:
            SettingsError: the pixel lies outside, or there is no such level, layer or head.
        """
        level, _ = which_layers(self.own, "self", level, layer)
        height, width = self._shape(level)
        row, column = int(y // level), int(x // level)
        if not (0 <= row < height and 0 <= column < width):
            raise SettingsError(
                f"Pixel ({x:g}, {y:g}) lies outside the {width * level} x {height * level} picture."
            )
        region = np.zeros((height, width), bool)
        region[row, column] = True
        return self.region(region, level=level, layer=layer, head=head, painta=painta)

    @checked
    def region(
        self,
        region: ArrayLike,
        *,
        level: int | None = None,
        layer: str | None = None,
        head: int | None = None,
        painta: bool = True,
    ) -> Float32:
        """The mean self-attention of all pixels of a region.

        Args:
            region: (H/level, W/level) bool, at least one True.
            level, layer, head, painta: as for `row`.

        Returns:
            (H/level, W/level), summing to 1.

        Raises:
            SettingsError: the region is empty or of another shape; as `row` otherwise.
        """
        level, names = which_layers(self.own, "self", level, layer)
        shape, chosen = self._shape(level), np.asarray(region, bool)
        if chosen.shape != shape or not chosen.any():
            raise SettingsError(
                f"The region must be a bool array of shape {shape} with something in it, "
                f"not {chosen.shape} with {int(chosen.sum())} positions."
            )
        rows = np.flatnonzero(chosen)
        maps = [self._mean_row(level, name, rows, head, painta) for name in names]
        mean: Float32 = np.mean(maps, axis=0, dtype=np.float32).reshape(shape)
        return mean

    def _mean_row(
        self, level: int, layer: str, rows: NDArray[np.intp], head: int | None, painta: bool
    ) -> Float32:
        """(hw,): mean over rows and heads of softmax(A), or of softmax(A~) (eq. 5)."""
        q, k = (chosen_head(x, head, self.own.heads) for x in self.own[layer])  # (heads, hw, d)
        beside = self._keys_beside(layer, "cross")
        text = None if beside is None else chosen_head(beside, head, self.own.heads)
        total, step = np.zeros(k.shape[1], np.float32), max(1, _BLOCK // k[..., 0].size)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            a = logits(q[:, block], k)  # (heads, rows, hw)
            if painta:
                a = self._painted(level, layer, a, block)
            if text is not None:
                a = np.concatenate([a, logits(q[:, block], text)], -1)
            total += softmax(a)[..., : k.shape[1]].mean(0).sum(0)
        mean: Float32 = total / np.float32(len(rows))
        return mean

    def _painted(self, level: int, layer: str, a: Float32, rows: NDArray[np.intp]) -> Float32:
        """Logits (heads, rows, hw) with PAIntA's rescaling, in place, where it acted."""
        c, hole = self.c.get(level, {}).get(layer), self._holes.get(level)
        if c is None or hole is None:
            return a
        scaling: PaintaScaling = getattr(self._settings, "painta_scaling", "multiply")
        return rescaled(a, c.ravel(), hole.ravel(), rows, scaling)

    def _keys_beside(self, layer: str, kind: str) -> NDArray[Any] | None:
        """Keys (heads, n, d) of ``self`` or ``cross`` in the other's softmax; None: it is apart.

        Raises:
            SettingsError: they share a softmax, and were not kept.
        """
        other = self._cross if kind == "cross" else self.own
        if not self._joint:
            return None
        if layer not in other:
            raise SettingsError(
                "Pixels attend to the text and to each other in one softmax here, so queries and "
                "keys of both are needed: capture them with queries=True."
            )
        return other[layer][1]

    # --- cross-attention -------------------------------------------------------------------------

    @cached_property
    def cross(self) -> CrossMaps:
        """Every word of the run's own prompt, per layer and head, as full capture keeps it."""
        need_queries(self._cross, "cross")
        keys = {layer: self._cross[layer][1] for layer in self._cross}
        return self._maps(keys, self._words, self._tokens)

    @checked
    def word(
        self,
        which: str | int,
        *,
        level: int | None = None,
        layer: str | None = None,
        head: int | None = None,
    ) -> Float32:
        """The cross-attention of all pixels to a word or token of the run's own prompt.

        Args:
            which: a word, or a token's position.
            level, layer, head: as for `row`.

        Returns:
            (H/level, W/level), probabilities.

        Raises:
            SettingsError, KeyError: there is no such word, level, layer or head.
        """
        level, names = which_layers(self._cross, "cross", level, layer)
        maps = [self.cross.map(which, level=level, layer=name, head=head) for name in names]
        mean: Float32 = np.mean(maps, axis=0, dtype=np.float32)
        return mean

    @checked
    def words(self, prompt: str, *, model: TextModel) -> CrossMaps:
        """The words of another prompt, as this step's pixels would attend to them.

        The stored queries come from the run with its own prompt; the keys are the new prompt's, and
        softmax goes over its tokens. So this says what *these* pixels find in other words, not what
        a run with those words would have shown. With the run's own prompt it is `cross`.

        Args:
            prompt: it gets the run's prompt additions (switch 16), as the run's own did.
            model: the one that made the run: its text encoder and the layers' ``to_k``.

        Returns:
            Maps per word, layer and head: ``maps["ring"]``, ``maps.map("ring", head=2)``.

        Raises:
            SettingsError: no queries of cross-attention were kept, or the model is another.
        """
        need_queries(self._cross, "cross")
        assert self._settings is not None
        keys, tokens = model.text_keys(prompt, self._settings, list(self._cross))
        for layer in self._cross:
            k = keys.get(layer)
            if k is None or k.shape[-1] != self._cross[layer][1].shape[-1]:
                raise SettingsError(
                    f"{model.name!r} has no layer {layer!r} of this width: pass the model that "
                    "made the run."
                )
            heads = [head for head in self._cross.heads or () if head < len(k)]
            keys[layer] = k if self._cross.heads is None else k[heads]
        return self._maps(keys, tokens.words, tokens.tokens)

    def _maps(
        self,
        keys: Mapping[str, NDArray[Any]],
        words: tuple[Word, ...],
        tokens: tuple[str, ...],
    ) -> CrossMaps:
        """softmax(Q K^T / sqrt(d)) over all tokens, padding included; kept up to EOT."""
        maps: dict[int, dict[str, Any]] = {}
        count: int | None = None
        for layer, level in self._cross.levels.items():
            q, count = self._cross[layer][0], keys[layer].shape[1]
            a = logits(q, keys[layer])  # (heads, hw, L)
            beside = self._keys_beside(layer, "self")
            if beside is not None:
                own = logits(q, beside)
                own = self._painted(level, layer, own, np.arange(q.shape[1]))
                a = np.concatenate([a, own], -1)
            p = softmax(a)[..., :count]
            p = p[..., : len(tokens) or None].swapaxes(-1, -2)
            maps.setdefault(level, {})[layer] = p.reshape(*p.shape[:2], *self._shape(level))
        return CrossMaps(LevelMaps(maps), words, tokens, heads=self._cross.heads, keys=count)

    def _shape(self, level: int) -> tuple[int, int]:
        return self._size[0] // level, self._size[1] // level

    def __repr__(self) -> str:
        parts = [
            f"{kind} at H/{level}: {len(queries.at(level))} layers"
            for kind, queries in (("self", self.own), ("cross", self._cross))
            for level in sorted({*queries.levels.values()})
        ]
        return f"Attention({', '.join(parts)})"


def which_layers(
    queries: QueryKeys, kind: str, level: int | None, layer: str | None
) -> tuple[int, list[str]]:
    """The level, and the names of the layers there that are meant.

    Args:
        queries: what there is to choose from.
        kind: ``self`` or ``cross``, for messages.
        level: H/16 by default, or the layer's own.
        layer: a name or pattern; all where None.

    Raises:
        SettingsError: nothing was kept, or no such level or layer.
    """
    need_queries(queries, kind)
    levels = queries.levels
    fitting = {n: at for n, at in levels.items() if layer is None or matches(n, (layer,))}
    if not fitting:
        listed = "\n  ".join(f"{name} (H/{at})" for name, at in levels.items())
        raise SettingsError(f"There is no layer {layer!r}; kept are\n  {listed}")
    if level is None:
        level = 16 if 16 in fitting.values() else min(fitting.values())
    names = [name for name, at in fitting.items() if at == level]
    if not names:
        what = "" if layer is None else f" of {layer!r}"
        choices = sorted({*fitting.values()})
        raise SettingsError(f"There is no level {level}{what}; there are {choices}.")
    return level, names


def need_queries(queries: QueryKeys, kind: str) -> None:
    """Raise `SettingsError` where no queries and keys were kept."""
    if not len(queries):
        raise SettingsError(
            f"Queries and keys of {kind}-attention were not kept: capture them with "
            f"queries={kind!r}."
        )


def chosen_head(x: NDArray[Any], head: int | None, heads: Sequence[int] | None) -> Float32:
    """(heads, n, d) in float32: all heads, or the one of this number among `heads`."""
    numbers = range(len(x)) if heads is None else heads[: len(x)]
    if head is not None and head not in numbers:
        raise SettingsError(f"There is no head {head}; kept are {list(numbers)}.")
    chosen = x if head is None else x[numbers.index(head)][None]
    return chosen.astype(np.float32)


@np.errstate(over="ignore", invalid="ignore")  # not finite ones give NaN, not warnings
def logits(q: NDArray[Any], k: NDArray[Any]) -> Float32:
    """Q K^T / sqrt(d) in float32: (heads, n, m)."""
    scale = np.float32(q.shape[-1] ** -0.5)
    product = (q.astype(np.float32) * scale) @ k.astype(np.float32).swapaxes(-1, -2)
    return product.astype(np.float32, copy=False)


@np.errstate(over="ignore", invalid="ignore")
def rescaled(
    a: Float32,
    c: NDArray[Any],
    hole: NDArray[np.bool_],
    rows: NDArray[np.intp],
    scaling: PaintaScaling = "multiply",
) -> Float32:
    """A~ of eq. 5, in place: what masked pixels make of known ones is multiplied by c_j.

    `hdpainter_nb.method.painta` does the same in torch, on the keys.

    Args:
        a: (heads, n, hw), some rows of A.
        c: (hw,).
        hole: (hw,), which pixels are masked.
        rows: (n,), the pixels that those rows belong to.
        scaling: ``multiply``, or ``log``, where log c_j is added.
    """
    scale = np.where(hole, 1, c).astype(np.float32)
    if scaling == "log":
        a[:, hole[rows]] += np.log(np.maximum(scale, SMALLEST_C))
    else:
        a[:, hole[rows]] *= scale
    return a


@np.errstate(over="ignore", invalid="ignore")
def softmax(x: Float32) -> Float32:
    """Over the last axis, in place."""
    x -= x.max(-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(-1, keepdims=True)
    return x
