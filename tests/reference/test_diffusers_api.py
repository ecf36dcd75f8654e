"""The parts of diffusers that the library stands on: a release that moves one is noticed."""

from __future__ import annotations

import inspect

import pytest
import torch

from hdpainter_nb.errors import ModelError

pytestmark = pytest.mark.diffusers

BLOCKS = (32, 64)


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    """A UNet of the Stable Diffusion family, as small as they get."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        block_out_channels=BLOCKS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    ).eval()


def predict(unet: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 9, 8, 8, generator=generator)
    context = torch.randn(1, 5, 16, generator=generator)
    with torch.no_grad():
        return unet(latents, 500, encoder_hidden_states=context).sample


def test_a_subclassed_processor_is_called_and_changes_nothing(unet: torch.nn.Module) -> None:
    from diffusers.models.attention_processor import Attention, AttnProcessor2_0

    calls = []

    class Watching(AttnProcessor2_0):
        def __call__(self, attn, hidden_states, *args, **kwargs):
            calls.append((attn, hidden_states.shape))
            return super().__call__(attn, hidden_states, *args, **kwargs)

    plain = predict(unet)
    layers = [module for module in unet.modules() if isinstance(module, Attention)]
    before = [layer.processor for layer in layers]
    assert before
    assert {type(processor) for processor in before} == {AttnProcessor2_0}
    for layer in layers:
        layer.set_processor(Watching())
    watched = predict(unet)
    for layer, processor in zip(layers, before, strict=True):
        layer.set_processor(processor)
    assert {id(attn) for attn, _ in calls} == {id(layer) for layer in layers}
    assert all(len(shape) == 3 for _, shape in calls)  # (batch, positions, channels)
    assert torch.equal(plain, watched)


def test_a_block_hands_its_input_and_context_to_a_hook(unet: torch.nn.Module) -> None:
    from diffusers.models.attention import BasicTransformerBlock

    seen = []
    handles = [
        module.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
        )
        for module in unet.modules()
        if isinstance(module, BasicTransformerBlock)
    ]
    predict(unet)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(handles) > 0
    for (hidden,), kwargs in seen:
        assert hidden.ndim == 3  # (batch, positions, channels)
        assert hidden.shape[-1] in BLOCKS
        assert kwargs["encoder_hidden_states"].shape == (1, 5, 16)


def test_an_attention_layer_has_the_parts_we_use(unet: torch.nn.Module) -> None:
    from diffusers.models.attention_processor import Attention

    for layer in (module for module in unet.modules() if isinstance(module, Attention)):
        assert layer.heads * (layer.to_q.out_features // layer.heads) == layer.to_q.out_features
        for part in (layer.to_q, layer.to_k, layer.to_v, layer.to_out[0]):
            assert isinstance(part, torch.nn.Linear)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("encode_prompt", {"prompt", "device", "do_classifier_free_guidance", "negative_prompt"}),
        ("prepare_latents", {"image", "timestep", "is_strength_max", "return_image_latents"}),
        ("prepare_mask_latents", {"mask", "masked_image", "do_classifier_free_guidance"}),
        ("from_single_file", {"kwargs"}),
    ],
)
def test_the_pipeline_has_the_methods_we_build_on(method: str, names: set[str]) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    function = getattr(StableDiffusionInpaintPipeline, method)
    assert names <= set(inspect.signature(function).parameters)


def test_single_files_are_known_by_their_tensors_and_addresses() -> None:
    from diffusers.loaders.single_file_utils import VALID_URL_PREFIXES

    from hdpainter_nb.models.single_file import default_config, repository_of_url

    usual = default_config({"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)})
    assert usual.split("/")[1] == "stable-diffusion-inpainting"
    address = f"{VALID_URL_PREFIXES[0]}owner/name/blob/main/deep/model.safetensors"
    assert repository_of_url(address) == ("owner/name", "deep/model.safetensors")
    with pytest.raises(ModelError, match="no address of a file"):
        repository_of_url("elsewhere")
