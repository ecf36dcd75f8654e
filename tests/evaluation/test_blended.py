"""Blended Latent Diffusion as a system of a table, and the best of several seeds by CLIP."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from hdpainter_nb import Capture, Job, SamplerBatch, load
from hdpainter_nb.errors import EvaluationError, ModelError, SettingsError
from hdpainter_nb.evaluation import cost
from hdpainter_nb.evaluation.best_of import BestOfSeeds, Ranked, rank_batch, ranked
from hdpainter_nb.evaluation.catalogue import system_of, system_of_run
from hdpainter_nb.evaluation.metrics.clip import ClipModel
from hdpainter_nb.evaluation.metrics.clip_score import ClipScore
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.systems import SamplerSystem
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet, framed
from hdpainter_nb.mini.watched_system import WatchedSystem
from hdpainter_nb.utils import files
from support.builders_metrics import make_clip_folder, painting
from support.evaluation import SmallSet

SHORT = EvaluationProtocol(steps=4)


def a_triplet(height: int = 96, width: int = 128, seed: int = 0) -> FramedTriplet:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    return framed(Triplet(f"{seed}_0", image, mask, "a red star"), max(height, width))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipScore:
    return ClipScore.named("bld", model=str(make_clip_folder(tmp_path_factory.mktemp("clip"))))


@pytest.fixture
def system(folders: dict[str, str]) -> SamplerSystem:
    return SamplerSystem(
        name="bld", model=folders["sd15-4ch"], method="base", preset="bld", protocol=SHORT
    )


# --- the systems ---------------------------------------------------------------------------------


def test_a_table_s_pictures_are_squashed_and_brought_back(system: SamplerSystem) -> None:
    triplet = a_triplet()
    settings = system.job(triplet, 7).settings
    assert settings.differences(settings.preset("bld", steps=4, seed=7, long_side=128)) == {
        "eta": (0.25, 0.1),
        "guidance_scale": (7.5, None),
    }
    sampler = system.sampler(triplet, 7, Capture.nothing())
    sampler.run()
    assert sampler.image().shape == (128, 128, 3)
    (one,) = system.paint([triplet], 7)
    assert one.picture.shape == triplet.image.shape
    back = cv2.resize(sampler.image(), (128, 96), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(one.picture, back)


@pytest.mark.parametrize("native", [True, False])
def test_a_model_of_a_smaller_square_paints_at_its_own(
    folders: dict[str, str], native: bool
) -> None:
    """Latent diffusion was made for 256 px, the official evaluation for 512."""
    system = SamplerSystem(
        name="ldm", model=folders["sd15-4ch"], method="base", preset="bld_ldm", native=native,
        protocol=EvaluationProtocol(steps=1),
    )  # fmt: skip
    triplet = a_triplet(192, 256)
    assert system.job(triplet, 1).settings.long_side == (128 if native else 256)
    assert system.job(triplet, 1).settings.scaling == "lanczos"
    assert system.paint([triplet], 1)[0].picture.shape == (192, 256, 3)


@pytest.mark.parametrize(
    ("text", "scale", "start", "native"),
    [
        ("bld", 7.5, "noise", False),
        ("bld-sdxl", 5.0, "picture", True),
        ("bld-ldm", 5.0, "picture", True),
    ],
)
def test_each_form_is_a_row_by_name(text: str, scale: float, start: str, native: bool) -> None:
    system: Any = system_of(text, EvaluationProtocol())
    settings = system.settings
    assert (settings["guidance_scale"], settings["start"], system.native) == (scale, start, native)
    assert settings["preset"] == system.preset == text.replace("-", "_")
    assert (settings["painta"], settings["rasg"], settings["steps"]) == (False, False, 50)
    assert json.loads(json.dumps(settings)) == settings
    assert pickle.loads(pickle.dumps(system)) == system


def test_any_model_takes_a_baseline_for_a_method() -> None:
    system: Any = system_of("some/model:bld_ldm", EvaluationProtocol())
    assert (system.name, system.method, system.preset) == ("model-bld_ldm", "base", "bld_ldm")


def test_the_miniature_s_row_is_there_when_its_folder_is(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system: Any = system_of("mini:bld", SHORT)
    assert (system.name, system.model, system.preset) == ("mini-bld", "mini-text", "bld")
    (tmp_path / "data" / "mini").mkdir(parents=True)
    monkeypatch.setattr(files, "_WHEEL", tmp_path / "none")
    monkeypatch.setattr(files, "_CHECKOUT", tmp_path / "data")
    with pytest.raises(ModelError, match="The bundled model is not there: 'mini_text'"):
        load("mini-text")
    (tmp_path / "data" / "mini_text").symlink_to(folders["sd15-4ch"])
    model = load("mini-text")
    assert (model.name, model.kind) == ("mini-text", "blended")
    watched = WatchedSystem(**{**system.__dict__, "model": folders["sd15-4ch"]})
    triplet = a_triplet()
    triplet.triplet.facts.update(color="red", shape="star")
    numbers = watched.paint([triplet], 1)[0].numbers
    assert numbers.keys() == watched.columns.keys()


def test_a_run_s_file_gives_its_system_back(
    system: SamplerSystem, clip: ClipScore, tmp_path: Path
) -> None:
    best = BestOfSeeds(**{**system.__dict__, "name": "best"}, count=3, metric=clip)
    run = Run.begin(tmp_path / "run", SHORT, SmallSet(), [system, best])
    for one in (system, best):
        again = system_of_run(run, one.name)
        assert type(again) is type(one)
        assert again.settings == one.settings
    assert (again.count, again.metric) == (3, clip)


# --- the ranking ---------------------------------------------------------------------------------


def test_all_but_the_hole_is_black_for_the_score(clip: ClipScore) -> None:
    """As the authors rank: pixels times mask, by the cosine with the prompt."""
    one = painting(3, size=(64, 64))
    net = ClipModel(model=clip.model)
    black = one.picture.copy()
    black[~one.triplet.hole] = 0
    cosine = float((net.pictures([black]) * net.texts(["a red star"])).sum())
    (score,) = clip.score([one])
    assert score["clip_score_hole"] == pytest.approx(max(100 * cosine, 0), abs=1e-4)
    outside = one.picture.copy()
    outside[~one.triplet.hole] += 90
    assert clip.score([PaintedTriplet(one.triplet, outside)]) == [score]


def test_the_best_picture_comes_first(clip: ClipScore) -> None:
    triplet = a_triplet(64, 64)
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(5)]
    order = ranked(pictures, triplet, clip)
    scores = [clip.score([PaintedTriplet(triplet, one)])[0]["clip_score_hole"] for one in pictures]
    assert [one.index for one in order] == sorted(range(5), key=lambda n: -scores[n])
    assert [one.score for one in order] == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
    assert [one.index for one in ranked([pictures[0]] * 3, triplet, clip)] == [0, 1, 2]
    large = np.asarray(Image.fromarray(pictures[0]).resize((128, 128)))
    assert isinstance(ranked([large], triplet, clip)[0], Ranked)


def test_a_batch_is_ranked_by_its_job(folders: dict[str, str], clip: ClipScore) -> None:
    triplet = a_triplet()
    job = Job(triplet.image, triplet.hole, "a red star", preset="bld", steps=2)
    batch = SamplerBatch(load(folders["sd15-4ch"]), job, seeds=3, capture=Capture.nothing())
    batch.run()
    order = rank_batch(batch, clip)
    assert sorted(one.index for one in order) == [0, 1, 2]
    assert [one.score for one in order] == sorted((one.score for one in order), reverse=True)
    bare = object.__new__(SamplerBatch)
    sampler = batch[0]
    sampler.job = None
    bare.samplers = [sampler]
    with pytest.raises(EvaluationError, match="Without a job"):
        rank_batch(bare, clip)


def test_the_best_of_several_seeds_is_kept(
    system: SamplerSystem, clip: ClipScore, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = BestOfSeeds(**{**system.__dict__, "name": "best"}, count=3, metric=clip)
    assert best.seeds(7) == [7, 1_000_007, 2_000_007]
    assert max(best.seeds(2**63 - 1)) < 2**63
    triplets = [a_triplet(64, 64), a_triplet(64, 64, seed=1)]
    paintings = best.paint(triplets, 7)
    singles = [system.paint(triplets, seed) for seed in best.seeds(7)]
    for number, (triplet, one) in enumerate(zip(triplets, paintings, strict=True)):
        pictures = [single[number].picture for single in singles]
        kept = ranked(pictures, triplet, clip)[0].index
        assert one.numbers["candidate"] == kept
        np.testing.assert_array_equal(one.picture, pictures[kept])
        assert one.numbers.keys() == best.columns.keys()
    sampler = best.sampler(triplets[1], 7, Capture.nothing())
    assert sampler.settings.seed == best.seeds(7)[int(paintings[1].numbers["candidate"])]
    assert best.fingerprint() == system.fingerprint()
    assert best.settings != system.settings
    assert pickle.loads(pickle.dumps(best)) == best
    with pytest.raises(SettingsError, match="count must be"):
        BestOfSeeds(**system.__dict__, count=0)


def test_several_seeds_are_asked_for_by_name(tmp_path: Path) -> None:
    best: Any = system_of("bld-ldm@4", EvaluationProtocol())
    assert (best.name, best.count, best.metric) == ("bld-ldm-best4", 4, ClipScore.named("bld"))
    named: Any = system_of("row=mini:both@2", EvaluationProtocol(), at_once=2)
    assert (named.name, named.model, named.count, named.at_once) == ("row", "mini", 2, 2)
    (tmp_path / "run@4").mkdir()
    folder: Any = system_of(f"row={tmp_path / 'run@4'}", EvaluationProtocol())
    assert folder.folder == str(tmp_path / "run@4")
    trained: Any = system_of(f"smartbrush:{tmp_path}@2", EvaluationProtocol())
    assert (trained.name, trained.model, trained.count) == ("smartbrush-best2", str(tmp_path), 2)
    for text in (f"glide:{tmp_path}@4", "bld@4@2"):
        with pytest.raises(EvaluationError, match="cannot be followed by @"):
            system_of(text, EvaluationProtocol())
    for text in ("@4", "hers@4", "bld@"):
        with pytest.raises(EvaluationError, match="There is no system"):
            system_of(text, EvaluationProtocol())


def test_every_candidate_costs(
    system: SamplerSystem, clip: ClipScore, tmp_path: Path, unet_not_counted: None
) -> None:
    best = BestOfSeeds(**{**system.__dict__, "name": "best"}, count=3, metric=clip)
    protocol = EvaluationProtocol(steps=4, side=128)
    run = Run.begin(tmp_path / "run", protocol, SmallSet(2), [system, best])
    one, three = cost.cost_of(run, [system, best], SmallSet(2)).systems
    assert three.flops == 3 * one.flops > 0
