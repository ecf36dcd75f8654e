"""What a type hint admits: a value as plain Python, or the words for what is right.

Type checkers for run time (beartype, typeguard, pydantic) say yes or no, look at one item of a
list, or copy what they are given. Here NumPy's scalars become Python's on the way, every item is
looked at, what is already right stays the very object, and the words are those of a user.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import math
import os
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MOST", "Rule", "Wrong", "numbers_of", "rule_of"]

MOST = 100_000
"""More items than this are no list that a person means; an endless generator would be read for
ever."""
_ARRAY_LIKE = get_args(ArrayLike)
_LARGEST = 2**63 - 1  # beyond, torch and NumPy have no whole numbers


@dataclass(frozen=True)
class Wrong:
    """A value that does not fit, with a reason where the words for what is right do not say it."""

    reason: str = ""


@dataclass(frozen=True)
class Rule:
    """What a hint admits."""

    words: str
    """What is right: "a whole number"."""
    several: str
    """The same in the plural."""
    read: Callable[[Any], Any]
    """Gives the value as it is to be kept, or `Wrong`. What an object's own methods raise when they
    are asked goes through."""


def rule_of(hint: Any, resolve: Callable[[str], Any], *, inside: bool = False) -> Rule:
    """The rule of a type hint.

    Args:
        hint: an evaluated hint. Strings within it are resolved. ``Annotated[int | str, "a number of
            bytes"]`` says in words of its own what is right.
        resolve: gives the hint that a string stands for.
        inside: it is that of a list's items, say. There ``float`` admits NaN and infinity: rows of
            data have gaps.

    Raises:
        TypeError: this kind of hint is not known here.
    """
    if isinstance(hint, ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        hint = resolve(hint)
    if isinstance(hint, TypeVar):
        hint = Any if hint.__bound__ is None else hint.__bound__
        return rule_of(hint, resolve, inside=inside)
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return _ANYTHING
    if hint is None:
        return _NONE
    if hint == ArrayLike or hint is np.ndarray:
        return _ARRAY
    origin, within = get_origin(hint), partial(rule_of, resolve=resolve, inside=inside)
    item = partial(within, inside=True)
    if origin is typing.Annotated:
        said = [word for word in hint.__metadata__ if isinstance(word, str)]
        rule = within(hint.__origin__)
        return dataclasses.replace(rule, words=said[0]) if said else rule
    if origin is Literal:
        return _literal(get_args(hint))
    if origin in (Union, types.UnionType):
        arms = get_args(hint)
        if {*_ARRAY_LIKE} <= {*arms}:  # a union itself, which others have swallowed
            arms = (ArrayLike, *(arm for arm in arms if arm not in _ARRAY_LIKE))
        return _union([within(arm) for arm in arms])
    if origin is np.ndarray:
        return _ARRAY
    kind = hint if origin is None else origin
    if kind is float and inside:
        return _DATUM
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind is collections.abc.Callable:
        return Rule("a function", "functions", _function)
    if kind is tuple and get_args(hint) and get_args(hint)[-1] is not Ellipsis:
        return _row([item(one) for one in get_args(hint)])
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return _mapping([item(one) for one in get_args(hint)])
    if kind in _MANY:
        return _many(kind, item(get_args(hint)[0]) if get_args(hint) else _ANYTHING)
    if isinstance(kind, type):
        return _instance(kind)
    raise TypeError(f"no rule for the hint {hint!r}")


def numbers_of(value: Any) -> NDArray[Any] | None:
    """What NumPy reads as an array of numbers, also a tensor on any device; None: it is none."""
    if not isinstance(value, np.ndarray):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # of torch, without loading it; NumPy takes no tensor that asks for a gradient
                value = value.detach().cpu() if hasattr(value, "detach") else value
                value = np.asarray(value)
        except Exception:  # ragged lists, tensors without values
            return None
    return value if value.dtype.kind in "biuf" else None


# --- one thing -----------------------------------------------------------------------------------


def _anything(value: Any) -> Any:
    return value


def _none(value: Any) -> Any:
    return None if value is None else Wrong()


def _bool(value: Any) -> Any:
    value = _scalar(value)
    if value is True or value is False:
        return value
    return bool(value) if isinstance(value, np.bool_) else Wrong()


def _int(value: Any) -> Any:
    value = _scalar(value)
    if isinstance(value, np.integer) and value.dtype.kind in "iu":  # no timedelta64
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return Wrong()
    value = value if type(value) is int else int.__index__(value)
    return value if -_LARGEST <= value <= _LARGEST else Wrong("has too many digits")


def _float(value: Any) -> Any:
    value = _scalar(value)
    if isinstance(value, np.floating):
        value = float(value)
    return float.__float__(value) if isinstance(value, float) else _int(value)


def _finite(value: Any) -> Any:
    value = _float(value)
    return Wrong() if isinstance(value, float) and not math.isfinite(value) else value


def _str(value: Any) -> Any:
    value = _scalar(value)
    if not isinstance(value, str):
        return Wrong()
    value = value if type(value) is str else str.__str__(value)
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError as error:
        return Wrong(
            f"holds U+{ord(value[error.start]):04X}, half of a character that takes two codes; "
            "alone it cannot be written"
        )
    return value


def _path(value: Any) -> Any:
    """File names may hold bytes that are no text, which Python writes as surrogates."""
    if isinstance(value, np.str_):
        value = str.__str__(value)
    try:
        text = value if isinstance(value, str) else os.fspath(value)
        if not isinstance(text, str):
            return Wrong()
        if b"\0" in os.fsencode(text):
            return Wrong("holds a null character, which no file name has")
    except UnicodeEncodeError:
        return Wrong("holds what no file name can hold")
    except TypeError:
        return Wrong()
    return value if isinstance(value, PurePath) or type(value) is str else text


def _array(value: Any) -> Any:
    """An array of numbers; whatever NumPy reads as one is turned into one."""
    array = numbers_of(value)
    return Wrong() if array is None else array


def _function(value: Any) -> Any:
    return value if callable(value) else Wrong()


def _slice(value: Any) -> Any:
    if not isinstance(value, slice):
        return Wrong()
    ends = [None if end is None else _int(end) for end in (value.start, value.stop, value.step)]
    if any(isinstance(end, Wrong) for end in ends) or ends[2] == 0:
        return Wrong()
    return slice(*ends)


def _scalar(value: Any) -> Any:
    """An array of no dimension is the number in it."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


_ANYTHING = Rule("anything", "things", _anything)
_NONE = Rule("None", "Nones", _none)
_ARRAY = Rule("an array of numbers", "arrays of numbers", _array)
_STRING = Rule("a string", "strings", _str)
_PATH = Rule("a path", "paths", _path)
_DATUM = Rule("a number", "numbers", _float)
_PLAIN: Mapping[Any, Rule] = {
    type(None): _NONE,
    bool: Rule("True or False", "True or False", _bool),
    int: Rule("a whole number", "whole numbers", _int),
    float: Rule("a number", "numbers", _finite),
    str: _STRING,
    Path: _PATH,
    os.PathLike: _PATH,
    slice: Rule("a slice", "slices", _slice),
}


def _instance(kind: type) -> Rule:
    name = kind.__name__
    if kind.__module__.partition(".")[0] == "torch":
        name = f"torch.{name}"
    article = "an" if name[0] in "AEIOUaeiou" else "a"

    def read(value: Any) -> Any:
        return value if isinstance(value, kind) else Wrong()

    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return _ANYTHING
    return Rule(f"{article} {name}", f"{name}s", read)


def _literal(choices: tuple[Any, ...]) -> Rule:
    """Choices compare by their kind too: 1 is not True."""

    def read(value: Any) -> Any:
        for plain in (_bool, _int, _str):
            kept = plain(value)
            for choice in choices:
                if type(kept) is type(choice) and kept == choice:
                    return choice
        return value if value is None and None in choices else Wrong()

    words = ", ".join(map(repr, choices))
    words = words if len(choices) == 1 else f"one of {words}"
    return Rule(words, words, read)


def _union(rules: list[Rule]) -> Rule:
    if _PATH in rules:  # a string that is a path need not be text
        rules = [rule for rule in rules if rule is not _STRING]
    rules = sorted(rules, key=lambda rule: rule is _NONE)  # None is named last

    def read(value: Any) -> Any:
        wrong = Wrong()
        for rule in rules:
            kept = rule.read(value)
            if not isinstance(kept, Wrong):
                return kept
            wrong = kept if kept.reason else wrong
        return wrong

    if _ANYTHING in rules:
        return _ANYTHING
    return Rule(
        _either([rule.words for rule in rules]), _either([rule.several for rule in rules]), read
    )


# --- several -------------------------------------------------------------------------------------

_MANY = (
    list,
    set,
    frozenset,
    tuple,
    collections.abc.Collection,
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Sequence,
    collections.abc.Set,
)


def _many(kind: Any, item: Rule) -> Rule:
    """A list, tuple, range, set or array of things; a generator where the hint says so.

    Text is none, though Python would read its letters; nor are the keys of a dictionary.
    """

    def read(value: Any) -> Any:
        if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
            return Wrong()
        return _read_many(value, kind, item)

    return Rule(f"a list of {item.several}", f"lists of {item.several}", read)


def _read_many(value: Any, kind: Any, item: Rule) -> Any:
    ordered = kind in (list, tuple, collections.abc.Sequence)
    if ordered and isinstance(value, collections.abc.Set):
        if kind is collections.abc.Sequence:
            return Wrong()
        value = sorted(value)
    if hasattr(value, "tolist") and item is not _ANYTHING:  # of NumPy or torch
        if value.ndim != 1 or len(value) > MOST:
            return Wrong()
        value = value.tolist()
    if not isinstance(value, collections.abc.Collection):
        if kind not in (collections.abc.Iterable, collections.abc.Iterator):
            return Wrong()
        if not isinstance(value, collections.abc.Iterable):
            return Wrong()
        value = tuple(islice(value, MOST + 1))
    if len(value) > MOST:
        return Wrong(f"has more than {MOST} items")
    if item is not _ANYTHING and not (isinstance(value, range) and item is _PLAIN[int]):
        given = tuple(value)
        kept = tuple(map(item.read, given))
        for one in kept:
            if isinstance(one, Wrong):
                return one
        if any(one is not other for one, other in zip(kept, given, strict=True)):
            value = kept
    made = kind if kind in (list, set, frozenset, tuple) else None
    if made is None and ordered and not isinstance(value, collections.abc.Sequence):
        return value if item is _ANYTHING and hasattr(value, "__getitem__") else tuple(value)
    return value if made is None or isinstance(value, made) else made(value)


def _row(items: list[Rule]) -> Rule:
    """So many things, in a tuple or list."""
    same = len({rule.words for rule in items}) == 1
    inner = items[0].several if same else ", ".join(rule.words for rule in items)
    words = f"{len(items)} {inner}" if same else f"({inner})"

    def read(value: Any) -> Any:
        kept = many.read(value)
        if isinstance(kept, Wrong) or len(kept) != len(items):
            return Wrong()
        kept = tuple(rule.read(one) for rule, one in zip(items, kept, strict=True))
        return next((one for one in kept if isinstance(one, Wrong)), kept)

    many = _many(tuple, items[0] if same else _ANYTHING)
    return Rule(words, f"tuples of {words}", read)


def _mapping(inner: list[Rule]) -> Rule:
    keys, values = inner if len(inner) == 2 else (_ANYTHING, _ANYTHING)

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return Wrong()
        if keys is _ANYTHING and values is _ANYTHING:
            return value
        pairs = [(k, v, keys.read(k), values.read(v)) for k, v in value.items()]
        for _, _, key, one in pairs:
            if isinstance(key, Wrong) or isinstance(one, Wrong):
                return Wrong()
        same = all(k is key and v is one for k, v, key, one in pairs)
        return value if same else {key: one for _, _, key, one in pairs}

    return Rule("a dictionary", "dictionaries", read)


def _either(names: Iterable[str]) -> str:
    """``a, b or c``."""
    listed = list(dict.fromkeys(names))
    return " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
