"""The schedule editor alone in a page: what typing, dragging, keys and Python's changes do to the settings' text."""

import json
from pathlib import Path

import pytest

from lib_negguide.schedule import reference_sigmas, to_sigma
from lib_negguide.settings import Settings
from lib_negguide.webui import editor
from tests import chromium

ROOT = Path(__file__).parents[2]
ADDRESS = "http://negguide.test/"
BAN = "Ban et al. window (σ 5.8 → 1.6)"


def a_tab(tab):
    return f"""<div id="{tab}_neg_prompt"><textarea>blurry</textarea></div>
        <div id="{tab}_steps"><input type="number" value="20"></div>
        <div id="{tab}_denoising_strength"><input type="number" value="0.5"></div>
        <div id="negguide_{tab}_json" class="negguide-json"><textarea></textarea></div>
        <div id="negguide_{tab}_editor">{editor.editor_html(tab)}</div>"""


def a_page():
    scripts = "".join(f"<script>{path.read_text('utf-8')}</script>" for path in sorted((ROOT / "javascript").glob("*.js")))
    style = (ROOT / "style.css").read_text("utf-8")
    return f"<!doctype html><meta charset=utf-8><style>{style}</style>{scripts}<body>{a_tab('txt2img')}{a_tab('img2img')}"


class Tab:
    """One tab's editor in the page, seen as a user does; ``settings`` is what Python would get."""

    def __init__(self, page, tab="txt2img"):
        self.page, self.tab = page, tab
        self.editor = page.locator(f".negguide-editor[data-tab={tab}]")
        self.box = page.locator(f"#negguide_{tab}_json textarea")

    def part(self, selector, row=None, of="first"):
        within = self.editor.locator(f"[data-pass={of}]")
        return (within if row is None else within.locator(f"[data-negative='{row}']")).locator(selector)

    def field(self, name, row, of="first"):
        return self.part(f"[data-field={name}]", row, of)

    def press(self, action, row=None, of="first"):
        self.part(f"[data-action={action}]", row, of).click()

    def handle(self, name, row, of="first"):
        return self.part(f".negguide-handle[data-handle='{name}'][data-lane='{row}']", of=of)

    def add(self, text, of="first"):
        self.press("add", of=of)
        self.part("[data-field=text]", of=of).last.fill(text)

    @property
    def text(self):
        return self.box.input_value()

    @property
    def settings(self):
        return json.loads(self.text or "{}")

    def wait(self, condition, what=""):
        chromium.wait(self.page, condition, what or self.text)

    def errors(self, row="box"):
        return self.part(".negguide-error", row).all_inner_texts()

    def from_python(self, settings):
        """What gradio does when Python changes the text: set the text area, then run the change event's script."""
        text = settings if isinstance(settings, str) else json.dumps(settings)
        self.page.evaluate("""([tab, text]) => {
            document.querySelector(`#negguide_${tab}_json textarea`).value = text;
            negguideSync(tab, text);
        }""", [self.tab, text])


@pytest.fixture
def page(browser):
    page = chromium.new_page(browser, viewport={"width": 700, "height": 1000})
    said, presets = [], {}

    def presets_api(route):
        request = route.request
        if request.method == "POST":
            sent = request.post_data_json
            if "/" in sent["name"]:
                return route.fulfill(status=422, json={"detail": "NegGuide: preset = 'a/b' is not allowed; a file name"})
            presets[sent["name"]] = sent["settings"]
        elif request.method == "DELETE":
            del presets[request.url.rsplit("/", 1)[1].replace("%20", " ")]
        return route.fulfill(json={"windows": [], "saved": presets})

    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") and "422" not in message.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.route(ADDRESS, lambda route: route.fulfill(body=a_page(), content_type="text/html; charset=utf-8"))
    page.route(ADDRESS + "favicon.ico", lambda route: route.fulfill(status=204))
    page.route(ADDRESS + "negguide/v1/presets**", presets_api)
    page.goto(ADDRESS)
    page.locator(".negguide-row").first.wait_for()
    yield page
    page.close()
    assert said == []


