"""Image prompts in the accordion: pictures that are chosen, dropped, pasted or sent from the results; what the settings hold of them."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lib_negguide import world
from lib_negguide.webui import editor
from tests.world.draw import draw

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "world" / "model"
UNKNOWN = "sha256:" + "0" * 64


def picture(color="red", size=64):
    image = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(image).ellipse((size // 4, size // 4, 3 * size // 4, 3 * size // 4), fill=color)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def as_file(name, data):
    return {"name": name, "mimeType": "image/png" if name.endswith("png") else "text/plain", "buffer": data}


class Section:
    """The section of one tab, open."""

    def __init__(self, page, tab="txt2img"):
        self.page, self.tab = page, tab
        self.element = page.editor(tab).locator("[data-section=images]")
        if self.element.get_attribute("open") is None:
            self.element.locator("summary").first.click()

    def row(self, index=0):
        return self.element.locator(f"[data-negative=image{index}]")

    def field(self, name, index=0):
        return self.row(index).locator(f"[data-field={name}]")

    def button(self, action):
        return self.element.locator(f"[data-action={action}]")

    def choose(self, files, button="add-negative", index=None):
        with self.page.page.expect_file_chooser() as chooser:
            (self.button(button) if index is None else self.row(index).locator("[data-action=choose-picture]")).click()
        chooser.value.set_files(files)

    def give(self, kind, target, files=(), text=None):
        """A drop of (name, bytes) files, or a paste of them (with ``text``), on an element."""
        files = [[name, base64.b64encode(data).decode()] for name, data in files]
        return target.evaluate("""(element, [kind, files, text]) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
                transfer.items.add(new File([bytes], name, {type: name.endsWith("png") ? "image/png" : "text/plain"}));
            }
            if (text) transfer.setData("text/uri-list", text);
            const events = kind === "paste" ? [new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true})]
                : ["dragenter", "dragover", "drop"].map((name) => new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true}));
            return events.map((event) => !element.dispatchEvent(event));
        }""", [kind, files, text])

    def images(self):
        return self.page.settings(self.tab).get("images", [])

    def wait(self, count):
        self.page.wait(lambda: len(self.images()) == count, f"{count} pictures, not {self.images()}")

    def told(self):
        return self.element.locator("[data-uploads]").inner_text()

    def seen(self, index=0):
        """Is the row's picture shown?"""
        image = self.row(index).locator("[data-action=choose-picture] img")
        return image.is_visible() and image.evaluate("(image) => image.complete && image.naturalWidth > 0")


@pytest.fixture
def section(page):
    return Section(page)


def test_a_file_is_chosen(section):
    section.choose(as_file("red.png", picture()))
    section.wait(1)
    image, = section.images()
    assert re.fullmatch("sha256:[0-9a-f]{64}", image["image"]) and image == {"image": image["image"], "name": "red.png"}
    section.page.wait(section.seen, "the thumbnail")
    assert section.field("name").input_value() == "red.png" and section.field("side").input_value() == "negative"
    assert section.element.locator("summary [data-state]").inner_text() == "1 negative"
    lanes = section.page.picture().locator(".negguide-lane")
    assert lanes.count() == 2 and section.page.picture().locator("[data-name=image0]").text_content().startswith("negative picture 1: red.png")
    section.choose([as_file("a.png", picture("blue")), as_file("b.png", picture("green"))], "add-positive")
    section.wait(3)
    assert [(image["name"], image.get("side")) for image in section.images()[1:]] == [("a.png", "positive"), ("b.png", "positive")]
    assert section.told() == ""


