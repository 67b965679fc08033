"""The text under a picture: what it says, and that it brings the picture back."""

import json

import pytest

from lib_negguide import __version__
from lib_negguide.settings import Settings
from tests.webui.client import png, same

SETTINGS = [
    {},
    {"negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6}]},
    {"negatives": [{"text": "a, b: c \"d\" 'e'\nf\\g {h} (i:1.2) 64x64, Steps: 3", "weight": 0.5}]},
    {"negatives": [{"text": "чёрный, 黒い, ÄÖÜ 🎩"}, {"text": "hat", "curve": "points", "points": [[0, 1], [0.5, 0.2]]}], "combine": "branches"},
    {"box": {"start": 2.8, "weight": 1.5, "curve": "cosine"}, "hires": {"negatives": [{"text": "hat", "stop": 0.7}], "combine": "perp-neg"}},
    {"negatives": [{"text": "64x64"}], "box": {"weight": 0.35}},
]
ids = [json.dumps(settings)[:40] for settings in SETTINGS]


def schedule_of(host, infotext):
    """NegGuide's settings as the host's own parser reads them from a picture."""
    import base64

    from PIL import Image

    picture = base64.b64encode(png(Image.new("RGB", (8, 8)), infotext)).decode()
    answer = host.post("/sdapi/v1/png-info", image=picture).json()
    assert answer["parameters"]["NegGuide"] == __version__
    return Settings.parse(answer["parameters"].get("NegGuide schedule", "{}")), answer["parameters"]


@pytest.mark.parametrize("settings", SETTINGS, ids=ids)
def test_there_and_back(host, settings):
    shot = host.txt2img(settings, negative_prompt="hat")
    read, parameters = schedule_of(host, shot.infotexts[0])
    assert read == Settings.parse(settings)
    assert parameters["Prompt"] == "a portrait of a person" and parameters["Negative prompt"] == "hat"
    again = host.post("/sdapi/v1/txt2img", infotext=shot.infotexts[0])
    assert again.status_code == 200, again.text
    info = json.loads(again.json()["info"])
    assert info["extra_generation_params"].get("NegGuide schedule") == shot.params.get("NegGuide schedule")
    assert info["infotexts"] == shot.infotexts


def test_the_picture_comes_back(host):
    shot = host.txt2img({"negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6}], "box": {"weight": 0.6}}, negative_prompt="hat")
    assert same(host.txt2img(infotext_only(shot), negative_prompt="hat"), shot)


def infotext_only(shot):
    return json.loads(shot.params["NegGuide schedule"])


@pytest.mark.parametrize("unit, start, stop", [("step", 2, 5), ("fraction", 0.25, 0.75)])
def test_steps_and_fractions_are_kept_as_sigma(host, unit, start, stop):
    shot = host.txt2img({"negatives": [{"text": "mustache", "start": start, "stop": stop, "unit": unit}]}, steps=8)
    kept = Settings.parse(shot.params["NegGuide schedule"]).negatives[0]
    assert kept.unit == "sigma" and kept.start > kept.stop
    acting = [n for n, call in enumerate(shot.calls()) if kept.stop < call["sigma"] <= kept.start]
    assert shot.acting() == acting == [n for n in range(8) if (start <= n < stop if unit == "step" else start <= n / 8 < stop)]
    again = host.txt2img(infotext_only(shot), steps=8)
    assert same(again, shot) and again.infotexts == shot.infotexts


def test_defaults_are_left_out(host):
    shot = host.txt2img({"negatives": [], "combine": "join", "box": {"weight": 1}})
    assert "NegGuide: " + __version__ in shot.infotexts[0]
    assert "NegGuide schedule" not in shot.infotexts[0]


def test_the_trace_is_only_in_the_answer(host):
    shot = host.txt2img({"negatives": [{"text": "hat"}]})
    assert "trace" not in shot.infotexts[0]
    assert len(shot.calls()) == 4


def test_off_leaves_nothing(host):
    assert "NegGuide" not in host.txt2img({"enabled": False}).infotexts[0]


def test_an_infotext_without_it_leaves_it_off(host):
    stock = host.reference(negative_prompt="hat")
    answer = host.post("/sdapi/v1/txt2img", infotext=stock.infotexts[0])
    assert "NegGuide" not in json.loads(answer.json()["info"])["infotexts"][0]


def test_a_field_in_the_request_counts_more_than_the_infotext(host):
    shot = host.txt2img({"negatives": [{"text": "hat"}]})
    body = {"infotext": shot.infotexts[0], "alwayson_scripts": host.scripts({"negatives": [{"text": "mustache"}]})}
    answer = host.post("/sdapi/v1/txt2img", **body)
    assert json.loads(json.loads(answer.json()["info"])["extra_generation_params"]["NegGuide schedule"])["negatives"] == [{"text": "mustache"}]
