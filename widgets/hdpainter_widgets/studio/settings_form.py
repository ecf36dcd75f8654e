"""A form with a control for every field of a kind of settings, made from the fields themselves."""

from __future__ import annotations

import ast
import html
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import ipywidgets as w

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.settings import PRESETS, BaseSettings, Preset, Settings
from hdpainter_nb.utils.wording import label, said
from hdpainter_widgets.notebook import OwnChanges, close_all

__all__ = ["Meaning", "SettingsForm", "field_docs"]


@dataclass(frozen=True)
class Meaning:
    """The text of one field."""

    number: str
    """``7`` where the text begins with ``7.``, else empty."""
    brief: str
    """Its first sentence, without the number."""
    full: str
    """All of it, in one line."""


@cache
def field_docs(cls: type) -> dict[str, Meaning]:
    """The string below each annotated field, inherited ones included, by the field's name.

    Such strings leave no trace at run time, hence the look into the source. Empty where the source
    is not there to read (a frozen application, say).
    """
    docs: dict[str, Meaning] = {}
    for base in cls.__mro__[:-1]:  # without `object`
        docs = {**_docs_of(base), **docs}
    return docs


def _docs_of(cls: type) -> dict[str, Meaning]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docs[field.target.id] = _meaning(below.value.value)
    return docs


def _meaning(text: str) -> Meaning:
    plain = " ".join(text.replace("``", "").split())
    # A sentence ends at a full stop before a capital: "sec. 3.3" and "eq. 5" do not end one.
    parts = re.fullmatch(r"(?:(\d+)\. )?(.+?\.)(?:\s+[A-Z].*)?", plain)
    if parts is None:
        return Meaning("", plain, plain)
    return Meaning(parts[1] or "", parts[2], plain)


_ELSEWHERE = ("steps", "seed")  # no preset has a say in these
_GOVERNED = frozenset(name for changes in PRESETS.values() for name in changes)
_LABEL = "150px"