def test_fields_and_window(section):
    section.choose(as_file("red.png", picture()))
    section.wait(1)
    reference = section.images()[0]["image"]
    assert not section.field("amount").is_visible()
    section.field("noise").select_option("dissolve")
    section.field("amount").fill("0.3")
    section.field("seed").fill("7")
    section.field("side").select_option("positive")
    section.field("name").fill("a red circle")
    section.field("unit").select_option("step")
    section.field("start").fill("1")
    section.field("weight").fill("1.5")
    section.field("curve").select_option("linear down")
    assert section.images() == [{"image": reference, "name": "a red circle", "noise": "dissolve", "amount": 0.3, "seed": 7, "side": "positive",
                                 "unit": "step", "start": 1, "weight": 1.5, "curve": "linear down"}]
    assert section.row().locator("[data-acts]").inner_text() == "acts at 3 of 5 steps: 1–3"
    section.field("amount").fill("3")
    assert "images[0].amount = 3" in section.row().locator(".negguide-error").inner_text()
    assert section.field("amount").get_attribute("aria-invalid") == "true"


def test_dropped_on_the_zone_and_on_a_row(section):
    zone = section.element.locator("[data-zone]")
    assert section.give("drop", zone, [("one.png", picture()), ("two.png", picture("blue"))]) == [True, True, True]
    section.wait(2)
    before = section.images()
    section.give("drop", section.row(1), [("three.png", picture("green"))])
    section.page.wait(lambda: section.images()[1]["name"] == "three.png")
    assert section.images()[0] == before[0] and section.images()[1]["image"] != before[1]["image"]
    assert section.give("drop", zone) == [False, False, False] and len(section.images()) == 2  # of nothing that is a picture


def test_pasted(section):
    zone = section.element.locator("[data-zone]")
    zone.focus()
    heard = "window.heard = 0; window.addEventListener('paste', () => window.heard++)"
    section.page.page.evaluate(heard)
    assert section.give("paste", zone, [("image.png", picture())]) == [True]
    section.wait(1)
    assert section.page.page.evaluate("window.heard") == 0  # the host would put it into img2img as well
    assert section.give("paste", section.field("name"), text="words") == [False]


def test_moved_and_removed(section):
    section.choose([as_file("a.png", picture()), as_file("b.png", picture("blue"))])
    section.wait(2)
    section.row(1).locator("[data-action=move-up]").click()
    assert [image["name"] for image in section.images()] == ["b.png", "a.png"]
    section.row(0).locator("[data-action=remove]").click()
    assert [image["name"] for image in section.images()] == ["a.png"]
    section.row(0).locator("[data-action=remove]").click()
    assert section.page.settings() == {} and section.element.locator("[data-state]").first.inner_text() == "none"


def test_noise_alone(section):
    section.button("add-noise").click()
    assert section.images() == [{"noise": "gaussian"}]
    assert section.page.editor().locator("[data-error]:visible").all_inner_texts() == []
    section.field("noise").select_option("none")
    assert "images[0].image = '' is not allowed" in section.row().locator(".negguide-error").inner_text()


def test_what_is_no_picture_changes_nothing(section):
    zone = section.element.locator("[data-zone]")
    section.give("drop", zone, [("notes.txt", b"words")])
    section.page.wait(lambda: "notes.txt: this is not a picture" in section.told())
    section.button("dismiss").click()
    assert section.told() == ""
    section.page.excuse("status of 401")
    section.page.page.route("**/negguide/v1/images", lambda route: route.fulfill(status=401, json={"detail": "Not authenticated"}))
    try:
        section.give("drop", zone, [("red.png", picture())])
        section.page.wait(lambda: "red.png: you are not logged in" in section.told())
    finally:
        section.page.page.unroute("**/negguide/v1/images")
    assert section.images() == []
    section.button("dismiss").click()


def test_a_broken_file_leaves_the_row_as_it_was(section):
    section.choose(as_file("red.png", picture()))
    section.wait(1)
    before = section.images()
    section.page.excuse("status of 422")
    section.choose(as_file("broken.png", b"no picture"), index=0)
    section.page.wait(lambda: "broken.png: the server cannot read it" in section.row().locator("[data-upload]").inner_text())
    assert section.images() == before and section.seen()