@pytest.fixture
def tab(page):
    return Tab(page)


def test_rows_make_settings(tab):
    assert tab.text == ""
    tab.add("mustache")
    tab.field("preset", 0).select_option(BAN)
    tab.add("hat")
    tab.field("start", 1).fill("2.8")
    tab.field("weight", 1).fill("1.5")
    tab.field("curve", 1).select_option("cosine")
    tab.field("weight", "box").fill("0.5")
    tab.part("[data-field=combine]").select_option("branches")
    assert tab.settings == {
        "box": {"weight": 0.5}, "combine": "branches",
        "negatives": [{"text": "mustache", "start": 5.8, "stop": 1.6}, {"text": "hat", "start": 2.8, "weight": 1.5, "curve": "cosine"}]}
    assert Settings.parse(tab.text).to_dict() == tab.settings | {"negatives": tab.settings["negatives"]}
    assert tab.field("preset", 1).input_value() == "own window"
    tab.press("move-up", 1)
    assert [one["text"] for one in tab.settings["negatives"]] == ["hat", "mustache"]
    tab.press("remove", 0)
    assert [one["text"] for one in tab.settings["negatives"]] == ["mustache"]
    assert tab.field("preset", 0).input_value() == BAN


def test_back_to_the_defaults_is_an_empty_text(tab):
    tab.field("stop", "box").fill("1")
    tab.field("stop", "box").fill("")
    assert tab.text == ""


def test_the_text_area_tells_gradio(tab):
    tab.page.evaluate("window.heard = []; document.querySelector('#negguide_txt2img_json textarea')"
                      ".addEventListener('input', (event) => heard.push(event.target.value))")
    tab.field("stop", "box").fill("1.5")
    assert tab.page.evaluate("heard") == ['{"box":{"stop":1.5}}']


@pytest.mark.parametrize(("name", "typed", "sent", "words"), [
    ("start", "abc", "abc", "box.start = 'abc' is not allowed; a number from 0, or null for the first step"),
    ("start", "-1", -1, "box.start = -1 is not allowed; a number from 0, or null for the first step"),
    ("weight", "3", 3, "box.weight = 3 is not allowed; a number from 0 to 2"),
    ("weight", "", None, "box.weight = None is not allowed; a number from 0 to 2"),
])
def test_a_value_that_is_not_allowed_stays_and_is_explained(tab, name, typed, sent, words):
    tab.field(name, "box").fill(typed)
    assert tab.errors() == [words]
    assert tab.field(name, "box").get_attribute("aria-invalid") == "true"
    assert tab.field(name, "box").input_value() == typed
    assert tab.settings == {"box": {name: sent}}
    assert tab.part(".negguide-name.negguide-wrong[data-name=box]").count() == 1
    with pytest.raises(ValueError, match="is not allowed") as error:
        Settings.parse(tab.text)
    assert str(error.value) == "NegGuide: " + words
    tab.field(name, "box").fill("1")
    assert tab.errors() == [] and tab.field(name, "box").get_attribute("aria-invalid") is None


def test_rules_between_fields(tab):
    tab.field("start", "box").fill("1.6")
    tab.field("stop", "box").fill("5.8")
    assert tab.errors() == ["box.start = 1.6 is not allowed; sigma falls during a run, so start is at least stop (5.8)"]


def test_typing_keeps_focus_and_late_events_change_nothing(tab):
    field = tab.field("start", "box")
    field.click()
    for character in "5.83":
        tab.page.keyboard.type(character)
        tab.page.evaluate("negguideSync('txt2img', '{\"box\":{\"start\":5}}')")  # of an earlier key, arriving late
    assert field.input_value() == "5.83" and tab.settings == {"box": {"start": 5.83}}
    tab.page.wait_for_timeout(250)
    assert tab.page.evaluate("document.activeElement.dataset.field") == "start"


