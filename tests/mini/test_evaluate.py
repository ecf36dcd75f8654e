"""The miniature's evaluation: it counts rightly, and goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.errors import EvaluationError
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.protocol import EvaluationProtocol
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.run import Run
from hdpainter_nb.evaluation.system import SECONDS, Painting
from hdpainter_nb.evaluation.triplet import FramedTriplet
from hdpainter_nb.mini import evaluate
from hdpainter_nb.mini.evaluate import main, summary

PROTOCOL = EvaluationProtocol.named("miniature", steps=3)
painted: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Told:
    """Paints the truth into every second hole, whose words it then looks at, and nothing else."""

    name: str
    method: str
    protocol: EvaluationProtocol
    at_once: int
    model: str = "mini"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return {"method": self.method, **self.overrides}

    @property
    def columns(self) -> dict[str, Column]:
        peaks = {f"peak_{n}": Column("peak", scale=100) for n in (16, 32)}
        return {"seconds": SECONDS, **peaks}

    def fingerprint(self) -> str:
        return self.model

    def paint(self, triplets: Sequence[FramedTriplet], seed: int) -> list[Painting]:
        paintings = []
        for triplet in triplets:
            painted.append(f"{self.name} {triplet.triplet.id}")
            right = int(triplet.triplet.id.split("_")[-1]) % 2
            picture = triplet.triplet.facts["truth"] if right else triplet.image
            numbers = {"seconds": 1.0, "peak_16": float(right), "peak_32": float(right)}
            paintings.append(Painting(picture, numbers))
        return paintings


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    painted.clear()
    monkeypatch.setattr(evaluate, "WatchedSystem", Told)


def judged(folder: Path, count: int, *methods: str, **more: Any) -> Rows:
    asked: dict[str, Any] = {"kind": "standard", "protocol": PROTOCOL, **more}
    return evaluate.evaluate(folder, count, methods=methods or ("base",), **asked)


def test_it_counts_rightly_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    report = summary(judged(tmp_path, 2))
    assert painted == ["base standard_0", "base standard_1"]
    assert report["n"] == 2
    for entry in ("success", "nothing", "peak_16"):
        assert report[entry] == {"mean": 50.0, "error": 35.4}  # the second holds the truth
    assert report["seconds"] == 1.0
    assert report["success_standard"] == report["success"]

    more = judged(tmp_path, 4, "base", "both")  # the new tasks; the new system, whole
    new = [f"base standard_{n}" for n in (2, 3)] + [f"both standard_{n}" for n in range(4)]
    assert painted[2:] == new
    assert {name: len(more.select(system=name)) for name in more.names} == {"base": 4, "both": 4}

    fewer = judged(tmp_path, 2)
    assert painted[8:] == []
    assert (fewer.names, len(fewer)) == (("base",), 2)


def test_the_seam_is_beside_the_true_one(tmp_path: Path) -> None:
    rows = judged(tmp_path, 2)
    true = rows["true_seam"]
    assert rows["true_seam_pasted"][1] == pytest.approx(true[1])
    expected = rows["true_seam_pasted"].sum() / true.sum()
    assert summary(rows)["seam"] == pytest.approx(expected, abs=0.005)


def test_other_steps_or_weights_are_not_mixed(tmp_path: Path) -> None:
    judged(tmp_path, 2)
    with pytest.raises(EvaluationError, match=r"steps=3 \(now 5\)"):
        judged(tmp_path, 2, protocol=EvaluationProtocol.named("miniature", steps=5))
    with pytest.raises(EvaluationError, match="other weights of 'base'"):
        judged(tmp_path, 2, model="another")
    with pytest.raises(EvaluationError, match="other settings of 'base'"):
        judged(tmp_path, 2, overrides={"eta": 0.5})
    assert len(painted) == 2


def test_it_says_so_in_a_table_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["-n", "2", "--steps", "3", "--processes", "1", "--out", str(tmp_path)]
    main([*call, "--methods", "rasg", "both", "--settings", '{"eta": 0.3}'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if " | 2 | " in line] == [
        "| standard",
        "| provocation rasg",
        "| provocation both",
    ]
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert [*report] == ["standard", "provocation rasg", "provocation both"]
    entry = report["provocation rasg"]
    assert entry["settings"] == {"eta": 0.3, "rasg": True, "painta": False}
    assert (entry["group"], entry["method"], entry["steps"]) == ("provocation", "rasg", 3)
    assert report["standard"]["settings"] == {"eta": 0.3, "rasg": False, "painta": False}


def test_its_runs_are_the_commands_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hdpainter_nb import command

    main(["-n", "2", "--processes", "1", "--out", str(tmp_path), "--methods", "both"])
    for kind in ("standard", "provocation"):
        run = Run.open(tmp_path / kind)
        assert run.facts["triplets"]["source"]["options"] == {"count": 2}
        assert command.main(["score", str(run.folder)]) == 0
        assert command.main(["report", str(run.folder)]) == 0
        assert (run.folder / "report.html").is_file()
    assert "preservation" in str(columns(run))


def columns(run: Run) -> list[str]:
    from hdpainter_nb.evaluation.scoring import columns_of

    return [*columns_of(run)]
