"""An IP-Adapter in small, with random weights, for a UNet laid out as Stable Diffusion's."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["load_adapter"]

_TOKENS, _WIDTH, _SIDE = 4, 16, 32


def load_adapter(pipe: Any, scale: float = 0.8) -> None:
    """Put an image encoder and an adapter into a pipeline, as `load_ip_adapter` does."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=_SIDE,
        patch_size=_SIDE // 2,
        projection_dim=_WIDTH,
    )
    side = {"height": _SIDE, "width": _SIDE}
    pipe.register_modules(
        image_encoder=CLIPVisionModelWithProjection(config).eval(),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size=side),
    )
    pipe.load_ip_adapter([_weights(pipe.unet)], subfolder=None, weight_name=[None])
    pipe.set_ip_adapter_scale(scale)


def _weights(unet: Any) -> dict[str, dict[str, torch.Tensor]]:
    """As the file of an adapter has them: keys of cross-attention layers are odd numbers."""
    width = unet.config.cross_attention_dim
    image = {
        "proj.weight": torch.randn(_TOKENS * width, _WIDTH) / 10,
        "proj.bias": torch.zeros(_TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    cross = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    layers = {}
    for number, name in enumerate(cross):
        inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * number + 1}.{part}.weight"] = torch.randn(inner, width) / 10
    return {"image_proj": image, "ip_adapter": layers}
