"""The section on removal alone in a page: what typing, choosing and painting do to the settings' text, and what is shown."""

import base64
import io

import pytest
from PIL import Image, ImageStat

from lib_negguide.settings import Removal, Settings, fields
from tests import chromium
from tests.browser.test_editor import ADDRESS, Tab, a_page

WITH_RESULT = """<div id="txt2img_gallery"><img src="/result.png" width=64></div>
    <div id="mode_img2img"><img src="/photo.png" width=64></div>"""


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Section(Tab):
    """The section of one tab, open."""

    def __init__(self, page, stored, tab="txt2img"):
        super().__init__(page, tab)
        self.stored = stored
        self.element = self.editor.locator("[data-section=remove]")
        self.element.evaluate("(section) => { section.open = true; section.querySelector('[data-more]').open = false; }")

    def own(self, name):
        return self.element.locator(f"[data-field={name}]")

    def press_own(self, action):
        self.element.locator(f"[data-action={action}]").click()

    def visible(self):
        return [row["name"] for row in fields(Removal) if self.own(row["name"]).count() and self.own(row["name"]).is_visible()]

    def more(self):
        self.element.locator("[data-more] > summary").click()

    @property
    def hint(self):
        return self.element.locator("[data-hint]").inner_text()

    @property
    def state(self):
        return self.element.locator("[data-mask-state]").inner_text()

    def mask(self):
        """The mask in the settings, as the server has it."""
        return Image.open(io.BytesIO(self.stored[self.settings["remove"]["mask"].split(":")[1]])).convert("L")


@pytest.fixture(scope="module")
def loaded(browser):
    page = chromium.new_page(browser, viewport={"width": 700, "height": 1400})
    said, stored = [], {}

    def images(route):
        request = route.request
        if request.method == "POST":
            name = f"{len(stored):064x}"
            stored[name] = base64.b64decode(request.post_data_json["image"].split(",")[1])
            return route.fulfill(json={"image": f"sha256:{name}", "width": 1, "height": 1})
        name = request.url.rsplit("/", 1)[1]
        return route.fulfill(body=stored[name], content_type="image/png") if name in stored else route.fulfill(status=404)

    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") and "404" not in message.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.route(ADDRESS, lambda route: route.fulfill(body=a_page() + WITH_RESULT, content_type="text/html; charset=utf-8"))
    page.route(ADDRESS + "favicon.ico", lambda route: route.fulfill(status=204))
    page.route(ADDRESS + "*.png", lambda route: route.fulfill(
        body=png(Image.new("RGB", (96, 64) if "result" in route.request.url else (64, 64), "gray")), content_type="image/png"))
    page.route(ADDRESS + "negguide/v1/images**", images)
    page.route(ADDRESS + "negguide/v1/images/*", images)
    page.route(ADDRESS + "negguide/v1/presets**", lambda route: route.fulfill(json={"windows": [], "saved": {}}))
    page.goto(ADDRESS)
    page.locator(".negguide-row").first.wait_for()
    yield page, stored, said
    page.close()


@pytest.fixture
def opened(loaded):
    """(page, pictures on its server), without settings; no complaint on its console afterwards."""
    page, stored, said = loaded
    page.set_viewport_size({"width": 700, "height": 1400})
    page.locator("#txt2img_steps input").fill("20")
    for tab in ("txt2img", "img2img"):
        Tab(page, tab).from_python("")
    yield page, stored
    assert said == []


@pytest.fixture
def section(opened):
    return Section(*opened)


def test_the_text_switches_it_on(section):
    assert section.visible() == ["text"] and "Type what is to go" in section.hint and section.text == ""
    summary = section.element.locator("[data-state]").first
    assert summary.inner_text() == "off"
    section.own("text").fill("glasses")
    assert section.settings == {"remove": {"text": "glasses"}} and summary.inner_text() == "glasses"
    assert section.part(".negguide-name[data-name=remove]").text_content().startswith("remove: glasses")
    section.own("weight").fill("3.5")
    assert section.own("weight-slider").input_value() == "3.5"
    section.own("text").fill("  ")
    assert section.text == "" and section.part(".negguide-lane[data-lane=remove]").count() == 0
    section.own("text").fill("hat")
    assert section.settings == {"remove": {"text": "hat", "weight": 3.5}}, "what was set comes back"


