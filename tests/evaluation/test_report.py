"""The report: everything in one file, nothing from outside, no text that becomes markup."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.errors import EvaluationError, SettingsError
from hdpainter_nb.evaluation.charts import interval_chart
from hdpainter_nb.evaluation.column import Column
from hdpainter_nb.evaluation.gallery import Album, Exhibits, wins_and_losses
from hdpainter_nb.evaluation.report import ReportPlan, write_report
from hdpainter_nb.evaluation.result_table import Cell, ResultTable
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap
from hdpainter_nb.evaluation.system import SECONDS
from hdpainter_nb.evaluation.tables import Preferred, ablation_table
from support.measured import COLUMNS, measured, picture, records, triplet

HOSTILE = "</script><img src=x onerror=alert(1)> & <!--<script> \u2028 'quoted' \"twice\" \udc80"
FEW = Bootstrap(resamples=200)
VOID = {"meta", "image", "use", "path", "br", "img", "input", "link"}


class Elements(HTMLParser):
    """The elements of a page as a browser finds them, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def written(path: Path, rows: Rows | None = None, **more: Any) -> str:
    more.setdefault("facts", {"Protocol": {"steps": 50}})
    more.setdefault("plan", ReportPlan(options=FEW))
    rows = measured(12) if rows is None else rows
    return write_report(path / "report.html", rows, **more).read_text("utf-8")


def exhibits(**more: Any) -> Exhibits:
    return Exhibits(**{"pictures": picture, "triplets": triplet, "count": 2, **more})


def test_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    text = written(tmp_path, exhibits=exhibits())
    page = Elements(text)
    assert not page.open
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    for tag, attributes in page.found:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes
        target = attributes.get("href")
        assert target is None or target.startswith(("#", "data:image/"))
        assert not any(name.startswith("on") for name in attributes)
    policy = next(m["content"] for m in page.of("meta") if "http-equiv" in m)
    script = text.rpartition("<script>")[2].rpartition("</script>")[0]
    code = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{code}'" in policy
    assert "default-src 'none'" in policy
    assert text.count("<script") == 1
    assert "http://" not in text
    assert "https://" not in text


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    systems = {"base": 0.0, HOSTILE: 1.0}
    entries = [{**r, "id": r["id"] + HOSTILE, "group": r["group"] + HOSTILE}
               for r in records(6, (1, 2), systems)]  # fmt: skip
    columns = {**COLUMNS, "mse": Column(HOSTILE), "accuracy": Column(HOSTILE, binary=True)}
    rows = Rows.of(entries, columns)
    text = written(
        tmp_path,
        rows,
        exhibits=exhibits(
            triplets=partial(triplet, prompt=HOSTILE),
            traces={item: f"javascript:alert(1)/{item[2]}.html" for item in rows.items()},
        ),
        facts={HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: 1}]}, "one": HOSTILE},
        plan=ReportPlan(title=HOSTILE, options=FEW, variants={HOSTILE: rows},
                        preferred=Preferred(ours=HOSTILE, column="clip_score")),
    )  # fmt: skip
    page = Elements(text)
    assert not page.open
    assert not page.of("img")
    assert text.count("<script") == 1
    assert "<!--" not in text
    for link in page.of("a"):
        assert re.match(r"#|javascript%3Aalert%281%29/", link["href"] or "")
    kinds = {tag for tag, attributes in page.found if "onerror" in attributes}
    assert not kinds
    assert page.text.count("<img src=x onerror=alert(1)>") > 20


