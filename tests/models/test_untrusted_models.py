"""Models from strangers: their files run no code, and nothing is built that they only claim."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hdpainter_nb
from hdpainter_nb.errors import HDPainterWarning, ModelError
from hdpainter_nb.models.loading import load
from hdpainter_nb.upscale.model import load_upscaler
from support import builders

pytestmark = pytest.mark.diffusers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.make_folder(tmp_path_factory.mktemp("models") / "sd15")


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.make_upscaler_folder(tmp_path_factory.mktemp("models") / "x4")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "m")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# --- nothing runs --------------------------------------------------------------------------------


def listed_pipeline(folder: Path, code: str) -> None:
    change(folder / "model_index.json", _class_name=["pipeline", "StableDiffusionInpaintPipeline"])
    (folder / "pipeline.py").write_text(code)


def file_of_a_part(folder: Path, code: str) -> None:
    change(folder / "model_index.json", unet=["evil", "UNet2DConditionModel"])
    (folder / "unet" / "evil.py").write_text(code)


def file_named_like_the_library(folder: Path, code: str) -> None:
    (folder / "unet" / "diffusers.py").write_text(code)  # found before diffusers itself


def file_named_like_no_pipeline(folder: Path, code: str) -> None:
    (folder / "None.py").write_text(code)  # what older diffusers make of "no custom pipeline"


def importable_module(folder: Path, code: str) -> None:
    change(folder / "model_index.json", unet=["untrusted_module", "UNet2DConditionModel"])


def module_of_a_part_left_out(folder: Path, code: str) -> None:
    change(folder / "model_index.json", safety_checker=["untrusted_module", "X"])


def module_of_an_unknown_part(folder: Path, code: str) -> None:
    change(folder / "model_index.json", extra=["untrusted_module", "X"])


ATTACKS = [
    listed_pipeline,
    file_of_a_part,
    file_named_like_the_library,
    file_named_like_no_pipeline,
    importable_module,
    module_of_a_part_left_out,
    module_of_an_unknown_part,
]


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts code into a folder, and into an importable module, and says whether it ran."""
    mark = tmp_path / "ran"
    code = (
        f"open({str(mark)!r}, 'w').close()\n"
        "from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel\n"
    )
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "untrusted_module.py").write_text(code)

    def act(how: Callable[[Path, str], None], folder: Path, use: Callable[[], Any]) -> None:
        how(folder, code)
        with pytest.raises(ModelError, match="own code is never run"):
            use()
        assert not mark.exists()
        assert "untrusted_module" not in sys.modules

    return act


@pytest.mark.parametrize("how", ATTACKS)
def test_a_folder_runs_no_code(copy: Path, attack: Any, how: Any) -> None:
    attack(how, copy, lambda: load(copy))


@pytest.mark.parametrize("how", ATTACKS)
def test_the_layout_of_a_single_file_runs_no_code(
    folder: Path, copy: Path, tmp_path: Path, attack: Any, how: Any
) -> None:
    file = builders.make_checkpoint(tmp_path / "one.safetensors", folder)
    attack(how, copy, lambda: load(file, config=str(copy)))


@pytest.mark.parametrize("how", [listed_pipeline, importable_module, file_named_like_no_pipeline])
def test_an_upscaler_runs_no_code(upscaler: Path, tmp_path: Path, attack: Any, how: Any) -> None:
    copy = shutil.copytree(upscaler, tmp_path / "x4")
    attack(how, copy, lambda: load_upscaler(copy))


@pytest.mark.parametrize("how", ATTACKS)
def test_a_repository_runs_no_code(
    copy: Path, attack: Any, how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionInpaintPipeline as Pipeline

    from hdpainter_nb.models import loading

    monkeypatch.setattr(loading, "hf_hub_download", lambda _, file: str(copy / file))
    monkeypatch.setattr(Pipeline, "download", lambda *_, **__: copy)
    attack(how, copy, lambda: load("owner/model"))


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("unet/config.json", {"_class_name": ["evil", "U"]}, "for 'unet'; what works there"),
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}, "FluxTransformer2DModel"),
        ("scheduler/scheduler_config.json", {"_class_name": "os.system"}, "any scheduler of diff"),
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "evil.U"}}, "auto_map in .* asks"),
        ("text_encoder/config.json", {"architectures": ["Evil"]}, "only CLIP text encoders"),
        ("text_encoder/config.json", {"_attn_implementation": "evil/kernel"}, "none is fetched"),
        ("tokenizer/tokenizer_config.json", {"tokenizer_class": "Evil"}, "only CLIP text encoders"),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"AutoTokenizer": "e.T"}}, "never run"),
        ("vae/config.json", {"quantization_config": {"quant_method": "evil"}}, "quantised by"),
        ("model_index.json", {"_class_name": "EvilPipeline"}, "diffusers does not have"),
        ("model_index.json", {"unet": ["diffusers", "UNet3DConditionModel"]}, "what works there"),
        ("model_index.json", {"unet": ["diffusers"]}, "must name a library and a class"),
        ("model_index.json", {"unet": [["evil"], {}]}, "must name a library and a class"),
    ],
)
def test_a_part_names_known_classes_alone(
    copy: Path, file: str, values: dict[str, Any], message: str
) -> None:
    change(copy / file, **values)
    with pytest.raises(ModelError, match=message):
        load(copy)


