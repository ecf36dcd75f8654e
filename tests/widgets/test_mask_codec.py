"""Masks between Python and the browser: bits, deflate, and what is refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from hdpainter_widgets.mask_codec import WireError, pack_mask, unpack_mask

pytestmark = pytest.mark.colab


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < 0.3


@pytest.mark.parametrize("size", [(64, 64), (65, 67), (1, 9), (101, 64), (3, 3), (512, 300)])
def test_a_mask_comes_back(size: tuple[int, int]) -> None:
    mask = noise(*size)
    back = unpack_mask(pack_mask(mask), size)
    np.testing.assert_array_equal(back, mask)
    assert back.dtype == np.bool_
    assert not back.flags.writeable


def test_reads_what_the_browser_makes() -> None:
    # 3 x 3, made by CompressionStream("deflate") of [0b10101010, 0b10000000]: an X and its middle.
    sent = bytes.fromhex("789c5bd5000001d6012b")
    assert zlib.decompress(sent) == bytes([0b10101010, 0b10000000])
    back = unpack_mask(sent, (3, 3))
    np.testing.assert_array_equal(back, [[1, 0, 1], [0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_any_level_of_deflate_is_read(level: int) -> None:
    mask = noise(97, 130)
    sent = zlib.compress(np.packbits(mask).tobytes(), level)
    np.testing.assert_array_equal(unpack_mask(sent, (97, 130)), mask)


def test_masks_of_another_size_are_refused() -> None:
    sent = pack_mask(noise(64, 64))
    with pytest.raises(WireError, match="64x65 mask fill 520 bytes, but 512 arrived"):
        unpack_mask(sent, (65, 64))
    with pytest.raises(WireError, match="fill 504 bytes, but more than 504 arrived"):
        unpack_mask(sent, (63, 64))


@pytest.mark.parametrize("sent", [b"", b"no mask at all", pack_mask(noise(64, 64))[:-20]])
def test_what_is_broken_is_refused(sent: bytes) -> None:
    with pytest.raises(WireError):
        unpack_mask(sent, (64, 64))


def test_a_bomb_does_not_go_off() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    with pytest.raises(WireError, match="more than 512"):
        unpack_mask(bomb, (64, 64))


def test_simple_masks_are_small() -> None:
    mask = np.zeros((2048, 2048), bool)
    mask[300:900, 200:1500] = True
    assert len(pack_mask(mask)) < 4000
