"""The painter's Python side: what it takes, what the browser may send, who hears of it."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
import traitlets
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import ImageError, MaskError
from hdpainter_nb.settings import PRESETS
from hdpainter_widgets.mask_codec import WireError, pack_mask, unpack_mask
from hdpainter_widgets.painter import MaskPainter
from support.page_side import hear, mimebundle, set_by_page, synced

pytestmark = pytest.mark.colab

SIZE = (96, 130)


def picture(height: int = SIZE[0], width: int = SIZE[1]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def square(size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[32:64, 32:64] = True
    return mask


@pytest.fixture
def painter() -> MaskPainter:
    return MaskPainter(picture())


@pytest.fixture
def sent(painter: MaskPainter, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What goes to the browser."""
    messages: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        painter, "send", lambda content, buffers=None: messages.append((content, buffers))
    )
    return messages


def paint(painter: MaskPainter, mask: NDArray[np.bool_] | bytes, **state: Any) -> None:
    """A message as the browser sends it: zlib bytes behind a memoryview, and a revision."""
    data = mask if isinstance(mask, bytes) else zlib.compress(np.packbits(mask).tobytes())
    set_by_page(painter, {"_revision": synced(painter, "revision") + 1, **state}, _mask=data)


def ask(painter: MaskPainter, revision: int, preset: str) -> None:
    hear(painter, {"type": "grids", "revision": revision, "preset": preset})


# --- what it takes -------------------------------------------------------------------------------


def test_begins_with_an_empty_mask(painter: MaskPainter) -> None:
    assert painter.mask.shape == SIZE
    assert painter.mask.dtype == np.bool_
    assert not painter.mask.any()
    np.testing.assert_array_equal(painter.image, picture())


def test_begins_with_the_mask_given() -> None:
    painter = MaskPainter(picture(), square())
    np.testing.assert_array_equal(painter.mask, square())
    np.testing.assert_array_equal(unpack_mask(synced(painter, "mask"), SIZE), square())


def test_takes_pil_pictures_and_masks() -> None:
    painter = MaskPainter(Image.fromarray(picture()), Image.fromarray(square()))
    np.testing.assert_array_equal(painter.image, picture())
    np.testing.assert_array_equal(painter.mask, square())


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((96, 131), bool), r"\(96, 131\) and dtype bool.*\(96, 130\) and dtype bool"),
        (np.zeros(SIZE, np.uint8), r"\(96, 130\) and dtype uint8.*dtype bool.*mask > 127"),
        (np.zeros((130, 96), np.float32), r"\(130, 96\) and dtype float32.*\(96, 130\)"),
        (np.zeros((*SIZE, 1), bool), r"\(96, 130, 1\)"),
    ],
)
def test_masks_of_other_sizes_and_dtypes_are_refused(mask: Any, said: str) -> None:
    with pytest.raises(MaskError, match=said):
        MaskPainter(picture(), mask)
    painter = MaskPainter(picture(), square())
    revision = synced(painter, "revision")
    with pytest.raises(MaskError, match=said):
        painter.mask = mask
    np.testing.assert_array_equal(painter.mask, square())
    assert synced(painter, "revision") == revision


def test_pictures_it_cannot_show_are_refused() -> None:
    with pytest.raises(ImageError, match="4200x70 px; the painter takes up to 4096"):
        MaskPainter(np.zeros((70, 4200, 3), np.uint8))
    with pytest.raises(ImageError, match="64"):
        MaskPainter(np.zeros((20, 20, 3), np.uint8))


@pytest.mark.parametrize("unknown", ["masks", "colour", "brush", "value", "width"])
def test_unknown_arguments_raise(unknown: str) -> None:
    with pytest.raises(TypeError, match=unknown):
        MaskPainter(picture(), **{unknown: 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "unofficial"},
        {"tool": "pencil"},
        {"brush_size": 0},
        {"color": "red"},
        {"opacity": 1.5},
        {"long_side": 3},
    ],
)
def test_impossible_values_raise(wrong: dict[str, Any]) -> None:
    with pytest.raises(traitlets.TraitError):
        MaskPainter(picture(), **wrong)


# --- what Python sets ----------------------------------------------------------------------------


