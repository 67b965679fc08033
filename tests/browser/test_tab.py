"""The NegGuide tab, clicked through: strips, their pictures, where they can be sent, and the runs that are kept."""

import json

import pytest

from tests.browser.test_paste import LINE

SMALL = {"prompt": "a portrait of a person", "negative": "glasses", "seed": "3", "steps": "2", "cfg_scale": "5", "width": "64", "height": "64"}


class Tab:
    """The tab by the names of its fields and buttons."""

    def __init__(self, page):
        self.page, self.root = page, page.page.locator(".negguide-tab")
        page.tab("NegGuide")
        self.root.locator("[data-field=strip]").wait_for()

    def field(self, name):
        return self.root.locator(f"[data-field={name}]")

    def press(self, action):
        self.root.locator(f"[data-action={action}]").first.click()

    def cell(self, name):
        return self.root.locator(f"[data-cell='{name}']")

    def names(self):
        return self.root.locator("[data-cell]").evaluate_all("cells => cells.map((cell) => cell.dataset.cell)")

    def error(self):
        return self.root.locator(".negguide-error[role=alert]").inner_text()

    def fill(self, strip, **fields):
        self.field("strip").select_option(strip)
        for name, value in {**SMALL, **fields}.items():
            if self.field(name).is_visible():
                self.field(name).fill(value)
        self.field("sampler_name").select_option("Euler")

    def run(self, cells):
        self.press("run")
        self.page.wait(lambda: self.ended() and len(self.names()) == cells, f"{cells} pictures: {self.error()}")
        assert self.error() == ""

    def ended(self):
        return self.root.locator("[data-action=run]").is_enabled() and self.root.locator("progress").is_hidden()


@pytest.fixture
def tab(shared_page):
    yield Tab(shared_page)
    assert shared_page.complaints == []


@pytest.fixture
def weights(tab):
    """A strip that is on the page, made where it is not there yet."""
    tab.fill("weights", weights="0.5, 1")
    if tab.names() != ["plain", "weight-0.5", "weight-1"]:
        tab.run(3)
    return tab


def test_every_control_has_a_tooltip_and_a_name(tab):
    bare = tab.root.evaluate("""(root) => Array.from(root.querySelectorAll('input:not([type=file]), select, textarea, button, a'))
        .filter((one) => !one.title || !(one.getAttribute('aria-label') || one.labels && one.labels.length || one.textContent.trim()))
        .map((one) => one.outerHTML.slice(0, 120))""")
    assert bare == []


def test_tooltips_are_in_the_page_s_language(shared_page):
    said = shared_page.page.evaluate("""() => { const before = window.localization; window.localization = {Run: 'Los'};
        const made = NegGuide.dom.button('x', '▶', () => {}, 'Run'); window.localization = before;
        return [made.title, made.getAttribute('aria-label'), NegGuide.dom.button('x', '▶', () => {}, 'Run').title]; }""")
    assert said == ["Los", "Los", "Run"]


@pytest.mark.parametrize(("strip", "seen"), [
    ("windows", ["points", "unit", "negative"]), ("weights", ["weights", "negative"]), ("formulas", ["negative"]),
    ("removal", ["captioner", "negative"]), ("four", ["caption", "captioner"])])
def test_only_what_counts_for_the_strip_is_shown(tab, strip, seen):
    tab.field("strip").select_option(strip)
    named = ("points", "unit", "weights", "caption", "captioner", "negative")
    assert [name for name in named if tab.field(name).is_visible()] == sorted(seen, key=named.index)
    assert tab.root.locator("[data-of=window]").is_visible() == (strip in ("weights", "formulas"))
    assert tab.root.locator("[data-of=formulas]").is_visible() == (strip == "formulas")
    assert tab.root.locator("[data-of=removable]").is_visible() == (strip == "removal")


def test_a_grid_of_windows_by_keyboard_and_sent_to_txt2img(tab, page):
    Tab(page)
    tab.fill("windows", points="0, 0.5, 1")
    tab.run(4)
    assert tab.names() == ["plain", "from-0-to-0.5", "from-0-to-1", "from-0.5-to-1"]
    assert [text.strip() for text in tab.root.locator("th").all_inner_texts()] == [
        "to step 1", "to step 2", "from step 0", "from step 1"]
    tab.cell("plain").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.page.keyboard.press(key)
    assert page.page.evaluate("document.activeElement.dataset.cell") == "from-0.5-to-1"
    page.page.keyboard.press("Enter")
    assert tab.cell("from-0.5-to-1").get_attribute("aria-pressed") == "true"
    assert "distance" in tab.root.locator(".negguide-tab-about").inner_text()
    assert tab.root.locator("svg.negguide-plot [data-curve=glasses]").count() == 1
    tab.press("send-txt2img")
    page.wait(lambda: page.page.locator("#txt2img_seed").is_visible() and page.value("seed") == "3")
    page.wait(lambda: page.settings().get("negatives"))
    (negative,) = page.settings()["negatives"]
    assert negative["text"] == "glasses" and negative["start"] > 0 == negative["stop"] and page.is_enabled()
    assert (page.value("prompt"), page.value("steps"), page.value("width")) == ("a portrait of a person", "2", "64")


