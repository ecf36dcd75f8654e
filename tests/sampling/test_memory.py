"""Bytes counted, tiles, half precision, offloading, and what happens where memory runs out."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hdpainter_nb import Capture, Job, Sampler, UpscaleJob, Upscaler, load, load_upscaler
from hdpainter_nb.errors import HDPainterWarning, ModelError, OutOfMemoryError
from hdpainter_nb.models import vae, vae_memory
from hdpainter_nb.models.devices import check_offload, offload_mode, place
from hdpainter_nb.models.model import Model
from hdpainter_nb.models.vae_memory import OVERLAP, in_tiles, starts
from hdpainter_nb.painting import run_cost
from hdpainter_nb.sampling.cost import Estimate
from hdpainter_nb.sampling.watch import watch
from hdpainter_nb.trace.attention import Attention
from hdpainter_nb.trace.record import Record
from hdpainter_nb.upscale.model import UpscaleModel
from hdpainter_nb.utils.memory import (
    LiveBytes,
    SavedBytes,
    free_bytes,
    is_shortage,
    meta_twin,
    weight_bytes,
)
from hdpainter_nb.utils.swapped_weights import affine_of
from support import builders

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def upscaler_model(tmp_path_factory: pytest.TempPathFactory) -> UpscaleModel:
    folder = builders.make_upscaler_folder(tmp_path_factory.mktemp("x4") / "tiny")
    return load_upscaler(folder, device="cpu")


def make_job(side: int = 128, **settings: Any) -> Job:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return Job(image, mask, "a red star", steps=3, seed=3, long_side=side, **settings)


def make_larger(side: int = 256, **settings: Any) -> UpscaleJob:
    job = make_job(side)
    small = np.ascontiguousarray(job.image[::4, ::4])
    return UpscaleJob(small, job.image, job.mask, "a red star", steps=2, **settings)


# --- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_live_bytes_are_what_is_held(device: str) -> None:
    row = 4 * 100 * 100
    weights = torch.nn.Linear(100, 100, device=device).requires_grad_(False)
    x = torch.zeros(100, 100, device=device, requires_grad=True)
    with LiveBytes() as live:
        with torch.no_grad():
            y = weights(x)
            assert live.now == row
            z = y.view(-1)[10:]  # no memory of its own
            y.add_(1)
            assert live.now == live.peak == row
            del y
            assert live.now == row, "the view holds it"
            del z
            assert live.now == 0
        with SavedBytes(weights.parameters()) as saved:
            y = torch.nn.functional.silu(weights(x))
        assert live.now == 2 * row, "the graph keeps what silu was given"
        assert saved.total == row
        assert saved.weights == row
        (g,) = torch.autograd.grad(y.sum(), x)
        del y, saved
        gc.collect()
        assert live.now == row
        assert 3 * row <= live.peak <= 4 * row
    del g


def test_a_repeated_operation_is_worked_out_by_what_it_is_given() -> None:
    """On the meta device what came out before is used again, where nothing in it differs."""
    x = torch.empty(4, 6, device="meta")
    half = torch.empty(4, 6, device="meta", dtype=torch.float16)
    kernels = []
    with LiveBytes() as live:
        for _ in range(2):
            assert (x.t() + 1).stride() == (1, 6)
            assert (x + 1).stride() == (6, 1)
            assert (x.int() + 1).dtype == torch.int32
            assert (x.int() + 1.0).dtype == torch.float32
            assert (half + x).dtype == torch.float32
            assert (half + half).dtype == torch.float16
            assert x.sum(0).shape == (6,)
            assert x.sum(1, keepdim=True).shape == (4, 1)
            assert [part.shape[1] for part in torch.var_mean(x, 0, keepdim=True)] == [6, 6]
            assert (torch.zeros(2) + torch.ones(2)).tolist() == [1, 1]  # data is computed with
            assert x.add_(1) is x
            assert x[1:].stride() == (6, 1)  # a view is made anew, and computes nothing
            kernels.append(live.kernels)
        assert live.now == 0
    assert kernels == [15, 30]


@pytest.mark.parametrize(("side", "changes"), [(192, {}), (128, {"rasg": False})])
def test_the_counted_peaks_are_those_of_a_real_run(
    model: Model, side: int, changes: dict[str, bool]
) -> None:
    job, capture = make_job(side, **changes), Capture.standard()
    said = run_cost(model, job, capture)
    Sampler(model, job, capture).step()  # fits the preview
    real = {}
    with LiveBytes() as live:
        sampler = Sampler(model, job, capture)
    real["prepare"] = live.peak
    with LiveBytes() as live:
        sampler.step()
    real["step"] = live.peak
    with LiveBytes() as live:
        sampler.image()
    real["decode"] = live.peak
    assert said.weight_bytes == weight_bytes([model.unet, model.pipe.vae, model.pipe.text_encoder])
    for phase, peak in real.items():
        assert said.phases[phase] - said.weight_bytes == pytest.approx(peak, rel=0.1), phase
    assert said.peak_bytes == max(said.phases.values())
    assert sampler.estimate() == said, "known before or after the preparation"


def test_the_counted_peaks_of_the_upscaler(upscaler_model: UpscaleModel) -> None:
    job, capture = make_larger(512), Capture.nothing()
    Upscaler(upscaler_model, job, capture).step()  # fits the preview
    decode = {}
    with LiveBytes() as live:
        upscaler = Upscaler(upscaler_model, job, capture)
        live.peak = live.now
        upscaler.step()
        step = live.peak
        for exact in (True, False):
            live.peak = live.now
            upscaler.image(exact=exact)
            decode[exact] = live.peak
    for exact in (True, False):
        said = run_cost(upscaler_model, job, capture, exact=exact)
        assert said.phases["step"] - said.weight_bytes == pytest.approx(step, rel=0.1)
        assert said.phases["decode"] - said.weight_bytes == pytest.approx(decode[exact], rel=0.1)
        assert said.tile == (None if exact else 256)
    half = upscaler.estimate(dtype=torch.float16, exact=False)
    assert half.weight_bytes == pytest.approx(said.weight_bytes / 2, rel=0.01)
    assert half.dtype == "float16"
    assert "peak of decode" in half._repr_html_()
    assert "in tiles of 256 px" in half._repr_html_()
    assert "peak" in str(half)


def test_bytes_of_weights_do_not_need_them(model: Model) -> None:
    twin = meta_twin(model.unet, torch.float32)
    assert weight_bytes([twin]) == weight_bytes([model.unet])
    assert weight_bytes([twin], torch.float16) == weight_bytes([model.unet]) / 2
    assert next(twin.parameters()).is_meta


# --- tiles ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(length=st.integers(1, 4000), tile=st.integers(4, 700))
def test_tiles_cover_evenly_without_slivers(length: int, tile: int) -> None:
    begins = starts(length, tile)
    if length <= tile:
        assert begins == [0]
        return
    assert begins[0] == 0
    assert begins[-1] + tile == length
    gaps = np.diff(begins)
    assert gaps.min() > 0
    assert gaps.max() - gaps.min() <= 1
    assert gaps.max() <= tile - int(tile * OVERLAP)
    fewer = len(begins) - 2
    assert fewer * (tile - int(tile * OVERLAP)) < length - tile, "one less would not do"


@pytest.mark.parametrize(("size", "tile"), [((37, 91), 16), ((8, 200), 32), ((50, 50), 64)])
def test_what_works_on_each_position_alone_shows_no_tiles(size: Any, tile: int) -> None:
    x = torch.randn(1, 3, *size)
    torch.testing.assert_close(in_tiles(lambda t: 2 * t, x, tile), 2 * x)
    up = in_tiles(lambda t: t.repeat_interleave(4, 2).repeat_interleave(4, 3), x, tile, up=4)
    torch.testing.assert_close(up, x.repeat_interleave(4, 2).repeat_interleave(4, 3))
    small = torch.nn.functional.avg_pool2d(up, 4)
    torch.testing.assert_close(
        in_tiles(lambda t: torch.nn.functional.avg_pool2d(t, 4), up, 4 * tile, down=4), small
    )


@pytest.mark.parametrize("how", ["mean", "sample"])
def test_pictures_in_tiles_are_nearly_the_whole(how: str) -> None:
    parts = load("mini", device="cpu").stock_pipeline()
    network = parts.vae
    was = {name: getattr(network, name) for name in vars(network) if "til" in name}
    y, x = torch.meshgrid(torch.arange(128) / 30, torch.arange(320) / 30, indexing="ij")
    picture = 0.7 * torch.stack([x.sin(), (x + y).cos(), y.sin()])[None]

    def encode(tile: int | None) -> torch.Tensor:
        rng = torch.Generator().manual_seed(5)
        return vae.encode(parts, picture, how, rng, tile=tile)

    whole, tiles = encode(None), encode(128)
    assert tiles.shape == whole.shape == (1, 4, 16, 40)
    assert 0 < (tiles - whole).abs().mean() < 0.06 * whole.std()
    one, many = (vae.decode(parts, whole, tile=side).astype(float) for side in (None, 128))
    assert one.shape == (128, 320, 3)
    assert 0 < np.abs(one - many).mean() < 2, "of 255"
    assert {name: getattr(network, name) for name in was} == was


@pytest.fixture(scope="module")
def needs(model: Model) -> dict[int | None, int]:
    """Peaks of decoding 512 x 512 px, by the side of its tiles."""
    network = model.pipe.vae
    found = {
        side: vae_memory.peak(network, "decode", (512, 512), side) for side in (None, 256, 128)
    }
    assert found[None] > found[256] > found[128]
    return found


@pytest.mark.parametrize("exact", [True, False])
def test_tiles_are_chosen_beforehand_where_the_free_memory_is_short(
    model: Model, monkeypatch: pytest.MonkeyPatch, needs: dict[int | None, int], exact: bool
) -> None:
    cond, state = model.prepare(make_job(512))
    network, ran = model.pipe.vae, []
    real = type(network).decode

    def watch(self: Any, z: torch.Tensor, **kwargs: Any) -> Any:
        ran.append(8 * max(z.shape[-2:]))
        return real(self, z, **kwargs)

    monkeypatch.setattr(type(network), "decode", watch)
    for side, need in needs.items():
        monkeypatch.setattr(vae_memory, "free_bytes", lambda _, need=need: 1.16 * need)
        ran.clear()
        shown = contextlib.nullcontext()
        if exact and side is not None:
            shown = pytest.warns(HDPainterWarning, match=rf"decoded in tiles of {side} px")
        with shown:
            picture = model.decode(state.latents, cond, exact=exact)
        assert picture.shape == (512, 512, 3)
        assert max(ran) == ((side or 512) if exact else 128)


def test_preparing_and_estimating_choose_tiles_too(
    model: Model, monkeypatch: pytest.MonkeyPatch, needs: dict[int | None, int]
) -> None:
    monkeypatch.setattr(vae_memory, "free_bytes", lambda _: needs[256])
    with pytest.warns(HDPainterWarning, match="encoded in tiles"):
        model.prepare(make_job(512))
    assert run_cost(model, make_job(512)).tile == 128


def test_a_shortage_midway_takes_smaller_tiles(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    cond, state = model.prepare(make_job(512))
    real, held = type(model.pipe.vae).decode, []

    def short(self: Any, z: torch.Tensor, **kwargs: Any) -> Any:
        if z.shape[-1] > 16:
            large = torch.zeros(1000)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        assert all(ref() is None for ref in held), "the failed attempt has let go"
        return real(self, z, **kwargs)

    monkeypatch.setattr(type(model.pipe.vae), "decode", short)
    with pytest.warns(HDPainterWarning, match="decoded in tiles of 128 px"):
        assert model.decode(state.latents, cond).shape == (512, 512, 3)
    assert len(held) == 2  # whole, and tiles of 256 px
    monkeypatch.setattr(type(model.pipe.vae), "decode", lambda *_, **__: _out_of_memory())
    with pytest.raises(OutOfMemoryError, match="main memory does not suffice for decoding at 512x"):
        model.decode(state.latents, cond)


def _out_of_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


# --- half precision ------------------------------------------------------------------------------


def overflowing(network: Any) -> None:
    """Weights under which activations leave float16, but not float32."""
    with torch.no_grad():
        network.decoder.conv_in.weight.mul_(3e5)


@pytest.mark.parametrize("offload", [None, "model", "sequential"])
def test_a_vae_that_overflows_is_left_as_it_was(offload: str | None) -> None:
    from accelerate import cpu_offload, cpu_offload_with_hook
    from diffusers.image_processor import VaeImageProcessor

    torch.manual_seed(0)
    network = builders.make_vae(64)
    overflowing(network)
    parts = SimpleNamespace(
        vae=network,
        _execution_device=torch.device("cpu"),
        image_processor=VaeImageProcessor(),
    )
    latents = torch.randn(1, 4, 8, 8)
    exact = vae.decode(parts, latents)
    network.half()
    if offload == "sequential":
        cpu_offload(network, torch.device("cpu"))
    elif offload == "model":
        cpu_offload_with_hook(network, torch.device("cpu"))
    with torch.no_grad():
        assert not network.decode(latents.half()).sample.isfinite().all()
    before = {name: (id(p), p.data_ptr(), p.dtype) for name, p in network.named_parameters()}
    seen = vae.decode(parts, latents.half())
    assert np.abs(seen.astype(int) - exact).mean() < 2
    after = {n: (id(p), p.data_ptr(), p.dtype) for n, p in network.named_parameters()}
    if offload == "sequential":  # its hooks put new parameters without memory in place each time
        assert {n: kept[1:] for n, kept in after.items()} == {n: b[1:] for n, b in before.items()}
        assert all(p.is_meta for p in network.parameters())
    else:
        assert after == before
    assert network.dtype == torch.float16
    again = vae.decode(parts, latents.half(), float32=True)
    np.testing.assert_array_equal(seen, again)


def test_the_upscaler_decodes_in_float32_as_the_stock_pipeline_does(tmp_path: Path) -> None:
    model = load_upscaler(builders.make_upscaler_folder(tmp_path / "x"), dtype="float16")
    assert model.upcasts(torch.float16)
    assert not model.upcasts(torch.float32)
    ran = []
    network = model.pipe.vae
    hook = network.decoder.register_forward_pre_hook(lambda _, args: ran.append(args[0].dtype))
    model.decode(torch.zeros(1, 4, 16, 16))
    network.register_to_config(force_upcast=False)
    model.decode(torch.zeros(1, 4, 16, 16))
    hook.remove()
    assert ran == [torch.float32, torch.float16]
    assert network.dtype == torch.float16


# --- offloading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A run with nothing offloaded."""

    record: Record
    picture: np.ndarray
    cost: Estimate


