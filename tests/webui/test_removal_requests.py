"""Removal in requests of every kind: what is refused, what ends early, infotext, X/Y/Z plot."""

import json

import pytest

from lib_negguide.settings import Settings
from tests.webui.client import same
from tests.webui.test_failures import in_background
from tests.webui.test_host_scripts import axis_types
from tests.webui.test_img2img import start_image
from tests.webui.test_removal import LOOP, painted, removal, told

ANCHORED = removal(anchor=True)


@pytest.mark.parametrize("fields, said", [
    ({"text": " "}, "remove.text = ' ' is not allowed"), ({"weight": 5}, "remove.weight = 5 is not allowed; a number from 0 to 4"),
    ({"mask": "no picture", "region": "mask"}, "remove.mask = 'no picture' is not allowed; a picture as base64"),
    ({"mask": "sha256:" + 64 * "0"}, "is not allowed; a picture that is stored here"),
    ({"region": "mask"}, "remove.mask = '' is not allowed; a picture where remove.region is mask"),
    ({"anchor": True, "region": "everywhere"}, "remove.anchor = True is not allowed")], ids=lambda value: str(value)[:30])
def test_refused(host, fields, said):
    answer = host.refused({"remove": {"text": "glasses", **fields}})
    assert answer.status_code == 422 and said in answer.json()["detail"]


@pytest.mark.parametrize("fields", [{"sampler_name": "DPM adaptive"},
                                    {"enable_hr": True, "hr_scale": 1.5, "hr_sampler_name": "DPM adaptive", "denoising_strength": 0.5}], ids=str)
def test_an_anchor_is_refused_with_samplers_that_choose_their_calls(host, fields):
    answer = host.refused(ANCHORED, **fields)
    assert answer.status_code == 422 and "noise levels do not depend on what it predicts" in answer.json()["detail"]
    assert host.txt2img(LOOP, sampler_name="DPM adaptive").calls()


def test_infotext_there_and_back(host):
    """The mask comes back as a reference."""
    shot = host.txt2img(removal(region="mask", mask=painted(40), unit="step", start=1, stop=6), steps=8)
    kept = Settings.parse(json.loads(shot.params["NegGuide schedule"])).remove
    assert kept.mask.startswith("sha256:") and kept.unit == "sigma" and kept.start > kept.stop
    again = host.post("/sdapi/v1/txt2img", infotext=shot.infotexts[0])
    assert json.loads(again.json()["info"])["infotexts"] == shot.infotexts
    assert "NegGuide removed: " in shot.infotexts[0].replace('"', "") and "NegGuide removal" not in shot.infotexts[0]
    assert "NegGuide rem" not in host.txt2img({}).infotexts[0]


@pytest.mark.parametrize("settings", [LOOP, ANCHORED], ids=["loop", "anchor"])
def test_interrupt_and_skip(host, settings):
    """In the run without the removal too; what comes next is as if nothing had been."""
    fields = {"steps": 40, "seed": 71}
    before = host.txt2img(LOOP, steps=5)
    waiting = in_background(host.txt2img, settings, n_iter=2, **fields)
    host.wait_for_step(4)
    host.api.interrupt()
    shot = waiting()
    assert len(shot.pixels) <= 1 and "is not removed" not in shot.notes
    waiting = in_background(host.txt2img, settings, n_iter=2, **{**fields, "seed": 72})
    host.wait_for_step(3)
    host.api.skip()
    skipped = waiting()
    assert [one["picture"] for one in skipped.params["NegGuide removal"]["pictures"]][-1] == 1
    assert same(host.txt2img(LOOP, steps=5), before) and same(host.txt2img(steps=5), host.reference(steps=5))


