"""The report of an evaluation in a browser: opened by keys, without a script, on a small screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hdpainter_nb.evaluation.gallery import Exhibits
from hdpainter_nb.evaluation.report import ReportPlan, write_report
from hdpainter_nb.evaluation.rows import Rows
from hdpainter_nb.evaluation.statistics.intervals import Bootstrap
from support.measured import COLUMNS, measured, picture, records, triplet

pytestmark = [pytest.mark.slow, pytest.mark.browser]

LONG = "a system whose name is longer than any telephone is wide, and/which_never_ends_" + "x" * 60


def written(folder: Path, rows: Rows) -> str:
    path = write_report(
        folder / "report.html",
        rows,
        facts={"Protocol": {"steps": 50}},
        exhibits=Exhibits(pictures=picture, triplets=triplet, count=3),
        plan=ReportPlan(options=Bootstrap(resamples=200)),
    )
    return path.as_uri()


def opened(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll(':popover-open')].map((e) => e.id)")


def test_the_gallery_goes_by_keys(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = written(tmp_path, measured(12))
    page.goto(address)
    assert opened(page) == []
    page.locator(".hdp-cases button").first.focus()
    page.keyboard.press("Enter")
    first = opened(page)
    assert len(first) == 1
    page.keyboard.press("ArrowRight")
    second = opened(page)
    assert len(second) == 1
    assert second != first
    page.keyboard.press("Enter")  # on what has the focus: the way out
    assert opened(page) == []
    page.locator(".hdp-cases button").first.click()
    page.keyboard.press("ArrowLeft")  # there is nothing before the first
    assert opened(page) == first
    page.locator(f"#{first[0]} [data-step=next]").click()
    assert opened(page) == second
    page.keyboard.press("Escape")
    assert opened(page) == []
    in_list = page.evaluate("document.activeElement.closest('.hdp-cases') !== null")
    assert in_list
    assert errors == []
    assert [url for url in asked if not url.startswith("data:")] == [address]


def test_without_a_script_everything_is_there(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(written(tmp_path, measured(12)))
    page.locator(".hdp-cases button").first.click()
    assert page.locator(".hdp-case").first.is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".hdp-case").first.is_visible()
    page.locator("#facts summary").first.click()
    assert page.locator("#facts dd").first.is_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(
    open_page: Callable[..., Any], tmp_path: Path, width: int
) -> None:
    entries = [{**r, "system": r["system"] + LONG, "group": LONG} for r in records(8, (1, 2))]
    page = open_page(viewport={"width": width, "height": 700}, color_scheme="dark")
    page.goto(written(tmp_path, Rows.of(entries, COLUMNS)))
    size = "document.documentElement.scrollWidth"
    assert page.evaluate(size) == width
    page.locator(".hdp-cases button").first.click()
    box = page.locator(":popover-open").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.evaluate(size) == width


def test_on_paper_every_picture_is_there_and_nothing_to_press(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page()
    page.goto(written(tmp_path, measured(12)))
    page.locator(".hdp-cases button").first.click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert opened(page) == []
    closed = page.locator("#gallery > details:not([open])")
    assert closed.count() == 0
    assert not page.locator("#page nav").first.is_visible()
    page.set_viewport_size({"width": 680, "height": 900})  # a sheet of A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 680
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert closed.count() == 2
