"""The tab while a strip is made: the host's progress and live preview, what is looked at stays; where pictures go; captioners that come later."""

import re
from pathlib import Path

import pytest

from tests.browser.test_tab import Tab

OPTIONS = {"live_previews_enable": True, "show_progress_every_n_steps": 1, "show_progress_type": "Approx cheap"}
ROW = {"row": "", "column": "", "settings": {"remove": {"text": "glasses"}}, "infotext": "a", "trace": {}, "caption": "", "clip": None, "previews": []}


@pytest.fixture
def tab(shared_page):
    yield Tab(shared_page)
    assert shared_page.complaints == []


@pytest.fixture
def live(host):
    """The host makes live previews."""
    before = host.get("/sdapi/v1/options").json()
    host.post("/sdapi/v1/options", **{name: value for name, value in OPTIONS.items() if name in before})
    yield
    host.post("/sdapi/v1/options", **{name: before[name] for name in OPTIONS if name in before})


def test_progress_time_left_and_live_preview(tab, live):
    words, picture = tab.root.locator("[data-progress]"), tab.root.locator(".negguide-tab-live")
    tab.fill("weights", weights="0.25, 0.5, 0.75, 1, 1.25, 1.5", steps="60")
    tab.press("run")
    picture.wait_for()
    assert picture.get_attribute("src").startswith("data:image/") and picture.get_attribute("alt")
    tab.page.wait(lambda: re.fullmatch(r"\d / 7 · .+ · \d+ % · \d+ (s|min) left", words.inner_text()), "how long it takes")
    assert 0 < tab.root.locator("progress").evaluate("bar => bar.value") < 1
    tab.press("skip")
    tab.page.wait(lambda: words.inner_text()[:1] not in ("", "1"), "the next picture")
    tab.press("interrupt")
    tab.page.wait(tab.ended)
    assert picture.is_hidden() and words.inner_text() == ""
    notes = tab.root.locator(".negguide-tab-cells > .negguide-note").inner_text()
    assert "skipped: without the negative" in notes and "interrupted" in notes


def test_what_is_looked_at_stays_while_the_run_grows(shared_page):
    """The slider between before and after, the plot and the infotext as they are, and the focus."""
    left = shared_page.page.evaluate("""(row) => {
        const cells = new NegGuide.WorkbenchCells({});
        document.querySelector(".negguide-tab").append(cells.element);
        const run = (...names) => ({id: "x", state: "running", form: {prompt: "p", negative: "n", seed: 1}, notes: [], error: "", caption: "",
            cells: names.map((name) => ({...row, name, title: name, file: `${name}.png`}))});
        const file = NegGuide.workbench.file;
        NegGuide.workbench.file = () => "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
        cells.show(run("plain", "loop"));
        cells.select("loop");
        const slider = cells.detail.querySelector("input[type=range]");
        slider.value = 80;
        cells.detail.querySelector("details").open = true;
        const button = cells.grid.querySelector("[data-cell=loop]");
        cells.show(run("plain", "loop", "anchor"));
        const found = [cells.detail.querySelector("input[type=range]").value, cells.detail.querySelector("details").open,
            cells.grid.querySelector("[data-cell=loop]") === button, cells.grid.querySelectorAll("[data-cell]").length];
        cells.show({...run("plain"), id: "y"});
        found.push(cells.grid.querySelectorAll("[data-cell]").length, cells.detail.querySelector("input[type=range]"));
        NegGuide.workbench.file = file;
        cells.element.remove();
        return found;
    }""", ROW)
    assert left == ["80", True, True, 3, 1, None]


def test_texts_of_the_server_in_the_page_s_language(shared_page):
    said = shared_page.page.evaluate("""() => {
        const before = window.localization;
        window.localization = {"from {}": "ab {}", "step {}": "Schritt {}", "{} = {} is not allowed; {}": "{} = {} geht nicht; {}", "a text": "ein Text"};
        const cells = new NegGuide.WorkbenchCells({});
        cells.run = {words: {"from step 5": ["from {}", ["step {}", "5"]]}};
        const found = [cells.words("from step 5"), cells.words("from step 6"),
            NegGuide.dom.told(["NegGuide: {} = {} is not allowed; {}", "prompt", "{}", ["a text"]])];
        window.localization = before;
        return found;
    }""")
    assert said == ["ab Schritt 5", "from step 6", "prompt = {} geht nicht; ein Text"]


@pytest.mark.parametrize(("target", "place"), [("img2img", "#img2img_image img, #img2img_image canvas"),
                                               ("inpaint", "#img2maskimg img, #img2maskimg canvas")])
def test_sent_to_img2img_with_the_picture(tab, page, target, place):
    """And with its settings. The place of txt2img is tried in test_tab.py."""
    Tab(page)
    tab.fill("removal", steps="2", seed="9")
    tab.run(3)
    tab.cell("loop").click()
    tab.press(f"send-{target}")
    page.page.locator(place).first.wait_for()
    page.wait(lambda: page.value("seed", "img2img") == "9", "the seed")
    page.wait(lambda: page.settings("img2img").get("remove"), "the settings")
    assert page.settings("img2img")["remove"]["text"] == "glasses" and page.is_enabled("img2img")
    assert page.page.locator("#img2img_prompt textarea").input_value() == "a portrait of a person"


def test_a_captioner_that_comes_later_is_offered(tab, host):
    folder = Path(host.get("/sdapi/v1/cmd-flags").json()["data_dir"]) / "models" / "negguide-captioners" / "came-later"
    tab.fill("four")
    names = tab.field("captioner").locator("option")
    assert "came-later" not in names.all_inner_texts()
    folder.mkdir(parents=True)
    try:
        (folder / "config.json").write_text("{}")
        tab.field("captioner").focus()
        tab.page.wait(lambda: "came-later" in names.all_inner_texts(), "the new captioner")
    finally:
        (folder / "config.json").unlink()
        folder.rmdir()
