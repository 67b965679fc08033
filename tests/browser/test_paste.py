"""A picture brings its settings back into the page."""

import json

import pytest
from PIL import Image

from lib_negguide import __version__
from tests.webui.client import png

SETTINGS = {
    "negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6},
                  {"text": "hat, \"big\": (red:1.2)\nÄ", "weight": 0.5, "curve": "points", "points": [[0, 1], [0.6, 0.2]]}],
    "box": {"stop": 0.7, "curve": "cosine"}, "combine": "branches", "hires": {"negatives": [{"text": "glasses", "start": 2.8}]},
}
LINE = "Steps: 6, Sampler: Euler a, Schedule type: Automatic, CFG scale: 5.5, Seed: 4711, Size: 128x64"


def infotext(settings=None):
    text = f"a portrait of a person\nNegative prompt: glasses\n{LINE}"
    if settings is not None:
        text += f", NegGuide: {__version__}, NegGuide schedule: {json.dumps(json.dumps(settings, ensure_ascii=False), ensure_ascii=False)}"
    return text


@pytest.fixture
def picture(tmp_path):
    def write(text):
        path = tmp_path / "picture.png"
        path.write_bytes(png(Image.new("RGB", (64, 64), "white"), text))
        return path

    return write


def host_fields(page):
    return [page.value(name) for name in ("prompt", "neg_prompt", "steps", "cfg_scale", "seed", "width")]


def test_png_info_restores_every_field(page, picture):
    page.enable(False)
    assert page.png_info(picture(infotext(SETTINGS))) == infotext(SETTINGS)
    page.send_to("txt2img")
    page.wait(lambda: page.settings() == SETTINGS and page.is_enabled(), "the settings")
    page.wait(lambda: host_fields(page) == ["a portrait of a person", "glasses", "6", "5.5", "4711", "128"], "the host's fields")
    page.wait(lambda: page.editor().locator("[data-pass=first] [data-negative]").count() == 3, "the rows")
    assert page.field(1, "text").input_value() == SETTINGS["negatives"][1]["text"]
    assert page.field(0, "start").input_value() == "5.8"
    assert page.field("box", "curve").input_value() == "cosine"
    assert page.editor().locator("[data-pass=first] [data-field=combine]").input_value() == "branches"
    assert page.field(0, "text", "hires").input_value() == "glasses"


def test_there_and_back(page, picture):
    """Generate, send the picture's text through PNG Info, generate again: the same text."""
    page.add("mustache", start=5.8, stop=1.6)
    page.field("box", "weight").fill("0.6")
    page.page.fill("#txt2img_neg_prompt textarea", "hat")
    first = page.generate(2001)
    text = page.page.locator("#generation_info_txt2img textarea").input_value()
    text = json.loads(text)["infotexts"][0]
    page.write({})
    page.png_info(picture(text))
    page.send_to("txt2img")
    page.wait(lambda: page.settings().get("negatives") == [{"text": "mustache", "start": 5.8, "stop": 1.6}], "the settings")
    page.wait(lambda: page.value("seed") == "2001")
    page.generate(2002)
    assert page.generate(2001) == first


def test_a_stock_picture_switches_it_off(page, picture):
    page.add("mustache")
    page.png_info(picture(infotext()))
    page.send_to("txt2img")
    page.wait(lambda: not page.is_enabled(), "NegGuide off")
    assert page.value("neg_prompt") == "glasses"
    assert "NegGuide" not in page.generate(2101)


def test_the_paste_button(page):
    page.page.fill("#txt2img_prompt textarea", infotext({"negatives": [{"text": "hat", "start": 2.8}]}))
    page.page.click("#txt2img_tools #paste")
    page.wait(lambda: page.settings() == {"negatives": [{"text": "hat", "start": 2.8}]}, "the settings")
    assert page.is_enabled()


def test_a_damaged_infotext_is_told(page):
    page.add("mustache")
    page.page.fill("#txt2img_prompt textarea", infotext({"negatives": [{"text": "hat", "weight": 7}]}))
    page.page.click("#txt2img_tools #paste")
    page.wait(lambda: not page.is_enabled(), "NegGuide off")
    toast = page.page.locator(".toast-body", has_text="negatives[0].weight")
    toast.first.wait_for()
    assert toast.count() == 1, "one message, once"
    assert "negatives[0].weight = 7 is not allowed; a number from 0 to 2" in toast.inner_text()


def test_saved_presets(page, host):
    """Saved from the page, loaded in the page, known to the API."""
    name = "from a browser test"
    page.add("mustache", start=5.8)
    section = page.editor().locator("[data-section=saved]")
    if section.get_attribute("open") is None:
        section.locator("summary").click()
    try:
        section.locator("[data-field=saved-name]").fill(name)
        section.locator("[data-action=save-preset]").click()
        page.wait(lambda: name in host.get("/negguide/v1/presets").json()["saved"], "the saved preset")
        page.write({})
        section.locator("[data-field=saved]").select_option(name)
        section.locator("[data-action=load-preset]").click()
        page.wait(lambda: page.settings() == {"negatives": [{"text": "mustache", "start": 5.8}]}, "the loaded preset")
    finally:
        import requests

        requests.delete(f"{host.url}/negguide/v1/presets/{name}")
