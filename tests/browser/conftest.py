"""A real headless Chromium, and a cashier to look at with it."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.cashier_server import Till

#: It stays on this machine, starts in a container too, and looks the same everywhere.
ARGUMENTS = (
    "--no-sandbox",  # which root needs, and the pages are our own
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
)
OpenPage = Callable[..., Page]


def find_chromium() -> str | None:
    """The Chromium that CHROMIUM names, or that is installed; None: the one of playwright."""
    names = ("chromium", "chromium-browser", "google-chrome")
    paths = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM") or next(filter(None, paths), None)


# Only as long as a file: playwright holds an event loop, and other tests run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; where there is none, playwright's error says how to install one."""
    expect.set_options(timeout=20_000)  # ms: the machine may do much else
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    """A cashier on a real socket."""
    till = Till(tmp_path_factory.mktemp("till"))
    yield till
    till.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of one visitor each, and sees that no policy or script of ours fails there."""
    opened = []
    errors: list[str] = []

    def open_one(url: str = "", **visitor: object) -> Page:
        opened.append(browser.new_context(**{"locale": "en-GB", **visitor}))
        page = opened[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text))
        if url:
            page.goto(url)
        return page

    yield open_one
    for context in opened:
        context.close()
    # a page that is answered with an error status is reported too, and meant to be
    assert [error for error in errors if "responded with a status" not in error] == []
