"""Detectors: RTMDet is the published network, RT-DETR's classes go by index, accuracy counts."""

from __future__ import annotations

import ast
import math
import pickle
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.metrics import rtmdet
from hdpainter_nb.evaluation.metrics.accuracy import ClassAccuracy
from hdpainter_nb.evaluation.metrics.detectors import (
    COCO_IDS,
    TransformersDetector,
    class_indices,
)
from hdpainter_nb.evaluation.metrics.rtmdet import RTMDet, RTMDetNetwork
from support.builders_metrics import make_detector_folder, painting, rtmdet_weights

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "rtmdet.npz"


# --- RTMDet ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[Any]]:
    """Made by mmdet 3.3.0's own RTMDet-tiny, with the weights of `rtmdet_weights`."""
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights(golden: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    pairs = zip(golden["names"], golden["shapes"], strict=True)
    return rtmdet_weights({str(name): ast.literal_eval(str(shape)) for name, shape in pairs})


@pytest.fixture(scope="module")
def checkpoint(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As mmengine writes it: with the pixels' mean, moving averages and objects of its own."""
    module = types.ModuleType("mmengine_of_another_environment")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.values = np.zeros(3)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    path = tmp_path_factory.mktemp("rtmdet") / "rtmdet.pth"
    extra = {"data_preprocessor.mean": torch.zeros(3, 1, 1)}
    content = {
        "meta": {"seed": np.int64(3), "classes": ("person",)},
        "state_dict": {**weights, **extra},
        "ema_state_dict": {"steps": torch.tensor(1)},
        "message_hub": {"loss": HistoryBuffer()},
    }
    torch.save(content, path)
    del sys.modules[module.__name__]
    return path


def test_its_names_and_size_are_the_published_ones(weights: dict[str, torch.Tensor]) -> None:
    own = RTMDetNetwork().state_dict()
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in weights.items()
    }
    assert sum(p.numel() for p in RTMDetNetwork().parameters()) == 4_896_168  # 4.8 M, published
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        RTMDetNetwork()(torch.empty(1, 3, 640, 640))
    assert counter.get_total_flops() / 2e9 == pytest.approx(8.1, abs=0.1)  # published


def test_it_computes_what_mmdet_computes(golden: dict[str, NDArray[Any]], checkpoint: Path) -> None:
    network = rtmdet.load_network(str(checkpoint), torch.device("cpu"))
    pixels = np.random.default_rng(7).normal(size=(1, 3, 64, 96)).astype(np.float32)
    with torch.inference_mode():
        logits, boxes = network(torch.from_numpy(pixels))
    np.testing.assert_allclose(logits[0, ::3, ::5].numpy(), golden["logits"], atol=1e-5)
    np.testing.assert_allclose(boxes[0, ::3].numpy(), golden["boxes"], atol=2e-3)


def test_it_detects_what_mmdet_detects(golden: dict[str, NDArray[Any]], checkpoint: Path) -> None:
    y, x = np.mgrid[:90, :140]
    channels = ((x * 3 + y) % 256, (y * 5) % 256, 128 + 100 * np.sin(x / 9) * np.cos(y / 7))
    picture = np.stack(channels, -1).astype(np.uint8)
    detector = RTMDet(weights=str(checkpoint), device="cpu")
    found = detector.detections([picture])[0]
    assert len(golden["classes"]) == 30  # of 230 before suppression
    np.testing.assert_array_equal(found.classes, golden["classes"])
    np.testing.assert_allclose(found.scores, golden["scores"], atol=1e-5)
    np.testing.assert_allclose(found.boxes, golden["places"], atol=2e-3)
    pairs = [(int(k), pytest.approx(float(s), abs=1e-5)) for k, s in zip(
        golden["classes"], golden["scores"], strict=True)]  # fmt: skip
    assert detector.detect([picture, picture[:40]])[0] == pairs


def test_channels_are_swapped_only_where_asked(checkpoint: Path) -> None:
    picture = painting(1, size=(40, 64)).picture
    right, wrong = RTMDet(weights="", channels="rgb"), RTMDet(weights="", channels="swapped")
    values, size = right._prepared(picture)
    assert values.shape == (3, 640, 640)
    assert size == (640, 400)
    np.testing.assert_array_equal(values, wrong._prepared(picture[..., ::-1])[0])
    # Red, at the top left, with the mean and deviation that are red's.
    assert values[2, 0, 0] == pytest.approx((float(picture[0, 0, 0]) - 123.675) / 58.395)
    assert wrong._prepared(picture)[0][0, 0, 0] == pytest.approx(
        (float(picture[0, 0, 0]) - 103.53) / 57.375
    )
    below = (114 - np.array([103.53, 116.28, 123.675])) / [57.375, 57.12, 58.395]
    np.testing.assert_allclose(values[:, 639, 639], below, rtol=1e-5)
    assert right._prepared(np.zeros((1, 2000, 3), np.uint8))[0].shape == (3, 640, 640)


def test_decoding_and_suppression_against_a_slow_way() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (400, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (400, 2))], 1).astype(np.float32)
    boxes[:20, 2] = boxes[:20, 0] - 1  # nothing
    scores = np.zeros((400, 80), np.float32)
    scores[np.arange(400), rng.integers(0, 3, 400)] = (rng.permutation(400) + 0.5) / 400
    boxes[20:40] += 650  # beyond the border
    sure = rtmdet.decoded(torch.from_numpy(scores), torch.from_numpy(boxes), 0.3)
    found = rtmdet.suppressed(sure, np.array([2, 4, 2, 4], np.float32))

    def overlap(a: Any, b: Any) -> float:
        sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
        common = max(sides[0], 0) * max(sides[1], 0)
        return common / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - common)

    def clear(kind: int, box: Any) -> bool:
        return all(k != kind or overlap(box, b) <= 0.65 for k, _, b in wanted)

    wanted: list[tuple[int, float, Any]] = []
    for place in np.argsort(-scores.max(1)):
        kind, score = int(scores[place].argmax()), float(scores[place].max())
        box = boxes[place].clip(0, 640) / [2, 4, 2, 4]
        if score > 0.3 and box[2] > box[0] and box[3] > box[1] and clear(kind, box):
            wanted.append((kind, score, box))
    assert 20 < len(wanted) < 280  # some were suppressed
    assert found.classes.tolist() == [kind for kind, _, _ in wanted]
    np.testing.assert_allclose(found.scores, [score for _, score, _ in wanted])
    np.testing.assert_allclose(found.boxes, [box for *_, box in wanted], rtol=1e-5)


