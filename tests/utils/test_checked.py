"""Arguments are held to the type hints of the function that they are given to."""

# ruff: noqa: F401  # the hints are strings
from __future__ import annotations

import dataclasses
import inspect
import itertools
import os
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from hdpainter_nb.errors import HDPainterError, ModelError, SettingsError
from hdpainter_nb.utils.checked import checked, is_checked

if TYPE_CHECKING:
    import somewhere_else
    from somewhere import Tensor

Box = tuple[int, int, int, int]
NAN = float("nan")


class Odd:
    """Nothing that it is asked for goes well."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no items")


def taking(hint: Any) -> Callable[[Any], Any]:
    """A checked function of one argument with this hint, which gives it back."""

    def back(value):
        return value

    back.__annotations__["value"] = hint
    return checked(back)


def refused(hint: Any, value: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        taking(hint)(value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("hint", "given", "kept"),
    [
        ("int", 3, 3),
        ("int", np.int8(3), 3),
        ("int", np.uint64(3), 3),
        ("int", np.array(3), 3),
        ("float", 7, 7),
        ("float", 7.5, 7.5),
        ("float", np.float32(7.5), 7.5),
        ("float", np.float16(7.5), 7.5),
        ("float", np.longdouble(7.5), 7.5),
        ("float", np.int64(7), 7),
        ("bool", True, True),
        ("bool", np.True_, True),
        ("str", "star", "star"),
        ("str", np.str_("star"), "star"),
        ("str", "\u00e9\U0001f31f", "\u00e9\U0001f31f"),
        ("str | None", None, None),
        ("Literal['a', 'b']", np.str_("a"), "a"),
        ("bool | Literal['self']", np.False_, False),
        ("int | str", np.str_("x"), "x"),
        ("tuple[int, ...]", [np.int64(8), 16], (8, 16)),
        ("tuple[int, int]", np.array([1, 2]), (1, 2)),
        ("tuple[str, str]", ["a", "b"], ("a", "b")),
        ("Collection[int]", np.arange(3), [0, 1, 2]),
        ("Collection[int]", [np.int64(1), 2], (1, 2)),
        ("Collection[int]", range(9), range(9)),
        ("Sequence[str]", [np.str_("a")], ("a",)),
        ("Mapping[str, int]", {np.str_("a"): np.int64(1)}, {"a": 1}),
        ("slice | range | int", slice(np.int64(1), None), slice(1, None)),
        ("str | Path", np.str_("x.png"), "x.png"),
        ("float | None", np.float64(0.1), 0.1),
    ],
)
def test_numpy_scalars_become_pythons(hint: str, given: Any, kept: Any) -> None:
    value = taking(hint)(given)
    assert value == kept
    assert type(value) is type(kept)
    if isinstance(kept, list | tuple):
        assert [type(one) for one in value] == [type(one) for one in kept]


@pytest.mark.parametrize(
    ("hint", "given"),
    [
        ("Any", Odd()),
        ("list[int]", [1, 2]),
        ("Collection[int]", {1, 2}),
        ("Collection[str]", {"a": 1}.keys()),
        ("Sequence[Any]", [Odd()]),
        ("Sequence[Any]", np.zeros((2, 3, 3))),
        ("Mapping[str, Any]", {"a": 1}),
        ("NDArray[np.bool_]", np.zeros((3, 3), bool)),
        ("ArrayLike", np.zeros(3)),
        ("Callable[[int], int]", len),
        ("Mapping[str, Sequence[float | None]]", {"a": [1.0, None, NAN]}),
        ("str | os.PathLike[str]", Path("x")),
        ("Odd", Odd()),
        ("BaseException", ValueError()),
        ("Tensor", type("Tensor", (), {})()),
        ("somewhere_else.dtype", type("dtype", (), {})()),
    ],
)
def test_what_is_right_stays_the_very_object(hint: str, given: Any) -> None:
    assert taking(hint)(given) is given


@pytest.mark.parametrize(
    ("hint", "given", "sentence"),
    [
        ("int", 2.0, "value must be a whole number, not 2.0."),
        ("int", True, "value must be a whole number, not True."),
        ("int", np.True_, f"value must be a whole number, not {np.True_!r}."),
        ("int", np.float64(1.0), f"value must be a whole number, not {np.float64(1.0)!r}."),
        ("int", np.timedelta64(1), None),
        ("int", "3", "value must be a whole number, not '3'."),
        ("int", 10**30, f"value has too many digits: {10**30}."),
        pytest.param(
            "int", 10**5000, "value has too many digits: something of type int.", id="huge"
        ),
        ("float", NAN, "value must be a number, not nan."),
        ("float", float("inf"), "value must be a number, not inf."),
        pytest.param("float", 10**400, None, id="large"),
        ("float", False, "value must be a number, not False."),
        ("float | None", "x", "value must be a number or None, not 'x'."),
        ("bool", 1, "value must be True or False, not 1."),
        ("str", b"star", "value must be a string, not b'star'."),
        ("str", "a\ud800b", None),
        ("str", Odd(), "value must be a string, not something of type Odd."),
        ("str | Path", "a\0b", None),
        ("str | Path", 5, "value must be a path, not 5."),
        ("None", 5, "value must be None, not 5."),
        ("Literal['a', 'b', None]", "c", "value must be one of 'a', 'b', None, not 'c'."),
        ("bool | Literal['self']", 1, "value must be True or False or 'self', not 1."),
        ("Literal['a']", np.zeros(3), None),
        ("tuple[int, int]", (1, 2, 3), "value must be 2 whole numbers, not (1, 2, 3)."),
        ("Box | None", (1, 2, 3, "x"), None),
        ("Collection[int]", "123", "value must be a list of whole numbers, not '123'."),
        ("Collection[int]", {1: 2}, None),
        ("Collection[int]", [1, 2, 3.5], "value must be a list of whole numbers, not [1, 2, 3.5]."),
        ("Collection[int]", range(10**12), None),
        ("Collection[int]", Odd(), None),
        ("Iterable[int]", itertools.count(), None),
        ("Iterable[Any]", itertools.count(), None),
        ("Iterable[Any]", "text", "value must be a list of things, not 'text'."),
        ("Sequence[str]", {"a"}, "value must be a list of strings, not {'a'}."),
        ("Sequence[str]", ["a", "\udfff"], None),
        ("Mapping[str, int]", {"a": "b"}, "value must be a dictionary, not {'a': 'b'}."),
        ("Mapping[str, int]", [("a", 1)], None),
        ("NDArray[np.float32]", "abc", "value must be an array of numbers, not 'abc'."),
        ("NDArray[np.float32]", np.array(["a"]), None),
        ("ArrayLike | None", np.array(["a"]), None),
        ("None | ArrayLike", "abc", "value must be an array of numbers or None, not 'abc'."),
        ("NDArray[np.float32]", [[1], [1, 2]], None),
        ("NDArray[np.float32]", {"a": 1}, None),
        ("Callable[[int], int]", 5, "value must be a function, not 5."),
        ("slice | int", slice("a", 2), None),
        ("slice | int", slice(0, 9, 0), None),
        ("Odd", 5, "value must be an Odd, not 5."),
        ("Tensor | None", 5, "value must be a Tensor or None, not 5."),
        ("str | somewhere_else.dtype", 5, None),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    hint: str, given: Any, sentence: str | None
) -> None:
    text = refused(hint, given)
    assert sentence is None or text == sentence
    assert text.startswith("value ")
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 250


@pytest.mark.parametrize(
    ("hint", "given"),
    [("Iterable[int]", (i for i in range(3))), ("tuple[int, ...]", {2: "a"}.keys() | {0, 1})],
)
def test_generators_and_sets_are_read_once(hint: str, given: Any) -> None:
    assert sorted(taking(hint)(given)) == [0, 1, 2]


def test_an_object_that_does_not_say_what_it_is() -> None:
    class Hidden:
        @property
        def __class__(self) -> Any:
            raise KeyError("no class")

    for hint in ("int", "str", "Odd", "Collection[int]", "Mapping[str, int]", "Path", "ArrayLike"):
        refused(hint, Hidden())


def test_every_way_of_giving_an_argument_is_looked_at() -> None:
    @checked
    def call(a: int, /, b: int = 0, *rest: int, c: int = 0, **others: int) -> Any:
        return a, b, rest, c, others

    one = np.int64(1)
    assert call(one, one, one, one, c=one, d=one) == (1, 1, (1, 1), 1, {"d": 1})
    for args, kwargs in (
        (("x",), {}),
        ((1, "x"), {}),
        ((1, 2, "x"), {}),
        ((1,), {"b": "x"}),
        ((1,), {"c": "x"}),
    ):
        with pytest.raises(SettingsError, match="must be a whole number, not 'x'"):
            call(*args, **kwargs)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        call()
    with pytest.raises(SettingsError):
        call("x", nonsense="y")


@checked(error=ModelError)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    count: int = 1


@checked
@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields(Base):
    """What one has."""

    name: str
    box: Box | None = None

    @classmethod
    def of(cls, name: str) -> Fields:
        """By name."""
        return cls(name=name)

    @staticmethod
    def twice(value: float) -> float:
        return 2 * value

    def step(self) -> int:
        return self.count

    def times(self, factor: int) -> int:
        return self.count * factor


def test_a_class_checks_its_constructor_and_its_public_methods() -> None:
    fields = Fields(name=np.str_("a"), count=np.int8(2), box=[1, 2, 3, 4])
    assert fields == Fields(name="a", count=2, box=(1, 2, 3, 4))
    assert type(fields.count) is int
    assert Fields.of(np.str_("a")) == Fields(name="a")
    assert Fields.twice(np.float32(2)) == 4.0
    assert fields.times(np.int64(3)) == 6
    for wrong in (
        lambda: Fields(name=5),
        lambda: Fields(name="a", count="b"),
        lambda: dataclasses.replace(fields, box=5),
        lambda: Fields.of(5),
        lambda: Fields.twice("x"),
        lambda: fields.times(1.5),
    ):
        with pytest.raises(SettingsError):
            wrong()
    with pytest.raises(ModelError, match="count must be a whole number, not None"):
        Base(count=None)
    assert not hasattr(Fields.step, "_checked")  # nothing to look at costs nothing
    assert is_checked(Fields.step)
    assert is_checked(Fields.times)
    assert not is_checked(refused)
    assert pickle.loads(pickle.dumps(fields)) == fields


def test_what_is_written_on_a_function_stays() -> None:
    @checked
    @contextmanager
    def opened(path: str | Path, *, fps: float = 5.0) -> Iterator[str]:
        """Open it."""
        yield str(path)

    assert opened.__name__ == "opened"
    assert opened.__doc__ == "Open it."
    assert [*inspect.signature(opened).parameters] == ["path", "fps"]
    assert str(inspect.signature(Fields.times)) == "(self, factor: 'int') -> 'int'"
    assert [*inspect.signature(Fields).parameters] == ["count", "name", "box"]
    with opened(Path("x")) as name:
        assert name == "x"
    with pytest.raises(SettingsError):  # at the call, before anything is entered
        opened(5)


def test_an_error_of_a_broken_hint_is_told_to_whom_wrote_it() -> None:
    with pytest.raises(TypeError, match="no rule for the hint"):
        taking("Literal['a'].__args__")(5)
    assert issubclass(SettingsError, HDPainterError)
