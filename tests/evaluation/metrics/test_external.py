"""Metrics of another interpreter: started once, and every way to fail is said plainly."""

from __future__ import annotations

import json
import math
import pickle
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.metrics import external
from hdpainter_nb.evaluation.metrics.external import ExternalMetric
from support.builders_metrics import painting

MEAN = """
    import json, sys, os
    from PIL import Image
    import numpy
    for line in sys.stdin:
        item = json.loads(line)
        mean = {name: float(numpy.asarray(Image.open(item[name])).mean())
                for name in ("picture", "reference", "mask")}
        print(json.dumps({"id": item["id"], "mine": mean["picture"], "mine_mask": mean["mask"],
                          "mine_pid": os.getpid(), "mine_words": len(item["prompt"].split()),
                          "mine_reference": mean["reference"]}))
"""
NAMES = ("mine", "mine_mask", "mine_pid", "mine_words", "mine_reference")


def metric(tmp_path: Path, text: str, **options: Any) -> ExternalMetric:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(text))
    given = {"name": "mine", "python": sys.executable, "script": str(script), "timeout": 20.0}
    return ExternalMetric(**{**given, **options})


def test_numbers_come_from_the_other_process(tmp_path: Path) -> None:
    mine = metric(tmp_path, MEAN, answers=NAMES)
    given = [painting(n, prompt="a red star") for n in range(3)]
    rows = mine.score(given[:2]) + mine.score(given[2:])
    for one, row in zip(given, rows, strict=True):
        assert row["mine"] == pytest.approx(one.picture.mean())
        assert row["mine_reference"] == pytest.approx(one.triplet.image.mean())
        assert row["mine_mask"] == pytest.approx(255 * one.triplet.hole.mean())
        assert row["mine_words"] == 3
    assert len({row["mine_pid"] for row in rows}) == 1  # weights are loaded once
    assert list(mine.columns) == list(NAMES)
    assert mine.score([]) == []
    process = mine._running[0]
    again = pickle.loads(pickle.dumps(mine))
    assert again == mine
    assert again._running == []
    child = process._process
    assert child.poll() is None
    process.end()
    assert child.poll() is not None


def test_it_ends_with_the_metric(tmp_path: Path) -> None:
    mine = metric(tmp_path, MEAN)
    mine.score([painting()])
    child = mine._running[0]._process
    del mine
    for _ in range(200):
        if child.poll() is not None:
            break
        time.sleep(0.01)
    assert child.poll() is not None


def test_answers_may_come_in_any_order_and_be_nothing(tmp_path: Path) -> None:
    text = """
        import json, sys
        first = json.loads(sys.stdin.readline())
        second = json.loads(sys.stdin.readline())
        print(json.dumps({"id": second["id"], "mine": 2}))
        print()
        print(json.dumps({"id": first["id"], "mine": None}))
        sys.stdin.read()
    """
    rows = metric(tmp_path, text).score([painting(1), painting(2)])
    assert math.isnan(rows[0]["mine"])
    assert rows[1]["mine"] == 2


ANSWER_ONE = "import json, sys\nitem = json.loads(sys.stdin.readline())\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            ANSWER_ONE
            + "print(json.dumps({'id': item['id'], 'mine': 1}))\nraise ValueError('full')",
            {},
            r"ended \(exit code 1\) after 1 of 2 pictures \(ValueError: full\)\.",
        ),
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
            {},
            r"ended \(exit code -9\) after 0 of 2 pictures\.",
        ),
        (
            "import no_such_package",
            {},
            r"ended \(exit code 1\) after 0 of 2 .*No module named 'no_such_package'",
        ),
        (
            ANSWER_ONE + "print(json.dumps({'id': item['id'], 'mine': 1}))",
            {},
            r"ended \(exit code 0\) after 1 of 2 pictures\.",
        ),
        (
            "import sys\nsys.stdin.read()",
            {"timeout": 0.4},
            r"gave no answer for 0\.4 s, after 0 of 2 pictures: raise timeout=",
        ),
        (
            "import sys\nprint('Loading ...')\nsys.stdin.read()",
            {},
            "'Loading ...', which is no JSON",
        ),
        ("import sys\nprint('[1]')\nsys.stdin.read()", {}, r"'\[1\]', which is no JSON object"),
        (
            'import sys\nprint(\'{"id": "99", "mine": 1}\')\nsys.stdin.read()',
            {},
            "with the id of a picture",
        ),
        (
            ANSWER_ONE + "print(json.dumps({'id': item['id'], 'score': 1}))\nsys.stdin.read()",
            {},
            "gave no 'mine' for a picture, but score: name its numbers by answers=",
        ),
        (
            ANSWER_ONE + "print(json.dumps({'id': item['id'], 'mine': 'good'}))\nsys.stdin.read()",
            {},
            "mine='good', which is no number",
        ),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    mine = metric(tmp_path, text, **options)
    with pytest.raises(EvaluationError, match=message):
        mine.score([painting(1), painting(2)])
    assert mine._running[0]._process.poll() is not None  # nothing is left behind


