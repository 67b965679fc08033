"""Diffusion-negative prompting, clicked through: the accordion's section, and the script of the list."""

import json

import pytest

from lib_negguide import __version__
from lib_negguide.settings import Dnp, Settings
from tests.browser.test_paste import LINE

PROMPT = "a red circle"


@pytest.fixture(autouse=True)
def fresh(page):
    page.script("None")
    page.page.fill("#txt2img_prompt textarea", PROMPT)
    for name in ("batch_count", "batch_size"):
        page.number(name, 1)
    yield
    page.script("None")


def shown(infotext):
    """An infotext as it would be without the quotes around its JSON."""
    return infotext.replace('\\"', '"')


def gallery(page, count):
    page.wait(lambda: len(page.about()["infotexts"]) == count, f"{count} pictures")
    return page.about()["infotexts"]


# ---- the accordion's section


def test_only_what_differs_is_written(page):
    section = page.dnp("dnp")
    assert page.settings() == {"dnp": {}}
    assert section.locator("[data-state]").inner_text() == "auto-DNP"
    page.dnp(captioner="blip-large", beams=1, steps=0.35, use="replace", scores=True)
    section.locator("[data-negative=caption] [data-field=start]").fill("5.8")
    wanted = {"captioner": "blip-large", "beams": 1, "steps": 0.35, "use": "replace", "scores": True, "window": {"start": 5.8}}
    assert page.settings() == {"dnp": wanted}
    assert section.locator("[data-field=steps-slider]").input_value() == "0.35"
    page.dnp(beams=Dnp().beams, steps=Dnp().steps)
    assert set(page.settings()["dnp"]) == set(wanted) - {"beams", "steps"}
    page.dnp("dns", scale=5, meaning="host")
    assert page.settings() == {"dns": {"scale": 5, "meaning": "host"}}
    page.dnp("off")
    assert page.settings() == {}
    page.dnp("dnp")
    assert page.settings()["dnp"]["captioner"] == "blip-large", "what was set comes back"


def test_what_does_not_count_is_hidden(page):
    section = page.dnp("off")
    fields = ("scale", "captioner", "text", "beams", "steps", "samples", "several", "use", "scores")
    visible = lambda: [name for name in fields if section.locator(f"[data-field={name}]").is_visible()]  # noqa: E731
    assert visible() == []
    page.dnp("dns")
    assert visible() == ["scale"]
    page.dnp("dnp")
    assert visible() == ["scale", "captioner", "beams", "steps", "samples", "use", "scores"]
    page.dnp(samples=2)
    assert "several" in visible()
    page.dnp(captioner="text")
    assert visible() == ["captioner", "text", "use", "scores"]


def test_the_caption_is_a_lane(page):
    page.page.fill("#txt2img_neg_prompt textarea", "blurry")
    section = page.dnp("dnp")
    lane = page.picture().locator("[data-lane=caption]").first
    assert page.picture().locator("[data-name=caption]").inner_html().startswith("caption")
    acts = section.locator("[data-negative=caption] [data-acts]")
    assert "acts at 5 of 5 steps" in acts.inner_text()
    handle = page.picture().locator(".negguide-handle[data-lane=caption][data-handle=stop]")
    handle.focus()
    page.page.keyboard.press("ArrowLeft")
    assert "stop" in page.settings()["dnp"]["window"]
    assert "acts at 4 of 5 steps" in acts.inner_text()
    box = page.row("box").locator("[data-acts]")
    page.dnp(use="replace")
    assert box.inner_text() == "replaced by the caption"
    page.dnp("dns")
    assert "DNS picture has no negative" in box.inner_text() and lane.count() == 0


def test_a_bad_value_is_told(page):
    section = page.dnp("dnp", min_tokens=60)
    told = section.locator("[data-error='dnp.min_tokens']")
    assert told.inner_text() == "dnp.min_tokens = 60 is not allowed; at most max_tokens (50)"
    assert section.locator("[data-field=min_tokens]").get_attribute("aria-invalid") == "true"
    assert "dnp.min_tokens = 60 is not allowed" in page.generate_in_vain()
    page.dnp(min_tokens=5)
    assert told.count() == 0
    page.dnp(captioner="text")
    assert 'the captioner "text" needs one' in section.locator("[data-error='dnp.text']").inner_text()


def test_every_input_has_a_name_and_a_tooltip(page):
    section = page.dnp("dnp", samples=2)
    nameless = section.evaluate("""(section) => [...section.querySelectorAll("input, select")].filter((input) => input.offsetParent).filter(
        (input) => !(input.labels.length || input.getAttribute("aria-label")) ||
            !(input.closest("[title]:not([title=''])") || input.dataset.field === "mode")).map((input) => input.outerHTML)""")
    assert nameless == []


