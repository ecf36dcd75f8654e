"""The command `hdpainter-nb`: an evaluation from end to end, and one sentence for what is wrong."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hdpainter_nb
from hdpainter_nb import command
from hdpainter_nb.command import main
from hdpainter_nb.evaluation import run as run_module
from hdpainter_nb.evaluation.catalogue import system_of_run
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.scoring import columns_of, rows_of
from support.evaluation import Painter, SmallSet

STEPS = ["--set", "steps=2", "--set", "guidance_scale=2.5"]
BASE = "base=mini:base"
OURS = "ours=mini:both"


def evaluate(folder: Path, *more: str, systems: tuple[str, ...] = (BASE, OURS)) -> int:
    chosen = [part for system in systems for part in ("--system", system)]
    return main(["evaluate", str(folder), *chosen, "--triplets", "mini", *STEPS, *more])


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two systems on two triplets, scored."""
    folder = tmp_path_factory.mktemp("command") / "run"
    assert evaluate(folder, "--n", "2") == 0
    assert main(["score", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(painted: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(painted, tmp_path / "run"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it refuses; one sentence or two, and no traceback."""
    capsys.readouterr()
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    *bars, last = said.rstrip("\n").split("\n")  # a bar that was begun stays
    assert all("picture" in bar for bar in bars)
    assert last.startswith("hdpainter-nb: ")
    return last


# --- from end to end -----------------------------------------------------------------------------


def test_settings_of_some_systems_join_others(copy: Path) -> None:
    call = ["evaluate", str(copy), "--system", "log=mini:painta", "--triplets", "mini", "--n", "2"]
    assert main([*call, *STEPS, "--set", "painta_scaling=log", "--set", "decode=latent"]) == 0
    run = Run.open(copy)
    settings = {name: run.facts["systems"][name]["settings"] for name in run.systems}
    assert list(settings) == ["base", "ours", "log"]
    assert settings["log"]["painta_scaling"] == "log"
    assert settings["ours"]["decode"] == "x0"
    again = system_of_run(run, "log")
    assert again is not None
    assert again.settings == settings["log"]


def test_settings_are_not_for_pictures_made_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("evaluate", str(tmp_path / "run"), "--triplets", "mini", "--system", f"a={tmp_path}")
    assert "does not run through" in refused(capsys, *call, "--set", "decode=latent")


def test_a_run_holds_what_was_asked_for(painted: Path) -> None:
    run = Run.open(painted)
    assert run.systems == ["base", "ours"]
    assert run.ids == ["background_0", "nearby_0"]
    assert run.facts["triplets"]["source"] == {"kind": "mini", "options": {"count": 2}}
    assert run.protocol.steps == 2
    assert run.protocol.eta == 0.1  # the miniature's protocol
    rows = rows_of(run)
    assert [(row["system"], row["id"]) for row in rows] == [
        (system, id) for system in ("base", "ours") for id in run.ids
    ]
    assert {"oracle", "true_seam", "preservation_psnr", "seconds", "peak_16"} <= {*columns_of(run)}
    assert not any(np.isnan(row["oracle"]) for row in rows)
    first, second = (run.read(name, 1, "nearby_0").picture for name in run.systems)
    assert not np.array_equal(first, second)


def test_it_goes_on_where_it_was(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    missing = copy / "pictures" / "ours" / "seed-1" / "nearby_0.png"
    missing.unlink()
    assert evaluate(copy, "--n", "2") == 0
    assert "\n1 pictures painted" in capsys.readouterr().out
    again = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    assert {path for path in pictures if again[path] != pictures[path]} == {missing}
    assert main(["score", str(copy)]) == 0
    assert capsys.readouterr().out.startswith("3 pictures scored")  # one by each of three metrics


def test_a_report_of_one_file_with_the_rows_beside_it(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = copy.parent / "rows.csv"
    assert main(["report", str(copy), "--csv", str(table), "--base", "base", "--ours", "ours"]) == 0
    said = capsys.readouterr().out
    assert "| base " in said
    assert "accuracy %" in said
    page = copy / "report.html"
    assert str(page) in said
    text = page.read_text("utf-8")
    assert "Differences to base" in text
    assert "data:image/" in text
    heading, *lines = table.read_text("utf-8").splitlines()
    assert heading.startswith("system,seed,id,group,")
    assert len(lines) == 4


def test_wins_and_losses_lead_to_their_traces(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(copy), "--explain", "1", "--base", "base"]) == 0
    traces = Run.open(copy).traces()
    assert {system for system, _, _ in traces} == {"base", "ours"}
    text = (copy / "report.html").read_text("utf-8")
    for (system, seed, id), page in traces.items():
        assert page in text
        assert (copy / page).with_suffix(".hdp").is_file()
        trace = hdpainter_nb.Trace.load((copy / page).with_suffix(".hdp"))
        assert len(trace.records()) == 2
        assert seed == 1
        assert id in Run.open(copy).ids
        assert trace.records()[-1].x0_preview is not None
        assert system_of_run(Run.open(copy), system).settings["painta"] is (system == "ours")


def test_shards_make_up_the_whole(painted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for shard in ("1/2", "2/2"):
        assert evaluate(folder, "--n", "2", "--shard", shard, systems=(BASE,)) == 0
        left = Run.open(folder).due("base", 1, Run.open(folder).ids)
        assert left == (["nearby_0"] if shard == "1/2" else [])
    whole = Run.open(painted)
    for id in whole.ids:
        one = Run.open(folder).read("base", 1, id).picture.astype(int)
        assert np.abs(one - whole.read("base", 1, id).picture).max() <= 2  # alone in its call


def test_the_cost_is_said_and_nothing_is_painted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "run", "--n", "3", "--estimate") == 0
    said = capsys.readouterr().out
    assert "base: 3 pictures, " in said
    assert "in all 6 pictures, " in said
    assert "FLOP, peak " in said
    assert not list((tmp_path / "run").rglob("*.png"))


def test_pictures_made_elsewhere_are_scored_alike(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    shutil.copytree(copy / "pictures" / "ours" / "seed-1", made)
    assert evaluate(copy, "--n", "2", systems=(f"theirs={made}",)) == 0
    assert main(["score", str(copy)]) == 0
    rows = {(row["system"], row["id"]): row for row in rows_of(Run.open(copy))}
    for id in Run.open(copy).ids:
        for column in ("oracle", "preservation_psnr", "true_seam_pasted"):
            assert rows["theirs", id][column] == rows["ours", id][column]
    assert main(["report", str(copy), "--ours", "theirs", "--explain", "1"]) == 0
    assert {system for system, _, _ in Run.open(copy).traces()} == {"base"}
    capsys.readouterr()
    (made / "nearby_0.png").unlink()
    shutil.rmtree(copy / "pictures" / "theirs")
    said = refused(
        capsys,
        *("evaluate", str(copy), "--system", f"theirs={made}", "--triplets", "mini"),
        *("--n", "2", *STEPS),
    )
    assert "nearby_0.png" in said
    Image.new("RGB", (100, 90)).save(made / "nearby_0.png")
    said = refused(
        capsys,
        *("evaluate", str(copy), "--system", f"theirs={made}", "--triplets", "mini"),
        *("--n", "2", *STEPS),
    )
    assert "100x90" in said


def test_a_folder_of_ones_own_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = hdpainter_nb.mini.triple(0, "standard")
    for name, picture in (("images", task.image), ("masks", task.mask.astype(np.uint8) * 255)):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "own" / name / "a.png")
    (tmp_path / "own" / "prompts.json").write_text(json.dumps({"a": task.prompt}))
    call = ["evaluate", str(tmp_path / "run"), "--system", BASE, "--triplets"]
    assert main([*call, str(tmp_path / "own"), "--all", *STEPS, "--set", "side=256"]) == 0
    assert main(["score", str(tmp_path / "run"), "--metric", "preservation"]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    said = refused(capsys, "score", str(tmp_path / "run"), "--metric", "oracle")
    assert "The oracle knows the miniature's world alone" in said


# --- what is wrong -------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], str]] = {
    "no command": ([], "COMMAND"),
    "another command": (["paint"], "invalid choice: 'paint'"),
    "no system": (["evaluate", "RUN", "--triplets", "mini"], "--system"),
    "another system": (["--system", "hers"], "There is no system 'hers'"),
    "another method": (["--system", "mini:all"], "There is no system 'mini:all'"),
    "no such folder of results": (["--system", "a=/nowhere"], "There is no system 'a=/nowhere'"),
    "no such model": (["--system", "/nowhere/model:base"], "/nowhere/model"),
    "two of one name": (["--system", BASE], "Two systems have one name"),
    "a name that is no file's": (["--system", "../a=mini:base"], "'../a'"),
    "another switch": (["--set", "stepz=3"], "did you mean 'steps'?"),
    "a setting's word": (["--set", "painta_scaling=root"], "painta_scaling must be one of"),
    "a setting that is the protocol's": (["--set", "seed=3"], "seeds are the protocol's"),
    "no switch": (["--set", "steps"], "'steps' is no SWITCH=VALUE"),
    "a switch's value": (["--set", "steps=0"], "steps"),
    "a switch's word": (["--set", "steps=many"], "steps"),
    "seeds that are none": (["--set", "seeds=[1,1]"], "seeds"),
    "seeds that are one number": (["--set", "seeds=1"], "seeds"),
    "another protocol": (["--protocol", "mine"], "invalid choice: 'mine'"),
    "none": (["--n", "0"], "--n: must be a whole number from 1, not '0'"),
    "no number": (["--n", "few"], "--n: must be a whole number from 1, not 'few'"),
    "no batch": (["--batch", "0"], "--batch"),
    "no workers": (["--workers", "-1"], "--workers"),
    "another seed": (["--sample-seed", "x"], "--sample-seed: must be a whole number from 0"),
    "no shard": (["--shard", "2"], "'2' is no i/n"),
    "a shard too many": (["--shard", "3/2"], "number"),
    "a shard of none": (["--shard", "0/2"], "number"),
    "all of an endless set": (["--all"], "has no end"),
    "another engine": (["--engine", "threads"], "invalid choice: 'threads'"),
    "another device": (["--device", "abacus"], "abacus"),
    "another dtype": (["--dtype", "int3"], "int3"),
    "no run to score": (["score", "/nowhere"], "holds no run.json"),
    "no run to report": (["report", "/nowhere"], "holds no run.json"),
    "another metric": (["score", "RUN", "--metric", "clipscore"], "Did you mean 'clip_score'?"),
    "bad JSON": (["score", "RUN", "--options", "{"], "--options: must be an object of JSON"),
    "other JSON": (["score", "RUN", "--options", "[1]"], "--options: must be an object of JSON"),
    "whose options?": (["score", "RUN", "--options", '{"a": 1}'], "name it with --metric"),
    "another option": (
        ["score", "RUN", "--metric", "preservation", "--options", '{"a": 1}'],
        "has no such option",
    ),
    "the oracle's option": (
        ["score", "RUN", "--metric", "oracle", "--options", '{"a": 1}'],
        "has no such option",
    ),
    "another base": (["report", "RUN", "--base", "hers"], "--base 'hers' is no system"),
    "another of ours": (["report", "RUN", "--ours", "hers"], "--ours 'hers' is no system"),
    "no number of traces": (["report", "RUN", "--explain", "all"], "--explain"),
    "one system's wins": (
        ["report", "RUN", "--explain", "1", "--ours", "base", "--base", "base"],
        "needs two systems",
    ),
    "a page where a folder is": (["report", "RUN", "--out", "RUN"], "RUN"),
    "rows where no folder is": (["report", "RUN", "--csv", "/nowhere/rows.csv"], "/nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(
    name: str, painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = WRONG[name]
    if arguments and arguments[0].startswith("--"):
        begun = ["evaluate", str(tmp_path / "run"), "--system", BASE, "--triplets", "mini"]
        arguments = [*begun, "--n", "2", *STEPS, *arguments]
    arguments = [str(painted) if part == "RUN" else part for part in arguments]
    said = refused(capsys, *arguments)
    assert words.replace("RUN", str(painted)) in said


@pytest.mark.parametrize("triplets", ["nothing", "/nowhere/coco"])
def test_triplets_that_are_none_are_refused(
    triplets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("evaluate", str(tmp_path / "run"), "--system", BASE, "--triplets", triplets)
    assert f"There are no triplets {triplets!r}" in refused(capsys, *call)
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    call = (*call[:-1], str(tmp_path / "coco"))
    assert "annotations" in refused(capsys, *call)
    call = (*call[:-1], str(tmp_path), "--list", "list.csv")
    assert "belongs to MSCOCO" in refused(capsys, *call)


def test_a_run_is_not_gone_on_with_otherwise(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "run.json").read_bytes()
    call = ["evaluate", str(copy), "--n", "2", *STEPS]
    said = refused(capsys, *call, "--system", BASE, "--triplets", "mini", "--set", "eta=0.2")
    assert "eta=0.1 (now 0.2)" in said
    said = refused(capsys, *call, "--system", "ours=mini:base", "--triplets", "mini")
    assert "other settings of 'ours' (painta, rasg)" in said
    said = refused(capsys, *call, "--system", BASE, "--triplets", "mini-standard")
    assert "other triplets" in said
    assert (copy / "run.json").read_bytes() == before


def test_a_file_where_the_run_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        call = ("evaluate", str(folder), "--system", BASE, "--triplets", "mini", "--n", "2")
        assert str(tmp_path / "file") in refused(capsys, *call)


def test_a_run_that_python_began_without_a_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hdpainter_nb.evaluation.painting import paint_all
    from hdpainter_nb.evaluation.protocol import EvaluationProtocol

    run = Run.begin(tmp_path / "run", EvaluationProtocol(), SmallSet(2), [Painter()])
    assert "no pictures yet" in refused(capsys, "report", str(run.folder))
    paint_all(run, [Painter()], SmallSet(2))
    for name in ("score", "report"):
        assert "does not say where its triplets are" in refused(capsys, name, str(run.folder))


@pytest.mark.parametrize("source", [5, {"kind": []}, {"kind": "coco", "options": 3}])
def test_a_source_that_is_none(
    copy: Path, source: object, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(copy, lambda facts: facts["triplets"].update(source=source))
    assert "There are no triplets" in refused(capsys, "score", str(copy))


# --- a run's systems again -----------------------------------------------------------------------


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    change(facts)
    (folder / "run.json").write_text(json.dumps(facts), "utf-8")


def test_a_system_comes_back_with_every_setting(tmp_path: Path) -> None:
    from hdpainter_nb.evaluation.protocol import EvaluationProtocol
    from hdpainter_nb.evaluation.systems import SamplerSystem

    protocol = EvaluationProtocol.named("miniature", steps=3, seeds=(4,))
    odd = SamplerSystem(
        name="odd",
        model="mini",
        method="painta",
        protocol=protocol,
        overrides={"eta": 0.7, "guidance": "vanilla", "c_smoothing": "none"},
        native=True,
    )
    run = Run.begin(tmp_path / "run", protocol, SmallSet(2), [odd])
    again = system_of_run(run, "odd")
    assert again is not None
    assert again.settings == odd.settings
    assert again.settings["eta"] == 0.7
    assert (again.name, again.method, again.native) == ("odd", "painta", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(later=1), "other settings than this version can give it (later)"),
        (lambda s: s.update(rasg="perhaps"), "does not say what 'ours' is"),
        (lambda s: s.update(model=3), "does not say what 'ours' is"),
        (lambda s: s.pop("model"), "does not say what 'ours' is"),
    ],
)
def test_a_system_that_cannot_come_back_is_refused(
    copy: Path, change: Callable[[Any], Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(copy, lambda facts: change(facts["systems"]["ours"]["settings"]))
    assert words in refused(capsys, "report", str(copy), "--explain", "1")
    assert not Run.open(copy).traces()


def test_other_weights_explain_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(copy, lambda facts: facts["systems"]["ours"].update(fingerprint="0"))
    assert "other weights" in refused(capsys, "report", str(copy), "--explain", "1")


# --- ends in the middle --------------------------------------------------------------------------


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    write = Run.write

    def interrupted(run: Run, system: str, seed: int, id: str, painting: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(id)
        write(run, system, seed, id, painting)

    monkeypatch.setattr(Run, "write", interrupted)
    assert evaluate(tmp_path / "run", "--n", "2", systems=(BASE,)) == 130
    assert "The same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert evaluate(tmp_path / "run", "--n", "2", systems=(BASE,)) == 0
    assert "\n1 pictures painted" in capsys.readouterr().out


def test_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> Iterator[Path]:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    folder = tmp_path / "run"
    call = ("evaluate", str(folder), "--system", BASE, "--triplets", "mini", "--n", "1", *STEPS)
    monkeypatch.setattr(run_module, "replacing", full)
    assert "No space left on device" in refused(capsys, *call)
    monkeypatch.undo()
    assert main([*call, "--estimate"]) == 0  # the run is begun, and nothing painted
    monkeypatch.setattr(run_module.Image.Image, "save", lambda *_, **__: next(full(folder)))
    assert "No space left on device" in refused(capsys, *call)
    monkeypatch.undo()
    assert not list(folder.rglob("*.part"))
    assert main(call) == 0


# --- ways to start it ----------------------------------------------------------------------------


def test_it_runs_as_a_module_and_knows_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hdpainter_nb", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hdpainter_nb.__version__


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["evaluate", "--help"]])
def test_help_ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert capsys.readouterr().out


def test_every_metric_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name in (*command.NAMES, "oracle", "true_seam"):
        assert name in said
