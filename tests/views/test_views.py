"""Arrays in, pictures out: sizes, scales, labels, and what happens at the edges."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hdpainter_nb import views
from hdpainter_nb.settings import UpscaleSettings
from hdpainter_nb.trace.maps import CrossMaps
from support.synthetic import make_record, scene


def test_needs_neither_torch_nor_drawing_libraries_until_used() -> None:
    code = (
        "import sys, hdpainter_nb.views as v\n"
        "heavy = {'torch', 'diffusers', 'matplotlib', 'cv2', 'PIL', 'IPython'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- colours -------------------------------------------------------------------------------------


def test_jet_is_opencv_s_table() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = cv2.applyColorMap(values, cv2.COLORMAP_JET)[..., ::-1]
    assert np.array_equal(views.jet(values), expected)


def test_jet_clips_to_its_limits() -> None:
    drawn = views.jet([[-5.0, 0.0, 1.0, 7.0]], 0.0, 1.0)
    assert np.array_equal(drawn[0, 0], drawn[0, 1])
    assert np.array_equal(drawn[0, 2], drawn[0, 3])
    assert not np.array_equal(drawn[0, 1], drawn[0, 2])


@pytest.mark.parametrize("colormap", views.COLORMAPS)
def test_flat_and_broken_maps_take_the_first_colour(colormap: str) -> None:
    first = views.jet([[0.0, 1.0]], colormap=colormap)[0, 0]
    assert (views.jet(np.full((3, 3), 4.2), colormap=colormap) == first).all()
    broken = np.array([[np.nan, np.inf, 0.0, 1.0]])
    assert (views.jet(broken, colormap=colormap)[0, :3] == first).all()
    assert (views.jet(np.full((2, 2), np.nan), colormap=colormap) == first).all()


def test_coolwarm_is_grey_in_the_middle() -> None:
    middle = views.jet([[-1.0, 0.0, 1.0]], -1, 1, colormap="coolwarm")[0, 1].astype(int)
    assert np.ptp(middle) < 6
    assert middle.mean() > 200


def test_unknown_colormap_and_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="'rainbow' is not one of 'jet'"):
        views.jet([[0.0]], colormap="rainbow")
    with pytest.raises(ValueError, match=r"shape \(h, w\), not \(2, 2, 2\)"):
        views.jet(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"shape \(H, W, 3\), not \(4, 4, 7\)"):
        views.overlay(np.zeros((4, 4, 7)), np.zeros((2, 2)))


def test_upsampling_does_not_overshoot() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((8, 12), dtype=np.float32)
    large = views.upsample(values, (96, 150))
    assert large.shape == (96, 150)
    assert values.min() <= large.min()
    assert large.max() <= values.max()


def test_overlay_at_both_ends_of_alpha() -> None:
    picture, _ = scene((64, 96))
    values = np.random.default_rng(1).random((4, 6))
    assert np.array_equal(views.overlay(picture, values, 0.0), picture)
    full = views.overlay(picture, values, 1.0)
    assert np.array_equal(full, views.jet(views.upsample(values, (64, 96)), *_range(values)))
    assert np.array_equal(picture, scene((64, 96))[0]), "the picture given is left alone"


def _range(values: Any) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@pytest.mark.parametrize("kind", ["grey", "float", "alpha", "bool"])
def test_overlay_takes_any_picture(kind: str) -> None:
    picture, _ = scene((32, 48))
    given = {
        "grey": picture[..., 0],
        "float": picture / 255.0,
        "alpha": np.dstack([picture, picture[..., 0]]),
        "bool": picture > 100,
    }[kind]
    drawn = views.overlay(given, np.zeros((2, 3)), 0.0)
    assert drawn.shape == (32, 48, 3)
    assert drawn.dtype == np.uint8
    if kind in ("float", "alpha"):
        assert np.array_equal(drawn, picture)


@pytest.mark.parametrize("scale", [1, 255])
def test_outline_follows_the_mask_s_edge_only(scale: int) -> None:
    picture, mask = scene((64, 96))
    given = mask if scale == 1 else mask.astype(np.uint8) * 255
    drawn = views.overlay(picture, np.zeros((2, 3)), 0.0, outline=given)
    changed = (drawn != picture).any(-1)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) != cv2.erode(
        mask.astype(np.uint8), np.ones((5, 5))
    )
    assert changed.any()
    assert not (changed & ~near).any()
    half = views.overlay(picture, np.zeros((2, 3)), 0.0, outline=mask[::2, ::2])
    assert (half != picture).any(), "a mask of another size is brought to the picture's"


def test_outline_shows_at_the_frame() -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    drawn = views.overlay(picture, np.zeros((2, 2)), 0.0, outline=np.ones((40, 40), bool))
    assert (drawn[0] == 255).all()
    assert (drawn[20, 20] == 90).all()


# --- sheets --------------------------------------------------------------------------------------


def test_grid_is_white_and_holds_every_tile() -> None:
    images = [np.full((50, 100, 3), v, np.uint8) for v in (10, 90, 170)]
    page = views.grid(images, ["a", "b", "c"], columns=2, tile=100)
    array = np.asarray(page)
    assert page.mode == "RGB"
    assert (array[0] == 255).all()
    assert (array[:, -1] == 255).all()
    for value in (10, 90, 170):
        assert (array == value).all(-1).sum() >= 50 * 100


def test_grid_wants_a_label_for_each() -> None:
    with pytest.raises(ValueError, match="2 images cannot take 1 labels"):
        views.grid([np.zeros((4, 4, 3))] * 2, ["a"])
    with pytest.raises(ValueError, match="no images"):
        views.grid([])
    with pytest.raises(ValueError, match="columns"):
        views.grid([np.zeros((4, 4, 3))], columns=0)


def test_a_long_or_foreign_label_stays_inside() -> None:
    label = "звезда ★ αβγ " * 30
    page = np.asarray(views.grid([np.zeros((40, 40, 3), np.uint8)], [label], title=label))
    assert (page[:, -8:] == 255).all()


def test_side_by_side_scales_the_difference() -> None:
    picture, mask = scene((64, 64))
    other = picture.copy()
    other[mask] //= 2
    three = views.side_by_side(picture, other, ("with", "without"))
    two = views.side_by_side(picture, other, difference=False)
    assert three.width > two.width
    same = views.side_by_side(picture, picture)
    assert same.size == three.size
    with pytest.raises(ValueError, match="difference=False"):
        views.side_by_side(picture, picture[:32])


# --- records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(256, 256), (192, 320)])
@pytest.mark.parametrize("level", [8, 16, 32])
def test_heatmaps_draw_one_tile_per_word(size: tuple[int, int], level: int) -> None:
    record = make_record(size=size)
    picture, mask = scene(size)
    both = views.heatmaps(record, picture, ["red", "star"], level, mask=mask, columns=2)
    every = views.heatmaps(record, level=level, columns=4)
    assert every.width > both.width
    assert every.height == both.height


def test_heatmaps_on_a_shared_scale_differ() -> None:
    record = make_record()
    apart, together = (views.heatmaps(record, shared=shared) for shared in (False, True))
    assert apart.size == together.size
    assert np.asarray(apart).tobytes() != np.asarray(together).tobytes()


def test_heatmaps_name_what_is_missing() -> None:
    record = make_record(levels=(16,))
    with pytest.raises(KeyError, match="'moon' is not a word of this prompt"):
        views.heatmaps(record, words=["moon"])
    with pytest.raises(KeyError, match="level 32"):
        views.heatmaps(record, level=32)
    empty = replace(record, cross=CrossMaps(record.cross.maps, (), ()))
    with pytest.raises(ValueError, match="empty"):
        views.heatmaps(empty)


def test_maps_of_a_padded_picture_are_cropped() -> None:
    record = make_record(2, size=(256, 320))
    picture, mask = scene((200, 300))
    crop = (0, 0, 200, 300)
    cut = views.heatmaps(record, picture, ["star"], mask=mask, crop=crop, alpha=1.0)
    squeezed = views.heatmaps(record, picture, ["star"], mask=mask, alpha=1.0)
    assert cut.size == squeezed.size
    assert np.asarray(cut).tobytes() != np.asarray(squeezed).tobytes()
    whole = (0, 0, 256, 320)
    same = [views.c_map(record, crop=c, picture=picture).tobytes() for c in (None, whole)]
    assert same[0] == same[1]
    assert views.similarity(record, crop=crop).height < views.similarity(record).height
    assert views.filmstrip([record], words=["star"], crop=crop)


def test_the_preview_of_a_larger_picture_is_cropped_by_its_own_factor() -> None:
    record = replace(make_record(2), settings=UpscaleSettings())
    crop = (8, 0, 100, 60)  # of 128 x 128: 32 x 32 latents, 4 pixels each
    preview = record.x0_preview[2:27, :15]
    for draw in (
        lambda **given: views.heatmaps(record, words=["star"], **given),
        lambda **given: views.c_map(record, **given),
        lambda **given: views.layer_maps(record, "similarity", **given),
    ):
        own, wanted = draw(crop=crop), draw(crop=crop, picture=preview)
        assert own.tobytes() == wanted.tobytes()


def test_maps_say_where_painta_did_not_act() -> None:
    early, late = make_record(2), make_record(15)
    picture, mask = scene()
    for draw in (views.c_map, views.similarity):
        with_it = draw(early, picture=picture, mask=mask)
        without = draw(late, picture=picture, mask=mask)
        assert with_it.width > without.width
    assert views.c_map(make_record(2, painta=False)).width < views.c_map(early).width


def test_filmstrip_shows_the_first_and_the_last_step() -> None:
    records = [make_record(i) for i in range(20)]
    seen: list[int] = []

    def picture(record: Any) -> Any:
        seen.append(record.index)
        return record.x0_preview

    plain = views.filmstrip(records, count=5, picture=picture)
    assert seen[0] == 0
    assert seen[-1] == 19
    assert len(seen) == 5
    taller = views.filmstrip(records, count=5, words=["star"])
    assert taller.height > plain.height
    assert taller.width == plain.width
    assert views.filmstrip(records[:1]).width < plain.width
    with pytest.raises(ValueError, match="take a step first"):
        views.filmstrip([])


def test_histogram_shows_itself_and_needs_a_gradient() -> None:
    figure = views.gradient_histogram(make_record())
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert len(figure.axes) == 2
    with pytest.raises(ValueError, match="rasg=False"):
        views.gradient_histogram(make_record(rasg=False))


def test_histogram_survives_a_gradient_of_zeros() -> None:
    record = make_record()
    assert record.grad is not None
    zero = np.zeros_like(record.grad.hist)
    edges = np.zeros_like(record.grad.edges)
    flat = replace(
        record, grad=replace(record.grad, std=0.0, hist=zero, edges=edges, standard_hist=zero)
    )
    assert views.gradient_histogram(flat)._repr_png_()


def test_curves_of_one_and_of_several_runs() -> None:
    records = [make_record(i) for i in range(6)]
    plain = [make_record(i, rasg=False) for i in range(6)]
    assert len(views.curves(records).axes) == 3
    figure = views.curves({"RASG": records, "baseline": plain, "not begun": []})
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 2]
    assert views.curves(plain)._repr_png_()
    with pytest.raises(ValueError, match="take a step first"):
        views.curves({"x": []})


# --- files ---------------------------------------------------------------------------------------


def test_gif_plays_back(tmp_path: Any) -> None:
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 120, 250)]
    path = views.gif([*frames, frames[0][:10]], tmp_path / "deep" / "a.gif", fps=10, hold=0.5)
    with Image.open(path) as film:
        assert film.size == (30, 20)
        assert film.n_frames == 4
        assert film.info["duration"] == 100
        assert film.info["loop"] == 0
        film.seek(1)
        assert abs(int(np.asarray(film.convert("RGB")).mean()) - 120) < 8
    with pytest.raises(ValueError, match="no images"):
        views.gif([], tmp_path / "b.gif")
    with pytest.raises(ValueError, match="fps"):
        views.gif(frames, tmp_path / "b.gif", fps=0)


def test_save_png_takes_arrays_images_and_figures(tmp_path: Any) -> None:
    picture, _ = scene((8, 12))
    for i, given in enumerate((picture, Image.fromarray(picture), views.curves([make_record()]))):
        path = views.save_png(given, tmp_path / "new" / f"{i}.png")
        with Image.open(path) as image:
            assert image.format == "PNG"
            if i < 2:
                assert np.array_equal(np.asarray(image), picture)
