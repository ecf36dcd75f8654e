"""A control picture, what a ControlNet follows: read from a user, or made from a hole."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdpainter_nb.errors import ImageError
from hdpainter_nb.images.read import read_image

__all__ = ["HOLE", "Guide", "inpaint_control", "read_control"]

Guide = NDArray[np.uint8] | NDArray[np.float32]
"""(H, W, 3): uint8 stands for 0 .. 1, float32 is given to the ControlNet as it is."""
HOLE = -1.0
"""What marks a pixel to be filled, for a ControlNet that was trained to fill holes."""


def read_control(control: Any) -> Guide:
    """A control picture as (H, W, 3), a copy of what was given.

    Args:
        control: floats, taken as they are: NumPy array (H, W), (H, W, 1) or (H, W, 3), or torch
            tensor (3, H, W) or (1, 3, H, W), in -1 .. 1. Or anything else that `read_image` takes,
            whose levels are divided by 255.

    Returns:
        float32 of floats, uint8 of all else.

    Raises:
        ImageError: floats that are not finite or beyond -1 .. 1, an array of another shape, or
            what `read_image` refuses.
    """
    values = _floats(control)
    if values is None:
        return read_image(control)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        raise ImageError(
            f"A control picture of floats is (H, W, 3) or, as a tensor, (3, H, W), not "
            f"{tuple(control.shape)}."
        )
    low, high = float(values.min()), float(values.max())
    if not (-1 <= low <= high <= 1):  # nor NaN
        raise ImageError(
            f"A control picture of floats is taken as it is and must lie within -1 .. 1; this one "
            f"holds values from {low:.4g} to {high:.4g}. Divide by 255, or pass uint8."
        )
    return np.array(np.broadcast_to(values, (*values.shape[:2], 3)), np.float32, order="C")


def inpaint_control(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What a ControlNet for filling holes follows: the picture in 0 .. 1, -1 where to fill.

    As the model card of ``lllyasviel/control_v11p_sd15_inpaint`` has it.

    Args:
        image: (H, W, 3).
        mask: (H, W), True where to fill.

    Returns:
        (H, W, 3).
    """
    values = image.astype(np.float32) / np.float32(255)
    values[mask] = HOLE
    return values


def _floats(control: Any) -> NDArray[Any] | None:
    """The numbers of an array or a tensor of floats, channels last; None of all else."""
    if isinstance(control, np.ndarray) and not isinstance(control, np.ma.MaskedArray):
        return np.asarray(control) if control.dtype.kind == "f" else None
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(control, torch.Tensor) or not control.is_floating_point():
        return None
    if control.is_nested or control.is_sparse or control.is_meta:
        return None  # refused like any picture
    plain = control.detach().float().cpu()
    return np.asarray(plain.movedim(-3, -1) if plain.ndim >= 3 else plain)
