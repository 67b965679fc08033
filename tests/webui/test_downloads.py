"""Downloads of published IP-Adapters in a host of our own, from a small hub of our own: on a click, one at a time, cancelled and gone on with."""

import importlib
import threading
import time
from pathlib import Path

import pytest
import requests
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests import adapters, tiny_hub
from tests.webui import servers
from tests.webui.test_interrogator import inside  # noqa: F401

ROOT = "/negguide/v1/adapters"
NAME = "ip-adapter_sd15.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "models").mkdir()
    adapters.write(adapters.checkpoint(inner=(8, 16), width=768, feature=1024, tokens=1), folder / "models" / NAME)
    served = tiny_hub.Hub("h94/IP-Adapter", folder)
    served.strangers = False  # the real host's tokenizer is in the cache
    yield served
    served.close()


@pytest.fixture(scope="module")
def own(request, hub, tmp_path_factory):
    """(address, data folder) of a host of its own, whose hub is ours."""
    option = request.config.getoption
    if option("--webui-url"):
        pytest.skip("needs a host of its own: --webui-dir")
    folder = tmp_path_factory.mktemp("downloading")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0",
                           "no_proxy": "127.0.0.1"}.items():
            patch.setenv(key, value)
        if option("--webui-dir"):
            server = servers.start_webui(Path(option("--webui-dir")).resolve(), folder)
        else:
            server = servers.start_standin(folder, model=option("--standin-model"))
    try:
        server.wait()
        yield server.url, folder
    finally:
        server.stop()


def state(url):
    return requests.get(url + ROOT + "/download", timeout=60).json()


def click(url, name=NAME, **headers):
    """As the page's own fetch() does it."""
    return requests.post(url + ROOT + "/download", json={"name": name}, headers={"Origin": url, **headers}, timeout=60)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_nothing_without_a_click(own, hub):
    """Another site, another client, a page in a frame of another site: refused in words, and nothing is asked of the hub."""
    url, folder = own
    hub.asked.clear()
    for headers in ({}, {"Origin": "http://example.com"}, {"Origin": "null"}, {"Origin": url, "Sec-Fetch-Site": "cross-site"}):
        answer = requests.post(url + ROOT + "/download", json={"name": NAME}, headers=headers, timeout=60)
        assert answer.status_code == 403 and 'click on the WebUI\'s own page; allow it in the settings' in answer.json()["detail"]
    requests.post(url + "/sdapi/v1/options", json={"negguide_adapter_downloads": True}, timeout=60)
    assert requests.post(url + ROOT + "/download", json={"name": NAME}, timeout=60).status_code == 403
    assert state(url) == {"name": "", "done": 0, "total": 0, "state": "idle", "error": ""} and hub.asked == []


@pytest.mark.parametrize("name", ["../evil", "h94/IP-Adapter", "https://example.com/x.safetensors", 7, None])
def test_nothing_but_what_is_published(own, hub, name):
    url, _ = own
    hub.asked.clear()
    answer = click(url, name)
    assert answer.status_code == 422 and hub.asked == []
    if name is not None:
        assert "one of ip-adapter_sd15.safetensors, " in answer.json()["detail"]


def test_a_click_fetches(own, hub):
    url, folder = own
    listed = requests.get(url + ROOT + "/published", timeout=60).json()
    rows = {row["name"]: row for row in listed["files"]}
    assert listed["why"] == "" and len(rows) == 12 and not any(row["here"] for row in rows.values())
    assert listed["missing"] is None  # the small model has an unusual width, so nothing published fits it
    place = Path(rows[NAME]["folder"])
    assert folder in place.parents
    whole = (hub.folder / "models" / NAME).read_bytes()

    hub.gate = threading.Event()
    first = click(url).json()
    assert (first["name"], first["state"]) == (NAME, "running")
    until(lambda: state(url)["done"] > 0)
    assert 0 < state(url)["done"] < state(url)["total"] == len(whole)
    busy = click(url, "ip-adapter_sdxl")
    assert busy.status_code == 409 and NAME in busy.json()["detail"]
    requests.delete(url + ROOT + "/download", timeout=60)
    hub.gate.set()
    until(lambda: state(url)["state"] != "running")
    assert state(url)["state"] == "cancelled" and not (place / NAME).exists()

    hub.asked.clear()
    assert click(url).status_code == 200
    until(lambda: state(url)["state"] != "running")
    assert state(url) == {"name": NAME, "done": len(whole), "total": len(whole), "state": "done", "error": ""}
    assert (place / NAME).read_bytes() == whole and hub.got(NAME)[0].startswith("bytes=")
    here = [row["name"] for row in requests.get(url + ROOT + "/published", timeout=60).json()["files"] if row["here"]]
    assert here == [NAME]
    assert NAME in [row["adapter"] for row in requests.get(url + ROOT, timeout=60).json()["adapters"]]


def test_a_failure_says_what_to_do(own, hub):
    url, _ = own
    assert click(url, "ip-adapter-plus_sd15").status_code == 200
    until(lambda: state(url)["state"] != "running")
    told = state(url)
    assert told["state"] == "failed" and "By hand: get models/ip-adapter-plus_sd15.safetensors of https://huggingface.co/h94/IP-Adapter" in told["error"]


@pytest.mark.parametrize("clicked, open_to_others, allowed, words", [
    (True, False, False, None), (True, True, False, "a click may be anybody's"), (False, False, False, "does not come from a click"),
    (False, False, True, None), (True, True, True, None), (False, True, True, None)])
def test_whose_leave_is_enough(inside, monkeypatch, clicked, open_to_others, allowed, words):  # noqa: F811
    """In this process, with the stand-in's modules: the option is the owner's leave, whoever asks; a click is none where anybody may click."""
    api, downloads = (importlib.import_module("lib_negguide.webui.api" + name) for name in ("", ".downloads"))
    fetched = []
    monkeypatch.setattr(downloads.published, "download", lambda one, folder, progress: fetched.append((one.name, folder)))
    inside.shared.cmd_opts.disable_extension_access = open_to_others
    inside.opts.negguide_adapter_downloads = allowed
    app = FastAPI()
    api.add(None, app)
    client = TestClient(app)
    for name, folder in (("ip-adapter_sdxl", "ipadapter"), ("CLIP-ViT-bigG-14", "clip_vision")):
        answer = client.post(ROOT + "/download", json={"name": name}, headers={"Origin": "http://testserver"} if clicked else {})
        downloads.job.wait(60)
        if words:
            assert answer.status_code == 403 and words in answer.json()["detail"] and fetched == []
        else:
            assert answer.status_code == 200 and fetched.pop() == (downloads.published.find(name).name, inside.folder / "models" / folder)
            assert client.get(ROOT + "/download").json()["state"] == "done"
