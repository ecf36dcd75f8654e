"""Blank pages of a headless browser, for widgets that stand on a page of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browser.servers import BROWSER_ARGS, find_browser
from support.bare_page import LONG


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; one module at a time, for Playwright allows one driver in a thread."""
    path = find_browser()
    if path is None:
        pytest.skip("there is no Chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGS, timeout=LONG)
        yield browser
        browser.close()


@pytest.fixture
def blank_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens blank pages; keyword arguments as for contexts. None may complain."""
    contexts = []
    complaints: list[str] = []

    def open_(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(LONG)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints, complaints