@pytest.fixture(scope="module")
def plain(folders: dict[str, str]) -> Plain:
    job = make_job()
    sampler = Sampler(load(folders["sd15"], device="cpu"), job)
    return Plain(sampler.run(2), sampler.image(), run_cost(sampler.model, job))


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_hooks_work_on_an_offloaded_pipeline(
    folders: dict[str, str], plain: Plain, how: str
) -> None:
    """Hooks of accelerate stay, the weights go back, and the numbers are the same."""
    from accelerate import cpu_offload, cpu_offload_with_hook

    job, expected = make_job(), plain.record
    away = load(folders["sd15"], device="cpu")
    device, hook = torch.device("cpu"), None
    for name in away.pipe.model_cpu_offload_seq.split("->"):
        part = getattr(away.pipe, name, None)
        if isinstance(part, torch.nn.Module) and how == "sequential":
            cpu_offload(part, device)
        elif isinstance(part, torch.nn.Module):
            _, hook = cpu_offload_with_hook(part, device, prev_module_hook=hook)
    assert offload_mode(away.pipe) == how
    assert f"offloaded ({how})" in repr(away)
    unet = away.unet
    hooks = {n: m._hf_hook for n, m in unet.named_modules() if hasattr(m, "_hf_hook")}
    processors = dict(unet.attn_processors)
    learns = {n: p.requires_grad for n, p in unet.named_parameters()}
    assert any(learns.values())

    sampler = Sampler(away, job)
    record = sampler.run(2)
    np.testing.assert_array_equal(record.x0_latents, expected.x0_latents)
    np.testing.assert_array_equal(sampler.image(), plain.picture)
    assert record.grad is not None
    assert expected.grad is not None
    assert record.grad.std == expected.grad.std
    after = {n: m._hf_hook for n, m in unet.named_modules() if hasattr(m, "_hf_hook")}
    assert after.keys() == hooks.keys()
    assert all(after[name] is one for name, one in hooks.items())
    assert all(unet.attn_processors[name] is one for name, one in processors.items())
    assert learns == {n: p.requires_grad for n, p in unet.named_parameters()}
    assert next(unet.parameters()).is_meta == (how == "sequential")

    said = run_cost(away, job)
    assert said.weight_bytes == 0 < plain.cost.weight_bytes
    assert said.peak_bytes < plain.cost.peak_bytes