def test_a_picture_that_is_not_on_this_server(section):
    section.page.excuse("status of 404")
    section.page.write({"images": [{"image": UNKNOWN, "name": "hat.png", "weight": 0.5}]})
    message = section.row().locator("[data-upload]")
    section.page.wait(lambda: message.inner_text() == "The picture hat.png is not on this server; drop it here again.")
    section.give("drop", section.row(), [("hat.png", picture())])
    section.page.wait(lambda: section.images()[0]["image"] != UNKNOWN)
    section.page.wait(section.seen, "the thumbnail")
    assert message.inner_text() == "" and section.images()[0]["weight"] == 0.5


def test_every_input_has_a_label_and_a_help(section):
    section.button("add-noise").click()
    unnamed = section.element.evaluate("""(section) => [...section.querySelectorAll('input, select, button')]
        .filter((one) => !(one.labels || []).length && !one.getAttribute('aria-label') && !one.textContent.trim()).map((one) => one.outerHTML)""")
    assert unnamed == []
    helps = {row["help"] for row in editor.tables()["ImagePrompt"] if row["name"] != "image"}
    assert helps <= set(section.row().evaluate("(row) => [...row.querySelectorAll('label')].map((one) => one.title)"))


def test_by_keys_alone(section):
    """The zone's buttons; a row's picture and remove button."""
    keyboard = section.page.page.keyboard
    section.button("add-noise").focus()
    keyboard.press("Enter")
    section.wait(1)
    for key, button, name in (("Space", section.row().locator("[data-action=choose-picture]"), "red.png"),
                              ("Enter", section.button("add-positive"), "blue.png")):
        button.focus()
        with section.page.page.expect_file_chooser() as chooser:
            keyboard.press(key)
        chooser.value.set_files(as_file(name, picture()))
        section.page.wait(lambda name=name: name in [image.get("name") for image in section.images()], name)
    assert [image["name"] for image in section.images()] == ["red.png", "blue.png"]
    for left in (1, 0):
        section.row().locator("[data-action=remove]").focus()
        keyboard.press("Space")
        assert len(section.images()) == left


def test_the_focus_stays_when_a_picture_comes(section):
    """On a row's button, and with the cursor where it was in a text."""
    section.choose(as_file("red.png", picture()))
    section.wait(1)
    for count, name in ((2, "[data-action=choose-picture]"), (3, "[data-field=name]"), (4, "[data-field=weight-slider]")):
        focused = section.row().locator(name)
        focused.focus()
        focused.evaluate("(one) => one.type === 'text' && one.setSelectionRange(1, 2)")
        section.give("drop", section.element.locator("[data-zone]"), [("blue.png", picture("blue"))])
        section.wait(count)
        assert focused.evaluate("(one) => one === document.activeElement"), name
        assert focused.evaluate("(one) => one.type !== 'text' || one.selectionStart === 1 && one.selectionEnd === 2")


def test_which_adapter(section):
    section.element.locator("[data-field=adapter]").fill("mine.safetensors")
    assert section.page.settings() == {"adapter": "mine.safetensors"}
    section.element.locator("[data-field=adapter]").fill("auto")
    assert section.page.settings() == {}


def test_subtracted(section):
    number = section.element.locator("[data-field=image_subtract]")
    assert number.input_value() == "0"
    number.fill("0.75")
    assert section.page.settings() == {"image_subtract": 0.75}
    number.fill("2")
    assert "image_subtract = 2" in section.page.editor().locator("[data-errors]").first.inner_text()
    section.page.write({"image_subtract": 0.5})
    assert number.input_value() == "0.5"


def test_sent_from_the_results(section):
    page = section.page
    page.generate(41)
    page.page.wait_for_selector("#txt2img_gallery .thumbnail-item img")
    if page.is_open():
        page.enable(False)
        page.toggle()
    page.page.locator("#image_buttons_txt2img [data-negguide=send-negative]").click()
    section.wait(1)
    assert section.images()[0]["image"].startswith("sha256:") and section.images()[0]["name"]
    assert page.is_enabled() and page.is_open()
    page.wait(section.seen, "the thumbnail")