def test_what_is_measured_is_there(tmp_path: Path) -> None:
    rows = measured(12, (1, 2))
    plan = ReportPlan(
        title="Three systems",
        options=FEW,
        preferred=Preferred(ours="both", column="clip_score"),
        variants={"official": rows, "paper": rows},
    )
    facts = {
        "Protocol": {"steps": 50, "seeds": (1, 2)},
        "Fingerprints": {"weights": "ab" * 32},
        "Versions": {"torch": "2.13.0"},
        "Systems": {
            "base": {"model": {"name": "mini"}, "rasg": False, "none": {}},
            "both": {"model": {"name": "mini"}, "rasg": True},
        },
        "made": "2026-01-01",
    }
    page = Elements(written(tmp_path, rows, plan=plan, facts=facts, exhibits=exhibits()))
    names = [s["id"] for s in page.of("section")]
    assert names == [
        "tables", "differences", "preference", "gallery", "groups", "switches", "agreement",
        "seeds", "power", "facts",
    ]  # fmt: skip
    assert [a["href"] for a in page.of("a")] == ["#tables", *(f"#{name}" for name in names)]
    for words in ("3 systems, 12 triplets, seeds 1, 2, 72 pictures", "ab" * 32, "2.13.0", "[1, 2]",
                  "model › name", "made",
                  r"\toprule", "|---|---:|", "12 triplets", "McNemar"):  # fmt: skip
        assert words in page.text
    assert page.text.count("Spearman") >= 1


def test_facts_of_several_systems_say_first_what_differs(tmp_path: Path) -> None:
    systems = {
        "base": {"model": {"a": 1}, "rasg": False},
        "both": {"model": {"a": 1}, "rasg": True},
    }
    text = written(tmp_path, facts={"systems": systems})
    apart = text.partition('class="hdp-apart"')[2].partition("</table>")[0]
    assert '<th scope="row">rasg</th><td>false</td><td>true</td>' in apart
    assert "model" not in apart
    assert "<dt>model › a</dt><dd>1</dd>" in text


def test_what_painting_cost_is_no_win(tmp_path: Path) -> None:
    columns = {"seconds": SECONDS, "clip_score": Column("CLIP"), "same": Column("Same")}
    entries = [
        {**{k: r[k] for k in ("system", "seed", "id", "group", "seconds", "clip_score")}, "same": 1}
        for r in records(8)
    ]
    rows = Rows.of(entries, columns)
    assert rows.judging == ("clip_score", "same")
    text = written(tmp_path, rows, exhibits=exhibits())
    gallery = text.partition('<section id="gallery">')[2].partition("</section>")[0]
    assert re.findall("<summary>(.*?)</summary>", gallery) == ["CLIP ↑"]
    assert "No difference in Same ↑." in gallery
    assert 'id="agreement"' not in text  # one column is left, and agrees with itself


def test_a_report_can_be_short(tmp_path: Path) -> None:
    rows = measured(3, systems={"alone": 0.0})
    page = Elements(written(tmp_path, rows, facts={}))
    assert [s["id"] for s in page.of("section")] == ["tables", "groups", "power", "facts"]
    assert "Nothing was noted." in page.text
    with pytest.raises(EvaluationError, match="nothing to report"):
        written(tmp_path, Rows.of([], COLUMNS))
    with pytest.raises(EvaluationError, match="No row is of system 'none'"):
        written(tmp_path, plan=ReportPlan(base="none", options=FEW))
    assert len(list(tmp_path.iterdir())) == 1


# --- the gallery ---------------------------------------------------------------------------------


def test_each_picture_is_embedded_once_and_shown_often(tmp_path: Path) -> None:
    page = Elements(written(tmp_path, exhibits=exhibits()))
    numbers = [image["id"] for image in page.of("image")]
    files = [image["href"] for image in page.of("image")]
    assert len(set(numbers)) == len(numbers) == len(set(files))
    shown = [use["href"] for use in page.of("use")]
    assert set(shown) >= {f"#{number}" for number in numbers}
    for file in files:
        assert file is not None
        kind, code = re.fullmatch(r"data:image/(\w+);base64,(.*)", file).groups()  # type: ignore[union-attr]
        picture_file = Image.open(io.BytesIO(base64.b64decode(code)))
        assert picture_file.format == kind.upper()
        assert picture_file.size == (96, 64)