def test_a_weight_can_be_read_where_it_is_offloaded() -> None:
    from accelerate import cpu_offload

    norm = torch.nn.LayerNorm(4)
    torch.nn.init.normal_(norm.weight)
    weight = norm.weight.detach().clone()
    x = torch.randn(1, 2, 4)
    assert affine_of(norm, x)[0] is norm.weight
    outer = cpu_offload(torch.nn.Sequential(norm), torch.device("cpu"))
    assert outer[0].weight.is_meta
    assert torch.equal(affine_of(outer[0], x)[0], weight)


def test_offloading_is_the_pipelines_own(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload", "to"):
        monkeypatch.setattr(
            "diffusers.StableDiffusionInpaintPipeline." + name,
            lambda self, *args, name=name, **kw: asked.append((name, *args, *kw.values())),
        )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda = torch.device("cuda")
    model = load(folders["sd15"], device="cuda", dtype="float32", offload="model")
    load(model.pipe, device="cuda", offload="sequential")
    load(folders["sd15"], device="cuda", dtype="float32")
    assert [call for call in asked if call[1:] == (cuda,)] == [
        ("enable_model_cpu_offload", cuda),
        ("enable_sequential_cpu_offload", cuda),
        ("to", cuda),
    ]


def test_offloading_says_what_it_needs(folders: dict[str, str]) -> None:
    from accelerate import cpu_offload

    with pytest.raises(
        ModelError, match="offload must be one of 'model', 'sequential' or None, not"
    ):
        load(folders["sd15"], offload="all")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"computes on a GPU.*leave offload= out"):
        load(folders["sd15"], device="cpu", offload="model")
    pipe = load(folders["sd15"], device="cpu").pipe
    place(pipe, None, torch.device("cpu"))
    cpu_offload(pipe.unet, torch.device("cpu"))
    with pytest.raises(ModelError, match=r"offloaded already.*remove_all_hooks\(\)"):
        check_offload("model", torch.device("cuda"), pipe)