def test_the_usual_layout_of_a_single_file_runs_no_code(
    folder: Path, copy: Path, tmp_path: Path, attack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdpainter_nb.models import loading

    file = builders.make_checkpoint(tmp_path / "one.safetensors", folder)
    asked = []

    def fetch(place: str, **_: Any) -> str:
        asked.append(place)
        return str(copy)

    monkeypatch.setattr(loading, "snapshot_download", fetch)
    assert load(file).kind == "inpaint"
    attack(listed_pipeline, copy, lambda: load(file))
    assert asked == ["stable-diffusion-v1-5/stable-diffusion-inpainting"] * 2


def test_trust_is_no_option(folder: Path) -> None:
    for option in ("trust_remote_code", "custom_pipeline"):
        with pytest.raises(ModelError, match=f"knows no option '{option}'"):
            load(folder, **{option: True})


# --- nothing is built that is only claimed -------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("model_index.json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("model_index.json", '{"a":' * 50 + "1" + "}" * 50, "nested too deeply"),
        ("model_index.json", "[1, 2]", "a JSON object of names and values, not a list"),
        ("model_index.json", "null", "a JSON object of names and values, not a None"),
        ("unet/config.json", "[]", "a JSON object of names and values, not a list"),
        ("vae/config.json", "[" * 100_000, "cannot be read"),
        ("scheduler/scheduler_config.json", '"x"', "not a str"),
        ("unet/config.json", '{"x": "' + "y" * 2_000_000 + '"}', "has at most 1000000"),
        ("unet/config.json", "\ud800".encode("utf-16", "surrogatepass").decode("latin1"), "read"),
    ],
)
def test_configurations_are_read_within_bounds(
    copy: Path, file: str, text: str, message: str
) -> None:
    (copy / file).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load(copy)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("scheduler/scheduler_config.json", {"beta_start": float("nan")}, "beta_start is NaN"),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1, float("nan")]}, "is NaN"),
        ("scheduler/scheduler_config.json", {"trained_betas": [[0.1]] * 9}, "from 0 to 1, not"),
        ("scheduler/scheduler_config.json", {"beta_end": float("inf")}, "from 0 to 1, not inf"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "from 1 to 100000"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 9.5}, "whole number"),
        ("unet/config.json", {"block_out_channels": [8192] * 4}, "has 16 channels"),
        ("unet/config.json", {"layers_per_block": 10**9}, "from 1 to 128"),
        ("unet/config.json", {"sample_size": 10**12}, "from 1 to 100000"),
        ("unet/config.json", {"norm_num_groups": 0}, "from 1 to 100000, not 0"),
        ("vae/config.json", {"block_out_channels": [8192] * 4}, "has 8 channels"),
        ("vae/config.json", {"layers_per_block": 3}, "cannot be loaded"),
        ("unet/config.json", {"norm_eps": [None, None]}, "norm_eps in .* must be a number"),
        ("unet/config.json", {"act_fn": [[]]}, "act_fn in .* must be text, such as 'silu'"),
        ("vae/config.json", {"scaling_factor": ["a"]}, "scaling_factor in .* must be a number"),
        ("tokenizer/tokenizer_config.json", {"errors": 1}, "must be text, such as 'replace'"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 0}, "takes 24 tokens"),
        ("tokenizer/special_tokens_map.json", {"bos_token": "new"}, "bos_token 'new', which"),
        ("text_encoder/config.json", {"hidden_size": 16000}, "has the shape"),
        ("text_encoder/config.json", {"num_hidden_layers": 40}, "is missing"),
        ("text_encoder/config.json", {"vocab_size": 10**9}, "from 1 to 100000"),
    ],
)
def test_numbers_of_networks_are_bounded(
    copy: Path, file: str, values: dict[str, Any], message: str
) -> None:
    change(copy / file, **values)
    with pytest.raises(ModelError, match=message):
        load(copy)


def test_a_controlnet_is_checked_as_well(folder: Path, copy: Path, tmp_path: Path) -> None:
    from diffusers import ControlNetModel, UNet2DConditionModel

    like = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    net = tmp_path / "net"
    ControlNetModel.from_unet(like, conditioning_channels=3).save_pretrained(net)
    change(net / "config.json", _class_name=["evil", "C"])
    with pytest.raises(ModelError, match="for 'controlnet'; what works there: diffusers"):
        load(folder, controlnet=net)
    change(net / "config.json", _class_name="ControlNetModel", block_out_channels=[4096] * 4)
    with pytest.raises(ModelError, match="are incomplete or not those"):
        load(folder, controlnet=net)


# --- weights -------------------------------------------------------------------------------------