def test_every_card_opens_its_own_large_form_with_all_numbers(tmp_path: Path) -> None:
    rows = measured(12)
    text = written(tmp_path, rows, exhibits=exhibits())
    page = Elements(text)
    forms = [d["id"] for d in page.of("div") if "popover" in d]
    shown = [wins_and_losses(rows, "both", "base", c, 2) for c in ("clip_score", "accuracy", "mse")]
    assert len(set(forms)) == len(forms) == sum(len(w) + len(losses) for w, losses in shown) > 6
    buttons = page.of("button")
    assert [b["popovertarget"] for b in buttons if "data-step" not in b][::2] == forms
    assert all(b.get("popovertarget", forms[0]) in forms for b in buttons)
    wins, losses = wins_and_losses(rows, "both", "base", "mse", 2)
    for id, seed in (*wins, *losses):
        place = rows.place(("both", seed, id))
        assert place is not None
        assert f"{rows['mse'][place]:.1f}" in page.text
        assert f"{id}, seed {seed}" in page.text
    labels = [s.get("aria-label") for s in page.of("svg") if s.get("role") == "img"]
    assert all(labels)


def test_wins_are_the_largest_and_lower_may_be_better() -> None:
    rows = measured(12)
    for column, sign in (("clip_score", 1), ("mse", -1)):
        wins, losses = wins_and_losses(rows, "both", "base", column, 3)
        pairs = rows.paired("both", "base", column)
        order = sorted(zip(sign * pairs.differences, pairs.ids, strict=True), reverse=True)
        assert [id for id, _ in wins] == [id for d, id in order[:3] if d > 0]
        assert [id for id, _ in losses] == [id for d, id in order[::-1][:3] if d < 0]
    swapped = wins_and_losses(rows, "base", "both", "mse", 3)
    assert swapped == wins_and_losses(rows, "both", "base", "mse", 3)[::-1]


def test_among_equal_wins_those_come_first_that_other_metrics_confirm() -> None:
    columns = {"yes": Column("Y", binary=True), "score": Column("S")}
    scores = [0.1, 3.0, -1.0, 2.0]
    rows = Rows.of(
        [{"system": s, "seed": 1, "id": str(i), "group": "", "yes": float(s == "a"),
          "score": v * (s == "a")} for s in "ab" for i, v in enumerate(scores)],
        columns,
    )  # fmt: skip
    wins, losses = wins_and_losses(rows, "a", "b", "yes", 3)
    assert [id for id, _ in wins] == ["1", "3", "0"]
    assert losses == []


def test_pictures_shrink_until_they_fit(tmp_path: Path) -> None:
    def large(system: str, seed: int, id: str) -> np.ndarray[Any, Any]:
        return np.asarray(Image.fromarray(picture(system, seed, id)).resize((700, 60)))

    sizes = {}
    for limit in (12_000_000, 60_000):
        page = Elements(written(tmp_path, exhibits=exhibits(pictures=large, limit=limit, count=1)))
        files = [i["href"].partition(",")[2] for i in page.of("image")]  # type: ignore[union-attr]
        sizes[limit] = sum(len(base64.b64decode(file)) for file in files)
        widths = {max(Image.open(io.BytesIO(base64.b64decode(f))).size) for f in files}
        assert max(widths) == 512 if limit > 60_000 else max(widths) < 512
        assert {i["width"] for i in page.of("image")} == {"700", "96"}  # as they are shown
    assert sizes[60_000] <= 60_000 < sizes[12_000_000]


def test_a_picture_that_is_gone_leaves_words(tmp_path: Path) -> None:
    def half(system: str, seed: int, id: str) -> Any:
        return None if system == "base" else picture(system, seed, id)

    page = Elements(written(tmp_path, exhibits=exhibits(pictures=half)))
    assert "no picture" in page.text
    assert not page.open


