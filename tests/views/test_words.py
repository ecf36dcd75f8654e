"""Whatever a prompt holds can be drawn, on sheets and in plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hdpainter_nb import views
from hdpainter_nb.errors import SettingsError
from hdpainter_nb.views.figure import Plot
from hdpainter_nb.views.layout import Tile, sheet
from hdpainter_nb.views.words import one_line, printable

PICTURE = np.full((32, 32, 3), 90, np.uint8)
ODD = {
    "a line break": "a red\nstar",
    "a return": "a red\r\nstar",
    "next line": "a red\x85star",
    "line separator": "a red\u2028star",
    "paragraph separator": "a red\u2029star",
    "vertical tab": "a\x0bred\x0cstar",
    "zero": "a red\x00star",
    "escape": "\x1b[31mred\x1b[0m",
    "control characters": "".join(map(chr, range(32))) + "".join(map(chr, range(127, 160))),
    "directions": "a \u202ered\u202c \u2067star\u2069",
    "nothing visible": "\u200b\u2060\ufeff",
    "dollars": "$5 and $6 for a {red star_",
    "broken formula": "$\\frac{$",
    "braces": "{$}{$}\\",
    "noncharacter": "\uffff\U0010ffff",
    "many": "\n" * 1000,
    "blank": " ",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_sheets_draw_every_text(text: str) -> None:
    sheet = views.grid([PICTURE, PICTURE], [text, f"{text} {text}"], title=text)
    assert sheet.width > 64
    views.side_by_side(PICTURE, PICTURE, (text, text), title=text)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning", "ignore:constrained_layout:UserWarning")
def test_plots_draw_every_text(text: str) -> None:
    drawn_in_a_plot(text)


@pytest.mark.parametrize("half", ["a red \ud800 star", "\udc80", "\udc00\ud800"])
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_half_a_pair_of_codes_is_replaced_where_it_was_not_refused(half: str) -> None:
    with pytest.raises(SettingsError, match="half of a character"):
        views.grid([PICTURE], [half])
    assert sheet([Tile(PICTURE, half, half)], title=half).width > 64
    drawn_in_a_plot(half)


def drawn_in_a_plot(text: str) -> None:
    plot = Plot(6, 4)
    axes = plot.subplots()
    axes.plot([0, 1], [0, 1], label=text)
    axes.set_title(text)
    axes.set_xlabel(text)
    axes.text(0, 0, text)
    plot.legend(title=text)
    plot.suptitle(text)
    assert plot._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["control characters", "broken formula"])
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning", "ignore:constrained_layout:UserWarning")
def test_every_kind_of_plot_does(name: str) -> None:
    text = ODD[name]
    plots = (
        views.shares({text: {text: 1.0}}, xlabel=text, title=text),
        views.effects({text: {text: 1.0}}, xlabel=text, title=text),
        views.lines({text: {text: [1.0, 2.0]}}, xlabel=text, title=text),
    )
    for plot in plots:
        for _ in range(2):  # what is escaped once stays as it is
            assert plot._repr_png_().startswith(b"\x89PNG")


def drawn_with(plot: Plot, **texts: Any) -> bytes:
    axes = plot.subplots()
    axes.set(**texts)
    return plot._repr_png_()


def test_formulas_stay_formulas() -> None:
    formula, escaped = (drawn_with(Plot(2, 1), title=text) for text in ("$x^2$", r"\$x^2\$"))
    assert formula != escaped


def test_plain_words_are_drawn_as_they_are() -> None:
    for text in ("a red star", "Grüße, 北京 ⭐ 👩‍👩‍👧", "naïve—“so”", "שלום"):
        assert printable(text) == text
        assert one_line(text) == text


def test_one_line_is_one_line() -> None:
    assert one_line(" a\nred\x85\u2028 star\x00 ") == "a red star"
    assert one_line("\ud83d") == "\N{REPLACEMENT CHARACTER}"
    assert printable("a\nb\x00c") == "a\nb c"
