"""ControlNet (arXiv 2302.05543): a picture of edges, depth or the like that the UNet follows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray
from torch import Tensor, nn

from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.images.control import inpaint_control
from hdpainter_nb.images.fit import Frame
from hdpainter_nb.job import Job
from hdpainter_nb.models.model_folder import check_network_config, check_network_folder
from hdpainter_nb.models.weight_files import check_whole, chosen_files, warn_pickled
from hdpainter_nb.utils.messages import warn_user

__all__ = ["Control", "control_of", "open_control", "usable"]


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet, the picture that it reads, and how much it has to say."""

    network: nn.Module
    image: Tensor  # (1, 3, H, W), 0 .. 1, or -1 in the hole for networks that are told it so
    scale: float

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same with its picture there and in this precision; the network stays as it is."""
        return replace(self, image=self.image.to(device, dtype))

    def residuals(
        self, x: Tensor, timestep: float, context: Tensor, images: Tensor
    ) -> dict[str, Any]:
        """What the UNet adds to its skip connections and in its middle, as its arguments.

        Args:
            x: (n, 4, h, w), the latents as the UNet takes them.
            timestep: t, in training steps.
            context: (n, L, d).
            images: (n, 3, H, W), the picture of every row.
        """
        down, mid = self.network(
            x,
            timestep,
            encoder_hidden_states=context,
            controlnet_cond=images,
            conditioning_scale=self.scale,
            return_dict=False,
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}


def usable(network: Any) -> bool:
    """Whether this is one ordinary ControlNet, not several and no adapter of another kind."""
    from diffusers import ControlNetModel

    return isinstance(network, ControlNetModel)


def open_control(
    source: Any, pipe: Any, name: str, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """Load a ControlNet for a model, or take it as it is.

    Args:
        source: a hub id, a folder, or a `diffusers.ControlNetModel`.
        pipe: the pipeline of the model that it shall lead.
        name: the model's, for messages.
        device, dtype: where to, and in which precision, to load.

    Raises:
        ModelError: it cannot be loaded, or belongs to another model.
    """
    network = source
    if isinstance(source, str | os.PathLike):
        try:
            network = _open(os.fspath(source))
        except ModelError:
            raise
        except Exception as error:  # as varied as loaders of models are
            line = (str(error).strip().splitlines() or [""])[0][:200]
            raise ModelError(
                f"The ControlNet {os.fspath(source)!r} cannot be loaded: check its name or folder "
                f"and the network. ({type(error).__name__}: {line})"
            ) from error
        nn.Module.to(network, device=device, dtype=dtype)
        network.eval()
    if not usable(network):
        raise ModelError(
            f"controlnet= takes a hub id, a folder or one ControlNetModel, not this "
            f"{type(network).__name__}."
        )
    fits = network.config.cross_attention_dim == pipe.unet.config.cross_attention_dim
    if not fits or "text_encoder_2" in pipe.components:
        raise ModelError(
            f"This ControlNet was not made for {name!r}. What works: a ControlNet of Stable "
            "Diffusion 1.x on a model of 1.x, or of 2.x on one of 2.x; none on SDXL."
        )
    return network


def _open(name: str) -> nn.Module:
    """Load one from a folder or from the hub, once its configuration is checked."""
    from diffusers import ControlNetModel

    folder = Path(name).expanduser()
    if folder.is_dir():
        variant = check_network_folder(folder, "controlnet", name)
        network = ControlNetModel.from_pretrained(str(folder), variant=variant)
    else:
        folder = Path(hf_hub_download(name, "config.json")).parent
        check_network_config(folder, "controlnet")
        network = ControlNetModel.from_pretrained(name, revision=folder.name)
        warn_pickled(chosen_files(folder, None), name)
    check_whole({"controlnet": network}, name)
    return network


def control_of(job: Job, frame: Frame, network: Any, name: str) -> Control | None:
    """What of a job is ControlNet's; its picture fitted to the frame, on the CPU in float32.

    A picture of levels is scaled like the job's own; one of floats to the nearest pixel, as
    diffusers scales tensors; one made of the hole is made again, of what the frame holds.

    Args:
        frame: of the job's own picture.
        network: the model's ControlNet, if it has one.
        name: the model's, for messages.

    Raises:
        ModelError: the job has a control picture, and the model no ControlNet.

    Warns:
        HDPainterWarning: the model has a ControlNet, and the job no picture for it.
    """
    scale = job.settings.control_scale
    if job.control is None or scale is None:
        if network is not None and job.control is None:
            warn_user(
                f"The ControlNet of {name!r} is not used: give the Job its picture by control=.",
                HDPainterWarning,
            )
        return None
    if network is None:
        raise ModelError(
            f"The job has a control picture, but {name!r} has no ControlNet: load one with "
            "load(..., controlnet=...)."
        )
    return Control(network, torch.from_numpy(_fitted(job, frame)).permute(2, 0, 1)[None], scale)


def _fitted(job: Job, frame: Frame) -> NDArray[np.float32]:
    """(H, W, 3): a job's control picture in its frame."""
    control = job.control
    assert control is not None
    if job.follows_its_hole:
        hole = frame.fit_mask(job.mask_levels, job.settings.soft_mask)
        return inpaint_control(frame.fit_image(job.image), hole)
    if control.dtype == np.uint8:
        return frame.fit_image(control.astype(np.uint8)).astype(np.float32) / np.float32(255)
    return frame.fit_values(control.astype(np.float32))
