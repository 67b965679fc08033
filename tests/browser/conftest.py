"""A browser and a page with NegGuide's accordion in it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.browser.webui_page import WebUIPage

PROJECT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync"]


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    assert path, "the browser tests need chromium: apt-get install chromium"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(request):
    """Where screenshots go: a folder that git ignores, or docs/ for the README."""
    folder = PROJECT / ("docs" if request.config.getoption("--keep-screenshots") else "out/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def open_page(browser, host_url, screenshots):
    """``open_page(width, theme)``: the host's page, freshly loaded."""
    opened = []

    def open_(width=1280, theme="light"):
        page = WebUIPage(browser, host_url, screenshots, width, theme)
        opened.append(page)
        return page

    yield open_
    for page in opened:
        page.page.close()


@pytest.fixture(scope="module")
def shared_page(open_page):
    return open_page()


@pytest.fixture
def page(shared_page):
    """A page with the accordion on and no negatives; no complaint of ours on its console afterwards."""
    shared_page.reset()
    yield shared_page
    assert shared_page.complaints == []
