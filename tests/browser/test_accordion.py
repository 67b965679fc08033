"""The accordion and its editor, clicked through."""

import json

import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.presets import WINDOWS
from lib_negguide.settings import Settings


def test_opens_and_toggles(page):
    assert page.is_open() and page.is_enabled()
    assert page.picture().is_visible()
    assert not page.page.locator("#negguide_txt2img_json").is_visible(), "the JSON is for Python, not for people"


def test_the_title_opens_and_enables(open_page):
    fresh = open_page()
    assert not fresh.is_open() and not fresh.is_enabled()
    fresh.toggle()
    fresh.wait(lambda: fresh.is_open() and fresh.is_enabled())
    assert "NegGuide" in (fresh.reset(), fresh.generate(1001))[1]
    fresh.page.locator("#negguide_txt2img-visible-checkbox").click()
    assert fresh.is_open() and not fresh.is_enabled(), "the check box only switches"
    assert "NegGuide" not in fresh.generate(1002)
    assert fresh.complaints == []


def test_add_set_and_remove_negatives(page):
    page.add("mustache", start=5.8, stop=1.6)
    page.add("hat", preset="adjective (σ ≤ 2.8)")
    page.field(1, "weight").fill("0.5")
    assert page.settings() == {"negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6}, {"text": "hat", "start": 2.8, "weight": 0.5}]}
    page.row(1).locator("[data-action=move-up]").click()
    assert [negative["text"] for negative in page.settings()["negatives"]] == ["hat", "mustache"]
    page.row(0).locator("[data-action=remove]").click()
    assert page.settings() == {"negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6}]}


def test_the_schedule_redraws(page):
    page.add("mustache")
    drawn = [page.picture().inner_html()]
    for name, value in (("start", "5.8"), ("stop", "1.6"), ("weight", "0.4")):
        page.field(0, name).fill(value)
        page.wait(lambda: page.picture().inner_html() != drawn[-1], f"the picture follows {name}")
        drawn.append(page.picture().inner_html())
    page.field(0, "curve").select_option("cosine")
    page.wait(lambda: page.picture().inner_html() != drawn[-1], "the picture follows curve")
    drawn.append(page.picture().inner_html())
    page.number("steps", 9)
    page.wait(lambda: page.picture().inner_html() != drawn[-1], "the picture follows the number of steps")


def test_a_handle_moves_the_window(page):
    page.add("mustache", start=5.8, stop=1.6)
    handle = page.picture().locator(".negguide-handle[data-lane='0'][data-handle=start]")
    box = handle.bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] - 60, box["y"] + box["height"] / 2, steps=4)
    page.page.mouse.up()
    moved = page.settings()["negatives"][0]
    assert moved.get("start") is None or moved["start"] > 5.8
    assert page.field(0, "start").input_value() == ("" if moved.get("start") is None else str(moved["start"]))


def test_window_presets(page):
    page.add("mustache")
    for name, window in WINDOWS.items():
        page.field(0, "preset").select_option(name)
        assert Settings.parse(page.settings()).negatives[0].dict(exclude={"text"}) == window.dict()


def test_steps_and_fractions(page):
    page.number("steps", 8)
    page.add("mustache", unit="step")
    page.field(0, "start").fill("2")
    page.field(0, "stop").fill("5")
    assert "acts at 3 of 8 steps: 2–4" in page.row(0).locator("[data-acts]").inner_text()
    assert page.settings()["negatives"] == [{"text": "mustache", "start": 2, "stop": 5, "unit": "step"}]


def test_hires_pass_of_its_own(page):
    page.add("mustache")
    page.editor().locator("[data-section=hires] summary").click()
    page.editor().locator("[data-field=hires]").check()
    page.add("glasses", which="hires", start=2.8)
    settings = Settings.parse(page.settings())
    assert settings.hires.negatives[-1].text == "glasses" and settings.hires.negatives[-1].start == 2.8
    assert settings.negatives[0].text == "mustache"
    page.editor().locator("[data-field=hires]").uncheck()
    assert "hires" not in page.settings()
    page.editor().locator("[data-section=hires] summary").click()


@pytest.mark.parametrize("name, value, bad", [
    ("weight", "9", {"weight": 9}), ("start", "-1", {"start": -1}), ("stop", "soon", {"stop": "soon"}), ("weight", "", {"weight": None})])
def test_a_bad_value_is_told_while_one_types(page, name, value, bad):
    page.add("mustache")
    page.field(0, name).fill(value)
    with pytest.raises(SettingsError) as error:
        Settings.parse({"negatives": [{"text": "mustache", **bad}]})
    told = page.row(0).locator(f"[data-error='negatives[0].{name}']")
    told.wait_for()
    assert told.inner_text() == str(error.value).removeprefix("NegGuide: ")
    page.field(0, name).fill("1")
    told.wait_for(state="detached")


def test_a_bad_value_makes_no_picture(page):
    """The page says the same words as the API."""
    page.add("mustache", weight=9)
    shown = page.generate_in_vain()
    with pytest.raises(SettingsError) as error:
        Settings.parse({"negatives": [{"text": "mustache", "weight": 9}]})
    assert str(error.value) in shown
    page.field(0, "weight").fill("0.9")
    assert '"weight": 0.9' in page.generate(1101).replace('\\"', '"')


def test_generate(page):
    page.add("mustache", start=5.8, stop=1.6)
    page.page.fill("#txt2img_neg_prompt textarea", "hat")
    infotext = page.generate(1201)
    assert "Negative prompt: hat" in infotext
    assert json.dumps(json.dumps({"negatives": [{"start": 5.8, "stop": 1.6, "text": "mustache"}]})) in infotext
    assert page.page.locator("#txt2img_gallery img").count()


def test_a_note_is_shown_under_the_picture(page):
    page.add("mustache", start=0.0001)
    page.generate(1301)
    assert '"mustache" did not act' in page.log()


def test_off_is_off(page):
    page.add("mustache")
    page.enable(False)
    assert "NegGuide" not in page.generate(1401)
    page.enable()


def test_img2img(page, tmp_path):
    from tests.webui.test_img2img import start_image

    path = tmp_path / "start.png"
    start_image().save(path)
    page.tab("img2img")
    page.enable(tab="img2img")
    page.add("hat", tab="img2img", start=2.8)
    assert page.settings("img2img") == {"negatives": [{"text": "hat", "start": 2.8}]}
    assert page.settings("txt2img") == {}
    page.page.fill("#img2img_prompt textarea", "a portrait of a person")
    page.page.locator("#img2img_image input[type=file]").first.set_input_files(str(path))
    page.page.wait_for_selector("#img2img_image img")
    for name, value in (("width", 64), ("height", 64), ("steps", 5)):
        page.number(name, value, "img2img")
    assert '"start": 2.8' in page.generate(1501, "img2img").replace('\\"', '"')
