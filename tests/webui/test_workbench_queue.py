"""The workbench in the host's queue: it waits for others, others wait for it; its progress is the host's; it can be ended while it waits."""

import threading
import time

import pytest

from tests.webui.client import same
from tests.webui.test_workbench import ASKED, ROOT, wait

LONG = {**ASKED, "strip": "weights", "steps": 60, "wait": False}


def state(host, preview=None):
    return host.get(ROOT + "/state" + ("" if preview is None else f"?preview={preview}")).json()


def until(condition, what):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(what)


@pytest.fixture
def txt2img(host):
    """A long txt2img, at work; ended after the test at the latest."""
    thread = threading.Thread(target=lambda: host.api.txt2img(prompt="a cat", steps=150, n_iter=20, width=128, height=128, seed=1))
    thread.start()
    host.wait_for_step(2)
    yield thread
    host.post("/sdapi/v1/interrupt")
    thread.join()


def test_a_strip_waits_for_its_turn(host, txt2img):
    identity = host.post(ROOT, **{**ASKED, "strip": "weights", "weights": [1], "steps": 1, "wait": False}).json()["id"]
    told = until(lambda: state(host)["host"]["place"] and state(host), "a place in the queue")
    assert told["waiting"] and (told["host"]["place"], told["host"]["queue"]) == (1, 1) and not told["ending"] and txt2img.is_alive()
    host.post("/sdapi/v1/interrupt")
    txt2img.join()
    run = wait(host, identity)
    assert run["state"] == "done" and len(run["cells"]) == 2, "the other one's interrupt is not meant for the strip"


def test_a_strip_that_waits_can_be_ended(host, txt2img):
    identity = host.post(ROOT, **{**ASKED, "steps": 1, "wait": False}).json()["id"]
    told = host.post(ROOT + "/interrupt").json()
    assert told["ending"] and told["waiting"] and txt2img.is_alive(), "the other one goes on"
    host.post("/sdapi/v1/interrupt")
    run = wait(host, identity)
    assert (run["state"], run["cells"]) == ("interrupted", [])


def test_txt2img_waits_for_a_strip(host):
    identity = host.post(ROOT, **LONG).json()["id"]
    host.wait_for_step(2)
    found = []
    fields = {"prompt": "a cat", "steps": 2, "seed": 5}

    def ask():
        shot = host.txt2img(**fields)
        found.append((shot, state(host)["state"]))

    thread = threading.Thread(target=ask)
    thread.start()
    host.post(ROOT + "/interrupt")
    thread.join()
    (shot, then), = found
    assert then != "running", "it was made after the strip"
    assert wait(host, identity)["state"] == "interrupted" and same(shot, host.reference(**fields))


def test_progress_time_left_and_live_preview_are_the_hosts(host):
    before = host.get("/sdapi/v1/options").json()
    kinds = {"live_previews_enable": True, "show_progress_every_n_steps": 1, "show_progress_type": "Approx cheap"}
    host.post("/sdapi/v1/options", **{name: value for name, value in kinds.items() if name in before})
    identity = host.post(ROOT, **LONG).json()["id"]
    try:
        told = until(lambda: next((one for one in [state(host, -1)] if one["host"]["preview"] and one["host"]["progress"]), None), "a live preview")
        assert told["host"]["preview"].startswith("data:image/") and told["host"]["preview_id"] > 0
        assert 0 < told["host"]["progress"] < 1 and told["host"]["eta"] > 0 and told["host"]["queue"] == 0
        assert state(host)["host"]["preview"] is None, "nobody asked for one"
        done = until(lambda: next((one for one in [state(host)] if one["done"] >= 2), None), "two pictures")
        assert done["host"]["progress"] >= 2 / 7
    finally:
        host.post(ROOT + "/interrupt")
        wait(host, identity)
        host.post("/sdapi/v1/options", **{name: before[name] for name in kinds if name in before})