def test_traces_are_linked_where_there_are_any(tmp_path: Path) -> None:
    rows = measured(12)
    wins, _ = wins_and_losses(rows, "both", "base", "clip_score", 2)
    id, seed = wins[0]
    traces = {("both", seed, id): f"systems/both/{id} ü.html"}
    page = Elements(written(tmp_path, rows, exhibits=exhibits(traces=traces)))
    links = {a["href"] for a in page.of("a") if not (a["href"] or "").startswith("#")}
    assert links == {f"systems/both/{id}%20%C3%BC.html"}
    assert "trace of both" in page.text


def test_the_rim_of_a_hole_is_drawn_over_every_picture() -> None:
    album = Album(10**6)
    name = album.outline("x", triplet("x").hole)
    assert album.outline("x", triplet("x").hole) == name
    assert f"#{name}" in album.show("x", "X", lambda: triplet("x").image, name)
    path = next(a["d"] for t, a in Elements(album.embedded()).found if t == "path")
    corners = np.array([float(v) for v in re.findall(r"[\d.]+", path or "")]).reshape(-1, 2)
    rows, columns = np.nonzero(triplet("x").hole)
    assert corners.min(0).tolist() == [columns.min() + 0.5, rows.min() + 0.5]
    assert corners.max(0).tolist() == [columns.max() + 0.5, rows.max() + 0.5]


def test_exhibits_have_limits() -> None:
    for wrong in ({"count": 0}, {"limit": 5}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            exhibits(**wrong)


# --- charts --------------------------------------------------------------------------------------


def test_intervals_are_drawn_where_their_numbers_are() -> None:
    numbers = {"": 5.0, "low": 0.0, "high": 10.0}
    table = ResultTable("", ("system", "v"), ("", "V"), (
        (Cell("a"), Cell("5", numbers=numbers)),
        (Cell("b"), Cell("10", numbers={**numbers, "": 10.0, "low": float("nan")})),
        (Cell("c"), Cell("–")),
    ))  # fmt: skip
    text = interval_chart(table, "v")
    page = Elements(text)
    assert not page.open
    paths = [p["d"] for p in page.of("path")]
    low, high = -0.6, 10.6
    spots = [100 * (v - low) / (high - low) for v in (0, 5, 10)]
    assert paths[0] == f"M{spots[0]:.2f} 10H{spots[2]:.2f}"
    assert paths[1] == f"M{spots[1]:.2f} 10h0"
    assert paths[2] == f"M{spots[2]:.2f} 10h0"
    assert len(paths) == 3
    ticks = re.findall(r'left:([\d.]+)%">([^<]+)<', text)
    assert ticks
    for place, tick in ticks:
        assert float(place) == pytest.approx(100 * (float(tick) - low) / (high - low), abs=0.01)
    assert interval_chart(ResultTable("", ("s", "v"), ("", ""), ()), "v") == ""


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (2e5, 9.7e5), (-3e-5, 4e-5), (99.9, 100.1), (-1e9, 1e9), (24.2, 26.3)]
)
def test_ticks_are_round_numbers_that_have_room(low: float, high: float) -> None:
    numbers = {"": low, "low": low, "high": high}
    table = ResultTable("", ("s", "v"), ("", "V"), ((Cell("a"), Cell("x", numbers=numbers)),))
    ticks = re.findall(r'left:([\d.]+)%">([^<]+)<', interval_chart(table, "v"))
    assert 1 <= len(ticks) <= 4
    assert sum(len(tick) + 1 for _, tick in ticks) <= 24
    margin = 0.06 * (high - low)
    for place, tick in ticks:
        value = float(tick.replace("−", "-"))
        spot = 100 * (value - low + margin) / (high - low + 2 * margin)
        assert float(place) == pytest.approx(spot, abs=0.01)


def test_differences_are_drawn_about_zero() -> None:
    table = ablation_table(measured(12), "base", options=FEW)
    page = Elements(interval_chart(table, "clip_score", part="difference", zero=True))
    assert sum(p.get("class") == "zero" for p in page.of("path")) == 2
    assert "RASG" in page.text
    assert "base" not in page.text