def test_python_changes_the_text(tab):
    tab.add("mustache")
    tab.from_python({"negatives": [{"text": "a"}, {"text": "b", "stop": 3, "unit": "step"}], "hires": {"negatives": [{"text": "c"}]}})
    assert tab.part(".negguide-row").count() == 3
    assert tab.field("stop", 1).input_value() == "3" and tab.field("unit", 1).input_value() == "step"
    tab.editor.locator("[data-section=hires] summary").click()
    assert tab.field("text", 0, "hires").input_value() == "c"
    before = tab.text
    tab.page.wait_for_timeout(250)
    assert tab.text == before  # showing writes nothing
    tab.from_python("")
    assert tab.part(".negguide-row").count() == 1 and tab.text == ""


def test_a_change_without_an_event_is_seen(tab):
    tab.page.evaluate("document.querySelector('#negguide_txt2img_json textarea').value = '{\"box\":{\"weight\":0.25}}'")
    tab.editor.hover()
    tab.wait(lambda: tab.field("weight", "box").input_value() == "0.25")


@pytest.mark.parametrize(("text", "words"), [
    ("{oops", "settings = '{oops' is not allowed; a JSON object"),
    ('{"combine": "mix"}', "combine = 'mix' is not allowed; one of join, branches, perp-neg"),
    ('{"what": 1}', "what = 1 is not allowed; unknown field; known are " + ", ".join(Settings.__fields__)),
])
def test_a_text_that_is_not_allowed(tab, text, words):
    tab.from_python(text)
    assert tab.editor.locator("> [data-errors]").inner_text() == words
    assert tab.text == text


def test_units_are_converted(tab):
    sigmas = reference_sigmas(20)
    tab.field("start", "box").fill("5")
    tab.field("stop", "box").fill("15")
    tab.field("unit", "box").select_option("step")
    # from sigma; typed anew as steps
    tab.field("start", "box").fill("5")
    tab.field("stop", "box").fill("15")
    tab.field("unit", "box").select_option("fraction")
    assert tab.settings["box"] == {"start": 0.25, "stop": 0.75, "unit": "fraction"}
    tab.field("unit", "box").select_option("sigma")
    assert tab.settings["box"] == {"start": to_sigma(5, "step", sigmas), "stop": to_sigma(15, "step", sigmas)}
    tab.field("unit", "box").select_option("step")
    assert tab.settings["box"] == {"start": 5, "stop": 15, "unit": "step"}


def test_steps_of_the_page(tab):
    tab.field("stop", "box").fill("0.5")
    tab.field("unit", "box").select_option("fraction")
    acts = tab.part("[data-acts]", "box")
    tab.field("stop", "box").fill("0.5")
    assert acts.inner_text() == "acts at 10 of 20 steps: 0–9"
    tab.page.locator("#txt2img_steps input").fill("30")
    tab.wait(lambda: acts.inner_text() == "acts at 15 of 30 steps: 0–14")
    tab.page.locator("#txt2img_neg_prompt textarea").fill("")
    tab.wait(lambda: acts.inner_text() == "empty: does nothing")
    assert tab.part(".negguide-empty").count() == 1


def test_img2img_runs_only_the_end(page):
    tab = Tab(page, "img2img")
    assert tab.part("[data-acts]", "box").inner_text() == "acts at 11 of 11 steps: 9–19"
    assert tab.part(".negguide-not-run").count() == 1
    assert not tab.editor.locator("[data-section=hires]").is_visible()
    tab.add("hat")
    assert Tab(page).text == "" and tab.settings == {"negatives": [{"text": "hat"}]}


def test_the_picture_redraws(tab):
    line = tab.part(".negguide-lane[data-lane=box] .negguide-line")
    before = line.get_attribute("d")
    tab.field("start", "box").fill("5.8")
    assert line.get_attribute("d") != before
    assert tab.part(".negguide-empty").count() == 1
    tab.add("hat")
    assert tab.part(".negguide-lane").count() == 2
    assert tab.part(".negguide-name[data-name='0']").text_content().startswith("1: hat")


def drag(tab, handle, by):
    box = handle.locator(".negguide-grip").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + by / 2, y, steps=3)
    tab.page.mouse.move(x + by, y, steps=3)
    tab.page.mouse.up()


