"""How masks travel between Python and the browser.

Eight pixels to a byte, the first in the highest bit, rows without padding between them, then
deflate with zlib's header: what the browser's ``CompressionStream("deflate")`` makes and reads.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "WireError", "pack_mask", "unpack_mask"]

LONGEST = 4 * 2**20
"""Bytes of the longest deflated mask that is taken: one of 4096 x 4096 pixels fills half of it."""


class WireError(ValueError):
    """What the browser sent is not a mask of the expected size."""


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask as bytes for the browser.

    Args:
        mask: (H, W) bool.
    """
    return zlib.compress(np.packbits(mask).tobytes(), 6)


def unpack_mask(data: bytes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask that `pack_mask`, or the browser, made bytes of.

    Args:
        data: the bytes.
        size: (H, W) that the mask must have.

    Returns:
        (H, W) bool, read-only: whoever holds it sees that assigning to its pixels tells nobody.

    Raises:
        WireError: not deflated, cut short, longer than `LONGEST`, or of another length than `size`
            asks for.
    """
    if len(data) > LONGEST:
        raise WireError(f"a mask of {len(data)} bytes is too long; up to {LONGEST} will do")
    height, width = size
    expected = -(-height * width // 8)
    stream = zlib.decompressobj()
    try:
        bits = stream.decompress(data, expected + 1)  # never more memory than a mask needs
    except zlib.error as reason:
        raise WireError(f"{len(data)} bytes are no deflated mask: {reason}") from reason
    if len(bits) != expected or not stream.eof:
        count = f"more than {expected}" if len(bits) > expected else str(len(bits))
        raise WireError(
            f"the bits of a {width}x{height} mask fill {expected} bytes, but {count} arrived"
        )
    pixels = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
    mask = pixels.reshape(height, width).view(np.bool_)
    mask.flags.writeable = False
    return mask
