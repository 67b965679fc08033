"""A host with ``--api-auth``: NegGuide's endpoints ask who is there, as the host's own do."""

from pathlib import Path

import pytest
import requests

from tests.webui import servers

USER, PASSWORD = "someone", "s3cret"
ROOT = "/negguide/v1"


@pytest.fixture(scope="module")
def guarded(request, tmp_path_factory):
    """Address of a host of its own, with ``--api-auth``."""
    option = request.config.getoption
    if option("--webui-url"):
        pytest.skip("needs a host of its own: --webui-dir")
    folder, flags = tmp_path_factory.mktemp("guarded"), ["--api-auth", f"other:one,{USER}:{PASSWORD}"]
    if option("--webui-dir"):
        server = servers.start_webui(Path(option("--webui-dir")).resolve(), folder, flags=flags)
    else:
        server = servers.start_standin(folder, model=option("--standin-model"), flags=flags)
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


def routes(url):
    """(method, path) of all of NegGuide's endpoints."""
    paths = requests.get(url + "/openapi.json", timeout=60).json()["paths"]
    return [(method, path) for path, methods in paths.items() if path.startswith(ROOT) for method in methods]


@pytest.mark.parametrize("auth", [None, (USER, "wrong"), ("nobody", PASSWORD), (USER, ""), (USER, "s3crèt")])
def test_strangers_are_refused(guarded, auth):
    found = routes(guarded)
    assert len(found) >= 7
    if auth:
        auth = tuple(part.encode() for part in auth)
    for method, path in [*found, ("get", "/sdapi/v1/samplers")]:
        answer = requests.request(method, guarded + path.replace("{name}", "x"), json={}, auth=auth, timeout=60)
        assert answer.status_code == 401, path


@pytest.mark.parametrize("auth", [(USER, PASSWORD), ("other", "one")])
def test_the_known_are_let_in(guarded, auth):
    assert requests.get(guarded + ROOT + "/version", auth=auth, timeout=60).json()["host"]
    answer = requests.post(guarded + ROOT + "/schedule", json={"steps": 0}, auth=auth, timeout=60)
    assert answer.status_code == 422 and "steps = 0 is not allowed" in answer.json()["detail"]
    assert requests.get(guarded + "/sdapi/v1/samplers", auth=auth, timeout=60).status_code == 200
