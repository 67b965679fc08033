"""Removal in a host's page: from the section to the picture and back, a painted mask, the strip."""

import json

import pytest
from PIL import Image

from lib_negguide import __version__
from tests.browser.test_paste import LINE

PROMPT = "a portrait of a person with glasses"


class Section:
    """The section of one tab, open."""

    def __init__(self, page, tab="txt2img"):
        self.page, self.tab = page, tab
        self.element = page.editor(tab).locator("[data-section=remove]")
        self.open()

    def open(self):
        self.element.evaluate("(section) => { section.open = true; }")

    def field(self, name):
        return self.element.locator(f"[data-field={name}]")

    def press(self, action):
        self.element.locator(f"[data-action={action}]").click()

    def settings(self):
        return self.page.settings(self.tab).get("remove")


@pytest.fixture
def section(page):
    page.script("None")
    page.page.fill("#txt2img_prompt textarea", PROMPT)
    yield Section(page)
    page.script("None")


def shown(infotext):
    return infotext.replace('\\"', '"')


def test_removed_told_and_pasted(section):
    page = section.page
    section.field("text").fill("glasses")
    section.field("search").select_option("window")
    infotext = page.generate(5001)
    assert "NegGuide removed: " in infotext and '{"remove": {"text": "glasses", "search": "window"}}' in shown(infotext)
    wanted = {"text": "hat", "weight": 1.5, "search": "exhaustive", "detector": "caption", "region": "everywhere", "every": 3, "gone": 0.5,
              "start": None, "stop": 1.0}
    section.field("text").fill("")
    assert section.settings() is None
    text = f"{PROMPT}\n{LINE}, NegGuide: {__version__}, NegGuide schedule: {json.dumps(json.dumps({'remove': wanted}))}"
    page.page.fill("#txt2img_prompt textarea", text)
    page.page.click("#txt2img_tools #paste")
    page.wait(lambda: section.settings() == wanted, "the settings")
    for name, value in {**wanted, "start": "", "stop": "1"}.items():
        assert section.field(name).input_value() == str(value), name


def test_a_painted_mask_acts(section):
    page = section.page
    page.generate(5002)
    page.page.wait_for_selector("#txt2img_gallery img")
    section.field("text").fill("glasses")
    section.field("region").select_option("mask")
    assert "mask" in page.generate_in_vain(), "txt2img has no mask of its own"
    section.press("paint")
    canvas = section.element.locator("[data-easel] canvas")
    canvas.wait_for()
    assert canvas.evaluate("(one) => [one.width, one.height]") == [64, 64]
    section.press("invert-paint")
    section.press("end-paint")
    page.wait(lambda: (section.settings() or {}).get("mask", "").startswith("sha256:"), "the mask is stored")
    page.wait(lambda: section.element.locator("[data-action=choose-mask] img").evaluate("(image) => image.naturalWidth > 0"), "and shown")
    assert "100% of the picture" in section.element.locator("[data-mask-state]").inner_text()
    infotext = page.generate(5003)
    assert section.settings()["mask"] in infotext and "NegGuide removed: " in infotext and "data:image" not in infotext


def test_img2img_has_its_own_section(section, tmp_path):
    page = section.page
    page.tab("img2img")
    page.enable(tab="img2img")
    picture = tmp_path / "photo.png"
    Image.new("RGB", (128, 64), "gray").save(picture)
    page.page.set_input_files("#img2img_image input[type=file]", str(picture))
    other = Section(page, "img2img")
    other.field("text").fill("hat")
    other.field("region").select_option("mask")
    page.page.locator("#img2img_image img").first.wait_for()
    other.press("paint-init")
    canvas = other.element.locator("[data-easel] canvas")
    canvas.wait_for()
    assert canvas.evaluate("(one) => [one.width, one.height]") == [128, 64]
    assert other.settings() == {"text": "hat", "region": "mask"} and section.settings() is None
    other.field("text").fill("")


def test_the_strip(section):
    page = section.page
    page.script("Removal strip")
    field = lambda name: page.page.locator(f"#negguide_txt2img_strip_{name}").locator("textarea, input").first  # noqa: E731
    assert field("columns").input_value() == "full, 0.2-, 0.35-, -0.33, -0.5, loop"
    page.page.click("#txt2img_generate")
    page.wait(lambda: "what is to go, here or in the accordion's section" in page.log(), "the complaint")
    field("text").fill("glasses")
    field("columns").fill("full, -0.5")
    page.generate(5004)
    page.wait(lambda: len(page.about()["infotexts"]) == 4, "a sheet and three pictures")
    about = page.about()
    sheet, plain, whole, early = about["infotexts"]
    assert about["index_of_first_image"] == 1 and sheet == early and "NegGuide" not in plain
    assert '"text": "glasses"' in shown(whole) and all("Seed: 5004" in text for text in about["infotexts"])


@pytest.mark.parametrize("width, theme", [(1280, "light"), (400, "dark")])
def test_looks(open_page, width, theme):
    page = open_page(width, theme)
    page.reset()
    page.number("steps", 30)
    section = Section(page)
    section.field("text").fill("glasses")
    page.shoot(f"removal-{width}-{theme}", page.page.locator("#negguide_txt2img"))
    section.field("region").select_option("mask")
    section.press("paint")
    section.element.locator("[data-easel] canvas").wait_for()
    section.element.locator("[data-easel] canvas").scroll_into_view_if_needed()
    box = section.element.locator("[data-easel] canvas").bounding_box()
    page.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.45 * box["height"], steps=5)
    page.page.mouse.up()
    page.wait(lambda: "of the picture" in section.element.locator("[data-mask-state]").inner_text())
    section.element.locator("[data-more]").evaluate("(more) => { more.open = true; }")
    page.shoot(f"removal-mask-{width}-{theme}", section.element)
    assert page.complaints == []
