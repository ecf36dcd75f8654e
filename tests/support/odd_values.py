"""Values that nobody should pass, and values that are all but right: for fuzz tests."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["OddError", "near", "odd", "odd_text"]

Rng = np.random.Generator


class OddError(Exception):
    """What the methods of an odd object raise: whoever passes it meets its own error."""


class Odd:
    """Nothing that it is asked for goes well."""

    def _fails(self, *_: Any) -> Any:
        raise OddError("asked")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __index__ = _fails
    __eq__ = __hash__ = __array__ = __fspath__ = __getitem__ = __contains__ = __call__ = _fails


class Liar:
    """Says that it is a number, and is none."""

    __class__ = property(lambda self: int)  # type: ignore[assignment]


class BrokenText(str):
    """A string with methods of its own."""

    def __str__(self) -> str:
        raise OddError("asked")

    def __repr__(self) -> str:
        raise OddError("asked")


class Number(int):
    """A whole number of another class."""


def cyclic() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def torch_thing(rng: Rng) -> Any:
    import torch

    made: list[Callable[[], Any]] = [
        lambda: torch.tensor(3),
        lambda: torch.rand(4, 4, requires_grad=True),
        lambda: torch.full((128, 128), float("nan")),
        lambda: torch.zeros((128, 128), device="meta"),
        lambda: torch.eye(4).to_sparse(),
        lambda: torch.zeros(3, dtype=torch.complex64),
        lambda: torch.float16,
        lambda: torch.device("cpu"),
        lambda: torch.nn.Linear(1, 1),
        torch.Generator,
    ]
    return made[int(rng.integers(len(made)))]()


SCALARS: list[Callable[[], Any]] = [
    lambda: np.int64(3),
    lambda: np.int8(-3),
    lambda: np.uint64(2**64 - 1),
    lambda: np.float32(0.5),
    lambda: np.float64(1.0),
    lambda: np.float16("nan"),
    lambda: np.longdouble("1e400"),
    lambda: np.bool_(True),
    lambda: np.str_("star"),
    lambda: np.bytes_(b"star"),
    lambda: np.complex64(1),
    lambda: np.datetime64("2020-01-01"),
    lambda: np.timedelta64(3, "s"),
    lambda: np.array(2),
    lambda: np.array(None),
]
NUMBERS: list[Callable[[], Any]] = [
    *(lambda n=n: n for n in (0, 1, -1, 2, 16, 1000, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30)),
    *(lambda x=x: x for x in (0.0, -0.0, 0.5, 1.0, 1.5, -1e308, 1e-320, 1e30)),
    *(lambda x=x: float(x) for x in ("nan", "inf", "-inf")),
    lambda: 10**5000,
    lambda: True,
    lambda: False,
    lambda: 1j,
    lambda: Decimal("1.5"),
    lambda: Fraction(1, 3),
    lambda: Number(2),
]
TEXTS = [
    "", " ", "\n", "\0", "a\0b", "star", "STAR", "ddim", "nan", "None", "7", "../x", "~", "*", "[",
    "\ud800", "a \udc80 star", "\U0001f31f", "e\u0301", "\u2029\x85\x0b", "\u202ea red star",
    "%s{}", "$", "a $5 star for $x", "$\\frac{$", "_a^b",
    "a" * 300, "star " * 200, "(((" * 40, "a, " * 90, "<|endoftext|>", "\ufeff", "ﬁ", "日本語の星",
]  # fmt: skip
THINGS: list[Callable[[], Any]] = [
    lambda: None,
    lambda: b"star",
    lambda: bytearray(b"x"),
    lambda: memoryview(b"x"),
    list,
    lambda: (),
    dict,
    set,
    lambda: [None],
    lambda: [1, "a", None],
    lambda: [np.int64(1), np.float32(0.5)],
    lambda: (1, 2),
    lambda: (0, 0, 10**9, -5),
    lambda: {"a": 1},
    lambda: {1: [2]},
    lambda: {"x", 3},
    lambda: range(3),
    lambda: range(10**12),
    lambda: slice(0, 2),
    lambda: slice("a", None, 0),
    itertools.count,
    lambda: (i for i in range(3)),
    cyclic,
    lambda: nested(500),
    object,
    Odd,
    lambda: Odd,
    Liar,
    lambda: BrokenText("star"),
    lambda: len,
    lambda: lambda *_: None,
    lambda: Path("missing/file.png"),
    lambda: Path("/"),
    lambda: ...,
    lambda: NotImplemented,
    lambda: ValueError("an error"),
    lambda: np,
    lambda: np.zeros((4, 4)),
    lambda: np.zeros((0, 3)),
    lambda: np.full((128, 128), np.nan),
    lambda: np.full((4, 4), "x"),
    lambda: np.array([None, 1], object),
    lambda: np.arange(3),
    lambda: np.ones((2, 3, 4, 5)),
    lambda: np.ma.masked_array([1, 2]),
    lambda: np.zeros(2, "u1,f4"),
]


def odd(rng: Rng) -> Any:
    """Anything at all."""
    match int(rng.integers(10)):
        case 0 | 1:
            return SCALARS[int(rng.integers(len(SCALARS)))]()
        case 2 | 3 | 4:
            return NUMBERS[int(rng.integers(len(NUMBERS)))]()
        case 5:
            return odd_text(rng)
        case 6:
            return torch_thing(rng)
        case _:
            return THINGS[int(rng.integers(len(THINGS)))]()


def odd_text(rng: Rng) -> str:
    """A string of any characters."""
    if rng.random() < 0.6:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    codes = [32, 44, 40, 41, 97, 115, 0x301, 0x200D, 0xFFFD, 0x1F600, 0xDFFF, 0xE000, 9, 0x10FFFF]
    return "".join(chr(int(code)) for code in rng.choice(codes, int(rng.integers(1, 60))))


def near(value: Any, rng: Rng) -> Any:
    """A value changed a little: of NumPy, of another type, in a list, beyond its range."""
    changes: list[Callable[[], Any]] = [lambda: [value], lambda: (value, value), lambda: str(value)]
    if isinstance(value, bool):
        changes += [lambda: int(value), lambda: np.bool_(value), lambda: not value]
    elif isinstance(value, int | float):
        changes += [lambda: -value, lambda: value + 1, lambda: value * 1000, lambda: float(value)]
        changes += [lambda: np.float32(value), lambda: np.array(value), lambda: value + 0.5]
        if abs(value) < 100:
            changes += [lambda: np.int8(value), lambda: complex(value), lambda: Decimal(value)]
    elif isinstance(value, str):
        changes += [lambda: np.str_(value), value.encode, value.upper, lambda: value + "\ud800"]
        changes += [lambda: list(value), lambda: value * 50, lambda: BrokenText(value)]
    elif isinstance(value, np.ndarray):
        changes += [lambda: value[:-1], lambda: value[..., None], lambda: value.astype(object)]
        changes += [lambda: value.astype("U3"), value.tolist, lambda: value * np.nan]
        changes += [lambda: value.astype(np.float64), lambda: value[:0], lambda: value.T]
        changes += [lambda: value.astype(complex), lambda: value.astype(np.int64) * 10**6]
    elif isinstance(value, list | tuple):
        changes += [lambda: [*value, None], lambda: set(map(id, value)), lambda: iter(value)]
        changes += [lambda: value[:-1], lambda: np.array(list(map(id, value)))]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes += [lambda: type(value), lambda: dataclasses.astuple(value)]
    else:
        changes += [lambda: type(value)]
    return changes[int(rng.integers(len(changes)))]()