def test_other_weights_are_refused(
    weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {k: v for k, v in weights.items() if k != "bbox_head.rtm_cls.0.bias"}
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(EvaluationError, match="is not RTMDet-tiny for COCO's 80 classes"):
        RTMDet(weights=str(tmp_path / "other.pth")).detect([painting().picture])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(EvaluationError, match=r"78e30dcc\.pth' is not here, and HF_HUB_OFFLINE=1"):
        RTMDet().detect([painting().picture])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hashes = []
    monkeypatch.setattr(
        torch.hub,
        "download_url_to_file",
        lambda _, path, sha256: (hashes.append(sha256), torch.save(weights, path)),
    )
    rtmdet.load_network(rtmdet.WEIGHTS, torch.device("cpu"))
    assert hashes == ["78e30dcc"]  # what is fetched is checked by the hash in its name


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_checkpoint_is_run(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, ("import pathlib; pathlib.Path('ran').touch()",)

    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "more": Evil()},
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=zipped,
    )
    monkeypatch.chdir(tmp_path)
    tensors = rtmdet.state_dict_of(str(tmp_path / "evil.pth"))
    assert torch.equal(tensors["a"], torch.ones(2))
    assert not Path("ran").exists()


# --- transformers' --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_detector_folder(tmp_path_factory.mktemp("detector")))


@pytest.mark.diffusers
@pytest.mark.parametrize("channels", ["rgb", "swapped"])
def test_rtdetr_is_read_as_by_transformers(folder: str, channels: Any) -> None:
    import transformers

    pictures = [painting(n, size=(40, 50 + n)).picture for n in range(3)]
    given = [p[..., ::-1] if channels == "swapped" else p for p in pictures]
    kind = getattr(transformers, "RTDetrImageProcessorPil", None)
    processor = (kind or transformers.RTDetrImageProcessor).from_pretrained(folder)
    model = transformers.RTDetrForObjectDetection.from_pretrained(folder).eval()
    inputs = processor([Image.fromarray(p) for p in given], return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=inputs["pixel_values"])
    wanted = processor.post_process_object_detection(output, threshold=0.012)
    detector = TransformersDetector(
        model=folder, channels=channels, min_score=0.012, device="cpu", batch_size=2
    )
    found = detector.detect(pictures)
    assert [len(one) for one in found] == [len(one["labels"]) for one in wanted]
    assert sum(len(one) for one in found) > 3
    for ours, theirs in zip(found, wanted, strict=True):
        assert [k for k, _ in ours] == theirs["labels"].tolist()
        assert [s for _, s in ours] == pytest.approx(theirs["scores"].tolist(), abs=1e-5)


