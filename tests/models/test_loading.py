"""Every kind of source through the real loading code, and each way in which it can go wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.job import Job
from hdpainter_nb.models.defaults import ModelDefaults, read_defaults
from hdpainter_nb.models.devices import pick_device, pick_dtype
from hdpainter_nb.models.families import INPAINTING
from hdpainter_nb.models.loading import ALIASES, load
from hdpainter_nb.models.model import Model
from hdpainter_nb.sampling.sampler import Sampler
from support import builders

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: builders.make_folder(root / kind, kind) for kind in ("sd15", "sd2-v", "sd15-4ch")}


@pytest.fixture
def pipe(folders: dict[str, Path]) -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline.from_pretrained(folders["sd15"])


# --- what loads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "prediction", "channels"),
    [
        ("sd15", "epsilon", "inpaint"),
        ("sd2-v", "v_prediction", "inpaint"),
        ("sd15-4ch", "epsilon", "blended"),
    ],
)
def test_a_folder_loads(folders, kind: str, prediction: str, channels: str) -> None:
    model = load(folders[kind], device="cpu")
    assert (model.prediction_type, model.kind, model.name) == (prediction, channels, kind)
    assert model.native_size == 128
    assert model.dtype == torch.float32
    assert model.device.type == "cpu"
    assert model.pipe.safety_checker is None
    assert model.guidance_scale == 7.5


def test_the_safety_checker_is_not_loaded(folders, tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "m")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert load(folder).pipe.safety_checker is None


def test_dtype_and_device_are_overridable(folders) -> None:
    model = load(str(folders["sd15"]), device=torch.device("cpu"), dtype="bf16")
    assert model.dtype == model.pipe.vae.dtype == model.pipe.text_encoder.dtype == torch.bfloat16


def test_a_single_file_loads_with_a_local_config(folders, tmp_path: Path) -> None:
    path = builders.make_checkpoint(tmp_path / "one.safetensors", folders["sd15"])
    config = shutil.copytree(
        folders["sd15"], tmp_path / "config", ignore=shutil.ignore_patterns("*.safetensors")
    )
    one = load(path, config=str(config), device="cpu")
    other = load(folders["sd15"], device="cpu")
    assert one.name == "one"
    for part in ("unet", "vae", "text_encoder"):
        mine, theirs = (getattr(m.pipe, part).state_dict() for m in (one, other))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine), part


@pytest.mark.parametrize("name", [name for name in ALIASES if name not in INPAINTING.bundled])
def test_aliases_ask_the_hub_for_their_id(folders, monkeypatch, name: str) -> None:
    from diffusers import StableDiffusionInpaintPipeline as Pipeline

    from hdpainter_nb.models import loading

    asked = []

    def file(place: str, file: str, **options: Any) -> str:
        asked.append((place, file, options))
        return str(folders["sd15"] / file)

    def download(place: str, **options: Any) -> Path:
        asked.append((place, options["safety_checker"], options["revision"]))
        return folders["sd15"]

    monkeypatch.setattr(loading, "hf_hub_download", file)
    monkeypatch.setattr(Pipeline, "download", download)
    model = load(name, device="cpu", revision="main")
    assert (model.name, model.pipe.name_or_path) == (name, ALIASES[name])
    assert asked == [  # the very commit whose index was looked at
        (ALIASES[name], "model_index.json", {"revision": "main"}),
        (ALIASES[name], None, "sd15"),
    ]
    assert "/" in ALIASES[name]


def test_the_miniature_is_bundled() -> None:
    try:
        model = load("mini", device="cpu")
    except ModelError as error:
        pytest.skip(str(error))
    assert (model.name, model.kind, model.native_size) == ("mini", "inpaint", 256)
    assert model.positive_suffix == model.negative_prompt == ""


# --- a ready pipeline ----------------------------------------------------------------------------


def test_a_pipeline_is_taken_as_it_is(pipe: Any) -> None:
    pipe.to(torch.bfloat16)
    parts, scheduler = dict(pipe.components), dict(pipe.scheduler.config)
    model = load(pipe)
    assert model.pipe is pipe
    assert model.unet is pipe.unet
    assert model.dtype == torch.bfloat16
    model.stock_pipeline()
    assert all(pipe.components[name] is part for name, part in parts.items())
    assert dict(pipe.scheduler.config) == scheduler


def test_a_pipeline_moves_only_where_asked(pipe: Any) -> None:
    assert load(pipe, dtype=torch.bfloat16).pipe.vae.dtype == torch.bfloat16
    assert load(pipe).dtype == torch.bfloat16
    assert load(pipe, device="cpu", dtype="float32").dtype == torch.float32


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"])
def test_its_relatives_serve_too(folders, name: str) -> None:
    import diffusers

    pipe = getattr(diffusers, name).from_pretrained(folders["sd15-4ch"])
    assert load(pipe).kind == "blended"


def test_a_lora_stays(pipe: Any) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    pipe.unet.add_adapter(config)
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    assert any("lora" in name for name in before)
    model = load(pipe)
    after = model.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.unet.active_adapters() == ["default"]


def test_the_card_of_a_pipeline_from_a_folder_is_found(folders, tmp_path: Path) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    folder = shutil.copytree(folders["sd15"], tmp_path / "own")
    (folder / "hdpainter.json").write_text('{"guidance_scale": 3, "positive_suffix": "left"}')
    pipe = StableDiffusionInpaintPipeline.from_pretrained(folder)
    for model in (load(pipe), load(folder)):
        assert (model.name, model.guidance_scale, model.positive_suffix) == ("own", 3.0, "left")
        assert model.negative_prompt == ModelDefaults().negative_prompt


def test_an_unused_controlnet_is_mentioned(pipe: Any) -> None:
    class Controlled:
        unet, scheduler, config = pipe.unet, pipe.scheduler, pipe.config

        @property
        def components(self) -> dict[str, Any]:
            return {**pipe.components, "controlnet": object()}

    with pytest.warns(HDPainterWarning, match="controlnet of this Controlled is not used"):
        load(Controlled())


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("min", {}, "no model 'min'. Did you mean 'mini'"),
        ("SD15", {}, "Did you mean 'sd15'"),
        ("ds8_inp", {}, "Did you mean 'dreamshaper-8'"),
        ("zzzz", {}, "Known names: mini, dreamshaper-8, sd15, sd2"),
        ("./nowhere", {}, "no file or folder './nowhere'"),
        ("gone.safetensors", {}, "no file or folder 'gone.safetensors'"),
        ("runwayml/stable-diffusion-inpainting", {}, r"no longer on the hub .* load\('sd15'\)"),
        ("stabilityai/stable-diffusion-2-inpainting", {}, r"no longer on the hub .*'sd2'"),
        ("owner/nothing", {"local_files_only": True}, "check the name and the network.*hf auth"),
        ("sd15", {"revison": "main"}, "no option 'revison' for a hub id. Did you mean 'revision'"),
        (3, {}, "takes a name, a path or a diffusers pipeline, not this int"),
    ],
)
def test_errors_say_what_to_do(tmp_path, monkeypatch, source, options, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=message):
        load(source, device="cpu", **options)


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model_index\.json"):
        load(tmp_path)


def test_unknown_options(folders, pipe: Any) -> None:
    with pytest.raises(ModelError, match=r"no option 'config' for a folder.*Known here: device, d"):
        load(folders["sd15"], config="x")
    with pytest.raises(ModelError, match="no option 'variant' for a ready pipeline"):
        load(pipe, variant="fp16")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("StableDiffusionXLInpaintPipeline", {"text_encoder_2": ["transformers", "CLIPTextModel"]}),
        ("FluxFillPipeline", {"transformer": ["diffusers", "FluxTransformer2DModel"]}),
    ],
)
def test_other_families_are_refused_before_loading(tmp_path, folders, kind, change) -> None:
    index = json.loads((folders["sd15"] / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "_class_name": kind, **change}))
    with pytest.raises(ModelError, match=f"is a {kind}, which cannot.*1.x and 2.x"):
        load(tmp_path)


@pytest.mark.parametrize("what", ["weights", "index", "file"])
def test_damage_is_told(tmp_path: Path, folders, what: str) -> None:
    folder = shutil.copytree(folders["sd15"], tmp_path / "m")
    options = {}
    if what == "weights":
        path = folder / "unet" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        message = "weights of .* cannot be loaded: .*copy or download them again"
    elif what == "index":
        (folder / "model_index.json").write_text("{")
        message = "model_index.json of .* cannot be read"
    else:
        folder = tmp_path / "broken.safetensors"
        folder.write_bytes(b"not a checkpoint" * 8)
        options = {"config": str(folders["sd15"])}
        message = "file .* cannot be loaded: it is damaged.*SafetensorError"
    with pytest.raises(ModelError, match=message) as caught:
        load(folder, **options)
    assert caught.value.__cause__ is not None


def test_a_single_file_without_network_or_config(folders, tmp_path, monkeypatch) -> None:
    from hdpainter_nb.models import loading

    class LocalEntryNotFoundError(Exception):
        pass

    def offline(*args: Any, **kwargs: Any) -> None:
        raise LocalEntryNotFoundError("no network")

    path = builders.make_checkpoint(tmp_path / "one.safetensors", folders["sd15"])
    monkeypatch.setattr(loading, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"check the network, or pass config="):
        load(path)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"in_channels": 8}, "8 input channels.*9 input channels .inpainting. or 4"),
        ("unet", {"encoder_hid_dim_type": "ip_image_proj"}, r"unload_ip_adapter\(\) first"),
        ("unet", {"time_cond_proj_dim": 256}, "latent consistency"),
        ("unet", {"addition_embed_type": "text_time"}, "further conditions"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'; only 'epsilon'"),
        ("vae", {"block_out_channels": [8, 8]}, "does not scale pictures down by 8"),
    ],
)
def test_pipelines_that_cannot_serve(pipe: Any, part: str, changes, message: str) -> None:
    getattr(pipe, part).register_to_config(**changes)
    with pytest.raises(ModelError, match=message):
        load(pipe)


@pytest.mark.parametrize(("length", "has"), [(10**30, "no model_max_length"), (99, "_length=99")])
def test_a_tokenizer_without_the_right_length(pipe: Any, length: int, has: str) -> None:
    pipe.tokenizer.model_max_length = length
    with pytest.raises(ModelError, match=rf"{has}.*takes 24 tokens: set .*model_max_length = 24"):
        load(pipe)


def test_a_schedule_that_is_none(pipe: Any) -> None:
    from diffusers import DDIMScheduler

    pipe.scheduler = DDIMScheduler(trained_betas=[0.1, float("nan")])
    with pytest.raises(ModelError, match="betas are not all numbers from 0 to 1"):
        load(pipe)


def test_an_ip_adapter_after_loading(pipe: Any, job: Job) -> None:
    model = load(pipe)
    sampler = Sampler(model, job)
    sampler.step()
    pipe.unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    for run in (sampler.step, sampler.attention, lambda: Sampler(model, job).run()):
        with pytest.raises(ModelError, match=r"unload_ip_adapter\(\) first"):
            run()
    pipe.unet.register_to_config(encoder_hid_dim_type=None)
    sampler.step()


def test_an_incomplete_pipeline(pipe: Any) -> None:
    pipe.text_encoder = None
    with pytest.raises(ModelError, match="has no text_encoder: load it whole"):
        load(pipe)


def test_devices_and_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert pick_dtype(None, cpu) == pick_dtype(None, torch.device("mps")) == torch.float32
    assert pick_dtype(None, cuda) == pick_dtype("half", cpu) == torch.float16
    with pytest.raises(ModelError, match="choose float32, float16 or bfloat16"):
        pick_dtype("fp8", cpu)
    with pytest.raises(ModelError, match="choose float32"):
        pick_dtype(torch.int8, cpu)
    with pytest.raises(ModelError, match="no device that PyTorch knows"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ModelError, match="sees no CUDA GPU: pass device='cpu'"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda") == cuda
    with pytest.raises(ModelError, match="sees 1 CUDA GPU"):
        pick_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device(None) == pick_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device(None) == cpu
    with pytest.raises(ModelError, match="no Apple GPU"):
        pick_device("mps")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"guidance": 3}', "it may only hold guidance_scale, positive_suffix"),
        ('{"guidance_scale": "3"}', "guidance_scale must be a number from 0 to 100"),
        ('{"negative_prompt": null}', "negative_prompt must be a string"),
        ('{"preview": [[1, 2]]}', "preview must be null or 5 rows of 3 numbers"),
        ("[1]", "it may only hold"),
        ("{", "cannot be used"),
        ("3", "it may only hold"),
        ("[" * 50_000 + "]" * 49_999, "cannot be used"),
        ("[" * 40_000 + "]" * 40_000, "nested too deeply"),
        ('{"x": "' + "y" * 200_000 + '"}', "more than 100000 bytes"),
        ('{"guidance_scale": NaN}', "guidance_scale must be a number from 0 to 100"),
    ],
)
def test_cards_are_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hdpainter.json").write_text(text)
    with pytest.raises(ModelError, match=re.escape(str(tmp_path))) as caught:
        read_defaults(tmp_path)
    assert message in str(caught.value)


def test_a_bare_unet() -> None:
    torch.manual_seed(0)
    unet = builders.make_unet()
    model = Model.from_unet(unet)
    assert (model.kind, model.native_size, model.pipe) == ("inpaint", 128, None)
    assert model.betas.shape == model.alphas_cumprod.shape == (1000,)
    assert model.betas[0].item() == pytest.approx(0.00085)
    assert model.betas[-1].item() == pytest.approx(0.012)
    assert model.preview(torch.zeros(1, 4, 8, 8)).shape == (8, 8, 3)
    assert Model.from_unet(unet, prediction_type="v_prediction").prediction_type == "v_prediction"
    assert len(Model.from_unet(unet, betas=torch.full((50,), 0.01)).alphas_cumprod) == 50
    for options in ({"prediction_type": "sample"}, {"betas": torch.ones(3)}):
        with pytest.raises(ModelError, match=next(iter(options))):
            Model.from_unet(unet, **options)
    with pytest.raises(ModelError, match="no text encoder and no VAE"):
        model.decode(torch.zeros(1, 4, 8, 8))


def test_schedule_is_the_pipelines(pipe: Any) -> None:
    model = load(pipe)
    assert torch.equal(model.alphas_cumprod, pipe.scheduler.alphas_cumprod)
    assert torch.equal(model.betas, pipe.scheduler.betas)
    assert torch.equal(model.alphas_cumprod, Model.from_unet(pipe.unet).alphas_cumprod)