def test_the_next_call_starts_anew_after_a_failure(tmp_path: Path) -> None:
    text = f"""
        import json, sys, pathlib
        mark = pathlib.Path({str(tmp_path / "mark")!r})
        first = not mark.exists()
        mark.touch()
        for line in sys.stdin:
            if first:
                sys.exit(3)
            print(json.dumps({{"id": json.loads(line)["id"], "mine": 5}}))
    """
    mine = metric(tmp_path, text)
    with pytest.raises(EvaluationError, match="exit code 3"):
        mine.score([painting()])
    assert mine.score([painting()]) == [{"mine": 5.0}]


def test_a_missing_interpreter_or_script(tmp_path: Path) -> None:
    mine = metric(tmp_path, MEAN, python=str(tmp_path / "bin" / "python"))
    with pytest.raises(EvaluationError, match=r"interpreter .* cannot be started \(No such file"):
        mine.score([painting()])
    mine = metric(tmp_path, MEAN, script=str(tmp_path / "nowhere.py"))
    with pytest.raises(EvaluationError, match="no script"):
        mine.score([painting()])


@pytest.mark.parametrize("name", list(external.SHIPPED))
def test_a_missing_package_is_named(name: str) -> None:
    shipped = ExternalMetric(name=name, python=sys.executable, timeout=60, device="cpu")
    install = external.SHIPPED[name][2]
    with pytest.raises(EvaluationError, match=f"needs the module .* -m pip install {install}"):
        shipped.score([painting()])


def test_a_missing_dependency_and_a_broken_package_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = external._environment
    monkeypatch.setattr(external, "_environment", lambda: {**own(), "PYTHONPATH": str(tmp_path)})
    shipped = ExternalMetric(name="hpsv2", python=sys.executable, timeout=60, device="cpu")
    (tmp_path / "hpsv2.py").write_text("import no_such_module")
    with pytest.raises(
        EvaluationError, match=r"needs the module 'no_such_module', .* install it th"
    ):
        shipped.score([painting()])
    (tmp_path / "hpsv2.py").write_text("from json import no_such_function")
    with pytest.raises(
        EvaluationError, match=r"ended \(exit code 1\) .*cannot import name 'no_such"
    ):
        shipped.score([painting()])


def test_a_shipped_metric_with_a_package_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for `hpsv2` that prints while it works, as the real one does."""
    (tmp_path / "hpsv2.py").write_text(
        "import numpy\nfrom PIL import Image\n\n\n"
        "def score(picture, prompt, hps_version):\n"
        "    print('Loading model ...')\n"
        "    assert (prompt, hps_version) == ('a red star', 'v2.1')\n"
        "    return [numpy.float32(numpy.asarray(Image.open(picture)).mean())]\n"
    )
    own = external._environment
    monkeypatch.setattr(external, "_environment", lambda: {**own(), "PYTHONPATH": str(tmp_path)})
    shipped = ExternalMetric(name="hpsv2", python=sys.executable, timeout=60, device="cpu")
    one = painting(4)
    assert shipped.score([one])[0]["hpsv2"] == pytest.approx(one.picture.mean())
    assert shipped.columns["hpsv2"].title == "HPS v2.1"


def test_pixels_arrive_unchanged(tmp_path: Path) -> None:
    one = painting(9)
    sent = external._written(one, tmp_path, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(sent["picture"])), one.picture)
    assert json.loads(json.dumps(sent)) == sent


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match="'beauty' is not one of 'image_reward'"):
        ExternalMetric(name="beauty", python="python3")
    with pytest.raises(SettingsError, match="'other' must begin with the metric's name, 'mine'"):
        ExternalMetric(name="mine", python="python3", script="a.py", answers=("other",))
    with pytest.raises(SettingsError, match="timeout"):
        ExternalMetric(name="mine", python="python3", script="a.py", timeout=0)
