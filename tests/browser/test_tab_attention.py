"""Attention in the NegGuide tab: asked for by a tick, words chosen, heat maps drawn, by pointer and by keyboard."""

import io

import pytest
from PIL import Image

from tests.browser.test_tab import (
    Tab,
    tab,  # noqa: F401
)

SMALL = {"weights": "1", "prompt": "a portrait of a person", "negative": "glasses, hat", "steps": "6"}


def drawn(tab):  # noqa: F811
    """The view, when what was chosen is on the page."""
    view = tab.root.locator(".negguide-attention[data-state=drawn]")
    view.wait_for()
    return view


@pytest.fixture
def view(tab):  # noqa: F811
    """The attention of a run, made where it is not there yet."""
    tab.fill("weights", **SMALL)
    tab.field("attention").check()
    if tab.names() != ["plain", "weight-1"]:
        tab.run(2)
    if tab.cell("weight-1").get_attribute("aria-pressed") == "false":
        tab.cell("weight-1").click()
    yield drawn(tab)
    tab.field("attention").uncheck()


def rows(view):
    return view.locator("tbody th b").all_inner_texts()


def shown(view):
    """Of each heat map the values of its heat."""
    return view.locator("canvas").evaluate_all("""all => all.map((one) => Array.from(
        one.getContext('2d').getImageData(0, 0, one.width, one.height).data).filter((_, at) => at % 4 === 3))""")


def test_words_are_chosen_and_maps_drawn(tab, view):  # noqa: F811
    words = view.locator("[data-attend]")
    assert [one.get_attribute("data-attend") for one in words.all()] == ["prompt:portrait", "prompt:person", "negative:glasses", "negative:hat"]
    assert [one.get_attribute("aria-pressed") for one in words.all()] == ["false", "true", "true", "true"]
    assert rows(view) == ["person", "glasses", "hat"]
    heats = shown(view)
    assert len(heats) == 3 * 6 and all(len(heat) == 64 for heat in heats)
    assert all(max(map(max, heats[at:at + 6])) > 200 and min(map(min, heats[at:at + 6])) < 10 for at in (0, 6, 12))
    assert view.locator("thead th").all_inner_texts()[0].startswith("call 1")
    critical = view.locator(".negguide-attention-critical")
    assert critical.count() == view.locator("tbody th").filter(has_text="critical call").count()
    assert all("critical" in one.get_attribute("aria-label") for one in critical.all())
    words.first.click()
    view = drawn(tab)
    assert rows(view) == ["portrait", "person", "glasses", "hat"]
    view.locator("[data-attend='prompt:portrait']").click()
    assert rows(drawn(tab)) == ["person", "glasses", "hat"]


def test_resolution_and_colours(tab, view):  # noqa: F811
    before = shown(view)
    view.locator("[data-choose=colours]").select_option("call")
    each = shown(drawn(tab))
    assert each != before and all(max(heat) > 200 and min(heat) == 0 for heat in each)
    view.locator("[data-choose=size]").select_option("4x4")
    assert {len(heat) for heat in shown(drawn(tab))} == {16}
    tab.cell("plain").click()
    tab.root.locator(".negguide-attention[data-attention=plain]").wait_for()
    assert {len(heat) for heat in shown(drawn(tab))} == {16}, "what was chosen stays"
    view.locator("[data-choose=size]").select_option("8x8")
    drawn(tab)
    view.locator("[data-choose=colours]").select_option("run")
    drawn(tab)
    tab.cell("weight-1").click()
    tab.root.locator(".negguide-attention[data-attention=weight-1]").wait_for()


def test_by_keyboard(tab, view):  # noqa: F811
    view.locator("[data-attend='negative:hat']").focus()
    tab.page.page.keyboard.press("Space")
    assert rows(drawn(tab)) == ["person", "glasses"]
    assert tab.page.page.evaluate("document.activeElement.dataset.attend") == "negative:hat"
    tab.page.page.keyboard.press("Enter")
    assert rows(drawn(tab)) == ["person", "glasses", "hat"]
    assert view.locator(".negguide-tab-scroll").get_attribute("tabindex") == "0"
    bare = view.evaluate("""(view) => Array.from(view.querySelectorAll('button, select, a')).filter((one) => !one.title ||
        !(one.getAttribute('aria-label') || one.labels && one.labels.length || one.textContent.trim())).map((one) => one.outerHTML.slice(0, 120))""")
    assert bare == []


def test_as_a_file_in_the_plot_and_the_report(tab, view):  # noqa: F811
    get, page = tab.page.page.request.get, tab.page.page.url.split("?")[0]
    links = {name: view.get_by_role("link", name=name).get_attribute("href").lstrip("./") for name in ("Heat maps", "JSON")}
    picture = get(page + links["Heat maps"])
    assert picture.ok and Image.open(io.BytesIO(picture.body())).width > 600
    assert len(get(page + links["JSON"]).json()["r_t"]) == 6
    curve = tab.root.locator("button[data-curve=r_t]")
    assert "Ban et al." in curve.get_attribute("title")
    report = tab.root.get_by_role("link", name="Report").get_attribute("href").lstrip("./")
    assert get(page + report).text().count("alt='attention, ") == 2


def test_none_where_nobody_asked(tab, view):  # noqa: F811
    tab.field("attention").uncheck()
    tab.fill("weights", **{**SMALL, "weights": "0.5", "steps": "2"})
    tab.press("run")
    tab.page.wait(lambda: tab.ended() and tab.names() == ["plain", "weight-0.5"])
    tab.cell("plain").click()
    tab.root.locator(".negguide-tab-about h4").wait_for()
    assert tab.root.locator(".negguide-attention").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_looks(view, shared_page, open_page, theme):
    page = shared_page if theme == "light" else open_page(400, theme)
    own = Tab(page)
    if theme == "dark":
        own.press("open")
        own.cell("weight-1").click()
    drawn(own)
    for width in (400, 1280):
        page.page.set_viewport_size({"width": width, "height": 1000})
        page.shoot(f"tab-attention-{width}-{theme}")
        wide = own.root.evaluate("root => [root.scrollWidth, root.clientWidth, document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1] + 1 and wide[2] <= wide[3] + 1, width
    assert page.complaints == []
