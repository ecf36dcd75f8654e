"""The saved page: everything in one file, nothing from outside, no text that becomes markup."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.settings import Settings
from hdpainter_nb.trace import html, web
from hdpainter_nb.trace.trace import Trace
from support.synthetic import make_record, scene

HOSTILE = "</script><img src=x onerror=alert(1)> & <!--<script> \u2028 'quoted' \"twice\""


def make_trace(prompt: str = "a red star", *, steps: int = 3, pictures: bool = True) -> Trace:
    image, mask = scene()
    trace = Trace(image, mask, model=f"of {prompt}", crop=(0, 0, 256, 256))
    rng = np.zeros(8, np.uint8)
    node = root = trace.root(np.zeros((4, 32, 32), np.float32), rng)
    branch = trace.open_branch(prompt, Settings(steps=20), root, None)
    for index in range(steps):
        node = trace.add(branch, node, root.latents, rng, make_record(index, 20))
        if pictures:
            trace.pictures[node.id] = np.full((256, 256, 3), 40 * index % 256, np.uint8)
    return trace


class Elements(HTMLParser):
    """The elements of a page as a browser finds them: scripts' text is not looked into."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._key = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._key = dict(attributes).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._key = ""

    def handle_data(self, data: str) -> None:
        self.inside[self._key] = self.inside.get(self._key, "") + data