@pytest.mark.parametrize("settings, countdown", [(LOOP, 1), (ANCHORED, 0)], ids=["loop", "anchor"])
def test_an_exception_inside(host, settings, countdown):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")
    before = host.txt2img(LOOP, steps=5)
    scripts = {**host.scripts(settings), "Saboteur": {"args": ["Removing.change", countdown]}}
    answer = host.post("/sdapi/v1/txt2img", prompt="a portrait", steps=6, width=64, height=64, alwayson_scripts=scripts)
    assert answer.status_code == 500
    assert "NegGuide: internal error, no picture is made: ZeroDivisionError: sabotage" in answer.text
    assert same(host.txt2img(LOOP, steps=5), before)


def test_img2img_and_loopback(host):
    """A sampler that img2img keeps for its next batch is not changed twice."""
    settings = removal("hat", start=None, stop=None)
    two = host.img2img(start_image(), settings, n_iter=2, steps=6)
    assert [len(one["passes"]) for one in two.params["NegGuide removal"]["pictures"]] == [1, 1]
    turns = host.img2img(start_image(), settings, steps=6, script_name="loopback", script_args=[2, 0.6, "Linear", "None"])
    assert turns.pixels and same(host.img2img(start_image(), settings, steps=6), host.img2img(start_image(), settings, steps=6))


AXES = {"Remove": (["hat", "off"], lambda value: {"remove": None if value == "off" else {"text": value}}),
        "Remove strength": (["1", "3"], lambda value: removal(weight=float(value))),
        "Remove start": (["5.0", "none"], lambda value: removal(start=None if value == "none" else float(value))),
        "Remove stop": (["4.0", "none"], lambda value: removal(stop=None if value == "none" else float(value))),
        "Remove search": (["loop", "window"], lambda value: removal(search=value)),
        "Remove region": (["object", "everywhere"], lambda value: removal(region=value)),
        "Remove anchor": (["True", "False"], lambda value: removal(anchor=value == "True"))}
WITH_CHOICES = ("Remove search", "Remove region", "Remove anchor")


def plot(host, axis, values, settings=LOOP, image=None, **fields):
    choices = axis in WITH_CHOICES
    args = [axis_types(host, image is not None).index("[NegGuide] " + axis), "" if choices else ", ".join(values), values if choices else [], 0, "", [], 0, "", [],
            False, True, False, False, False, False, False, 0, False]
    fields = {"script_name": "x/y/z plot", "script_args": args, **fields}
    return host.txt2img(settings, **fields) if image is None else host.img2img(image, settings, **fields)


@pytest.mark.parametrize("axis", AXES)
def test_axis(host, axis):
    values, settings = AXES[axis]
    shot = plot(host, axis, values)
    assert shot.infotexts[-2] != shot.infotexts[-1]
    for value, cell, infotext in zip(values, shot.pixels[-2:], shot.infotexts[-2:]):
        one = host.txt2img(settings(value))
        assert (cell == one.pixels[0]).all() and infotext == one.infotexts[0]


def test_axes_of_other_windows_leave_the_removal_alone(host):
    shot = plot(host, "Weight", ["0.5"], {**LOOP, "negatives": [{"text": "hat"}]})
    assert Settings.parse(json.loads(shot.params["NegGuide schedule"])).remove == Settings.parse(LOOP).remove
    assert told(shot)["passes"]


def test_axes_say_where_nobody_says_what_to_remove(host):
    assert "removes nothing" in plot(host, "Remove strength", ["1"], {}).notes


def test_beside_scores_of_a_caption(host):
    """The picture without the caption, made to compare with, is without the thing too."""
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")
    dnp = {"dnp": {"captioner": "text", "text": "hat", "scores": True, "keep_better": True}}
    for countdown in (0, 1):
        more = {"Saboteur": {"args": ["clip", countdown]}}
        shot = host.txt2img({**dnp, **removal()}, more_scripts=more, steps=6)
        kept = "without" if "kept without" in shot.infotexts[0] else "with"
        caption = {"dnp": {"captioner": "text", "text": "hat"}} if kept == "with" else {}
        assert same(shot, host.txt2img({**caption, **removal()}, steps=6))
    answer = host.refused({**dnp, **removal(anchor=True)})
    assert answer.status_code == 422 and "dnp.scores = True is not allowed; false with remove.anchor" in answer.json()["detail"]
