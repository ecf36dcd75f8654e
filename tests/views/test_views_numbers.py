"""Numbers in, plots and tables out: what is drawn is what was given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hdpainter_nb import views
from support.synthetic import make_record


def drawn(figure: object) -> np.ndarray:
    """The figure as pixels."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"))


def test_plots_load_matplotlib_only_when_used_and_never_pyplot() -> None:
    code = (
        "import sys, hdpainter_nb.views as v\n"
        "assert 'matplotlib' not in sys.modules\n"
        "v.lines({'a': {'b': [1, 2]}})._repr_png_()\n"
        "v.shares({'a': {'b': 1}})._repr_png_()\n"
        "v.effects({'a': 1.0})._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- lines ---------------------------------------------------------------------------------------


def test_a_name_has_one_colour_in_all_panels() -> None:
    figure = views.lines({"one": {"a": [1, 2], "b": [2, 1]}, "two": {"b": [3, 4], "a": [5, 6]}})
    colours = [{line.get_label(): line.get_color() for line in ax.lines} for ax in figure.axes]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2


def test_lines_draw_what_they_are_given_with_gaps() -> None:
    figure = views.lines({"p": {"a": [1.0, None, float("inf"), 4.0]}}, x=[9, 7, 5, 3])
    (axes,) = figure.axes
    (line,) = axes.lines
    assert list(line.get_xdata()) == [9, 7, 5, 3]
    assert np.array_equal(np.isnan(line.get_ydata()), [False, True, True, False])
    assert axes.xaxis_inverted()  # timesteps fall from left to right
    assert drawn(figure).std() > 0


def test_a_shorter_curve_ends_early_and_a_longer_one_is_an_error() -> None:
    figure = views.lines({"p": {"a": [1, 2, 3], "b": [1, 2]}}, x=[0, 1, 2])
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [3, 2]
    with pytest.raises(ValueError, match="'a' has 3 values, but x only 2"):
        views.lines({"p": {"a": [1, 2, 3]}}, x=[0, 1])


def test_logarithmic_panels_and_the_reference() -> None:
    panels = {"s": {"plain": [1, 2], "a": [1, 3]}, "t": {"a": [1, 1000]}}
    figure = views.lines(panels, log=["t"], reference="plain")
    assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log"]
    styles = {line.get_label(): line.is_dashed() for line in figure.axes[0].lines}
    assert styles == {"plain": True, "a": False}
    with pytest.raises(ValueError, match="log: 'u' is not one of 's', 't'"):
        views.lines(panels, log=["u"])
    with pytest.raises(ValueError, match="reference: 'b' is not one of 'plain', 'a'"):
        views.lines(panels, reference="b")
    with pytest.raises(ValueError, match="no curves"):
        views.lines({"s": {}})


@pytest.mark.parametrize("count", [5, 6, 7])
def test_the_legend_names_every_curve_once_and_stays_inside(count: int) -> None:
    names = [f"a curve {'with a long name ' * (n % 3)}{n}" for n in range(count)]
    figure = views.lines({"s": {n: [1, 2] for n in names[:4]}, "t": {n: [2, 1] for n in names[3:]}})
    figure._repr_png_()  # lays it out
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    right = legend.get_window_extent().x1
    assert right <= figure.bbox.x1


def test_panels_on_one_scale() -> None:
    panels = {"s": {"a": [1, 2]}, "t": {"a": [10, 20]}}
    apart, same = (
        [ax.get_ylim() for ax in views.lines(panels, same_scale=s).axes] for s in (False, True)
    )
    assert apart[0] != apart[1]
    assert same[0] == same[1]


def test_ordered_names_grow_lighter() -> None:
    figure = views.lines({"p": {f"{n}": [n, n] for n in range(9)}}, ordered=True)
    from matplotlib.colors import to_rgb

    light = [sum(to_rgb(line.get_color())) for line in figure.axes[0].lines]
    assert light == sorted(light)


def test_more_names_than_colours_still_differ() -> None:
    figure = views.lines({"p": {f"{n}": [n, n] for n in range(9)}})
    assert len({line.get_color() for line in figure.axes[0].lines}) == 9


def test_an_empty_panel_says_so() -> None:
    figure = views.lines({"p": {"a": [None, None]}}, log=["p"])
    assert "nothing to draw" in [text.get_text() for text in figure.axes[0].texts]


# --- bars ----------------------------------------------------------------------------------------


def test_shares_add_up_along_the_bar() -> None:
    figure = views.shares({"x": {"a": 0.5, "b": 0.25, "c": 0.25}, "y": {"a": 0.1, "c": 0.9}})
    bars = [(p.get_y(), p.get_x(), p.get_width()) for p in figure.axes[0].patches]
    assert len(bars) == 6
    for row in {y for y, _, _ in bars}:
        ends = sorted((x, x + width) for y, x, width in bars if y == row)
        assert ends[0][0] == 0
        assert ends[-1][1] == pytest.approx(1)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == ["10%", "25%", "25%", "50%", "90%"]  # no number in an empty part


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_shares_must_be_sizes(value: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        views.shares({"x": {"a": value}})
    with pytest.raises(ValueError, match="0 or more"):
        views.effects({"x": value})


def test_effects_are_in_order_and_nothing_is_called_none() -> None:
    figure = views.effects({"small": 0.01, "none at all": 0.0, "large": {"a": 1.0, "b": 0.5}})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "large",
        "small",
        "none at all",
    ]
    assert [text.get_text() for text in axes.texts] == ["none"]
    assert axes.get_xscale() == "log"
    with pytest.raises(ValueError, match="no rows"):
        views.effects({})


# --- the gradient over a run ---------------------------------------------------------------------


def test_gradient_steps_show_every_guided_step() -> None:
    records = [make_record(i, 6) for i in range(6)]
    figure = views.gradient_steps(records)
    size, spread, moments = figure.axes[:3]
    assert list(size.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert np.allclose(size.lines[0].get_ydata(), [r.grad.std for r in records])
    density = spread.collections[0].get_array()
    assert density.shape == (61, 6)
    assert moments.lines[1].get_label() == "excess kurtosis"
    assert drawn(figure).std() > 0
    with pytest.raises(ValueError, match="rasg=False"):
        views.gradient_steps([make_record(0, 6, rasg=False)])


# --- maps by layer -------------------------------------------------------------------------------


def test_layer_maps_have_a_row_per_layer_and_a_column_per_step() -> None:
    records = [make_record(i, 10) for i in range(10)]  # PAIntA acts in the first five
    page = views.layer_maps(records, "c", 16, count=4, tile=128)
    wide = views.layer_maps(records, "c", 16, count=5, tile=128)
    assert wide.width - page.width == 128 + 10
    assert wide.height == page.height
    one = views.layer_maps(records[0], "similarity", 16, tile=128)
    assert one.height == page.height
    for kind in ("similarity_painta", "difference"):
        assert views.layer_maps(records, kind, 32, count=2, tile=64).mode == "RGB"


def test_layer_maps_ask_for_each_step_s_picture() -> None:
    asked = []

    def picture(record: object) -> np.ndarray:
        asked.append(record.index)
        return np.full((64, 64, 3), 128, np.uint8)

    views.layer_maps([make_record(i, 10) for i in range(10)], picture=picture, count=2, tile=64)
    assert set(asked) == {0, 4}


def test_layer_maps_name_what_is_missing() -> None:
    with pytest.raises(ValueError, match="none of these 1 steps holds a map of c at H/16"):
        views.layer_maps(make_record(0, 10, painta=False))
    with pytest.raises(ValueError, match=r"kind must be one of 'c', .*, not 'd'"):
        views.layer_maps(make_record(0, 10), "d")


# --- tables --------------------------------------------------------------------------------------

ROWS = [{"name": "a|<b>", "n": 3, "x": 0.123456}, {"name": "c", "n": 12}, {"name": "d", "x": 2.0}]


def test_a_table_shows_itself_three_ways() -> None:
    table = views.table(ROWS, caption="what it is")
    assert table.columns == ("name", "n", "x")
    assert table.rows == (("a|<b>", "3", "0.123"), ("c", "12", ""), ("d", "", "2"))
    assert table.numeric == (False, True, True)
    assert "a|&lt;b&gt;" in table._repr_html_()
    assert "<caption>what it is</caption>" in table._repr_html_()
    lines = table._repr_markdown_().splitlines()
    assert lines[:3] == ["| name | n | x |", "|---|---:|---:|", r"| a\|<b> | 3 | 0.123 |"]
    assert str(table).splitlines()[0] == "name    n      x"
    assert views.table(ROWS)._repr_markdown_() == "\n".join(lines[:5])


def test_numbers_in_a_table_keep_what_stands_before_the_point() -> None:
    values = [101.3, 99.96, 0.00012345, -1234.5, 1e12, float("nan"), np.float32(2.5), 7, True]
    cells = [row[0] for row in views.table([{"x": value} for value in values], digits=2).rows]
    assert cells == ["101", "100", "0.00012", "-1234", "1000000000000", "nan", "2.5", "7", "yes"]


def test_a_table_sorts_and_leaves_gaps_at_the_end() -> None:
    names = [row[0] for row in views.table(ROWS, sort="n").rows]
    assert names == ["c", "a|<b>", "d"]
    names = [row[0] for row in views.table(ROWS, sort="x", descending=False).rows]
    assert names == ["a|<b>", "d", "c"]
    with pytest.raises(ValueError, match="sort='y' is not one of 'name', 'n', 'x'"):
        views.table(ROWS, sort="y")
    with pytest.raises(ValueError, match="no rows"):
        views.table([])