def test_what_is_missing_is_told(open_page):
    """By words of the server, before one generates in vain."""
    page = open_page(400, "dark")
    rows = []
    page.page.route("**/negguide/v1/adapters", lambda route: route.fulfill(json={
        "adapters": rows, "auto": None, "folders": {"adapters": ["models/ipadapter"], "encoders": ["models/clip_vision"]}}))
    page.reset()
    section = Section(page)
    missing = section.element.locator("[data-missing]")
    page.wait(lambda: "put one into models/ipadapter, and its image encoder into models/clip_vision" in missing.inner_text())
    rows.append({"adapter": "ip.safetensors", "encoder": "", "usable": False, "why": "it is for SDXL"})
    section.element.locator("summary").first.click()
    section.element.locator("summary").first.click()
    page.wait(lambda: missing.inner_text() == "ip.safetensors: it is for SDXL")
    rows[:] = [{"adapter": "ip.safetensors", "encoder": "/models/clip_vision/h14", "usable": True, "why": ""}]
    section.element.locator("summary").first.click()
    section.element.locator("summary").first.click()
    page.wait(lambda: missing.inner_text() == "")
    for name, value in (("adapter", "ip.safetensors"), ("image_encoder", "h14")):
        assert section.element.locator(f"#negguide_txt2img_images_{name}_known option[value='{value}']").count() == 1
    assert page.complaints == []


def test_what_is_missing_is_fetched(open_page):
    page = open_page()
    row = {"adapter": "ip.safetensors", "encoder": "h14", "usable": True, "why": ""}
    rows, state = [], {"name": "", "done": 0, "total": 0, "state": "idle", "error": ""}
    asked, answers = [], []
    one = {"name": "ip.safetensors", "model": "SD1.5", "kind": "base", "encoder": "H", "megabytes": 45, "page": "https://example.test/ip",
           "folder": "models/ipadapter", "here": False}

    def download(route):
        asked.append(route.request.method)
        if route.request.method == "POST":
            assert route.request.post_data_json == {"name": "ip.safetensors"}
            state.update(name="ip.safetensors", state="running", done=0, total=45_000_000)
        elif route.request.method == "DELETE":
            state.update(state="cancelled")
        route.fulfill(json=state)

    page.page.route("**/negguide/v1/adapters", lambda route: route.fulfill(json={
        "adapters": rows, "auto": None, "folders": {"adapters": ["models/ipadapter"], "encoders": ["models/clip_vision"]}}))
    page.page.route("**/negguide/v1/adapters/published", lambda route: route.fulfill(json={
        "missing": None if rows else "ip.safetensors", "why": "", "files": [one]}))
    page.page.route("**/negguide/v1/adapters/download", download)
    page.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept() if answers.pop(0) else dialog.dismiss()))
    page.reset()
    section = Section(page)
    part = section.element.locator("[data-download]")
    start, bar = part.locator("[data-action=download]"), part.locator("progress")
    page.wait(lambda: start.is_visible() and start.inner_text() == "Download ip.safetensors (45 MB)")
    assert part.locator("a").get_attribute("href") == one["page"]
    answers.append(False)
    start.click()
    page.wait(lambda: len(asked) == 2)
    assert "about 45 MB, from https://example.test/ip into models/ipadapter" in asked[1] and "POST" not in asked
    answers.append(True)
    start.click()
    page.wait(lambda: bar.is_visible())
    state["done"] = 9_000_000
    page.wait(lambda: "ip.safetensors: 9.0 MB of 45 MB" in part.inner_text() and bar.evaluate("(bar) => bar.value / bar.max") == 0.2)
    part.locator("[data-action=cancel-download]").click()
    page.wait(lambda: start.is_visible() and not bar.is_visible())
    answers.append(True)
    start.click()
    page.wait(lambda: bar.is_visible())
    state.update(state="failed", error="the connection broke")
    page.wait(lambda: "the connection broke" in part.inner_text() and start.is_visible())
    answers.append(True)
    start.click()
    page.wait(lambda: bar.is_visible())
    rows.append(row)
    state.update(state="done", done=45_000_000)
    page.wait(lambda: not part.is_visible() and section.element.locator("[data-missing]").inner_text() == "")
    assert page.complaints == []


