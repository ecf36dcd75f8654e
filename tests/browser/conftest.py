"""Servers and browsers for the tests beside this file; a failure leaves a screenshot."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.servers import BROWSER_ARGS, PATIENCE, Server, find_browser

_REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    item.stash.setdefault(_REPORTS, {})[report.when] = report
    return report


# One module at a time: Playwright allows one open driver in a thread.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    found = find_browser()
    if found is None:
        pytest.skip("there is no Chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=BROWSER_ARGS, timeout=PATIENCE * 1000
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(
    chromium: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """A function that opens pages with nothing remembered; keyword arguments as for contexts."""
    contexts, pages = [], []

    def open_(**options: Any) -> Any:
        options = {"viewport": {"width": 1280, "height": 1400}, **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("dialog", lambda dialog: dialog.accept())
        pages.append(page)
        return page

    yield open_
    report = request.node.stash.get(_REPORTS, {}).get("call")
    for number, page in enumerate(pages):
        if report is None or report.failed:
            page.screenshot(path=tmp_path / f"failure_{number}.png", timeout=PATIENCE * 1000)
    for context in contexts:
        context.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts servers, `serve("lab")` or `serve("notebook")`, for this test."""
    servers: list[Server] = []

    def start(app: str, **environment: str) -> Server:
        base = tmp_path / f"server_{len(servers)}"
        base.mkdir()
        servers.append(Server(app, base, environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
