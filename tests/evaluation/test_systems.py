"""Systems of a table: the stock pipelines' pictures, one model for many rows, other people's."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
)
from PIL import Image

from hdpainter_nb import Job, Sampler, load
from hdpainter_nb.errors import EvaluationError, ModelError, SettingsError
from hdpainter_nb.evaluation import systems
from hdpainter_nb.evaluation.engines.local import LocalEngine
from hdpainter_nb.evaluation.painting import paint_all
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.systems import (
    METHODS,
    ResultsFolder,
    SamplerSystem,
    weights_fingerprint,
)
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet, framed
from hdpainter_nb.mini.triplets import MiniTriplets
from hdpainter_nb.mini.watched_system import WatchedSystem
from hdpainter_nb.settings import PRESETS, Settings
from support import builders, builders_xl
from support.evaluation import Painter, SmallSet
from support.stock_runs import latents_of, run_stock

SHORT = EvaluationProtocol(steps=3)
STOCK = {  # what the stock pipelines do, but for the size, which is the triplets'
    **{k: v for k, v in PRESETS["community"].items() if k != "scaling"},
    "ddim_eta": 0.0,
    "negative_prompt": None,
    "size": "pad",
    "prompt_additions": "none",
}


def a_triplet(
    height: int = 128, width: int = 128, *, seed: int = 0, side: int | None = None
) -> FramedTriplet:
    """Noise with a hole, framed to a long side; by default to its own."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    triplet = Triplet(f"{seed}_0", image, mask, "a red star")
    return framed(triplet, side or max(height, width))


def a_system(folder: str, **changes: Any) -> SamplerSystem:
    return SamplerSystem(**{"name": "ours", "model": folder, "protocol": SHORT, **changes})


@pytest.fixture(scope="module")
def network(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ControlNet for the small sd15."""
    folder = tmp_path_factory.mktemp("control") / "net"
    return str(builders.make_controlnet(folder, folders["sd15-4ch"]))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An SDXL made for 128 px."""
    return str(builders_xl.make_xl_folder(tmp_path_factory.mktemp("xl") / "xl"))


# --- what it paints ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_picture_is_that_of_a_sampler_set_up_by_hand(
    method: str, folders: dict[str, str]
) -> None:
    first, second = a_triplet(), a_triplet(seed=1)
    system = a_system(folders["sd15"], method=method)
    job = Job(
        first.image,
        first.hole,
        "a red star",
        steps=3,
        guidance_scale=7.5,
        eta=0.25,
        prompt_additions="none",
        seed=7,
        painta=method in ("painta", "both"),
        rasg=method in ("rasg", "both"),
    )
    by_hand = Sampler(load(folders["sd15"]), job)
    by_hand.run()
    (alone,) = system.paint([first], 7)
    np.testing.assert_array_equal(alone.picture, by_hand.image())
    assert alone.numbers.keys() == system.columns.keys() == {"seconds"}
    assert alone.numbers["seconds"] > 0
    together = system.paint([first, second], 7)
    np.testing.assert_allclose(together[0].picture.astype(int), alone.picture.astype(int), atol=1)
    assert np.abs(together[1].picture.astype(int) - alone.picture).max() > 3
    assert set(METHODS[method].items()) <= set(system.settings.items())


def test_protocol_and_overrides_reach_the_sampler(folders: dict[str, str]) -> None:
    protocol = EvaluationProtocol(
        steps=9, guidance_scale=None, eta=0.1, prompt_additions="comma", seeds=(5,)
    )
    system = a_system(folders["sd15"], protocol=protocol, overrides={"sigma": "cumulative"})
    settings = system.job(a_triplet(), 5).settings
    wanted = {
        "steps": 9,
        "guidance_scale": None,
        "eta": 0.1,
        "prompt_additions": "comma",
        "sigma": "cumulative",
        "seed": 5,
        "painta": True,
        "rasg": True,
    }
    assert {name: getattr(settings, name) for name in wanted} == wanted
    others = settings.differences(Settings())
    assert {*others} <= {*wanted, "long_side", "scaling"}


