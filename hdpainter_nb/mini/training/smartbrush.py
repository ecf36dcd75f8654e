"""SmartBrush's networks and losses (Xie et al., arXiv 2212.05034), for any 4- or 9-channel UNet."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

__all__ = ["dice_loss", "noised_inside", "prepared_unet"]


def prepared_unet(unet: UNet2DConditionModel, levels: int) -> UNet2DConditionModel:
    """The same UNet with what the recipe adds, which changes none of its outputs at first.

    In go the mask's precision, as a class embedding of zeros that joins the time embedding, and,
    where it had 4 channels, the mask and the masked picture's latents. Out comes a fifth channel:
    logits of the object's own mask.

    Args:
        unet: with 4 or 9 input channels and 4 output channels; or already prepared, to be
            trained further.
        levels: how many precisions there are.
    """
    # diffusers would take a setting that was not given for one to be left at its default
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    if config["out_channels"] == 5 and config["num_class_embeds"] == levels:
        return unet
    changed = {"in_channels": 9, "out_channels": 5, "num_class_embeds": levels}
    larger = UNet2DConditionModel.from_config({**config, **changed})
    weights = dict(unet.state_dict())
    for name, value in larger.state_dict().items():
        if name not in weights:
            weights[name] = torch.zeros_like(value)
        elif weights[name].shape != value.shape:
            grown = torch.zeros_like(value)
            rows, columns = weights[name].shape[0], weights[name].shape[1:2]
            grown[(slice(rows), *(slice(count) for count in columns))] = weights[name]
            weights[name] = grown
    larger.load_state_dict(weights)
    return larger


def noised_inside(clean: Tensor, noisy: Tensor, hole: Tensor) -> Tensor:
    """x_t = noisy m + x_0 (1 - m): noise in the hole alone.

    Latents are `(b, 4, h, w)`, the hole m is `(b, 1, h, w)`.
    """
    return noisy * hole + clean * (1 - hole)


def dice_loss(logits: Tensor, shape: Tensor, counted: Tensor) -> Tensor:
    """H(X, Y) = 1 - 2 |X and Y| / (|X| + |Y|), mean over the examples that count.

    Args:
        logits: `(b, 1, h, w)`, the fifth channel.
        shape: `(b, 1, h, w)`, what share of each place is the object's, 0 to 1.
        counted: `(b,)` bool; none: the loss is 0.
    """
    predicted = logits.float().sigmoid()
    common = (predicted * shape).sum((1, 2, 3))
    total = predicted.sum((1, 2, 3)) + shape.sum((1, 2, 3))
    each = 1 - 2 * common / total.clamp_min(1e-6)
    return (each * counted).sum() / counted.sum().clamp_min(1)