def test_what_python_sets_is_sent_and_heard(painter: MaskPainter) -> None:
    heard: list[Any] = []
    painter.observe(heard.append, "mask")
    before = synced(painter, "revision")
    painter.mask = square()
    assert [change["new"].sum() for change in heard] == [1024]
    assert synced(painter, "revision") == before + 1
    np.testing.assert_array_equal(unpack_mask(synced(painter, "mask"), SIZE), square())
    painter.clear()
    assert not painter.mask.any()
    assert not unpack_mask(synced(painter, "mask"), SIZE).any()


def test_a_mask_is_not_changed_behind_its_back(painter: MaskPainter) -> None:
    mine = square()
    painter.mask = mine
    mine[:] = True
    np.testing.assert_array_equal(painter.mask, square())
    with pytest.raises(ValueError, match="read-only"):
        painter.mask[0, 0] = True


def test_another_picture_of_the_same_size_keeps_the_mask() -> None:
    painter = MaskPainter(picture(), square())
    painter.image = 255 - picture()
    np.testing.assert_array_equal(painter.mask, square())
    with Image.open(io.BytesIO(synced(painter, "picture"))) as shown:
        np.testing.assert_array_equal(np.asarray(shown), 255 - picture())


def test_a_picture_of_another_size_empties_the_mask() -> None:
    painter = MaskPainter(picture(), square())
    painter.image = picture(64, 80)
    assert synced(painter, "size") == [64, 80]
    assert painter.mask.shape == (64, 80)
    assert not unpack_mask(synced(painter, "mask"), (64, 80)).any()
    painter.mask = square((64, 80))
    paint(painter, ~square((64, 80)))
    np.testing.assert_array_equal(painter.mask, ~square((64, 80)))


# --- what the browser sends ----------------------------------------------------------------------


def test_a_stroke_arrives_and_is_heard(painter: MaskPainter) -> None:
    heard: list[Any] = []
    painter.observe(heard.append, "mask")
    paint(painter, square())
    np.testing.assert_array_equal(painter.mask, square())
    np.testing.assert_array_equal(heard[-1]["new"], square())
    assert not heard[-1]["old"].any()


def test_every_stroke_is_heard_even_one_of_equal_size(painter: MaskPainter) -> None:
    heard: list[int] = []
    painter.observe(lambda change: heard.append(int(change["new"].argmax())), "mask")
    for shift in (0, 1, 2):  # the same number of pixels, and of bytes
        paint(painter, np.roll(square(), shift, axis=1))
    paint(painter, np.roll(square(), 2, axis=1))  # the very same once more
    first = int(square().argmax())
    assert heard == [first, first + 1, first + 2, first + 2]


def test_the_mask_is_state_that_survives_a_reload(painter: MaskPainter) -> None:
    paint(painter, square())
    state = painter.get_state()
    np.testing.assert_array_equal(unpack_mask(state["_mask"], tuple(state["_size"])), square())
    assert state["_revision"] == 2
    with Image.open(io.BytesIO(state["_picture"])) as shown:
        assert shown.size == (SIZE[1], SIZE[0])
    assert "mask" not in state
    assert "image" not in state


def test_an_observer_may_answer_with_another_mask(painter: MaskPainter) -> None:
    def tidy(change: Any) -> None:
        if change["new"].any():
            painter.unobserve(tidy, "mask")
            painter.mask = ~change["new"]

    painter.observe(tidy, "mask")
    paint(painter, square())
    np.testing.assert_array_equal(painter.mask, ~square())
    np.testing.assert_array_equal(unpack_mask(synced(painter, "mask"), SIZE), ~square())
    assert synced(painter, "revision") == 3


@pytest.mark.parametrize("broken", [b"", b"nonsense", pack_mask(square((64, 64)))])
def test_what_is_broken_leaves_the_mask_alone(broken: bytes) -> None:
    painter = MaskPainter(picture(), square())
    with pytest.raises(WireError):
        painter.set_state({"_mask": memoryview(broken), "_revision": 9})
    paint(painter, broken)  # a message's error is logged, the kernel goes on
    np.testing.assert_array_equal(painter.mask, square())
    np.testing.assert_array_equal(unpack_mask(synced(painter, "mask"), SIZE), square())


def test_looks_are_traits(painter: MaskPainter) -> None:
    state = {"tool": "lasso", "brush_size": 77, "color": "#00AAFF", "opacity": 0.25}
    set_by_page(painter, state)
    assert (painter.tool, painter.brush_size, painter.opacity) == ("lasso", 77, 0.25)
    assert painter.color == "#00aaff"