def test_dragging_the_ends(tab):
    drag(tab, tab.handle("start", "box"), 200)
    start = tab.settings["box"]["start"]
    assert 2 < start < 8
    assert tab.field("start", "box").input_value() == str(start)
    drag(tab, tab.handle("stop", "box"), -150)
    assert 0 < tab.settings["box"]["stop"] < start
    drag(tab, tab.handle("stop", "box"), -600)  # no further than the start
    assert tab.settings["box"]["stop"] == start and tab.errors() == []
    drag(tab, tab.handle("start", "box"), -600)
    assert "start" not in tab.settings["box"]


def test_dragging_in_steps_gives_whole_steps(tab):
    tab.field("unit", "box").select_option("step")
    drag(tab, tab.handle("start", "box"), 200)
    assert tab.settings["box"]["start"] in range(4, 9)


def test_keys_move_the_ends(tab):
    tab.field("unit", "box").select_option("step")
    start, stop = tab.handle("start", "box"), tab.handle("stop", "box")
    assert start.get_attribute("aria-label") == "Start: Negative prompt box"
    start.focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("ArrowLeft")
    assert tab.settings["box"] == {"start": 2, "unit": "step"}
    assert start.get_attribute("aria-valuenow") == "2" and "step 2" in start.get_attribute("aria-valuetext")
    stop.focus()
    tab.page.keyboard.press("PageDown")
    assert tab.settings["box"] == {"start": 2, "stop": 15, "unit": "step"}
    tab.page.keyboard.press("End")
    start.focus()
    tab.page.keyboard.press("Home")
    assert tab.settings["box"] == {"unit": "step"}
    tab.field("unit", "box").select_option("sigma")
    start.focus()
    for _ in range(5):
        tab.page.keyboard.press("ArrowRight")
    assert tab.settings["box"]["start"] == pytest.approx(to_sigma(5, "step", reference_sigmas(20)), rel=1e-3)
    assert tab.part("[data-acts]", "box").inner_text() == "acts at 15 of 20 steps: 5–19"


def test_own_points(tab):
    tab.field("curve", "box").select_option("points")
    assert tab.settings["box"] == {"curve": "points", "points": [[0, 1], [1, 1]]}
    tab.press("add-point", "box")
    assert tab.settings["box"]["points"] == [[0, 1], [0.5, 1], [1, 1]]
    point = tab.handle("1", "box")
    point.focus()
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("ArrowRight")
    assert tab.settings["box"]["points"] == [[0, 1], [0.55, 0.95], [1, 1]]
    grip = point.locator(".negguide-grip").bounding_box()
    tab.page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    tab.page.mouse.down()
    tab.page.mouse.move(grip["x"] - 60, grip["y"] + 15, steps=4)
    tab.page.mouse.up()
    position, factor = tab.settings["box"]["points"][1]
    assert 0.3 < position < 0.5 and factor < 0.8
    point.focus()
    tab.page.keyboard.press("Delete")
    assert tab.settings["box"]["points"] == [[0, 1], [1, 1]]
    tab.field("points", "box").fill("0:1, 0.5:0.2")
    assert tab.settings["box"]["points"] == [[0, 1], [0.5, 0.2]]
    tab.field("points", "box").fill("0:1, 0.5")
    assert tab.settings["box"]["points"] == "0:1, 0.5" and len(tab.errors()) == 1
    tab.field("curve", "box").select_option("constant")
    assert tab.settings["box"] == {"points": "0:1, 0.5"}  # still typed, still refused
    tab.field("curve", "box").select_option("points")
    tab.field("points", "box").fill("0:1, 1:1")
    tab.field("curve", "box").select_option("constant")
    assert tab.text == ""


def test_a_double_click_adds_a_point(tab):
    tab.field("curve", "box").select_option("points")
    svg = tab.part("svg.negguide-schedule").bounding_box()
    tab.page.mouse.dblclick(svg["x"] + svg["width"] / 2, svg["y"] + 38)
    assert len(tab.settings["box"]["points"]) == 3 and tab.settings["box"]["points"][1][1] < 0.7


