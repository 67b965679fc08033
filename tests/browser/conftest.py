"""A page with NegGuide's accordion in it."""

from pathlib import Path

import pytest

from tests.browser.webui_page import WebUIPage

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def screenshots(request):
    """Where screenshots go: a folder that git ignores, or docs/ for the README."""
    folder = PROJECT / ("docs" if request.config.getoption("--keep-screenshots") else "out/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser, host_url, screenshots):
    """``open_page(width, theme)``: the host's page, freshly loaded; closed after the test."""
    opened = []

    def open_(width=1280, theme="light"):
        page = WebUIPage(browser, host_url, screenshots, width, theme)
        opened.append(page)
        return page

    yield open_
    for page in opened:
        page.page.close()


@pytest.fixture(scope="module")
def resized_page(browser, host_url, screenshots):
    """``resized_page(width, theme)``: a page without settings, its sections closed; loaded once for each theme."""
    opened = {}

    def show(width, theme):
        if theme not in opened:
            opened[theme] = WebUIPage(browser, host_url, screenshots, width, theme)
        page = opened[theme]
        page.page.set_viewport_size({"width": width, "height": 1000})
        page.page.evaluate("document.querySelectorAll('.negguide-editor details').forEach((section) => { section.open = false; })")
        page.reset()
        return page

    yield show
    for page in opened.values():
        page.page.close()


@pytest.fixture(scope="module")
def shared_page(browser, host_url, screenshots):
    opened = WebUIPage(browser, host_url, screenshots)
    yield opened
    opened.page.close()


@pytest.fixture
def page(shared_page):
    """A page with the accordion on and no negatives; no complaint of ours on its console afterwards."""
    shared_page.reset()
    yield shared_page
    assert shared_page.complaints == []


@pytest.fixture(scope="session")
def captioner(tmp_path_factory):
    """A folder with a captioner: the small world's, or an untrained one."""
    trained = PROJECT / "tests" / "world" / "model" / "captioner"
    if (trained / "config.json").exists():
        return str(trained)
    from tests import tiny_captioners

    return str(tiny_captioners.write(tmp_path_factory.mktemp("captioner")))
