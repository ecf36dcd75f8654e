"""SmartBrush's recipe: its masks, losses, and training, which goes on as if it had not ended."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from hdpainter_nb import Job, Sampler, load
from hdpainter_nb.errors import EvaluationError, ModelError, SettingsError
from hdpainter_nb.mini import train_smartbrush
from hdpainter_nb.mini.training import networks
from hdpainter_nb.mini.training.data_objects import WorldObjects, to_row
from hdpainter_nb.mini.training.noising import Noising
from hdpainter_nb.mini.training.object_masks import LEVELS, box_of, coarser_mask
from hdpainter_nb.mini.training.object_rows import ObjectRows
from hdpainter_nb.mini.training.smartbrush import dice_loss, noised_inside, prepared_unet
from hdpainter_nb.mini.world.scene import Thing, scene, silhouette
from hdpainter_nb.utils.files import data_path
from support.builders import make_folder, make_scheduler, make_unet

Plan = train_smartbrush.Plan


# --- masks ---------------------------------------------------------------------------------------


@pytest.fixture
def star() -> np.ndarray:
    return silhouette(Thing("red", "star", 120, 130, 40, 0.1))


def test_masks_grow_from_the_object_to_its_box(star: np.ndarray) -> None:
    masks = [coarser_mask(star, level, 256) for level in range(LEVELS)]
    np.testing.assert_array_equal(masks[0], star)
    for finer, coarser in pairwise(masks[:-1]):
        assert (coarser | ~finer).all()
        assert coarser.sum() > finer.sum()
    rows, columns = np.nonzero(star)
    box = np.zeros_like(star)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    np.testing.assert_array_equal(masks[-1], box)


def test_blurred_masks_against_a_sum_over_every_pixel(star: np.ndarray) -> None:
    small = cv2.resize(star.astype(np.uint8), (64, 64), interpolation=cv2.INTER_AREA) > 0
    sigma = 64 / 32
    rows, columns = np.mgrid[:64, :64].astype(np.float64)
    soft = sum(
        np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
        for y, x in zip(*np.nonzero(small), strict=True)
    ) / (2 * np.pi * sigma**2)
    differing = coarser_mask(small, 2, 64) != ((soft > 0.1) | small)
    assert differing.sum() <= 2  # where the value is 0.1 but for rounding


def test_an_object_is_covered_by_its_silhouette() -> None:
    thing = Thing("red", "circle", 250.0, 100.0, 30.0)  # hangs out of the picture
    with_, without = (scene(5, "plain", objects).image.astype(int) for objects in ([thing], []))
    shape = silhouette(thing)
    changed = np.abs(with_ - without).sum(2) > 150
    assert (changed & ~shape).mean() < 0.002
    rows, columns = np.mgrid[:256, :256]
    disc = np.hypot(columns - 250, rows - 100) < 30
    assert (shape != disc).mean() < 0.003


# --- losses --------------------------------------------------------------------------------------


def test_dice_against_loops() -> None:
    rng = np.random.default_rng(0)
    logits, shape = rng.normal(size=(3, 1, 4, 5)), rng.random((3, 1, 4, 5))
    counted = np.array([True, False, True])
    expected = []
    for z, m in zip(logits[counted], shape[counted], strict=True):
        p = 1 / (1 + np.exp(-z))
        common = sum(a * b for a, b in zip(p.flat, m.flat, strict=True))
        expected.append(1 - 2 * common / (p.sum() + m.sum()))
    given = (torch.from_numpy(logits), torch.from_numpy(shape), torch.from_numpy(counted))
    assert float(dice_loss(*given)) == pytest.approx(np.mean(expected), rel=1e-5)
    perfect = torch.where(given[1] > 0.5, 40.0, -40.0)
    assert float(dice_loss(perfect, (given[1] > 0.5).double(), given[2])) < 1e-6
    assert float(dice_loss(*given[:2], torch.zeros(3, dtype=torch.bool))) == 0.0


def test_noise_is_in_the_hole_alone() -> None:
    clean, noisy = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    hole = (torch.rand(2, 1, 4, 4) > 0.5).float()
    mixed = noised_inside(clean, noisy, hole)
    for index in np.ndindex(2, 4, 4, 4):
        inside = hole[index[0], 0, index[2], index[3]] == 1
        assert mixed[index] == (noisy if inside else clean)[index]


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_the_goal_is_what_the_scheduler_steps_by(predicts: str) -> None:
    scheduler = make_scheduler(predicts)
    noising = Noising(scheduler, torch.device("cpu"))
    torch.manual_seed(0)
    clean = torch.randn(5, 4, 2, 2, dtype=torch.float64)
    noisy, time = noising(clean)
    abar = scheduler.alphas_cumprod[time].double().view(-1, 1, 1, 1)
    eps = (noisy - abar.sqrt() * clean) / (1 - abar).sqrt()
    expected = eps if predicts == "epsilon" else abar.sqrt() * eps - (1 - abar).sqrt() * clean
    torch.testing.assert_close(noising.goal(clean, noisy, time), expected, rtol=1e-4, atol=1e-4)


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [4, 9])
def test_a_prepared_unet_says_what_it_said(channels: int) -> None:
    torch.manual_seed(0)
    unet = make_unet(channels=channels).eval()
    larger = prepared_unet(unet, LEVELS).eval()
    x, context = torch.randn(1, 9, 16, 16), torch.randn(1, 7, 32)
    with torch.no_grad():
        before = unet(x[:, :channels], 500, context).sample
        after = larger(x, 500, context, class_labels=torch.tensor([3])).sample
    torch.testing.assert_close(after[:, :4], before, rtol=1e-5, atol=1e-6)
    assert not after[:, 4:].any()
    assert prepared_unet(larger, LEVELS) is larger


# --- examples ------------------------------------------------------------------------------------


def test_examples_hold_the_object_that_they_name() -> None:
    levels, wholes = set(), 0
    for number in range(40):
        for example in WorldObjects(3, 128).group(number):
            if example.shape is None:
                wholes += 1
                assert example.hole.all()
                continue
            levels.add(example.level)
            assert example.shape.any()
            assert (example.hole | ~example.shape).all()
            assert example.marks is not None
            assert example.marks.any()
    assert levels == {*range(LEVELS)}
    assert 5 <= wholes <= 32


def test_an_example_is_decided_by_its_number() -> None:
    first, again = (WorldObjects(3, 64).group(7) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.ids == other.ids


@pytest.mark.parametrize("fresh", [1.0, 0.25])
def test_batches_can_be_gone_to(fresh: float) -> None:
    vae, _ = networks.load_frozen(data_path("mini"), torch.device("cpu"))
    source = WorldObjects(3, 64)
    make: Callable[[], ObjectRows] = lambda: ObjectRows(  # noqa: E731
        source, vae, batch=4, fresh=fresh, window=6
    )
    rows = make()
    before = torch.get_rng_state()
    batches = [next(rows) for _ in range(5)]
    assert torch.equal(torch.get_rng_state(), before)
    later = make()
    later.go_to(3)
    for expected in batches[3:]:
        for name, value in next(later).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


# --- training ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def accelerates_anew() -> Iterator[None]:
    """accelerate remembers its first mixed precision for good."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Of the miniature with a UNet that is smaller yet."""
    folder = tmp_path_factory.mktemp("smartbrush")
    rest = shutil.ignore_patterns("unet", "*.md", "oracle*")
    shutil.copytree(data_path("mini"), folder / "start", ignore=rest)
    torch.manual_seed(0)
    make_unet(width=96, size=32).save_pretrained(folder / "start" / "unet")
    return Plan(
        start=str(folder / "start"), out=folder / "out", work=folder / "work", steps=4, size=64,
        batch=2, window=4, save_every=2, cpu=True,
    )  # fmt: skip


