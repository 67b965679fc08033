"""What the tests of auto-DNP share.

Most of them have captions by "colours", a captioner of tests/webui/saboteur: they depend on the picture and differ in length.
"""

import pytest

RED = "a red circle"
DNP = {"dnp": {"captioner": "colours", "steps": 1}}
TYPED = {"dnp": {"captioner": "text", "text": "hat"}}
STEPS = 4


@pytest.fixture(autouse=True)
def colours(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")


def seen(host):
    return host.get("/saboteur/seen").json()


def with_calls(host, make, *args, **kwargs):
    """(what a request answers, model calls that it took)."""
    before = seen(host)["calls"]
    shot = make(*args, **kwargs)
    return shot, seen(host)["calls"] - before


def told(shot):
    """What ``info`` says about the caption of each picture."""
    return shot.params["NegGuide DNP"]["pictures"]


def captions(shot):
    return [picture["caption"] for picture in told(shot)]


def fresh(number):
    """A seed that no other test has used: the cache has nothing."""
    return 1000 * number + 7
