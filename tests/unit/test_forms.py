"""Forms of the endpoints on diffusion-negative prompting: what they take, what they refuse and in which words, how /docs shows them."""

import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Dns
from lib_negguide.webui.forms import MOST, CaptionForm, DnsForm, described


def test_one_picture_or_many():
    assert CaptionForm.parse({"images": "abc"}).images == ["abc"]
    form = CaptionForm.parse({"images": ["abc", "def"], "captioner": "blip-base", "beams": 1, "min_tokens": 3.0, "max_tokens": 9})
    assert form.images == ["abc", "def"]
    assert form.dnp == Dnp(captioner="blip-base", beams=1, min_tokens=3, max_tokens=9)


def test_what_is_left_out_of_a_caption_is_as_in_auto_dnp():
    assert CaptionForm.parse({"images": "abc"}).dnp == Dnp()


@pytest.mark.parametrize("body, message", [
    ([], "body = [] is not allowed; a JSON object"),
    ({}, "images = None is not allowed; required: a picture in base 64"),
    ({"images": []}, "images = [] is not allowed; a picture in base 64, or a list of 1 to"),
    ({"images": ["a"] * (MOST + 1)}, f"list of 1 to {MOST} of them"),
    ({"images": ["a", 3]}, "images[1] = 3 is not allowed; a picture in base 64"),
    ({"images": "half \ud83c"}, "images = 'half \\ud83c' is not allowed; a picture in base 64"),
    ({"images": "a", "beams": 10**400}, "is not allowed; a whole number from 1 to 16"),
    ({"images": "a", "beams": "3"}, "beams = '3' is not allowed; a whole number from 1 to 16"),
    ({"images": "a", "max_tokens": 2.5}, "max_tokens = 2.5 is not allowed; a whole number from 1 to 200"),
    ({"images": "a", "min_tokens": 60}, "min_tokens = 60 is not allowed; at most max_tokens (50)"),
    ({"images": "a", "captioner": ""}, "captioner = '' is not allowed; auto, webui, blip-base"),
    ({"images": "a", "captioner": "text"}, "text = '' is not allowed; the captioner \"text\" needs one"),
    ({"images": "a", "captoiner": "blip"}, "captoiner = 'blip' is not allowed; unknown field; known are images, captioner, text"),
])
def test_captions_that_are_refused(body, message):
    with pytest.raises(SettingsError) as caught:
        CaptionForm.parse(body)
    assert message in str(caught.value)


@pytest.mark.parametrize("fields, prompts, seeds", [
    ({"prompt": "a"}, ["a"], [-1]),
    ({"prompt": "a", "seed": [1, 2]}, ["a", "a"], [1, 2]),
    ({"prompt": ["a", "b"], "seed": 7}, ["a", "b"], [7, 7]),
    ({"prompt": ["a", "b"], "seed": [7, 8.0]}, ["a", "b"], [7, 8]),
    ({"prompt": "", "seed": 4294967295}, [""], [4294967295]),
])
def test_prompts_and_seeds(fields, prompts, seeds):
    form = DnsForm.parse(fields)
    assert (form.prompt, form.seed) == (prompts, seeds)


def test_pictures_alone_or_with_captions():
    assert DnsForm.parse({"prompt": "a"}).dnp is None
    assert DnsForm.parse({"prompt": "a"}).dns == Dns()
    assert DnsForm.parse({"prompt": "a", "caption": True, "dns": {"scale": 3, "meaning": "host"}}).dnp == Dnp(
        scale=3, meaning="host", steps=1), "the picture of dns, at all of its steps"
    assert DnsForm.parse({"prompt": "a", "dnp": {"samples": 2}}).dnp == Dnp(samples=2)


@pytest.mark.parametrize("fields, message", [
    ({"prompt": 3}, "prompt = 3 is not allowed; a text, or a list of 1 to"),
    ({"prompt": ["a", None]}, "prompt[1] = None is not allowed; a text"),
    ({"seed": 1.5}, "seed = 1.5 is not allowed; a whole number from -1 to 4294967295"),
    ({"seed": True}, "seed = True is not allowed; a whole number"),
    ({"seed": [1, -2]}, "seed[1] = -2 is not allowed; a whole number"),
    ({"seed": 1 << 32}, "seed = 4294967296 is not allowed; a whole number"),
    ({"prompt": ["a", "b"], "seed": [1, 2, 3]}, "seed = [1, 2, 3] is not allowed; one number, or a list of as many as prompts (2)"),
    ({"width": 100}, "width = 100 is not allowed; a multiple of 8 from 64 to 8192"),
    ({"steps": 0}, "steps = 0 is not allowed; a whole number from 1 to 150"),
    ({"cfg_scale": "7"}, "cfg_scale = '7' is not allowed; a number from 0 to 60"),
    ({"styles": "ink"}, "styles = 'ink' is not allowed; a list of names"),
    ({"caption": 1}, "caption = 1 is not allowed; true or false"),
    ({"dns": {"meaning": "mine"}}, "dns.meaning = 'mine' is not allowed; one of paper, host"),
    ({"dns": {"scale": 0.5, "meaning": "host"}}, "dns.scale = 0.5 is not allowed; at least 1"),
    ({"dnp": {"beams": 0}}, "dnp.beams = 0 is not allowed; a whole number from 1 to 16"),
    ({"dnp": {}, "dns": {"scale": 3}}, "dns = {'scale': 3.0} is not allowed; null beside dnp"),
    ({"dnp": {"captioner": "text", "text": "x"}}, "dnp.captioner = 'text' is not allowed; a captioner that looks at the picture"),
    ({"negative_prompt": "x"}, "negative_prompt = 'x' is not allowed; unknown field; known are prompt, seed"),
])
def test_pictures_that_are_refused(fields, message):
    with pytest.raises(SettingsError) as caught:
        DnsForm.parse({"prompt": "a", **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize("form", [CaptionForm, DnsForm])
def test_described_for_docs(form):
    """Every field with words, and no reference that OpenAPI could not follow."""
    schema = described(form)["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(form.__fields__)
    assert schema["additionalProperties"] is False and "$ref" not in str(schema) and "allOf" not in str(schema)
    for name, field in schema["properties"].items():
        assert field["description"] and "Allowed: " in field["description"] and ("type" in field or "oneOf" in field), name
    inner = schema["properties"].get("dnp")
    assert inner is None or inner["properties"]["window"]["properties"]["weight"]["description"]
