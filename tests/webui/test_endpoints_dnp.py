"""Endpoints on diffusion-negative prompting: captions, and diffusion-negative pictures."""

import base64
import io
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from lib_negguide.captioners import safe
from lib_negguide.webui.forms import CaptionForm, DnsForm
from tests.webui.client import Shot, png, same

ROOT = "/negguide/v1"
CAPTIONER = str(Path(__file__).parents[1] / "world" / "model" / "captioner")
FIELDS = dict(prompt="a portrait of a person", seed=7, steps=4, width=64, height=64, cfg_scale=5, sampler_name="Euler a")


def in_base64(image):
    return base64.b64encode(png(image)).decode()


def picture(colour, size=(64, 64)):
    return Image.new("RGB", size, colour)


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


class Pictures:
    """The pictures of an answer, to be compared with a request's."""

    def __init__(self, answer):
        self.rows = answer["pictures"]
        self.pixels = [pixels(row["image"]) for row in self.rows]


def dns(host, **fields):
    answer = host.post(ROOT + "/dns", **{**FIELDS, **fields})
    assert answer.status_code == 200, answer.text
    return Pictures(answer.json())


def caption(host, images, **fields):
    answer = host.post(ROOT + "/caption", images=images, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(host):
    return host.get("/sdapi/v1/progress?skip_current_image=true").json()["state"]


# Pictures


@pytest.mark.parametrize("asked", [{}, {"scale": 3}, {"scale": 4, "meaning": "host"}])
def test_the_picture_of_dns_mode(host, asked):
    """To the bit the picture that a request of the host's own gives with NegGuide's ``dns``."""
    assert same(dns(host, dns=asked), host.txt2img({"dns": asked}, **FIELDS))


def test_the_two_meanings_of_the_scale(host):
    paper = dns(host, dns={"scale": 4})
    assert same(paper, dns(host, dns={"scale": 5, "meaning": "host"}))
    assert same(dns(host), dns(host, dns={"scale": 5})), "the request's own scale, as the paper's"
    assert not same(paper, dns(host))


def test_prompts_and_seeds(host):
    many = dns(host, prompt=["a red circle", "a portrait of a person with glasses"], seed=[3, 4])
    assert [(row["prompt"], row["seed"]) for row in many.rows] == [("a red circle", 3), ("a portrait of a person with glasses", 4)]
    for number, row in enumerate(many.rows):
        alone = dns(host, prompt=row["prompt"], seed=row["seed"])
        assert np.array_equal(alone.pixels[0], many.pixels[number])
    assert [row["seed"] for row in dns(host, seed=[5, 6, 5]).rows] == [5, 6, 5]


def test_a_random_seed_is_told(host):
    rows = dns(host, seed=[-1, -1], steps=1).rows
    assert all(row["seed"] >= 0 for row in rows) and rows[0]["seed"] != rows[1]["seed"]
    assert same(dns(host, seed=rows[0]["seed"], steps=1), Pictures({"pictures": rows[:1]}))


def test_samplers_by_name(host):
    both = dns(host, sampler_name="DPM++ 2M", scheduler="Exponential")
    assert same(both, dns(host, sampler_name="DPM++ 2M Exponential"))
    assert not same(both, dns(host, sampler_name="DPM++ 2M"))


def test_options_of_the_host_for_one_request(host):
    skipped = dns(host, override_settings={"CLIP_stop_at_last_layers": 2})
    assert not same(skipped, dns(host))
    assert same(skipped, host.txt2img({"dns": {}}, override_settings={"CLIP_stop_at_last_layers": 2}, **FIELDS))


def test_the_infotext_makes_the_picture_again(host):
    row, = dns(host, prompt="a red circle", seed=11, dns={"scale": 4}, scheduler="Karras", width=72).rows
    text = Image.open(io.BytesIO(base64.b64decode(row["image"]))).text["parameters"]
    again = host.post("/sdapi/v1/txt2img", infotext=text).json()
    assert np.array_equal(pixels(again["images"][0]), pixels(row["image"]))


# Captions


def test_captions_of_the_small_worlds_captioner(host):
    """Pictures as the host takes them: base 64, with a head or without."""
    images = [in_base64(picture("white")), "data:image/png;base64," + in_base64(picture("red"))]
    answer = caption(host, images, captioner=CAPTIONER, beams=1, min_tokens=0, max_tokens=10)
    assert len(answer["captions"]) == 2 and all(said["raw"] for said in answer["captions"])
    assert answer["captioner"].startswith("captioner@")
    assert caption(host, images[1], captioner=CAPTIONER, beams=1, min_tokens=0, max_tokens=10)["captions"] == answer["captions"][1:]


def test_captions_are_safe_for_a_prompt(host):
    answer = caption(host, in_base64(picture("red")), captioner="text", text="a (hat) AND <b>")
    said, = answer["captions"]
    assert answer["captioner"] == "text" and said["raw"] == "a (hat) AND <b>"
    assert said["caption"] == safe(said["raw"]) != said["raw"]


def test_pictures_with_captions(host):
    """Each caption is what ``/caption`` says of the picture."""
    fields = {"captioner": CAPTIONER, "beams": 2, "min_tokens": 0, "max_tokens": 12}
    answer = host.post(ROOT + "/dns", **{**FIELDS, "seed": [7, 8], "dnp": {"scale": 4, "samples": 2, "steps": 1, **fields}}).json()
    assert len(answer["pictures"]) == 4
    said = caption(host, [row["image"] for row in answer["pictures"]], **fields)
    assert [row["raw"] for row in answer["pictures"]] == [one["raw"] for one in said["captions"]]
    assert {row["captioner"] for row in answer["pictures"]} == {said["captioner"]}
    assert [(row["prompt"], row["seed"]) for row in answer["negatives"]] == [(FIELDS["prompt"], 7), (FIELDS["prompt"], 8)]
    assert [answer["pictures"][at]["seed"] for at in (0, 2)] == [7, 8]
    first = Pictures({"pictures": [answer["pictures"][0]]})
    assert same(first, dns(host, dns={"scale": 4}))


def test_what_auto_dnp_will_use(host):
    """The answer's negatives are the captions that auto-DNP then writes to ``info``; the pictures are in the cache by then."""
    dnp = {"captioner": CAPTIONER, "min_tokens": 0, "max_tokens": 12, "scale": 3.25}
    answer = host.post(ROOT + "/dns", **{**FIELDS, "seed": 21, "dnp": dnp}).json()
    assert [row["cached"] for row in answer["pictures"]] == [False]
    request = {**FIELDS, "seed": 21, "alwayson_scripts": host.scripts({"dnp": dnp})}
    info = json.loads(host.post("/sdapi/v1/txt2img", **request).json()["info"])
    told, = info["extra_generation_params"]["NegGuide DNP"]["pictures"]
    assert told["caption"] == answer["negatives"][0]["text"] and told["cached"]
    again = host.post(ROOT + "/dns", **{**FIELDS, "seed": 21, "dnp": dnp}).json()
    assert again["pictures"][0]["cached"] and again["negatives"] == answer["negatives"]


def test_captions_on_request(host):
    answer = host.post(ROOT + "/dns", **{**FIELDS, "caption": True, "dns": {"scale": 4}})
    known = {row["captioner"]: row for row in host.get(ROOT + "/captioners").json()["captioners"]}
    if known["auto"]["usable"]:
        assert answer.json()["pictures"][0]["raw"]
    else:
        assert answer.status_code == 422 and answer.json()["detail"] == known["auto"]["why"]


def test_captioners(host):
    listed = host.get(ROOT + "/captioners").json()["captioners"]
    assert [row["captioner"] for row in listed][:5] == ["auto", "webui", "blip-base", "blip-large", "blip2"]
    for row in listed:
        assert bool(row["why"]) != row["usable"]
        assert row["usable"] or row["name"] == ""
        assert row["usable"] or row["why"].startswith("NegGuide: ")


# Refusals


@pytest.mark.parametrize("path, body, words", [
    ("/caption", {"images": "nothing"}, "images[0] = 'nothing' is not allowed; a picture in base 64"),
    ("/caption", {"images": [None]}, "images[0] = None is not allowed"),
    ("/caption", {"images": "http://127.0.0.1:1/picture.png"}, "a picture in base 64 (Request to local resource not allowed)"),
    ("/caption", {"images": "/etc/hostname"}, "images[0] = '/etc/hostname' is not allowed; a picture in base 64"),
    ("/caption", {}, "images = None is not allowed; required"),
    ("/caption", [1], "body = [1] is not allowed; a JSON object"),
    ("/dns", {"prompt": "a", "beams": 2}, "beams = 2 is not allowed; unknown field; known are prompt, seed"),
    ("/dns", {"prompt": "a", "sampler_name": "Eiler"}, "sampler_name = 'Eiler' is not allowed; one of "),
    ("/dns", {"prompt": "a", "scheduler": "Korras"}, "scheduler = 'Korras' is not allowed; one of Automatic"),
    ("/dns", {"prompt": "a", "width": 7}, "width = 7 is not allowed; a multiple of 8 from 64 to 8192"),
    ("/dns", {"prompt": "a", "override_settings": {"nix": 1}}, "override_settings.nix = 1 is not allowed; an option of the host"),
    ("/dns", {"prompt": "a", "dnp": {"captioner": "no/such/thing"}}, "no/such/thing"),
    ("/dns", {"prompt": "a", "cfg_scale": 0}, "cfg_scale"),
    ("/dns", {"prompt": "a", "dnp": {}, "dns": {}}, "dns = {} is not allowed; null beside dnp"),
])
def test_what_is_refused(host, path, body, words):
    answer = requests.post(host.url + ROOT + path, json=body, timeout=60)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert state(host)["job"] == ""


def test_a_captioner_that_is_not_here(host):
    """The words of the captioner itself: what is missing, and where to put it."""
    missing = [row for row in host.get(ROOT + "/captioners").json()["captioners"] if not row["usable"]]
    if not missing:
        pytest.skip("this host has all of them")
    for row in missing:
        answer = host.post(ROOT + "/caption", images=in_base64(picture("red")), captioner=row["captioner"])
        assert answer.status_code == 422 and row["why"] in answer.json()["detail"]
    assert same(host.txt2img(), host.reference())


# A job like any other


def in_background(function, *args, **fields):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function(*args, **fields)))
    thread.start()
    return thread, answers