def test_a_finger_drags_too(browser):
    page = chromium.new_page(browser, viewport={"width": 400, "height": 900}, has_touch=True, is_mobile=True)
    page.set_content(a_page())
    page.locator(".negguide-row").first.wait_for()
    tab = Tab(page)
    grip = tab.handle("start", "box").locator(".negguide-grip").bounding_box()
    x, y = grip["x"] + 3, grip["y"] + 9
    session = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", [(x, y)]), ("touchMove", [(x + 30, y + 5)]), ("touchMove", [(x + 90, y + 20)]), ("touchEnd", [])):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})
    tab.wait(lambda: 2 < tab.settings.get("box", {}).get("start", 0) < 9, "the moved end")
    page.close()


def test_hires_pass(tab):
    tab.add("hat")
    tab.editor.locator("[data-section=hires] summary").click()
    check = tab.editor.locator("[data-field=hires]")
    check.check()
    assert tab.settings["hires"] == {"negatives": [{"text": "hat"}]}
    tab.add("blur", "hires")
    tab.field("weight", "box", "hires").fill("0")
    assert tab.settings["hires"] == {"box": {"weight": 0}, "negatives": [{"text": "hat"}, {"text": "blur"}]}
    assert tab.part("svg.negguide-schedule", of="hires").is_visible()
    assert tab.part("[data-acts]", 0, "hires").inner_text() == "acts at 20 of 20 steps: 20–39"  # of 40, at strength 0.5
    check.uncheck()
    assert "hires" not in tab.settings
    check.check()
    assert len(tab.settings["hires"]["negatives"]) == 2


def test_saved_presets(tab):
    message = tab.editor.locator("[data-message]")
    tab.add("hat")
    tab.editor.locator("[data-section=saved] summary").click()
    tab.editor.locator("[data-field=saved-name]").fill("no hats")
    tab.editor.locator("[data-action=save-preset]").click()
    message.get_by_text("Saved: no hats").wait_for()
    tab.press("remove", 0)
    assert tab.text == ""
    tab.editor.locator("[data-action=load-preset]").click()
    message.get_by_text("Loaded: no hats").wait_for()
    assert tab.settings == {"negatives": [{"text": "hat"}]}
    tab.editor.locator("[data-field=saved-name]").fill("a/b")
    tab.editor.locator("[data-action=save-preset]").click()
    message.get_by_text("NegGuide: preset = 'a/b' is not allowed; a file name").wait_for()
    tab.editor.locator("[data-action=delete-preset]").click()
    message.get_by_text("Deleted: no hats").wait_for()
    tab.editor.locator("[data-action=load-preset]").click()
    message.get_by_text("There is no saved preset yet.").wait_for()


def test_a_container_rendered_anew(tab):
    tab.add("hat")
    tab.page.evaluate("(html) => { document.querySelector('#negguide_txt2img_editor').innerHTML = html; }", editor.editor_html("txt2img"))
    tab.field("text", 0).wait_for()
    assert tab.field("text", 0).input_value() == "hat" and tab.settings == {"negatives": [{"text": "hat"}]}
    tab.field("text", 0).fill("cap")
    assert tab.settings == {"negatives": [{"text": "cap"}]}


def test_every_input_has_a_label_and_a_help(tab):
    tab.add("hat")
    tab.field("curve", 0).select_option("points")
    unnamed = tab.page.evaluate("""() => Array.from(document.querySelectorAll('.negguide-editor :is(input, select, textarea)'))
        .filter((one) => !one.labels.length && !one.getAttribute('aria-label')).map((one) => one.outerHTML)""")
    assert unnamed == []
    helps = {row["help"] for row in editor.tables()["Negative"]}
    shown = set(tab.page.evaluate("Array.from(document.querySelectorAll('[data-negative] label'), (one) => one.title)"))
    assert helps <= shown


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out(tab, width):
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.add("a long negative, " * 12)
    tab.field("start", 0).fill("x" * 200)
    tab.wait(lambda: tab.page.evaluate("document.documentElement.scrollWidth") <= width, "a page that is no wider")
    svg = tab.part("svg.negguide-schedule").bounding_box()
    assert svg["x"] >= 0 and svg["x"] + svg["width"] <= width
