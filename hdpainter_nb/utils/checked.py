"""Public functions and classes that hold their arguments to their type hints: `checked`.

What a person passes is looked at once, where it comes in, so that no error comes from deep inside
NumPy, torch or PIL. `hdpainter_nb.utils.hints` has the rules.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from types import FunctionType
from typing import Any, TypeVar, overload

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.utils.check import shown
from hdpainter_nb.utils.hints import Rule, Wrong, rule_of

__all__ = ["check_attributes", "checked", "is_checked", "resolved"]

T = TypeVar("T", bound=Callable[..., Any])


@overload
def checked(target: T) -> T: ...
@overload
def checked(*, error: type[Exception] = ..., leaves: Collection[str] = ...) -> Callable[[T], T]: ...
def checked(
    target: Any = None,
    *,
    error: type[Exception] = SettingsError,
    leaves: Collection[str] = (),
) -> Any:
    """A function, or a class with its constructor and public methods, that checks its arguments.

    >>> @checked
    ... def save(path: str | Path, fps: float = 5.0) -> None: ...
    >>> @checked
    ... @dataclass(frozen=True)
    ... class Capture: ...

    Each argument is held to its hint: NumPy's scalars become Python's, and what does not fit is
    refused with its name, its value and what is right. ``float`` admits whole numbers and neither
    NaN nor infinity; ``int`` admits no bool; text admits no lone surrogates; an array is one of
    numbers; ``Any`` admits everything, for what a function reads itself. Defaults are not looked
    at, nor what is returned. Hints are resolved at the first call. A name that is there for type
    checkers only (a class of torch's, where torch must not be loaded) is compared by name.

    Args:
        target: it goes outside of `dataclass`, `contextmanager` and `property`.
        error: what is raised.
        leaves: names of arguments that a function reads itself, whatever their hints say.

    Raises:
        SettingsError: or `error`; in each call whose arguments do not fit.
    """
    if target is None:
        return functools.partial(checked, error=error, leaves=leaves)
    if isinstance(target, type):
        _check_class(target, error)
        return target
    return _checked(target, error, functools.partial(_hints, target, leaves))


def check_attributes(thing: object, kind: type, names: Collection[str]) -> None:
    """Hold attributes that anybody may have set to the hints with which a class declares them.

    Raises:
        SettingsError: one does not fit.
    """
    hints = _declared(kind)
    for name in names:
        _read(name, getattr(thing, name), rule_of(*hints[name]), SettingsError)


def is_checked(function: Any) -> bool:
    """Whether `checked` has dealt with a function; one without parameters needs nothing."""
    return hasattr(function, "_checked") or not _parameters(function)


def resolved(text: str, names: Mapping[str, Any]) -> Any:
    """The hint that a string stands for; unknown names in it become classes compared by name."""
    return eval(text, {"__builtins__": {}}, _Names(names))


def _check_class(kind: type, error: type[Exception]) -> None:
    guard = checked(error=error)
    for name, member in list(vars(kind).items()):
        if name == "__init__" and _generated(kind, member):
            hints = functools.partial(_field_hints, kind)
            setattr(kind, name, _checked(member, error, hints))
        elif name[0] == "_" and name not in ("__init__", "__call__"):
            continue
        elif isinstance(member, FunctionType):
            setattr(kind, name, guard(member))
        elif isinstance(member, classmethod | staticmethod):
            setattr(kind, name, type(member)(guard(member.__func__)))


def _checked(function: Any, error: type[Exception], hints: Callable[[], dict[str, Rule]]) -> Any:
    if is_checked(function):
        return function
    rules: dict[str, Rule] = {}  # of the arguments, from the first call on
    by_place: list[str] = []
    rest: list[str] = []  # what *args is called, if there is any

    def prepare() -> None:
        parameters = _parameters(function, whole=True)
        found = hints()
        for name, parameter in parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest[:] = [name]
        by_place[:] = [n for n, p in parameters.items() if p.kind in _BY_PLACE]
        rules.update(found)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not rules:
            prepare()
        read = [
            _read(name, value, rules.get(name), error)
            for name, value in zip(by_place, args, strict=False)
        ]
        more = args[len(by_place) :]  # where there is no *args, Python says so
        read += [
            _read(rest[0], value, rules.get(rest[0]), error) if rest else value for value in more
        ]
        for name, value in kwargs.items():
            rule = rules.get(name)
            if rule is not None:
                kwargs[name] = _read(name, value, rule, error)
        return function(*read, **kwargs)

    guarded._checked = hints  # type: ignore[attr-defined]
    return guarded


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _read(name: str, value: Any, rule: Rule | None, error: type[Exception]) -> Any:
    if rule is None:
        return value
    cause = None
    try:
        kept = rule.read(value)
    except Exception as own:  # of the object's methods, or of a generator
        kept, cause = Wrong(), own
    if not isinstance(kept, Wrong):
        return kept
    problem = kept.reason and f"{kept.reason}: {shown(value)}"
    raise error(f"{name} {problem or f'must be {rule.words}, not {shown(value)}'}.") from cause


def _parameters(function: Any, *, whole: bool = False) -> dict[str, inspect.Parameter]:
    """By name; `self` and `cls`, which have no hint, only where `whole`."""
    parameters = inspect.signature(inspect.unwrap(function)).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if whole or name not in ("self", "cls")
    }


def _hints(function: Any, leaves: Collection[str]) -> dict[str, Rule]:
    inner = inspect.unwrap(function)
    resolve = functools.partial(resolved, names=inner.__globals__)
    return {
        name: rule_of(parameter.annotation, resolve)
        for name, parameter in _parameters(function).items()
        if name not in leaves
    }


def _generated(kind: type, init: Any) -> bool:
    """Whether the constructor is the one that `dataclass` writes."""
    made = "__dataclass_fields__" in vars(kind) and isinstance(init, FunctionType)
    return made and init.__code__.co_filename == "<string>"


def _field_hints(kind: type) -> dict[str, Rule]:
    hints = _declared(kind)
    return {field.name: rule_of(*hints[field.name]) for field in fields(kind) if field.init}


def _declared(kind: Any) -> dict[str, tuple[Any, Callable[[str], Any]]]:
    """The hint of each attribute, and how names in it are read: as in the module that says it."""
    hints: dict[str, tuple[Any, Callable[[str], Any]]] = {}
    for base in reversed(kind.__mro__):
        resolve = functools.partial(resolved, names=vars(sys.modules[base.__module__]))
        for name, hint in inspect.get_annotations(base).items():
            hints[name] = (hint, resolve)
    return hints


class _Names(dict[str, Any]):
    """The names of a module, Python's own, and for all others classes that compare by name."""

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        return getattr(builtins, name) if hasattr(builtins, name) else _ByName(name, (), {})


class _ByName(type):
    """A class known by name only: its instances are those of any class of that name."""

    def __instancecheck__(cls, value: Any) -> bool:
        return any(kind.__name__ == cls.__name__ for kind in type(value).__mro__)

    def __getattr__(cls, name: str) -> Any:  # torch.dtype
        if name.startswith("__"):
            raise AttributeError(name)
        return _ByName(name, (), {"__module__": cls.__name__})