@pytest.fixture(scope="module")
def adapter(host):
    """The small adapter and encoder where users put theirs."""
    told = host.get("/negguide/v1/adapters").json()
    folders = [Path(told["folders"][name][0]) for name in ("adapters", "encoders")]
    if not any(row["usable"] for row in told["adapters"]):
        if not folders[0].parent.parent.is_dir():
            pytest.skip(f"this host is on another machine and has no IP-Adapter in {folders[0]}")
        for folder, source in zip(folders, (world.adapter(), world.image_encoder())):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / source.name).symlink_to(source)


def test_a_picture_acts(section, adapter):
    """From the file to the picture made, its infotext, and back from there."""
    page = section.page
    page.generate(51)
    made = lambda: page.page.locator("#txt2img_gallery img").first.get_attribute("src")  # noqa: E731
    page.wait(made)
    with_none = page.page.evaluate(BYTES, made())
    drawing = draw("picture 3")[0]
    file = io.BytesIO()
    drawing.save(file, "PNG")
    section.choose(as_file("glasses.png", file.getvalue()))
    section.wait(1)
    reference = section.images()[0]["image"]
    infotext = page.generate(52)
    assert reference in infotext and "glasses.png" in infotext and "data:image" not in infotext
    page.generate(51)
    page.wait(lambda: page.page.evaluate(BYTES, made()) != with_none, "another picture")
    section.row().locator("[data-action=remove]").click()
    page.page.fill("#txt2img_prompt textarea", infotext)
    page.page.click("#txt2img_tools #paste")
    section.wait(1)
    assert section.images() == [{"image": reference, "name": "glasses.png"}]
    page.wait(section.seen, "the thumbnail")


BYTES = """async (address) => { const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return canvas.getImageData(0, 0, image.width, image.height).data.join(); }"""


def test_without_the_picture_the_host_says_what_to_do(section, adapter):
    section.page.excuse("status of 404")
    section.page.write({"images": [{"image": UNKNOWN, "name": "hat.png"}]})
    section.page.wait(lambda: "not on this server" in section.row().locator("[data-upload]").inner_text())
    assert "hat.png" in section.page.generate_in_vain()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_looks(resized_page, adapter, width, theme):
    page = resized_page(width, theme)
    page.number("steps", 20)
    section = Section(page)
    section.choose(as_file("red circle.png", picture()))
    section.wait(1)
    section.choose(as_file("green circle.png", picture("green")), "add-positive")
    section.wait(2)
    section.field("noise").select_option("dissolve")
    section.field("preset").select_option("noun (σ ≤ 5.8)")
    section.field("weight", 1).fill("0.6")
    for index in (0, 1):
        page.wait(lambda index=index: section.seen(index), "the thumbnail")
    sticking_out = section.element.evaluate("""(root) => {
        const box = root.getBoundingClientRect();
        return [...root.querySelectorAll("*")].filter((element) => {
            const own = element.getBoundingClientRect();
            return own.width && !element.closest("option") && (own.right > box.right + 1 || own.left < box.left - 1);
        }).map((element) => element.outerHTML.slice(0, 120));
    }""")
    assert sticking_out == []
    for name in ("name", "side", "noise", "amount", "seed", "start", "stop", "weight"):
        assert section.field(name).bounding_box()["width"] >= 40, name
    inner = section.row().bounding_box()
    assert section.field("amount").bounding_box()["x"] + section.field("amount").bounding_box()["width"] <= inner["x"] + inner["width"]
    page.shoot(f"images-accordion-{width}-{theme}", page.page.locator("#negguide_txt2img"))
    assert page.complaints == []