def test_what_does_not_count_is_hidden(section, opened):
    section.own("text").fill("hat")
    section.more()
    usual = {"text", "weight", "search", "detector", "region", "start", "stop", "unit", "anchor", "every", "gone", "back", "curve"}
    assert set(section.visible()) == usual
    section.own("search").select_option("window")
    assert set(section.visible()) == usual - {"detector", "gone", "back"}
    section.own("search").select_option("exhaustive")
    assert set(section.visible()) == usual - {"back"}
    section.own("region").select_option("everywhere")
    assert "anchor" not in section.visible() and "every" in section.visible()
    section.own("search").select_option("window")
    assert "every" not in section.visible()
    section.own("curve").select_option("points")
    assert "points" in section.visible()
    assert not section.element.locator("[data-mask]").is_visible()
    section.own("region").select_option("mask")
    assert "cannot act here" in section.element.locator("[data-mask]").inner_text()
    other = Section(*opened, tab="img2img")
    other.own("text").fill("hat")
    assert "photo" in other.visible() and "fidelity" not in other.visible()
    other.more()
    other.own("photo").check()
    assert "fidelity" in other.visible() and other.settings["remove"]["photo"] is True and "what the photo shows" in other.hint
    other.own("region").select_option("mask")
    assert "host's own inpainting" in other.element.locator("[data-mask]").inner_text()


def test_in_inpainting_what_is_chosen_counts_even_where_it_is_the_default(opened):
    section = Section(*opened, tab="img2img")
    section.own("text").fill("hat")
    assert "nobody looking" in section.hint and section.settings["remove"] == {"text": "hat"}
    section.own("search").select_option("window")
    section.own("search").select_option("loop")
    assert section.settings["remove"] == {"text": "hat", "search": "loop"} and "nobody looking" in section.hint
    section.own("region").select_option("everywhere")
    section.own("region").select_option("object")
    assert section.settings["remove"] == {"text": "hat", "search": "loop", "region": "object"} and "nobody looking" not in section.hint


def test_the_hint_says_what_it_costs(section):
    section.own("text").fill("hat")
    section.own("unit").select_option("step")
    section.own("start").fill("5")
    section.own("stop").fill("13")
    section.more()
    section.own("every").fill("1")
    assert "until the thing is gone" in section.hint and section.hint.endswith("Costs at most 1.2 samplings."), "8 of 20 steps"
    section.own("every").fill("3")
    assert section.hint.endswith("Costs at most 1.07 samplings."), "3 of 20 steps"
    section.own("every").fill("1")
    section.own("detector").select_option("clip")
    assert section.hint.endswith("and at each look CLIP on a decoded preview.")
    section.own("search").select_option("window")
    assert section.hint.endswith("Costs about 1.2 samplings.")
    section.own("anchor").check()
    assert section.hint.endswith("Costs about 2.2 samplings.")
    section.own("search").select_option("exhaustive")
    section.own("anchor").uncheck()
    assert "Costs up to 9 samplings" in section.hint
    section.own("search").select_option("window")
    section.own("region").select_option("everywhere")
    assert "Costs nothing: an ordinary negative" in section.hint
    section.page.locator("#txt2img_steps input").fill("4")
    section.wait(lambda: "does nothing" in section.hint, "the page's steps count")


def test_window_and_lane(section):
    section.own("text").fill("hat")
    section.own("weight").fill("4")
    section.own("unit").select_option("step")
    section.own("start").fill("4")
    section.own("stop").fill("20")
    handle = section.handle("stop", "remove")
    handle.focus()
    section.page.keyboard.press("ArrowLeft")
    assert section.settings["remove"] == {"text": "hat", "weight": 4, "unit": "step", "start": 4, "stop": 19}
    assert section.own("stop").input_value() == "19"
    area = section.part(".negguide-lane[data-lane=remove] .negguide-area").get_attribute("d")
    assert min(float(pair.split()[1]) for pair in area[1:-2].split(" L")) >= 0, "within its lane"
    section.own("unit").select_option("sigma")
    assert section.settings["remove"]["start"] > section.settings["remove"]["stop"] > 0
    Settings.parse(section.text)


