"""Removal by attention in the host: what the embedded host sees, in each picture of a batch, and no hook stays."""

import json

import numpy as np
import pytest

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.webui.client import DEFAULTS, distance, same
from tests.webui.test_failures import in_background
from tests.webui.test_models import model  # noqa: F401
from tests.webui.test_removal import HIRES, removal, told

DETECTOR = removal(detector="attention", start=None, stop=None)
REGION = removal("(glasses:1.2) BREAK hat", region="attention", start=None, stop=None, gone=-1.0)
BRANCHES = {**removal(detector="attention", region="attention", every=1), "negatives": [{"text": "hat"}], "combine": "branches"}
LONG = ", ".join(["a portrait of a person with a mustache"] * 12)


@pytest.fixture(autouse=True)
def no_hooks_stay(host):
    yield
    if host.has_script("Saboteur"):
        assert host.get("/saboteur/seen").json()["hooks"] == 0


@pytest.fixture(scope="module")
def embedded(request):
    return EmbeddedHost.load(request.config.getoption("--standin-model") or world.model())


def presence(shot, which="first"):
    """[[of each picture] of each call that looked]."""
    seen = [call["removal"]["presence"] for call in shot.calls(which) if call.get("removal")]
    return [values for values in seen if None not in values]


@pytest.mark.parametrize("settings, fields", [
    (DETECTOR, {}), (REGION, {}), (BRANCHES, {"sampler_name": "DDIM", "eta": 0}), (REGION, {"negative_prompt": LONG}),
    (DETECTOR, {"prompt": LONG, "override_settings": {"batch_cond_uncond": False}})],
    ids=["detector", "region", "branches", "negative of another length", "prompt of another length"])
def test_as_the_embedded_host(host, embedded, settings, fields):
    fields = {**DEFAULTS, "steps": 6, "cfg_scale": 4, "sampler_name": "Euler", "negative_prompt": "mustache", "batch_size": 2, "seed": 42, **fields}
    shot = host.txt2img(settings, **fields)
    result = embedded.sample([fields["prompt"]] * 2, [42, 43], Settings.parse(settings), negative_prompts=fields["negative_prompt"],
                             steps=6, cfg_scale=4, size=(64, 64), sampler=fields["sampler_name"])
    for pixels, own in zip(shot.pixels[-2:], result.pil()):
        assert np.abs(pixels.astype(int) - np.asarray(own)).max() <= 1
    assert len(shot.calls()) == len(result.trace.calls) and not shot.notes
    for call, own in zip(shot.calls(), result.trace.calls):
        assert call["extra_evaluations"] == own.extra_evaluations
        if own.removal is not None:
            assert call["removal"]["shares"] == pytest.approx(own.removal.shares, abs=0.01)
            assert call["removal"]["presence"] == [pytest.approx(seen, abs=1e-3) for seen in own.removal.presence]
    assert distance(shot, host.reference(**fields)) > 1
    if settings is not REGION:
        assert presence(shot)[0][0] != pytest.approx(presence(shot)[0][1], abs=3e-3), "both alike: this test could not fail"


def test_parts_of_a_prompt(host):
    """Of each picture its own first part is looked at."""
    fields = {"steps": 6, "batch_size": 2, "seed": 42}
    plain, parts = host.txt2img(DETECTOR, **fields), host.txt2img(DETECTOR, **fields, prompt=DEFAULTS["prompt"] + " :1 AND a red circle :0")
    assert distance(plain, parts) <= 1
    for one, other in zip(presence(plain), presence(parts)):
        assert one == pytest.approx(other, abs=1e-3)


def test_prompt_editing(host):
    """What the text says at a call is what is looked for."""
    plain, edited = (host.txt2img(removal(text, detector="attention", region="attention", start=None, stop=None, every=1), steps=6)
                     for text in ("glasses", "[glasses:hat:3]"))
    before, after = presence(plain), presence(edited)
    assert before[:4] == after[:4] and before[4] != pytest.approx(after[4], abs=1e-3)