@pytest.mark.parametrize("size", [(128, 93), (93, 128), (90, 66), (192, 131), (64, 64)])
def test_nothing_is_resized_unless_it_is_asked_for(
    size: tuple[int, int], folders: dict[str, str]
) -> None:
    """The model was made for 128 px."""
    triplet = a_triplet(*size)
    size = triplet.image.shape[0], triplet.image.shape[1]
    system = a_system(folders["sd15"], method="base", protocol=EvaluationProtocol(steps=1))
    layout = system.loaded.layout(system.job(triplet, 1))
    assert layout.mask.crop == (0, 0, *size)
    np.testing.assert_array_equal(layout.picture[: size[0], : size[1]], triplet.image)
    np.testing.assert_array_equal(layout.mask.pixels[: size[0], : size[1]], triplet.hole)
    (painting,) = system.paint([triplet], 1)
    assert painting.picture.shape == triplet.image.shape


def test_a_size_as_cut_by_the_official_resizing_stays(folders: dict[str, str]) -> None:
    triplet = a_triplet(464, 640, side=512)
    assert triplet.hole.shape == (371, 512)
    system = a_system(folders["sd15"])
    layout = system.loaded.layout(system.job(triplet, 1))
    assert (layout.mask.crop, layout.mask.size) == ((0, 0, 371, 512), (384, 512))