def _weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(out / "unet" / "diffusion_pytorch_model.safetensors")


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_smartbrush.train(plan)
    whole = torch.load(plan.work / "smartbrush.pt", weights_only=True)

    other = replace(plan, out=plan.out.parent / "out2", work=plan.work.parent / "work2")
    learn = train_smartbrush.ExactRun.learn

    def killed(self: Any, *args: Any) -> Any:
        if self.step == 3:
            raise KeyboardInterrupt
        return learn(self, *args)

    monkeypatch.setattr(train_smartbrush.ExactRun, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        train_smartbrush.train(other)
    monkeypatch.undo()
    assert torch.load(other.work / "smartbrush.pt", weights_only=True)["step"] == 2
    train_smartbrush.train(other)
    again = torch.load(other.work / "smartbrush.pt", weights_only=True)
    assert (whole["step"], again["step"]) == (4, 4)
    for name, tensor in whole["network"].items():
        assert torch.equal(tensor, again["network"][name]), name
    for name, tensor in _weights(plan.out).items():
        assert torch.equal(tensor, _weights(other.out)[name]), name


def test_what_was_trained_paints(plan: Plan) -> None:
    if not (plan.out / "unet").exists():
        train_smartbrush.train(plan)
    assert (plan.out / "vae" / "config.json").read_bytes() == (
        data_path("mini") / "vae" / "config.json"
    ).read_bytes()
    model = load(str(plan.out), device="cpu")
    assert model.mask_precisions == LEVELS
    image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    sampler = Sampler(model, Job(image, mask, "a red star", steps=1, mask_precision=0))
    assert sampler.step().object_mask is not None


def test_a_damaged_checkpoint_is_told(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "smartbrush.pt").write_bytes(b"half a file")
    with pytest.raises(SettingsError, match=r"checkpoint .* damaged .* remove it"):
        train_smartbrush.train(replace(plan, work=tmp_path, out=tmp_path / "out"))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three pictures with two objects each."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    images, annotations = [], []
    for number in range(3):
        name = f"{number}.png"
        cv2.imwrite(
            str(tmp_path / "pictures" / name), rng.integers(0, 255, (150, 200, 3), np.uint8)
        )
        images.append({"id": number, "file_name": name, "height": 150, "width": 200})
        for k in range(2):
            x, y = 20 + 80 * k, 30 + 10 * number
            corners = [x, y, x + 60, y, x + 60, y + 70, x, y + 70]
            annotations.append(
                {"id": 10 * number + k, "image_id": number, "category_id": k, "iscrowd": 0,
                 "segmentation": [corners]}
            )  # fmt: skip
    categories = [{"id": 0, "name": "red star"}, {"id": 1, "name": "circle"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    said = [{"image_id": n, "caption": f"a star and a circle {n}"} for n in range(3)]
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": said}))
    (tmp_path / "descriptions.json").write_text(json.dumps({"0": "the left star"}))
    return tmp_path


def test_photographs_train_any_model(coco: Path) -> None:
    """The command as on a GPU: another model in the hub's layout, gradients accumulated, bf16."""
    start = make_folder(coco / "model", "sd15-4ch")
    plan = Plan(
        start=str(start), out=coco / "out", work=coco / "work", images=coco / "pictures",
        instances=coco / "instances.json", captions=coco / "captions.json",
        descriptions=coco / "descriptions.json", steps=2, size=128, batch=2, accumulate=2,
        mixed_precision="bf16", checkpointing=True, cpu=True,
    )  # fmt: skip
    train_smartbrush.train(plan)
    model = load(str(coco / "out"), device="cpu")
    assert (model.kind, model.mask_precisions) == ("inpaint", LEVELS)
    before = make_unet(channels=4).state_dict()["mid_block.resnets.0.conv1.weight"]
    assert not torch.equal(model.unet.state_dict()["mid_block.resnets.0.conv1.weight"], before)


def test_photographs_examples(coco: Path) -> None:
    from hdpainter_nb.evaluation.triplets.coco import CocoTriplets
    from hdpainter_nb.mini.training.data_coco import Captions, CocoObjects

    start = make_folder(coco / "model", "sd15")
    tokens = load(str(start), device="cpu").pipe.tokenizer
    triplets = CocoTriplets(coco, None, images=coco / "pictures", instances=coco / "instances.json")
    mask = triplets.object_mask("0_0")
    assert mask[30:100, 20:80].all()
    assert mask.sum() <= 62 * 72
    captions = Captions.read(coco / "captions.json", coco / "descriptions.json")
    source = CocoObjects(triplets, captions, tokens, size=128, seed=0)
    examples = [source.group(number)[0] for number in range(60)]
    assert {example.image.shape for example in examples} == {(128, 128, 3)}
    wholes = [e for e in examples if e.shape is None]
    assert 3 <= len(wholes) <= 25
    said = {
        tokens.decode(e.ids, skip_special_tokens=True).strip()
        for e in examples
        if e.shape is not None
    }
    assert {"red star", "circle", "the left star"} <= said
    row = to_row(wholes[0], torch.zeros(4, 16, 16), torch.zeros(4, 16, 16))
    assert "marks" not in row
    assert bool(row["whole"])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"start": "/no/such/folder"}, ModelError, "no file or folder"),
        ({"images": Path("/no/such")}, SettingsError, "both --images and --instances"),
        (
            {"images": Path("/no/such"), "instances": Path("/no/such.json")},
            EvaluationError,
            "no folder of images",
        ),
        ({"captions": Path("/no/captions.json")}, SettingsError, "cannot be read as json"),
        ({"captions": "instances.json"}, SettingsError, "no file of captions"),
        ({"descriptions": "list.json"}, SettingsError, "annotation id: text"),
    ],
)
def test_bad_inputs_are_told_in_a_sentence(
    coco: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    (coco / "list.json").write_text("[1]")
    named = {k: coco / v if k != "start" and isinstance(v, str) else v for k, v in change.items()}
    photographs = {"images": coco / "pictures", "instances": coco / "instances.json"}
    about_words = {"captions", "descriptions"} & {*change}
    plan = Plan(
        **{"start": str(data_path("mini")), **(photographs if about_words else {}), **named},
        out=coco / "out", work=coco / "work", steps=1, size=64, batch=1, cpu=True,
    )  # fmt: skip
    with pytest.raises(error, match=said):
        train_smartbrush.train(plan)
    assert not (coco / "out").exists()


def test_another_models_words_are_not_the_worlds(coco: Path) -> None:
    start = make_folder(coco / "model", "sd15")
    plan = Plan(start=str(start), out=coco / "out", work=coco / "work", steps=1, cpu=True)
    with pytest.raises(SettingsError, match="procedural world's words"):
        train_smartbrush.train(plan)


def test_the_command_ends_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train_smartbrush", "--start", "/no/such", "--cpu"])
    with pytest.raises(SystemExit, match="train_smartbrush: There is no file or folder"):
        train_smartbrush.main()


def test_box_of() -> None:
    mask = np.zeros((6, 7), bool)
    mask[2, 3] = mask[4, 1] = True
    assert box_of(mask) == (slice(2, 5), slice(1, 4))
