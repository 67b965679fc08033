"""The API's one object: what is taken, what is refused, and with which words."""

import json

import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Settings
from tests.webui.client import SCRIPT, same

WINDOW = {"start": 5.8, "stop": 1.6}
REFUSED = [
    {"colour": "red"},
    {"negatives": [{"text": "hat", "colour": "red"}]},
    {"negatives": [{}]},
    {"negatives": "hat"},
    {"negatives": [{"text": "hat", "weight": 2.01}]},
    {"negatives": [{"text": "hat", "weight": -0.1}]},
    {"negatives": [{"text": "hat", "weight": "much"}]},
    {"negatives": [{"text": "hat", "start": -1}]},
    {"negatives": [{"text": "hat", "start": 1.6, "stop": 5.8}]},
    {"negatives": [{"text": "hat", "unit": "fraction", "start": 1.2}]},
    {"negatives": [{"text": "hat", "unit": "step", "start": 5, "stop": 2}]},
    {"negatives": [{"text": "hat"}, {"text": "x", "unit": "minutes"}]},
    {"box": {"curve": "wavy"}},
    {"box": {"curve": "points"}},
    {"box": {"curve": "points", "points": [[0.5, 1], [0.5, 0]]}},
    {"combine": "both"},
    {"enabled": "perhaps"},
    {"hires": {"box": {"weight": 3}}},
    {"version": 99},
    {"box": {"start": 10**400}},
    {"negatives": [{"text": "half \ud83c"}]},
    {"dns": []},
]


def words(settings):
    with pytest.raises(SettingsError) as error:
        Settings.parse(settings)
    return error.value


@pytest.mark.parametrize("settings", REFUSED, ids=lambda one: json.dumps(one)[:60])
def test_refused_with_field_value_and_what_is_allowed(host, settings):
    answer = host.refused(settings)
    assert 400 <= answer.status_code < 500
    error, body = words(settings), answer.json()
    assert body["detail"] == str(error)
    assert error.field in body["detail"] and error.allowed in body["detail"]
    assert "images" not in body


def test_refused_in_img2img(host):
    from tests.webui.test_img2img import start_image

    answer = host.refused({"combine": "both"}, "/sdapi/v1/img2img", init_images=[start_image(as_text=True)])
    assert answer.status_code == 422
    assert answer.json()["detail"] == str(words({"combine": "both"}))


@pytest.mark.parametrize("args", [[5], ["hat"], [[]], [True, 5], [True, "{"], [True, '{"combine": "both"}']], ids=json.dumps)
def test_refused_arguments(host, args):
    answer = host.refused(args)
    assert answer.status_code == 422
    assert "is not allowed; " in answer.json()["detail"]
    assert "images" not in answer.json()


@pytest.mark.parametrize("script, words", [
    (None, "alwayson_scripts.NegGuide = None is not allowed; an object"), ([{}], "alwayson_scripts.NegGuide = [{}] is not allowed; an object"),
    ({"args": None}, "args = None is not allowed; a list"), ({"args": {}}, "args = {} is not allowed; a list"),
], ids=json.dumps)
def test_refused_scripts(host, script, words):
    """The host itself fails on some of these, and passes over others."""
    answer = host.post("/sdapi/v1/txt2img", prompt="hat", steps=1, width=64, height=64, alwayson_scripts={SCRIPT: script})
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text


def test_nothing_stays_behind_a_refusal(host):
    before = host.txt2img({"negatives": [{"text": "hat", **WINDOW}]})
    host.refused({"negatives": [{"text": "hat", "weight": 3}]})
    assert host.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    assert same(host.txt2img({"negatives": [{"text": "hat", **WINDOW}]}), before)
    assert "NegGuide" not in host.txt2img().params


@pytest.mark.parametrize("args", [
    [True, json.dumps({"negatives": [{"text": "hat", **WINDOW}]})],
    [True, {"negatives": [{"text": "hat", **WINDOW}]}],
    [{"enabled": True, "negatives": [{"text": "hat", **WINDOW}], "version": 1}],
    [{"negatives": [{"text": "hat", "start": 5.8, "stop": 1.6, "unit": "sigma", "weight": 1, "curve": "constant", "points": []}]}],
    [{"negatives": [{"text": "hat", **WINDOW}]}, "ignored", "too many"],
], ids=["page's two, text", "page's two, object", "enabled", "everything named", "more than enough"])
def test_other_ways_to_say_the_same(host, args):
    assert same(host.txt2img(args), host.txt2img({"negatives": [{"text": "hat", **WINDOW}]}))


@pytest.mark.parametrize("args", [[], [False], [False, '{"negatives": [{"text": "hat"}]}'], [{"enabled": False, "negatives": [{"text": "hat"}]}]],
                         ids=json.dumps)
def test_ways_to_be_off(host, args):
    shot = host.txt2img(args)
    assert not any(key.startswith("NegGuide") for key in shot.params)
    assert same(shot, host.reference())


def test_script_name_in_any_case(host):
    settings = {"negatives": [{"text": "hat", **WINDOW}]}
    shot = host.txt2img(None, more_scripts={SCRIPT.upper(): {"args": [settings]}})
    assert same(shot, host.txt2img(settings))
