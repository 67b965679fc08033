"""Interrupts, failed requests, exceptions inside: an honest answer, and nothing left behind."""

import threading

import pytest

from tests.webui.client import same

WINDOW = {"negatives": [{"text": "mustache", "start": 5.8, "stop": 0.7}]}
BRANCHES = {**WINDOW, "combine": "branches"}


def pictures(host):
    """Pictures of every kind."""
    return [host.txt2img(settings, negative_prompt=box) for settings in (None, {}, WINDOW, BRANCHES) for box in ("", "hat")]


@pytest.fixture(scope="module")
def fresh(host):
    """What they are before anything has gone wrong."""
    return pictures(host)


@pytest.fixture
def nothing_stays_behind(host, fresh):
    yield
    after = pictures(host)
    assert all(same(a, b) for a, b in zip(fresh, after))
    assert [shot.infotexts for shot in after] == [shot.infotexts for shot in fresh]


def in_background(function, *args, **kwargs):
    """Start a request; call what is returned to wait for its answer."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function(*args, **kwargs)))
    thread.start()

    def wait():
        thread.join(120)
        assert answers, "the request did not answer"
        return answers[0]

    return wait


@pytest.mark.parametrize("settings", [WINDOW, BRANCHES], ids=["join", "branches"])
@pytest.mark.parametrize("step", [0, 7])
def test_interrupt(host, settings, step, nothing_stays_behind):
    waiting = in_background(host.txt2img, settings, steps=60, n_iter=3)
    host.wait_for_step(step)
    host.api.interrupt()
    shot = waiting()
    assert len(shot.pixels) <= 2
    assert "NegGuide trace" not in shot.params or len(shot.calls()) < 60  # without: interrupted before the first call
    assert "did not act" not in shot.notes


def test_interrupt_in_the_hires_pass(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, WINDOW, steps=1, enable_hr=True, hr_scale=1.5, hr_second_pass_steps=60)
    host.wait_for_step(5)
    host.api.interrupt()
    assert len(waiting().calls("hires")) < 60


def test_skip(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, WINDOW, steps=40, n_iter=2)
    host.wait_for_step(3)
    host.api.skip()
    shot = waiting()
    assert len(shot.pixels[-2:]) == 2
    whole = host.txt2img(WINDOW, steps=40, seed=8)
    assert (shot.pixels[-1] == whole.pixels[0]).all()


@pytest.mark.parametrize("fields", [
    {"sampler_name": "UniPC", "steps": 2},
    {"override_settings": {"sd_model_checkpoint": "none"}, "width": -8},
], ids=["too few steps", "bad size"])
def test_the_hosts_own_failures(host, fields, nothing_stays_behind):
    assert host.refused(WINDOW, **fields).status_code >= 400


def test_refusals(host, nothing_stays_behind):
    for settings in ({"combine": "x"}, {"negatives": [{"text": "hat", "weight": 9}]}):
        assert host.refused(settings).status_code == 422


@pytest.fixture
def saboteur(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")


@pytest.mark.parametrize("settings", [WINDOW, BRANCHES], ids=["join", "branches"])
@pytest.mark.parametrize("place, countdown", [("GuidancePlan.build", 0), ("GuidancePlan.texts", 1), ("GuidancePlan.at", 0), ("GuidancePlan.at", 3)])
def test_an_exception_inside(host, saboteur, place, countdown, settings, nothing_stays_behind):
    """No picture that pretends: an error with its name; the next request is as if nothing had been."""
    scripts = {**host.scripts(settings), "Saboteur": {"args": [place, countdown]}}
    answer = host.post("/sdapi/v1/txt2img", prompt="a portrait of a person", steps=6, width=64, height=64, alwayson_scripts=scripts)
    assert answer.status_code == 500
    assert "images" not in answer.json()
    assert "NegGuide: internal error, no picture is made: ZeroDivisionError: sabotage" in answer.text


def test_an_exception_while_negguide_is_off(host, saboteur):
    """What NegGuide would do is not even called; the trap that stays is sprung by the next one."""
    scripts = {"Saboteur": {"args": ["GuidancePlan.build", 0]}}
    assert same(host.txt2img(more_scripts=scripts), host.txt2img())
    assert host.refused(WINDOW).status_code == 500
