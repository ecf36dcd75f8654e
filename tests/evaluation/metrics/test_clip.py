"""CLIP's features and scores are those that transformers itself would give."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.metrics import clip
from hdpainter_nb.evaluation.metrics.aesthetic import AestheticScore
from hdpainter_nb.evaluation.metrics.clip import ClipModel
from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
from hdpainter_nb.evaluation.metrics.detectors import TransformersDetector
from hdpainter_nb.evaluation.metrics.external import ExternalMetric
from hdpainter_nb.evaluation.metrics.pickscore import PickScore, preference, wins
from hdpainter_nb.evaluation.metrics.preprocessing import Preprocessing
from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet
from hdpainter_nb.evaluation.metrics.weights import contents, hub_json
from support.builders_metrics import CLIP_PREPROCESSOR, make_clip_folder, painting

pytestmark = pytest.mark.diffusers  # for the sake of transformers, whose oldest runs there too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_clip_folder(tmp_path_factory.mktemp("clip")))


def processor_of(config: dict[str, Any]) -> Any:
    """transformers' own image processor, the one of Pillow where there are two."""
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return kind(**{k: v for k, v in config.items() if k != "feature_extractor_type"})


def features_of(output: Any) -> NDArray[np.float32]:
    """Of ``get_image_features`` and its like: a tensor in version 4, an object in 5."""
    values = output if isinstance(output, torch.Tensor) else output.pooler_output
    return (values / values.norm(dim=-1, keepdim=True)).numpy()


