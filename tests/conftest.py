"""Options and fixtures that host tests and browser tests share."""

import os
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


@pytest.fixture(scope="session")
def hosts(request, tmp_path_factory):
    """(address of a host with NegGuide, address of one without or None); started for this session unless given."""
    option = request.config.getoption
    if option("--webui-url"):
        yield option("--webui-url").rstrip("/"), option("--stock-url") and option("--stock-url").rstrip("/")
        return
    folders = tmp_path_factory.mktemp("with"), tmp_path_factory.mktemp("without")
    if option("--webui-dir"):
        webui = Path(option("--webui-dir")).resolve()
        started = [servers.start_webui(webui, folder, stock) for folder, stock in zip(folders, (False, True))]
    else:
        started = [servers.start_standin(folder, stock, option("--standin-model")) for folder, stock in zip(folders, (False, True))]
    try:
        for server in started:
            server.wait()
        yield started[0].url, started[1].url
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="session")
def host_url(hosts):
    return hosts[0]


@pytest.fixture(scope="session")
def host(hosts):
    """A client of the host with NegGuide."""
    return Host(hosts[0])


@pytest.fixture(scope="session")
def stock(hosts):
    """A client of the same host without NegGuide."""
    if hosts[1] is None:
        pytest.skip("needs --stock-url: the same host without NegGuide")
    return Host(hosts[1])