def test_auto_dnp_with_a_typed_caption(page):
    page.dnp("dnp", captioner="text", text="a blue square")
    infotext = page.generate(3001)
    assert "NegGuide caption: a blue square" in infotext
    assert '"dnp": {"captioner": "text", "text": "a blue square"}' in shown(infotext)
    assert infotext.startswith(PROMPT + "\nSteps"), "the prompt boxes stay the user's"


def test_the_dns_picture(page):
    page.dnp("dns")
    infotext = page.generate(3002)
    assert '{"dns": {}}' in shown(infotext) and "caption" not in infotext


def test_pasting_restores_the_section(page):
    wanted = {"dnp": {"scale": 5.0, "captioner": "text", "text": "a blue square", "use": "replace", "window": {"start": 5.8}}}
    text = f"{PROMPT}\n{LINE}, NegGuide: {__version__}, NegGuide schedule: {json.dumps(json.dumps(wanted))}, NegGuide caption: a blue square"
    page.dnp("off")
    page.page.fill("#txt2img_prompt textarea", text)
    page.page.click("#txt2img_tools #paste")
    page.wait(lambda: page.settings() == wanted, "the settings")
    section = page.editor().locator("[data-section=dnp]")
    assert section.get_attribute("open") is not None
    for name, value in (("mode", "dnp"), ("scale", "5"), ("captioner", "text"), ("text", "a blue square"), ("use", "replace"), ("start", "5.8")):
        assert section.locator(f"[data-field={name}]").input_value() == value
    assert Settings.parse(page.settings()) == Settings.parse(wanted)


# ---- the script


def test_script_auto_dnp_shows_the_dns_picture(page, captioner):
    page.script()
    page.script_field("captioner").fill(captioner)
    page.script_field("captioner").press("Enter")
    infotext = page.generate(3101)
    assert "NegGuide caption: " in infotext
    with_caption, dns = gallery(page, 2)
    assert '{"dns": {}}' in shown(dns) and "Seed: 3101" in dns
    assert with_caption.partition("NegGuide caption: ")[2].partition(",")[0] in dns
    page.page.locator("#negguide_txt2img_dnp_show input").uncheck()
    page.generate(3102)
    gallery(page, 1)


def test_script_dns_picture(page):
    page.script()
    page.mode("DNS picture")
    assert '{"dns": {}}' in shown(page.generate(3103))


def test_by_hand(page, captioner):
    page.script()
    page.mode("by hand")
    page.number("batch_count", 2)
    page.script_field("captioner").fill(captioner)
    page.script_field("captioner").press("Enter")
    page.generate(3104)
    dns = gallery(page, 2)
    assert all('{"dns": {}}' in shown(text) for text in dns)
    box = page.script_field("captions")
    page.wait(lambda: box.input_value().startswith("3104: "), "the captions, by themselves")
    assert [line.split(":")[0] for line in box.input_value().splitlines()] == ["3104", "3105"]
    box.fill("a note of mine")
    page.page.click("#negguide_txt2img_dnp_take")
    page.wait(lambda: box.input_value().startswith("3104: "), "the captions, by the button")
    box.fill("3104: a blue square\n3105: a green circle")
    page.number("seed", 1)
    page.page.click("#txt2img_generate")
    page.wait(lambda: "NegGuide caption: a blue square" in page.html("html_info_txt2img").inner_text(), "the pictures without them")
    about = page.about()
    pictures = about["infotexts"][about["index_of_first_image"]:]
    assert ["Seed: 3104," in pictures[0], "Seed: 3105," in pictures[1]] == [True, True]
    assert "NegGuide caption: a green circle" in pictures[1] and '"text": "a green circle"' in shown(pictures[1])
    page.page.click("#negguide_txt2img_dnp_clear")
    page.wait(lambda: box.input_value() == "")


def test_four_pictures(page, captioner):
    page.script()
    page.mode("four pictures")
    page.script_field("captioner").fill(captioner)
    page.script_field("captioner").press("Enter")
    page.generate(3106)
    sheet, plain, dns, only, guided = gallery(page, 5)
    assert sheet == guided and page.about()["index_of_first_image"] == 1
    caption = json.loads(page.page.locator("#generation_info_txt2img textarea").input_value())["extra_generation_params"]["NegGuide DNP"]["pictures"][0]["caption"]
    assert plain.startswith(PROMPT + "\nSteps") and "caption" not in plain
    assert '{"dns": {}}' in shown(dns) and caption in dns
    assert only.startswith(f"Negative prompt: {caption}\nSteps") and "NegGuide" not in only
    assert f"NegGuide caption: {caption}" in guided and all("Seed: 3106" in text for text in (plain, dns, only, guided))


@pytest.mark.parametrize("captions, told", [("1: a\nb", "every line begins with its seed"), ("a\nb\nc", "one line, or one for each of the 1 pictures")])
def test_captions_that_do_not_fit_are_told(page, captions, told):
    page.script()
    page.mode("by hand")
    page.script_field("captions").fill(captions)
    page.page.click("#txt2img_generate")
    page.wait(lambda: told in page.log(), "the complaint")