# --- out of memory -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_shortage_in_a_step_is_one_sentence_and_the_sampler_goes_on(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = load(folders["sd15"], device="cpu")
    sampler = Sampler(model, make_job(), Capture.nothing())
    first = sampler.step()
    unet, held = model.unet, []
    processors = dict(unet.attn_processors)
    learns = [p.requires_grad for p in unet.parameters()]
    block = unet.mid_block.attentions[0]

    def fail(*_: Any) -> None:
        large = torch.zeros(1000)
        held.append(weakref.ref(large))
        raise error

    hook = block.register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemoryError) as caught:
        sampler.step()
    message = str(caught.value)
    assert message.startswith("The main memory does not suffice for a step at 128x128 px: use")
    assert "rasg=False or long_side=64" in message
    assert "nothing has moved" in message
    assert caught.value.__notes__ == [str(error) or "MemoryError"]
    assert held[0]() is None, "what the failed call held is gone, though the error is kept"
    hook.remove()

    assert sampler.index == 1
    assert all(unet.attn_processors[name] is one for name, one in processors.items())
    assert learns == [p.requires_grad for p in unet.parameters()]
    assert not unet.mid_block._forward_pre_hooks
    assert torch.is_grad_enabled()
    second = sampler.step()
    straight = Sampler(model, make_job(), Capture.nothing())
    np.testing.assert_array_equal(straight.step().x0_latents, first.x0_latents)
    np.testing.assert_array_equal(straight.step().x0_latents, second.x0_latents)


