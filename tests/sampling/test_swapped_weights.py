"""Weights that are in place only while their module runs: the same numbers, or a clear error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import nn

from hdpainter_nb import Job, Sampler, load, watch
from hdpainter_nb.errors import ModelError
from hdpainter_nb.models import vae_memory
from hdpainter_nb.models.model import Model
from hdpainter_nb.utils.swapped_weights import is_patched, may_swap
from support.stock_runs import latents_of, run_stock

pytestmark = pytest.mark.diffusers

FLOAT8 = torch.float8_e4m3fn


def leaves(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if module._parameters]


def swap(network: nn.Module, away: Callable[[nn.Module], None]) -> None:
    """Every leaf gets its weights before it runs, and `away` takes them afterwards."""

    def hook(module: nn.Module) -> None:
        home = {name: p.data.clone() for name, p in module.named_parameters(recurse=False)}

        def bring(module: nn.Module, _: Any) -> None:
            for name, data in home.items():
                parameter = module._parameters[name]
                assert parameter is not None
                if parameter.device != data.device or parameter.dtype != data.dtype:
                    module._parameters[name] = nn.Parameter(data.clone())
                else:
                    parameter.data = data.clone()

        module.register_forward_pre_hook(bring)
        module.register_forward_hook(lambda module, *_: away(module))
        away(module)

    for leaf in leaves(network):
        hook(leaf)


def by_data(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], None]:
    def away(module: nn.Module) -> None:
        for parameter in module.parameters(recurse=False):
            parameter.data = change(parameter.data)

    return away


def by_object(module: nn.Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        module._parameters[name] = nn.Parameter(torch.zeros_like(parameter))


def in_place(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data.zero_()


def without_memory(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data.untyped_storage().resize_(0)


HARMLESS = {
    "8 bits": by_data(lambda data: data.to(FLOAT8)),
    "bfloat16": by_data(lambda data: data.bfloat16()),
    "zeros": by_data(torch.zeros_like),
    "others": by_data(lambda data: torch.full_like(data, torch.nan)),
    "another object": by_object,
}
JOBS: tuple[dict[str, Any], ...] = ({}, {"guidance": "vanilla"}, {"painta_input": "unnormalised"})


def own(model: Model) -> Any:
    """A pipeline like the model's, whose UNet is its own."""
    parts = {**model.pipe.components, "unet": copy.deepcopy(model.pipe.unet)}
    pipe = type(model.pipe)(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def painted(model: Model, job: Job) -> list[Any]:
    sampler = Sampler(model, job)
    sampler.run()
    return [*latents_of(sampler), *(torch.from_numpy(r.x0_latents) for r in sampler.records)]


def same(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    ("how", "settings"), [*((how, {}) for how in HARMLESS), *(("8 bits", job) for job in JOBS[1:])]
)
def test_a_gradient_goes_by_the_weights_that_were_used(
    model: Model, job: Job, how: str, settings: dict[str, Any]
) -> None:
    job = job.replace(steps=2, **settings)
    pipe = own(model)
    swap(pipe.unet, HARMLESS[how])
    same(painted(load(pipe), job), painted(load(own(model)), job))


@pytest.mark.parametrize("away", [in_place, without_memory])
def test_weights_that_are_written_over_say_so(
    model: Model, job: Job, away: Callable[[nn.Module], None]
) -> None:
    pipe = own(model)
    swap(pipe.unet, away)
    swapped = load(pipe)
    with pytest.raises(ModelError, match=r"written over.*use rasg=False"):
        Sampler(swapped, job).step()
    job = job.replace(steps=2, rasg=False)
    same(painted(swapped, job), painted(load(own(model)), job))


class Restless(nn.Conv2d):
    """A module of the user's own that leaves no weight behind, without any hook."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        home = self.weight.data
        self.weight.data = home.float()
        y = super().forward(x)
        self.weight.data = home
        return y


def test_a_module_of_ones_own_that_swaps(model: Model, job: Job) -> None:
    pipe = own(model)
    for module in pipe.unet.modules():
        if type(module) is nn.Conv2d:
            module.weight.data = module.weight.data.bfloat16()
            module.__class__ = Restless
    rounded = own(model)
    for module in rounded.unet.modules():
        if type(module) is nn.Conv2d:
            module.weight.data = module.weight.data.bfloat16().float()
    job = job.replace(steps=2)
    pipe.unet.register_buffer("first", torch.zeros(1))
    same(painted(load(pipe), job), painted(load(rounded), job))


def test_what_lets_no_gradient_through_says_so(model: Model, job: Job) -> None:
    pipe = own(model)
    real = pipe.unet.conv_in.forward

    def no_gradient(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = real(x)
            return y

    pipe.unet.conv_in.forward = no_gradient
    with pytest.raises(ModelError, match=r"does not come back.*rasg=False"):
        Sampler(load(pipe), job).step()


def layerwise(network: Any, compute: torch.dtype = torch.float32, storage: Any = FLOAT8) -> None:
    network.enable_layerwise_casting(storage_dtype=storage, compute_dtype=compute)


def group(level: str) -> Callable[[Any, Path], None]:
    def offload(network: Any, folder: Path) -> None:
        cpu = torch.device("cpu")
        more = {"num_blocks_per_group": 1} if level == "block_level" else {}
        if level == "disk":
            level_, more = "leaf_level", {"offload_to_disk_path": str(folder)}
        else:
            level_ = level
        network.enable_group_offload(cpu, cpu, offload_type=level_, **more)

    return offload


def rounded(network: Any) -> None:
    """The weights as layerwise casting leaves them: in 8 bits but for norms."""
    twin = copy.deepcopy(network)
    layerwise(twin)
    names = {name for name, p in twin.named_parameters() if p.dtype == FLOAT8}
    assert names
    for name, parameter in network.named_parameters():
        if name in names:
            parameter.data = parameter.data.to(FLOAT8).float()


# Older versions of diffusers have none of these.
CASTS = hasattr(diffusers.UNet2DConditionModel, "enable_layerwise_casting")
OFFLOADS = hasattr(diffusers.UNet2DConditionModel, "enable_group_offload")
WAYS: dict[str, Callable[[Any, Path], None]] = {}
if CASTS:
    WAYS["8 bits"] = lambda network, _: layerwise(network)
if OFFLOADS:
    WAYS |= {level: group(level) for level in ("leaf_level", "block_level", "disk")}


@pytest.mark.parametrize(
    ("way", "settings"), [*((way, {}) for way in WAYS), *((way, JOBS[2]) for way in WAYS)]
)
def test_diffusers_own_ways(
    model: Model, job: Job, way: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    job = job.replace(steps=2, **settings)
    pipe, plain = own(model), own(model)
    WAYS[way](pipe.unet, tmp_path)
    if way == "8 bits":
        rounded(plain.unet)
    for one, other in zip(painted(load(pipe), job), painted(load(plain), job), strict=True):
        # Weights from a file lie elsewhere in memory, where kernels may round otherwise.
        tolerance = 1e-3 if way == "disk" else 0
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("way", WAYS)
def test_plain_sampling_is_the_stock_pipelines(
    model: Model, job: Job, way: str, tmp_path: Path
) -> None:
    pipe = own(model)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, steps_offset=1, clip_sample=False
    )
    WAYS[way](pipe.unet, tmp_path)
    job = Job(
        job.image,
        job.mask,
        "a red star",
        preset="community",
        painta=False,
        rasg=False,
        steps=2,
        positive_suffix="",
        negative_prompt="blurry",
    )
    ours = Sampler(load(pipe), job)
    ours.run()
    stock, _ = run_stock(pipe, job)
    same(latents_of(ours), stock)
    with watch(pipe) as trace:
        watched, _ = run_stock(pipe, job)
    same(watched, stock)
    assert len(trace) == 2


@pytest.mark.parametrize("storage", [torch.bfloat16] if CASTS else [])
def test_a_vae_that_is_cast_and_overflows_decodes_in_float32(
    model: Model, storage: torch.dtype
) -> None:
    network = copy.deepcopy(model.pipe.vae)
    with torch.no_grad():
        network.decoder.conv_in.weight.mul_(1e5)  # fits into float16, what it makes does not
    layerwise(network, torch.float16, storage)
    was = [p.dtype for p in network.parameters()]
    x = torch.randn(1, 4, 8, 8)

    def work() -> torch.Tensor:
        weight = next(p for p in network.decoder.conv_in.parameters())
        dtype = torch.float32 if weight.dtype == torch.float32 else torch.float16
        return vae_memory.decoded(network, x.to(dtype), None)

    out = vae_memory._finite(network, work)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert [p.dtype for p in network.parameters()] == was
    assert network.dtype == torch.float16


def test_a_modules_own_method_in_its_place_is_no_patch() -> None:
    """Older versions of accelerate leave it there where they take their hooks out."""
    module = torch.nn.Linear(2, 2)
    module.forward = module.forward  # type: ignore[method-assign]
    assert not is_patched(module)
    assert not may_swap(module)
    module.forward = lambda x: x  # type: ignore[method-assign, assignment]
    assert is_patched(module)
    assert may_swap(module)