# --- as the model sees it ------------------------------------------------------------------------


def test_grids_on_request(sent: list[tuple[Any, Any]], painter: MaskPainter) -> None:
    from hdpainter_nb.images.fit import Frame
    from hdpainter_nb.method.masks import FittedMask
    from hdpainter_nb.settings import Settings

    painter.mask = square()
    ask(painter, synced(painter, "revision"), "official")
    (content, buffers), *rest = sent
    assert not rest
    assert content["type"] == "grids"
    assert content["crop"] == [0, 0, *SIZE]
    assert [(g["level"], g["shape"]) for g in content["grids"]] == [
        (8, [16, 24]),
        (16, [8, 12]),
        (32, [4, 6]),
        (32, [4, 6]),
    ]
    settings = Settings.preset("official")
    fitted = FittedMask.of(square(), Frame.of(SIZE, how="pad", long_side=192))
    expected = fitted.for_painta(16, settings.painta_mask).numpy()
    got = np.frombuffer(buffers[1], np.uint8).reshape(8, 12)
    np.testing.assert_array_equal(got, 255 * expected.astype(np.uint8))


def test_grids_follow_the_preset(sent: list[tuple[Any, Any]], painter: MaskPainter) -> None:
    hole = square()
    hole[24:32, 32:64] = True  # ends in the middle of a cell of the squashed picture
    painter.mask = hole
    for preset in PRESETS:
        ask(painter, synced(painter, "revision"), preset)
    assert [content["preset"] for content, _ in sent] == [*PRESETS]
    assert sent[2][0]["crop"] == [0, 0, 192, 192]  # squashed
    unet = [np.frombuffer(buffers[0], np.uint8).sum() // 255 for _, buffers in sent]
    assert unet[0] > unet[1]  # dilated, any pixel; nearest
    soft = np.frombuffer(sent[2][1][3], np.uint8)
    assert ((soft > 0) & (soft < 255)).any()


def test_grids_wait_for_the_mask_they_were_asked_for(
    sent: list[tuple[Any, Any]], painter: MaskPainter
) -> None:
    ask(painter, synced(painter, "revision") + 1, "paper")
    assert not sent
    paint(painter, square())
    (_, buffers), *rest = sent
    assert np.frombuffer(buffers[0], np.uint8).sum() == 16 * 255
    assert not rest
    paint(painter, ~square())
    assert len(sent) == 1  # nobody asked again


@pytest.mark.parametrize("content", [None, "grids", {}, {"type": "else"}, {"type": "grids"}])
def test_odd_requests_do_no_harm(
    sent: list[tuple[Any, Any]], painter: MaskPainter, content: Any
) -> None:
    hear(painter, content)
    assert len(sent) == (content == {"type": "grids"})


# --- for pages that run no widgets ---------------------------------------------------------------


def test_offers_the_widget_and_a_picture() -> None:
    painter = MaskPainter(np.full((*SIZE, 3), 200, np.uint8), square(), color="#000000", opacity=1)
    data = mimebundle(painter)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == painter.model_id
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as still:
        assert still.format == "PNG"
        shown = np.asarray(still.convert("RGB"))
    assert shown.shape == (*SIZE, 3)
    assert (shown[square()] == 0).all()
    assert (shown[~square()] == 200).all()


def test_ipython_asks_for_the_mimebundle(painter: MaskPainter) -> None:
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(painter)
    assert {"application/vnd.jupyter.widget-view+json", "image/png"} <= set(data)


def test_the_still_picture_is_small() -> None:
    painter = MaskPainter(np.zeros((600, 1500, 3), np.uint8))
    with Image.open(io.BytesIO(painter._still())) as still:
        assert still.size == (512, 205)


def test_large_pictures_travel_as_jpeg() -> None:
    painter = MaskPainter(picture(600, 600))
    assert synced(painter, "picture")[:3] == b"\xff\xd8\xff"


def test_the_script_is_there(painter: MaskPainter) -> None:
    assert "render" in str(painter._esm)
    assert ".hdp-painter" in str(painter._css)


def test_needs_no_torch_until_it_is_asked_for_grids() -> None:
    code = (
        "import sys, numpy as np\n"
        "from hdpainter_widgets.painter import MaskPainter\n"
        "MaskPainter(np.zeros((64, 64, 3), np.uint8))._still()\n"
        "sys.exit('torch' in sys.modules)"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=path, check=False).returncode == 0
