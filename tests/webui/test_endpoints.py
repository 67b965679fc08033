"""NegGuide's own endpoints, and that the host knows the script."""

import json

import pytest
import requests

from lib_negguide import __version__
from lib_negguide.presets import WINDOWS
from lib_negguide.schedule import reference_sigmas
from lib_negguide.settings import SCHEMA_VERSION, Settings, fields

ROOT = "/negguide/v1"


def test_version(host):
    answer = host.get(ROOT + "/version").json()
    assert answer["version"] == __version__
    assert answer["settings"] == SCHEMA_VERSION


def test_schema(host):
    schema = host.get(ROOT + "/schema").json()
    assert set(schema["properties"]) == {field["name"] for field in fields(Settings)}
    assert schema["additionalProperties"] is False
    assert schema == json.loads(json.dumps(Settings.schema()))


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_host_knows_the_script(host, tab):
    assert host.has_script("NegGuide", tab)
    info = host.script_info("NegGuide", is_img2img=tab == "img2img")
    assert info["is_alwayson"]


def test_schedule(host):
    settings = {"negatives": [{"text": "hat", "start": 5.8, "stop": 1.6}]}
    answer = host.post(ROOT + "/schedule", settings=settings, steps=30).json()
    assert answer["sigmas"] == pytest.approx(reference_sigmas(30))
    terms = {term["name"]: term["strengths"] for term in answer["terms"]}
    assert terms["hat"] == [1.0 if 1.6 < sigma <= 5.8 else 0.0 for sigma in answer["sigmas"]]


@pytest.mark.parametrize("body, words", [
    ({"settings": {"combine": "mix"}}, "combine = 'mix' is not allowed; one of join, branches, perp-neg"),
    ({"negatives": [{"text": "hat"}]}, "unknown field; known are settings, steps, hires"),
    ({"steps": 2.5}, "steps = 2.5 is not allowed; a whole number from 1 to 1000"),
    ({"hires": 1}, "hires = 1 is not allowed; true or false"),
])
def test_schedule_refuses(host, body, words):
    answer = host.post(ROOT + "/schedule", **body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_presets(host):
    """Saved, listed, replaced, deleted."""
    path, name = ROOT + "/presets", "of a test"
    first, second = ({"negatives": [{"text": text, "start": 2.8}]} for text in ("hat", "glasses"))
    try:
        for settings in (first, second):
            assert host.post(path, name=name, settings=settings).status_code == 200
            listed = host.get(path).json()
            assert listed["saved"][name] == settings
            assert [preset["name"] for preset in listed["windows"]] == list(WINDOWS)
    finally:
        deleted = requests.delete(f"{host.url}{path}/{name}")
    assert deleted.status_code == 200
    assert name not in host.get(path).json()["saved"]


@pytest.mark.parametrize("name", ["", "../escape", "a/b", "noun (σ ≤ 5.8)", "x" * 200])
def test_preset_names_that_are_refused(host, name):
    answer = host.post(ROOT + "/presets", name=name, settings={})
    assert answer.status_code == 422
    assert name not in host.get(ROOT + "/presets").json()["saved"]


def test_preset_content_that_is_refused(host):
    answer = host.post(ROOT + "/presets", name="bad", settings={"box": {"weight": 3}})
    assert answer.status_code == 422
    assert "box.weight = 3 is not allowed; a number from 0 to 2" in answer.json()["detail"]
    assert "bad" not in host.get(ROOT + "/presets").json()["saved"]
