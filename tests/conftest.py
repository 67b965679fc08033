"""Options and fixtures that host tests and browser tests share."""

import os
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from tests import chromium
from tests.webui import servers
from tests.webui.client import Host

# The same examples at each run of CI; new ones at every run of a developer. No deadline: machines are busy.
hypothesis.settings.register_profile("negguide", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("negguide")


def pytest_addoption(parser):
    group = parser.getgroup("hosts")
    group.addoption("--webui-dir", metavar="DIR",
                    help="a checkout of AUTOMATIC1111's WebUI to start and test in (default: the stand-in); write it with =, else pytest takes "
                         "that folder for its root")
    group.addoption("--webui-url", help="a running WebUI with NegGuide, e.g. http://127.0.0.1:7860")
    group.addoption("--stock-url", help="the same host without NegGuide, to compare with --webui-url")
    group.addoption("--standin-model", help="checkpoint of the stand-in (default: the small world's)")
    group.addoption("--keep-screenshots", action="store_true", help="save the README's screenshots to docs/")


@pytest.fixture(scope="session")
def browser():
    """One browser for the session: playwright allows a single one at a time."""
    with chromium.browser() as opened:
        yield opened


@contextmanager
def address(request, tmp_path_factory, stock=False):
    """Address of a host with or without NegGuide; started for this session unless it is given; None where only the other is."""
    option = request.config.getoption
    if option("--webui-url"):
        given = option("--stock-url" if stock else "--webui-url")
        yield given and given.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("without" if stock else "with")
    if option("--webui-dir"):
        server = servers.start_webui(Path(option("--webui-dir")).resolve(), folder, stock)
    else:
        server = servers.start_standin(folder, stock, option("--standin-model"))
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def host_url(request, tmp_path_factory):
    with address(request, tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="session")
def host(host_url):
    """A client of the host with NegGuide."""
    return Host(host_url)


@pytest.fixture(scope="session")
def stock(request, tmp_path_factory):
    """A client of the same host without NegGuide."""
    with address(request, tmp_path_factory, stock=True) as found:
        if found is None:
            pytest.skip("needs --stock-url: the same host without NegGuide")
        yield Host(found)