@torch.no_grad()
def reference(folder: str, pictures: list[Any], texts: list[str]) -> tuple[Any, Any, float]:
    """The features of pictures and texts by transformers' own ways, and the scale."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    pixels = processor_of(CLIP_PREPROCESSOR)(pictures, return_tensors="pt")["pixel_values"]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    return (
        features_of(model.get_image_features(pixel_values=pixels)),
        features_of(model.get_text_features(**tokens)),
        float(model.logit_scale.exp()),
    )


@pytest.mark.parametrize("size", [(48, 64), (70, 33), (32, 32), (20, 31)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": 32, "crop_size": 32},
        {"resample": 2, "do_normalize": False},
        {"size": {"height": 24, "width": 40}, "do_center_crop": False},
    ],
)
def test_pictures_are_prepared_as_by_transformers(
    size: tuple[int, int], changes: dict[str, Any]
) -> None:
    config = {**CLIP_PREPROCESSOR, **changes}
    picture = painting(3, size=size if size[0] > 31 else (32, 31)).picture[: size[0], : size[1]]
    theirs = processor_of(config)(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    ours = Preprocessing.from_config(config)(picture)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_features(folder: str) -> None:
    clip = ClipModel(model=folder, device="cpu", batch_size=2)
    pictures = [painting(n, size=(40, 50 + n)).picture for n in range(3)]
    texts = ["a red star", "blue", "a photo of a red circle " * 12]
    images, words, scale = reference(folder, pictures, texts)
    np.testing.assert_allclose(clip.pictures(pictures), images, atol=1e-5)
    np.testing.assert_allclose(clip.texts(texts), words, atol=1e-5)
    assert clip.logit_scale == pytest.approx(scale)
    assert clip.pictures([]).shape == (0, 16)
    assert np.abs(images @ images.T - np.eye(3)).max() < 1 - 1e-4  # they differ, so it is a test


def test_the_official_score_is_of_the_padded_box(folder: str) -> None:
    prompts = ("a red star", "blue circle", "a photo", "of", "red", "star", "a blue blue circle")
    given = [painting(n, prompt=prompt) for n, prompt in enumerate(prompts)]
    crops = []
    for one in given:
        square = np.zeros((24, 24, 3), np.uint8)
        square[:, 6:18] = one.picture[8:32, 16:28]
        crops.append(cv2.resize(square, (224, 224), interpolation=cv2.INTER_CUBIC))
    images, words, _ = reference(folder, crops, [one.triplet.triplet.prompt for one in given])
    wanted = np.maximum(100 * (images * words).sum(1), 0)
    metric = ClipScore(model=folder, device="cpu")
    assert [row["clip_score"] for row in metric.score(given)] == pytest.approx(wanted, abs=1e-3)
    assert 0 < (wanted > 0).sum() < len(given)
    # Whatever the version of transformers: these were the same under 4.46.1 and 5.23.0.
    assert wanted == pytest.approx([0, 8.8078, 0, 23.7061, 6.9457, 35.7449, 6.5248], abs=2e-3)


def test_other_crops_and_templates(folder: str) -> None:
    given = painting(5)
    variants = {
        ("whole", "processor", "{}"): given.picture,
        ("box", "processor", "a photo of {}"): given.picture[8:32, 16:28],
    }
    for (crop, fit, template), picture in variants.items():
        metric = ClipScore(model=folder, crop=crop, fit=fit, template=template, device="cpu")  # type: ignore[arg-type]
        images, words, _ = reference(folder, [picture], [template.format("a red star")])
        wanted = max(100 * float(images[0] @ words[0]), 0.0)
        assert metric.score([given])[0]["clip_score"] == pytest.approx(wanted, abs=1e-3)
        assert metric.settings["crop"] == crop
        assert metric.settings["template"] == template


@pytest.mark.parametrize(
    "metric",
    [
        lambda place: ClipScore(model=place),
        lambda place: PickScore(model="owner/name", processor=place),
        lambda place: AestheticScore(weights=f"{place}/weights.bin"),
        lambda place: TransformersDetector(model=place),
        lambda place: RTMDet(weights=f"{place}/weights.bin"),
        lambda place: ExternalMetric(name="mine", python="python", script=f"{place}/weights.bin"),
        lambda place: ExternalMetric(
            name="mine", python="python", script="mine.py", arguments=(f"{place}/weights.bin",)
        ),
    ],
)
def test_other_weights_in_the_old_place_are_other_settings(
    tmp_path: Path, metric: Callable[[str], Any]
) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    first = metric(str(tmp_path)).settings
    assert metric(str(tmp_path)).settings == first
    weights.write_bytes(b"two")
    assert metric(str(tmp_path)).settings != first


@pytest.mark.parametrize("source", ["owner/name", None, "", "~nobody/x", "a" * 5000, "a\0b", "."])
def test_what_is_no_file_of_this_machine_has_no_contents(source: str | None) -> None:
    assert contents(source, folders=False) == {}


def test_variants_are_named() -> None:
    metric = ClipScore.named("brushnet", device="cpu")
    assert (metric.name, metric.crop, metric.fit) == ("clip_score_l14", "whole", "processor")
    assert list(metric.columns) == ["clip_score_l14"]
    with pytest.raises(SettingsError, match=r"variant='brush' is not one of 'official'"):
        ClipScore.named("brush")
    with pytest.raises(SettingsError, match=r"has no \{\}"):
        ClipScore(template="a photo")


def test_pickscore_is_the_scaled_cosine(folder: str) -> None:
    given = [painting(n, prompt=prompt) for n, prompt in enumerate(("a red star", "blue circle"))]
    images, words, scale = reference(
        folder, [one.picture for one in given], [one.triplet.triplet.prompt for one in given]
    )
    metric = PickScore(model=folder, processor=folder, device="cpu")
    scores = [row["pickscore"] for row in metric.score(given)]
    assert scores == pytest.approx(scale * (images * words).sum(1), abs=1e-3)


def test_preference_is_the_softmax_and_wins_know_ties() -> None:
    ours, other = np.array([20.0, 19.0, 21.0, np.nan]), np.array([20.0, 21.5, 20.5, 1.0])
    pairs = torch.from_numpy(np.stack([ours, other], -1)).softmax(-1)[:, 0].numpy()
    np.testing.assert_allclose(preference(ours, other), pairs)
    np.testing.assert_array_equal(wins(ours, other), [0.5, 0, 1, np.nan])
    np.testing.assert_array_equal(wins(ours, other, margin=0.5), [0.5, 0, 0.5, np.nan])
    assert preference(1e6, -1e6) == 1


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_clip_folder(tmp_path_factory.mktemp("wide"), projection=768))


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_aesthetic_v2_is_five_layers(wide: str, tmp_path: Path, kind: str) -> None:
    torch.manual_seed(1)
    layers = torch.nn.Sequential(
        torch.nn.Linear(768, 1024),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1024, 128),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 16),
        torch.nn.Linear(16, 1),
    ).eval()
    state = {f"layers.{name}": value for name, value in layers.state_dict().items()}
    path = tmp_path / f"predictor.{kind}"
    if kind == "pth":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    given = [painting(1), painting(2)]
    images, _, _ = reference(wide, [one.picture for one in given], ["a"])
    with torch.no_grad():
        wanted = layers(torch.from_numpy(images))[:, 0].tolist()
    metric = AestheticScore(model=wide, weights=str(path), device="cpu")
    assert [row["aesthetic_v2"] for row in metric.score(given)] == pytest.approx(wanted, abs=1e-5)


def test_aesthetic_v1_is_one_layer_and_the_two_are_not_mixed_up(
    wide: str, folder: str, tmp_path: Path
) -> None:
    layer = torch.nn.Linear(768, 1)
    torch.save(layer.state_dict(), tmp_path / "v1.pth")
    metric = AestheticScore(
        version="v1", model=wide, weights=str(tmp_path / "v1.pth"), device="cpu"
    )
    given = painting(1)
    images, _, _ = reference(wide, [given.picture], ["a"])
    wanted = layer(torch.from_numpy(images)).item()
    assert metric.score([given])[0]["aesthetic_v1"] == pytest.approx(wanted, abs=1e-5)
    assert metric.name == "aesthetic_v1"

    with pytest.raises(EvaluationError, match="is no aesthetic predictor v2: it holds bias"):
        AestheticScore(model=wide, weights=str(tmp_path / "v1.pth")).score([given])
    narrow = AestheticScore(
        version="v1", model=folder, weights=str(tmp_path / "v1.pth"), device="cpu"
    )
    with pytest.raises(EvaluationError, match=r"for 768 features, .* has 16"):
        narrow.score([given])


def test_equal_metrics_share_their_weights_and_travel_without_them(folder: str) -> None:
    first = ClipModel(model=folder, device="cpu")
    second = ClipModel(model=folder, device="cpu", batch_size=3)
    first.texts(["a"]), second.texts(["a"])
    assert first._loaded is second._loaded
    packed = pickle.dumps(first)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert again == first
    assert "_loaded" not in vars(again)
    np.testing.assert_array_equal(again.texts(["a"]), first.texts(["a"]))


def test_a_checkpoint_without_preprocessor_config_gets_clips_own(
    folder: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    default = Preprocessing.of(str(tmp_path), None, {"size": 224, "do_center_crop": True})
    assert default.shortest == 224
    with pytest.raises(EvaluationError, match=r"has no preprocessor_config\.json"):
        Preprocessing.of(str(tmp_path), None)
    (tmp_path / "processor_config.json").write_text(
        json.dumps({"image_processor": {**CLIP_PREPROCESSOR, "size": {"shortest_edge": 40}}})
    )
    assert Preprocessing.of(str(tmp_path), None).shortest == 40
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(EvaluationError, match="incomplete, damaged or of another model"):
        Preprocessing.of(str(tmp_path), None)


def test_files_of_the_hub_come_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there, what is known not to be there, and what nobody knows without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit, folder = "c" * 40, tmp_path / "models--some--clip"
    for name in ("refs", f"snapshots/{commit}", f".no_exist/{commit}"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit / "here.json").write_text('{"size": 7}')
    (folder / ".no_exist" / commit / "absent.json").touch()
    assert hub_json("some/clip", "here.json", None) == {"size": 7}
    assert hub_json("some/clip", "here.json", commit) == {"size": 7}
    assert hub_json("some/clip", "absent.json", None) is None
    with pytest.raises(EvaluationError, match="'some/clip' cannot be loaded: fetch it"):
        hub_json("some/clip", "unknown.json", None)


def test_another_processor_has_no_revision_of_the_model(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def tokenizer(source: str, revision: str | None) -> None:
        asked.append((source, revision))
        raise EvaluationError("enough")

    monkeypatch.setattr(clip, "tokenizer_of", tokenizer)
    for processor in (None, folder):
        with pytest.raises(EvaluationError, match="enough"):
            ClipModel(model=folder, processor=processor, revision="v9", device="cpu").texts(["a"])
    with pytest.raises(EvaluationError, match="enough"):
        ClipModel(model=f"{folder}/", processor=folder, revision="v9", device="cpu").texts(["a"])
    assert asked == [(folder, "v9"), (folder, "v9"), (folder, None)]


def test_what_is_missing_is_said_in_one_sentence(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    unknown = ClipScore(model="openai/nowhere", device="cpu")
    with pytest.raises(EvaluationError, match=r"fetch it .* by `hf download openai/nowhere`, or"):
        unknown.score([painting()])
    with pytest.raises(EvaluationError, match="no folder 'no such folder', and it is no hub id"):
        ClipScore(model="no such folder", device="cpu").score([painting()])
    missing = r"-linearMSE\.pth' is not here, and HF_HUB_OFFLINE=1 is set\. Download https://.* or"
    with pytest.raises(EvaluationError, match=missing):
        AestheticScore(model=folder, device="cpu").score([painting()])
    with pytest.raises(EvaluationError, match="no file of weights"):
        AestheticScore(model=folder, weights="nowhere.pth", device="cpu").score([painting()])
    (tmp_path / "broken.pth").write_bytes(b"no checkpoint")
    with pytest.raises(EvaluationError, match="damaged or of another format"):
        AestheticScore(model=folder, weights=str(tmp_path / "broken.pth")).score([painting()])
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(EvaluationError, match="holds no state dict"):
        AestheticScore(model=folder, weights=str(tmp_path / "list.pth")).score([painting()])


def test_weights_that_are_not_there_are_not_made_up(folder: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in Path(folder).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvaluationError, match=r"lacks 1 weights, such as 'visual_projection"):
        ClipScore(model=str(tmp_path), device="cpu").score([painting()])


def test_a_fetched_file_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, fetched = torch.nn.Linear(768, 1), []

    def download(address: str, path: str, prefix: str | None) -> None:
        fetched.append((address, prefix))
        torch.save(layer.state_dict(), path)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        layers = AestheticScore(version="v1")._layers
    assert len(fetched) == 1
    assert torch.equal(layers[0][0], layer.weight)

    def refused(*_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(EvaluationError, match=r"could not be fetched \(no route\)\. Download"):
        _ = AestheticScore(version="v2")._layers


def test_importing_metrics_imports_no_transformers() -> None:
    names = "accuracy aesthetic clip_score detectors external pickscore preservation rtmdet"
    code = "; ".join(f"import hdpainter_nb.evaluation.metrics.{name}" for name in names.split())
    code += "; import sys; print({'transformers', 'diffusers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