def wait(thread):
    thread.join(120)
    assert not thread.is_alive()


def test_it_waits_for_its_turn(host):
    host.reference()
    thread, answers = in_background(host.txt2img, steps=120)
    host.wait_for_step(3)
    begun = state(host)["job"]
    told = caption(host, in_base64(picture("red")), captioner="text", text="a hat")
    wait(thread)
    assert begun == "scripts_txt2img" and told["captions"][0]["raw"] == "a hat"
    assert same(answers[0], host.txt2img(steps=120))
    assert isinstance(answers[0], Shot)


def test_progress_and_interrupt(host):
    thread, answers = in_background(host.post, ROOT + "/dns", **{**FIELDS, "seed": [1, 2, 3, 4], "steps": 150})
    host.wait_for_step(2)
    seen = state(host)
    assert (seen["job"], seen["job_count"]) == ("negguide_dns", 4)
    host.post("/sdapi/v1/interrupt")
    wait(thread)
    assert answers[0].status_code == 409 and "interrupted" in answers[0].json()["detail"]
    end = time.monotonic() + 60
    while state(host)["job_count"] and time.monotonic() < end:
        time.sleep(0.05)
    assert (state(host)["job"], state(host)["job_count"]) == ("", 0)
    assert same(host.txt2img(), host.reference())


def test_nothing_is_left_behind(host):
    """Neither the host's own pictures nor its options change after such jobs."""
    before, options = host.reference(), host.get("/sdapi/v1/options").json()
    dns(host, override_settings={"CLIP_stop_at_last_layers": 2})
    caption(host, in_base64(picture("red")), captioner=CAPTIONER)
    host.post(ROOT + "/dns", **{**FIELDS, "sampler_name": "nothing"})
    assert same(host.txt2img(), before)
    assert host.get("/sdapi/v1/options").json() == options


def test_docs(host):
    """In /docs with words for the endpoint and every field."""
    paths = host.get("/openapi.json").json()["paths"]
    for path, form in (("/caption", CaptionForm), ("/dns", DnsForm)):
        told = paths[ROOT + path]["post"]
        assert len(told["description"]) > 80
        fields = told["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert set(fields) == set(form.__fields__) and all(field["description"] for field in fields.values())
    assert paths[ROOT + "/captioners"]["get"]["description"]