def test_complaints(section):
    section.own("text").fill("hat")
    section.more()
    section.own("gone").fill("0.5")
    section.own("back").fill("0.2")
    told = section.element.locator(".negguide-error")
    assert told.all_inner_texts() == ["remove.back = 0.2 is not allowed; at least gone (0.5)"] and section.hint == ""
    assert section.own("back").get_attribute("aria-invalid") == "true"
    section.own("back").fill("")
    assert told.count() == 0 and section.settings["remove"] == {"text": "hat", "gone": 0.5}
    section.from_python({"remove": {"text": "hat", "every": 50}})
    assert "remove.every = 50 is not allowed" in told.inner_text()
    assert section.own("every").is_visible(), "what is wrong is not folded away"
    section.from_python({"remove": {"text": "hat"}, "dns": {}})
    assert told.all_inner_texts() == ["remove = 'hat' is not allowed; null while dns is on: it is the opposite of the prompt's text"]


def test_python_changes_the_settings(section):
    section.element.evaluate("(one) => { one.open = false; }")
    section.from_python({"remove": {"text": "hat", "search": "window", "start": 5.8, "region": "attention", "anchor": True}})
    for name, value in (("text", "hat"), ("search", "window"), ("start", "5.8"), ("region", "attention")):
        assert section.own(name).is_visible() and section.own(name).input_value() == value
    assert section.own("anchor").is_checked()
    before = section.text
    section.from_python("")
    assert section.own("text").input_value() == "" and section.visible() == ["text"] and section.text == "" != before


def test_a_mask_is_chosen(section):
    section.own("text").fill("hat")
    section.own("region").select_option("mask")
    with section.page.expect_file_chooser() as chooser:
        section.press_own("choose-mask")
    chooser.value.set_files({"name": "m.png", "mimeType": "image/png", "buffer": png(Image.new("L", (64, 64), 255))})
    section.wait(lambda: section.settings["remove"].get("mask"))
    image = section.element.locator("[data-action=choose-mask] img")
    section.wait(image.is_visible, "the mask is shown")
    assert section.mask().getextrema() == (255, 255)
    section.press_own("drop-mask")
    assert "mask" not in section.settings["remove"] and not image.is_visible()
    section.from_python({"remove": {"text": "hat", "region": "mask", "mask": "sha256:" + "f" * 64}})
    section.wait(lambda: "not on this server" in section.state, "what is missing is said")


def painted(section, *points):
    """A stroke over the canvas, in parts of it, which the picture below gives its size."""
    below = section.element.locator(".negguide-stage img")
    section.wait(lambda: below.evaluate("(one) => one.hidden || one.complete && one.naturalWidth > 0"), "the picture below")
    box = section.element.locator("[data-easel] canvas").bounding_box()
    mouse = section.page.mouse
    for index, (x, y) in enumerate(points):
        mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if index == 0:
            mouse.down()
    mouse.up()


