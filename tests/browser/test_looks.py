"""At 1280 and at 400 pixels, light and dark: everything is there, nothing sticks out. Makes the README's screenshots."""

import pytest

EDITOR = ".negguide-editor[data-tab=txt2img]"


def fill(page, dnp=False):
    page.number("steps", 30)
    page.page.fill("#txt2img_neg_prompt textarea", "blurry")
    page.add("glasses", preset="Ban et al. window (σ 5.8 → 1.6)")
    page.add("hat", weight=1.5, curve="linear down")
    if dnp:
        page.dnp("dnp", samples=2, captioner="blip-base")
        page.editor().locator("[data-negative=caption] [data-field=preset]").select_option("noun (σ ≤ 5.8)")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dnp", [False, True], ids=["", "dnp"])
def test_looks(resized_page, width, theme, dnp):
    page = resized_page(width, theme)
    fill(page, dnp)
    assert (page.page.locator("body.dark, .dark").count() > 0) == (theme == "dark")
    sticking_out = page.page.evaluate("""(editor) => {
        const root = document.querySelector(editor), box = root.getBoundingClientRect();
        return [...root.querySelectorAll("*")].filter((element) => {
            const own = element.getBoundingClientRect();
            return own.width && !element.closest("svg, option") && (own.right > box.right + 1 || own.left < box.left - 1);
        }).map((element) => element.outerHTML.slice(0, 120));
    }""", EDITOR)
    assert sticking_out == []
    for key in ("box", 0, 1):
        for name in ("preset", "start", "stop", "unit", "weight", "curve"):
            input_ = page.field(key, name)
            assert input_.is_visible() and input_.bounding_box()["width"] >= 40, (key, name)
    assert page.editor().bounding_box()["width"] <= width
    accordion = page.page.locator("#negguide_txt2img")
    page.shoot(f"{'dnp-' * dnp}accordion-{width}-{theme}", accordion)
    if width == 1280 and not dnp:
        page.generate(1)
        page.page.wait_for_selector("#txt2img_gallery img")
        page.shoot(f"txt2img-{theme}")
    assert page.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(resized_page, theme):
    """Contrast of every text of the editor to what lies behind it: at least 4.5 (WCAG AA)."""
    page = resized_page(1280, theme)
    fill(page, dnp=True)
    page.page.wait_for_timeout(400)
    poor = page.page.evaluate("""(editor) => {
        const parse = (color) => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
        const light = (rgb) => { const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = (element) => {
            let color = null;
            const layers = [];
            for (let e = element; e; e = e.parentElement) {
                const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
                if (a > 0) layers.push([r, g, b, a]);
                if (a === 1) break;
            }
            color = [255, 255, 255];
            for (const [r, g, b, a] of layers.reverse()) color = color.map((c, i) => c * (1 - a) + [r, g, b][i] * a);
            return color;
        };
        const found = [];
        for (const element of document.querySelectorAll(editor + " *")) {
            const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
            const input = element.matches("input[type=text], textarea, select") && element.value;
            if (!(own || input) || element.closest("svg, option") || !element.getClientRects().length) continue;
            const a = light(parse(getComputedStyle(element).color).slice(0, 3)), b = light(behind(element));
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < 4.5) found.push([element.outerHTML.slice(0, 90), contrast.toFixed(2)]);
        }
        return found;
    }""", EDITOR)
    assert poor == []