def test_sent_to_inpaint_with_the_picture(weights, shared_page):
    weights.cell("weight-0.5").click()
    weights.press("send-inpaint")
    picture = shared_page.page.locator("#img2maskimg img, #img2maskimg canvas").first
    picture.wait_for()
    shared_page.wait(lambda: shared_page.value("seed", "img2img") == "3")
    assert shared_page.settings("img2img")["negatives"] == [{"text": "glasses", "weight": 0.5}]


def test_the_plot_is_read_by_pointer_and_keys_zoomed_and_filtered(shared_page):
    page = shared_page.page
    calls = [{"sigma": 10 / (n + 1), "strengths": [float(n > 1)], "removal": {"strengths": [0.5], "presence": [0.1 * n]}} for n in range(10)]
    page.evaluate("""(trace) => { const figure = NegGuide.plot.trace(trace); figure.id = 'plot-here'; figure.className += ' negguide-editor';
        document.querySelector('gradio-app').prepend(figure); }""", {"names": ["hat"], "calls": calls, "removed": "glasses"})
    figure = page.locator("#plot-here")
    words, svg = figure.locator(".negguide-plot-words"), figure.locator("svg")
    assert figure.locator("svg > [data-curve]").count() == 3
    svg.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert words.inner_text() == "call 3, σ 3.33; hat 1; glasses 0.5; presence 0.2"
    figure.locator("button[data-curve=hat]").click()
    assert figure.locator("svg > [data-curve]").count() == 2
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    assert "call 5" in words.inner_text()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40)
    page.mouse.up()
    assert figure.locator("text.negguide-plot-text").all_text_contents()[3] == "5", "the zoom begins at call 5"
    svg.dblclick()
    assert figure.locator("text.negguide-plot-text").all_text_contents()[3] == "1"
    figure.evaluate("element => element.remove()")
    assert page.evaluate("NegGuide.plot.trace({names: [], calls: []})") is None


def test_directions_and_previews_are_shown(tab):
    tab.fill("weights", weights="0.75", previews="2")
    tab.field("norms").check()
    tab.run(2)
    tab.cell("weight-0.75").click()
    curves = tab.root.locator("button[data-curve]").evaluate_all("all => all.map((one) => one.dataset.curve)")
    assert curves == ["glasses", "‖d_p − d_u‖", "‖d_n − d_u‖", "cosine"]
    assert tab.root.locator("[data-previews] img").count() == 2
    tab.field("norms").uncheck()
    tab.field("previews").fill("0")


@pytest.mark.parametrize(("text", "found"), [
    ("a portrait of a person", ["portrait", "person"]), ("a (red:1.2) circle and a blue triangle, <lora:x y:1>",
                                                         ["red circle", "red", "circle", "blue triangle", "blue", "triangle"]),
    ("Mädchen, [cat|dog] 2 BREAK cat's-eye", ["mädchen", "cat", "dog", "cat's-eye"]), ("", [])])
def test_words_that_can_be_removed(shared_page, text, found):
    assert shared_page.page.evaluate("text => NegGuide.removable(text)", text) == found


def test_a_removal_chosen_from_the_words_and_compared_by_keyboard(tab, captioner):
    tab.fill("removal", prompt="a person with glasses", negative="", steps="6")
    words = tab.root.locator("[data-word]")
    assert words.all_inner_texts() == ["person", "glasses"]
    tab.root.locator("[data-word=glasses]").click()
    assert tab.field("negative").input_value() == "glasses"
    assert [one.get_attribute("aria-pressed") for one in words.all()] == ["false", "true"]
    tab.run(3)
    assert tab.names() == ["plain", "loop", "anchor"]
    tab.cell("plain").click()
    slider, upper = tab.root.locator("[data-compared] input[type=range]"), tab.root.locator("[data-compared] img").nth(1)
    assert slider.count() == 0
    tab.cell("loop").click()
    assert tab.root.locator("[data-compared] img").evaluate_all("all => all.map((one) => one.src.split('/').pop())") == ["plain.png", "loop.png"]
    assert "50%" in upper.evaluate("one => one.style.clipPath") and slider.get_attribute("aria-label") == "Before and after"
    slider.focus()
    tab.page.page.keyboard.press("ArrowRight")
    assert "51%" in upper.evaluate("one => one.style.clipPath")
    tab.page.page.keyboard.press("Home")
    assert upper.evaluate("one => one.style.clipPath") in ("inset(0px)", "inset(0px 0px 0px 0%)")
    assert "presence" in tab.root.locator("button[data-curve]").evaluate_all("all => all.map((one) => one.dataset.curve)")
    tab.root.locator("[data-field=captioner]").evaluate(
        "(select, folder) => { select.append(new Option(folder, folder)); select.value = folder; }", captioner)
    tab.press("look")
    tab.page.wait(lambda: tab.root.locator("[data-action=look]").is_enabled())
    said = tab.root.evaluate("root => root.negguideTab.form.offered.caption")
    named = tab.page.page.evaluate("text => NegGuide.removable(text)", said)
    assert tab.error() == "" and named and words.all_inner_texts() == list(dict.fromkeys(["person", "glasses", *named]))
    tab.field("captioner").evaluate("select => { select.selectedIndex = 0; }")