def test_classes_go_by_index() -> None:
    # Of COCO's files: person 1, stop sign 13 (there is no 12), chair 62, couch 63, toothbrush 90.
    assert (len(COCO_IDS), COCO_IDS[0], COCO_IDS[11], COCO_IDS[79]) == (80, 1, 13, 90)
    assert (COCO_IDS[56], COCO_IDS[57]) == (62, 63)
    assert class_indices("m", 80)[57] == 57
    assert class_indices("m", 91)[63] == 57
    assert class_indices("m", 90)[62] == 57
    assert 12 not in class_indices("m", 91)
    with pytest.raises(EvaluationError, match="has 5 labels; those that were trained on COCO have"):
        class_indices("m", 5)


@pytest.mark.diffusers
def test_a_checkpoint_for_other_classes_is_refused(tmp_path: Path) -> None:
    other = make_detector_folder(tmp_path, labels=7)
    with pytest.raises(EvaluationError, match="has 7 labels"):
        TransformersDetector(model=str(other), device="cpu").detect([painting().picture])


def test_a_network_with_a_logit_for_nothing_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """DETR's kind: 91 labels and one more, softmax; pictures of any size, one by one."""
    logits = torch.full((1, 2, 92), -20.0)
    logits[0, 0, 63], logits[0, 0, 91] = 2.0, 1.0  # a couch rather than nothing
    logits[0, 1, 12] = 9.0  # a number that no class has
    seen = []

    class Net:
        config = types.SimpleNamespace(num_labels=91)
        device = "cpu"

        def __call__(self, pixel_values: torch.Tensor) -> Any:
            seen.append(tuple(pixel_values.shape))
            return types.SimpleNamespace(logits=logits)

    from hdpainter_nb.evaluation.metrics import detectors
    from hdpainter_nb.evaluation.metrics.preprocessing import Preprocessing

    config = {"size": {"shortest_edge": 800, "longest_edge": 1333}, "resample": 2}
    loaded = detectors._Loaded(Net(), Preprocessing.from_config(config), class_indices("m", 91))
    monkeypatch.setattr(TransformersDetector, "_loaded", loaded)
    pictures = [np.zeros((100, 150, 3), np.uint8), np.zeros((300, 100, 3), np.uint8)]
    found = TransformersDetector().detect(pictures)
    assert seen == [(1, 3, 800, 1200), (1, 3, 1332, 444)]
    assert [[kind for kind, _ in one] for one in found] == [[57], [57]]
    assert found[0][0][1] == pytest.approx(math.e / (1 + math.e), abs=1e-4)


# --- accuracy -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sees:
    """A detector that tells the mean colour of what it is given."""

    answers: tuple[tuple[int, float], ...]

    @property
    def settings(self) -> Mapping[str, object]:
        return {"detector": "test"}

    def detect(self, crops: Sequence[NDArray[np.uint8]]) -> list[list[tuple[int, float]]]:
        assert all(crop.shape == (24, 12, 3) for crop in crops)
        return [list(self.answers) for _ in crops]


def test_accuracy_is_whether_the_class_is_among_what_is_seen() -> None:
    metric = ClassAccuracy(detector=Sees(((3, 0.9), (57, 0.31), (4, 0.3))))
    given = [painting(n, label=label) for n, label in enumerate((57, 3, 4, None, 8))]
    scores = [row["accuracy"] for row in metric.score(given)]
    np.testing.assert_array_equal(scores, [1, 1, 0, math.nan, 0])
    column = metric.columns["accuracy"]
    assert (column.binary, column.scale) == (True, 100)
    assert metric.settings == {"detector": "test", "threshold": 0.3}
    assert metric.score([given[3]])[0].keys() == {"accuracy"}
    assert pickle.loads(pickle.dumps(metric)) == metric


def test_accuracy_with_rtmdet(checkpoint: Path) -> None:
    detector = RTMDet(weights=str(checkpoint), device="cpu")
    one = painting(1, label=0)
    seen = {kind for kind, score in detector.detect([one.crop])[0] if score > 0.3}
    metric = ClassAccuracy(detector=pickle.loads(pickle.dumps(detector)))
    assert metric.score([one])[0]["accuracy"] == float(0 in seen)
    assert metric.settings["channels"] == "swapped"


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match="channels must be one of"):
        RTMDet(channels="bgr")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="channels must be one of"):
        TransformersDetector(channels="bgr")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="threshold"):
        ClassAccuracy(threshold=3)