@pytest.fixture(autouse=True)
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script and a style of a few characters, so that it shows what the page does to them."""
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "page.js").write_text("show('</SCRIPT><!--', 'ä');", encoding="utf-8")
    (folder / "page.css").write_text("p::after { content: '</style>' }", encoding="utf-8")
    monkeypatch.setattr(html, "_STATIC", folder)
    return folder


def read(path: Path) -> tuple[Elements, Any, list[list[bytes]]]:
    """The elements, the json and the films' buffers, cut as the page's script cuts them."""
    elements = Elements(path.read_text(encoding="utf-8"))
    content = json.loads(elements.inside["film"])
    cut = []
    for number, one in enumerate(content["films"]):
        whole = base64.b64decode(elements.inside.get(f"buffers-{number}", ""), validate=True)
        ends = np.cumsum([0, *one["lengths"]])
        assert ends[-1] == len(whole)
        cut.append([whole[a:b] for a, b in pairwise(ends)])
    return elements, content, cut


def test_the_page_holds_the_whole_film(tmp_path: Path) -> None:
    trace = make_trace()
    path = trace.to_html(tmp_path / "run.html")
    assert path == tmp_path / "run.html"
    _, content, (buffers,) = read(path)
    assert content["title"] == "a red star"
    (one,) = content["films"]
    assert [frame["node"] for frame in one["frames"]] == [1, 2, 3]
    expected: list[bytes] = []
    assert one["opening"] == web.run_message(trace, expected)
    for frame in one["frames"]:
        node = trace.nodes[frame["node"]]
        assert frame == web.step_message(node, expected, picture=trace.pictures[node.id])
    assert buffers == expected
    with Image.open(io.BytesIO(buffers[one["frames"][2]["picture"]["buffer"]])) as shown:
        assert abs(int(np.asarray(shown).mean()) - 80) <= 1


def test_two_traces_keep_their_own_buffers(tmp_path: Path) -> None:
    first, second = make_trace("a red star"), make_trace("a blue star", steps=2, pictures=False)
    path = first.to_html(str(tmp_path / "both.html"), other=second, title="red & blue")
    elements, content, cut = read(path)
    assert content["title"] == "red & blue"
    assert elements.inside["title"] == "red & blue"
    assert [len(one["frames"]) for one in content["films"]] == [3, 2]
    for trace, one, buffers in zip((first, second), content["films"], cut, strict=True):
        expected: list[bytes] = []
        assert one["opening"] == web.run_message(trace, expected)
        assert buffers[: len(expected)] == expected


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    plain = read(make_trace().to_html(tmp_path / "plain.html"))[0]
    hostile = make_trace(HOSTILE)
    hostile.model = HOSTILE
    path = hostile.to_html(tmp_path / "hostile.html")
    elements, content, _ = read(path)
    assert [tag for tag, _ in elements.found] == [tag for tag, _ in plain.found]
    assert not any("onerror" in attributes for _, attributes in elements.found)
    assert content["title"] == HOSTILE
    assert content["films"][0]["opening"]["branches"][0]["prompt"] == HOSTILE
    assert elements.inside["title"] == HOSTILE
    titled = make_trace().to_html(tmp_path / "titled.html", title=HOSTILE)
    assert [tag for tag, _ in read(titled)[0].found] == [tag for tag, _ in plain.found]


def test_half_a_character_does_no_harm(tmp_path: Path) -> None:
    path = make_trace("broken \ud83d").to_html(tmp_path / "run.html")
    assert read(path)[1]["films"][0]["opening"]["branches"][0]["prompt"] == "broken \ud83d"


def test_script_and_style_cannot_end_their_elements(tmp_path: Path) -> None:
    text = make_trace().to_html(tmp_path / "run.html").read_text(encoding="utf-8")
    assert r"show('<\/SCRIPT><\!--', 'ä');" in text
    assert r"content: '<\/style>'" in text
    assert text.lower().count("</script") == 3
    assert text.lower().count("</style") == 1
    assert "<!--" not in text


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    path = make_trace().to_html(tmp_path / "run.html")
    elements, _, _ = read(path)
    policy = next(a["content"] for _, a in elements.found if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src blob: data:;")
    assert "http" not in policy
    allowed = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+")
    for tag, attributes in elements.found:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "data"):
            assert allowed.fullmatch(attributes.get(name) or "data:image/png;base64,AA")


def test_without_scripts_there_is_the_newest_picture(tmp_path: Path) -> None:
    elements, _, _ = read(make_trace().to_html(tmp_path / "run.html"))
    (shown,) = [a["src"] for tag, a in elements.found if tag == "img"]
    assert shown is not None
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as picture:
        assert abs(int(np.asarray(picture).mean()) - 80) <= 1  # the third step's


def test_without_maps_it_is_much_smaller(tmp_path: Path) -> None:
    trace = make_trace(steps=8)
    large = trace.to_html(tmp_path / "large.html")
    small = trace.to_html(tmp_path / "small.html", maps=False)
    assert small.stat().st_size < 0.5 * large.stat().st_size
    _, content, _ = read(small)
    frames = content["films"][0]["frames"]
    assert all(f["maps"] == [] and f["picture"] is not None for f in frames)


def test_twenty_steps_make_a_file_to_send_around(tmp_path: Path) -> None:
    size = make_trace(steps=20).to_html(tmp_path / "run.html").stat().st_size
    assert 100_000 < size < 2_000_000


@pytest.mark.parametrize("rooted", [False, True])
def test_a_trace_without_picture_or_steps_makes_a_page(tmp_path: Path, rooted: bool) -> None:
    trace = Trace()
    if rooted:
        trace.root(np.zeros((4, 16, 16), np.float32), np.zeros(8, np.uint8))
    elements, content, _ = read(trace.to_html(tmp_path / "run.html"))
    assert content["title"] == "HD-Painter"
    assert content["films"][0]["frames"] == []
    assert "img" not in [tag for tag, _ in elements.found]


def test_a_picture_of_a_run_that_has_not_begun(tmp_path: Path) -> None:
    elements, _, _ = read(make_trace(steps=0).to_html(tmp_path / "run.html"))
    assert "img" in [tag for tag, _ in elements.found]


def test_an_old_page_stays_until_the_new_one_is_complete(
    tmp_path: Path, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.html"
    path.write_text("the old one")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="full"):
            make_trace().to_html(path)
    assert path.read_text() == "the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.html", "static"]
    make_trace().to_html(path)
    assert path.read_text().startswith("<!DOCTYPE html>")


def test_titles_are_texts(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="title must be a string, not int"):
        make_trace().to_html(tmp_path / "run.html", title=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one trace or two, not 3"):
        html.write_page(tmp_path / "run.html", [make_trace(steps=0)] * 3)
    assert not (tmp_path / "run.html").exists()