def test_a_shortage_is_one_sentence_wherever_a_network_is_called(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Besides steps, encoding and decoding: what is asked of a run afterwards, and previews."""
    model = load(folders["sd15"], device="cpu")
    sampler = Sampler(model, make_job(), Capture.nothing(queries="cross"))
    record = sampler.step()
    asked = Attention.of(record)
    with monkeypatch.context() as patched:
        patched.setattr(model.unet, "forward", _out_of_memory)
        with pytest.raises(OutOfMemoryError, match="for attention at 128x128 px: use long_side=64"):
            sampler.attention()
    with monkeypatch.context() as patched:
        patched.setattr(model.pipe.text_encoder, "forward", _out_of_memory)
        with pytest.raises(OutOfMemoryError, match="for reading a prompt: use less"):
            asked.words("a ring", model=model)
    fresh = load(folders["sd15"], device="cpu")
    larger = load_upscaler(builders.make_upscaler_folder(tmp_path / "x4"), device="cpu")
    for other in (fresh, larger):
        monkeypatch.setattr(other.pipe.vae, "encode", _out_of_memory)
        with pytest.raises(OutOfMemoryError, match="for encoding at 256x256 px"):
            other.preview(torch.zeros(1, 4, 16, 16))
    with pytest.raises(OutOfMemoryError, match="256x256 px, to which previews are fitted"):
        watch(fresh.pipe).__enter__()
    sampler.attention()  # nothing is left behind
    assert len(asked.words("a ring", model=model).words) > 0


def test_remedies_already_in_use_are_not_named(
    upscaler_model: UpscaleModel, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(upscaler_model, make_larger())
    monkeypatch.setattr(type(upscaler_model.unet), "forward", _out_of_memory)
    with pytest.raises(OutOfMemoryError, match="a step at 256x256 px: use a smaller picture; no"):
        upscaler.step()
    quiet = Sampler(model, make_job(rasg=False))
    # an older accelerate leaves the bound method on the instance, where the class no longer matters
    monkeypatch.setattr(model.unet, "forward", _out_of_memory)
    with pytest.raises(OutOfMemoryError, match="px: use long_side=64; nothing"):
        quiet.step()
    monkeypatch.setattr(Model, "device", torch.device("cuda:0"))
    with pytest.raises(OutOfMemoryError) as caught:
        quiet.run()
    assert "The memory of cuda:0 does not" in str(caught.value)
    remedies = "use long_side=64, load(..., dtype='float16') or load(..., offload='model')"
    assert remedies in str(caught.value)


def test_other_errors_stay_what_they_are(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_shortage(RuntimeError("shapes cannot be multiplied"))
    assert not is_shortage(ValueError("out of memory"))
    sampler = Sampler(model, make_job())

    def wrong(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(model.unet, "forward", wrong)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        sampler.step()


def test_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)
    assert free_bytes(torch.device("cuda:0")) == 1200