class SettingsForm:
    """Controls for settings; it moves nothing by itself and tells who asked on every change.

    Args:
        settings: shown at first; the form is made for their kind.
        preset: what "other than default" is measured against; settings of a kind without presets
            are measured against their defaults.
        own: what None stands for, by field: shown in the empty text box.
        on_change: called without arguments, once for each change by a person or by `write`.

    Attributes:
        fields: name -> control, one for every field.
        panel: the form as a widget, without the controls that `take` has given away.

    Raises:
        TypeError: the settings have a field of a kind that there is no control for.
    """

    def __init__(
        self,
        settings: BaseSettings,
        *,
        preset: Preset = "official",
        own: Mapping[str, str] | None = None,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._kind = typing.cast("Any", type(settings))
        self._kinds: dict[str, Any] = typing.get_type_hints(self._kind)
        self._on_change = on_change
        self._writing = OwnChanges()
        # In the order of the source, which is that of the switches' numbers.
        order = list(field_docs(self._kind))
        names = [f.name for f in fields(self._kind)]
        names.sort(key=lambda name: order.index(name) if name in order else len(order))
        self.fields = {name: self._control(name, (own or {}).get(name)) for name in names}
        for name, control in self.fields.items():
            control.tooltip = name  # as code has it; ipywidgets 7 knows no such argument
        self.preset = w.Dropdown(
            description="preset",
            options=list(PRESETS),
            value=preset,
            layout=w.Layout(width="166px"),
            style={"description_width": "initial"},
        )
        # ipywidgets 7 knows no such argument of a Dropdown.
        self.preset.tooltip = "Whose side to take where the sources disagree"
        self.summary = w.HTML()
        self.reset = w.Button(
            icon="undo",
            description="Reset",
            tooltip="Back to what the preset says; steps and seed stay",
            layout=w.Layout(width="90px"),
        )
        self._rows = {name: self._row(name) for name in self.fields}
        self._list = w.VBox(list(self._rows.values()))
        self._list.add_class("hdp-form")
        top = w.HBox([self.summary, self.reset], layout=w.Layout(justify_content="space-between"))
        self.panel = w.VBox([top, self._list])
        self.write(settings)
        for control in self.fields.values():
            control.observe(lambda _change: self._changed(), "value")
        self.preset.observe(self._preset_chosen, "value")
        self.reset.on_click(lambda _button: self.write(self._default(_ELSEWHERE)))

    @property
    def all(self) -> tuple[Any, ...]:
        """The containers of everything, wherever they stand, to be closed."""
        return (self.panel, self.preset)

    # --- values ----------------------------------------------------------------------------------

    def read(self) -> Any:
        """The settings as the controls have them.

        Raises:
            SettingsError: a value is not a number or out of range; the message names the field.
        """
        return self._kind(**{name: self._read(name) for name in self.fields})

    def write(self, settings: BaseSettings) -> None:
        """Show these settings."""
        with self._writing:
            for name, control in self.fields.items():
                value = getattr(settings, name)
                control.value = _shown(value) if isinstance(control, w.Text) else value
        self._changed()

    def take(self, name: str, **layout: str) -> Any:
        """The control of a field, to stand elsewhere than in the form."""
        row, control = self._rows.pop(name), self.fields[name]
        self._list.children = tuple(self._rows.values())
        others, row.children = row.children, ()
        close_all([row, *(child for child in others if child is not control)])
        control.style.description_width = "initial"
        for key, value in layout.items():
            setattr(control.layout, key, value)
        return control

    def meaning(self, name: str) -> str:
        """What a field means, in full; empty where the source is not there to read."""
        meaning = field_docs(self._kind).get(name)
        return meaning.full if meaning else ""

    def other(self) -> dict[str, tuple[Any, Any]]:
        """The settings other than the preset's: name -> (mine, the preset's).

        Raises:
            SettingsError: as in `read`.
        """
        differences: dict[str, tuple[Any, Any]] = self.read().differences(self._default(_ELSEWHERE))
        return differences

    def _default(self, staying: Iterable[str] = ()) -> Any:
        """What the preset or the default says; the fields in `staying` stay where they can."""
        values = {}
        for name in staying:
            try:
                value = self._read(name)
                self._kind(**{name: value})
            except SettingsError:
                continue
            values[name] = value
        if self._kind is Settings:
            return Settings.preset(self.preset.value, **values)
        return self._kind(**values)

    def _preset_chosen(self, _change: Any) -> None:
        self.write(self._default(name for name in self.fields if name not in _GOVERNED))

    def _read(self, name: str) -> Any:
        control = self.fields[name]
        if not isinstance(control, w.Text):
            return control.value
        kind = next(k for k in get_args(self._kinds[name]) if k is not NoneType)
        text = control.value
        if kind is str:
            return None if text == "" else text.strip()
        if not text.strip():
            return None
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise SettingsError(f"{label(name)}: {text!r} is not {wanted}.") from None

    def _changed(self) -> None:
        if self._writing:
            return
        try:
            other = self.other()
        except SettingsError as error:
            self.summary.value = f"<span class='hdp-wrong'>{html.escape(str(error))}</span>"
        else:
            says = ", ".join(said(name, value) for name, (value, _) in other.items())
            named = f"<b>{self.preset.value}</b>" if self._kind is Settings else "by default"
            whole = "All as in preset" if self._kind is Settings else "All as"
            text = f"Other than {named}: {html.escape(says)}"
            text = text if says else f"{whole} {named}."
            self.summary.value = f"<span class='hdp-note'>{text}</span>"
        for name, row in self._rows.items():
            (row.add_class if self._differs(name) else row.remove_class)("hdp-other")
        self._on_change()

    def _differs(self, name: str) -> bool:
        try:
            return bool(self._read(name) != getattr(self._default(), name))
        except SettingsError:
            return True

    # --- how it looks ----------------------------------------------------------------------------

    def _control(self, name: str, own: str | None) -> Any:
        kind = self._kinds[name]
        common: dict[str, Any] = {
            "description": label(name),
            "style": {"description_width": _LABEL},
            "layout": w.Layout(width="312px", flex="0 0 auto"),
        }
        inner = [k for k in get_args(kind) if k is not NoneType]
        if get_origin(kind) is Literal:
            return w.Dropdown(options=list(get_args(kind)), **common)
        if kind is bool:
            return w.Checkbox(**common)
        if kind is int:
            return w.IntText(continuous_update=False, **common)
        if kind is float:
            return w.FloatText(continuous_update=False, **common)
        if len(inner) == 1 and inner[0] in (int, float, str) and NoneType in get_args(kind):
            hint = "the model's own" + (f": {own}" if own else "")
            return w.Text(placeholder=hint, continuous_update=False, **common)
        raise TypeError(f"There is no control for {name}: {kind}.")

    def _row(self, name: str) -> Any:
        meaning = field_docs(self._kind).get(name)
        brief = html.escape(meaning.brief) if meaning else ""
        full = html.escape(meaning.full, quote=True) if meaning else ""
        number = f"<b>{meaning.number}</b> " if meaning and meaning.number else ""
        text = w.HTML(
            f"<span class='hdp-note' title='{full}'>{number}{brief}</span>",
            layout=w.Layout(flex="1 1 160px", min_width="0", margin="0 0 0 8px"),
        )
        # No shrinking: a column of limited height would squeeze its rows before it scrolls.
        layout = w.Layout(flex="0 0 auto", flex_flow="row wrap", align_items="center")
        return w.HBox([self.fields[name], text], layout=layout)


def _shown(value: Any) -> str:
    """A value that may be None as text: empty stands for None, so an empty text is a blank."""
    return "" if value is None else " " if value == "" else str(value)