@pytest.mark.diffusers
def test_controlnet_is_bit_equal_to_the_stock_pipeline(
    folders: dict[str, str], network: str
) -> None:
    triplet = a_triplet()
    system = a_system(
        folders["sd15-4ch"],
        controlnet=network,
        method="base",
        overrides={**STOCK, "control_scale": 0.5},  # what the stock pipeline takes by itself
    )
    base = StableDiffusionInpaintPipeline.from_pretrained(folders["sd15-4ch"], safety_checker=None)
    pipe = StableDiffusionControlNetInpaintPipeline(
        **{name: getattr(base, name) for name in ("vae", "text_encoder", "tokenizer", "unet")},
        controlnet=ControlNetModel.from_pretrained(network),
        scheduler=DDIMScheduler.from_config(
            base.scheduler.config, steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    control = triplet.image.astype(np.float32) / 255
    control[triplet.hole] = -1
    more: dict[str, Any] = {
        "control_image": torch.from_numpy(control).permute(2, 0, 1)[None],
        "strength": 1.0,
        "negative_prompt": None,
    }
    latents, _ = run_stock(pipe, system.job(triplet, 3), **more)
    sampler = system.sampler(triplet, 3)
    sampler.run()
    assert len(latents) == 3
    for a, b in zip(latents_of(sampler), latents, strict=True):
        assert torch.equal(a, b), (a - b).abs().max()
    _, pictures = run_stock(pipe, system.job(triplet, 3), output_type="pil", **more)
    (painting,) = system.paint([triplet], 3)
    np.testing.assert_array_equal(painting.picture, np.asarray(pictures[0]))
    plain = a_system(folders["sd15-4ch"], method="base", overrides=STOCK)
    assert not np.array_equal(plain.paint([triplet], 3)[0].picture, painting.picture)
    assert plain.fingerprint() != system.fingerprint()


@pytest.mark.diffusers
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("strength", [1.0, 0.9999])
def test_sdxl_paints_at_its_own_size_and_brings_the_result_back(
    strength: float, large: str
) -> None:
    """0.9999 is what diffusers takes if it is told nothing: a step less, from the noised picture.

    One pixel is 64 times smaller in the framed triplet than where it is painted.
    """
    triplet = a_triplet(64, 64)
    overrides = {**STOCK, "scheduler": "euler", "strength": strength}
    system = a_system(large, method="base", native=True, overrides=overrides)
    whole = [
        np.asarray(Image.fromarray(array).resize((128, 128), Image.Resampling.BICUBIC))
        for array in (triplet.image, triplet.hole.astype(np.uint8) * 255)
    ]
    enlarged = Job(whole[0], whole[1] >= 128, "a red star", steps=3, seed=3, scheduler="euler",
                   rasg=False)  # fmt: skip
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(large)
    given: dict[str, Any] = {"negative_prompt": None}
    if strength == 1.0:
        given["strength"] = 1.0
    latents, _ = run_stock(pipe, enlarged, **given)
    sampler = system.sampler(triplet, 3)
    sampler.run()
    assert len(latents) == (3 if strength == 1.0 else 2)
    for a, b in zip(latents_of(sampler), latents, strict=True):
        assert torch.equal(a, b), (a - b).abs().max()
    _, pictures = run_stock(pipe, enlarged, output_type="pil", **given)
    (painting,) = system.paint([triplet], 3)
    theirs = cv2.resize(np.asarray(pictures[0]), (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(painting.picture, theirs)


def test_what_differs_in_size_once_enlarged_is_painted_apart(tmp_path: Path) -> None:
    """128 x 90 and 128 x 120 px lie in frames of 128 x 128; at 256 px the second is wider."""
    larger = str(builders_xl.make_xl_folder(tmp_path / "xl", size=32))
    protocol = EvaluationProtocol(steps=1)
    system = a_system(larger, method="base", native=True, protocol=protocol)
    triplets = [a_triplet(128, 90), a_triplet(128, 120, seed=1), a_triplet(128, 91, seed=2)]
    sizes = [system.loaded.layout(system.job(t, 1)).mask.size for t in triplets]
    assert sizes == [(256, 192), (256, 256), (256, 192)]
    together = system.paint(triplets, 1)
    for triplet, painting in zip(triplets, together, strict=True):
        assert painting.picture.shape == triplet.image.shape
        alone = system.paint([triplet], 1)[0].picture.astype(int)
        np.testing.assert_allclose(painting.picture.astype(int), alone, atol=1)


def test_a_model_made_for_less_is_not_asked_to_enlarge(folders: dict[str, str]) -> None:
    system = a_system(folders["sd15"], method="base", native=True)
    assert system.job(a_triplet(192, 100), 1).settings.long_side == 192


# --- what decides its pictures -------------------------------------------------------------------


def test_settings_are_json_and_say_what_differs(folders: dict[str, str], network: str) -> None:
    base = a_system(folders["sd15"], name="a")
    facts = base.settings
    assert json.loads(json.dumps(facts)) == facts
    assert "seed" not in facts
    alike = [{"name": "b"}, {"at_once": 1}, {"protocol": EvaluationProtocol(steps=3, seeds=(9,))}]
    other: list[dict[str, Any]] = [
        {"method": "base"},
        {"native": True},
        {"controlnet": network},
        {"model": folders["sd2"]},
        {"protocol": EvaluationProtocol(steps=4)},
        {"protocol": EvaluationProtocol(steps=3, eta=0.1)},
        {"protocol": EvaluationProtocol(steps=3, prompt_additions="comma")},
        {"overrides": {"strength": 0.9}},
    ]
    for changes in alike:
        assert dataclasses.replace(base, **changes).settings == facts
    for changes in other:
        assert dataclasses.replace(base, **changes).settings != facts, changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "all"}, "method must be one of 'base', 'rasg', 'painta', 'both', not 'all'"),
        ({"at_once": 0}, "at_once must be a whole number from 1"),
        ({"overrides": {"seed": 3}}, "cannot hold 'seed': the seeds are the protocol's"),
        ({"overrides": {"long_side": 64}}, "cannot hold 'long_side': triplets are painted at"),
        ({"overrides": {"scaling": "area"}}, "cannot hold 'scaling': triplets are painted at"),
        ({"overrides": {"step": 3}}, "no setting 'step'. Did you mean 'steps'"),
        ({"overrides": {"scheduler": "euler"}}, "RASG puts the gradient in the place of noise"),
        ({"overrides": {"strength": 0.1}}, "strength=0.1 leaves none of 3 steps"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(
    changes: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        a_system("nowhere", **changes)


def test_a_model_that_is_not_there_says_so() -> None:
    with pytest.raises(ModelError):
        a_system("/nowhere/at/all").fingerprint()


def test_rows_of_a_table_share_one_model(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    systems._loaded.cache_clear()
    loads: list[str] = []

    def counted(source: str, **options: Any) -> Any:
        loads.append(source)
        return load(source, **options)

    monkeypatch.setattr(systems, "load", counted)
    rows = [a_system(folders["sd15"], name=method, method=method) for method in METHODS]
    assert len({id(row.loaded) for row in rows}) == 1
    assert len({row.fingerprint() for row in rows}) == 1
    assert loads == [folders["sd15"]]
    a_system(folders["sd15"], load_options={"dtype": "bfloat16"}).loaded  # noqa: B018
    assert loads == [folders["sd15"]] * 2


def test_no_model_travels_to_another_process(folders: dict[str, str]) -> None:
    system = WatchedSystem(
        name="ours",
        model=folders["sd15"],
        protocol=SHORT,
        overrides=MappingProxyType({"sigma": "cumulative"}),
        load_options=MappingProxyType({"device": "cpu"}),
    )
    before = len(pickle.dumps(system))
    system.loaded  # noqa: B018  # loads it
    system.fingerprint()
    sent = pickle.dumps(system)
    assert len(sent) == before < 4000
    again = pickle.loads(sent)
    assert again == system
    assert again.settings == system.settings


@pytest.mark.slow
def test_the_fingerprint_is_that_of_other_processes(folders: dict[str, str]) -> None:
    system = a_system(folders["sd15"])
    script = (
        "import pickle, sys; sys.stdout.write(pickle.loads(sys.stdin.buffer.read()).fingerprint())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(system), capture_output=True, check=True
    )
    assert done.stdout.decode() == system.fingerprint()


def test_the_fingerprint_is_that_of_the_weights(
    folders: dict[str, str], tmp_path: Path, network: str
) -> None:
    base = a_system(folders["sd15"]).fingerprint()
    alike = builders.make_folder(tmp_path / "alike", "sd15")
    other = builders.make_folder(tmp_path / "other", "sd15", seed=1)
    assert a_system(str(alike)).fingerprint() == base
    fingerprints = {
        base,
        a_system(str(other)).fingerprint(),
        a_system(folders["sd15"], controlnet=network).fingerprint(),
        a_system(folders["sd15"], load_options={"dtype": "float16"}).fingerprint(),
    }
    assert len(fingerprints) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_changed_weight_changes_the_fingerprint(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).to(dtype)
    before = weights_fingerprint(network)
    assert weights_fingerprint(network) == before
    network.to(memory_format=torch.channels_last)
    assert weights_fingerprint(network) == before, "how it lies in memory is no matter"
    with torch.no_grad():
        network[0].weight[3, 2, 1, 1] *= -1
    assert weights_fingerprint(network) != before
    seen = {weights_fingerprint(network.to(kind)) for kind in (torch.float16, torch.bfloat16)}
    assert len(seen) == 2


def test_offloaded_weights_are_hashed_where_they_lie() -> None:
    from accelerate import cpu_offload

    def make(sign: float = 1.0) -> torch.nn.Module:
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(3, 4),
            torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)),
        )
        with torch.no_grad():
            network[1][1].weight[0, 0] *= sign
        return network

    plain = weights_fingerprint(make())
    for sign, same in ((1.0, True), (-1.0, False)):
        network = make(sign)
        cpu_offload(network, execution_device=torch.device("cpu"))
        assert next(network.parameters()).is_meta
        assert (weights_fingerprint(network) == plain) == same
    with pytest.raises(EvaluationError, match=r"'0.bias' of Sequential has no values"):
        weights_fingerprint(make().to("meta"))


# --- a folder of results -------------------------------------------------------------------------


def save(folder: Path, name: str, picture: np.ndarray) -> Path:
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def test_pictures_made_elsewhere_are_read(tmp_path: Path) -> None:
    """At the size of the scores as they are, at the original's resized."""
    small = a_triplet(96, 128, side=64)
    assert small.image.shape == (48, 64, 3)
    rng = np.random.default_rng(9)
    exact = rng.integers(0, 256, (48, 64, 3), np.uint8)
    original = rng.integers(0, 256, (96, 128, 3), np.uint8)
    system = ResultsFolder(name="theirs", folder=str(tmp_path))
    save(tmp_path, "0_0", exact)
    np.testing.assert_array_equal(system.paint([small], 1)[0].picture, exact)
    save(tmp_path, "0_0", original)
    by_area = original.reshape(48, 2, 64, 2, 3).astype(float).mean((1, 3))
    picture = system.paint([small], 1)[0].picture
    assert np.abs(picture - by_area).max() <= 1
    assert json.loads(json.dumps(system.settings)) == {"folder": tmp_path.name}
    assert pickle.loads(pickle.dumps(system)) == system


def test_each_seed_has_its_own_pictures(tmp_path: Path) -> None:
    triplet = a_triplet(64, 64)
    system = ResultsFolder(name="theirs", folder=str(tmp_path))
    save(tmp_path / "seed-2", "0_0", np.full((64, 64, 3), 2, np.uint8))
    assert system.missing(["0_0", "1_0"], 2) == ["1_0"]
    assert system.missing(["0_0"], 1) == ["0_0"]
    save(tmp_path, "0_0", np.full((64, 64, 3), 9, np.uint8))
    assert [system.paint([triplet], seed)[0].picture[0, 0, 0] for seed in (1, 2)] == [9, 2]


def test_a_picture_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    triplet = a_triplet(96, 128, side=64)
    system = ResultsFolder(name="theirs", folder=str(tmp_path))
    with pytest.raises(EvaluationError, match=r"has no 0_0\.png\.$"):
        system.paint([triplet], 1)
    path = save(tmp_path, "0_0", np.zeros((64, 64, 3), np.uint8))
    sentence = r"0_0\.png' has 64x64 px. Its triplet is scored at 64x48 px and was 128x96 px"
    with pytest.raises(EvaluationError, match=sentence):
        system.paint([triplet], 1)
    whole = save(tmp_path, "0_0", np.zeros((48, 64, 3), np.uint8)).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no picture"):
        path.write_bytes(content)
        with pytest.raises(EvaluationError, match=r"0_0\.png': "):
            system.paint([triplet], 1)
    with pytest.raises(EvaluationError, match=r"no folder of results '.*nowhere'"):
        ResultsFolder(name="theirs", folder=str(tmp_path / "nowhere")).fingerprint()


def test_missing_pictures_are_said_before_anything_is_painted(tmp_path: Path) -> None:
    log, triplets = tmp_path / "log", SmallSet(12)
    painter, theirs = (
        Painter(log=str(log)),
        ResultsFolder(name="theirs", folder=str(tmp_path / "x")),
    )
    for id in triplets.ids[:5]:
        save(tmp_path / "x", id, triplets[id].image)
    run = Run.begin(tmp_path / "run", EvaluationProtocol(), triplets, [painter, theirs])
    sentence = (
        r"'theirs' has no picture of 7 of 12 triplets \(seed 1\): 5_0\.png, 6_0\.png, 7_0\.png, "
        r"8_0\.png, 9_0\.png, \.\.\.\. Add them, or leave 'theirs' out"
    )
    with pytest.raises(EvaluationError, match=sentence):
        paint_all(run, [painter, theirs], triplets)
    assert not log.exists()
    for id in triplets.ids[5:]:
        save(tmp_path / "x", id, triplets[id].image)
    assert paint_all(run, [painter, theirs], triplets) == 24
    for path in (tmp_path / "x").iterdir():
        path.unlink()  # they are in the run, and needed no more
    assert paint_all(run, [painter, theirs], triplets) == 0


# --- all together --------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_paint_with_the_miniature(tmp_path: Path) -> None:
    protocol = EvaluationProtocol.named("miniature", steps=2)
    system = WatchedSystem(name="ours", model="mini", protocol=protocol, at_once=1)
    triplets = MiniTriplets("provocation", 2)
    run = Run.begin(tmp_path / "run", protocol, triplets, [system])
    assert paint_all(run, [system], triplets, engine=LocalEngine(2)) == 2
    for id in triplets.ids:
        painting = run.read("ours", 1, id)
        (here,) = system.paint([framed(triplets[id], 256, "hole")], 1)
        np.testing.assert_allclose(painting.picture.astype(int), here.picture.astype(int), atol=1)
        assert painting.numbers.keys() == {"seconds", "peak_16", "peak_32"}