def test_a_negative_goes_back_into_the_form(weights):
    weights.field("strip").select_option("formulas")
    weights.field("negative").fill("hat")
    weights.cell("weight-1").click()
    weights.press("use")
    assert weights.field("negative").input_value() == "glasses"


def test_the_four_pictures_with_an_edited_caption(tab):
    tab.fill("four", caption="a hat")
    tab.run(4)
    assert tab.names() == ["plain", "dns", "only", "guided"]
    assert "n* = a hat" in tab.root.inner_text()
    tab.cell("guided").click()
    tab.press("use")
    assert (tab.field("strip").input_value(), tab.field("negative").input_value()) == ("windows", "a hat")


def test_what_is_wrong_is_said(tab):
    tab.fill("weights", weights="0.5, x")
    tab.press("run")
    tab.page.wait(lambda: "weights" in tab.error())
    assert "numbers from 0 to 2" in tab.error() and tab.ended()
    assert [text for text in tab.page.complaints if "422" not in text] == []
    tab.page.complaints.clear()  # the browser's own word on a refusal
    tab.field("weights").fill("1")
    tab.field("weights").blur()
    assert tab.error() == ""


def test_the_page_stays_usable_and_an_interrupt_keeps_what_is_there(tab):
    tab.fill("weights", weights="0.25, 0.5, 0.75, 1, 1.25, 1.5", steps="60")
    tab.press("run")
    tab.root.locator("progress").wait_for()
    tab.page.wait(lambda: tab.names() == ["plain"], "the first picture alone")
    assert tab.root.locator("progress").is_visible() and not tab.ended()
    tab.page.tab("txt2img")
    tab.page.page.fill("#txt2img_prompt textarea", "typed meanwhile")
    tab.page.tab("NegGuide")
    tab.press("interrupt")
    tab.page.wait(tab.ended)
    assert "interrupted" in tab.root.locator(".negguide-tab-cells").inner_text()
    assert 1 <= len(tab.names()) < 7
    assert tab.page.value("prompt") == "typed meanwhile"


def test_from_the_last_generation_and_from_a_picture(tab, page, tmp_path):
    page.page.fill("#txt2img_neg_prompt textarea", "hat")
    page.generate(77)
    Tab(page)
    tab.press("last")
    page.wait(lambda: tab.field("seed").input_value() == "77")
    assert (tab.field("negative").input_value(), tab.field("steps").input_value()) == ("hat", "5")
    file = tmp_path / "picture.png"
    file.write_bytes(picture())
    tab.root.locator("input[type=file]").set_input_files(str(file))
    page.wait(lambda: tab.field("prompt").input_value() == "a red circle")
    assert tab.field("negative").input_value() == "a triangle"
    tab.field("strip").select_option("weights")
    assert tab.root.locator("[data-window=start]").input_value() == "5"


def picture():
    """A PNG with NegGuide's infotext in it."""
    from PIL import Image

    from tests.webui.client import png

    schedule = json.dumps(json.dumps({"negatives": [{"text": "a triangle", "start": 5, "stop": 1}]}))
    return png(Image.new("RGB", (64, 64)), f"a red circle\n{LINE}, NegGuide: 1, NegGuide schedule: {schedule}")


def test_earlier_runs_are_opened_and_deleted(weights):
    entries = weights.root.locator(".negguide-tab-entry")
    count = entries.count()
    first = entries.first.get_attribute("data-run")
    weights.fill("formulas")
    for formula in ("branches", "perp-neg", "loop"):
        weights.root.locator(f"[data-formula={formula}]").uncheck()
    weights.run(3)
    weights.page.wait(lambda: entries.count() == count + 1)
    entry = weights.root.locator(f"[data-run='{first}']")
    entry.locator("[data-action=open]").click()
    weights.page.wait(lambda: weights.names() == ["plain", "weight-0.5", "weight-1"])
    report = weights.root.get_by_role("link", name="Report").get_attribute("href")
    assert "<svg" in weights.page.page.request.get(weights.page.page.url.split("?")[0] + report.lstrip("./")).text()
    entry.locator("[data-action=delete]").click()
    weights.page.wait(lambda: entries.count() == count and not weights.names())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_looks(weights, open_page, theme):
    page = weights.page if theme == "light" else open_page(1280, theme)
    tab = Tab(page)
    tab.press("open")
    page.wait(lambda: len(tab.names()) > 1)
    if tab.cell("plain").get_attribute("aria-pressed") == "false":
        tab.cell("plain").click()
    for width in (400, 1280):
        page.page.set_viewport_size({"width": width, "height": 1000})
        page.shoot(f"tab-{width}-{theme}")
        wide = tab.root.evaluate("root => [root.scrollWidth, root.clientWidth, document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1] + 1 and wide[2] <= wide[3] + 1, width
    assert page.complaints == []
