"""One of GLIDE's networks from its file: `read_unet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hdpainter_nb.errors import ModelError
from hdpainter_nb.models.glide.config import GlideConfig
from hdpainter_nb.models.glide.unet import GlideUNet
from hdpainter_nb.models.weight_files import Shapes, tensor_shapes

__all__ = ["FILES", "SOURCE", "read_unet"]

FILES = {"base": "base_inpaint.pt", "upsampler": "upsample_inpaint.pt"}
"""Names of the published files."""
SOURCE = (
    "OpenAI publishes base_inpaint.pt and upsample_inpaint.pt under "
    "https://openaipublic.blob.core.windows.net/diffusion/dec-2021/ (MIT, code: "
    "github.com/openai/glide-text2im); its model card says that pictures of people, violent "
    "objects and some hate symbols were filtered from the training data, so it cannot paint people."
)
"""Where the weights come from, and what their card says."""


def read_unet(path: str | Path, config: GlideConfig) -> GlideUNet:
    """A network with the weights of a file, on the CPU in the file's precision.

    Tensors alone are read, so nothing in the file can run.

    Args:
        path: of a ``.pt`` file as `SOURCE` says, or of a ``.safetensors`` file with the same names.
        config: how the network is built.

    Raises:
        ModelError: there is no such file; it is damaged, holds more than tensors, or the weights
            of another network.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"There is no weights file {str(file)!r}. {SOURCE}")
    with torch.device("meta"):
        unet = GlideUNet(config)
    _check(tensor_shapes(file), unet, file)
    state = _read(file)
    kinds = {value.dtype for value in state.values()}
    if not kinds <= {torch.float32, torch.float16, torch.bfloat16}:
        raise ModelError(
            f"The weights in {str(file)!r} must be floating-point numbers of 16 or 32 bits, not "
            f"{', '.join(sorted(map(str, kinds)))}."
        )
    unet.load_state_dict(state, assign=True)
    if len(kinds) > 1:
        unet.float()  # of one kind, in which nothing of the others is lost
    return unet.eval().requires_grad_(False)


def _check(shapes: Shapes, unet: GlideUNet, file: Path) -> None:
    """See that a file holds this very network.

    Raises:
        ModelError: it does not; the message names a weight.
    """
    wanted = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    name, first = str(file), "input_blocks.0.0.weight"
    stage = unet.config.stage
    channels = shapes.get(first, (0, 0))[1:2]
    other = {3: "text-to-image", 6: "text-to-image upsampler", 7: "base", 10: "upsampler"}
    if channels and channels != wanted[first][1:2] and channels[0] in other:
        raise ModelError(
            f"{name!r} holds GLIDE's {other[channels[0]]} network with {channels[0]} input "
            f"channels; the {stage} network for inpainting has {wanted[first][1]} "
            f"({FILES[stage]})."
        )
    missing = [key for key in wanted if key not in shapes]
    further = [key for key in shapes if key not in wanted]
    if missing or further:
        what = f"lacks {missing[0]}" if missing else f"also holds {further[0]}"
        raise ModelError(
            f"{name!r} does not hold GLIDE's {stage} network: of its {len(wanted)} weights "
            f"{len(missing)} are missing, and {len(further)} others are there (it {what}). {SOURCE}"
        )
    for key, shape in wanted.items():
        if shapes[key] != shape:
            raise ModelError(
                f"{name!r} holds a network of another size: {key} has the shape {shapes[key]}, "
                f"and {shape} is needed. Give the GlideConfig that it was made with."
            )


def _read(file: Path) -> Mapping[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    state = torch.load(file, map_location="cpu", weights_only=True)
    while "state_dict" in state:  # as `tensor_shapes` has seen
        state = state["state_dict"]
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}