def test_hires_and_a_search(host):
    """In both passes; in the windows of a search too, and the run that keeps the rest is not watched."""
    shot = host.txt2img({"remove": {**DETECTOR["remove"], "region": "attention"}}, steps=4, **{**HIRES, "hr_second_pass_steps": 3})
    assert [done["pass"] for done in told(shot)["passes"]] == ["first", "hires"] and presence(shot) and presence(shot, "hires")
    anchored = host.txt2img({"remove": {**REGION["remove"], "anchor": True}}, steps=4)
    assert told(anchored)["passes"][0]["on"] and not same(anchored, host.txt2img(REGION, steps=4))


def test_calls_without_the_negative(host):
    """The host runs no unconditional rows at some calls; nothing is looked at there."""
    shot = host.txt2img({"remove": {**DETECTOR["remove"], "every": 1}}, steps=6, override_settings={"s_min_uncond": 3.0})
    assert "the host skipped the negative prompt" in shot.notes and len(presence(shot)) == 4


def test_infotext(host):
    shot = host.txt2img(DETECTOR)
    assert json.loads(shot.params["NegGuide schedule"])["remove"]["detector"] == "attention"


def test_interrupted(host):
    waiting = in_background(host.txt2img, REGION, steps=60)
    host.wait_for_step(4)
    host.api.interrupt()
    waiting()


def test_an_exception_inside(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")
    before = host.txt2img(DETECTOR)
    answer = host.post("/sdapi/v1/txt2img", prompt="a portrait", steps=6, width=64, height=64,
                       alwayson_scripts={**host.scripts(DETECTOR), "Saboteur": {"args": ["Removing.change", 1]}})
    assert answer.status_code == 500 and "ZeroDivisionError: sabotage" in answer.text
    assert host.get("/saboteur/seen").json()["hooks"] == 0 and same(host.txt2img(DETECTOR), before)


def test_another_attention(host):
    """Another extension may compute attention in its own way; where it does without, that is said."""
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")
    try:
        assert distance(host.txt2img(DETECTOR, more_scripts={"Saboteur": {"args": ["attention", 0]}}), host.txt2img(DETECTOR)) <= 1
        answer = host.post("/sdapi/v1/txt2img", **{**DEFAULTS, "alwayson_scripts": {
            **host.scripts(DETECTOR), "Saboteur": {"args": ["attention", 1]}}})
        assert answer.status_code >= 400 and "another extension has changed the attention" in answer.text
    finally:
        host.txt2img()


@pytest.mark.parametrize("model", ["sdxl", "v"], indirect=True)  # noqa: F811
def test_other_models(host, model):  # noqa: F811
    fields = {"override_settings": model, "steps": 6, "batch_size": 2}
    shot = host.txt2img({"remove": {**DETECTOR["remove"], "region": "attention", "gone": 0.0}}, **fields)
    assert presence(shot) and told(shot)["passes"][0]["on"] and distance(shot, host.reference(**fields)) > 3 and not shot.notes


@pytest.mark.parametrize("model", ["refiner"], indirect=True)  # noqa: F811
def test_refiner(host, model):  # noqa: F811
    """The text is encoded for it, and its own attention is looked at."""
    def shot(**more):
        answer = host.post("/sdapi/v1/txt2img", **{**DEFAULTS, "steps": 8, **more, "alwayson_scripts": host.scripts(
            removal(detector="attention", region="attention", start=None, stop=None, every=1, gone=0.0))})
        assert answer.status_code == 200, answer.text
        calls = json.loads(answer.json()["info"])["extra_generation_params"]["NegGuide trace"]["passes"][0]["calls"]
        return [call["removal"]["presence"][0] for call in calls]

    own, refined = shot(), shot(refiner_checkpoint=model["sd_model_checkpoint"], refiner_switch_at=0.5)
    assert own[:3] == pytest.approx(refined[:3], abs=1e-3) and own[-1] != pytest.approx(refined[-1], abs=0.01)