def test_a_mask_is_painted(section):
    section.own("text").fill("hat")
    section.own("region").select_option("mask")
    section.press_own("paint")
    canvas = section.element.locator("[data-easel] canvas")
    canvas.wait_for()
    assert canvas.evaluate("(one) => [one.width, one.height]") == [96, 64], "the result's size"
    section.wait(section.element.locator(".negguide-stage img").is_visible, "the result, below")
    canvas.scroll_into_view_if_needed()
    section.own("brush").fill("20")
    painted(section, (0.1, 0.5), (0.9, 0.5))
    section.wait(lambda: "of the picture is in the mask" in section.state, "the mask is stored")
    mask = section.mask()
    assert mask.size == (96, 64) and mask.getpixel((48, 32)) == 255 and mask.getpixel((48, 5)) == 0
    share = 100 * ImageStat.Stat(mask).mean[0] / 255
    assert 25 < share < 32 and section.state.startswith(f"{round(share)}%")
    first = section.settings["remove"]["mask"]
    section.own("erase").check()
    painted(section, (0.5, 0.1), (0.5, 0.9))
    section.wait(lambda: section.settings["remove"]["mask"] != first)
    assert section.mask().getpixel((48, 32)) == 0 and section.mask().getpixel((15, 32)) == 255
    second = section.settings["remove"]["mask"]
    section.press_own("invert-paint")
    section.press_own("end-paint")
    assert not canvas.is_visible()
    section.wait(lambda: section.settings["remove"]["mask"] != second, "what was painted last is stored")
    assert section.mask().getpixel((48, 32)) == 255 and section.mask().getpixel((15, 32)) == 0
    section.element.locator("[data-action=paint]").press("Enter")
    canvas.wait_for()
    section.own("erase").uncheck()
    last = section.settings["remove"]["mask"]
    canvas.scroll_into_view_if_needed()
    painted(section, (0.15, 0.5))
    section.wait(lambda: section.settings["remove"]["mask"] != last)
    assert section.mask().getpixel((15, 32)) == 255 and section.mask().getpixel((48, 32)) == 255, "painting goes on where it was"
    section.element.locator("[data-action=clear-paint]").press("Space")
    section.wait(lambda: "mask" not in section.settings["remove"])
    assert section.state == "Nothing is painted: no mask."


def test_painting_over_img2imgs_picture_and_over_a_mask(opened):
    section = Section(*opened, tab="img2img")
    half = Image.new("L", (64, 64), 0)
    half.paste(255, (32, 0, 64, 64))
    opened[1]["a" * 64] = png(half)
    section.from_python({"remove": {"text": "hat", "region": "mask", "mask": "sha256:" + "a" * 64}})
    section.wait(section.element.locator("[data-action=choose-mask] img").is_visible)
    section.press_own("paint-init")
    canvas = section.element.locator("[data-easel] canvas")
    canvas.wait_for()
    assert canvas.evaluate("(one) => [one.width, one.height]") == [64, 64]
    section.press_own("invert-paint")
    section.wait(lambda: section.settings["remove"]["mask"] != "sha256:" + "a" * 64)
    assert section.mask().getpixel((10, 10)) == 255 and section.mask().getpixel((50, 50)) == 0


def test_every_input_has_a_label_and_a_help(section):
    section.own("text").fill("hat")
    section.own("region").select_option("mask")
    section.more()
    section.press_own("paint")
    section.element.locator("[data-easel] canvas").wait_for()
    unnamed = section.element.evaluate("""(section) => [...section.querySelectorAll('input, select, button')]
        .filter((one) => !(one.labels || []).length && !one.getAttribute('aria-label') && !one.textContent.trim()).map((one) => one.outerHTML)""")
    assert unnamed == []
    helps = {row["help"] for row in fields(Removal) if row["name"] != "mask"}
    assert helps <= set(section.element.evaluate("(section) => [...section.querySelectorAll('label')].map((one) => one.title)"))


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out(section, width):
    section.page.set_viewport_size({"width": width, "height": 1400})
    section.own("text").fill("a pair of glasses")
    section.own("region").select_option("mask")
    section.own("curve").evaluate("(one) => one.closest('details').open = true")
    section.press_own("paint")
    section.element.locator("[data-easel] canvas").wait_for()
    sticking_out = section.element.evaluate("""(root) => {
        const box = root.getBoundingClientRect();
        return [...root.querySelectorAll("*")].filter((element) => {
            const own = element.getBoundingClientRect();
            return own.width && !element.closest("option") && (own.right > box.right + 1 || own.left < box.left - 1);
        }).map((element) => element.outerHTML.slice(0, 120));
    }""")
    assert sticking_out == []
    for name in section.visible():
        assert section.own(name).bounding_box()["width"] >= (10 if name == "anchor" else 40), name
