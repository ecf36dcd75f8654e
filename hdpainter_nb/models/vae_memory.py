"""The VAE run within the memory that there is.

One piece where the memory suffices, which is counted beforehand on a GPU; else the largest tiles
that fit. Half precision, and float32 where that overflows.
"""

from __future__ import annotations

import contextlib
import functools
import math
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hdpainter_nb.errors import ModelError
from hdpainter_nb.utils.memory import (
    Fused,
    LiveBytes,
    free_bytes,
    is_shortage,
    meta_twin,
    weight_bytes,
)
from hdpainter_nb.utils.messages import warn_user

__all__ = [
    "OVERLAP",
    "Tile",
    "choose",
    "decoded",
    "encoded",
    "factor_of",
    "in_tiles",
    "own_tile",
    "peak",
    "run",
    "starts",
    "tile_sides",
]

OVERLAP = 0.25
"""Of a tile's side, at least, shared with its neighbour."""


def starts(length: int, tile: int) -> list[int]:
    """Where the fewest tiles of size `tile` begin that cover `length` and overlap by `OVERLAP`.

    They are evenly spread, so none is a sliver at the edge, whose colours would differ.
    """
    if length <= tile:
        return [0]
    shared = int(tile * OVERLAP)
    last = math.ceil((length - tile) / (tile - shared))
    return [i * (length - tile) // last for i in range(last + 1)]


def in_tiles(
    run: Callable[[Tensor], Tensor], x: Tensor, tile: int, *, up: int = 1, down: int = 1
) -> Tensor:
    """`run` on tiles of `x`, put together.

    Args:
        run: (n, c, a, b) to (n, d, a * up / down, b * up / down).
        x: (n, c, H, W); H and W are multiples of `down`.
        tile: side of a tile in positions of `x`, a multiple of `down`.
        up, down: how `run` changes the size.

    Returns:
        (n, d, H * up / down, W * up / down), float32.
    """
    height, width = x.shape[-2:]
    sides = min(tile, height), min(tile, width)
    rows, columns = (
        [start * down for start in starts(length // down, side // down)]
        for length, side in zip((height, width), sides, strict=True)
    )
    total: Tensor | None = None
    ramps = [_ramp(side * up // down, x.device) for side in sides]
    for top in rows:
        for left in columns:
            piece = run(x[..., top : top + sides[0], left : left + sides[1]])
            if total is None:
                size = (height * up // down, width * up // down)
                total = piece.new_zeros((*piece.shape[:2], *size), dtype=torch.float32)
            place = _place(top, left, piece, up, down)
            total[place] += piece.float() * ramps[0][:, None] * ramps[1]
            del piece
    assert total is not None
    # The weights are a product of rows and columns, and so is their sum.
    for ramp, begins, axis in ((ramps[0], rows, -2), (ramps[1], columns, -1)):
        weight = torch.zeros(total.shape[axis], device=x.device)
        for start in begins:
            weight[start * up // down :][: len(ramp)] += ramp
        total /= weight[:, None] if axis == -2 else weight
    return total


def _place(top: int, left: int, piece: Tensor, up: int, down: int) -> tuple[Any, ...]:
    top, left = top * up // down, left * up // down
    height, width = piece.shape[-2:]
    return (..., slice(top, top + height), slice(left, left + width))


def _ramp(length: int, device: torch.device) -> Tensor:
    """(length,): 1 in the middle, falling towards both ends over what neighbours share at least."""
    reach = max(1, int(length * OVERLAP))
    inward = torch.arange(length, device=device) + 0.5
    return (torch.minimum(inward, length - inward) / reach).clamp(max=1)


Tile = int | Literal["auto"] | None
What = Literal["encode", "decode"]
RESERVE = 1.15
"""Free memory that is wanted over the counted peak: kernels' own buffers, the allocator's waste."""


def run(
    pipeline: Any,
    what: What,
    size: tuple[int, int],
    tile: Tile,
    work: Callable[[int | None, torch.device], Tensor],
    *,
    float32: bool = False,
) -> Tensor:
    """`work` in one piece or in tiles; where the memory runs out, in smaller ones.

    Args:
        pipeline: of diffusers.
        what: ``encode`` or ``decode``.
        size: (H, W) of the picture.
        tile: see `hdpainter_nb.models.vae.decode`.
        work: takes the tiles' side in pixels, or None for one piece, and the device to work on.
        float32: whether half precision shall not even be tried.

    Raises:
        ModelError: no finite numbers, in float32 neither.
        torch.OutOfMemoryError: not even the smallest tile fits.

    Warns:
        HDPainterWarning: tiles were used because the memory is short.
    """
    # Asked once: it may be offloaded, so diffusers looks at every module.
    vae, device = pipeline.vae, torch.device(pipeline._execution_device)
    choice: list[int | None]
    if tile == "auto":
        choice = choose(vae, what, size, device, float32=float32)
    else:
        choice = [None if tile is None or tile >= max(size) else tile]
    for side in choice:
        try:
            out = _finite(vae, functools.partial(work, side, device), float32=float32)
        except Exception as error:
            if side == choice[-1] or not is_shortage(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what was made so far
            continue
        if tile == "auto" and side is not None:
            warn_user(f"Too little memory to {what} in one piece: {what}d in tiles of {side} px.")
        return out
    raise AssertionError("unreachable: the last attempt returns or raises")


def own_tile(vae: Any) -> int:
    """Side in pixels of the pictures that a VAE was made for."""
    side = getattr(vae.config, "sample_size", None) or 512
    return int(side if isinstance(side, int) else max(side))


def tile_sides(vae: Any) -> list[int]:
    """Sides in pixels of the tiles that are tried, largest first."""
    side, step = own_tile(vae), factor_of(vae)
    return [n // step * step for n in (4 * side, 2 * side, side, side // 2)]


def factor_of(vae: Any) -> int:
    """Pixels per latent position."""
    return int(2 ** (len(getattr(vae.config, "block_out_channels", range(4))) - 1))


def choose(
    vae: Any,
    what: What,
    size: tuple[int, int],
    device: torch.device,
    *,
    dtype: torch.dtype | None = None,
    float32: bool = False,
) -> list[int | None]:
    """One piece (None) and tiles' sides in pixels, from the largest that fits by count.

    All, where nobody can tell how much memory is free; at least the smallest. Args: see `peak`.
    """
    choice = [None, *(side for side in tile_sides(vae) if side < max(size))]
    free = free_bytes(device)
    while free is not None and len(choice) > 1:
        need = peak(vae, what, size, choice[0], dtype=dtype, float32=float32)
        if need is None or RESERVE * need <= free:
            break
        del choice[0]
    return choice


_peaks: weakref.WeakKeyDictionary[Any, dict[Any, int]] = weakref.WeakKeyDictionary()


def peak(
    vae: Any,
    what: What,
    size: tuple[int, int],
    tile: int | None = None,
    *,
    dtype: torch.dtype | None = None,
    float32: bool = False,
) -> int | None:
    """The most bytes held at once while a picture is encoded or decoded, the VAE's own excluded.

    Counted on the meta device, once for each VAE and size.

    Args:
        vae: an `AutoencoderKL`.
        what: ``encode`` or ``decode``.
        size: (H, W) of the picture.
        tile: as for `decode`.
        dtype: what to count for; None: what the VAE has.
        float32: whether it is cast up for it; the second copy of its weights counts.

    Returns:
        None for VAEs that cannot be made from their configuration.
    """
    if not hasattr(vae, "from_config"):
        return None
    used = torch.float32 if float32 else dtype or vae.dtype
    counted, key = _peaks.setdefault(vae, {}), (what, size, tile, used)
    if key not in counted:
        twin, side = meta_twin(vae, used), None if tile is None or tile >= max(size) else tile
        channels = vae.config.in_channels if what == "encode" else vae.config.latent_channels
        scale = 1 if what == "encode" else factor_of(vae)
        shape = (1, channels, size[0] // scale, size[1] // scale)
        with LiveBytes() as live, Fused(), torch.no_grad():
            x = torch.empty(shape, dtype=used, device="meta")
            if what == "encode":
                encoded(twin, x, side, "mean", None)
            else:  # the image processor brings it to 0 .. 1 on the device
                torch.stack([(0.5 * decoded(twin, x, side)[0] + 0.5).clamp(0, 1)])
        counted[key] = live.peak
    return counted[key] + (weight_bytes([vae], torch.float32) if float32 else 0)


def encoded(
    vae: Any, pixels: Tensor, side: int | None, how: str, rng: torch.Generator | None
) -> Tensor:
    """(n, 3, H, W) to (n, 4, h, w), in tiles where `side` is given."""
    kind: list[Any] = []

    def moments(piece: Tensor) -> Tensor:
        out = vae.encode(piece)
        if not hasattr(out, "latent_dist"):  # a VAE without a posterior
            plain: Tensor = out.latents
            return plain
        kind[:] = [type(out.latent_dist)]
        values: Tensor = out.latent_dist.parameters
        return values

    if side is None:
        values = moments(pixels)
    else:
        with _uncut(vae, side):
            values = in_tiles(_once(moments, pixels), pixels, side, down=factor_of(vae))
        values = values.to(pixels.dtype)
    if not kind:
        return values
    posterior = kind[0](values)
    latents: Tensor = posterior.sample(rng) if how == "sample" else posterior.mode()
    return latents


def decoded(vae: Any, latents: Tensor, side: int | None) -> Tensor:
    """(1, 4, h, w) to (1, 3, H, W), in tiles where `side` is given."""

    def whole(piece: Tensor) -> Tensor:
        image: Tensor = vae.decode(piece, return_dict=False)[0]
        return image

    if side is None:
        return whole(latents)
    with _uncut(vae, side):
        return in_tiles(_once(whole, latents), latents, side // factor_of(vae), up=factor_of(vae))


def _once(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """On the meta device two tiles stand for all: they are of one size.

    The second runs beside the picture that the first one began.
    """
    shapes: list[Any] = []

    def first(piece: Tensor) -> Tensor:
        if len(shapes) == 2:
            return piece.new_empty(shapes[0])
        out = run(piece)
        shapes.append(out.shape)
        return out

    return first if x.is_meta else run


@contextlib.contextmanager
def _uncut(vae: Any, side: int) -> Iterator[None]:
    """Inside, the VAE knows that it works in tiles and cuts none of `side` up any further."""
    ours = {
        "use_tiling": True,
        "tile_sample_min_size": side,
        "tile_latent_min_size": side // factor_of(vae),
    }
    was = {name: getattr(vae, name) for name in ours if hasattr(vae, name)}
    try:
        for name in was:
            setattr(vae, name, ours[name])
        yield
    finally:
        for name, value in was.items():
            setattr(vae, name, value)


def _finite(vae: Any, run: Callable[[], Tensor], *, float32: bool = False) -> Tensor:
    """Run the VAE; in half precision, where it overflows or shall not be tried, in float32."""
    dtype = vae.dtype
    half = dtype != torch.float32
    ways: list[Any] = [] if half and float32 else [contextlib.nullcontext]
    for precision in [*ways, *([_in_float32] if half else [])]:
        with precision(vae), torch.no_grad():
            out = run()
        if bool(torch.isfinite(out).all()):
            return out
        del out  # the next attempt needs its memory
    raise ModelError(
        f"The VAE gives no finite numbers in {str(dtype).removeprefix('torch.')}: load the "
        "model with dtype='float32', or put in a VAE that is made for half precision."
    )


@contextlib.contextmanager
def _in_float32(vae: nn.Module) -> Iterator[None]:
    """The VAE in float32 inside; outside again the same parameters with the same memory.

    Offloaded VAEs too: their hooks cast what they bring in to the parameters' dtype, and put other
    parameters in their place. Hooks of layerwise casting say themselves what they cast to.
    """
    casts = [hook for module in vae.modules() if (hook := _casting_hook(module)) is not None]
    computed = [hook.compute_dtype for hook in casts]
    was: list[tuple[Any, str, Tensor, Tensor]] = [
        (tensors, name, x, x.data)
        for module in vae.modules()
        for tensors in (module._parameters, module._buffers)
        for name, x in tensors.items()
        if x is not None
    ]
    try:
        for hook in casts:
            hook.compute_dtype = torch.float32
        nn.Module.to(vae, torch.float32)  # diffusers' own `to` would warn about precision
        yield
    finally:
        for hook, dtype in zip(casts, computed, strict=True):
            hook.compute_dtype = dtype
        for tensors, name, x, data in was:
            x.data = data
            tensors[name] = x


def _casting_hook(module: nn.Module) -> Any:
    """The hook by which diffusers casts a module's weights for as long as it runs; None without."""
    registry: Any = getattr(module, "_diffusers_hook", None)
    return None if registry is None else registry.get_hook("layerwise_casting")
