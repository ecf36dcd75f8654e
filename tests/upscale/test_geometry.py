"""The frame of the large picture is four times that of the small one, whatever was rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hdpainter_nb.errors import ImageError
from hdpainter_nb.images.resize import pad_to, resize
from hdpainter_nb.upscale.geometry import FACTOR, fit_pair

side = st.integers(64, 2048)


def shrunk(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@settings(deadline=None)
@given(height=side, width=side, long_side=st.sampled_from([64, 256, 300, 512, 768]))
@example(height=1052, width=1200, long_side=512)  # the official code's assertion fails here
@example(height=1795, width=2048, long_side=512)
@example(height=64, width=2048, long_side=512)
@example(height=64, width=64, long_side=512)
def test_any_picture_and_its_small_version_have_a_frame(
    height: int, width: int, long_side: int
) -> None:
    low = shrunk((height, width), long_side)
    room = fit_pair((height, width), low)
    assert room.frame == (FACTOR * room.low_frame[0], FACTOR * room.low_frame[1])
    for inner, frame, multiple in (
        (room.low, room.low_frame, 64),
        (room.work, room.frame, 64 * FACTOR),
    ):
        assert all(a <= b and b % multiple == 0 for a, b in zip(inner, frame, strict=True))
        # no more than one multiple is added beyond what the two need
        assert all(b - a <= multiple + FACTOR for a, b in zip(inner, frame, strict=True))
    if max(height, width) <= FACTOR * long_side:  # no more memory than the picture's own
        assert all(b <= FACTOR * (-(-long_side // 64) * 64) for b in room.frame)
    apart = [abs(a - FACTOR * b) for a, b in zip(room.work, low, strict=True)]
    assert max(apart) <= FACTOR


@settings(deadline=None)
@given(height=side, width=side, up=st.booleans())
def test_a_quarter_rounded_either_way_leaves_the_picture_as_it_is(
    height: int, width: int, up: bool
) -> None:
    low = tuple(-(-n // 4) if up else n // 4 for n in (height, width))
    assert fit_pair((height, width), low).work == (height, width)


def test_other_proportions_are_refused() -> None:
    with pytest.raises(ImageError, match="128x100 px and the large one 400x400 px"):
        fit_pair((400, 400), (100, 128))


@settings(deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), more=st.integers(0, 200))
def test_padding_reflects_as_often_as_needed(height: int, width: int, more: int) -> None:
    array = np.arange(height * width).reshape(height, width)
    padded = pad_to(array, (height + more, width + more))
    assert padded.shape == (height + more, width + more)
    np.testing.assert_array_equal(padded[:height, :width], array)
    if more and height > 1:
        np.testing.assert_array_equal(padded[height, :width], array[-2])


def test_resizing_to_its_own_size_is_the_picture_itself() -> None:
    picture = np.zeros((8, 9, 3), np.uint8)
    assert resize(picture, (8, 9)) is picture
    assert resize(picture, (4, 20)).shape == (4, 20, 3)