def pickled(folder: Path, *parts: str) -> None:
    from safetensors.torch import load_file

    for part in parts:
        file = next((folder / part).glob("*.safetensors"))
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), folder / part / name)
        file.unlink()


def half(folder: Path, *parts: str) -> None:
    for part in parts:
        file = next((folder / part).glob("*.safetensors"))
        file.rename(file.with_name(file.name.replace(".", ".fp16.", 1)))


def test_pickled_weights_load_and_are_mentioned(copy: Path, folder: Path) -> None:
    pickled(copy, "unet", "text_encoder")
    with pytest.warns(HDPainterWarning, match=r"pickled \(diffusion_pytorch_model.bin, pytorch_m"):
        loaded = load(copy)
    for part in ("unet", "text_encoder"):
        mine, theirs = (getattr(m.pipe, part).state_dict() for m in (loaded, load(folder)))
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_safetensors_come_before_pickles(copy: Path) -> None:
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("error", HDPainterWarning)
        load(copy)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "file", "old file"])
def test_pickles_run_nothing(folder: Path, copy: Path, tmp_path: Path, part: str) -> None:
    mark = tmp_path / "ran"
    evil = {"x": torch.zeros(1), "y": Evil(mark)}
    if part in ("file", "old file"):
        path = tmp_path / "one.ckpt"
        if part == "file":
            torch.save(evil, path)
        else:
            path.write_bytes(pickle.dumps(evil["y"]))
        use: Callable[[], Any] = lambda: load(path, config=str(folder))  # noqa: E731
    else:
        pickled(copy, part)
        torch.save(evil, next((copy / part).glob("*.bin")))
        use = lambda: load(copy)  # noqa: E731
    with pytest.raises(ModelError, match=r"holds more than tensors.*as \.safetensors"):
        use()
    assert not mark.exists()


def test_a_pickled_checkpoint_is_mentioned(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    file = builders.make_checkpoint(tmp_path / "one.safetensors", folder)
    torch.save({"state_dict": load_file(file), "epoch": 3}, tmp_path / "one.ckpt")
    with pytest.warns(HDPainterWarning, match=r"are pickled \(one.ckpt\)"):
        assert load(tmp_path / "one.ckpt", config=str(folder)).kind == "inpaint"


@pytest.mark.parametrize("parts", [("unet",), ("unet", "vae", "text_encoder")])
def test_half_precision_alone_is_loaded(copy: Path, folder: Path, parts: tuple[str, ...]) -> None:
    half(copy, *parts)
    with pytest.warns(HDPainterWarning, match="as the variant 'fp16' alone"):
        loaded = load(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("error", HDPainterWarning)
        load(copy, variant="fp16")
    mine, theirs = (m.unet.state_dict() for m in (loaded, load(folder)))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert loaded.dtype == torch.float32


def test_a_variant_that_is_not_there(copy: Path) -> None:
    with pytest.raises(ModelError, match="no weights of the variant 'fp16'; there are none"):
        load(copy, variant="fp16")
    half(copy, "unet")
    with pytest.raises(ModelError, match="no weights of the variant 'bf16'; there are 'fp16'"):
        load(copy, variant="bf16")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: shutil.rmtree(f / "tokenizer"), "holds no tokenizer/"),
        (lambda f: (f / "tokenizer" / "vocab.json").unlink(), "holds no vocabulary"),
        (lambda f: shutil.rmtree(f / "unet"), "holds no unet/"),
        (lambda f: shutil.rmtree(f / "scheduler"), "holds no scheduler/"),
        (lambda f: (f / "vae" / "config.json").unlink(), "config.json of .*vae' is missing"),
        (lambda f: next((f / "unet").glob("*.safe*")).unlink(), "unet/ of .* holds no weights"),
        (lambda f: next((f / "unet").glob("*.safe*")).write_text(""), "cannot be loaded"),
        (
            lambda f: next((f / "unet").glob("*.safe*")).write_text("version https://git-lfs x"),
            "Git LFS pointer",
        ),
        (
            lambda f: (f / "unet" / "config.json").write_text('{"in'),
            "config.json of .*unet' cannot",
        ),
    ],
)
def test_what_a_folder_lacks_is_named(copy: Path, spoil: Any, message: str) -> None:
    spoil(copy)
    with pytest.raises(ModelError, match=message):
        load(copy)


def test_missing_weights_are_never_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = next((copy / "text_encoder").glob("*.safetensors"))
    weights = load_file(file)
    weights.pop(next(name for name in weights if name.endswith("fc1.weight")))
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"fc1.weight is missing"):
        load(copy)


def test_every_reader_of_pickles_reads_tensors_alone() -> None:
    root = Path(hdpainter_nb.__file__).parents[1]
    readers = 0
    for path in (
        file for part in ("hdpainter_nb", "tests") for file in (root / part).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                options = " ".join(ast.unparse(option) for option in node.keywords)
                safe = ("weights_only=True", "**options", "Unpickler=_TensorUnpickler")
                assert any(one in options for one in safe), f"{path}"
                readers += 1
    assert readers >= 5
